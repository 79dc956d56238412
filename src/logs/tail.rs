//! The last lines of a log, over its old files too, in time proportional to what is shown.
//!
//! A plain file is read backwards from its end. A compressed one can only be read from its beginning: once to count its
//! lines, and where it has more than are wanted once more to find the first. Nothing is kept in memory but where to begin.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use flate2::read::MultiGzDecoder;

use super::older::{OldFile, Section, Text, blamed};
use super::reading::{FileIdentity, LogFiles, ReadError, open};

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// How much is wanted of the end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amount {
    /// So many lines. A last one without its newline is one.
    pub(crate) lines: u64,
    /// But no more bytes than these: a line may have no end.
    pub(crate) bytes: u64,
}

/// The files of a log as they were at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(super) files: LogFiles,
    pub(super) current: Option<CurrentFile>,
    /// The oldest first.
    pub(super) older: Vec<OldFile>,
}

/// The file that was written to.
#[derive(Debug)]
pub(super) struct CurrentFile {
    pub(super) file: File,
    pub(super) identity: FileIdentity,
    pub(super) length: u64,
}

/// The end of a log, to be read from its first byte on.
#[derive(Debug)]
pub(crate) struct Tail {
    files: LogFiles,
    parts: VecDeque<Part>,
    reading: Option<Reading>,
    /// Whether more lines were wanted, and left out for their length in bytes.
    pub(crate) is_cut: bool,
    /// Why what is older could not be read, where more lines were wanted.
    pub(crate) trouble: Option<ReadError>,
}

#[derive(Debug)]
enum Part {
    Old { old: OldFile, from: u64 },
    Current(Section),
}

struct Reading {
    text: Box<dyn Read + Send>,
    /// The old file that it is; else the current one.
    old: Option<OldFile>,
}

/// Where the last lines begin, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// At this byte of this file.
    Here(u64),
    /// In an older one.
    Before,
}

/// A search for the beginning of the last lines, from the newest file to the oldest.
struct Search {
    left: Amount,
    /// Whether nothing has been read yet, so that a newline ends the last line and does not separate it from another.
    at_end: bool,
    is_cut: bool,
    chunk: usize,
}

impl Snapshot {
    /// Looks at the files. The current one is opened first: if it is put aside meanwhile, it is found among the old ones.
    ///
    /// # Errors
    /// They can't be opened or listed. Where there are none, there is nothing to read.
    pub(crate) fn take(files: &LogFiles) -> Result<Self, ReadError> {
        let current = open(&files.current())?.map(|(file, identity, length)| CurrentFile { file, identity, length });
        let mut older = OldFile::all(files)?;
        if let Some(current) = &current {
            for index in 0..older.len() {
                if older[index].identity(files)? == Some(current.identity) {
                    older.truncate(index);
                    break;
                }
            }
        }
        Ok(Self { files: files.clone(), current, older })
    }

    /// Whether nothing was ever written, as far as is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.current.as_ref().is_none_or(|current| current.length == 0) && self.older.is_empty()
    }

    /// Finds the last lines.
    ///
    /// # Errors
    /// The current file can't be read. Trouble with an old one ends the search there.
    pub(crate) fn last(&self, amount: Amount) -> Result<Tail, ReadError> {
        self.last_by(amount, CHUNK)
    }

    fn last_by(&self, amount: Amount, chunk: usize) -> Result<Tail, ReadError> {
        let mut search = Search { left: amount, at_end: true, is_cut: false, chunk };
        let (mut parts, mut trouble) = (VecDeque::new(), None);
        if amount.lines > 0 {
            let mut found = Found::Before;
            if let Some(CurrentFile { file, length, .. }) = &self.current {
                let blame = ReadError::of(&self.files.current());
                let (copy, begin) =
                    file.try_clone().and_then(|copy| Ok((copy, search.backwards(file, *length)?))).map_err(blame)?;
                parts.push_front(Part::Current(Section { file: copy, at: begin.here(), end: *length }));
                found = begin;
            }
            for old in self.older.iter().rev() {
                if found != Found::Before {
                    break;
                }
                if search.left.bytes == 0 {
                    search.is_cut = true;
                    break;
                }
                match self.search_old(old, &mut search) {
                    // Deleted for its age, and so is whatever is older.
                    Ok(None) => break,
                    Ok(Some(begin)) => {
                        parts.push_front(Part::Old { old: old.clone(), from: begin.here() });
                        found = begin;
                    }
                    Err(error) => {
                        trouble = Some(error);
                        break;
                    }
                }
            }
        }
        Ok(Tail { files: self.files.clone(), parts, reading: None, is_cut: search.is_cut, trouble })
    }

    fn search_old(&self, old: &OldFile, search: &mut Search) -> Result<Option<Found>, ReadError> {
        let found = match old.open(&self.files)? {
            None => return Ok(None),
            Some(Text::Plain(file, length)) => search.backwards(&file, length),
            Some(Text::Packed(file)) => search.through(&file),
        };
        found.map(Some).map_err(ReadError::of(&blamed(old, &self.files)))
    }
}

impl Found {
    /// The first byte of this file that is wanted.
    fn here(self) -> u64 {
        match self {
            Self::Here(from) => from,
            Self::Before => 0,
        }
    }
}

impl Search {
    /// Looks in a plain file, from its end on backwards.
    fn backwards(&mut self, file: &File, length: u64) -> io::Result<Found> {
        let floor = length.saturating_sub(self.left.bytes);
        let mut buffer = vec![0; self.chunk.min(usize::try_from(length - floor).unwrap_or(usize::MAX))];
        let mut end = length;
        while end > floor {
            let begin = floor.max(end.saturating_sub(buffer.len() as u64));
            let wanted = usize::try_from(end - begin).unwrap_or(buffer.len());
            let read = read_at(file, &mut buffer[..wanted], begin)?;
            for index in newlines_from_behind(&buffer[..read]) {
                let after = begin + index as u64 + 1;
                if self.at_end && after == length {
                    continue;
                }
                self.left.lines -= 1;
                if self.left.lines == 0 {
                    return Ok(Found::Here(after));
                }
            }
            end = begin;
        }
        Ok(self.turn_page(length, floor))
    }

    /// Looks in a compressed file.
    fn through(&mut self, file: &File) -> io::Result<Found> {
        let (mut newlines, mut length, mut last) = (0, 0, b'\n');
        let whole = || file.try_clone().map(|file| MultiGzDecoder::new(Section { file, at: 0, end: u64::MAX }));
        each_chunk(&mut whole()?, self.chunk, |chunk| {
            newlines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
            length += chunk.len() as u64;
            last = chunk.last().copied().unwrap_or(last);
            true
        })?;
        let floor = length.saturating_sub(self.left.bytes);
        let separating = newlines - u64::from(self.at_end && length > 0 && last == b'\n');
        if separating < self.left.lines {
            self.left.lines -= separating;
            return Ok(self.turn_page(length, floor));
        }
        // The beginning is behind the newline of this number, counted from 0.
        let (mut before, mut offset) = (separating - self.left.lines, 0);
        each_chunk(&mut whole()?, self.chunk, |chunk| {
            for (index, _) in chunk.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                if before == 0 {
                    offset += index as u64 + 1;
                    return false;
                }
                before -= 1;
            }
            offset += chunk.len() as u64;
            true
        })?;
        self.is_cut = floor > offset;
        Ok(Found::Here(offset.max(floor)))
    }

    /// All of this file from `floor` on is wanted, and more.
    fn turn_page(&mut self, length: u64, floor: u64) -> Found {
        self.at_end &= length == 0;
        self.left.bytes -= length - floor;
        self.is_cut = floor > 0;
        if self.is_cut { Found::Here(floor) } else { Found::Before }
    }
}

impl Tail {
    /// Reads on; 0 bytes are its end. What is deleted for its age meanwhile is left out.
    ///
    /// # Errors
    /// A file can't be read any further; the next call goes on with the one after it.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            if let Some(mut reading) = self.reading.take() {
                let path = || reading.old.as_ref().map_or_else(|| self.files.current(), |old| blamed(old, &self.files));
                match reading.text.read(buffer) {
                    Ok(0) => {}
                    Ok(count) => {
                        self.reading = Some(reading);
                        return Ok(count);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => self.reading = Some(reading),
                    Err(error) => return Err(ReadError::of(&path())(error)),
                }
                continue;
            }
            match self.parts.pop_front() {
                None => return Ok(0),
                Some(Part::Current(section)) => self.reading = Some(Reading { text: Box::new(section), old: None }),
                Some(Part::Old { old, from }) => {
                    if let Some(text) = old.open(&self.files)? {
                        let text = text.from(from).map_err(ReadError::of(&blamed(&old, &self.files)))?;
                        self.reading = Some(Reading { text, old: Some(old) });
                    }
                }
            }
        }
    }

    /// Reads all of it, as far as that can be read.
    pub(crate) fn read_all(&mut self) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 4 << 10]);
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return all,
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                // The next file may be readable.
                Err(_) => {}
            }
        }
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("old", &self.old).finish_non_exhaustive()
    }
}

/// Fills the buffer from this byte of the file on; less only where the file ends, for it may have been truncated.
pub(super) fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Gives what can be read, piece by piece, as long as more is wanted.
fn each_chunk(text: &mut impl Read, chunk: usize, mut wanted: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut buffer = vec![0; chunk];
    loop {
        match text.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) if wanted(&buffer[..count]) => {}
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn newlines_from_behind(chunk: &[u8]) -> impl Iterator<Item = usize> {
    chunk.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt as _;
    use std::time::{Duration, Instant};

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::logs::Stream;

    const ALL: Amount = Amount { lines: u64::MAX, bytes: u64::MAX };

    /// A log of these texts, the oldest first and the last one the current one's, those compressed of which it is said.
    fn log(texts: &[(&[u8], bool)]) -> (TempDir, LogFiles) {
        let logs = tempfile::tempdir().unwrap();
        let files = LogFiles::of(logs.path(), "web", Stream::Output);
        std::fs::create_dir(files.directory()).unwrap();
        for (index, (text, packed)) in texts.iter().enumerate() {
            let name = files.directory().join(format!("20260101T000000.{index:06}Z-{index}.log"));
            if index + 1 == texts.len() {
                std::fs::write(files.current(), text).unwrap();
            } else if *packed {
                let mut gz = GzEncoder::new(File::create(name.with_extension("log.gz")).unwrap(), Compression::fast());
                gz.write_all(text).unwrap();
                gz.finish().unwrap();
            } else {
                std::fs::write(name, text).unwrap();
            }
        }
        (logs, files)
    }

    fn last(files: &LogFiles, lines: u64, bytes: u64, chunk: usize) -> (Vec<u8>, bool) {
        let mut tail = Snapshot::take(files).unwrap().last_by(Amount { lines, bytes }, chunk).unwrap();
        assert!(tail.trouble.is_none());
        (tail.read_all(), tail.is_cut)
    }

    /// The last lines by cutting all of the text into lines.
    fn naive(text: &[u8], lines: u64, bytes: u64) -> (Vec<u8>, bool) {
        let all: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let wanted = all[all.len().saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX))..].concat();
        let from = wanted.len().saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
        (wanted[from..].to_vec(), from > 0)
    }

    proptest! {
        #[test]
        fn the_last_lines_are_those_of_the_whole_text(
            texts in prop::collection::vec(("[ab\n]{0,40}", any::<bool>()), 1..5),
            lines in 0..30u64,
            bytes in prop_oneof![Just(u64::MAX), 0..60u64],
            chunk in 1..20usize,
        ) {
            let texts: Vec<(&[u8], bool)> = texts.iter().map(|(text, packed)| (text.as_bytes(), *packed)).collect();
            let (_logs, files) = log(&texts);
            let whole: Vec<u8> = texts.iter().flat_map(|(text, _)| text.to_vec()).collect();
            let (expected, is_cut) = naive(&whole, lines, bytes);
            let (found, was_cut) = last(&files, lines, bytes, chunk);
            prop_assert_eq!(found, expected);
            // Whoever has no byte left does not know what else there would have been.
            prop_assert!(was_cut == is_cut || was_cut);
        }
    }

    #[test]
    fn the_end_of_ten_gibibytes_is_there_at_once() {
        let (_logs, files) = log(&[(b"", false)]);
        let file = File::options().write(true).open(files.current()).unwrap();
        file.write_all_at(b"\nlast but one\nlast\n", 10 << 30).unwrap();
        let began = Instant::now();
        assert_eq!(last(&files, 2, u64::MAX, CHUNK).0, b"last but one\nlast\n");
        // All that is before these is one line without an end.
        let (end, is_cut) = last(&files, 4, 1 << 20, CHUNK);
        assert!(end.len() == 1 << 20 && end.ends_with(b"\0\nlast but one\nlast\n") && is_cut);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[test]
    fn a_log_without_files_is_empty() {
        let logs = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::take(&LogFiles::of(logs.path(), "web", Stream::Output)).unwrap();
        assert!(snapshot.is_empty());
        assert_eq!(snapshot.last(ALL).unwrap().read_all(), b"");
    }

    #[test]
    fn a_file_that_is_compressed_or_deleted_while_it_is_read_is_no_trouble() {
        let (_logs, files) = log(&[(b"a\nb\n", false), (b"c\nd\n", false), (b"e\n", false)]);
        let old = OldFile::all(&files).unwrap();
        let mut tail = Snapshot::take(&files).unwrap().last(Amount { lines: 4, bytes: 100 }).unwrap();
        std::fs::remove_file(old[1].plain(&files)).unwrap();
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(b"a\nb\n").unwrap();
        std::fs::write(old[0].plain(&files).with_extension("log.gz"), gz.finish().unwrap()).unwrap();
        std::fs::remove_file(old[0].plain(&files)).unwrap();
        assert_eq!(tail.read_all(), b"b\ne\n");
    }

    #[test]
    fn a_damaged_old_file_is_told_and_what_is_newer_is_shown() {
        let (_logs, files) = log(&[(b"a\n", false), (b"b\n", true), (b"c\n", false)]);
        let damaged = OldFile::all(&files).unwrap()[1].plain(&files).with_extension("log.gz");
        std::fs::write(&damaged, "no gzip at all").unwrap();
        let mut tail = Snapshot::take(&files).unwrap().last(ALL).unwrap();
        let trouble = tail.trouble.take().unwrap().to_string();
        assert!(trouble.contains(&damaged.display().to_string()), "{trouble}");
        assert_eq!(tail.read_all(), b"c\n");
        // Whoever needs no more than the newer ones is not told.
        assert!(Snapshot::take(&files).unwrap().last(Amount { lines: 1, bytes: 9 }).unwrap().trouble.is_some());
    }

    #[test]
    fn what_was_put_aside_while_it_was_looked_at_is_not_there_twice() {
        let (_logs, files) = log(&[(b"a\n", false), (b"b\n", false)]);
        // The same file has both names: it was opened under the one, and listed under the other.
        std::fs::hard_link(files.current(), files.directory().join("20260202T000000.000000Z-2.log")).unwrap();
        std::fs::write(files.directory().join("20260202T000000.000000Z-3.log"), "later\n").unwrap();
        assert_eq!(Snapshot::take(&files).unwrap().last(ALL).unwrap().read_all(), b"a\nb\n");
    }
}
