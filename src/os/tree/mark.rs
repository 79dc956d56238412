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

#![expect(unsafe_code, reason = "prlimit(2) of another process has no safe form")]

use std::fs::File;
use std::io::{self, Read};
use std::ptr;

use nix::sys::resource::{Resource, getrlimit};

use super::super::mark::run_in_environment;
use super::super::stat::unless_short;
use crate::model::{Bound, Limit, RunId};

const LINE: &str = "Max file locks";
/// Makes the hard limit larger than any soft one, and tells a mark from a limit that somebody meant.
const TOP: u64 = 1 << 63;
/// So many herds within one another have marks: each is lower than the one around it, since nobody may raise a limit.
const DEPTHS: u32 = 8;

/// The limit on file locks that marks a run's processes: the herd in the hard one, the run in the soft one.
///
/// `None` where this process may not set it: it has a low one itself. A conf that sets this limit has its own.
pub(crate) fn limit_mark(run: RunId) -> Option<Limit> {
    let (_, own) = getrlimit(Resource::RLIMIT_LOCKS).ok()?;
    mark_within(own, run)
}

fn mark_within(own: u64, run: RunId) -> Option<Limit> {
    let hard = hards(run.herd).find(|&hard| hard <= own)?;
    (run.number <= hard).then_some(Limit { soft: Bound::At(run.number), hard: Bound::At(hard) })
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
    match limits_of(pid) {
        Asked::Says(soft, hard) => Ok(of_values(soft, hard, herd)),
        Asked::Nobody => Ok(Locks::Unlimited),
        Asked::NotPermitted => read_locks(pid, herd),
    }
}

/// What the kernel says of a process's limit on file locks when it is asked.
enum Asked {
    Says(u64, u64),
    Nobody,
    /// It is another user's, or a program that runs as another one.
    NotPermitted,
}

/// Asks, which takes a hundredth of the time that it takes to read the text.
fn limits_of(pid: u32) -> Asked {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let none = ptr::null();
    // SAFETY: the buffer lives over the call; without a new limit nothing is changed (prlimit(2)).
    let result = unsafe { libc::prlimit64(pid.cast_signed(), libc::RLIMIT_LOCKS, none, &raw mut limit) };
    match (result, io::Error::last_os_error().raw_os_error()) {
        (0, _) => Asked::Says(limit.rlim_cur, limit.rlim_max),
        (_, Some(libc::ESRCH)) => Asked::Nobody,
        _ => Asked::NotPermitted,
    }
}

/// As [`locks`], of whoever may be read about and not asked.
fn read_locks(pid: u32, herd: u64) -> io::Result<Locks> {
    // Larger than the text, of which one call gives all that there is room for.
    let mut buffer = [0; 4096];
    let read = File::open(format!("/proc/{pid}/limits")).and_then(|mut file| file.read(&mut buffer));
    let limits = unless_short(read)?.and_then(|length| str::from_utf8(buffer.get(..length)?).ok());
    Ok(limits.map_or(Locks::Unlimited, |limits| of_limits(limits, herd)))
}

/// A herd as a hard limit, the highest first; all ones would be none.
fn hards(herd: u64) -> impl Iterator<Item = u64> {
    let at = move |depth| TOP >> depth | herd & ((TOP >> depth) - 1);
    (0..DEPTHS).map(at).filter(|hard| *hard != u64::MAX)
}

fn of_limits(limits: &str, herd: u64) -> Locks {
    let line = limits.lines().find_map(|line| line.strip_prefix(LINE)).unwrap_or_default();
    let mut values = line.split_whitespace().map(|value| value.parse().unwrap_or(libc::RLIM64_INFINITY));
    match (values.next(), values.next()) {
        (Some(soft), Some(hard)) => of_values(soft, hard, herd),
        _ => Locks::Unlimited,
    }
}

fn of_values(soft: u64, hard: u64, herd: u64) -> Locks {
    if hard == libc::RLIM64_INFINITY {
        Locks::Unlimited
    } else if soft != libc::RLIM64_INFINITY && hards(herd).any(|mark| mark == hard) {
        Locks::Mark(RunId { herd, number: soft })
    } else {
        Locks::Limited
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn who_is_asked_says_what_can_be_read() {
        let herd = 0xab;
        let marked = |limit: &str| {
            let script = format!("{limit}; echo; exec cat");
            let mut command = Command::new("bash");
            let mut child = command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            // It has said something: the limit is set.
            child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
            let (asked, read) = (locks(child.id(), herd).unwrap(), read_locks(child.id(), herd).unwrap());
            drop(child.stdin.take());
            child.wait().unwrap();
            assert_eq!(asked, read, "{limit}");
            asked
        };
        let top = hards(herd).next().unwrap();
        // Tests that are themselves below a herd's mark can't set it.
        let may_set = getrlimit(Resource::RLIMIT_LOCKS).unwrap().1 == u64::MAX;
        assert!(!may_set || marked(":") == Locks::Unlimited);
        assert_eq!(marked("ulimit -Sx 7; ulimit -Hx 4096"), Locks::Limited);
        if may_set {
            assert_eq!(marked(&format!("ulimit -Sx 7; ulimit -Hx {top}")), Locks::Mark(RunId { herd, number: 7 }));
        }
        assert_eq!(locks(0x7fff_ffff, herd).unwrap(), Locks::Unlimited, "nobody has the number");
    }

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
    }

    #[test]
    fn a_herd_within_a_run_of_another_marks_its_own() {
        let mut own = u64::MAX;
        for herd in [u64::MAX, 0xab, u64::MAX - 1, u64::MAX >> 1, 0xab] {
            let run = RunId { herd, number: 7 };
            let Some(Limit { soft: Bound::At(7), hard: Bound::At(hard) }) = mark_within(own, run) else {
                panic!("no mark of {herd:x} within {own:x}");
            };
            assert!(hard <= own && hard < u64::MAX, "no limit at all is no mark");
            assert_eq!(of_limits(&format!("Max file locks   7   {hard}   locks\n"), herd), Locks::Mark(run));
            assert_eq!(of_limits(&format!("Max file locks   7   {hard}   locks\n"), 0xcd), Locks::Limited);
            own = hard;
        }
        assert_eq!(mark_within(4096, RunId { herd: 0xab, number: 7 }), None, "somebody meant it");
    }
}
