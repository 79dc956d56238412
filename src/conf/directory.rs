//! One pass over the conf directory: which file is whose, and what each says.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::FileType;
use std::path::{Path, PathBuf};

use super::folder::{FileText, Folder, Listing};
use super::host::Hosts;
use super::name::{self, Named, Rank, rank};
use super::{Accounts, AnyAccounts, DirectoryError, HostName, Identity, Problem, Settings, SystemAccounts, lower};
use crate::model::{ServiceId, ServiceSpec};

/// Where confs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The conf directory.
    pub directory: PathBuf,
    /// The host that it is read for.
    pub host: HostName,
}

/// What a conf directory holds for this host.
#[derive(Debug)]
pub struct Loaded {
    /// What `herder.json` says; `None` if it has problems (they are among the strays), and then no conf is good either:
    /// nothing is ever started with settings that were guessed.
    pub settings: Option<Settings>,
    /// The services of this host.
    pub services: BTreeMap<ServiceId, Found>,
    /// Files of other hosts, by name. A service of this host may have some, too.
    pub skipped: Vec<Skipped>,
    /// Problems of files that speak for no service of this host, by path: `herder.json`, wrong names, all but the first
    /// file of a tie, and the directory itself.
    pub strays: BTreeMap<PathBuf, Vec<Problem>>,
    /// Which directory this was.
    pub identity: Identity,
    /// Whether the directory was read whole. If not, a service without a file may have one.
    pub whole: bool,
    /// How many files with the ending of a conf there were, for whatever host and however wrong.
    pub conf_count: usize,
}

/// The conf of one service of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It can run.
    Good {
        /// What it says.
        spec: Box<ServiceSpec>,
        /// The file.
        path: PathBuf,
        /// Its text, without a byte order mark.
        text: String,
    },
    /// It can't.
    Broken {
        /// The file.
        path: PathBuf,
        /// Why: never empty.
        problems: Vec<Problem>,
        /// Its text, where it could be read and trusted.
        text: Option<String>,
    },
}

/// A file of other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Whose conf it is.
    pub id: ServiceId,
    /// The file.
    pub path: PathBuf,
}

impl Found {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Good { path, .. } | Self::Broken { path, .. } => path,
        }
    }

    /// Its problems; none for a good one.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Good { .. } => &[],
            Self::Broken { problems, .. } => problems,
        }
    }
}

impl Loaded {
    /// Every problem with its file, by path, line and column.
    pub fn problems(&self) -> Vec<(&Path, &Problem)> {
        let of_services = self.services.values().flat_map(|found| found.problems().iter().map(|p| (found.path(), p)));
        let of_strays = self.strays.iter().flat_map(|(path, found)| found.iter().map(|p| (path.as_path(), p)));
        let mut all: Vec<_> = of_services.chain(of_strays).collect();
        all.sort();
        all
    }

    /// Whether some problem may go away without a change of a file.
    pub fn has_passing_problem(&self) -> bool {
        self.problems().iter().any(|(_, problem)| problem.passing)
    }
}

/// Reads a conf directory, with the system's users and groups. May take as long as the disk and the name service do.
///
/// # Errors
/// The directory can't be opened or listed. Whatever is wrong with a file is in the result.
pub fn load(source: &Source) -> Result<Loaded, DirectoryError> {
    load_with(source, &SystemAccounts::new())
}

/// Reads a conf directory with other users and groups than the system's.
///
/// # Errors
/// As [`load`].
pub fn load_with(source: &Source, accounts: &dyn Accounts) -> Result<Loaded, DirectoryError> {
    let folder = Folder::open(&source.directory, Some(accounts.own().0))?;
    let mut survey = Survey::of(&folder, source)?;
    let settings = survey.settings(&folder, accounts);
    let mut loaded = Loaded {
        settings: None,
        services: BTreeMap::new(),
        skipped: Vec::new(),
        strays: std::mem::take(&mut survey.strays),
        identity: folder.identity,
        whole: survey.whole,
        conf_count: survey.conf_count,
    };
    for conf in &survey.confs {
        match &conf.rank {
            Rank::OtherHost => loaded.skipped.push(Skipped { id: conf.id.clone(), path: conf.path.clone() }),
            Rank::Overridden(_) => {}
            Rank::Tie(others) => {
                let problems = vec![survey.tie(others)];
                // The first file of a tie speaks for the service.
                if loaded.services.contains_key(&conf.id) {
                    loaded.strays.insert(conf.path.clone(), problems);
                } else {
                    let broken = Found::Broken { path: conf.path.clone(), problems, text: None };
                    loaded.services.insert(conf.id.clone(), broken);
                }
            }
            Rank::Winner => match conf.read(&folder, settings.as_ref(), accounts) {
                Some(found) => drop(loaded.services.insert(conf.id.clone(), found)),
                // It may have been replaced by another file of another name that was not listed.
                None => loaded.whole = false,
            },
        }
    }
    loaded.settings = settings.ok();
    Ok(loaded)
}

/// A conf file among the others.
pub(super) struct ConfFile {
    pub(super) id: ServiceId,
    pub(super) path: PathBuf,
    pub(super) rank: Rank,
    name: OsString,
    kind: Option<FileType>,
}

/// The names of a directory, sorted out.
pub(super) struct Survey {
    pub(super) confs: Vec<ConfFile>,
    pub(super) strays: BTreeMap<PathBuf, Vec<Problem>>,
    /// The `herder.json` that holds here.
    pub(super) settings_file: Option<(PathBuf, OsString, Option<FileType>)>,
    /// Those of other hosts and overridden ones.
    other_settings: Vec<(PathBuf, OsString, Option<FileType>)>,
    settings_tied: bool,
    whole: bool,
    conf_count: usize,
}

impl Survey {
    pub(super) fn of(folder: &Folder, source: &Source) -> Result<Self, DirectoryError> {
        let Listing { names, whole } = folder.list()?;
        let mut survey = Self {
            confs: Vec::new(),
            strays: BTreeMap::new(),
            settings_file: None,
            other_settings: Vec::new(),
            settings_tied: false,
            whole,
            conf_count: 0,
        };
        if let Some(flaw) = &folder.flaw {
            survey.strays.insert(source.directory.clone(), vec![flaw.clone()]);
        }
        let (mut confs, mut settings): (Vec<(ServiceId, Hosts, usize)>, Vec<(Hosts, usize)>) = Default::default();
        for (at, (name, _)) in names.iter().enumerate() {
            let named = name::read(name);
            let is_conf = Path::new(name).extension().is_some_and(|ending| ending == "conf");
            survey.conf_count += usize::from(is_conf && named != Named::Ignored);
            match named {
                Named::Conf(id, hosts) => confs.push((id, hosts, at)),
                Named::Settings(hosts) => settings.push((hosts, at)),
                Named::Ignored => {}
                Named::Wrong(why) => {
                    survey.strays.insert(source.directory.join(name), vec![Problem::of_file(why)]);
                }
            }
        }
        survey.rank_confs(&names, confs, source);
        survey.rank_settings(&names, settings, source);
        Ok(survey)
    }

    fn rank_confs(
        &mut self,
        names: &[(OsString, Option<FileType>)],
        confs: Vec<(ServiceId, Hosts, usize)>,
        source: &Source,
    ) {
        let keyed: Vec<(&ServiceId, &Hosts)> = confs.iter().map(|(id, hosts, _)| (id, hosts)).collect();
        let ranks = rank(&keyed, &source.host);
        let files = confs.into_iter().zip(ranks).map(|((id, _, at), rank)| {
            let (name, kind) = names[at].clone();
            ConfFile { id, path: source.directory.join(&name), rank, name, kind }
        });
        self.confs = files.collect();
    }

    fn rank_settings(
        &mut self,
        names: &[(OsString, Option<FileType>)],
        settings: Vec<(Hosts, usize)>,
        source: &Source,
    ) {
        let keyed: Vec<((), &Hosts)> = settings.iter().map(|(hosts, _)| ((), hosts)).collect();
        let path = |place: usize| source.directory.join(&names[settings[place].1].0);
        for (place, rank) in rank(&keyed, &source.host).into_iter().enumerate() {
            let (name, kind) = names[settings[place].1].clone();
            match rank {
                Rank::Winner => self.settings_file = Some((path(place), name, kind)),
                Rank::OtherHost | Rank::Overridden(_) => self.other_settings.push((path(place), name, kind)),
                Rank::Tie(others) => {
                    self.settings_tied = true;
                    let others: Vec<PathBuf> = others.into_iter().map(path).collect();
                    self.strays.insert(path(place), vec![tie(others.iter().map(PathBuf::as_path))]);
                }
            }
        }
    }

    /// The settings that hold here, or the one problem that every conf has if they have some.
    pub(super) fn settings(&mut self, folder: &Folder, accounts: &dyn Accounts) -> Result<Settings, Problem> {
        if self.settings_tied {
            return Err(Problem::of_file("several herder.json are as specific, expected one that wins"));
        }
        let Some((path, name, kind)) = &self.settings_file else { return Ok(Settings::default()) };
        let read = match folder.read(name, *kind) {
            FileText::Good(text) if folder.flaw.is_none() => Settings::read(&text, accounts),
            FileText::Good(_) => Err(folder.flaw.iter().cloned().collect()),
            FileText::Refused(problem) => Err(vec![problem]),
            FileText::Gone => Err(vec![Problem::passing("cannot read the file: it is gone")]),
        };
        read.map_err(|problems| {
            let passing = problems.iter().all(|problem| problem.passing);
            self.strays.insert(path.clone(), problems);
            let message = format!("{} has problems, and nothing is started without its settings", name.display());
            Problem { passing, ..Problem::of_file(message) }
        })
    }

    /// Reads the settings that do not hold here.
    pub(super) fn other_settings(&self, folder: &Folder) -> Vec<(PathBuf, Vec<Problem>)> {
        let problems = |name: &OsString, kind: &Option<FileType>| match folder.read(name, *kind) {
            FileText::Good(text) => Settings::read(&text, &AnyAccounts).err().unwrap_or_default(),
            FileText::Refused(problem) => vec![problem],
            FileText::Gone => Vec::new(),
        };
        self.other_settings.iter().map(|(path, name, kind)| (path.clone(), problems(name, kind))).collect()
    }

    /// The problem of a conf that ties with others.
    pub(super) fn tie(&self, others: &[usize]) -> Problem {
        tie(others.iter().map(|at| self.confs[*at].path.as_path()))
    }
}

fn tie<'p>(others: impl Iterator<Item = &'p Path>) -> Problem {
    let names: HashSet<_> = others.filter_map(Path::file_name).map(|name| name.display().to_string()).collect();
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort();
    Problem::of_file(format!("{} means this host as closely, expected one file that wins", names.join(", ")))
}

impl ConfFile {
    /// Reads and lowers it; `None` if the file is gone.
    pub(super) fn read(
        &self,
        folder: &Folder,
        settings: Result<&Settings, &Problem>,
        accounts: &dyn Accounts,
    ) -> Option<Found> {
        let broken = |problems, text| Some(Found::Broken { path: self.path.clone(), problems, text });
        let text = match folder.read(&self.name, self.kind) {
            FileText::Good(text) => text,
            FileText::Refused(problem) => return broken(vec![problem], None),
            FileText::Gone => return None,
        };
        if let Some(flaw) = &folder.flaw {
            return broken(vec![flaw.clone()], None);
        }
        let lowered = match settings {
            Ok(settings) => lower(&self.id, &text, settings, accounts),
            // Its own problems are told as well, as far as they can be seen without the settings.
            Err(problem) => {
                let own = lower(&self.id, &text, &Settings::default(), accounts).err().unwrap_or_default();
                Err(std::iter::once(problem.clone()).chain(own).collect())
            }
        };
        match lowered {
            Ok(spec) => Some(Found::Good { spec: Box::new(spec), path: self.path.clone(), text }),
            Err(problems) => broken(problems, Some(text)),
        }
    }

    /// The accounts that its users and groups are looked up in: a conf of another host can't be asked for here.
    pub(super) fn accounts<'a>(&self, here: &'a dyn Accounts) -> &'a dyn Accounts {
        if self.rank == Rank::OtherHost { &AnyAccounts } else { here }
    }
}
