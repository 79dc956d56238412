//! One pass over the conf directory: which file is whose, and what each says.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::time::SystemTime;

use super::ahead::ahead;
use super::folder::Folder;
use super::inventory::{Inventory, With};
use super::name::Rank;
use super::pool::Pool;
use super::remembered::Remembered;
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
    read(source, accounts, &mut Remembered::default())
}

/// As [`load`], but that confs which are as they were when they were remembered are not read again.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_changes(source: &Source, remembered: &mut Remembered) -> Result<Loaded, DirectoryError> {
    read(source, &SystemAccounts::new(), remembered)
}

fn read(source: &Source, accounts: &dyn Accounts, remembered: &mut Remembered) -> Result<Loaded, DirectoryError> {
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
    remembered.hold(settings.as_ref().ok());
    // What can't be trusted, or has no settings to go with, has no spec to be remembered.
    let may_be_known = folder.flaw.is_none() && settings.is_ok();
    let mut unknown = Vec::new();
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
            Rank::Winner => match may_be_known.then(|| conf.known(&folder, remembered)).flatten() {
                Some(found) => _ = loaded.services.insert(conf.id.clone(), found),
                None => unknown.push(conf),
            },
        }
    }
    let with = With { folder: &folder, settings: settings.as_ref(), accounts };
    let (now, mut pool) = (SystemTime::now(), Pool::default());
    ahead(
        &unknown,
        |conf| conf.text(&folder),
        |conf, text| {
            // It may have been replaced by another file of another name that was not listed.
            let Some((found, stamp)) = conf.lowered(text, &with, &mut pool, remembered) else {
                return loaded.whole = false;
            };
            if let (Found::Good { spec, .. }, Some(stamp), true) = (&found, stamp, may_be_known) {
                remembered.put(conf.name(), stamp, spec, now);
            }
            loaded.services.insert(conf.id.clone(), found);
        },
    );
    let names: HashSet<&OsStr> = inventory.confs.iter().map(|conf| conf.name()).collect();
    remembered.retain(|name| names.contains(name));
    loaded.settings = settings.ok();
    Ok(loaded)
}
