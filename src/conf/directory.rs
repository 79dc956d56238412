//! One pass over the conf directory: which file is whose, and what each says.

use std::collections::BTreeMap;

use super::folder::Folder;
use super::inventory::Inventory;
use super::name::Rank;
use super::pool::Pool;
use super::{Accounts, DirectoryError, Found, Loaded, Skipped, Source, SystemAccounts};

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
    let mut inventory = Inventory::of(&folder, source)?;
    let settings = inventory.settings(&folder, accounts);
    let mut loaded = Loaded {
        settings: None,
        services: BTreeMap::new(),
        skipped: Vec::new(),
        strays: std::mem::take(&mut inventory.strays),
        identity: folder.identity,
        whole: inventory.whole,
        conf_count: inventory.conf_count,
    };
    let mut pool = Pool::default();
    for conf in &inventory.confs {
        match &conf.rank {
            Rank::OtherHost => loaded.skipped.push(Skipped { id: conf.id.clone(), path: conf.path.clone() }),
            Rank::Overridden(_) => {}
            Rank::Tie(others) => {
                let problems = vec![inventory.tie(others)];
                // The first file of a tie speaks for the service.
                if loaded.services.contains_key(&conf.id) {
                    loaded.strays.insert(conf.path.clone(), problems);
                } else {
                    let broken = Found::Broken { path: conf.path.clone(), problems, text: None };
                    loaded.services.insert(conf.id.clone(), broken);
                }
            }
            Rank::Winner => match conf.read(&folder, settings.as_ref(), accounts, &mut pool) {
                Some(found) => drop(loaded.services.insert(conf.id.clone(), found)),
                // It may have been replaced by another file of another name that was not listed.
                None => loaded.whole = false,
            },
        }
    }
    loaded.settings = settings.ok();
    Ok(loaded)
}
