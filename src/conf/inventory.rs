//! The files of a conf directory, sorted out by their names, and read one by one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::FileType;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::{FileText, Folder, Listing};
use super::host::Hosts;
use super::name::{self, Named, Rank, rank};
use super::pool::Pool;
use super::remembered::{Remembered, Stamp};
use super::{Accounts, AnyAccounts, DirectoryError, Found, Problem, Settings, Source, lower};
use crate::model::ServiceId;

/// A conf file among the others.
pub(super) struct ConfFile {
    pub(super) id: ServiceId,
    pub(super) path: PathBuf,
    pub(super) rank: Rank,
    name: OsString,
    kind: Option<FileType>,
}

/// What all confs of a directory are read with.
pub(super) struct With<'w> {
    pub(super) folder: &'w Folder,
    pub(super) settings: Result<&'w Settings, &'w Problem>,
    pub(super) accounts: &'w dyn Accounts,
}

/// The names of a directory, sorted out.
pub(super) struct Inventory {
    pub(super) confs: Vec<ConfFile>,
    pub(super) strays: BTreeMap<PathBuf, Vec<Problem>>,
    /// The `herder.json` that holds here.
    pub(super) settings_file: Option<(PathBuf, OsString, Option<FileType>)>,
    /// Those of other hosts and overridden ones.
    other_settings: Vec<(PathBuf, OsString, Option<FileType>)>,
    settings_tied: bool,
    pub(super) whole: bool,
    pub(super) conf_count: usize,
}

impl Inventory {
    pub(super) fn of(folder: &Folder, source: &Source) -> Result<Self, DirectoryError> {
        let Listing { names, whole } = folder.list()?;
        let mut inventory = Self {
            confs: Vec::new(),
            strays: BTreeMap::new(),
            settings_file: None,
            other_settings: Vec::new(),
            settings_tied: false,
            whole,
            conf_count: 0,
        };
        if let Some(flaw) = &folder.flaw {
            inventory.strays.insert(source.directory.clone(), vec![flaw.clone()]);
        }
        let mut confs = Vec::new();
        let mut settings = Vec::new();
        for (at, (name, _)) in names.iter().enumerate() {
            let named = name::read(name);
            let is_conf = Path::new(name).extension().is_some_and(|ending| ending == "conf");
            inventory.conf_count += usize::from(is_conf && named != Named::Ignored);
            match named {
                Named::Conf(id, hosts) => confs.push((id, hosts, at)),
                Named::Settings(hosts) => settings.push((hosts, at)),
                Named::Ignored => {}
                Named::Wrong(why) => {
                    inventory.strays.insert(source.directory.join(name), vec![Problem::of_file(why)]);
                }
            }
        }
        inventory.rank_confs(&names, confs, source);
        inventory.rank_settings(&names, settings, source);
        Ok(inventory)
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
            FileText::Good(text, _) if folder.flaw.is_none() => Settings::read(&text, accounts),
            FileText::Good(..) => Err(folder.flaw.iter().cloned().collect()),
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
            FileText::Good(text, _) => Settings::read(&text, &AnyAccounts).err().unwrap_or_default(),
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
    let mut names: Vec<_> = others.filter_map(Path::file_name).map(|name| name.display().to_string()).collect();
    names.sort();
    Problem::of_file(format!("{} means this host as closely, expected one file that wins", names.join(", ")))
}

impl ConfFile {
    /// The name of the file.
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// What it says, if that is known.
    pub(super) fn known(&self, folder: &Folder, remembered: &Remembered) -> Option<Found> {
        let spec = remembered.get(&self.name, || folder.stamp(&self.name))?;
        Some(Found::Good { spec, path: self.path.clone() })
    }

    /// Its text.
    pub(super) fn text(&self, folder: &Folder) -> FileText {
        folder.read(&self.name, self.kind)
    }

    /// Reads and lowers it; `None` if the file is gone.
    pub(super) fn read(&self, with: &With<'_>) -> Option<Found> {
        let text = self.text(with.folder);
        let (found, _) = self.lowered(text, with, &mut Pool::default(), &mut Remembered::default())?;
        Some(found)
    }

    /// What its text says, with what the file was when it was read if that is good; `None` if it is gone.
    pub(super) fn lowered(
        &self,
        text: FileText,
        with: &With<'_>,
        pool: &mut Pool,
        remembered: &mut Remembered,
    ) -> Option<(Found, Option<Stamp>)> {
        let broken = |problems, text| Some((Found::Broken { path: self.path.clone(), problems, text }, None));
        let good = |spec, stamp| Some((Found::Good { spec, path: self.path.clone() }, Some(stamp)));
        let (text, stamp) = match text {
            FileText::Good(text, stamp) => (text, stamp),
            FileText::Refused(problem) => return broken(vec![problem], None),
            FileText::Gone => return None,
        };
        if let Some(flaw) = &with.folder.flaw {
            return broken(vec![flaw.clone()], None);
        }
        let lowered = match with.settings {
            Ok(settings) => {
                if let Some(spec) = remembered.take_followed(&self.id, &text, settings) {
                    return good(spec, stamp);
                }
                lower(&self.id, &text, settings, with.accounts)
            }
            // Its own problems are told as well, as far as they can be seen without the settings.
            Err(problem) => {
                let own = lower(&self.id, &text, &Settings::default(), with.accounts).err().unwrap_or_default();
                Err(std::iter::once(problem.clone()).chain(own).collect())
            }
        };
        match lowered {
            Ok(spec) => good(Arc::new(pool.share(spec)), stamp),
            Err(problems) => broken(problems, Some(text)),
        }
    }

    /// The accounts that its users and groups are looked up in: a conf of another host can't be asked for here.
    pub(super) fn accounts<'a>(&self, here: &'a dyn Accounts) -> &'a dyn Accounts {
        if self.rank == Rank::OtherHost { &AnyAccounts } else { here }
    }
}
