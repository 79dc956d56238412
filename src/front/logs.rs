//! The services' log files, as far as a request asks for them. All of it blocks and belongs on a blocking thread.

use std::ops::Range;
use std::path::Path;

use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, fstatat};

use crate::logs::{Amount, LogFiles, Snapshot, Stream};

/// The most and the least that is looked at of the end of a log, in bytes, whatever number of lines is asked for: an
/// answer is sent as a whole.
pub(super) const LOG_BYTES: Range<u64> = 64 << 10..1 << 20;
/// How much of that each line is worth.
pub(super) const LINE_BYTES: u64 = 4 << 10;

/// The size of each service's current log; 0 where there is none.
pub(super) fn sizes<'a>(logs: &Path, ids: impl Iterator<Item = &'a str>) -> Vec<u64> {
    // The way to the logs is gone once, and not for each of them.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = nix::fcntl::open(logs, flags, Mode::empty());
    let size = |id| {
        let current = LogFiles::of(Path::new(""), id, Stream::Output).current();
        let status = fstatat(directory.as_ref().ok()?, &current, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        u64::try_from(status.st_size).ok()
    };
    ids.map(|id| size(id).unwrap_or_default()).collect()
}

/// The last lines of a log, as they are; nothing where there is none, or none that can be read.
pub(super) fn last_lines(files: &LogFiles, amount: Amount) -> Vec<u8> {
    let tail = Snapshot::take(files).and_then(|snapshot| snapshot.last(amount));
    tail.map(|mut tail| tail.read_all()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_never_wrote_has_no_lines_and_no_bytes() {
        let logs = tempfile::tempdir().unwrap();
        let files = LogFiles::of(logs.path(), "web", Stream::Output);
        assert_eq!(last_lines(&files, Amount { lines: 3, bytes: 100 }), b"");
        std::fs::create_dir(logs.path().join("db")).unwrap();
        std::fs::write(logs.path().join("db/current.log"), "12345").unwrap();
        assert_eq!(sizes(logs.path(), ["web", "db"].into_iter()), [0, 5]);
    }
}
