//! Between those who put notes and the thread that writes them: one lock, under which nobody does anything slow.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{NotesError, Text};
use crate::model::ServiceId;
use crate::os::Alarm;

/// How long after a first call the thread is woken. A death is followed by a launch, which would have to share two processors
/// with this thread; so they are written together, after it. Whoever waits for the writing is not kept.
const BREATH: Duration = Duration::from_millis(5);

/// The newest state of each service that has changed; none of one that is gone.
pub(super) type Newest = HashMap<ServiceId, Option<State>>;

/// Whom to tell how the next writing went.
pub(super) type Waiter = Box<dyn FnOnce(Result<(), Arc<NotesError>>) + Send>;

/// The state of a service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) note: Vec<u8>,
    pub(super) conf: Option<Text>,
}

/// What the thread shall do next.
pub(super) struct Turn {
    pub(super) newest: Newest,
    /// To be told after this turn: everything put before they asked is in it or in an earlier one.
    pub(super) waiters: Vec<Waiter>,
    /// Whether this is the last one.
    pub(super) last: bool,
}

/// Whether a call can wait for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    None,
    Now,
}

/// What waits for the thread. A map, not a row of changes: a disk that hangs for a day costs no more memory than the services
/// themselves.
pub(super) struct Queue {
    state: Mutex<Waiting>,
    alarm: Alarm,
}

struct Waiting {
    newest: Newest,
    waiters: Vec<Waiter>,
    /// Whether the thread is going to look here again.
    called: bool,
    last: bool,
    /// Whether there is no thread any more.
    over: bool,
}

impl Queue {
    /// The first turn comes without a call.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn new() -> io::Result<Self> {
        let (newest, waiters) = (HashMap::new(), Vec::new());
        let queue = Self {
            state: Mutex::new(Waiting { newest, waiters, called: true, last: false, over: false }),
            alarm: Alarm::new()?,
        };
        queue.alarm.set(Duration::ZERO);
        Ok(queue)
    }

    /// Leaves the newest state of a service, or that it is gone.
    pub(super) fn leave(&self, service: ServiceId, state: Option<State>) {
        let mut waiting = self.lock();
        // What it was before is let go of after the lock: it takes time, too.
        let _before = waiting.newest.insert(service, state);
        self.call(waiting, Haste::None);
    }

    /// Has somebody told how the writing of all that was left up to now went.
    pub(super) fn ask(&self, waiter: Waiter) {
        let mut waiting = self.lock();
        // Without a thread the waiter is let go of, which tells as much.
        if !waiting.over {
            waiting.waiters.push(waiter);
            self.call(waiting, Haste::Now);
        }
    }

    /// Asks for the last turn.
    pub(super) fn end(&self) {
        let mut waiting = self.lock();
        waiting.last = true;
        self.call(waiting, Haste::Now);
    }

    /// Waits for a call, or for `patience` where there is one, and takes what is there.
    pub(super) fn next(&self, patience: Option<Duration>) -> Turn {
        let waiting = self.lock();
        if let (Some(patience), false) = (patience, waiting.called) {
            // Whatever calls meanwhile sets an earlier moment, after this lock.
            self.alarm.set(patience);
        }
        drop(waiting);
        self.alarm.wait();
        let mut waiting = self.lock();
        waiting.called = false;
        Turn {
            newest: std::mem::take(&mut waiting.newest),
            waiters: std::mem::take(&mut waiting.waiters),
            last: waiting.last,
        }
    }

    /// The thread ends, by whatever way: nobody shall wait for it.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.over = true;
        let waiters = std::mem::take(&mut waiting.waiters);
        drop(waiting);
        drop(waiters);
    }

    /// Has the thread look here, by and by or now: one that is on its way is not called again.
    fn call(&self, mut waiting: MutexGuard<'_, Waiting>, haste: Haste) {
        let first = !std::mem::replace(&mut waiting.called, true);
        match haste {
            Haste::None if first => self.alarm.set(BREATH),
            Haste::None => {}
            Haste::Now => self.alarm.set(Duration::ZERO),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that is done under it panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
