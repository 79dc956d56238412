//! The keeper's end of the line to a herder.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use super::handover::Outcome;
use super::lines;
use super::slots::Slots;
use super::wire::{BadFrame, Incoming, Outgoing, Request, Tell, Welcome};

/// How much waits in memory for a herder that is slow to read. What is told beyond that stays where it is known.
const WINDOW: usize = 128 << 10;

/// A connection.
pub(super) struct Link {
    stream: UnixStream,
    incoming: Incoming,
    outgoing: Outgoing,
    /// What is still to be told of the beginning, in reverse.
    slots: Vec<Rc<str>>,
    welcome: Option<Welcome>,
    upgraded: Option<Outcome>,
    wishes: Wishes,
    /// What it was told of the services' cgroups.
    told_leaves: bool,
}

/// What a herder is still to be told that is about no run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) shutdown: bool,
    pub(super) reload: bool,
    pub(super) ping: bool,
}

impl Link {
    /// A connection to a herder that knows nothing yet.
    ///
    /// # Errors
    /// The stream is none (fcntl(2)).
    pub(super) fn new(stream: UnixStream, slots: &Slots, welcome: Welcome) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let mut services = slots.services();
        services.reverse();
        let (incoming, outgoing) = (Incoming::default(), Outgoing::default());
        Ok(Self {
            stream,
            incoming,
            outgoing,
            slots: services,
            welcome: Some(welcome),
            upgraded: None,
            wishes: Wishes::default(),
            told_leaves: false,
        })
    }

    /// How the last upgrade went is to be told as soon as there is room.
    pub(super) fn upgraded(&mut self, outcome: Outcome) {
        self.upgraded = Some(outcome);
    }

    /// Whether there was no room for all that is to be told.
    pub(super) fn is_full(&self) -> bool {
        !self.outgoing.unsent().is_empty()
    }

    /// Something is to be told as soon as there is room.
    pub(super) fn wish(&mut self, change: impl FnOnce(&mut Wishes)) {
        change(&mut self.wishes);
    }

    /// Whether nothing is left that is to be told and about no run.
    pub(super) fn is_told_all(&self) -> bool {
        self.welcome.is_none() && self.wishes == Wishes::default()
    }

    /// Reads what is there and gives every whole request to `each`; true at the end of the stream.
    ///
    /// # Errors
    /// What was read is no request.
    pub(super) fn read(&mut self, mut each: impl FnMut(Request)) -> Result<bool, BadFrame> {
        loop {
            let read = match self.incoming.read(&mut self.stream) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.incoming.rest();
                    return Ok(false);
                }
                // A broken stream is one that has ended.
                Err(_) => 0,
            };
            while let Some(request) = self.incoming.next()? {
                each(request);
            }
            if read == 0 {
                return Ok(true);
            }
        }
    }

    /// Tells what there is to tell, as far as there is room; `told` hears of each frame.
    pub(super) fn write(&mut self, slots: &mut Slots, mut told: impl FnMut()) {
        loop {
            while self.outgoing.unsent().len() < WINDOW
                && let Some(frame) = self.next(slots)
            {
                self.outgoing.push(&frame);
                told();
            }
            if self.outgoing.unsent().is_empty() {
                return;
            }
            match self.stream.write(self.outgoing.unsent()) {
                Ok(count) => self.outgoing.sent(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Full, or broken, which its end will tell.
                Err(_) => return,
            }
        }
    }

    fn next(&mut self, slots: &mut Slots) -> Option<Tell> {
        if let Some(outcome) = self.upgraded.take() {
            return Some(Tell::Upgraded(outcome));
        }
        while let Some(service) = self.slots.pop() {
            if let Some(slot) = slots.told(&service) {
                return Some(Tell::Slot(slot));
            }
        }
        if let Some(welcome) = self.welcome.take() {
            slots.retell();
            return Some(Tell::Welcome(welcome));
        }
        if slots.has_leaves() != self.told_leaves {
            self.told_leaves = slots.has_leaves();
            return Some(Tell::Leaves(self.told_leaves));
        }
        if let Some(lines::Line { error, text }) = lines::next() {
            return Some(Tell::Line { error, text });
        }
        for (wish, frame) in [
            (&mut self.wishes.shutdown, Tell::Shutdown),
            (&mut self.wishes.reload, Tell::Reload),
            (&mut self.wishes.ping, Tell::Ping),
        ] {
            if std::mem::take(wish) {
                return Some(frame);
            }
        }
        slots.tell().map(|(run, report)| Tell::Report(run.into(), report.into()))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
