//! Between those who put notes and the thread that writes them: one lock, under which nobody does anything slow.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{NotesError, Text};
use crate::model::ServiceId;

/// How long the thread waits after a first call for what comes next. A death is followed by a launch, which would have to
/// share two processors with this thread; so they are written together, after it. Whoever waits for the writing is not kept.
const BREATH: Duration = Duration::from_millis(1);

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
    more: Condvar,
}

struct Waiting {
    newest: Newest,
    waiters: Vec<Waiter>,
    /// Whether the thread is to look here again.
    called: bool,
    /// Whether it has to be woken for that.
    asleep: bool,
    last: bool,
    /// Whether there is no thread any more.
    over: bool,
}

impl Queue {
    /// The first turn comes without a call.
    pub(super) fn new() -> Self {
        let waiting = Waiting {
            newest: HashMap::new(),
            waiters: Vec::new(),
            called: true,
            asleep: false,
            last: false,
            over: false,
        };
        Self { state: Mutex::new(waiting), more: Condvar::new() }
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
        let mut waiting = self.lock();
        waiting.asleep = true;
        waiting = match patience {
            None => self.more.wait_while(waiting, |waiting| !waiting.called).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.more.wait_timeout_while(waiting, patience, |waiting| !waiting.called);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        let breathe = |waiting: &mut Waiting| waiting.waiters.is_empty() && !waiting.last;
        if waiting.called {
            let waited = self.more.wait_timeout_while(waiting, BREATH, breathe);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        (waiting.asleep, waiting.called) = (false, false);
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

    /// Wakes the thread, if it sleeps and nobody has yet: a system call that a storm makes once, not for every note.
    fn call(&self, mut waiting: MutexGuard<'_, Waiting>, haste: Haste) {
        let first = !std::mem::replace(&mut waiting.called, true);
        let wake = waiting.asleep && (first || haste == Haste::Now);
        // First, or it would wake up only to wait for the lock.
        drop(waiting);
        if wake {
            self.more.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that is done under it panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
