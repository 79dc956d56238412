//! Bytes as they are: from the pipe into the file without passing through memory, so that whoever is killed, each of them is
//! in one of both.
//!
//! A file is rotated between lines. To find the end of one, only the last bytes before the limit are looked at, in a copy.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use memchr::{memchr, memrchr};

use super::disk::Disk;
use super::file::Line;
use super::{LogError, LogFile, OldName, Scratch};
use crate::os::fifo;

/// How much of a file before its limit is written with a look at the bytes; of a small one it is the half.
///
/// A file exceeds its limit only to finish a line that is longer than this.
pub(super) const STRETCH: u64 = 64 << 10;

/// When a file is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How many bytes it may have; never zero.
    pub(crate) max_size: u64,
    /// Whether it has become too old, and is to be put away after its last line.
    pub(crate) aged: bool,
}

/// What a turn has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// So many bytes have left the pipe.
    Moved(usize),
    /// So many bytes have left the pipe, and they were all that had waited there.
    Emptied(usize),
    /// The file was put away under this name, for which another may have to go.
    Rotated(OldName),
    /// Nothing, and there is nothing to be done before more bytes come.
    Idle,
}

/// What is known when it is decided what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) size: u64,
    pub(super) line: Line,
    pub(super) limits: Limits,
    /// How many bytes wait in the pipe.
    pub(super) waiting: usize,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, before more bytes wait.
    Wait,
    /// Move so many bytes. Then the file ends like this.
    Move(usize, Line),
    /// Put the file away.
    Rotate,
    /// Look how the file ends, then ask again.
    LookBack,
    /// Look at so many of the bytes that wait, or fewer, then ask again.
    LookAhead(usize),
}

/// One step further: moves at most `most` bytes, or rotates the file. To be called after [`LogFile::refresh`], again and again
/// until it is idle or others have waited long enough.
///
/// # Errors
/// Nothing was moved.
pub(crate) fn turn<D: Disk>(
    file: &mut LogFile<D>,
    pipe: BorrowedFd<'_>,
    scratch: &mut Scratch,
    limits: Limits,
    most: usize,
    now: Duration,
) -> Result<Turn, LogError> {
    let all = fifo::waiting(pipe).map_err(LogError::pipe("look at"))?;
    let waiting = all.min(most);
    let mut ahead = None;
    loop {
        let view = View { size: file.size(), line: file.known_line(), limits, waiting };
        match next(view, ahead) {
            Step::Wait => return Ok(Turn::Idle),
            Step::Move(bytes, after) => {
                return Ok(match file.splice(pipe, bytes, after)? {
                    0 => Turn::Idle,
                    moved if moved == all => Turn::Emptied(moved),
                    moved => Turn::Moved(moved),
                });
            }
            Step::Rotate => return Ok(file.rotate(now)?.map_or(Turn::Idle, Turn::Rotated)),
            Step::LookBack => _ = file.line()?,
            Step::LookAhead(bytes) => ahead = Some(scratch.look(pipe, bytes)?),
        }
    }
}

/// Decides what to do next; `ahead` is what waits first, where somebody has looked.
pub(super) fn next(view: View, ahead: Option<&[u8]>) -> Step {
    let View { size, line, limits: Limits { max_size, aged }, waiting } = view;
    let stretch = (max_size / 2).min(STRETCH);
    let (room, careless) = if aged && size > 0 { (0, 0) } else { (max_size.saturating_sub(size), max_size - stretch) };
    if size < careless {
        return match clamp(careless - size).min(waiting) {
            0 => Step::Wait,
            bytes => Step::Move(bytes, Line::Unknown),
        };
    }
    let began = match line {
        Line::Unknown => return Step::LookBack,
        Line::Over if size > 0 && (aged || room == 0 && waiting > 0) => return Step::Rotate,
        _ if waiting == 0 => return Step::Wait,
        Line::Over => None,
        Line::Open { began } => Some(began),
    };
    let Some(ahead) = ahead else { return Step::LookAhead(clamp(stretch).max(1).min(waiting)) };
    let fits = &ahead[..ahead.len().min(clamp(room))];
    if let Some(newline) = memrchr(b'\n', fits) {
        return Step::Move(newline + 1, Line::Over);
    }
    let Some(began) = began.or((size == 0).then_some(0)) else { return Step::Rotate };
    let line = Line::Open { began };
    if fits.len() == ahead.len() {
        return Step::Move(ahead.len(), line);
    }
    // The line does not fit. Begun as it is, it goes on here, unless it is longer than a whole file may be.
    let allowed = clamp((began + max_size).saturating_sub(size));
    match memchr(b'\n', ahead).map(|newline| newline + 1) {
        Some(end) if end <= allowed => Step::Move(end, Line::Over),
        None if ahead.len() <= allowed => Step::Move(ahead.len(), line),
        _ if !fits.is_empty() => Step::Move(fits.len(), line),
        _ => Step::Rotate,
    }
}

fn clamp(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 1000;

    fn view(size: u64, line: Line, waiting: usize) -> View {
        View { size, line, limits: Limits { max_size: MAX, aged: false }, waiting }
    }

    fn aged(size: u64, line: Line, waiting: usize) -> View {
        View { limits: Limits { max_size: MAX, aged: true }, ..view(size, line, waiting) }
    }

    fn bytes(line: usize, rest: usize) -> Vec<u8> {
        [vec![b'x'; line - 1], b"\n".to_vec(), vec![b'y'; rest]].concat()
    }

    #[test]
    fn far_from_the_limit_nothing_is_looked_at() {
        assert_eq!(next(view(0, Line::Unknown, 0), None), Step::Wait);
        assert_eq!(next(view(0, Line::Unknown, 300), None), Step::Move(300, Line::Unknown));
        assert_eq!(next(view(400, Line::Unknown, 300), None), Step::Move(100, Line::Unknown));
        let large = Limits { max_size: 1 << 20, aged: false };
        let before = View { limits: large, ..view((1 << 20) - STRETCH - 1, Line::Unknown, 300) };
        assert_eq!(next(before, None), Step::Move(1, Line::Unknown));
    }

    #[test]
    fn near_it_lines_are_moved_whole_as_many_as_fit() {
        assert_eq!(next(view(600, Line::Unknown, 300), None), Step::LookBack);
        assert_eq!(next(view(600, Line::Over, 0), None), Step::Wait);
        assert_eq!(next(view(600, Line::Over, 300), None), Step::LookAhead(300));
        assert_eq!(next(view(600, Line::Over, 900), None), Step::LookAhead(500));
        let open = Line::Open { began: 300 };
        for line in [Line::Over, open] {
            assert_eq!(next(view(600, line, 900), Some(&bytes(50, 20))), Step::Move(50, Line::Over));
            assert_eq!(next(view(950, line, 900), Some(&bytes(50, 20))), Step::Move(50, Line::Over));
        }
        assert_eq!(next(view(951, Line::Over, 900), Some(&bytes(50, 20))), Step::Rotate);
        assert_eq!(next(view(600, Line::Over, 20), Some(&[b'x'; 20])), Step::Rotate, "the begin of a line");
        assert_eq!(next(view(600, open, 20), Some(&[b'x'; 20])), Step::Move(20, open), "more of a line");
        assert_eq!(next(view(1000, Line::Over, 0), None), Step::Wait);
        assert_eq!(next(view(1000, Line::Over, 1), None), Step::Rotate);
    }

    #[test]
    fn a_line_goes_on_beyond_the_limit_unless_it_is_longer_than_a_file_may_be() {
        let open = Line::Open { began: 300 };
        assert_eq!(next(view(951, open, 900), Some(&bytes(50, 20))), Step::Move(50, Line::Over));
        assert_eq!(next(view(951, open, 900), Some(&[b'x'; 349])), Step::Move(349, open));
        assert_eq!(next(view(951, open, 900), Some(&bytes(349, 0))), Step::Move(349, Line::Over));
        assert_eq!(next(view(951, open, 900), Some(&bytes(350, 0))), Step::Move(49, open), "it may be split");
        assert_eq!(next(view(1000, open, 900), Some(&[b'x'; 301])), Step::Rotate);
        assert_eq!(next(view(1300, Line::Over, 1), None), Step::Rotate);
        let whole = Line::Open { began: 0 };
        assert_eq!(next(view(900, whole, 900), Some(&[b'x'; 500])), Step::Move(100, whole));
        assert_eq!(next(view(1000, whole, 900), Some(&bytes(2, 0))), Step::Rotate);
    }

    #[test]
    fn what_is_too_old_goes_after_its_last_line() {
        assert_eq!(next(aged(0, Line::Over, 0), None), Step::Wait);
        assert_eq!(next(aged(0, Line::Over, 9), None), Step::Move(9, Line::Unknown));
        assert_eq!(next(aged(10, Line::Unknown, 0), None), Step::LookBack);
        assert_eq!(next(aged(10, Line::Over, 0), None), Step::Rotate);
        let open = Line::Open { began: 5 };
        assert_eq!(next(aged(10, open, 0), None), Step::Wait);
        assert_eq!(next(aged(10, open, 9), Some(&bytes(5, 4))), Step::Move(5, Line::Over));
        assert_eq!(next(aged(10, open, 9), Some(&[b'x'; 9])), Step::Move(9, open));
    }

    #[test]
    fn the_smallest_file_holds_a_byte() {
        let view = |size, line| View { size, line, limits: Limits { max_size: 1, aged: false }, waiting: 3 };
        assert_eq!(next(view(0, Line::Over), None), Step::Move(1, Line::Unknown));
        assert_eq!(next(view(1, Line::Open { began: 0 }), Some(b"y")), Step::Rotate);
    }
}
