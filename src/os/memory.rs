//! The memory of a daemon that shall be small for years.

#![expect(unsafe_code, reason = "the allocator's knobs have no safe form")]

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{ptr, slice};

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
fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: malloc_trim(3) may be called at any time, by any thread.
        unsafe {
            libc::malloc_trim(0);
        }
    }
    let_go_of_program();
}

/// Has [`give_back`] be done before this process waits.
static DUE: AtomicBool = AtomicBool::new(false);

/// Gives back what is free at the next [`before_waiting`]: the less there is between giving back and waiting, the less is
/// needed again.
pub(crate) fn give_back_soon() {
    DUE.store(true, Ordering::Relaxed);
}

/// To be called by the one thread that does so before it waits.
pub(crate) fn before_waiting() {
    if DUE.load(Ordering::Relaxed) && DUE.swap(false, Ordering::Relaxed) {
        give_back();
    }
}

/// Lets go of the pages of this program's own file. A burst has touched some of each 64 KiB, and the kernel maps as much
/// around each touch; what is needed again is mapped again, without a disk as long as the file is in the page cache.
fn let_go_of_program() {
    // SAFETY: the callback fits, and takes nothing.
    unsafe { libc::dl_iterate_phdr(Some(let_go_of_object), ptr::null_mut()) };
}

/// Called for the program itself first, and ends the iteration there.
unsafe extern "C" fn let_go_of_object(object: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: asking for a number takes no memory.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.cast_unsigned().max(4096);
    // SAFETY: the C library gives a valid description with so many headers (dl_iterate_phdr(3)).
    let (base, headers) = unsafe {
        let object = &*object;
        (object.dlpi_addr, slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)))
    };
    for header in headers {
        // What was ever written to would be lost: relocated pointers are in a segment that is writable.
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
            let start = (base + header.p_vaddr) & !(page - 1);
            let length = (base + header.p_vaddr + header.p_memsz).next_multiple_of(page) - start;
            // SAFETY: a private mapping of a file that nobody can have written to: the next access reads the same bytes.
            unsafe { libc::madvise(start as *mut c_void, length as usize, libc::MADV_DONTNEED) };
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of this program's own file is mapped, in KiB.
    fn mapped() -> u64 {
        let own = std::env::current_exe().unwrap();
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut ours = false;
        let mut sum = 0;
        for line in maps.lines() {
            let mut words = line.split_ascii_whitespace();
            match (words.next(), words.next(), line.ends_with(" kB")) {
                (Some("Rss:"), Some(size), _) if ours => sum += size.parse::<u64>().unwrap(),
                (_, _, true) | (Some("VmFlags:"), ..) => {}
                (_, access, _) => ours = line.ends_with(own.to_str().unwrap()) && access != Some("rw-p"),
            }
        }
        sum
    }

    #[test]
    fn after_a_burst_little_of_the_program_is_mapped_and_all_of_it_is_there() {
        static TEXT: &str = "what is read again is the same";
        let before = mapped();
        give_back();
        let after = mapped();
        assert!(after < before, "{after} KiB of {before} KiB are mapped still");
        assert_eq!(std::hint::black_box(TEXT), "what is read again is the same");
    }
}
