//! A spawner whose processes are children of the calling process.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::future;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::model::{RunId, Signal, StopScope};
use crate::os::{Epoll, Events, Trace};
use crate::process::children::{EndBy, Table};
use crate::process::{Launch, Reports, Spawner, Whom, order};

/// How long a launch may take before it is given up. A child may hang before its program runs: on a mount whose server
/// is gone, in a frozen cgroup.
pub const LAUNCH_LIMIT: Duration = Duration::from_secs(30);

/// Makes processes as children of the calling one, and learns their ends from the kernel without polling.
///
/// It launches with its parent's memory shared and without waiting (clone3(2) with `CLONE_VM`), and waits for all launches
/// and all processes through one epoll instance, drained by one task. The children outlive it: when it is dropped, nothing
/// is signalled, and nobody learns their ends.
///
/// What belongs to a run ([`Whom::Tree`], [`StopScope::Tree`]) is its process group here; a
/// descendant that makes a group or session of its own is not found.
///
/// The program around it must leave these children alone: whoever waits for any child (`waitpid(-1)`) or ignores SIGCHLD
/// takes ends away, which are then told as [`Ending::Lost`](crate::model::Ending::Lost).
pub struct DirectSpawner {
    table: Rc<RefCell<Table>>,
    listeners: Listeners,
    wake: Rc<Notify>,
    task: AbortHandle,
}

impl DirectSpawner {
    /// A spawner on the current thread, with [`LAUNCH_LIMIT`].
    ///
    /// # Errors
    /// No descriptors or no memory are left for its epoll instance.
    ///
    /// # Panics
    /// Outside a tokio [`LocalSet`](tokio::task::LocalSet) (an actix `System` is one) with I/O and time enabled.
    pub fn new() -> io::Result<Self> {
        Self::with_launch_limit(LAUNCH_LIMIT)
    }

    /// A spawner that gives a launch up after this time.
    ///
    /// # Errors
    /// As [`DirectSpawner::new`].
    ///
    /// # Panics
    /// As [`DirectSpawner::new`].
    pub fn with_launch_limit(limit: Duration) -> io::Result<Self> {
        let epoll = Rc::new(Epoll::new()?);
        let ready = Rc::clone(&epoll).awaited()?;
        let table = Rc::new(RefCell::new(Table::new(epoll, EndBy::Pidfd, limit)));
        let listeners = Listeners::default();
        let wake = Rc::new(Notify::new());
        let task = tokio::task::spawn_local(watch(ready, Rc::clone(&table), Rc::clone(&listeners), Rc::clone(&wake)));
        Ok(Self { table, listeners, wake, task: task.abort_handle() })
    }
}

impl Spawner for DirectSpawner {
    fn launch(&self, launch: Launch, reports: Reports) {
        let (run, scope) = (launch.run, launch.scope);
        self.listeners.borrow_mut().entry(run).or_insert(reports);
        if self.table.borrow_mut().launch(run, scope, order(launch), Trace::default(), |_, _, _| ()) {
            self.wake.notify_one();
        }
    }

    fn signal(&self, run: RunId, signal: Signal, whom: Whom) {
        if self.table.borrow_mut().signal(run, signal, whom) {
            self.wake.notify_one();
        }
    }

    fn rescope(&self, run: RunId, scope: StopScope) {
        self.table.borrow_mut().rescope(run, scope);
    }

    fn adopt(&self, run: RunId, reports: Reports) -> bool {
        let known = self.table.borrow_mut().retell(run);
        if known {
            self.listeners.borrow_mut().insert(run, reports);
            self.wake.notify_one();
        }
        known
    }

    fn acknowledge(&self, run: RunId) {
        if self.table.borrow_mut().acknowledge(run) {
            self.listeners.borrow_mut().remove(&run);
        }
    }

    fn examine(&self, run: RunId) {
        if self.table.borrow_mut().examine(run) {
            self.wake.notify_one();
        }
    }
}

impl Drop for DirectSpawner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for DirectSpawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectSpawner").finish_non_exhaustive()
    }
}

/// Who is told of which run.
type Listeners = Rc<RefCell<HashMap<RunId, Reports>>>;

/// Turns what the kernel says into reports. It sleeps until something happens; a timer exists only while a launch is under
/// way (or the kernel had no memory to watch a process).
async fn watch(epoll: AsyncFd<Rc<Epoll>>, table: Rc<RefCell<Table>>, listeners: Listeners, wake: Rc<Notify>) {
    let mut events = Events::default();
    loop {
        let deadline = table.borrow_mut().next_deadline();
        tokio::select! {
            biased;
            () = wake.notified() => {}
            ready = epoll.readable() => {
                let Ok(mut guard) = ready else { return };
                match guard.get_inner().ready(&mut events) {
                    Ok(numbers) => numbers.for_each(|number| table.borrow_mut().happened(number, |_, _| ())),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // Only a closed or foreign descriptor gives another error. Going on would spin.
                    Err(error) => return log::error!("cannot wait for processes: {error}"),
                }
            }
            () = until(deadline) => table.borrow_mut().expire(Instant::now(), |_, _| ()),
        }
        let mut told = false;
        loop {
            let Some((run, report)) = table.borrow_mut().tell() else { break };
            let listener = listeners.borrow().get(&run).map(Reports::clone);
            // Whoever is told may call back, so nothing is borrowed by then.
            if let Some(listener) = listener {
                listener(run, report);
            }
            told = true;
        }
        if told {
            // What the reports lead to begins before the next batch is taken, so that of a thousand that die at once the
            // first is not restarted after the last one is reaped.
            tokio::task::yield_now().await;
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => future::pending().await,
    }
}
