//! Work that may wait (disk, name service), on threads of its own.
//!
//! A thread that finds nothing more to do ends soon, so that an idle process has none and none of them wakes up. Unlike a
//! runtime's own pool, which panics, this one says so where the system has no thread to give: that is an answer for
//! whoever asked, and nobody's death.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A thread without work ends this long after; one that stayed would wake up to end.
const PATIENCE: Duration = Duration::from_millis(5);
/// The herd's own work: confs, groups, the sizes of logs.
pub(crate) static OWN: Pool = Pool::of(16);
/// Work for launches. As many may hang on dead mounts or in a name service before further ones wait for them; the herd's
/// own work never does.
pub(crate) static LAUNCHES: Pool = Pool::of(256);

type Work = Box<dyn FnOnce() + Send>;

/// Threads for one kind of work.
pub(crate) struct Pool {
    state: Mutex<State>,
    more: Condvar,
    /// How many threads there are at most.
    most: usize,
}

/// What waits for a thread, and who works.
struct State {
    waiting: VecDeque<Work>,
    threads: usize,
    idle: usize,
}

impl Pool {
    const fn of(most: usize) -> Self {
        let state = State { waiting: VecDeque::new(), threads: 0, idle: 0 };
        Self { state: Mutex::new(state), more: Condvar::new(), most }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under it panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does something on another thread, in the order of the calls as far as threads are free.
///
/// # Errors
/// There is no thread for it, now or soon (EAGAIN); it will not be done.
pub(crate) fn aside(on: &'static Pool, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut pool = on.lock();
    pool.waiting.push_back(Box::new(work));
    if pool.idle >= pool.waiting.len() {
        on.more.notify_one();
        return Ok(());
    }
    if pool.threads == on.most {
        return Ok(());
    }
    match thread::Builder::new().name("aside".to_owned()).spawn(move || labour(on)) {
        Ok(_) => {
            pool.threads += 1;
            Ok(())
        }
        // Somebody is there who will come to it.
        Err(_) if pool.threads > 0 => {
            on.more.notify_one();
            Ok(())
        }
        Err(error) => {
            pool.waiting.pop_back();
            Err(error)
        }
    }
}

/// What a thread of the pool does until there is nothing more to do.
fn labour(on: &Pool) {
    while let Some(work) = next(on) {
        // A panic has been told by the time it arrives here; whoever waits for this work sees that it is gone.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

/// The next work; none where the thread shall end, and is no longer counted.
fn next(on: &Pool) -> Option<Work> {
    let mut pool = on.lock();
    if pool.waiting.is_empty() {
        pool.idle += 1;
        let patience = on.more.wait_timeout_while(pool, PATIENCE, |pool| pool.waiting.is_empty());
        pool = patience.unwrap_or_else(PoisonError::into_inner).0;
        pool.idle -= 1;
    }
    let work = pool.waiting.pop_front();
    if work.is_none() {
        // Under the same lock as the look at what waits: nobody counts on a thread that is about to end.
        pool.threads -= 1;
    }
    work
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn all_is_done_whatever_panics_or_hangs() {
        let (done, results) = channel();
        let (go_on, hangs) = channel::<()>();
        static POOL: Pool = Pool::of(4);
        aside(&POOL, move || _ = hangs.recv()).unwrap();
        for number in 0..100 {
            let done = done.clone();
            aside(&POOL, move || {
                assert!(number % 10 != 0, "as it is meant to");
                done.send(number).unwrap();
            })
            .unwrap();
        }
        drop(done);
        let mut all: Vec<_> = results.iter().collect();
        all.sort_unstable();
        assert_eq!(all, (0..100).filter(|number| number % 10 != 0).collect::<Vec<_>>());
        drop(go_on);
    }
}
