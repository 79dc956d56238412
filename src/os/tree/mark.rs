//! The marks that a run's processes inherit: to which run a process belongs that has left its parents, its group and its
//! session.
//!
//! `DHERDER_RUN` in the environment is for people and for programs. As evidence it is weak: a program may write over its
//! environment (nginx, postgres and redis do), the kernel shows it only to whoever may trace the process, and to nobody
//! while another program is being executed. The second mark is a limit on file locks (RLIMIT_LOCKS), which no kernel has enforced since 2.4.25: it goes to every descendant,
//! over exec, setsid and a change of user, nobody has a reason to touch it, and all may read it (`/proc/PID/limits`).
//!
//! Both can be lost (a login session gets limits of its own) or forged by the program: they tell where to look among what
//! descends from this daemon, and neither is proof of absence.

use std::fs::{self, File};
use std::io::Read;

use nix::sys::resource::{Resource, getrlimit};

use crate::model::{Bound, Limit, RunId};

const VARIABLE: &[u8] = b"DHERDER_RUN=";
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
pub(super) fn mark(pid: u32, herd: u64) -> Option<RunId> {
    if let Locks::Mark(run) = locks(pid, herd) {
        return Some(run);
    }
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    of_environment(&environment, herd)
}

/// The limit on file locks that a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locks {
    /// None, as every process that nobody has given one; or the process is gone.
    Unlimited,
    /// One that is no mark of this herd.
    Limited,
    /// The mark of this run.
    Mark(RunId),
}

/// What the limits of a process say. To read them waits for nobody, whatever the process is doing.
pub(super) fn locks(pid: u32, herd: u64) -> Locks {
    // Larger than the text, of which one call gives all that there is room for.
    let mut buffer = [0; 4096];
    let read = File::open(format!("/proc/{pid}/limits")).and_then(|mut file| file.read(&mut buffer));
    let limits = read.ok().and_then(|length| str::from_utf8(buffer.get(..length)?).ok());
    limits.map_or(Locks::Unlimited, |limits| of_limits(limits, herd))
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

fn of_environment(environment: &[u8], herd: u64) -> Option<RunId> {
    let value = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(VARIABLE))?;
    let run: RunId = str::from_utf8(value).ok()?.parse().ok()?;
    (run.herd == herd).then_some(run)
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

    #[test]
    fn an_environment_is_searched_by_whole_names() {
        let run = RunId { herd: 0xab, number: 3 };
        assert_eq!(of_environment(b"A=1\0DHERDER_RUN=00000000000000ab-3\0B=\0", 0xab), Some(run));
        assert_eq!(of_environment(b"XDHERDER_RUN=00000000000000ab-3\0", 0xab), None);
        assert_eq!(of_environment(b"DHERDER_RUN=00000000000000ac-3\0", 0xab), None);
        assert_eq!(of_environment(b"redis-server *:6379\0\0\0", 0xab), None);
    }
}
