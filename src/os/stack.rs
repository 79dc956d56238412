//! Memory for children between clone and exec: a stack, and what they read.
//!
//! All that a child reads is copied to the upper end of its stack's memory. So a launch in flight takes nothing from the
//! allocator, where a thousand of them would leave a thousand holes between what lives on.
#![expect(unsafe_code, reason = "memory is mapped and unmapped by hand")]

use std::io;
use std::ptr::{self, NonNull};

/// What a child between clone and exec has as a stack, at least. It needs a page or two; a page that is never touched costs
/// nothing.
const STACK: usize = 48 * 1024;
/// The whole memory of one child, unless its goods are larger than what this leaves them.
const SIZE: usize = 64 * 1024;
/// Below each stack, so that an overflow ends the child and never writes into other memory. The largest page of the
/// supported machines.
const GUARD: usize = 64 * 1024;
/// How many unused ones are kept for the next launch.
const KEPT: usize = 16;
/// And how many after a burst: each is three pages that were touched.
const KEPT_AT_REST: usize = 1;
/// What the machines' calling conventions want a stack to begin at.
const ALIGNMENT: usize = 16;

/// Stacks that no child is on.
#[derive(Debug, Default)]
pub(crate) struct Stacks(Vec<Stack>);

/// Memory for one child. Whoever drops it knows that no child is on it.
#[derive(Debug)]
pub(super) struct Stack {
    /// The mapping: guard, stack, goods.
    mapping: NonNull<u8>,
    /// Bytes above the guard.
    size: usize,
    /// Bytes of goods, at the upper end.
    goods: usize,
}

impl Stacks {
    /// One that nobody uses, with room for so many bytes of goods.
    ///
    /// # Errors
    /// The system has no memory (mmap(2)).
    pub(super) fn take(&mut self, goods: usize) -> io::Result<Stack> {
        match self.0.pop() {
            _ if goods > SIZE - STACK => Stack::new((STACK + goods).next_multiple_of(GUARD)),
            Some(kept) => Ok(kept),
            None => Stack::new(SIZE),
        }
    }

    /// Takes one back that no child is on any more.
    pub(super) fn give_back(&mut self, mut stack: Stack) {
        if self.0.len() < KEPT && stack.size == SIZE {
            stack.goods = 0;
            self.0.push(stack);
        }
    }

    /// Gives back what only a burst needs.
    pub(crate) fn rest(&mut self) {
        self.0.truncate(KEPT_AT_REST);
    }
}

impl Stack {
    fn new(size: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping where the kernel likes touches no memory that is in use.
        let address = unsafe { libc::mmap(ptr::null_mut(), GUARD + size, access, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let stack = Self { mapping, size, goods: 0 };
        // SAFETY: the range is the lower part of the mapping that was just made.
        if unsafe { libc::mprotect(address, GUARD, libc::PROT_NONE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(stack)
    }

    /// Copies values above the stack, where they stay until the memory is given back or dropped.
    ///
    /// # Panics
    /// There is no room: more is put than was announced when the memory was taken.
    pub(super) fn put<T: Copy>(&mut self, values: &[T]) -> *const [T] {
        let place = self.room_for::<T>(values.len()).cast::<T>();
        // SAFETY: the room is this value's own, aligned, large enough, and overlaps nothing that was put before.
        unsafe { ptr::copy_nonoverlapping(values.as_ptr(), place.as_ptr(), values.len()) };
        ptr::slice_from_raw_parts(place.as_ptr(), values.len())
    }

    /// Moves a value above the stack, as [`Self::put`]. It is never dropped.
    pub(super) fn put_one<T>(&mut self, value: T) -> NonNull<T> {
        let place = self.room_for::<T>(1).cast::<T>();
        // SAFETY: as in `put`.
        unsafe { place.write(value) };
        place
    }

    fn room_for<T>(&mut self, count: usize) -> NonNull<u8> {
        let goods = (self.goods + count * size_of::<T>()).next_multiple_of(align_of::<T>());
        assert!(goods <= self.size - STACK, "more is put above a stack than was announced");
        self.goods = goods;
        // SAFETY: within the mapping, as just checked. Its end is aligned for a page, and so for T, and so is this.
        unsafe { self.mapping.add(GUARD + self.size - goods) }
    }

    /// Its lowest usable address.
    pub(super) fn bottom(&self) -> u64 {
        (self.mapping.as_ptr() as usize + GUARD) as u64
    }

    /// The size of the stack itself in bytes, which ends below the goods.
    pub(super) fn size(&self) -> u64 {
        ((self.size - self.goods) & !(ALIGNMENT - 1)) as u64
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no child is on it, which is the duty of whoever drops it.
        unsafe { libc::munmap(self.mapping.as_ptr().cast(), GUARD + self.size) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goods_lie_above_the_stack_aligned_and_whole() {
        let mut stacks = Stacks::default();
        let mut stack = stacks.take(100).unwrap();
        let text = stack.put(b"odd");
        let numbers = stack.put(&[1_u64, 2, 3]);
        let end = stack.bottom() + stack.size();
        assert_eq!(end % 16, 0);
        assert!(end <= numbers.cast::<u8>() as u64 && numbers.cast::<u8>() < text.cast::<u8>());
        assert!(numbers.cast::<u64>().is_aligned());
        // SAFETY: both were put there, and the stack lives.
        unsafe {
            assert_eq!(&*text, b"odd");
            assert_eq!(&*numbers, [1, 2, 3]);
        }
    }

    #[test]
    fn large_goods_have_memory_of_their_own_which_is_not_kept() {
        let mut stacks = Stacks::default();
        let mut large = stacks.take(1 << 20).unwrap();
        large.put(&vec![7_u8; 1 << 20]);
        assert!(large.size() >= STACK as u64);
        stacks.give_back(large);
        assert!(stacks.0.is_empty());
        let mut small = stacks.take(10).unwrap();
        small.put(&[1_u8; 10]);
        stacks.give_back(small);
        assert_eq!(stacks.take(10).unwrap().goods, 0, "a used one is as good as new");
    }
}
