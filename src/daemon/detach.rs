//! A daemon in the background, for cron and for people.
//!
//! The caller starts its own program once more, as the keeper, and waits until its herd answers. There is no double fork: the child makes
//! a session of its own, and what it says before it answers comes through pipes, so that neither cron's mail nor a terminal
//! is held open by it.

use std::io::{self, Read, Write};
use std::process::{Command, ExitCode, Stdio};

use super::role;
use crate::conf::{Overrides, Places};
use crate::os;

/// What the child says once it answers.
const READY: &[u8] = b"ready\n";
/// What it says where another daemon runs already.
const RUNNING: &[u8] = b"running\n";

/// Starts a daemon in the background, and returns when it answers.
pub fn detach(places: &Overrides) -> ExitCode {
    let places = match super::find(places) {
        Ok(places) => places,
        Err(error) => return super::end(Err(error.into())),
    };
    match start(&places) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("daemonherder: cannot start in the background: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(places: &Places) -> io::Result<ExitCode> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(role::words(super::KEEPER, places, true).into_iter().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        // Its end: the child answers and has let go of it, or it is dead.
        stdout.read_to_end(&mut said)?;
    }
    if said == READY {
        return Ok(ExitCode::SUCCESS);
    }
    if said == RUNNING {
        // It ends at once: whoever looks for a daemon now shall not find this one.
        child.wait()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut complaint = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_end(&mut complaint)?;
    }
    io::stderr().write_all(&complaint)?;
    let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Says that the daemon answers, and lets go of what it was started with.
pub(super) fn tell_ready() {
    say(READY);
}

/// Lets go of what the daemon was started with, without a word: the keeper says it.
pub(super) fn let_go() {
    if let Err(error) = os::let_go_of_output() {
        log::warn!("cannot point stdout and stderr at /dev/null: {error}");
    }
}

/// Says that another daemon runs already.
pub(super) fn tell_running() {
    say(RUNNING);
}

fn say(word: &[u8]) {
    // Whoever waited may have gone, which changes nothing for the daemon.
    let _ = io::stdout().write_all(word).and_then(|()| io::stdout().flush());
    let_go();
}
