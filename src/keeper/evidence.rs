//! What a record of the run table and the processes that there are say together: does the run still live?
//!
//! A number alone says nothing: it may be a stranger's by now. What is not certainly ours is not touched.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::run_table::Record;
use crate::model::Ending;
use crate::os::{Mark, find, mark_of, open_process};

/// What became of a run while nobody looked.
#[derive(Debug)]
pub(crate) enum Evidence {
    /// Its process is there, or its zombie: the descriptor is of it and of no other.
    Alive(OwnedFd),
    /// The last keeper knew how it ended.
    Ended(Ending),
    /// It has ended, and the table does not say how; or it was never made.
    Gone,
    /// It can't be told yet: at this moment the process is being executed. To be asked again a moment later.
    NotYet,
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
    /// A process that the record does not name further, and the mark that it carries.
    Somebody(Mark),
}

/// What is to be made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Alive,
    Ended(Ending),
    Gone,
    NotYet,
}

/// Looks for the process of a record.
///
/// # Errors
/// The system has no descriptor or no `/proc` to look with: then nobody knows, and nothing may be launched in its place.
pub(crate) fn examine(record: &Record) -> io::Result<Evidence> {
    let (seen, pidfd) = look(record)?;
    let own_uid = nix::unistd::getuid().as_raw();
    Ok(match (judge(record, seen, own_uid), pidfd) {
        (Verdict::Alive, Some(pidfd)) => Evidence::Alive(pidfd),
        (Verdict::Ended(ending), _) => Evidence::Ended(ending),
        (Verdict::NotYet, _) => Evidence::NotYet,
        (Verdict::Gone | Verdict::Alive, _) => Evidence::Gone,
    })
}

fn look(record: &Record) -> io::Result<(Seen, Option<OwnedFd>)> {
    let Some(pid) = record.pid else { return Ok((Seen::Nobody, None)) };
    if let Some(identity) = record.identity {
        let itself = find(pid, identity)?;
        return Ok((if itself.is_some() { Seen::Itself } else { Seen::Stranger }, itself));
    }
    let Some(pidfd) = open_process(pid)? else { return Ok((Seen::Nobody, None)) };
    let seen = mark_of(pid, pidfd.as_fd())?.map_or(Seen::Nobody, Seen::Somebody);
    Ok((seen, Some(pidfd)))
}

fn judge(record: &Record, seen: Seen, own_uid: u32) -> Verdict {
    if let Some(ending) = record.ended {
        return Verdict::Ended(ending);
    }
    match seen {
        Seen::Itself => Verdict::Alive,
        // The keeper was killed after it had made the process, and before it could say which one it is. Its environment is
        // fresh then: a program that writes over it has had no time to.
        Seen::Somebody(Mark::Of { run, uid }) if run == record.run && (uid == own_uid || uid == record.uid) => {
            Verdict::Alive
        }
        Seen::Somebody(Mark::NotYet) => Verdict::NotYet,
        Seen::Somebody(Mark::Of { .. } | Mark::Missing | Mark::Hidden) | Seen::Stranger | Seen::Nobody => Verdict::Gone,
    }
}

#[cfg(test)]
mod tests;
