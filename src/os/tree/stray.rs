//! What belongs to a run and descends from no process that is known any more: it left its parents while an earlier keeper
//! lived, and became init's child when that one was killed.
//!
//! It is found by looking at every process there is, so that nobody does so for a run of their own. Nothing but its mark says whose it is, and so that has to say it beyond doubt: where both marks are there, they
//! agree; the user is one of the run's; and it is no daemon of this program that was started within the run, nor anything
//! below one. Such a daemon has services of its own, which may bear the outer mark, too: a limit is never raised again.
//!
//! Only of a process with a limit on file locks the environment is looked at. Hardly any has one, and to read a stranger's
//! environment may have to wait for that stranger's memory.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use super::super::mark::{Mark, mark_of};
use super::super::stat::{facts, real_uid, unless_short};
use super::kill::{Cull, kill_tree_but};
use super::kin::Kin;
use super::mark::{Locks, locks};
use crate::model::RunId;

/// How often one that is being executed is looked at before it counts as one that bears no mark.
const EXEC_LOOKS: usize = 100;
/// More ancestors than any process has, should the numbers go round.
const GENERATIONS: usize = 1000;

/// A process that bears the mark of a run, held.
#[derive(Debug)]
pub(crate) struct Stray {
    /// Whose it is.
    pub(crate) run: RunId,
    /// The process, which has not ended.
    pub(crate) kin: Kin,
}

/// All processes of the runs of this herd that are sought, each said with the real user of the process. Of a run that may not
/// be one of those nothing is looked at but its mark.
///
/// # Errors
/// There is no `/proc` to look with, or there are not enough descriptors.
pub(crate) fn strays(
    herd: u64,
    may_be: impl Fn(RunId) -> bool,
    sought: impl Fn(RunId, u32) -> bool,
) -> io::Result<Vec<Stray>> {
    let mut strays = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let limit = locks(pid, herd)?;
        if limit == Locks::Unlimited || matches!(limit, Locks::Mark(run) if !may_be(run)) {
            continue;
        }
        match Kin::open(pid) {
            Ok(kin) => strays.extend(proved(kin, herd, &sought)?),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(strays)
}

/// Kills strays and all that descends from them, but for a daemon of this program and what is below it. `more` looks for
/// further strays, those that are known included or not: what forks while it is looked for is found by looking again.
pub(crate) fn kill_strays(strays: Vec<Kin>, more: impl FnMut() -> Vec<Kin>) -> Cull {
    kill_tree_but(is_own_program, strays, more)
}

/// The process as a stray, if it is one.
fn proved(kin: Kin, herd: u64, sought: impl Fn(RunId, u32) -> bool) -> io::Result<Option<Stray>> {
    // One that has ended belongs to whoever reaps it.
    if kin.has_ended() {
        return Ok(None);
    }
    let Some(run) = mark(&kin, herd)? else { return Ok(None) };
    let Some(uid) = unless_short(real_uid(kin.pid().cast_signed()))?.flatten() else { return Ok(None) };
    let meant = sought(run, uid) && !is_of_a_daemon(kin.pid(), run)?;
    // What had the number while all that was read is this one, if this one still has it.
    Ok((meant && kin.is_there()).then_some(Stray { run, kin }))
}

/// The run of this herd that a process is of, where its marks leave no doubt.
fn mark(kin: &Kin, herd: u64) -> io::Result<Option<RunId>> {
    let limit = locks(kin.pid(), herd)?;
    for _ in 0..EXEC_LOOKS {
        let mark = unless_short(mark_of(kin.pid().cast_signed(), kin.as_fd()))?.flatten();
        let Some(mark) = mark else { return Ok(None) };
        let of_environment = match mark {
            Mark::Of { run, .. } => Some(run),
            Mark::Missing | Mark::Hidden => None,
            Mark::NotYet => {
                std::thread::yield_now();
                continue;
            }
        };
        return Ok(agreed(limit, of_environment).filter(|run| run.herd == herd));
    }
    Ok(None)
}

fn agreed(limit: Locks, of_environment: Option<RunId>) -> Option<RunId> {
    match (limit, of_environment) {
        (Locks::Mark(run), Some(other)) => (run == other).then_some(run),
        (Locks::Mark(run), None) => Some(run),
        (Locks::Limited | Locks::Unlimited, run) => run,
    }
}

/// Whether a process is, or descends from, a daemon of this program that bears the mark of this run itself.
fn is_of_a_daemon(mut pid: u32, run: RunId) -> io::Result<bool> {
    for _ in 0..GENERATIONS {
        if is_own_program(pid) && super::mark::mark(pid, run.herd)? == Some(run) {
            return Ok(true);
        }
        match facts(pid)? {
            Some(facts) if facts.parent > 1 => pid = facts.parent,
            Some(_) | None => break,
        }
    }
    Ok(false)
}

/// Whether a process executes a program of this one's name. To read where a link leads asks no file system.
fn is_own_program(pid: u32) -> bool {
    let name = |of: &str| {
        let path = fs::read_link(format!("/proc/{of}/exe")).ok()?.into_os_string().into_vec();
        // The file may have been replaced by a newer one (proc_pid_exe(5)).
        let path = path.strip_suffix(b" (deleted)").unwrap_or(&path);
        path.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec)
    };
    name(&pid.to_string()).is_some_and(|theirs| Some(theirs) == name("self"))
}
