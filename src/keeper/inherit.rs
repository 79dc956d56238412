//! What a new herder is told first: all that its keeper remembers.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::frames;
use super::handover::Outcome;
use super::wire::{self, BadFrame, Incoming, Tell};
use crate::model::{Limit, Origin, RunId, ServiceId};

/// Why there is no line to a keeper.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// This process was not made by a keeper, or that has gone.
    #[error("cannot read from the keeper")]
    Read(#[source] io::Error),
    /// The keeper has gone.
    #[error("the keeper has gone")]
    Gone,
    /// What it says means nothing.
    #[error("the keeper says what it can't say")]
    Bad(#[from] BadFrame),
}

/// What a new herder finds.
#[derive(Debug)]
pub(crate) struct Inheritance {
    /// The keeper's process.
    pub(crate) pid: u32,
    /// Since when the daemon runs, in nanoseconds of the wall clock.
    pub(crate) since_ns: u64,
    /// The first part of its run ids.
    pub(crate) herd: u64,
    /// The first run number that is free.
    pub(crate) next_run: u64,
    /// A herder has answered in this keeper's life.
    pub(crate) answered: bool,
    /// The herd is being ended, as the herder is told once more.
    pub(crate) ending: bool,
    /// The open files that the daemon was started with.
    pub(crate) open_files: Option<Limit>,
    /// How the last upgrade went, if there was one.
    pub(crate) upgraded: Option<Outcome>,
    /// Every service that is remembered.
    pub(crate) services: Vec<Inherited>,
}

/// A service that is remembered.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// Its id.
    pub(crate) service: ServiceId,
    /// The state of its lifecycle, as it was given to [`Spawner::keep`](crate::process::Spawner::keep).
    pub(crate) note: Vec<u8>,
    /// What its conf said.
    pub(crate) origin: Origin,
    /// Its runs whose ends are not acknowledged.
    pub(crate) runs: Vec<RunId>,
    /// Restarts when the last of them was launched, where that is known.
    pub(crate) restarts: Option<u64>,
    /// The keeper has its note, and with it what its conf said: the journal of notes had nothing to add.
    pub(crate) kept: bool,
}

/// Reads all that the keeper remembers. Blocks until it has said so.
///
/// # Errors
/// There is no keeper, or none of this build.
pub(crate) fn inherit(line: OwnedFd) -> Result<(Inheritance, Line), LineError> {
    let mut stream = UnixStream::from(line);
    let (mut incoming, mut services, mut heard) = (Incoming::default(), Vec::new(), 0);
    let mut upgraded = None;
    let mut settings = Arc::default();
    loop {
        while let Some(tell) = incoming.next()? {
            heard += 1;
            match tell {
                Tell::Slot(slot) => services.extend(inherited(slot, &mut settings)),
                Tell::Welcome(welcome) => {
                    let inheritance = Inheritance { upgraded, ..inheritance(welcome, services) };
                    return Ok((inheritance, Line { stream, incoming, heard }));
                }
                Tell::Upgraded(outcome) => upgraded = Some(outcome),
                Tell::Report(..) | Tell::Leaves(_) | Tell::Shutdown | Tell::Reload | Tell::Ping | Tell::Line { .. } => {
                }
            }
        }
        if incoming.read(&mut stream).map_err(LineError::Read)? == 0 {
            return Err(LineError::Gone);
        }
    }
}

/// A line on which the beginning was heard.
#[derive(Debug)]
pub(crate) struct Line {
    pub(super) stream: UnixStream,
    pub(super) incoming: Incoming,
    pub(super) heard: u64,
}

/// A service with the settings of the one before, where they are the same text: that is in memory once.
fn inherited(slot: wire::Slot, before: &mut Arc<str>) -> Option<Inherited> {
    let wire::Slot { service, note, conf, settings, runs, restarts } = slot;
    if **before != *settings {
        *before = settings.into();
    }
    Some(Inherited {
        kept: !note.is_empty(),
        // It came from an id.
        service: service.parse().ok()?,
        note,
        origin: Origin { conf: conf.into(), settings: Arc::clone(before) },
        runs: runs.into_iter().map(RunId::from).collect(),
        restarts,
    })
}

fn inheritance(welcome: wire::Welcome, services: Vec<Inherited>) -> Inheritance {
    let wire::Welcome { pid, since_ns, herd, next_run, answered, ending, open_files } = welcome;
    let open_files = open_files.map(|(soft, hard)| Limit { soft: frames::unbound(soft), hard: frames::unbound(hard) });
    Inheritance { pid, since_ns, herd, next_run, answered, ending, open_files, upgraded: None, services }
}
