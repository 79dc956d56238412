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
/// As many may hang on dead mounts before further work waits for them.
const MOST: usize = 512;

type Work = Box<dyn FnOnce() + Send>;

/// What waits for a thread, and who works.
struct Pool {
    waiting: VecDeque<Work>,
    threads: usize,
    idle: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { waiting: VecDeque::new(), threads: 0, idle: 0 });
static MORE: Condvar = Condvar::new();

/// Does something on another thread, in the order of the calls as far as threads are free.
///
/// # Errors
/// There is no thread for it, now or soon (EAGAIN); it will not be done.
pub(crate) fn aside(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut pool = lock();
    pool.waiting.push_back(Box::new(work));
    if pool.idle >= pool.waiting.len() {
        MORE.notify_one();
        return Ok(());
    }
    if pool.threads == MOST {
        return Ok(());
    }
    match thread::Builder::new().name("aside".to_owned()).spawn(labour) {
        Ok(_) => {
            pool.threads += 1;
            Ok(())
        }
        // Somebody is there who will come to it.
        Err(_) if pool.threads > 0 => {
            MORE.notify_one();
            Ok(())
        }
        Err(error) => {
            pool.waiting.pop_back();
            Err(error)
        }
    }
}

/// What a thread of the pool does until there is nothing more to do.
fn labour() {
    while let Some(work) = next() {
        // A panic has been told by the time it arrives here; whoever waits for this work sees that it is gone.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

/// The next work; none where the thread shall end, and is no longer counted.
fn next() -> Option<Work> {
    let mut pool = lock();
    if pool.waiting.is_empty() {
        pool.idle += 1;
        let patience = MORE.wait_timeout_while(pool, PATIENCE, |pool| pool.waiting.is_empty());
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

fn lock() -> MutexGuard<'static, Pool> {
    // Nothing that is done under it panics half way.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn all_is_done_whatever_panics_or_hangs() {
        let (done, results) = channel();
        let (go_on, hangs) = channel::<()>();
        aside(move || _ = hangs.recv()).unwrap();
        for number in 0..100 {
            let done = done.clone();
            aside(move || {
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
