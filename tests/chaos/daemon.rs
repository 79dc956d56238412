//! The daemon whose processes come and go.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::processes::{self, Process};
use crate::waiting::{WATCHDOG, until};

const BINARY: &str = env!("CARGO_BIN_EXE_daemonherder");

/// Places, and whatever daemon there is. Dropped, everything ends that bears its name.
pub(crate) struct Daemon {
    dir: TempDir,
}

impl Daemon {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("chaos").tempdir().unwrap();
        for name in ["confs", "work"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    /// A word that the command lines of this daemon's processes have, and those of its services, and no others.
    pub(crate) fn mark(&self) -> &str {
        self.dir.path().file_name().unwrap().to_str().unwrap()
    }

    pub(crate) fn conf(&self, id: &str) -> PathBuf {
        self.dir.path().join("confs").join(format!("{id}.conf"))
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.dir.path().join("confs").join("herder.json")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// As cron does it: again and again, until there is one. What was killed may hold the lock for a moment longer.
    pub(crate) fn start(&self) {
        let begun = Instant::now();
        while self.keeper().is_none() {
            assert!(begun.elapsed() < WATCHDOG, "no daemon comes up\n{}", self.story());
            let mut command = Command::new(BINARY);
            command.env_clear().env("HOME", self.dir.path()).env("PATH", "/usr/bin:/bin");
            command.args(["run", "--detach", "--config-dir"]).arg(self.dir.path().join("confs"));
            command.arg("--state-dir").arg(self.state()).current_dir("/").stdin(Stdio::null());
            let done = command.output().unwrap();
            assert!(done.status.success(), "{done:?}\n{}", self.story());
        }
    }

    /// Every process of the daemon itself.
    fn processes(&self) -> Vec<Process> {
        self.own().into_iter().filter(|process| !is_begun(process)).collect()
    }

    /// Whether there is none. Of what has only just been made nobody knows whether it will be a herder or a service: that is
    /// waited for.
    pub(crate) fn is_gone(&self) -> bool {
        loop {
            let own = self.own();
            if own.is_empty() || !own.iter().all(is_begun) {
                return own.is_empty();
            }
            thread::yield_now();
        }
    }

    /// The same with those that it has just made and that have not executed their programs.
    fn own(&self) -> Vec<Process> {
        let state = self.state();
        let is_own = |process: &Process| process.words.iter().any(|word| Path::new(word) == state);
        processes::named(self.mark()).into_iter().filter(is_own).collect()
    }

    pub(crate) fn herder(&self) -> Option<Process> {
        self.processes().into_iter().find(is_herder)
    }

    pub(crate) fn keeper(&self) -> Option<Process> {
        let waits = |process: &Process| process.words.iter().any(|word| word == "--detach");
        self.processes().into_iter().find(|one| !is_herder(one) && !waits(one))
    }

    /// `killall -9`: until none is left. What is about to be a service is spared: its death would be one that counts.
    pub(crate) fn kill_all(&self) {
        while !self.is_gone() {
            let living = self.processes();
            living.iter().for_each(|process| process.send(nix::sys::signal::Signal::SIGKILL));
            living.iter().for_each(Process::kill);
        }
    }

    /// All services, from whichever herder answers first.
    pub(crate) fn document(&self) -> Value {
        self.answer("GET", "/v1/services", "")
    }

    /// Asks until there is an answer: who was asked may be killed meanwhile.
    pub(crate) fn answer(&self, method: &str, path: &str, body: &str) -> Value {
        let begun = Instant::now();
        loop {
            match ask(&self.socket(), method, path, body) {
                Ok((200 | 202, document)) => return document,
                other if begun.elapsed() > WATCHDOG => panic!("{method} {path}: {other:?}\n{}", self.story()),
                Ok(_) | Err(_) => thread::yield_now(),
            }
            let alone = begun.elapsed() > Duration::from_secs(1) && self.is_gone();
            assert!(!alone, "no process of the daemon is left\n{}", self.story());
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.state().join("control.sock")
    }

    /// Waits for a moment at which the services are as wanted; none in the time of the watchdog.
    pub(crate) fn until<T>(&self, mut look: impl FnMut(&Value) -> Option<T>) -> Option<T> {
        until(&self.state(), || look(&self.document()))
    }

    /// What the daemon said, for people whose test has failed.
    pub(crate) fn story(&self) -> String {
        let log = fs::read_to_string(self.state().join("daemon.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(150)..].join("\n")
    }
}

/// Whether it was made by the keeper's thread, whose name it has, and has not executed its program.
fn is_begun(process: &Process) -> bool {
    process.name == "keeper"
}

fn is_herder(process: &Process) -> bool {
    process.words.iter().any(|word| word == "--herder")
}

/// One request on a connection of its own.
pub(crate) fn ask(socket: &Path, method: &str, path: &str, body: &str) -> io::Result<(u16, Value)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(WATCHDOG))?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let torn = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(torn)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(torn)?;
    Ok((status, serde_json::from_str(body).map_err(|_| torn())?))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill_all();
        for process in processes::named(self.mark()) {
            process.send(nix::sys::signal::Signal::SIGKILL);
        }
    }
}
