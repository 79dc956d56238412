//! What `/proc` says.

use std::fs;
use std::thread;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::waiting::WATCHDOG;

/// A process as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// When it began, in ticks after boot: with the number it names one process for ever.
    pub(crate) began: u64,
    /// What the kernel calls it (proc_pid_comm(5)).
    pub(crate) name: String,
    /// Its command line, word by word.
    pub(crate) words: Vec<String>,
}

/// All processes whose command lines have a word that contains this text. A zombie has no command line.
pub(crate) fn named(text: &str) -> Vec<Process> {
    let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter_map(look).filter(|process| process.words.iter().any(|word| word.contains(text))).collect()
}

/// A process as it is at one moment. One that executes another program meanwhile is looked at again: with the command line of
/// before and the name of after, a service that has just begun would be taken for a process of the daemon, and killed as one.
fn look(pid: i32) -> Option<Process> {
    loop {
        let (name, fields) = stat(pid)?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty())?;
        if stat(pid)?.0 != name {
            continue;
        }
        // Fields 4 and 22 of proc_pid_stat(5); the third is the first here.
        let (parent, began) = (fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?);
        let words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        return Some(Process { pid, parent, began, name, words: words.filter(|word| !word.is_empty()).collect() });
    }
}

/// What the kernel calls a process, and the fields behind that.
fn stat(pid: i32) -> Option<(String, Vec<String>)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, fields) = stat.split_once('(')?.1.rsplit_once(") ")?;
    Some((name.to_owned(), fields.split(' ').map(str::to_owned).collect()))
}

impl Process {
    /// Whether it still lives.
    pub(crate) fn lives(&self) -> bool {
        look(self.pid).is_some_and(|now| now.began == self.began)
    }

    /// The run that its environment names.
    pub(crate) fn run(&self) -> Option<String> {
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        let variables = environment.split(|byte| *byte == 0);
        let run = variables.filter_map(|variable| variable.strip_prefix(b"DHERDER_RUN=")).next()?;
        Some(String::from_utf8_lossy(run).into_owned())
    }

    pub(crate) fn send(&self, signal: Signal) {
        // An error says that it has just ended.
        let _ = kill(Pid::from_raw(self.pid), signal);
    }

    /// Kills it and waits until it is dead.
    pub(crate) fn kill(&self) {
        self.send(Signal::SIGKILL);
        assert!(self.ends(), "{self:?} does not end by KILL");
    }

    /// Waits for its end; false if that does not come.
    pub(crate) fn ends(&self) -> bool {
        let begun = Instant::now();
        while self.lives() {
            if begun.elapsed() > WATCHDOG {
                return false;
            }
            thread::yield_now();
        }
        true
    }

    /// Waits until SIGSTOP has stopped it.
    pub(crate) fn stops(&self) {
        let state = |stat: String| Some(stat.rsplit_once(") ")?.1.chars().next()? == 'T');
        let stopped = || fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok().and_then(state);
        while stopped() == Some(false) {
            thread::yield_now();
        }
    }
}
