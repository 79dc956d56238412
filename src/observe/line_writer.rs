//! Lines on their way to a terminal or a file that may be slow.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::rotating::RotatingFile;

/// How many lines may wait. A burst of a thousand services, each with a few lines, fits.
const WAITING: usize = 8192;

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
    lines: Option<SyncSender<Vec<u8>>>,
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl LineWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// There can be no thread.
    pub(crate) fn start(target: Target) -> io::Result<Self> {
        let (sender, lines) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        let thread = std::thread::Builder::new()
            .name("daemon.log".to_owned())
            .stack_size(64 << 10)
            .spawn(move || write_all(&lines, target, &counter))?;
        Ok(Self { lines: Some(sender), lost, thread: Some(thread) })
    }

    /// A handle that writes through the same thread; it does not keep the thread alive past this value's drop.
    pub(crate) fn handle(&self) -> LineHandle {
        LineHandle { lines: self.lines.clone(), lost: Arc::clone(&self.lost) }
    }
}

/// One that writes lines.
pub(crate) struct LineHandle {
    lines: Option<SyncSender<Vec<u8>>>,
    lost: Arc<AtomicU64>,
}

impl Write for LineHandle {
    /// One call is one line, as env_logger makes it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.lines.as_ref().map(|lines| lines.try_send(line.to_vec())) {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(lines: &Receiver<Vec<u8>>, target: Target, lost: &AtomicU64) {
    let mut output: Box<dyn Write> = match target {
        Target::Stderr => Box::new(io::stderr()),
        Target::File(path) => Box::new(RotatingFile::new(path)),
    };
    let mut unwritten = 0;
    while let Ok(line) = lines.recv() {
        // An empty line is nobody's: it asks for the end.
        if line.is_empty() {
            return;
        }
        let missing = lost.swap(0, Ordering::Relaxed) + unwritten;
        if missing > 0 && writeln!(output, "… {missing} lines of this log were lost").is_ok() {
            unwritten = 0;
        }
        if output.write_all(&line).is_err() {
            unwritten = missing + 1;
        }
    }
}

impl Drop for LineWriter {
    /// Waits until all lines that were taken are written, so that the last ones of a daemon are not lost.
    fn drop(&mut self) {
        if let Some(lines) = self.lines.take() {
            // Blocks while the queue is full, which is the point here; an error is a thread that is gone already.
            let _ = lines.send(Vec::new());
        }
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has nothing to say to a daemon that ends.
            let _ = thread.join();
        }
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
        let (sender, lines) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let mut handle = LineHandle { lines: Some(sender), lost: Arc::clone(&lost) };
        for line in ["one\n", "two\n", "three\n"] {
            handle.write_all(line.as_bytes()).unwrap();
        }
        drop(handle);
        write_all(&lines, Target::File(path.clone()), &lost);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "… 2 lines of this log were lost\none\n");
    }
}
