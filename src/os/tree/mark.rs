//! The marks that a run's processes inherit: to which run a process belongs that has left its parents, its group and its
//! session.
//!
//! `DHERDER_RUN` in the environment is for people and for programs. As evidence it is weak: a program may write over its
//! environment (nginx, postgres and redis do), the kernel shows it only to whoever may trace the process, and to nobody
//! while another program is being executed. The second mark is a limit on file locks (RLIMIT_LOCKS), which no kernel has
//! enforced since 2.4.25: it goes to every descendant, over exec, setsid and a change of user, nobody has a reason to touch
//! it, and all may read it (`/proc/PID/limits`) without waiting for anybody.
//!
//! Both can be lost (a login session gets limits of its own) or forged by the program: they tell where to look among what
//! descends from this daemon, and neither is proof of absence.

use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit};

use super::super::mark::run_in_environment;
use super::super::stat::unless_short;
use crate::model::{Bound, Limit, RunId};

const LINE: &str = "Max file locks";
/// Makes the hard limit larger than any soft one, and tells a mark from a limit that somebody meant.
const TOP: u64 = 1 << 63;

/// The limit on file locks that marks a run's processes: the herd in the hard one, the run in the soft one.
///
/// `None` where this process may not set it: it has a lower one itself, being marked by another herd, for instance. A conf
/// that sets this limit has its own.
pub(crate) fn limit_mark(run: RunId) -> Option<Limit> {
    let (_, own) = getrlimit(Resource::RLIMIT_LOCKS).ok()?;
    let hard = hard(run.herd).filter(|&hard| hard <= own)?;
    (run.number < TOP).then_some(Limit { soft: Bound::At(run.number), hard: Bound::At(hard) })
}

/// The run of this herd whose mark a process bears.
///
/// Only of a process with a limit on file locks that is no mark the environment is looked at: to read it may have to wait
/// for that process's memory, and for a disk that hangs with it. A run that goes without the mark has such a limit, since
/// its conf or a herd around this one has set it; what has none has put the mark aside, as a login does, and is told by
/// its session.
///
/// # Errors
/// No descriptor is left to look with.
pub(super) fn mark(pid: u32, herd: u64) -> io::Result<Option<RunId>> {
    Ok(match locks(pid, herd)? {
        Locks::Mark(run) => Some(run),
        Locks::Limited => unless_short(run_in_environment(pid))?.flatten().filter(|run| run.herd == herd),
        Locks::Unlimited => None,
    })
}

/// The limit on file locks that a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::os) enum Locks {
    /// None, as every process that nobody has given one; or the process is gone.
    Unlimited,
    /// One that is no mark of this herd.
    Limited,
    /// The mark of this run.
    Mark(RunId),
}

/// What the limits of a process say. To read them waits for nobody, whatever the process is doing.
///
/// # Errors
/// No descriptor is left to look with.
pub(in crate::os) fn locks(pid: u32, herd: u64) -> io::Result<Locks> {
    let limits = unless_short(fs::read_to_string(format!("/proc/{pid}/limits")))?;
    Ok(limits.map_or(Locks::Unlimited, |limits| of_limits(&limits, herd)))
}

/// A herd as a hard limit; all ones would be none.
fn hard(herd: u64) -> Option<u64> {
    Some(herd | TOP).filter(|hard| *hard != u64::MAX)
}

fn of_limits(limits: &str, herd: u64) -> Locks {
    let line = limits.lines().find_map(|line| line.strip_prefix(LINE)).unwrap_or_default();
    let mut values = line.split_whitespace().map(str::parse::<u64>);
    match (values.next(), values.next()) {
        (Some(Ok(number)), Some(Ok(found))) if hard(herd) == Some(found) => Locks::Mark(RunId { herd, number }),
        (_, Some(Ok(_))) => Locks::Limited,
        _ => Locks::Unlimited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_made_and_only_by_its_herd() {
        let run = RunId { herd: 0x8000_0000_0000_00ab, number: 7 };
        let Some(Limit { soft: Bound::At(soft), hard: Bound::At(hard) }) = limit_mark(run) else {
            // Tests that are themselves below a herd's mark.
            return;
        };
        assert!(soft <= hard);
        let limits = format!("Limit   Soft Limit  Hard Limit  Units\nMax file locks   {soft}   {hard}   locks\n");
        assert_eq!(of_limits(&limits, run.herd), Locks::Mark(run));
        assert_eq!(of_limits(&limits, 0xab + 1), Locks::Limited);
        assert_eq!(of_limits("Max file locks   unlimited   unlimited   locks\n", run.herd), Locks::Unlimited);
        assert_eq!(of_limits("Max file locks   7   4096   locks\n", run.herd), Locks::Limited);
        assert_eq!(of_limits("", run.herd), Locks::Unlimited);
        assert_eq!(limit_mark(RunId { herd: u64::MAX, number: 7 }), None, "no limit at all is no mark");
    }
}
