//! Launching without waiting: the child's side, from clone to exec.
//!
//! Everything here runs in the parent's memory, beside the parent, with the parent's thread-local storage: no allocation,
//! no lock, no panic, no call into the C library or the standard library but what is inlined arithmetic. The child reads
//! the record, and writes two atomics of it.
#![expect(unsafe_code, reason = "every step is a raw system call")]

use std::convert::Infallible;
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::Ordering;

use super::launch::{Record, Target};
use super::raw::syscall;
use crate::model::Stage;

/// The kernel's sigset_t.
const MASK_BYTES: usize = size_of::<u64>();
/// Where the child puts its end of the pipe.
const PIPE: usize = 3;
/// And the lock.
const LOCK: usize = 4;
const NULL: &[u8] = b"/dev/null\0";
const PATH_MAX: usize = libc::PATH_MAX as usize;

/// An error number, or what a call gave.
type Called<T = usize> = Result<T, i32>;

/// The kernel's struct sigaction, all zeros: the default disposition. Its size is that of the largest layout in use.
#[repr(C)]
struct DefaultAction([usize; 4]);

/// Sets the calling thread's signal mask.
///
/// # Safety
/// `before` is null or has room for a mask.
pub(super) unsafe fn change_mask(mask: &u64, before: *mut u64) {
    let mask = ptr::from_ref(mask) as usize;
    let set = libc::SIG_SETMASK as usize;
    // SAFETY: both masks have the size that the call is told; it can't fail with these (rt_sigprocmask(2)).
    unsafe { syscall(libc::SYS_rt_sigprocmask, [set, mask, before as usize, MASK_BYTES, 0, 0]) };
}

/// Where the child begins.
///
/// # Safety
/// `record` is a [`Record`] that lives until the child has executed its program or ended.
pub(super) unsafe extern "C" fn begin(record: *mut c_void) -> ! {
    // SAFETY: as promised by the caller; the parent only reads it meanwhile.
    let record = unsafe { &*record.cast::<Record>() };
    let Err(errno) = steps(record);
    record.errno.store(errno, Ordering::Release);
    loop {
        // SAFETY: it does not come back.
        unsafe { syscall(libc::SYS_exit_group, [127, 0, 0, 0, 0, 0]) };
    }
}

/// All steps in the order of [`Stage`]. It comes back only with an error.
fn steps(record: &Record) -> Called<Infallible> {
    let enter = |stage: Stage| record.stage.store(stage as u8, Ordering::Release);

    enter(Stage::Session);
    call(libc::SYS_setsid, [0; 3])?;
    close_others(record)?;

    enter(Stage::Limits);
    // SAFETY: the record leads to it, and both stay until the child is done.
    for (resource, limit) in unsafe { &*record.limits } {
        call(libc::SYS_prlimit64, [0, *resource, ptr::from_ref(limit) as usize])?;
    }

    // Logs are the daemon's, so whatever the daemon's and the service's masks are, they are for its user only.
    let umask = call(libc::SYS_umask, [0o077, 0, 0])?;
    enter(Stage::Stdio);
    if record.given.null.is_none() {
        put_null(open_null(libc::O_RDONLY)?, open_null(libc::O_WRONLY)?)?;
    }
    match record.stderr {
        None => open_output(record.stdout, &[1, 2], record.ids)?,
        Some(stderr) => {
            open_output(record.stdout, &[1], record.ids)?;
            open_output(stderr, &[2], record.ids)?;
        }
    }
    let umask = match record.umask {
        Some(mask) => mask as usize,
        None => umask,
    };
    call(libc::SYS_umask, [umask, 0, 0])?;

    if let Some((uid, gid)) = record.ids {
        enter(Stage::Groups);
        call(libc::SYS_setgroups, [record.groups.len(), record.groups.cast::<u32>() as usize, 0])?;
        enter(Stage::Gid);
        refuse_unchanged(gid)?;
        call(libc::SYS_setresgid, [gid as usize; 3])?;
        enter(Stage::Uid);
        refuse_unchanged(uid)?;
        call(libc::SYS_setresuid, [uid as usize; 3])?;
    }

    // As the service's user: what that user may not enter is refused.
    enter(Stage::Cwd);
    call(libc::SYS_chdir, [record.cwd as usize, 0, 0])?;

    enter(Stage::Signals);
    reset_signals(record.ignored.0);

    enter(Stage::Exec);
    Err(execute(record))
}

/// To setresuid(2) and setresgid(2) the number -1 means to change nothing: a service would run as root.
fn refuse_unchanged(id: u32) -> Called<()> {
    if id == u32::MAX { Err(libc::EINVAL) } else { Ok(()) }
}

/// Puts `/dev/null` in the place of the standard streams, and closes every descriptor from 3 on but the pipe, which becomes 3,
/// and the lock, which becomes 4.
///
/// This comes first, and closes rather than marking for exec: a daemon may have more files open than a service's limit
/// allows, and below that limit no number would be free for the log.
fn close_others(record: &Record) -> Called<()> {
    if let Some((input, output)) = record.given.null {
        put_null(input as usize, output as usize)?;
    }
    let (pipe, cloexec) = (record.given.pipe as usize, libc::O_CLOEXEC as usize);
    if pipe != PIPE {
        call(libc::SYS_dup3, [pipe, PIPE, cloexec])?;
    }
    let mut first = PIPE + 1;
    if let Some(lock) = record.given.lock {
        call(libc::SYS_dup3, [lock as usize, LOCK, cloexec])?;
        first = LOCK + 1;
    }
    // Linux before 5.9 has no such call, and some sandboxes refuse it. Then what the daemon opened is closed at exec all
    // the same, since all of it is close-on-exec.
    let _ = call(libc::SYS_close_range, [first, u32::MAX as usize, 0]);
    Ok(())
}

/// Puts `/dev/null` in the place of the standard streams.
fn put_null(input: usize, output: usize) -> Called<()> {
    put(input, &[0])?;
    put(output, &[1, 2])
}

fn open_null(access: i32) -> Called {
    open(NULL.as_ptr().cast(), access)
}

/// Makes these descriptors the same open file.
fn put(fd: usize, places: &[usize]) -> Called<()> {
    for place in places {
        call(libc::SYS_dup3, [fd, *place, 0])?;
    }
    Ok(())
}

/// Opens what an output stream goes to in these places. Without a path there is `/dev/null`, and stays.
fn open_output(Target { path, fifo }: Target, places: &[usize], ids: Option<(u32, u32)>) -> Called<()> {
    match (path.is_null(), fifo) {
        (true, _) => Ok(()),
        // For both directions: opening does not wait for a reader, and writing does not fail without one.
        (false, true) => {
            let fifo = open(path, libc::O_RDWR | libc::O_NOFOLLOW)?;
            if let Some((uid, gid)) = ids {
                // Programs open `/dev/stdout` anew, as their own user. An error leaves a FIFO that they can write to all the same.
                let _ = call(libc::SYS_fchown, [fifo, uid as usize, gid as usize]);
            }
            put(fifo, places)
        }
        (false, false) => put(open_file(path)?, places),
    }
}

/// Opens a file to append to, which is made with its directories where it is missing.
fn open_file(path: *const c_char) -> Called {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_NOFOLLOW;
    match open(path, flags) {
        Err(libc::ENOENT) => {
            let made = make_parents(path);
            // The failed mkdir says more than that the file is still not there.
            open(path, flags).map_err(|errno| made.err().unwrap_or(errno))
        }
        opened => opened,
    }
}

/// Opens a file, close-on-exec and above 2, where a process with closed standard streams would get its first ones.
fn open(path: *const c_char, flags: i32) -> Called {
    let flags = (flags | libc::O_CLOEXEC | libc::O_NOCTTY) as usize;
    let here = libc::AT_FDCWD as usize;
    // SAFETY: the path ends with a NUL.
    let fd = checked(unsafe { syscall(libc::SYS_openat, [here, path as usize, flags, 0o600, 0, 0]) })?;
    if fd > 2 { Ok(fd) } else { call(libc::SYS_fcntl, [fd, libc::F_DUPFD_CLOEXEC as usize, PIPE]) }
}

/// Makes the directories above a path that are missing, for the user only.
fn make_parents(path: *const c_char) -> Called<()> {
    let mut copy = MaybeUninit::<[u8; PATH_MAX]>::uninit();
    let start = copy.as_mut_ptr().cast::<u8>();
    let mut result = Ok(());
    for at in 0..PATH_MAX {
        // SAFETY: `at` is within the copy, and within the path up to its NUL, where the loop ends.
        let (byte, here) = unsafe { (path.cast::<u8>().add(at).read(), start.add(at)) };
        if byte == 0 {
            return result;
        }
        if byte == b'/' && at > 0 {
            // SAFETY: within the copy; the path in it is ended here for this one call.
            unsafe { here.write(0) };
            let made = call(libc::SYS_mkdirat, [libc::AT_FDCWD as usize, start as usize, 0o700]);
            if let (Err(errno), Ok(())) = (made, result)
                && errno != libc::EEXIST
            {
                result = Err(errno);
            }
        }
        // SAFETY: within the copy.
        unsafe { here.write(byte) };
    }
    Err(libc::ENAMETOOLONG)
}

/// Default dispositions, then an empty mask.
///
/// exec itself resets what is handled but keeps what is ignored, and Rust's runtime ignores SIGPIPE, for one. All are
/// blocked until all are reset, so no handler of the parent's ever runs here, also where clone has not removed them.
fn reset_signals(ignored: u64) {
    let default = DefaultAction([0; 4]);
    for signal in (1..=64).filter(|signal| ignored >> (signal - 1) & 1 == 1) {
        let action = ptr::from_ref(&default) as usize;
        // SAFETY: the action lives over the call. KILL and STOP are refused, being at their default for ever.
        unsafe { syscall(libc::SYS_rt_sigaction, [signal, action, 0, MASK_BYTES, 0, 0]) };
    }
    // SAFETY: the old mask is not asked for.
    unsafe { change_mask(&0, ptr::null_mut()) };
}

/// Tries the programs as execvp(3) does: one that is not there, or not for this user, gives way to the next. Comes back
/// with the reason why none was executed.
fn execute(record: &Record) -> i32 {
    let (argv, env) = (record.argv as usize, record.env as usize);
    let mut denied = false;
    let mut last = libc::ENOENT;
    let mut program = record.programs;
    loop {
        // SAFETY: the array ends with a null pointer, at which the loop ends.
        let path = unsafe { program.read() };
        if path.is_null() {
            return if denied { libc::EACCES } else { last };
        }
        match call(libc::SYS_execve, [path as usize, argv, env]) {
            Err(libc::EACCES) => denied = true,
            Err(errno @ (libc::ENOENT | libc::ENOTDIR)) => last = errno,
            Err(errno) => return errno,
            Ok(_) => {}
        }
        // SAFETY: not beyond the null pointer.
        program = unsafe { program.add(1) };
    }
}

/// A system call of which every argument is a number or a pointer into the record or this stack.
fn call(number: i64, [a, b, c]: [usize; 3]) -> Called {
    // SAFETY: all pointers that this file passes are valid over the call.
    checked(unsafe { syscall(number, [a, b, c, 0, 0, 0]) })
}

fn checked(result: isize) -> Called {
    if result < 0 { Err((result as i32).wrapping_neg()) } else { Ok(result as usize) }
}
