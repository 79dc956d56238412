//! Which services a conf directory speaks of, and in which files, by the names of these alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::folder::Folder;
use super::inventory::Inventory;
use super::name::Rank;
use super::{DirectoryError, Source};
use crate::model::ServiceId;

/// The ids that a directory has files of, and whether each is a service of this host. No file is read.
///
/// # Errors
/// The directory can't be opened or listed.
pub fn known(source: &Source) -> Result<BTreeMap<ServiceId, bool>, DirectoryError> {
    let folder = Folder::open(&source.directory, None)?;
    let mut known = BTreeMap::new();
    for file in Inventory::of(&folder, source)?.confs {
        *known.entry(file.id).or_default() |= file.rank != Rank::OtherHost;
    }
    Ok(known)
}

/// The files of one service, by what they are for this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesOf {
    /// The one that is used; several where nobody can tell which.
    pub used: Vec<PathBuf>,
    /// Those that would be used if there were none of these.
    pub overridden: Vec<PathBuf>,
    /// Those of other hosts.
    pub elsewhere: Vec<PathBuf>,
}

/// The files that a directory has of a service. None of them is read.
///
/// # Errors
/// The directory can't be opened or listed.
pub fn files_of(source: &Source, id: &ServiceId) -> Result<FilesOf, DirectoryError> {
    let folder = Folder::open(&source.directory, None)?;
    let mut files = FilesOf::default();
    for file in Inventory::of(&folder, source)?.confs.into_iter().filter(|file| file.id == *id) {
        let list = match file.rank {
            Rank::Winner | Rank::Tie(_) => &mut files.used,
            Rank::Overridden(_) => &mut files.overridden,
            Rank::OtherHost => &mut files.elsewhere,
        };
        list.push(file.path);
    }
    Ok(files)
}

/// Whether there is a conf in a directory, for whatever host and however wrong; also where not all of it could be listed.
///
/// # Errors
/// The directory can't be opened or listed.
pub fn has_confs(source: &Source) -> Result<bool, DirectoryError> {
    let inventory = Inventory::of(&Folder::open(&source.directory, None)?, source)?;
    Ok(inventory.conf_count > 0 || !inventory.whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_known_by_names_alone() {
        let directory = tempfile::tempdir().unwrap();
        for name in
            ["web.conf", "web@there.conf", "away@there.conf", "broken.conf", "herder.json", ".x.conf", "y.conf~"]
        {
            std::fs::write(directory.path().join(name), "no conf").unwrap();
        }
        let source = Source { directory: directory.path().to_owned(), host: "here".parse().unwrap() };
        let found: Vec<(String, bool)> =
            known(&source).unwrap().into_iter().map(|(id, here)| (id.to_string(), here)).collect();
        assert_eq!(found, [("away".into(), false), ("broken".into(), true), ("web".into(), true)]);
        assert!(known(&Source { directory: directory.path().join("none"), ..source }).is_err());
    }

    #[test]
    fn the_files_of_a_service_are_sorted_out_for_this_host() {
        let directory = tempfile::tempdir().unwrap();
        let source = Source { directory: directory.path().to_owned(), host: "here".parse().unwrap() };
        let files = |id: &str| {
            let FilesOf { used, overridden, elsewhere } = files_of(&source, &id.parse().unwrap()).unwrap();
            let names = |paths: Vec<PathBuf>| -> Vec<String> {
                paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
            };
            [names(used), names(overridden), names(elsewhere)].map(|names| names.join(" ")).join("; ")
        };
        std::fs::write(directory.path().join("herder.json"), "{}").unwrap();
        std::fs::write(directory.path().join("web.conf~"), "{}").unwrap();
        assert!(!has_confs(&source).unwrap());
        for name in ["web.conf", "web@here.conf", "web@there.conf", "db@h*.conf", "db@*e.conf", "db.conf"] {
            std::fs::write(directory.path().join(name), "no conf").unwrap();
        }
        assert!(has_confs(&source).unwrap());
        assert_eq!(files("web"), "web@here.conf; web.conf; web@there.conf");
        assert_eq!(files("db"), "db@*e.conf db@h*.conf; db.conf; ");
        assert_eq!(files("we"), "; ; ");
    }
}
