//! The memory of a daemon that shall be small for years.

#![expect(unsafe_code, reason = "the allocator's knobs have no safe form")]

/// Tells the allocator to keep one arena and to give memory back early. To be called before the first thread is made.
///
/// glibc makes an arena for each thread that allocates, of 64 MiB of address space each, and keeps what was freed below
/// 128 KiB at the top: with a thousand services that is a quarter of the daemon.
pub(crate) fn keep_small() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallopt(3) sets two numbers of the allocator; no other thread exists yet that could allocate meanwhile.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 10);
        }
    }
}

/// Gives back what is free now: after a start, what the reading of the confs took.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: malloc_trim(3) may be called at any time, by any thread.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}
