//! The first look of another program at what is to become its own: it is run as a child with a copy of the real state, and
//! has to show that it has understood all of it. Until then nothing else has happened.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde::{Deserialize, Serialize};

use super::handover::Handover;
use super::herder::HerderProgram;
use crate::model::{Ending, Signal, StopScope};
use crate::os::{self, Executable, FIRST_GIVEN, NOT_EXECUTED, Output, Process};

/// Where the child finds the copy of the state.
pub(crate) const STATE: RawFd = FIRST_GIVEN;
/// How much of what it says is read.
const LONGEST_ANSWER: usize = 16 << 10;
/// How much of that is told to people.
const LONGEST_COMPLAINT: usize = 500;

/// What it says where all is well, as one line of JSON on its standard output: any version says it, for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The version of this answer: 1.
    preflight: u32,
    /// The version of the program.
    version: String,
    /// [`Handover::digest`].
    digest: u32,
}

/// A look that is being taken.
pub(super) struct Preflight {
    process: Process,
    said: PipeReader,
    digest: u32,
}

impl Answer {
    /// The answer of this program.
    pub(crate) fn to(handover: &Handover) -> Self {
        Self { preflight: 1, version: env!("CARGO_PKG_VERSION").to_owned(), digest: handover.digest() }
    }
}

impl Preflight {
    /// Lets a program look.
    ///
    /// # Errors
    /// The system is out of something.
    pub(super) fn begin(executable: &Executable, program: &HerderProgram, handover: &Handover) -> io::Result<Self> {
        let state = os::seal(c"daemonherder-preflight", &handover.to_bytes())?;
        let (said, saying) = io::pipe()?;
        // Whatever it may leave behind that holds the other end: nobody waits for that.
        fcntl(&said, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let (argv, output) = (program.argv_of(&[c"--preflight".into()]), Output::Into(saying.as_fd()));
        let process = os::start_role(executable, &argv, &program.env, &[state.as_fd()], output)?;
        Ok(Self { process, said, digest: handover.digest() })
    }

    pub(super) fn pid(&self) -> i32 {
        self.process.number()
    }

    /// Ends it. It will be reaped as any child that nobody knows.
    pub(super) fn give_up(self) {
        // An error says that it has ended.
        let _ = self.process.signal_group(Signal::KILL);
    }

    /// The version of the program, or why it will not do; itself if it has not ended.
    pub(super) fn end(self) -> Result<Result<String, String>, Self> {
        let Self { process, mut said, digest } = self;
        match process.reap(StopScope::Tree, |_| ()) {
            Err(process) => Err(Self { process, said, digest }),
            Ok(ending) => {
                let mut answer = vec![0; LONGEST_ANSWER];
                // An error says that there is nothing.
                let length = said.read(&mut answer).unwrap_or_default();
                Ok(judge(ending, &String::from_utf8_lossy(&answer[..length]), digest))
            }
        }
    }
}

fn judge(ending: Ending, said: &str, digest: u32) -> Result<String, String> {
    let answer = said.lines().find_map(|line| serde_json::from_str::<Answer>(line).ok());
    let complaint = said.trim().strip_prefix("daemonherder: ").unwrap_or(said.trim());
    let complaint: String = complaint.chars().take(LONGEST_COMPLAINT).collect();
    match (ending, answer) {
        (Ending::Exited(0), Some(answer)) if answer.digest == digest => Ok(answer.version),
        (Ending::Exited(0), Some(Answer { version, .. })) => {
            Err(format!("version {version} does not understand what this one leaves"))
        }
        (Ending::Exited(0), None) => Err("it is no daemonherder".to_owned()),
        (Ending::Exited(NOT_EXECUTED), _) if complaint.is_empty() => {
            Err("it is no program that this machine can execute".to_owned())
        }
        (ending, _) if complaint.is_empty() => Err(format!("its look at the present state {ending}")),
        (_, _) => Err(complaint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_understood_the_state_may_go_on_with_it() {
        let answer = |digest| format!("{{\"preflight\":1,\"version\":\"0.9.0\",\"digest\":{digest}}}\n");
        let no = |why: &str| Err(why.to_owned());
        for (ending, said, verdict) in [
            (Ending::Exited(0), answer(7), Ok("0.9.0".to_owned())),
            (Ending::Exited(0), format!("a word before\n{}", answer(7)), Ok("0.9.0".to_owned())),
            (Ending::Exited(0), answer(8), no("version 0.9.0 does not understand what this one leaves")),
            (Ending::Exited(0), String::new(), no("it is no daemonherder")),
            (Ending::Exited(0), "hello\n".to_owned(), no("it is no daemonherder")),
            (Ending::Exited(1), answer(7), no(answer(7).trim())),
            (Ending::Exited(1), "daemonherder: web: what?\n".to_owned(), no("web: what?")),
            (Ending::Exited(1), String::new(), no("its look at the present state exited with code 1")),
            (Ending::Exited(127), String::new(), no("it is no program that this machine can execute")),
        ] {
            assert_eq!(judge(ending, &said, 7), verdict, "{ending:?} {said:?}");
        }
    }
}
