//! Which services a conf directory speaks of, by the names of its files alone.

use std::collections::BTreeMap;

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
}
