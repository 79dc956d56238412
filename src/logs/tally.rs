//! What is known of a service's output by those who do not write it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Stream;

/// Figures that the thread of the streams changes and anybody reads.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    bytes: AtomicU64,
    dropped: AtomicU64,
    pipe: AtomicU64,
    trouble: Mutex<Option<String>>,
    last_words: Mutex<[Vec<u8>; 2]>,
}

impl Tally {
    /// Bytes that have left the service's pipes for its files, since this herder took over.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Lines that were dropped, since this herder took over.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How much its pipes hold at the moment.
    pub(crate) fn pipe(&self) -> u64 {
        self.pipe.load(Ordering::Relaxed)
    }

    /// What the last run that has ended wrote last, of each stream: some lines of its files.
    pub(crate) fn last_words(&self) -> Vec<String> {
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        words
            .iter()
            .flat_map(|words| String::from_utf8_lossy(words).lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    /// Why nothing can be written at the moment, and what becomes of the output, in words.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn lost(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    pub(super) fn resized(&self, before: usize, now: usize) {
        self.pipe.fetch_add((now as u64).wrapping_sub(before as u64), Ordering::Relaxed);
    }

    pub(super) fn set_last_words(&self, stream: Stream, words: Vec<u8>) {
        let [output, errors] = &mut *self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        *match stream {
            Stream::Output => output,
            Stream::Errors => errors,
        } = words;
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}
