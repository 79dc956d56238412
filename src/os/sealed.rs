//! Memory as a file that nobody can change any more: what a program leaves to the one that takes its place in the process.
#![expect(unsafe_code, reason = "memory files and their seals have no safe form")]

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// MFD_NOEXEC_SEAL (memfd_create(2)), which Linux knows since 6.3.
const NEVER_EXECUTED: libc::c_uint = 0x8;

/// These bytes as a file without a name, sealed.
///
/// # Errors
/// No memory or no descriptor is left.
pub(crate) fn seal(name: &CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let mut file = File::from(make(name, flags | NEVER_EXECUTED).or_else(|_| make(name, flags))?);
    file.write_all(bytes)?;
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    // SAFETY: adding seals touches no memory.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file.into())
}

/// All bytes of such a file, however far others who share the open file have read.
///
/// # Errors
/// It is none.
pub(crate) fn unseal(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let file = File::from(fd.try_clone_to_owned()?);
    let size = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn make(name: &CStr, flags: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: the name lives over the call, which copies it.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_sealed_reads_back_again_and_again_and_is_never_changed() {
        let sealed = seal(c"test", b"what is left").unwrap();
        for _ in 0..2 {
            assert_eq!(unseal(sealed.as_fd()).unwrap(), b"what is left");
        }
        let file = File::from(sealed);
        assert!(file.write_at(b"x", 0).is_err() && file.set_len(0).is_err() && file.set_len(100).is_err());
    }
}
