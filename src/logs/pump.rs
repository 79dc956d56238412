//! The thread of the streams: all services' FIFOs into their files.
//!
//! It is told what there is to write ([`Pump::follow`]) and finds out by itself when. Nothing of a service's bytes passes
//! through a mailbox, and no restart waits for it but the first launch of a service, which needs its FIFO.

mod work;

use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Stream, Tally, Told};
use crate::model::{LogsSpec, ServiceId};
use crate::os::{Alarm, Shelf};

/// How long the thread may take at the end to write what is left. A dead disk takes longer.
const LAST_BYTES: Duration = Duration::from_secs(2);
/// How long after the end of a run the thread is told, which is off the path of the restart by then.
const BREATH: Duration = Duration::from_millis(1);
/// What a process ends with that has panicked.
const PANICKED: i32 = 101;
/// The thread's stack.
const STACK: usize = 128 << 10;

/// What a service writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outputs {
    /// Standard error has a file of its own.
    pub(crate) separate: bool,
    /// What becomes of it.
    pub(crate) spec: Arc<LogsSpec>,
}

/// The FIFOs of a service, for its processes to write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pipes {
    /// Standard output.
    pub(crate) output: PathBuf,
    /// Standard error, where that is separate.
    pub(crate) errors: Option<PathBuf>,
}

/// What the thread has to say.
#[derive(Debug)]
pub(crate) enum Word {
    /// A service's FIFOs are there, or why they are not (an error number).
    Opened(ServiceId, Result<Pipes, i32>),
    /// Something that people should know.
    Told(ServiceId, Told),
}

/// The way to the thread. Nothing of it ever waits, but for [`Pump::finish`].
pub(crate) struct Pump {
    calls: Sender<Call>,
    bell: Arc<Bell>,
    ended: Receiver<()>,
}

/// What the thread is asked for.
enum Call {
    Follow(ServiceId, Outputs, Arc<Tally>),
    Forget(ServiceId),
    Ended(ServiceId),
    Settle(ServiceId, oneshot::Sender<()>),
    Finish,
}

/// What wakes the thread.
struct Bell {
    alarm: Alarm,
    rung: AtomicBool,
}

impl Pump {
    /// Starts the thread, for services with logs below `state`. `shelf` keeps what waits in FIFOs when this process ends.
    ///
    /// # Errors
    /// There can be no thread, or no descriptor is left.
    pub(crate) fn start(state: &Path, shelf: Option<Shelf>) -> io::Result<(Self, mpsc::UnboundedReceiver<Word>)> {
        let (calls, asked) = channel();
        let bell = Arc::new(Bell { alarm: Alarm::new()?, rung: AtomicBool::new(false) });
        let (words, heard) = mpsc::unbounded_channel();
        let work = work::Work::new(state, shelf, Arc::clone(&bell), asked, words)?;
        let (end, ended) = channel::<()>();
        std::thread::Builder::new().name("logs".to_owned()).stack_size(STACK).spawn(move || {
            let _end = end;
            if std::panic::catch_unwind(AssertUnwindSafe(|| work.run())).is_err() {
                // Services would wait for ever once their pipes are full. The next herder has another such thread.
                log::error!("the thread that writes what services write has panicked: this herder ends");
                std::process::exit(PANICKED);
            }
        })?;
        Ok((Self { calls, bell, ended }, heard))
    }

    /// From now on writes what this service writes, by these rules; its FIFOs are made where there are none, and told of.
    pub(crate) fn follow(&self, service: ServiceId, outputs: Outputs, tally: Arc<Tally>) {
        self.ask(Call::Follow(service, outputs, tally), Duration::ZERO);
    }

    /// The service has left the herd: what it still has in its FIFOs is written, and they are removed.
    pub(crate) fn forget(&self, service: ServiceId) {
        self.ask(Call::Forget(service), Duration::ZERO);
    }

    /// A run of this service has ended: what it wrote last is whole, with or without a newline.
    pub(crate) fn ended(&self, service: ServiceId) {
        self.ask(Call::Ended(service), BREATH);
    }

    /// Resolves when all that a service has written by now is in its files, or can't be.
    pub(crate) fn settled(&self, service: ServiceId) -> impl Future<Output = ()> + Send + use<> {
        let (settled, told) = oneshot::channel();
        self.ask(Call::Settle(service, settled), Duration::ZERO);
        // An error is a thread that has ended: then nothing more is written.
        async move { _ = told.await }
    }

    /// Writes what is left and ends. Comes back after two seconds at the latest.
    pub(crate) fn finish(&self) {
        self.ask(Call::Finish, Duration::ZERO);
        let _ = self.ended.recv_timeout(LAST_BYTES);
    }

    fn ask(&self, call: Call, haste: Duration) {
        // An error is a thread that has ended by a panic, which was told.
        let _ = self.calls.send(call);
        self.bell.ring(haste);
    }
}

impl Bell {
    fn ring(&self, after: Duration) {
        // One that hurries does not wait for one that does not.
        if !self.rung.swap(true, Ordering::AcqRel) || after.is_zero() {
            self.alarm.set(after);
        }
    }

    /// From here on calls ring again.
    fn heard(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// The FIFO of a stream below the state directory.
fn fifo(state: &Path, service: &ServiceId, stream: Stream) -> PathBuf {
    let name = match stream {
        Stream::Output => format!("{service}.stdout"),
        Stream::Errors => format!("{service}.stderr"),
    };
    state.join("pipes").join(name)
}

#[cfg(test)]
mod tests;
