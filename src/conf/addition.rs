//! A conf that is not there yet: what it would say, and what it would be among the others.

use std::ffi::OsString;
use std::path::PathBuf;

use super::folder::{Folder, Listing};
use super::host::Hosts;
use super::inventory::{Inventory, With};
use super::name::{self, Named, Rank, rank};
use super::{Accounts, AnyAccounts, DirectoryError, Found, Problem, Source, lower};
use crate::model::{ServiceId, ServiceSpec};

/// A conf that may be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Addition {
    /// Where.
    pub path: PathBuf,
    /// What it says.
    pub spec: ServiceSpec,
    /// Whether this host would run it.
    pub here: bool,
    /// Whether a file that says the same is there already.
    pub present: bool,
}

/// Why a conf may not be written.
#[derive(Debug, thiserror::Error)]
pub enum NoAddition {
    /// No file can have the name.
    #[error("{0}")]
    Name(String),
    /// The text is no conf.
    #[error("{}", .0.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; "))]
    Conf(Vec<Problem>),
    /// The directory, or the settings in it, would let nothing start.
    #[error("{}: see `daemonherder check`", .0.message)]
    Directory(Problem),
    /// The directory can't be read.
    #[error(transparent)]
    Unread(#[from] DirectoryError),
    /// There is a file of that name, which says something else.
    #[error("{} is there already and says something else: edit it, or `daemonherder remove` it first", .0.display())]
    Taken(PathBuf),
    /// This host would use another file.
    #[error("this host would use {} in its place: edit that, or `daemonherder remove` it first", .0.display())]
    Overridden(PathBuf),
    /// Nobody could tell which one this host would use.
    #[error("{} means this host as closely: edit that, or `daemonherder remove` it first", .0.display())]
    Tie(PathBuf),
}

/// Looks at a text as the conf of a service in a directory, for the hosts that are named, as `check` would once it is there.
///
/// # Errors
/// It would have a problem, or this host would not use it though it is meant.
pub fn propose(
    source: &Source,
    id: &ServiceId,
    hosts: Option<&str>,
    text: &str,
    accounts: &dyn Accounts,
) -> Result<Addition, NoAddition> {
    let name = OsString::from(hosts.map_or_else(|| format!("{id}.conf"), |hosts| format!("{id}@{hosts}.conf")));
    let hosts = match name::read(&name) {
        Named::Conf(read, hosts) if read == *id => hosts,
        Named::Wrong(why) => return Err(NoAddition::Name(why)),
        _ => return Err(NoAddition::Name(format!("{} is the name of no conf of {id}", name.display()))),
    };
    let folder = Folder::open(&source.directory, Some(accounts.own().0))?;
    let mut inventory = Inventory::of(&folder, source)?;
    let settings = inventory.settings(&folder, accounts).map_err(NoAddition::Directory)?;
    let path = source.directory.join(&name);
    let here = stands(&folder, source, id, (&name, &hosts))?;
    let accounts = if here { accounts } else { &AnyAccounts };
    let spec = lower(id, text, &settings, accounts).map_err(NoAddition::Conf)?;
    if let Some(flaw) = folder.flaw.clone() {
        return Err(NoAddition::Directory(flaw));
    }
    let with = With { folder: &folder, settings: Ok(&settings), accounts };
    let there = inventory.confs.iter().find(|conf| conf.path == path);
    let present = match there.and_then(|conf| conf.read(&with)) {
        None => false,
        Some(Found::Good { spec: there, .. }) if *there == spec => true,
        Some(_) => return Err(NoAddition::Taken(path)),
    };
    Ok(Addition { path, spec, here, present })
}

/// Whether this host would use the file of this name, were it there; the others of the same service have a say in it.
fn stands(
    folder: &Folder,
    source: &Source,
    id: &ServiceId,
    (own, hosts): (&OsString, &Hosts),
) -> Result<bool, NoAddition> {
    let Listing { names, .. } = folder.list()?;
    let mut files = vec![(own.clone(), hosts.clone())];
    files.extend(names.into_iter().filter(|(name, _)| name != own).filter_map(|(name, _)| match name::read(&name) {
        Named::Conf(other, hosts) if other == *id => Some((name, hosts)),
        _ => None,
    }));
    let ranks = rank(&files.iter().map(|(_, hosts)| ((), hosts)).collect::<Vec<_>>(), &source.host);
    let path = |at: usize| source.directory.join(&files[at].0);
    match &ranks[0] {
        Rank::Winner => Ok(true),
        Rank::OtherHost => Ok(false),
        Rank::Overridden(by) => Err(NoAddition::Overridden(path(*by))),
        Rank::Tie(others) => Err(NoAddition::Tie(path(others[0]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::SystemAccounts;

    /// What comes of adding a file for `sleep 1` on the host `here`, among files with these names and `sleep 1` or `sleep 2`.
    fn proposed(there: &[(&str, &str)], hosts: Option<&str>) -> String {
        let directory = tempfile::tempdir().unwrap();
        for (name, seconds) in there {
            let text = format!("{{ /* of old */ \"args\": [\"{seconds}\"], \"cmd\": \"sleep\" }}");
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let source = Source { directory: directory.path().to_owned(), host: "here".parse().unwrap() };
        let text = "{\"cmd\": \"sleep\", \"args\": [\"1\"]}";
        match propose(&source, &"web".parse().unwrap(), hosts, text, &SystemAccounts::new()) {
            Ok(Addition { path, here, present, .. }) => {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                format!("{name}{}{}", if here { " here" } else { "" }, if present { " present" } else { "" })
            }
            Err(error) => error.to_string().replace(&format!("{}/", directory.path().display()), ""),
        }
    }

    #[test]
    fn a_conf_is_written_where_this_host_would_use_it_or_is_not_meant() {
        for (there, hosts, expected) in [
            (&[][..], None, "web.conf here"),
            (&[], Some("HERE"), "web@HERE.conf here"),
            (&[], Some("there"), "web@there.conf"),
            (&[("web.conf", "1")], None, "web.conf here present"),
            (&[("web.conf", "2")], None, "web.conf is there already and says something else"),
            (&[("web.conf", "2")], Some("here"), "web@here.conf here"),
            (&[("web.conf", "2")], Some("there"), "web@there.conf"),
            (&[("web@here.conf", "2")], None, "this host would use web@here.conf"),
            (&[("web@there.conf", "2")], None, "web.conf here"),
            (&[("web@h*.conf", "2")], Some("*e"), "web@h*.conf means this host as closely"),
            (&[("db.conf", "2")], None, "web.conf here"),
            (&[("herder.json", "2")], None, "herder.json has problems"),
            (&[], Some("a/b"), "the file's name is wrong: \"a/b\" is no host"),
            (&[], Some(""), "the file's name is wrong: expected the name of a host"),
            (&[], Some("a@b"), "the file's name is wrong: \"web@a\" is no service id"),
        ] {
            let found = proposed(there, hosts);
            assert!(found == expected || found.starts_with(expected) && !expected.contains(".conf here"), "{found}");
        }
    }
}
