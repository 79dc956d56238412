//! A shell as a service, for the tests of this room.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::{Landing, Order, OutputTo, Process, Stock, Trace, launch};
use crate::model::{Ending, Limit, Resource, StopScope};

/// How long anything may take before the test has failed.
const WATCHDOG_MS: u16 = 30_000;

/// Only one test at a time has children and looks at them: what one reaps while another reads a list hides a third from it.
/// The keeper does both in one thread.
pub(super) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running script, its output in a FIFO that every descendant holds.
pub(super) struct Shell {
    pub(super) process: Process,
    /// Whether it began in the cgroup.
    pub(super) in_leaf: bool,
    output: File,
    text: String,
    _directory: TempDir,
}

impl Shell {
    /// Runs a script with this environment and limits, in this cgroup.
    pub(super) fn run(
        script: &str,
        env: &[&str],
        limits: Vec<(Resource, Limit)>,
        leaf: Option<BorrowedFd<'_>>,
    ) -> std::io::Result<Self> {
        let string = |text: &str| CString::new(text).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("output");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let output = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
        let path = "PATH=/usr/local/bin:/usr/bin:/bin";
        let order = Order {
            limits,
            stdout: OutputTo::File(string(fifo.to_str().unwrap())),
            stderr: None,
            umask: None,
            ids: None,
            cwd: string("/"),
            programs: vec![string("/bin/sh")],
            argv: ["sh", "-c", script].map(string).to_vec(),
            env: env.iter().chain([&path]).map(|variable| string(variable)).collect(),
        };
        let mut stock = Stock::default();
        let (process, flight) = launch(&order, &mut stock, Trace { leaf, ..Trace::default() }, |_| Ok(()))?;
        wait(flight.as_fd(), PollFlags::empty());
        let in_leaf = flight.is_in_leaf();
        assert_eq!(flight.land(&mut stock), Landing::Executing);
        Ok(Self { process, in_leaf, output, text: String::new(), _directory: directory })
    }

    /// The number at the end of the line that begins with this word, once it is written.
    pub(super) fn number(&mut self, word: &str) -> u32 {
        loop {
            if let Some((_, line)) = self.lines().into_iter().find(|(first, _)| *first == word) {
                return line.parse().unwrap();
            }
            assert!(self.read_more(), "no {word} in {:?}", self.text);
        }
    }

    /// All that was written, once nobody is left to write: the main process and everything that it has left behind.
    pub(super) fn all_gone(&mut self) -> &str {
        while self.read_more() {}
        &self.text
    }

    /// How the main process has ended, once it has.
    pub(super) fn reap(process: Process) -> Ending {
        wait(process.fd().unwrap(), PollFlags::POLLIN);
        process.reap(StopScope::Main, |_| ()).unwrap()
    }

    fn lines(&self) -> Vec<(&str, &str)> {
        self.text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')?.split_once(' ')).collect()
    }

    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            wait(self.output.as_fd(), PollFlags::POLLIN);
            match self.output.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => {
                    self.text.push_str(str::from_utf8(&buffer[..length]).unwrap());
                    return true;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
    }
}

/// Waits for something to happen to a descriptor.
pub(super) fn wait(fd: BorrowedFd<'_>, what: PollFlags) {
    let happened = poll(&mut [PollFd::new(fd, what)], PollTimeout::from(WATCHDOG_MS)).unwrap();
    assert_eq!(happened, 1, "nothing happens");
}
