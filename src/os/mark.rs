//! The mark that every run carries in its environment (proc_pid_environ(5)).
//!
//! It proves that a process began as that run. That it is missing proves nothing: nginx, redis and postgres write over
//! their environment.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::BorrowedFd;

use super::identity::is_there;
use super::stat::{Stat, is_gone, real_uid};
use crate::model::{RunId, ServiceId};

/// What the environment of a process says about where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It names a run.
    Of {
        /// Which one.
        run: RunId,
        /// The process's real user.
        uid: u32,
    },
    /// It names none.
    Missing,
    /// It may not be read (ptrace(2), `PTRACE_MODE_READ_FSCREDS`).
    Hidden,
    /// It is being executed at this moment and has no environment yet. A moment later it has.
    NotYet,
}

const NAME: &[u8] = b"DHERDER_RUN=";
const SERVICE: &[u8] = b"DHERDER_SERVICE=";
/// More than the kernel lets arguments and environment have together (execve(2)).
const LONGEST: u64 = 8 << 20;

/// The mark of the process that has this number and this descriptor; `None` if it has been reaped meanwhile.
///
/// # Errors
/// The system has no descriptor or no `/proc` to look with: then nobody knows.
pub(super) fn mark_of(pid: i32, pidfd: BorrowedFd<'_>) -> io::Result<Option<Mark>> {
    let mark = match read(pid) {
        Ok(mark) => mark,
        Err(error) if is_gone(&error) => Mark::Missing,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Mark::Hidden,
        Err(error) => return Err(error),
    };
    // What was read is of the descriptor's process if that one still has the number.
    Ok(is_there(pidfd).then_some(mark))
}

fn read(pid: i32) -> io::Result<Mark> {
    let environment = match environment(pid)? {
        Environment::Empty if Stat::read(pid)?.is_some_and(|stat| stat.is_executing()) => return Ok(Mark::NotYet),
        // It has an environment now; whether it had one when that was read, nobody knows.
        Environment::Empty => self::environment(pid)?,
        read => read,
    };
    Ok(match (environment, real_uid(pid)?) {
        (Environment::Names(run), Some(uid)) => Mark::Of { run, uid },
        _ => Mark::Missing,
    })
}

/// What the environment of whoever has a number says.
enum Environment {
    Empty,
    Names(RunId),
    NamesNone,
}

/// The run that the environment of whoever has this number names. To read it may have to wait for that process's memory.
///
/// # Errors
/// Nobody has the number, or its environment may not be read; or no descriptor is left to look with.
pub(super) fn run_in_environment(pid: u32) -> io::Result<Option<RunId>> {
    Ok(match environment(pid.cast_signed())? {
        Environment::Names(run) => Some(run),
        Environment::Empty | Environment::NamesNone => None,
    })
}

/// The service that the environment of whoever has this number names, where it is that of this run.
pub(crate) fn service_in_environment(pid: u32, run: RunId) -> Option<ServiceId> {
    let mut environment = Vec::new();
    File::open(format!("/proc/{pid}/environ")).ok()?.take(LONGEST).read_to_end(&mut environment).ok()?;
    let value = |name| environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(name));
    let text = |name| str::from_utf8(value(name)?).ok();
    let named: RunId = text(NAME)?.parse().ok()?;
    text(SERVICE)?.parse().ok().filter(|_| named == run)
}

fn environment(pid: i32) -> io::Result<Environment> {
    let text = BufReader::new(File::open(format!("/proc/{pid}/environ"))?.take(LONGEST));
    let mut environment = Environment::Empty;
    for variable in text.split(0) {
        environment = Environment::NamesNone;
        if let Some(value) = variable?.strip_prefix(NAME) {
            let run = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            return Ok(run.map_or(Environment::NamesNone, Environment::Names));
        }
    }
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::os::identity::open;

    /// A child with this environment that has executed its program, and ends when it is waited for.
    fn child(environment: &[(&str, &str)]) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo; read x"]).env_clear().envs(environment.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child
    }

    fn mark(child: &Child) -> Option<Mark> {
        let pid = child.id().cast_signed();
        let pidfd = open(pid).unwrap().unwrap();
        mark_of(pid, pidfd.as_fd()).unwrap()
    }

    #[test]
    fn a_run_is_known_by_its_mark_and_by_nothing_like_it() {
        let run = RunId { herd: 0xab, number: 3 };
        let uid = nix::unistd::getuid().as_raw();
        let long = "x".repeat(100_000);
        for (environment, expected) in [
            (vec![("DHERDER_RUN", "00000000000000ab-3")], Mark::Of { run, uid }),
            (vec![("A", &*long), ("DHERDER_RUN", "00000000000000ab-3"), ("Z", "")], Mark::Of { run, uid }),
            (vec![("DHERDER_RUN", "00000000000000ab-")], Mark::Missing),
            (vec![("DHERDER_RUNS", "00000000000000ab-3"), ("X", "DHERDER_RUN=00000000000000ab-3")], Mark::Missing),
            (vec![], Mark::Missing),
        ] {
            let mut child = child(&environment);
            assert_eq!(mark(&child), Some(expected), "{:?}", environment.last());
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_service_is_known_by_the_environment_of_its_run() {
        let [run, next] = [3, 4].map(|number| RunId { herd: 0xab, number });
        let mark = ("DHERDER_RUN", "00000000000000ab-3");
        for (environment, expected) in [
            (vec![("DHERDER_SERVICE", "web"), mark], Some("web")),
            (vec![("DHERDER_SERVICE", "/")], None),
            (vec![("DHERDER_SERVICE", "/"), mark], None),
            (vec![mark], None),
        ] {
            let mut child = child(&environment);
            let expected = expected.map(|id| id.parse::<ServiceId>().unwrap());
            assert_eq!(service_in_environment(child.id(), run), expected, "{environment:?}");
            assert_eq!(service_in_environment(child.id(), next), None);
            child.wait().unwrap();
        }
    }

    #[test]
    fn one_that_is_just_being_executed_never_seems_to_have_none() {
        for _ in 0..1000 {
            let mut command = Command::new("/bin/cat");
            command.env_clear().env("DHERDER_RUN", "00000000000000ab-3").stdin(Stdio::piped());
            // It has taken on the memory of its program when this returns, and not always an environment.
            let mut child = command.spawn().unwrap();
            let mark = mark(&child);
            assert!(matches!(mark, Some(Mark::Of { .. } | Mark::NotYet)), "{mark:?}");
            child.wait().unwrap();
        }
    }

    #[test]
    fn who_has_been_reaped_has_no_mark() {
        let mut child = child(&[("DHERDER_RUN", "00000000000000ab-3")]);
        let pid = child.id().cast_signed();
        let pidfd = open(pid).unwrap().unwrap();
        child.wait().unwrap();
        assert_eq!(mark_of(pid, pidfd.as_fd()).unwrap(), None);
        // Somebody else's number does not help: this descriptor is of one that is gone.
        assert_eq!(mark_of(std::process::id().cast_signed(), pidfd.as_fd()).unwrap(), None);
    }
}
