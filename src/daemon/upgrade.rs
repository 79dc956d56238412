//! An upgrade as it is asked for: which file is meant, whether it may be executed, and what the keeper says.

use std::convert::Infallible;
use std::path::Path;

use tokio::sync::oneshot;

use crate::api::UpgradeResult;
use crate::front::{NotUpgraded, Upgrades};
use crate::keeper::{Client, Outcome};
use crate::os::{self, Executable};

/// What the kernel says behind the path of a file that is not there any more (proc_pid_exe(5)).
const DELETED: &str = " (deleted)";

/// Who replaces this daemon's program: its keeper, the process of this number.
pub(super) fn upgrades(keeper: &Client, pid: u32) -> Upgrades {
    let (last, client) = (keeper.clone(), keeper.clone());
    let begin = move |path| {
        let client = client.clone();
        async move {
            let Err(why) = upgrade(&client, pid, path).await;
            NotUpgraded(why)
        }
    };
    Upgrades::new(move || last.upgraded().map(result), begin)
}

fn result(Outcome { number, from, to, path, failed }: Outcome) -> UpgradeResult {
    UpgradeResult { number, from, to, path, failed }
}

/// Comes back only with the reason why not.
async fn upgrade(keeper: &Client, pid: u32, path: Option<String>) -> Result<Infallible, String> {
    let (found, result) = oneshot::channel();
    // A disk may hang. The keeper opens the file once more, and must not be the first to learn that. What it finds then
    // is what counts.
    os::aside(&os::OWN, move || _ = found.send(find(pid, path))).map_err(|error| error.to_string())?;
    let path = result.await.map_err(|error| error.to_string())??;
    let outcome = keeper.upgrade(path.clone()).ok_or("another upgrade is under way")?;
    let outcome = outcome.await.map_err(|error| error.to_string())?;
    Err(format!("{path}: {}", outcome.failed.unwrap_or_default()))
}

/// The file that is meant, if it is one that this user's daemon may execute: it is code, as a conf is.
fn find(pid: u32, path: Option<String>) -> Result<String, String> {
    let own = || {
        let path = std::fs::read_link(format!("/proc/{pid}/exe")).map_err(|error| error.to_string())?;
        let path = path.into_os_string().into_string().map_err(|path| format!("{} is not UTF-8", path.display()))?;
        Ok::<_, String>(path.strip_suffix(DELETED).map(str::to_owned).unwrap_or(path))
    };
    let path = path.map_or_else(own, Ok)?;
    let wrong = |what: String| Err(format!("{path}: {what}"));
    if !path.starts_with('/') {
        return wrong("not an absolute path".to_owned());
    }
    match Executable::trusted(Path::new(&path)) {
        Ok(_) => Ok(path),
        Err(error) => wrong(error.to_string()),
    }
}
