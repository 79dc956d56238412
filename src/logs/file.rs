//! The file that a stream is written to.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, mem};

use super::disk::{Disk, DiskFile, FileStatus};
use super::{LogError, OldName, Stream, lines, rotation};

/// How much of a file's end is read first to find its last newline, and how much then at a time.
const LOOK_BACK: [u64; 2] = [512, 64 << 10];
/// A line that began before so many bytes is taken for one that began there.
const FARTHEST: u64 = 16 << 20;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Whole lines with stamps, instead of any bytes as they are.
    pub(crate) stamped: bool,
    /// How many old files are kept.
    pub(crate) keep: u32,
}

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Nobody has looked.
    Unknown,
    /// With a whole line, or it is empty.
    Over,
    /// In the middle of a line.
    Open {
        /// Where in the file that line begins; 0 also where it began in the file before.
        began: u64,
    },
}

/// The current file of a stream, with its old ones.
///
/// Others may move, delete or truncate it at any time (logrotate(8) does): [`Self::refresh`] notices. What they do between
/// that and the next write is noticed a turn later; the bytes of that turn go where they would have gone before.
#[derive(Debug)]
pub(crate) struct LogFile<D: Disk> {
    disk: D,
    directory: PathBuf,
    stream: Stream,
    rules: Rules,
    /// None before it is first needed, and after an error that left it in doubt.
    open: Option<Current<D::File>>,
    /// Whether there may be more old files than are kept.
    surplus: bool,
}

#[derive(Debug)]
struct Current<F> {
    file: F,
    id: (u64, u64),
    made: Option<Duration>,
    /// How much of it is good: the place of the next byte.
    size: u64,
    /// Whether a part of a line may come after that, of a write that failed.
    torn: bool,
    line: Line,
}

impl<D: Disk> LogFile<D> {
    /// Nothing is touched before the first call.
    pub(crate) fn new(disk: D, directory: PathBuf, stream: Stream, rules: Rules) -> Self {
        Self { disk, directory, stream, rules, open: None, surplus: true }
    }

    /// Follows these rules from now on.
    pub(crate) fn follow(&mut self, rules: Rules) {
        let before = mem::replace(&mut self.rules, rules);
        self.surplus |= before.keep > rules.keep;
        // A file that is stamped is opened in another way.
        self.open.take_if(|_| before.stamped != rules.stamped);
    }

    /// Sees to it that the file is open, that it is the one that has the path, and that its end is known; to be called once
    /// a turn, before anything else. In a file of stamped lines a torn last one is cut off.
    ///
    /// # Errors
    /// There is no file to write to; the next call tries again.
    pub(crate) fn refresh(&mut self) -> Result<(), LogError> {
        let path = self.path();
        let there = self.disk.status(&path).map_err(LogError::io("look at", &path))?;
        match (&mut self.open, there) {
            (Some(current), Some(there)) if current.id == there.id => {
                let expected = current.size == there.size || current.torn && current.size < there.size;
                if !expected {
                    // Truncated by somebody, or written to: it goes on at its end.
                    current.adopt(there.size, self.rules.stamped).map_err(LogError::io("mend", &path))?;
                }
                Ok(())
            }
            // Moved or deleted: whoever did it has what was written so far.
            _ => self.reopen(),
        }
    }

    /// How large the file is, or will be once it is mended; 0 before it is open.
    pub(crate) fn size(&self) -> u64 {
        self.open.as_ref().map_or(0, |current| current.size)
    }

    /// When it was begun, so long after 1970, where the file system says so.
    pub(crate) fn made(&self) -> Option<Duration> {
        self.open.as_ref().and_then(|current| current.made)
    }

    /// How it ends.
    ///
    /// # Errors
    /// Its end can't be read.
    pub(crate) fn line(&mut self) -> Result<Line, LogError> {
        let path = self.path();
        let current = self.current()?;
        if current.line == Line::Unknown {
            let over = last_line(&current.file, current.size).map_err(LogError::io("read", &path))?;
            current.line = if over == current.size { Line::Over } else { Line::Open { began: over } };
        }
        Ok(current.line)
    }

    /// The last lines of it, at most so many of those that its last `most` bytes hold whole. Nothing where they can't be read.
    pub(super) fn last(&self, lines: usize, most: u64) -> Vec<u8> {
        let Some(current) = &self.open else { return Vec::new() };
        // One more than is wanted: it tells whether the first line is whole.
        let from = current.size.saturating_sub(most.saturating_add(1));
        let mut text = vec![0; usize::try_from(current.size - from).unwrap_or_default()];
        if current.file.read_at(&mut text, from).is_err() {
            return Vec::new();
        }
        if from > 0 {
            let begins = memchr::memchr(b'\n', &text).map_or(text.len(), |newline| newline + 1);
            text.drain(..begins);
        }
        let over = text.strip_suffix(b"\n").unwrap_or(&text).len();
        let mut before = memchr::memrchr_iter(b'\n', &text[..over]).skip(lines.saturating_sub(1));
        let begins = before.next().map_or(0, |newline| newline + 1);
        text.split_off(begins)
    }

    /// How it ends, as far as that is known without reading it.
    pub(super) fn known_line(&self) -> Line {
        self.open.as_ref().map_or(Line::Unknown, |current| current.line)
    }

    /// Writes these bytes, all of them or none: what a write that fails in their middle leaves is cut off before anything
    /// else is written, or by the next start where they are stamped.
    ///
    /// # Errors
    /// None of them count as written.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let path = self.path();
        let current = self.current()?;
        current.write(bytes).map_err(LogError::io("write to", &path))
    }

    /// Moves up to `most` bytes from the pipe into the file, and says how many; 0 where nothing waits. `after` is how the file
    /// ends once they are all there.
    ///
    /// # Errors
    /// None of them were moved.
    pub(crate) fn splice(&mut self, pipe: BorrowedFd<'_>, most: usize, after: Line) -> Result<usize, LogError> {
        let path = self.path();
        let current = self.current()?;
        let moved = current.mend_tear().and_then(|()| match current.file.splice_at(pipe, current.size, most) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            result => result,
        });
        let moved = moved.map_err(LogError::io("write to", &path))?;
        if moved > 0 {
            // Of a part it is only known that what holds for the whole, before and after, holds for it too.
            current.line = if moved == most || current.line == after { after } else { Line::Unknown };
            current.size += moved as u64;
        }
        Ok(moved)
    }

    /// Puts the file away under the name of an old one, which is returned, and begins a new one; nothing happens to an empty
    /// file. What is surplus then, [`Self::prune`] removes.
    ///
    /// # Errors
    /// The next [`Self::refresh`] goes on with whichever file there is.
    pub(crate) fn rotate(&mut self, now: Duration) -> Result<Option<OldName>, LogError> {
        let path = self.path();
        self.refresh()?;
        let current = self.current()?;
        current.mend_tear().map_err(LogError::io("mend", &path))?;
        if current.size == 0 {
            return Ok(None);
        }
        let name = rotation::put_away(&self.disk, &self.directory, self.stream, now)?;
        self.surplus = true;
        self.reopen()?;
        Ok(Some(name))
    }

    /// Removes old files beyond those that are kept, where there may be some; to be called once a turn.
    ///
    /// # Errors
    /// Some can't be removed, and are left until there are more of them; nothing else is wrong.
    pub(crate) fn prune(&mut self) -> Result<(), LogError> {
        if mem::take(&mut self.surplus) {
            rotation::prune(&self.disk, &self.directory, self.stream, self.rules.keep)?;
        }
        Ok(())
    }

    /// The directory of the file and of its old ones.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self) -> PathBuf {
        self.directory.join(self.stream.current())
    }

    fn current(&mut self) -> Result<&mut Current<D::File>, LogError> {
        if self.open.is_none() {
            self.reopen()?;
        }
        let missing = || LogError::io("open", &self.directory)(io::ErrorKind::NotFound.into());
        self.open.as_mut().ok_or_else(missing)
    }

    fn reopen(&mut self) -> Result<(), LogError> {
        self.open = None;
        let path = self.path();
        let file = self.disk.open(&path, self.rules.stamped).map_err(LogError::io("open", &path))?;
        let FileStatus { id, size, made } = file.status().map_err(LogError::io("look at", &path))?;
        let mut current = Current { file, id, made, size: 0, torn: false, line: Line::Unknown };
        current.adopt(size, self.rules.stamped).map_err(LogError::io("mend", &path))?;
        self.open = Some(current);
        Ok(())
    }
}

impl<F: DiskFile> Current<F> {
    /// Takes the file as somebody left it, somebody killed in the middle of a line perhaps.
    fn adopt(&mut self, size: u64, stamped: bool) -> io::Result<()> {
        (self.size, self.torn, self.line) = (size, false, Line::Unknown);
        if !stamped {
            return Ok(());
        }
        let over = last_line(&self.file, size)?;
        if over < size {
            let mut begin = [0; 32];
            let begin = &mut begin[..usize::try_from(size - over).unwrap_or(usize::MAX).min(32)];
            self.file.read_at(begin, over)?;
            if lines::may_be_torn(begin) {
                (self.size, self.torn) = (over, true);
                self.mend_tear()?;
            } else {
                self.write(b"\n")?;
            }
        }
        self.line = Line::Over;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.mend_tear()?;
        let mut written = 0;
        while written < bytes.len() {
            let result = match self.file.write_at(&bytes[written..], self.size + written as u64) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                result => result,
            };
            match result {
                Ok(more) => written += more,
                Err(error) => {
                    self.torn = true;
                    // If this fails too, it is tried again before the next write.
                    let _ = self.mend_tear();
                    return Err(error);
                }
            }
        }
        self.size += bytes.len() as u64;
        self.line = if bytes.ends_with(b"\n") { Line::Over } else { Line::Unknown };
        Ok(())
    }

    /// Cuts off what a write that failed has left.
    fn mend_tear(&mut self) -> io::Result<()> {
        // Somebody may have truncated it further; to cut it then would be to lengthen it.
        if self.torn && self.file.status()?.size > self.size {
            self.file.cut(self.size)?;
        }
        self.torn = false;
        Ok(())
    }
}

/// Where the last line of a file begins: after its last newline, which may be at its end.
fn last_line(file: &impl DiskFile, size: u64) -> io::Result<u64> {
    let mut buffer = Vec::new();
    let (mut from, mut step) = (size, LOOK_BACK[0]);
    while from > size.saturating_sub(FARTHEST) {
        let length = step.min(from);
        buffer.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        file.read_at(&mut buffer, from - length)?;
        from -= length;
        if let Some(newline) = memchr::memrchr(b'\n', &buffer) {
            return Ok(from + newline as u64 + 1);
        }
        step = LOOK_BACK[1];
    }
    Ok(from)
}

#[cfg(test)]
mod tests;
