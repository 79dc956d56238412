//! Two hands for many files: while one has been read and is understood, the next ones are read.

use std::sync::mpsc;
use std::thread;

/// Fewer files than this are not worth a thread.
const FEW: usize = 256;
/// So many are handed over at a time: each handing over may wake a processor up, and a virtual one takes as long for that as
/// some ten files do.
const HANDFUL: usize = 128;
/// So many handfuls are in memory at most, but for those in hand.
const WAITING: usize = 4;

/// Reads each file and does something with what it held, in their order. Where there are many, another thread does the
/// reading; where the system has none to give, this one does both.
pub(super) fn ahead<F: Sync, T: Send>(files: &[F], read: impl Fn(&F) -> T + Sync, mut then: impl FnMut(&F, T)) {
    let read = &read;
    thread::scope(|scope| {
        let (handing, handfuls) = mpsc::sync_channel(WAITING);
        let reading = move || {
            // Nobody takes them any more where the other half has panicked.
            let hand = |handful: &[F]| handing.send(handful.iter().map(read).collect::<Vec<T>>()).is_ok();
            files.chunks(HANDFUL).all(hand);
        };
        let begun =
            files.len() >= FEW && thread::Builder::new().name("ahead".to_owned()).spawn_scoped(scope, reading).is_ok();
        if begun {
            files.iter().zip(handfuls.into_iter().flatten()).for_each(|(file, held)| then(file, held));
        } else {
            files.iter().for_each(|file| then(file, read(file)));
        }
    });
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;
    use std::thread::ThreadId;

    use super::*;

    /// What was understood of so many files, and which threads have read them.
    fn read(count: usize) -> (Vec<(usize, usize)>, HashSet<ThreadId>) {
        let files: Vec<usize> = (0..count).collect();
        let (mut understood, readers) = (Vec::new(), Mutex::<HashSet<ThreadId>>::default());
        let read = |file: &usize| {
            readers.lock().unwrap().insert(thread::current().id());
            file * 3
        };
        ahead(&files, read, |file, held| understood.push((*file, held)));
        (understood, readers.into_inner().unwrap())
    }

    #[test]
    fn each_file_is_read_once_and_understood_in_its_turn() {
        for count in [0, 1, FEW - 1, FEW, HANDFUL * 5, HANDFUL * 5 + 1, 1000] {
            let (understood, readers) = read(count);
            assert_eq!(understood, (0..count).map(|file| (file, file * 3)).collect::<Vec<_>>());
            let here = readers.contains(&thread::current().id());
            assert_eq!((readers.len(), here), (usize::from(count > 0), count > 0 && count < FEW), "{count}");
        }
    }

    #[test]
    fn a_panic_in_either_half_ends_both() {
        let files: Vec<usize> = (0..1000).collect();
        let ends = |in_reading: usize, in_understanding: usize| {
            let read = |file: &usize| assert_ne!(*file, in_reading);
            catch_unwind(AssertUnwindSafe(|| ahead(&files, read, |file, ()| assert_ne!(*file, in_understanding))))
        };
        assert!(ends(500, usize::MAX).is_err());
        assert!(ends(usize::MAX, 5).is_err());
        assert!(ends(usize::MAX, usize::MAX).is_ok());
    }
}
