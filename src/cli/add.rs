//! `add`: writes the conf of a service, and has a daemon that runs start it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value};

use super::client::{Daemon, Question};
use super::problem::complain;
use super::{Exit, Failure, Terminal};
use crate::api::{PlanDocument, ReloadOptions};
use crate::conf::{Addition, NoAddition, Places, Surroundings, SystemAccounts, create_directory, path_hint, propose};
use crate::model::{ServiceId, ServiceSpec};

/// What the conf is to say.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct AddArguments {
    /// The service: a name for its file
    #[arg(value_name = "ID", value_parser = clap::value_parser!(ServiceId))]
    pub id: ServiceId,
    /// The working directory of the service [default: the home of its user]
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// A variable of its environment; may be given several times
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    // By this name clap knows the flag of all verbs, which means something else: here it is this one, wherever it stands.
    /// The only host that runs it; a list (a,b) or a glob (web-*) names several [default: every host]
    #[arg(id = "host", long = "host", value_name = "HOST")]
    pub hosts: Option<String>,
    /// The program and its arguments; no shell sees them
    #[arg(last = true, required = true, value_names = ["CMD", "ARGS"])]
    pub command: Vec<String>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl AddArguments {
    /// The conf with nothing but what was asked for, relative to a directory.
    ///
    /// # Errors
    /// A path is no text, or a variable has two values.
    fn text(&self, here: &Path) -> Result<String, String> {
        let mut conf = Map::new();
        if let Some(cwd) = &self.cwd {
            // Without `.` and a slash at the end.
            let cwd: PathBuf = here.join(cwd).components().collect();
            let cwd = cwd.into_os_string().into_string().map_err(|cwd| format!("{} is not UTF-8", cwd.display()))?;
            conf.insert("cwd".into(), cwd.into());
        }
        let mut words = self.command.iter().cloned().map(Value::from);
        conf.insert("cmd".into(), words.next().unwrap_or_default());
        let args: Vec<_> = words.collect();
        if !args.is_empty() {
            conf.insert("args".into(), args.into());
        }
        let mut env = Map::new();
        for (name, value) in &self.env {
            if env.insert(name.clone(), value.as_str().into()).is_some() {
                return Err(format!("--env {name} is given twice"));
            }
        }
        if !env.is_empty() {
            conf.insert("env".into(), env.into());
        }
        Ok(format!("{:#}\n", Value::Object(conf)))
    }
}

pub(super) fn run(
    arguments: &AddArguments,
    places: &Places,
    daemon: &Daemon,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let id = &arguments.id;
    let here = std::env::current_dir().map_err(Failure::file("find the current directory", Path::new(".")))?;
    let unsaid = |why: String| Failure::NoConf { id: id.to_string(), why, exit: Exit::Usage };
    let text = arguments.text(&here).map_err(unsaid)?;
    create_directory(&places.config_dir).map_err(Failure::file("make", &places.config_dir))?;
    let addition = propose(&places.source(), id, arguments.hosts.as_deref(), &text, &SystemAccounts::new())
        .map_err(|no| refused(id, no))?;
    let written = !addition.present;
    if written && !write_new(&addition.path, &text).map_err(Failure::file("write", &addition.path))? {
        return Err(refused(id, NoAddition::Taken(addition.path)));
    }
    warn(&addition, &here, terminal);
    let plan = match daemon.ask_for::<PlanDocument>(&Question::post("/v1/reload").with(&ReloadOptions::default())) {
        Ok(plan) => Some(plan),
        Err(Failure::NoDaemon { .. }) => None,
        Err(other) => {
            writeln!(terminal.out, "{id}: {}", done(&addition))?;
            return Err(other);
        }
    };
    writeln!(terminal.out, "{id}: {}{}", done(&addition), follows(&addition, plan.as_ref()))?;
    Ok(Exit::Done)
}

fn refused(id: &ServiceId, no: NoAddition) -> Failure {
    let exit = match no {
        NoAddition::Name(_) | NoAddition::Conf(_) => Exit::Usage,
        NoAddition::Directory(_) | NoAddition::Unread(_) => Exit::Failed,
        NoAddition::Taken(_) | NoAddition::Overridden(_) | NoAddition::Tie(_) => Exit::Failed,
    };
    Failure::NoConf { id: id.to_string(), why: no.to_string(), exit }
}

fn done(addition: &Addition) -> String {
    match addition.present {
        false => "added".to_owned(),
        true => format!("is there already ({})", addition.path.display()),
    }
}

/// What comes of it, by the plan of the daemon, if one runs.
fn follows(addition: &Addition, plan: Option<&PlanDocument>) -> String {
    let id = addition.spec.id.as_str();
    let is_in = |list: &[String]| list.iter().any(|one| one == id);
    match plan {
        _ if !addition.here => ", for other hosts than this one".to_owned(),
        Some(plan) if is_in(&plan.start) => " and started".to_owned(),
        Some(plan) if is_in(&plan.restart) => " and restarted with it".to_owned(),
        // The daemon has noticed it before it was asked.
        Some(plan) if is_in(&plan.unchanged) && !addition.present && addition.spec.enabled => " and started".to_owned(),
        _ if !addition.spec.enabled => format!("; `daemonherder start {id}` starts it, for herder.json disables it"),
        _ if addition.present => String::new(),
        None => "; starts with the next reload or daemon".to_owned(),
        // The daemon has problems with the file, or something of an earlier one still ends.
        Some(_) => format!("; `daemonherder status {id}` tells more"),
    }
}

/// Says what will not be as whoever typed the command may think.
fn warn(addition: &Addition, here: &Path, terminal: &mut Terminal<'_>) {
    if !addition.here {
        return;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = || Surroundings::without_variables().map(|around| around.home).unwrap_or_default();
    let hint = path_hint(&addition.spec, &path).or_else(|| cwd_hint(&addition.spec, here, &home()));
    if let Some(hint) = hint {
        complain(terminal, &format!("warning: {}: {hint}", addition.path.display()));
    }
}

/// A hint where a relative command is found from here, and not from where the service will run.
fn cwd_hint(spec: &ServiceSpec, here: &Path, home: &Path) -> Option<String> {
    let cmd = &*spec.process.cmd;
    let cwd = spec.process.cwd.as_deref().map_or(home, Path::new);
    let lost = cmd.contains('/') && here.join(cmd).exists() && !cwd.join(cmd).exists();
    lost.then(|| {
        let (here, cwd) = (here.display(), cwd.display());
        format!("cmd {cmd:?} is in {here} but not in {cwd}, where the service runs: write the whole path, or --cwd")
    })
}

/// Makes a file as a whole or not at all, for its owner only; false where there is one of that name.
fn write_new(path: &Path, text: &str) -> io::Result<bool> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    // Hidden, so that whoever lists the directory meanwhile takes it for no conf.
    let hidden = directory.join(format!(".add-{:016x}", fastrand::u64(..)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&hidden)?;
    let linked = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| {
        // Unlike rename(2), link(2) never replaces a file.
        match fs::hard_link(&hidden, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            linked => linked.map(|()| true),
        }
    });
    fs::remove_file(&hidden)?;
    let linked = linked?;
    File::open(directory)?.sync_all()?;
    Ok(linked)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn arguments(cwd: Option<&str>, env: &[(&str, &str)], command: &[&str]) -> AddArguments {
        AddArguments {
            id: "web".parse().unwrap(),
            cwd: cwd.map(Into::into),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            hosts: None,
            command: command.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_conf_says_what_was_asked_for_and_nothing_else() {
        let text = |arguments: AddArguments| arguments.text(Path::new("/srv/web"));
        assert_eq!(text(arguments(None, &[], &["sleep"])).unwrap(), "{\n  \"cmd\": \"sleep\"\n}\n");
        let all = arguments(Some("."), &[("A", "1=2"), ("B", "")], &["python3", "-m", "a \"b\""]);
        insta::assert_snapshot!(text(all).unwrap(), @r#"
        {
          "cwd": "/srv/web",
          "cmd": "python3",
          "args": [
            "-m",
            "a \"b\""
          ],
          "env": {
            "A": "1=2",
            "B": ""
          }
        }
        "#);
        for (cwd, absolute) in [("/x/", "/x"), ("..", "/srv/web/.."), ("a/./b", "/srv/web/a/b")] {
            let text = text(arguments(Some(cwd), &[], &["x"])).unwrap();
            assert!(text.contains(&format!("\"cwd\": \"{absolute}\"")), "{text}");
        }
        let twice = text(arguments(None, &[("A", "1"), ("A", "2")], &["x"]));
        assert_eq!(twice, Err("--env A is given twice".to_owned()));
    }

    #[test]
    fn a_file_is_made_as_a_whole_and_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.conf");
        assert!(write_new(&path, "first").unwrap());
        assert!(!write_new(&path, "second").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
        assert!(write_new(&directory.path().join("none/web.conf"), "x").is_err());
    }

    #[test]
    fn what_follows_is_what_the_daemon_says() {
        let spec = ServiceSpec::new("web".parse().unwrap(), "sleep");
        let addition = |here, present, enabled| Addition {
            path: "/c/web.conf".into(),
            spec: ServiceSpec { enabled, ..spec.clone() },
            here,
            present,
        };
        let plan = |start: &[&str], restart: &[&str]| PlanDocument {
            start: start.iter().map(ToString::to_string).collect(),
            restart: restart.iter().map(ToString::to_string).collect(),
            ..PlanDocument::default()
        };
        let said =
            |addition: Addition, plan: Option<PlanDocument>| done(&addition) + &follows(&addition, plan.as_ref());
        let new = addition(true, false, true);
        assert_eq!(said(new.clone(), None), "added; starts with the next reload or daemon");
        assert_eq!(said(new.clone(), Some(plan(&["web"], &[]))), "added and started");
        assert_eq!(said(new.clone(), Some(plan(&[], &["web"]))), "added and restarted with it");
        let noticed = PlanDocument { unchanged: vec!["web".to_owned()], ..PlanDocument::default() };
        assert_eq!(said(new.clone(), Some(noticed)), "added and started");
        assert_eq!(said(new, Some(plan(&["we"], &[]))), "added; `daemonherder status web` tells more");
        assert_eq!(
            said(addition(true, true, true), Some(plan(&["web"], &[]))),
            "is there already (/c/web.conf) and started"
        );
        assert_eq!(said(addition(true, true, true), Some(plan(&[], &[]))), "is there already (/c/web.conf)");
        assert_eq!(said(addition(true, true, true), None), "is there already (/c/web.conf)");
        assert_eq!(said(addition(false, false, true), Some(plan(&[], &[]))), "added, for other hosts than this one");
        let disabled = "added; `daemonherder start web` starts it, for herder.json disables it";
        assert_eq!(said(addition(true, false, false), Some(plan(&[], &[]))), disabled);
    }

    #[test]
    fn a_command_that_is_found_from_here_only_is_told() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("serve"), "").unwrap();
        let here = directory.path();
        let mut spec = ServiceSpec::new("web".parse().unwrap(), "./serve");
        let hint = cwd_hint(&spec, here, Path::new("/")).unwrap();
        assert!(hint.ends_with("but not in /, where the service runs: write the whole path, or --cwd"), "{hint}");
        assert_eq!(cwd_hint(&spec, Path::new("/"), here), None);
        spec.process.cwd = here.to_str().map(Into::into);
        assert_eq!(cwd_hint(&spec, here, Path::new("/")), None);
    }
}
