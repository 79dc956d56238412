//! The services' log files, as far as a request asks for them. All of it blocks and belongs on a blocking thread.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How much of the end of a log is looked at for its last lines.
pub(super) const TAIL: u64 = 64 << 10;

/// The file that a service's output is written to.
pub(super) fn current(logs: &Path, id: &str) -> PathBuf {
    logs.join(id).join("current.log")
}

/// The size of each service's current log; 0 where there is none.
pub(super) fn sizes<'a>(logs: &Path, ids: impl Iterator<Item = &'a str>) -> Vec<u64> {
    ids.map(|id| current(logs, id).symlink_metadata().map_or(0, |metadata| metadata.len())).collect()
}

/// The last lines of a file, as they are, but no more than `limit` bytes; nothing where there is no file.
///
/// # Errors
/// The file can't be read.
pub(super) fn last_lines(path: &Path, lines: usize, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.seek(SeekFrom::End(0))?;
    let from = length.saturating_sub(limit);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.take(limit).read_to_end(&mut end)?;
    let start = begin_of_last(&end, lines);
    Ok(end.split_off(start))
}

/// Where the last `lines` lines begin. A last line without its newline counts; what is before the first newline may be a
/// part of a line, and is shown if it is needed.
fn begin_of_last(text: &[u8], lines: usize) -> usize {
    let Some(before_last) = text.len().checked_sub(1) else { return 0 };
    if lines == 0 {
        return text.len();
    }
    text[..before_last]
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(lines - 1)
        .map_or(0, |(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(text: &str, lines: usize, limit: u64) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("current.log");
        std::fs::write(&path, text).unwrap();
        String::from_utf8(last_lines(&path, lines, limit).unwrap()).unwrap()
    }

    #[test]
    fn the_last_lines_are_answered_as_they_are() {
        for (text, lines, expected) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n\n", 2, "b\n\n"),
            ("a\nb\n", 5, "a\nb\n"),
            ("a\nb\n", 0, ""),
            ("", 3, ""),
            ("\n", 1, "\n"),
        ] {
            assert_eq!(tail(text, lines, 100), expected, "{text:?} {lines}");
        }
        assert_eq!(tail("0123456789\n", 3, 4), "789\n");
    }

    #[test]
    fn a_service_that_never_wrote_has_no_lines_and_no_bytes() {
        let logs = tempfile::tempdir().unwrap();
        assert_eq!(last_lines(&current(logs.path(), "web"), 3, TAIL).unwrap(), b"");
        std::fs::create_dir(logs.path().join("db")).unwrap();
        std::fs::write(current(logs.path(), "db"), "12345").unwrap();
        assert_eq!(sizes(logs.path(), ["web", "db"].into_iter()), [0, 5]);
    }
}
