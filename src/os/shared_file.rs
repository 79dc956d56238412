//! A file whose bytes are memory: what is stored there survives the process, without a system call a store.
//!
//! A store into a page that has no block, on a disk that is full, is a SIGBUS. So all blocks are allocated before a byte
//! is mapped for writing, and a full disk is an error of the call that makes the file larger. (A file system that copies
//! on write may still need a block for a store; the state directory should not lie on one that is full.)
//!
//! A child between clone and exec, and the kernel on its behalf, store into it too, so no byte ever moves: addresses for
//! as much as it may ever be are taken at the beginning, and the file is mapped over them piece by piece.
#![expect(unsafe_code, reason = "memory is mapped, and atomics in it are named, by hand")]

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use nix::fcntl::posix_fallocate;

/// What a file's size is best a multiple of: the largest page of the supported machines.
pub(crate) const GRAIN: usize = 64 * 1024;

/// A file that is mapped shared and writable. It is this process's to resize; nobody makes it shorter meanwhile.
#[derive(Debug)]
pub(crate) struct SharedFile {
    file: File,
    /// How many bytes may be touched.
    len: usize,
    mapping: Arc<Mapping>,
}

/// A word of a shared file that takes a child's process id before the child runs its first instruction: clone3(2) stores
/// it there, with `CLONE_PARENT_SETTID`. The memory stays as long as this value.
#[derive(Clone, Debug)]
pub(crate) struct PidWord {
    word: NonNull<AtomicU32>,
    _mapping: Arc<Mapping>,
}

/// Addresses, of which the first ones are the file.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    room: usize,
}

// SAFETY: it stands for addresses; who stores there does so by atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

// SAFETY: it leads to an atomic in memory that stays as long as it does.
unsafe impl Send for PidWord {}
// SAFETY: as above.
unsafe impl Sync for PidWord {}

impl SharedFile {
    /// Opens the file, or makes an empty one, with addresses for `room` bytes, a multiple of [`GRAIN`]. What an existing
    /// file has beyond that is not seen. What it has may be read, and stored to after a [`Self::resize`].
    ///
    /// # Errors
    /// It is no plain file, or somebody else's, or the system says no.
    pub(crate) fn open(path: &Path, room: usize) -> io::Result<Self> {
        let options = &mut OpenOptions::new();
        // The standard library opens everything close-on-exec.
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is no plain file of this user"));
        }
        if metadata.mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        let len = usize::try_from(metadata.len()).unwrap_or(room).min(room);
        let mut shared = Self { file, len: 0, mapping: Arc::new(Mapping::new(room)?) };
        shared.map_up_to(len)?;
        Ok(shared)
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Makes the file as long as this, with blocks for all of it; what is new is zero.
    ///
    /// # Errors
    /// The disk is full, or there is no room for so much; the bytes that there were are still there.
    pub(crate) fn resize(&mut self, len: usize) -> io::Result<()> {
        if len > self.mapping.room {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if len < self.len {
            self.len = len;
            self.file.set_len(len as u64)?;
        }
        if len > 0 {
            let bytes = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
            posix_fallocate(&self.file, 0, bytes)?;
        }
        self.map_up_to(len)
    }

    /// The word at this offset.
    ///
    /// # Panics
    /// The offset is no multiple of 4, or beyond the end.
    pub(crate) fn word32(&self, at: usize) -> &AtomicU32 {
        let place = self.place::<AtomicU32>(at, 1);
        // SAFETY: `place` checked that it is aligned and within the file, which stays mapped as long as `self`. All that
        // anybody does there is atomic.
        unsafe { place.as_ref() }
    }

    /// The double word at this offset.
    ///
    /// # Panics
    /// The offset is no multiple of 8, or beyond the end.
    pub(crate) fn word64(&self, at: usize) -> &AtomicU64 {
        let place = self.place::<AtomicU64>(at, 1);
        // SAFETY: as in `word32`.
        unsafe { place.as_ref() }
    }

    /// So many bytes from this offset on.
    ///
    /// # Panics
    /// They are not all within the file.
    pub(crate) fn bytes(&self, at: usize, count: usize) -> Vec<u8> {
        self.cells(at, count).iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
    }

    /// Puts bytes at this offset.
    ///
    /// # Panics
    /// They are not all within the file.
    pub(crate) fn put(&self, at: usize, bytes: &[u8]) {
        for (cell, byte) in self.cells(at, bytes.len()).iter().zip(bytes) {
            cell.store(*byte, Ordering::Relaxed);
        }
    }

    /// The word at this offset, for the process id of a child.
    ///
    /// # Panics
    /// As [`Self::word32`].
    pub(crate) fn pid_word(&self, at: usize) -> PidWord {
        PidWord { word: self.place(at, 1), _mapping: Arc::clone(&self.mapping) }
    }

    fn cells(&self, at: usize, count: usize) -> &[AtomicU8] {
        let first = self.place::<AtomicU8>(at, count);
        // SAFETY: as in `word32`, and `place` checked the last one too.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), count) }
    }

    /// The address of so many values from this offset on.
    fn place<T>(&self, at: usize, count: usize) -> NonNull<T> {
        let end = count.checked_mul(size_of::<T>()).and_then(|size| size.checked_add(at));
        assert!(end.is_some_and(|end| end <= self.len), "{count} at {at} is beyond the {} bytes of the file", self.len);
        assert!(at.is_multiple_of(align_of::<T>()), "{at} is not aligned");
        // SAFETY: within the mapping, as just checked.
        unsafe { self.mapping.start.add(at).cast() }
    }

    /// Maps the file from what was there up to this length, which it has.
    fn map_up_to(&mut self, len: usize) -> io::Result<()> {
        let from = self.len - self.len % GRAIN;
        if len > from {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let offset = libc::off_t::try_from(from).map_err(|_| io::ErrorKind::FileTooLarge)?;
            // SAFETY: the addresses are the mapping's own: `len` is at most its room. What was mapped there is the same bytes of
            // the same file, so whoever stores to them meanwhile does not notice.
            let address = unsafe {
                let start = self.mapping.start.add(from).as_ptr().cast();
                libc::mmap(start, len - from, access, libc::MAP_SHARED | libc::MAP_FIXED, self.file.as_raw_fd(), offset)
            };
            if address == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
        }
        self.len = len;
        Ok(())
    }
}

impl PidWord {
    /// The address, for `parent_tid` of clone3(2).
    pub(crate) fn address(&self) -> u64 {
        self.word.as_ptr() as u64
    }

    /// Stores the number, where a process is made in another way.
    pub(crate) fn store(&self, pid: i32) {
        // SAFETY: the memory stays as long as this value, and all that anybody does there is atomic.
        unsafe { self.word.as_ref() }.store(pid.cast_unsigned(), Ordering::Release);
    }
}

impl Mapping {
    /// Addresses without memory.
    fn new(room: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping where the kernel likes touches no memory that is in use.
        let address = unsafe { libc::mmap(ptr::null_mut(), room, libc::PROT_NONE, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?, room })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the addresses are this value's own, and what leads to them holds it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.room) };
    }
}

#[cfg(test)]
mod tests;
