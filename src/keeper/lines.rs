//! The keeper's lines for the log, which the herder writes: the keeper itself never waits for a disk or a terminal.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// How many lines wait for a herder; older ones make room.
const KEPT: usize = 100;

static LINES: Lines = Lines(Mutex::new(VecDeque::new()));

struct Lines(Mutex<VecDeque<Line>>);

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) error: bool,
    pub(super) text: String,
}

/// From now on this process's lines wait for a herder.
pub(super) fn keep() {
    // An error is a logger that is there already, which happens in tests only.
    if log::set_logger(&LINES).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// The oldest line that no herder was told.
pub(super) fn next() -> Option<Line> {
    LINES.waiting().pop_front()
}

/// Lines that nobody could be told after all, before the others: whether it is an error, and its text.
pub(super) fn put_back(lines: Vec<(bool, String)>) {
    LINES.put_back(lines);
}

impl Lines {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_back(&self, lines: Vec<(bool, String)>) {
        let mut waiting = self.waiting();
        for (error, text) in lines.into_iter().rev() {
            waiting.push_front(Line { error, text });
        }
    }
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut lines = self.waiting();
        // More than these wait where some were put back.
        while lines.len() >= KEPT {
            lines.pop_front();
        }
        lines.push_back(Line { error: record.level() <= Level::Warn, text: record.args().to_string() });
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_hundred_wait_whatever_was_put_back() {
        let lines = Lines(Mutex::default());
        let say = |text: &str| lines.log(&Record::builder().level(Level::Info).args(format_args!("{text}")).build());
        (0..KEPT).for_each(|number| say(&format!("new {number}")));
        lines.put_back((0..KEPT).map(|number| (true, format!("old {number}"))).collect());
        say("last");
        let waiting = lines.waiting();
        assert_eq!((waiting.len(), waiting[0].text.as_str()), (KEPT, "new 1"));
        assert_eq!(waiting[KEPT - 1].text, "last");
    }
}
