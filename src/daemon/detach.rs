//! A daemon in the background, for cron and for people.
//!
//! The caller starts its own program once more, as the keeper, and waits until its herd answers. There is no double fork: the child makes
//! a session of its own, and what it says before it answers comes through pipes, so that neither cron's mail nor a terminal
//! is held open by it.
//!
//! A lock that is held is no daemon that lives: where one has just been killed, its last process may still be about to end.
//! So one that is said to run is asked, and where nobody answers any more, the next one is started.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::role;
use crate::conf::{Overrides, Places};
use crate::os;

/// What the child says once it answers.
const READY: &[u8] = b"ready\n";
/// What it says where another daemon runs already.
const RUNNING: &[u8] = b"running\n";

/// How long a daemon that has been killed may take to be gone, and one that lives to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a daemon in the background, and returns when it answers.
pub fn detach(places: &Overrides) -> ExitCode {
    let places = match super::find(places) {
        Ok(places) => places,
        Err(error) => return super::end(Err(error.into())),
    };
    match see_to_it(&places) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("daemonherder: cannot start in the background: {error}");
            ExitCode::FAILURE
        }
    }
}

fn see_to_it(places: &Places) -> io::Result<ExitCode> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(code) = start(places)? {
            return Ok(code);
        }
        // A daemon that was stopped, or has too much to do, is one that runs. Where it can't notice changes of its confs by
        // itself, whoever calls again and again (cron) has it look.
        let socket = places.socket.clone();
        let question = if os::tells_changes(&places.config_dir) { "GET /healthz" } else { "POST /v1/reload" };
        if within(PATIENCE, move || is_answered(socket, question)).unwrap_or(true) {
            return Ok(ExitCode::SUCCESS);
        }
        let lock = places.state_dir.join("lock");
        let left = until.saturating_duration_since(Instant::now());
        if within(left, move || File::open(lock)?.lock_shared()).is_none() {
            return Err(io::Error::other("a daemon that does not answer any more holds the lock, and does not end"));
        }
    }
}

/// Whether somebody answers at the control socket.
fn is_answered(socket: PathBuf, question: &str) -> bool {
    let ask = || {
        let mut stream = UnixStream::connect(socket)?;
        let head =
            format!("{question} HTTP/1.1\r\nHost: daemonherder\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.read(&mut [0; 64])
    };
    ask().is_ok_and(|length: usize| length > 0)
}

/// Does something that may hang; none where it does.
fn within<T: Send + 'static>(limit: Duration, act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = mpsc::channel();
    // Whoever waited may have given up; the thread ends with the process.
    thread::spawn(move || done.send(act()));
    result.recv_timeout(limit).ok()
}

/// Starts one: what this process ends with, if it is not that another one runs already.
fn start(places: &Places) -> io::Result<Option<ExitCode>> {
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
        return Ok(Some(ExitCode::SUCCESS));
    }
    if said == RUNNING {
        // It ends at once: whoever looks for a daemon now shall not find this one.
        child.wait()?;
        return Ok(None);
    }
    let mut complaint = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_end(&mut complaint)?;
    }
    io::stderr().write_all(&complaint)?;
    let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(Some(code.map_or(ExitCode::FAILURE, ExitCode::from)))
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
