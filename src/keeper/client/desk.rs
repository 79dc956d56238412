//! What a herder has to say to its keeper, has heard of it, and has to write down.

use std::collections::HashMap;
use std::io;

use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::super::handover::Outcome;
use super::super::notes::{Notes, Text};
use super::super::wire::{Outgoing, Request, Step};
use crate::model::{RunId, ServiceId, Signal};
use crate::os::Witness;
use crate::process::{Report, Reports};

/// What is said and heard.
pub(super) struct Desk {
    pub(super) outgoing: Outgoing,
    /// The step that is being put together.
    pub(super) step: Option<Step>,
    /// Frames that were heard, and how many of them the keeper knows to be heard.
    pub(super) heard: u64,
    pub(super) said_heard: u64,
    pub(super) runs: HashMap<RunId, Known>,
    /// The journal; none where it can't be written, which is told at the start.
    pub(super) notes: Option<Notes>,
    /// What the journal is still to be given: to wake its thread takes time, which the services need first.
    pub(super) unwritten: Vec<(ServiceId, Vec<u8>, Text)>,
    /// Descriptors of processes that have ended, to be closed when nobody waits for it.
    pub(super) spent: Vec<Witness>,
    /// The herder answers.
    pub(super) answers: bool,
    /// The herd is being ended: the end of this process will close them.
    pub(super) ending: bool,
    /// The journal is given nothing for a while that nobody waits for.
    pub(super) postpones: bool,
    /// How the last upgrade went, and whoever waits for the next one.
    pub(super) upgraded: Option<Outcome>,
    pub(super) upgrading: Option<oneshot::Sender<Outcome>>,
}

/// A run whose end is not acknowledged.
pub(super) struct Known {
    pub(super) service: ServiceId,
    pub(super) listener: Listener,
    pub(super) sent: Sent,
    /// Its process, for the case that the keeper goes; and its number until that is opened.
    pub(super) witness: Option<Witness>,
    pid: Option<u32>,
}

impl Known {
    pub(super) fn new(service: ServiceId, listener: Listener) -> Self {
        Self { service, listener, sent: Sent::Nothing, witness: None, pid: None }
    }

    /// Holds the process of the run: now, or once others are not kept waiting by it any more.
    pub(super) fn hold(&mut self, pid: u32, now: bool) {
        (self.pid, self.witness) = if now { (None, Witness::of(pid)) } else { (Some(pid), None) };
    }
}

/// What its main process was sent last, but for CONT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Nothing,
    /// With those to others: this is still to be asked for.
    Together(Signal),
    ByItself(Signal),
}

impl Sent {
    /// Whether this signal to the main process has been sent with those to others. Whatever it was, it is sent by then.
    pub(super) fn settle(&mut self, signal: Signal) -> bool {
        let with_others = *self == Self::Together(signal);
        if with_others || (signal != Signal::CONT && !matches!(self, Self::Together(_))) {
            *self = Self::ByItself(signal);
        }
        with_others
    }
}

pub(super) enum Listener {
    /// What it has not been told is kept until somebody listens.
    Nobody(Vec<Report>),
    Somebody(Reports),
}

impl Desk {
    /// Writes as much of what is whole as there is room for.
    pub(super) fn send(&mut self, stream: &UnixStream) {
        while !self.outgoing.unsent().is_empty() {
            match stream.try_write(self.outgoing.unsent()) {
                Ok(count) => self.outgoing.sent(count),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
                // Nobody hears any more, which the line's end will tell. As long as there were something to say, a line
                // that is always ready to refuse it would keep everybody from hearing that.
                Err(_) => self.outgoing = Outgoing::default(),
            }
        }
    }

    /// The step of a service that is being put together: what its actor does without awaiting anything belongs together,
    /// and begins with what is to be remembered.
    pub(super) fn step(&mut self, service: &ServiceId) -> &mut Step {
        if self.step.as_ref().is_some_and(|step| step.service != service.as_str()) {
            self.close();
        }
        self.step.get_or_insert_with(|| Step { service: service.to_string(), ..Step::default() })
    }

    /// A new step of a service.
    pub(super) fn open(&mut self, service: &ServiceId) -> &mut Step {
        self.close();
        self.step(service)
    }

    /// The step is whole.
    pub(super) fn close(&mut self) {
        if let Some(step) = self.step.take() {
            self.outgoing.push(&Request::Step(step));
        }
    }

    /// Nobody waits for this herder any more: holds all that it knows of.
    pub(super) fn hold_all(&mut self) {
        self.answers = true;
        for known in self.runs.values_mut() {
            known.pid.take().into_iter().for_each(|pid| known.hold(pid, true));
        }
    }

    /// Nothing more is heard of a run.
    pub(super) fn forget(&mut self, run: RunId) {
        let known = self.runs.remove(&run);
        self.spent.extend(known.and_then(|known| known.witness));
    }

    /// Closes what is open for nothing.
    pub(super) fn dismiss(&mut self) {
        if !self.ending {
            self.spent.clear();
        }
    }

    /// Gives the journal what there is for it.
    pub(super) fn write_down(&mut self) {
        for (service, note, text) in std::mem::take(&mut self.unwritten) {
            if let Some(notes) = &self.notes {
                notes.put(service, note, Some(text));
            }
        }
    }
}
