//! Lines with stamps: copied out of the pipe, written, and only then taken out of it. Whoever is killed in between leaves
//! lines in both, and the next one writes them once more; none is lost.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::disk::Disk;
use super::lines::{self, Ending, Form, Room, Stamp, Taken};
use super::raw::{Limits, Turn};
use super::{LogError, LogFile, Scratch};
use crate::os::fifo;

/// How much of a pipe is looked at, unless a line is longer.
const CHUNK: usize = 256 << 10;
/// How much is written at a time, unless a line is longer.
const BATCH: usize = 512 << 10;

/// One step further: writes lines of about so many bytes as a pipe has, or rotates the file. To be called after
/// [`LogFile::refresh`], again and again until it is idle or others have waited long enough. `now` is when the bytes that wait
/// were seen, so long after 1970; `out` is memory to work in, of which nothing is needed later.
///
/// # Errors
/// Nothing has left the pipe; what counts as written may be written once more.
#[expect(clippy::too_many_arguments, reason = "a stream has them in one place, and calls from one place")]
pub(crate) fn turn<D: Disk>(
    file: &mut LogFile<D>,
    pipe: BorrowedFd<'_>,
    scratch: &mut Scratch,
    form: Form,
    ending: Ending,
    limits: Limits,
    now: Duration,
    out: &mut Vec<u8>,
) -> Result<Turn, LogError> {
    let rotated = |file: &mut LogFile<D>| Ok(file.rotate(now)?.map_or(Turn::Idle, Turn::Rotated));
    let size = file.size();
    let room = usize::try_from(limits.max_size.saturating_sub(size)).unwrap_or(usize::MAX);
    let waiting = fifo::waiting(pipe).map_err(LogError::pipe("look at"))?;
    if size > 0 && (limits.aged || room == 0 && waiting > 0) {
        return rotated(file);
    }
    if waiting == 0 {
        return Ok(Turn::Idle);
    }
    let stamp = Stamp::at(now);
    let mut look = |most: usize, cramped, room, out: &mut Vec<u8>| {
        let seen = scratch.look(pipe, most)?;
        let ending = match seen.len() {
            length if length >= waiting => ending,
            // As much as can be seen at all.
            length if length < most.min(waiting) => cramped,
            _ => Ending::Open,
        };
        out.clear();
        Ok(lines::take(form, &stamp, seen, ending, room, out))
    };
    let mut taken = look(CHUNK, Ending::Open, Room::Bytes(room.min(BATCH)), out)?;
    if taken.used == 0 {
        if taken.full && size > 0 && room <= BATCH {
            return rotated(file);
        }
        // A long line, or the begin of one.
        taken = look(lines::LONGEST, Ending::Full, Room::OneLine, out)?;
        if size > 0 && out.len() > room {
            return rotated(file);
        }
    }
    let Taken { used, .. } = taken;
    if used == 0 {
        return Ok(Turn::Idle);
    }
    let written = file.write(out);
    out.clear();
    out.shrink_to(BATCH);
    written?;
    scratch.consume(pipe, used)?;
    Ok(Turn::Moved(used))
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use super::super::{Filesystem, Rules, Stream};
    use super::*;

    struct Bench {
        directory: tempfile::TempDir,
        file: LogFile<Filesystem>,
        pipe: (OwnedFd, OwnedFd),
        scratch: Scratch,
    }

    impl Bench {
        fn new(pipe_size: usize) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let rules = Rules { stamped: true, keep: 9 };
            let file = LogFile::new(Filesystem, directory.path().to_owned(), Stream::Output, rules);
            let pipe = fifo::pipe().unwrap();
            fifo::resize_pipe(pipe.1.as_fd(), pipe_size).unwrap();
            Self { directory, file, pipe, scratch: Scratch::new().unwrap() }
        }

        fn write(&self, bytes: &[u8]) {
            assert_eq!(nix::unistd::write(&self.pipe.1, bytes).unwrap(), bytes.len());
        }

        fn turn(&mut self, ending: Ending, max_size: u64) -> Turn {
            self.file.refresh().unwrap();
            let (limits, now) = (Limits { max_size, aged: false }, Duration::from_secs(1_795_406_706));
            let (pipe, scratch) = (self.pipe.0.as_fd(), &mut self.scratch);
            turn(&mut self.file, pipe, scratch, Form::Timestamped, ending, limits, now, &mut Vec::new()).unwrap()
        }

        fn lines(&self) -> Vec<String> {
            let text = std::fs::read_to_string(self.directory.path().join("current.log")).unwrap();
            text.lines().map(|line| line[28..].to_owned()).collect()
        }
    }

    #[test]
    fn a_line_stays_in_the_pipe_until_it_is_whole_or_can_get_no_longer() {
        let mut bench = Bench::new(4096);
        bench.write(b"one\ntw");
        assert_eq!(bench.turn(Ending::Open, 1000), Turn::Moved(4));
        assert_eq!(bench.turn(Ending::Open, 1000), Turn::Idle);
        bench.write(b"o\nthree");
        assert_eq!(bench.turn(Ending::Open, 1000), Turn::Moved(4));
        assert_eq!(bench.turn(Ending::Full, 1000), Turn::Moved(5));
        bench.write(b"!");
        assert_eq!(bench.turn(Ending::Over, 1000), Turn::Moved(1));
        assert_eq!(bench.turn(Ending::Over, 1000), Turn::Idle);
        assert_eq!(bench.lines(), ["one", "two", "three…", "!"]);
    }

    #[test]
    fn a_line_that_is_longer_than_a_batch_is_written_whole_into_a_file_with_room_or_of_its_own() {
        let long = "x".repeat(900_000);
        let mut bench = Bench::new(lines::LONGEST);
        bench.write(b"short\n");
        bench.write(long.as_bytes());
        assert_eq!(bench.turn(Ending::Open, 10 << 20), Turn::Moved(6));
        assert_eq!(bench.turn(Ending::Open, 10 << 20), Turn::Idle);
        bench.write(b"\nlast\n");
        assert_eq!(bench.turn(Ending::Open, 10 << 20), Turn::Moved(900_001));
        assert_eq!(bench.lines(), ["short", &long]);
        assert_eq!(bench.turn(Ending::Open, 10 << 20), Turn::Moved(5));
        // Into a file of its own, where it is too long for any.
        bench.write(format!("{long}\nnext\n").as_bytes());
        assert!(matches!(bench.turn(Ending::Open, 1000), Turn::Rotated(_)));
        assert_eq!(bench.turn(Ending::Open, 1000), Turn::Moved(900_001));
        assert!(matches!(bench.turn(Ending::Open, 1000), Turn::Rotated(_)));
        assert_eq!(bench.turn(Ending::Open, 1000), Turn::Moved(5));
        assert_eq!(bench.lines(), ["next"]);
    }

    #[test]
    fn a_scratch_pipe_that_is_too_small_for_a_line_splits_it() {
        let mut bench = Bench::new(64 << 10);
        bench.scratch = Scratch::of(4096).unwrap();
        bench.write(&[vec![b'x'; 10_000], b"\n".to_vec()].concat());
        for moved in [4096, 4096, 10_001 - 8192] {
            assert_eq!(bench.turn(Ending::Open, 1 << 20), Turn::Moved(moved));
        }
        assert_eq!(bench.lines().iter().map(|line| line.ends_with('…')).collect::<Vec<_>>(), [true, true, false]);
    }
}
