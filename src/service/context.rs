//! What all services of a herd share.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use crate::model::RunId;
use crate::os::Clock;
use crate::process::{Baseline, Place, Spawner};

/// The surroundings of a service: how it makes processes, what time it is, where its files are.
#[derive(Clone)]
pub struct Herd {
    /// Makes the processes.
    pub spawner: Rc<dyn Spawner>,
    /// Tells the time.
    pub clock: Clock,
    /// Numbers the runs.
    pub runs: RunNumbers,
    /// Whether the herd is being ended.
    pub terminating: Terminating,
    /// Where the services' files are.
    pub place: Arc<Place>,
    /// Who the daemon is, and what it passes on.
    pub baseline: Arc<Baseline>,
}

impl Herd {
    /// A herd of its own for a program that embeds one: runs are numbered from 1 under a number drawn now, services get
    /// what this process has, and their logs are below `state`.
    pub fn new(spawner: impl Spawner + 'static, state: impl Into<PathBuf>) -> Self {
        Self {
            spawner: Rc::new(spawner),
            clock: Clock::start(),
            runs: RunNumbers::new(fastrand::u64(..), 1),
            terminating: Terminating::default(),
            place: Arc::new(Place::new(state)),
            baseline: Arc::new(Baseline::of_this_process()),
        }
    }
}

/// Whether a herd is being ended: then a service stops before anything else follows from what happens to it, also one that was
/// not told to yet.
#[derive(Clone, Debug, Default)]
pub struct Terminating(Rc<Cell<bool>>);

impl Terminating {
    /// From now on it is.
    pub(crate) fn begin(&self) {
        self.0.set(true);
    }

    /// Whether it is.
    pub fn has_begun(&self) -> bool {
        self.0.get()
    }
}

/// The run ids of a herd, each given out once. Its actors share one thread, so that looking and taking need no lock.
#[derive(Clone, Debug)]
pub struct RunNumbers {
    herd: u64,
    next: Rc<Cell<u64>>,
}

impl RunNumbers {
    /// Numbers from `first` on for this herd.
    pub fn new(herd: u64, first: u64) -> Self {
        Self { herd, next: Rc::new(Cell::new(first)) }
    }

    /// The id that the next launch will have.
    pub fn peek(&self) -> RunId {
        RunId { herd: self.herd, number: self.next.get() }
    }

    /// This id is given out already; no launch gets it, nor an earlier one.
    pub(crate) fn reserve(&self, run: RunId) {
        if run.herd == self.herd {
            self.next.set(self.next.get().max(run.number.saturating_add(1)));
        }
    }

    /// The next launch has taken its id.
    pub(super) fn taken(&self) {
        self.next.set(self.next.get() + 1);
    }
}
