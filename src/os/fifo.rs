//! Pipes as the logs use them: what waits in one, and how it gets into a file without passing through memory.
#![expect(unsafe_code, reason = "nix has splice(2) and tee(2) behind a feature of their own, and no FIONREAD")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FileStat, Mode, fstat, lstat};

/// Opens the FIFO of this path, and makes it if there is nothing: for its owner alone, never through a symlink, and never
/// waiting. It is open for both directions, so that a writer never finds it without a reader (fifo(7)).
///
/// # Errors
/// `InvalidInput` where something else has the path; else it can't be made or opened.
pub(crate) fn open_fifo(path: &Path) -> io::Result<OwnedFd> {
    match nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let fifo = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    // Of a FIFO in which bytes wait, another kind of file would make bytes that wait nowhere.
    if !fifo.metadata()?.file_type().is_fifo() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a FIFO"));
    }
    Ok(fifo.into())
}

/// A pipe without a name, its reading end first. Neither end ever waits.
///
/// # Errors
/// No descriptor is left, or the user's share of memory for pipes is used up.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the call writes two numbers, for which there is room.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } as isize)?;
    // SAFETY: both descriptors are new and belong to nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// How many bytes wait in the pipe.
///
/// # Errors
/// It is no pipe.
pub(crate) fn waiting(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int (pipe(7)).
    check(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) } as isize)?;
    Ok(usize::try_from(bytes).unwrap_or_default())
}

/// How many bytes the pipe holds at most. It may be full with less: each write may leave the rest of a page unused.
///
/// # Errors
/// It is no pipe.
pub(crate) fn pipe_size(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: the command takes no memory (F_GETPIPE_SZ in fcntl(2)).
    check(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) } as isize)
}

/// Whether a writer would have to wait, whatever it has to write: every page of the pipe is in use, be it by a byte.
///
/// # Errors
/// It can't be looked at (poll(2)).
pub(crate) fn is_full(fifo: BorrowedFd<'_>) -> io::Result<bool> {
    let mut look = [PollFd::new(fifo, PollFlags::POLLOUT)];
    poll(&mut look, PollTimeout::ZERO)?;
    Ok(!look[0].revents().is_some_and(|events| events.contains(PollFlags::POLLOUT)))
}

/// Whether the path leads to this FIFO.
pub(crate) fn is_at(fifo: BorrowedFd<'_>, path: &Path) -> bool {
    let id = |status: FileStat| (status.st_dev, status.st_ino);
    matches!((fstat(fifo), lstat(path)), (Ok(ours), Ok(there)) if id(ours) == id(there))
}

/// Makes the pipe hold this many bytes, or up to twice as many: the kernel rounds up. Returns how many.
///
/// # Errors
/// `ResourceBusy` where more waits in it than it shall hold; EPERM above `/proc/sys/fs/pipe-max-size` or the user's share.
pub(crate) fn resize_pipe(pipe: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: the command takes a number (F_SETPIPE_SZ in fcntl(2)).
    check(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) } as isize)
}

/// Moves up to `most` bytes from the pipe to this place of the file, and says how many: what is moved is in the file and no
/// longer in the pipe, whoever is killed meanwhile. A file that takes a part only leaves the rest in the pipe.
///
/// # Errors
/// `WouldBlock` where nothing waits; else what the file refused, and nothing is moved. A file opened with `O_APPEND` refuses
/// all (splice(2)).
pub(crate) fn splice(pipe: BorrowedFd<'_>, file: BorrowedFd<'_>, at: u64, most: usize) -> io::Result<usize> {
    let mut at = i64::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge)?;
    // SAFETY: the kernel reads and writes the offset, which lives over the call.
    again(|| unsafe { splice_once(pipe, file, &raw mut at, most) })
}

/// Copies up to `most` bytes from the beginning of a pipe to another one, and says how many. They stay in the first one.
///
/// # Errors
/// `WouldBlock` where nothing waits in the first, or the second is full.
pub(crate) fn tee(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    // SAFETY: the call takes no memory.
    again(|| unsafe { libc::tee(from.as_raw_fd(), to.as_raw_fd(), most, libc::SPLICE_F_NONBLOCK) })
}

/// Where bytes go that nobody wants: `/dev/null`.
#[derive(Debug)]
pub(crate) struct Nowhere(File);

impl Nowhere {
    /// # Errors
    /// There is no `/dev/null`, or no descriptor is left.
    pub(crate) fn open() -> io::Result<Self> {
        OpenOptions::new().write(true).open("/dev/null").map(Self)
    }

    /// Takes up to `most` bytes out of the pipe, and says how many.
    ///
    /// # Errors
    /// `WouldBlock` where nothing waits.
    pub(crate) fn discard(&self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        // SAFETY: without an offset the call takes no memory.
        again(|| unsafe { splice_once(pipe, self.0.as_fd(), std::ptr::null_mut(), most) })
    }
}

/// # Safety
/// `at` is null or an offset that lives over the call.
unsafe fn splice_once(pipe: BorrowedFd<'_>, to: BorrowedFd<'_>, at: *mut i64, most: usize) -> isize {
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    // SAFETY: a pipe has no offset, and the other one is as the caller promises.
    unsafe { libc::splice(pipe.as_raw_fd(), std::ptr::null_mut(), to.as_raw_fd(), at, most, flags) }
}

/// Makes a call again that a signal interrupted before it had done anything.
fn again(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match check(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn read(pipe: &OwnedFd) -> Vec<u8> {
        let mut bytes = vec![0; waiting(pipe.as_fd()).unwrap()];
        File::from(pipe.try_clone().unwrap()).read_exact(&mut bytes).unwrap();
        bytes
    }

    fn write(pipe: &OwnedFd, bytes: &[u8]) {
        File::from(pipe.try_clone().unwrap()).write_all(bytes).unwrap();
    }

    /// Bytes of which no two pages are alike.
    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index % 251) as u8).collect()
    }

    /// A file that never grows beyond its size.
    fn full_at(size: u64) -> File {
        // SAFETY: the name lives over the call, and the descriptor is new.
        let file = unsafe { File::from_raw_fd(libc::memfd_create(c"full".as_ptr(), libc::MFD_ALLOW_SEALING)) };
        file.set_len(size).unwrap();
        // SAFETY: adding a seal takes no memory.
        assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_GROW) }, 0);
        file
    }

    #[test]
    fn a_fifo_is_made_once_and_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web");
        let first = open_fifo(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        write(&first, b"waits");
        let second = open_fifo(&path).unwrap();
        assert_eq!(waiting(second.as_fd()).unwrap(), 5);
        drop(first);
        assert_eq!(read(&second), b"waits");
        let error = File::from(second).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "it never waits and has no end");
    }

    #[test]
    fn nothing_but_a_fifo_is_opened_as_one() {
        let directory = tempfile::tempdir().unwrap();
        let [real, link, file, away] = ["real", "link", "file", "away/fifo"].map(|name| directory.path().join(name));
        drop(open_fifo(&real).unwrap());
        symlink(&real, &link).unwrap();
        std::fs::write(&file, "text").unwrap();
        assert_eq!(open_fifo(&link).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(open_fifo(&file).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(open_fifo(&away).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_pipe_tells_its_size_and_takes_another_one() {
        let (out, into) = pipe().unwrap();
        assert_eq!(resize_pipe(out.as_fd(), 5000).unwrap(), 8192);
        assert_eq!(pipe_size(into.as_fd()).unwrap(), 8192);
        write(&into, &pattern(8192));
        assert_eq!(resize_pipe(out.as_fd(), 4096).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        let file = tempfile::tempfile().unwrap();
        assert!(pipe_size(file.as_fd()).is_err());
    }

    #[test]
    fn what_is_moved_is_in_the_file_and_no_longer_in_the_pipe() {
        let (out, into) = pipe().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before ").unwrap();
        write(&into, b"one two");
        assert_eq!(splice(out.as_fd(), file.as_fd(), 7, 4).unwrap(), 4);
        assert_eq!(waiting(out.as_fd()).unwrap(), 3);
        assert_eq!(splice(out.as_fd(), file.as_fd(), 11, 100).unwrap(), 3);
        let nothing = splice(out.as_fd(), file.as_fd(), 14, 100).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        let mut text = String::new();
        io::Seek::rewind(&mut file).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before one two");
    }

    #[test]
    fn a_file_that_takes_a_part_only_leaves_the_rest_in_the_pipe() {
        const ROOM: usize = 10_000;
        let (out, into) = pipe().unwrap();
        let bytes = pattern(60_000);
        write(&into, &bytes);
        // A file that can't grow is a file system that is full.
        let full = full_at(ROOM as u64);
        let mut moved = 0;
        let refused = loop {
            match splice(out.as_fd(), full.as_fd(), moved as u64, bytes.len()) {
                Ok(more) => moved += more,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        assert!(moved > 0 && moved <= ROOM, "{moved}");
        assert_eq!(waiting(out.as_fd()).unwrap(), bytes.len() - moved);
        let mut start = vec![0; moved];
        std::os::unix::fs::FileExt::read_exact_at(&full, &mut start, 0).unwrap();
        assert_eq!([start, read(&out)].concat(), bytes);
    }

    #[test]
    fn a_copy_consumes_nothing_and_what_is_discarded_is_gone() {
        let (out, into) = pipe().unwrap();
        let (copy_out, copy_into) = pipe().unwrap();
        let bytes = pattern(50_000);
        write(&into, &bytes);
        for _ in 0..2 {
            assert_eq!(tee(out.as_fd(), copy_into.as_fd(), 40_000).unwrap(), 40_000);
            assert_eq!(read(&copy_out), bytes[..40_000]);
        }
        resize_pipe(copy_out.as_fd(), 4096).unwrap();
        assert_eq!(tee(out.as_fd(), copy_into.as_fd(), 40_000).unwrap(), 4096, "as far as there is room");
        let full = tee(out.as_fd(), copy_into.as_fd(), 1).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let nowhere = Nowhere::open().unwrap();
        assert_eq!(nowhere.discard(out.as_fd(), 10_001).unwrap(), 10_001);
        assert_eq!(read(&out), bytes[10_001..]);
        assert_eq!(nowhere.discard(out.as_fd(), 1).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
