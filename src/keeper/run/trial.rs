//! The way in: this program has taken the place of another one and goes on with what that left.
//!
//! Until its herder has answered nothing is launched, reaped, acknowledged or signalled, so that all is still as the other
//! program left it: what the herder asks for is held back, signals stay pending, and who ends stays a zombie. So the way back
//! is to execute the other program with the same file. A deadline of ten seconds is all that runs meanwhile.

use std::cell::RefCell;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Keeper;
use super::upgrade::decimal;
use crate::keeper::handover::{BadHandover, Handover, Head, Outcome, Slot};
use crate::keeper::herder::HerderProgram;
use crate::keeper::lines;
use crate::keeper::run_table::Found;
use crate::keeper::slots::Slots;
use crate::keeper::wire::Request;
use crate::os::{self, Executable, Shelf};

/// How long the first herder may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What another program has left, and the way back to it.
#[derive(Debug)]
pub(crate) struct Arrival {
    head: Head,
    /// The services, until they are unpacked.
    slots: RefCell<Vec<Slot>>,
    /// All descriptors that the way back needs, by their numbers.
    descriptors: Vec<RawFd>,
    state: OwnedFd,
    /// The descriptors that it names, held by their numbers for the way back.
    listener: OwnedFd,
    lock: OwnedFd,
    shelf: Option<Shelf>,
    /// The file of the program that left it.
    other: OwnedFd,
    /// It came back from the program that was to take its place: why.
    returned: Option<String>,
}

/// Why this program does not get on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    Begin,
    Ended,
    Silent,
}

impl Failed {
    /// As it is said on a command line.
    fn word(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Ended => "ended",
            Self::Silent => "silent",
        }
    }
}

/// Why the other program came back, in a sentence. Any version may have said the word.
fn reason(word: &str) -> String {
    match word {
        "begin" => "it could not begin".to_owned(),
        "ended" => "its herder ended before it answered".to_owned(),
        "silent" => format!("its herder did not answer within {} seconds", PATIENCE.as_secs()),
        other => format!("it did not get on ({other})"),
    }
}

impl Arrival {
    /// Reads what was left in the file with this number. `returned` is the word of a program that gave the place back.
    ///
    /// # Errors
    /// There is no such file, or it is not understood: then there is no way on and none back.
    pub(crate) fn take(number: RawFd, returned: Option<&str>) -> Result<Self, BadHandover> {
        let state = os::given(number)?;
        let handover = Handover::from_bytes(&os::unseal(state.as_fd())?)?;
        let descriptors = handover.descriptors().into_iter().chain([number]).collect();
        let Handover { head, slots } = handover;
        let (listener, lock, other) = (os::given(head.listener)?, os::given(head.lock)?, os::given(head.program)?);
        let shelf = match head.shelf {
            Some((into, out)) => Some(Shelf::of(os::given(into)?, os::given(out)?)),
            None => None,
        };
        let (slots, returned) = (RefCell::new(slots), returned.map(reason));
        Ok(Self { head, slots, descriptors, state, listener, lock, shelf, other, returned })
    }

    /// The control listener.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn listener(&self) -> io::Result<OwnedFd> {
        self.listener.try_clone()
    }

    /// The lock of the state directory.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn lock(&self) -> io::Result<OwnedFd> {
        self.lock.try_clone()
    }

    /// What keeps the bytes in services' pipes; a new one where the other program had none.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn shelf(&self) -> io::Result<Shelf> {
        self.shelf.as_ref().map_or_else(Shelf::new, Shelf::try_clone)
    }

    /// The first part of the run ids.
    pub(crate) fn herd(&self) -> u64 {
        self.head.herd
    }

    /// The first run number that is free.
    pub(crate) fn next_run(&self) -> u64 {
        self.head.next_run
    }

    /// Since when the daemon runs, in nanoseconds of the wall clock.
    pub(crate) fn since_ns(&self) -> u64 {
        self.head.since_ns
    }

    /// The open files that the daemon was started with, soft and hard, none being unlimited.
    pub(crate) fn open_files(&self) -> Option<(Option<u64>, Option<u64>)> {
        self.head.open_files
    }

    /// Gives the place back because this program can't even begin. Comes back only where that fails.
    pub(crate) fn give_up(&self, program: &HerderProgram) {
        if self.returned.is_none() {
            let error = self.go_back(program, Failed::Begin);
            log::error!("cannot give the place back: {error}");
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        Outcome { failed: self.returned.clone(), ..self.head.outcome.clone() }
    }

    pub(super) fn unpack(&self, slots: &mut Slots, found: Found) -> io::Result<()> {
        lines::put_back(self.head.lines.clone());
        slots.go_on(self.slots.take(), found).map_err(io::Error::other)
    }

    fn go_back(&self, program: &HerderProgram, failed: Failed) -> io::Error {
        let word = CString::new(failed.word()).expect("a word has no NUL");
        let role = [c"--upgraded".into(), decimal(self.state.as_raw_fd()), c"--returned".into(), word];
        let other = match self.other.try_clone() {
            Ok(other) => Executable::from(other),
            Err(error) => return error,
        };
        os::become_role(&other, &program.argv_of(&role), &program.env, &self.descriptors)
    }
}

impl Keeper {
    /// Goes on where another program has left off, or gives the place back to it.
    pub(super) fn arrive(&mut self) {
        let Some(arrival) = self.arrival.take() else { return };
        let Outcome { from, to, path, failed, .. } = arrival.outcome();
        if let Some(why) = failed {
            log::error!("no upgrade to {path}: {why}; version {from} goes on");
        } else {
            match self.try_out() {
                Ok(held_back) => {
                    log::info!("upgraded from {from} to {to}: {path}");
                    self.catch_up(held_back);
                }
                Err(failed) => {
                    self.kill_herder();
                    let error = arrival.go_back(&self.program, failed);
                    log::error!("cannot give the place back to version {from}: {error}; this one goes on");
                }
            }
        }
        // What was not reaped meanwhile: setting the disposition of SIGCHLD has dropped one that was pending.
        self.catch_up_with_children();
        drop(arrival);
        os::give_back_soon();
    }

    /// Waits for the first herder to answer, and gives all that it has asked for meanwhile.
    fn try_out(&mut self) -> Result<Vec<Request>, Failed> {
        let now = self.now();
        let due = now + PATIENCE;
        self.watch.started();
        self.try_start_herder().map_err(|_| Failed::Begin)?;
        let mut held_back = Vec::new();
        loop {
            self.speak();
            let now = self.now();
            let Some(link) = &mut self.link else { return Err(Failed::Ended) };
            if now >= due {
                return Err(Failed::Silent);
            }
            let room = if link.is_full() { PollFlags::POLLOUT } else { PollFlags::empty() };
            let wait = PollTimeout::try_from(due - now).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(link.as_fd(), PollFlags::POLLIN | room)], wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return Err(Failed::Begin),
            }
            match link.read(|request| held_back.push(request)) {
                // Whatever came with the end: it answers, and goes on as any that ends does.
                Ok(_) if held_back.contains(&Request::Ready) => return Ok(held_back),
                Ok(false) => {}
                Ok(true) | Err(_) => return Err(Failed::Ended),
            }
        }
    }

    fn catch_up(&mut self, held_back: Vec<Request>) {
        for request in held_back {
            if let Err(error) = self.take(request) {
                log::error!("the herder says what it can't say: {error}; it is replaced");
                self.kill_herder();
            }
        }
    }
}
