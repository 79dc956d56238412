//! `check`: what is wrong with confs, without a daemon.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::api::ConfProblem;
use crate::conf::{DirectoryError, Examined, Places, Role, Source, SystemAccounts, examine, path_hint};

/// What was found; its `Display` is for people, its JSON for scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The version of this document: 1.
    pub version: u32,
    /// The host that was checked for.
    pub host: String,
    /// The files, by path.
    pub files: Vec<CheckedFile>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckedFile {
    /// The file, as it was named.
    pub path: String,
    /// The service that it is a conf of; null where it is none.
    pub id: Option<String>,
    /// What it is for this host.
    pub standing: Standing,
    /// The file that it gives way to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overridden_by: Option<String>,
    /// What is wrong with it.
    pub problems: Vec<ConfProblem>,
    /// What may be meant otherwise.
    pub warnings: Vec<String>,
}

/// What a file is for this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It matches, and is used.
    Here,
    /// It matches, and a more specific file is used.
    Overridden,
    /// It is for other hosts.
    OtherHost,
    /// It is the `herder.json` that is used.
    Settings,
    /// It is a `herder.json` that is not used.
    OtherSettings,
    /// It is neither.
    None,
}

/// Checks files and directories; the conf directory where none is named. `caller_path` is the PATH of whoever asks.
pub fn check(paths: &[PathBuf], places: &Places, caller_path: &OsStr) -> CheckReport {
    let own = [places.config_dir.clone()];
    let accounts = SystemAccounts::new();
    let mut files = Vec::new();
    for path in if paths.is_empty() { &own } else { paths } {
        let (directory, only) =
            if path.is_dir() { (path.as_path(), None) } else { (parent(path), Some(path.as_path())) };
        let live = same(directory, &places.config_dir);
        let source = Source { directory: directory.to_owned(), host: places.host.clone() };
        match examine(&source, only, live, &accounts) {
            Ok(found) if found.is_empty() && only.is_some() => files.push(unknown(path)),
            Ok(found) => files.extend(found.into_iter().map(|one| checked(one, caller_path))),
            Err(error) => files.push(stray(path, &reason(&error))),
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files.dedup();
    CheckReport { version: 1, host: places.host.to_string(), files }
}

/// The directory of a file; a bare name's is the current one.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// A file that was named and is no conf.
fn unknown(path: &Path) -> CheckedFile {
    let why = match path.symlink_metadata() {
        Ok(_) => "the file's name is that of no conf, expected <id>.conf, <id>@<host>.conf or herder.json".to_owned(),
        Err(error) => format!("cannot read the file: {error}"),
    };
    stray(path, &why)
}

fn stray(path: &Path, why: &str) -> CheckedFile {
    CheckedFile {
        path: path.display().to_string(),
        id: None,
        standing: Standing::None,
        overridden_by: None,
        problems: vec![ConfProblem { line: 1, column: 1, message: why.to_owned() }],
        warnings: Vec::new(),
    }
}

fn reason(error: &DirectoryError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn checked(file: Examined, caller_path: &OsStr) -> CheckedFile {
    let here = matches!(file.role, Role::Here(_));
    let hint = file.spec.as_ref().filter(|_| here).and_then(|spec| path_hint(spec, caller_path));
    let (standing, id, overridden_by) = match file.role {
        Role::Here(id) => (Standing::Here, Some(id), None),
        Role::Overridden(id, by) => (Standing::Overridden, Some(id), Some(by.display().to_string())),
        Role::OtherHost(id) => (Standing::OtherHost, Some(id), None),
        Role::Settings => (Standing::Settings, None, None),
        Role::OtherSettings => (Standing::OtherSettings, None, None),
        Role::Stray => (Standing::None, None, None),
    };
    let problem = |problem: crate::conf::Problem| ConfProblem {
        line: problem.line,
        column: problem.column,
        message: problem.message,
    };
    CheckedFile {
        path: file.path.display().to_string(),
        id: id.map(|id| id.to_string()),
        standing,
        overridden_by,
        problems: file.problems.into_iter().map(problem).collect(),
        warnings: file.distrust.into_iter().chain(hint).collect(),
    }
}

impl CheckReport {
    /// Whether nothing is wrong; warnings are no problems.
    pub fn is_good(&self) -> bool {
        self.files.iter().all(|file| file.problems.is_empty())
    }
}

impl fmt::Display for CheckReport {
    /// A line for each problem and warning, then one for each file, then how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            for ConfProblem { line, column, message } in &file.problems {
                writeln!(f, "{}:{line}:{column}: {message}", file.path)?;
            }
            for warning in &file.warnings {
                writeln!(f, "{}: warning: {warning}", file.path)?;
            }
            if file.problems.is_empty() {
                writeln!(f, "{}: {}", file.path, self.verdict(file))?;
            }
        }
        let problems: usize = self.files.iter().map(|file| file.problems.len()).sum();
        let here = self.files.iter().filter(|file| file.standing == Standing::Here).count();
        let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (files, confs) = (plural(self.files.len(), "file"), plural(here, "conf"));
        writeln!(f, "{files}, {confs} for {}, {}", self.host, plural(problems, "problem"))
    }
}

impl CheckReport {
    fn verdict(&self, file: &CheckedFile) -> String {
        match (file.standing, &file.overridden_by) {
            (Standing::Here, _) => format!("good, runs on {}", self.host),
            (Standing::Overridden, Some(by)) => format!("good, overridden by {by}"),
            (Standing::Overridden, None) => "good, overridden".to_owned(),
            (Standing::OtherHost, _) => "good, for other hosts".to_owned(),
            (Standing::Settings, _) => "good, holds for all services".to_owned(),
            (Standing::OtherSettings, _) => format!("good, not used on {}", self.host),
            (Standing::None, _) => "good".to_owned(),
        }
    }
}
