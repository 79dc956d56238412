//! What a spawner promises.

use std::pin::Pin;
use std::sync::Arc;

use super::{Launch, Memo};
use crate::model::{Ending, Net, RunId, ServiceId, ServiceSpec, Signal, Stage, StopScope};

/// Makes, signals and watches processes.
///
/// One that wraps another hands on every call, those with a default included: a note that is not handed on is not kept.
///
/// A spawner decides nothing. All methods return at once: none waits for a child, a disk, a lock or another process. What
/// becomes of a run is told through [`Reports`], never from within a call, in this order: `Launched` at most once,
/// `Overdue` at most once, then exactly one `Ended`, after which nothing more is told of it. An end is kept until it is
/// acknowledged, and told again to whoever adopts the run, so that no end is lost with the one who waited for it.
pub trait Spawner {
    /// Keeps what is to be known of a service when the present program is gone, in place of what was kept of it before.
    ///
    /// What the caller asks of this service from here on without awaiting anything belongs to it: a spawner that outlives
    /// the caller does all of it or nothing. Those that end with the caller keep nothing.
    fn keep(&self, service: &ServiceId, memo: Memo<'_>) {
        let _ = (service, memo);
    }

    /// A service has left the herd: nothing is kept of it any more.
    fn forget(&self, service: &ServiceId) {
        let _ = service;
    }

    /// The herd is being ended: from here on its services are stopped and none is started. Whoever takes over from the
    /// caller goes on with that.
    fn ending(&self) {}

    /// The herd ends without its services being stopped.
    fn leaving(&self) {}

    /// These runs are about to be told to end, one service after the other, with a first [`Self::signal`] to each that is this
    /// one. A spawner that can send all of them at once does it here, and takes those calls as done; true if it did. A run that it
    /// does not know is left out, and one that ends meanwhile gets no such call.
    fn signal_together(&self, signals: &[(RunId, Signal)]) -> bool {
        let _ = signals;
        false
    }

    /// What becomes of a service's output; told before its first launch, and again whenever that has changed. A spawner that
    /// writes no logs itself leaves that to the processes, each of which opens its file ([`Launch::output`]).
    fn log(&self, spec: &ServiceSpec) {
        let _ = spec;
    }

    /// Figures of a service's output, and what is wrong with it; none where the spawner does not write it.
    fn logged(&self, service: &ServiceId) -> Option<Logged> {
        let _ = service;
        None
    }

    /// Resolves when what a service has written until now is in its files, or can't be written.
    fn settled(&self, service: &ServiceId) -> Kept {
        let _ = service;
        Box::pin(std::future::ready(()))
    }

    /// Resolves when what was kept until now outlives every process of this program. At once where nothing is kept.
    fn kept(&self) -> Kept {
        Box::pin(std::future::ready(()))
    }

    /// Begins a launch. That it worked, or what failed, is reported. A run id is launched at most once.
    fn launch(&self, launch: Launch, reports: Reports);

    /// Sends a signal to a run that has been launched and not yet acknowledged. One that has ended gets none, and its end
    /// is on its way; that the system does not permit it is reported ([`Report::Refused`]).
    fn signal(&self, run: RunId, signal: Signal, whom: Whom);

    /// What belongs to a run has changed: from now on this is what ends with its main process. Nothing happens where the
    /// run is not known.
    fn rescope(&self, run: RunId, scope: StopScope);

    /// Tells from now on `reports` what becomes of a run that somebody else launched, and what has become of it so far.
    /// False where the run is not known (never launched, or already acknowledged).
    fn adopt(&self, run: RunId, reports: Reports) -> bool;

    /// The end of this run has been taken note of: the spawner may forget it.
    fn acknowledge(&self, run: RunId);

    /// By what the processes of a service are found when it ends, if its conf wants a cgroup for it.
    fn net(&self) -> Net {
        Net::Group
    }

    /// Looks at the main process of a run and reports what it finds ([`Report::Examined`]).
    fn examine(&self, run: RunId);
}

/// What is known of a service's output, since the present program writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// Bytes that were written to its files.
    pub bytes: u64,
    /// Lines that were dropped.
    pub dropped: u64,
    /// How many bytes its pipes hold at the moment: more while it floods.
    pub pipe: u64,
    /// What the last run that has ended wrote last, in at most ten lines of each stream.
    pub last_words: Vec<String>,
    /// Why nothing can be written at the moment, and what becomes of the output: a sentence without its full stop.
    pub trouble: Option<String>,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The program runs.
    Launched {
        /// Its process id, for people: nobody signals by it.
        pid: u32,
    },
    /// The launch is not done after its time limit; the spawner has killed it, and its end will be reported.
    Overdue {
        /// Where it stands.
        stage: Stage,
    },
    /// A signal was not sent: its main process belongs to somebody whom the spawner may not signal (kill(2)).
    Refused {
        /// The process's real user.
        uid: u32,
    },
    /// What [`Spawner::examine`] found; for people.
    Examined {
        /// The kernel's letter for the state of its main process (`R`, `S`, `D`, `T`, `Z`: proc_pid_stat(5)); none where
        /// there is no such process.
        state: Option<char>,
    },
    /// It has ended, or could not be launched. Nothing of it is left that the spawner could find.
    Ended(Ending),
}

/// Who is told what becomes of a run: called from any thread, must not block.
pub type Reports = Arc<dyn Fn(RunId, Report) + Send + Sync>;

/// Who gets a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    /// The main process.
    Main,
    /// All that is known to belong to the run.
    Tree,
}

/// See [`Spawner::kept`].
pub type Kept = Pin<Box<dyn Future<Output = ()>>>;

impl<S: Spawner + ?Sized> Spawner for std::rc::Rc<S> {
    fn keep(&self, service: &ServiceId, memo: Memo<'_>) {
        (**self).keep(service, memo);
    }
    fn forget(&self, service: &ServiceId) {
        (**self).forget(service);
    }
    fn ending(&self) {
        (**self).ending();
    }
    fn leaving(&self) {
        (**self).leaving();
    }
    fn signal_together(&self, signals: &[(RunId, Signal)]) -> bool {
        (**self).signal_together(signals)
    }
    fn log(&self, spec: &ServiceSpec) {
        (**self).log(spec);
    }
    fn logged(&self, service: &ServiceId) -> Option<Logged> {
        (**self).logged(service)
    }
    fn settled(&self, service: &ServiceId) -> Kept {
        (**self).settled(service)
    }
    fn kept(&self) -> Kept {
        (**self).kept()
    }
    fn launch(&self, launch: Launch, reports: Reports) {
        (**self).launch(launch, reports);
    }
    fn signal(&self, run: RunId, signal: Signal, whom: Whom) {
        (**self).signal(run, signal, whom);
    }
    fn rescope(&self, run: RunId, scope: StopScope) {
        (**self).rescope(run, scope);
    }
    fn adopt(&self, run: RunId, reports: Reports) -> bool {
        (**self).adopt(run, reports)
    }
    fn acknowledge(&self, run: RunId) {
        (**self).acknowledge(run);
    }
    fn net(&self) -> Net {
        (**self).net()
    }
    fn examine(&self, run: RunId) {
        (**self).examine(run);
    }
}
