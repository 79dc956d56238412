//! Stacks for children between clone and exec.
#![expect(unsafe_code, reason = "memory is mapped and unmapped by hand")]

use std::io;
use std::ptr::{self, NonNull};

/// What a child between clone and exec has. It needs a page or two; a page that is never touched costs nothing.
const SIZE: usize = 64 * 1024;
/// Below each stack, so that an overflow ends the child and never writes into other memory. The largest page of the
/// supported machines.
const GUARD: usize = 64 * 1024;
/// How many unused ones are kept for the next launch.
const KEPT: usize = 16;

/// Stacks that no child is on.
#[derive(Debug, Default)]
pub(crate) struct Stacks(Vec<Stack>);

/// Memory for one child's stack. Whoever drops it knows that no child is on it.
#[derive(Debug)]
pub(super) struct Stack(NonNull<u8>);

impl Stacks {
    /// One that nobody uses.
    ///
    /// # Errors
    /// The system has no memory (mmap(2)).
    pub(super) fn take(&mut self) -> io::Result<Stack> {
        self.0.pop().map_or_else(Stack::new, Ok)
    }

    /// Takes one back that no child is on any more.
    pub(super) fn give_back(&mut self, stack: Stack) {
        if self.0.len() < KEPT {
            self.0.push(stack);
        }
    }
}

impl Stack {
    fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping where the kernel likes touches no memory that is in use.
        let address = unsafe { libc::mmap(ptr::null_mut(), GUARD + SIZE, access, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self(NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?);
        // SAFETY: the range is the lower part of the mapping that was just made.
        if unsafe { libc::mprotect(address, GUARD, libc::PROT_NONE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(stack)
    }

    /// Its lowest usable address.
    pub(super) fn bottom(&self) -> u64 {
        (self.0.as_ptr() as usize + GUARD) as u64
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> u64 {
        SIZE as u64
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no child is on it, which is the duty of whoever drops it.
        unsafe { libc::munmap(self.0.as_ptr().cast(), GUARD + SIZE) };
    }
}
