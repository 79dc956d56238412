//! Every file of a conf directory, whatever host it is for: what `check` shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::Folder;
use super::inventory::{Inventory, With};
use super::name::Rank;
use super::{Accounts, DirectoryError, Found, Problem, Source};
use crate::model::{ServiceId, ServiceSpec};
use crate::os::ownership::flaw;

/// One file, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// The file.
    pub path: PathBuf,
    /// What it is here.
    pub role: Role,
    /// Its problems, in the order of its text.
    pub problems: Vec<Problem>,
    /// Why a daemon would not trust it where it is, if it was not looked at as a part of the conf directory.
    pub distrust: Option<String>,
    /// What it says, where it has no problem and is a conf.
    pub spec: Option<Arc<ServiceSpec>>,
}

/// What a file of a conf directory is for this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The conf of a service.
    Here(ServiceId),
    /// A conf that gives way to a more specific one.
    Overridden(ServiceId, PathBuf),
    /// A conf of other hosts.
    OtherHost(ServiceId),
    /// The settings that hold here.
    Settings,
    /// Settings of other hosts, or that give way to more specific ones.
    OtherSettings,
    /// None of these: its name is wrong, or it is the directory.
    Stray,
}

/// Reads all files of a directory, or, if `only` names one, that file alone; the confs of other hosts as far as that can
/// be done here. In a `live` directory, files that others may write to have a problem; anywhere else that is only noted.
///
/// # Errors
/// The directory can't be opened or listed.
pub fn examine(
    source: &Source,
    only: Option<&Path>,
    live: bool,
    accounts: &dyn Accounts,
) -> Result<Vec<Examined>, DirectoryError> {
    let euid = accounts.own().0;
    let folder = Folder::open(&source.directory, live.then_some(euid))?;
    let mut inventory = Inventory::of(&folder, source)?;
    let settings = inventory.settings(&folder, accounts).unwrap_or_default();
    let wanted = |path: &Path| only.is_none_or(|only| only.file_name() == path.file_name());
    let mut found = Vec::new();
    for conf in inventory.confs.iter().filter(|conf| wanted(&conf.path)) {
        let id = conf.id.clone();
        let (role, tie) = match &conf.rank {
            Rank::Winner => (Role::Here(id), None),
            Rank::Tie(others) => (Role::Here(id), Some(inventory.tie(others))),
            Rank::Overridden(by) => (Role::Overridden(id, inventory.confs[*by].path.clone()), None),
            Rank::OtherHost => (Role::OtherHost(id), None),
        };
        let (mut problems, spec) =
            match conf.read(&With { folder: &folder, settings: Ok(&settings), accounts: conf.accounts(accounts) }) {
                None => continue,
                Some(Found::Good { spec, .. }) => (Vec::new(), Some(spec)),
                Some(Found::Broken { problems, .. }) => (problems, None),
            };
        problems.splice(0..0, tie);
        let distrust = distrust(&conf.path, live, euid);
        found.push(Examined { path: conf.path.clone(), role, problems, distrust, spec });
    }
    found.extend(others(&mut inventory, &folder).into_iter().filter(|one| wanted(&one.path)).map(|mut one| {
        one.distrust = distrust(&one.path, live, euid);
        one
    }));
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// The settings, also those of other hosts, and the strays.
fn others(inventory: &mut Inventory, folder: &Folder) -> Vec<Examined> {
    let file = |path: PathBuf, role, problems| Examined { path, role, problems, distrust: None, spec: None };
    let mut found = Vec::new();
    if let Some((path, ..)) = &inventory.settings_file {
        let problems = inventory.strays.remove(path).unwrap_or_default();
        found.push(file(path.clone(), Role::Settings, problems));
    }
    for (path, problems) in inventory.other_settings(folder) {
        found.push(file(path, Role::OtherSettings, problems));
    }
    found.extend(
        std::mem::take(&mut inventory.strays).into_iter().map(|(path, problems)| file(path, Role::Stray, problems)),
    );
    found
}

fn distrust(path: &Path, live: bool, euid: u32) -> Option<String> {
    let metadata = if live { None } else { path.metadata().ok() };
    metadata.and_then(|metadata| flaw(&metadata, euid)).map(|flaw| format!("the file {flaw}, before a daemon runs it"))
}
