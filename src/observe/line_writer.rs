//! Lines on their way to a terminal or a file that may be slow.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use super::rotating::RotatingFile;
use crate::os::{self, Alarm};

/// How many lines may wait. A burst of a thousand services, each with a few lines, fits.
const WAITING: usize = 8192;
/// How many bytes are written at a time, or a line more.
const BATCH: usize = 32 << 10;
/// How long after a first line the thread is woken. A service that ended is being started again at that moment, and the lines
/// on both are written together, after it.
const BREATH: Duration = Duration::from_millis(10);
/// How long the last lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Where the lines go.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Standard error.
    Stderr,
    /// A file that is rotated.
    File(PathBuf),
}

/// Takes lines and never blocks: a thread writes them. What does not fit is counted, and the count is written.
pub(crate) struct LineWriter {
    handle: LineHandle,
    /// Hangs up when the thread ends.
    ended: Receiver<()>,
}

/// One that writes lines.
#[derive(Clone)]
pub(crate) struct LineHandle {
    lines: Sender<Vec<u8>>,
    queue: Arc<Queue>,
}

/// What both ends know of the lines between them. The channel itself has no bound, since a bounded one takes all of its
/// memory at once and for ever.
struct Queue {
    waiting: AtomicUsize,
    lost: AtomicU64,
    /// Whether the thread is going to look for lines that are there by now.
    called: AtomicBool,
    alarm: Alarm,
}

impl Queue {
    fn new() -> io::Result<Self> {
        let (waiting, lost, called) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Ok(Self { waiting, lost, called, alarm: Alarm::new()? })
    }
}

impl LineWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// There can be no thread, or nothing that could wake it.
    pub(crate) fn start(target: Target) -> io::Result<Self> {
        let (sender, lines) = channel();
        let queue = Arc::new(Queue::new()?);
        let handle = LineHandle { lines: sender, queue: Arc::clone(&queue) };
        let (end, ended) = channel::<()>();
        std::thread::Builder::new().name("daemon.log".to_owned()).stack_size(64 << 10).spawn(move || {
            let _ended = end;
            // Lines are for people, who wait longer than services: a storm is logged in a few large writes after it, not in
            // many small ones in its middle.
            os::stay_behind();
            write_all(&lines, target, &queue);
        })?;
        Ok(Self { handle, ended })
    }

    /// A handle that writes through the same thread; it does not keep the thread alive past this value's drop.
    pub(crate) fn handle(&self) -> LineHandle {
        self.handle.clone()
    }
}

impl Write for LineHandle {
    /// One call is one line, as env_logger makes it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Counted before it is sent: the thread takes away only what was counted.
        let room = self.queue.waiting.fetch_add(1, Ordering::Relaxed) < WAITING;
        if !room || self.lines.send(line.to_vec()).is_err() {
            self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
            self.queue.lost.fetch_add(1, Ordering::Relaxed);
        }
        // After the line is there; the thread looks for lines after it has taken this back.
        if !self.queue.called.swap(true, Ordering::AcqRel) {
            self.queue.alarm.set(BREATH);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(lines: &Receiver<Vec<u8>>, target: Target, queue: &Queue) {
    let mut output: Box<dyn Write> = match target {
        Target::Stderr => Box::new(io::stderr()),
        Target::File(path) => Box::new(RotatingFile::new(path)),
    };
    let mut unwritten = 0;
    let mut open = true;
    while open {
        queue.alarm.wait();
        queue.called.swap(false, Ordering::AcqRel);
        // What waits is written at once: a burst of lines is a few writes.
        while open && let Some((batch, taken)) = next_batch(lines, &mut open) {
            queue.waiting.fetch_sub(taken, Ordering::Relaxed);
            let missing = queue.lost.swap(0, Ordering::Relaxed) + unwritten;
            if missing > 0 && writeln!(output, "… {missing} lines of this log were lost").is_ok() {
                unwritten = 0;
            }
            if output.write_all(&batch).is_err() {
                unwritten = missing + taken as u64;
            }
        }
    }
}

/// The lines that wait, as many as are written at once, and how many they are. There are none to come after those that are not
/// `open` any more.
fn next_batch(lines: &Receiver<Vec<u8>>, open: &mut bool) -> Option<(Vec<u8>, usize)> {
    let (mut batch, mut taken) = (Vec::new(), 0);
    while *open && batch.len() < BATCH {
        match lines.try_recv() {
            // An empty line is nobody's: it asks for the end.
            Ok(line) => {
                *open = !line.is_empty();
                taken += 1;
                batch.extend_from_slice(&line);
            }
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Disconnected) => *open = false,
        }
    }
    (taken > 0).then_some((batch, taken))
}

impl Drop for LineWriter {
    /// Waits until all lines that were taken are written, so that the last ones of a daemon are not lost; but not for long:
    /// a terminal that was stopped by Ctrl-S, or a dead disk, must not keep a daemon from ending.
    fn drop(&mut self) {
        self.handle.queue.waiting.fetch_add(1, Ordering::Relaxed);
        // An error is a thread that is gone already; whatever comes back from it, its end or the lapse of time, is enough.
        let _ = self.handle.lines.send(Vec::new());
        self.handle.queue.alarm.set(Duration::ZERO);
        let _ = self.ended.recv_timeout(LAST_LINES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_was_taken_is_written_before_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.log");
        let writer = LineWriter::start(Target::File(path.clone())).unwrap();
        let mut handle = writer.handle();
        for n in 0..100 {
            handle.write_all(format!("line {n}\n").as_bytes()).unwrap();
        }
        drop(writer);
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 100);
        assert!(text.ends_with("line 99\n"));
    }

    #[test]
    fn a_line_for_which_there_is_no_room_is_counted_and_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.log");
        let (sender, lines) = channel();
        let queue = Arc::new(Queue::new().unwrap());
        let mut handle = LineHandle { lines: sender, queue: Arc::clone(&queue) };
        for _ in 0..WAITING + 2 {
            handle.write_all(b"line\n").unwrap();
        }
        drop(handle);
        // The alarm was set with the first line.
        write_all(&lines, Target::File(path.clone()), &queue);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("… 2 lines of this log were lost\nline\n"));
        assert_eq!(text.lines().count(), 1 + WAITING);
    }
}
