//! What a record of the run table and the processes that there are say together: does the run still live?
//!
//! A number alone says nothing: it may be a stranger's by now. What is not certainly ours is not touched.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::run_table::Record;
use crate::model::Ending;
use crate::os::{Claim, claim_of, find, open_process};

/// What became of a run while nobody looked.
#[derive(Debug)]
pub(crate) enum Evidence {
    /// Its process is there, or its zombie: the descriptor is of it and of no other.
    Alive(OwnedFd),
    /// The last keeper knew how it ended.
    Ended(Ending),
    /// It has ended, and the table does not say how; or it was never made.
    Gone,
}

/// What a look has shown.
#[derive(Debug)]
pub(crate) enum Look {
    /// This.
    Settled(Evidence),
    /// A moment later there will be more to see: the process is becoming a program at this moment. Should it go on doing so,
    /// the descriptor is of one that is to be killed, since it might be the run's.
    NotYet(Option<OwnedFd>),
}

/// What has the number of a record's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// No process, or there is no number.
    Nobody,
    /// The process that the record names.
    Itself,
    /// Another process than the record names.
    Stranger,
    /// A process that the record does not name further: what it claims, and its real user.
    Somebody(Claim, u32),
}

/// What is to be made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Alive,
    Ended(Ending),
    Gone,
    NotYet { kill: bool },
}

/// Looks for the process of a record. The lock is that of the state directory.
///
/// # Errors
/// The system has no descriptor or no `/proc` to look with: then nobody knows, and nothing may be launched in its place.
pub(crate) fn examine(record: &Record, lock: BorrowedFd<'_>) -> io::Result<Look> {
    let (seen, pidfd) = look(record, lock)?;
    let own_uid = nix::unistd::getuid().as_raw();
    Ok(Look::Settled(match (judge(record, seen, own_uid), pidfd) {
        (Verdict::NotYet { kill }, pidfd) => return Ok(Look::NotYet(pidfd.filter(|_| kill))),
        (Verdict::Alive, Some(pidfd)) => Evidence::Alive(pidfd),
        (Verdict::Ended(ending), _) => Evidence::Ended(ending),
        (Verdict::Gone | Verdict::Alive, _) => Evidence::Gone,
    }))
}

fn look(record: &Record, lock: BorrowedFd<'_>) -> io::Result<(Seen, Option<OwnedFd>)> {
    let Some(pid) = record.pid else { return Ok((Seen::Nobody, None)) };
    if let Some(identity) = record.identity {
        let itself = find(pid, identity)?;
        return Ok((if itself.is_some() { Seen::Itself } else { Seen::Stranger }, itself));
    }
    let Some(pidfd) = open_process(pid)? else { return Ok((Seen::Nobody, None)) };
    let claim = claim_of(pid, pidfd.as_fd(), record.run.herd, lock)?;
    Ok((claim.map_or(Seen::Nobody, |(claim, uid)| Seen::Somebody(claim, uid)), Some(pidfd)))
}

fn judge(record: &Record, seen: Seen, own_uid: u32) -> Verdict {
    if let Some(ending) = record.ended {
        return Verdict::Ended(ending);
    }
    let claim = match seen {
        Seen::Itself => return Verdict::Alive,
        Seen::Somebody(claim, uid) if uid == own_uid || uid == record.uid => claim,
        Seen::Somebody(..) | Seen::Stranger | Seen::Nobody => return Verdict::Gone,
    };
    // The keeper was killed after it had made the process, and before it could say which one it is.
    match claim {
        // Only a keeper's own children are that, and this is the one that has the number.
        Claim::Launching => Verdict::Alive,
        // Its environment is fresh: a program that writes over it has had no time to.
        Claim::Of(run) if run == record.run => Verdict::Alive,
        Claim::Of(_) | Claim::NoRun => Verdict::Gone,
        Claim::Executing => Verdict::NotYet { kill: true },
        // It has not come to its limits yet, or it is somebody's who hides for good: that one is not touched.
        Claim::Hidden => Verdict::NotYet { kill: false },
    }
}

#[cfg(test)]
mod tests;
