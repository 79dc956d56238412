//! A number that has gone to somebody else.

#![expect(unsafe_code, reason = "a process is made by hand")]
use std::ffi::c_void;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::super::super::child::change_mask;
use super::super::super::pidfd::{NotSent, Process};
use super::super::super::raw::{self, CloneArgs, syscall};
use super::super::super::stack::Stacks;
use super::*;

/// Somebody with this number, and a child. To give a number takes root.
fn stranger(pid: u32) -> Option<Process> {
    let mut stacks = Stacks::default();
    let stack = stacks.take(0).unwrap();
    let mut pidfd: RawFd = -1;
    let wanted = pid.cast_signed();
    let args = CloneArgs {
        flags: libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.bottom(),
        stack_size: stack.size(),
        set_tid: (&raw const wanted) as u64,
        set_tid_size: 1,
        ..CloneArgs::default()
    };
    let mut before = 0;
    // SAFETY: the masks, the number and the descriptor live over the calls; the copy of this process has the stack for itself.
    let made = unsafe {
        change_mask(&u64::MAX, &raw mut before);
        let made = raw::clone3(&args, rest, ptr::null_mut());
        change_mask(&before, ptr::null_mut());
        made
    };
    // SAFETY: the descriptor is new and belongs to nobody else.
    (made > 0).then(|| Process::new(made as i32, Some(unsafe { OwnedFd::from_raw_fd(pidfd) })))
}

unsafe extern "C" fn rest(_: *mut c_void) -> ! {
    let time: [i64; 2] = [60, 0];
    // SAFETY: it uses no descriptor, its child has memory of its own, and the time lives over the call.
    unsafe {
        syscall(libc::SYS_close_range, [0, u32::MAX as usize, 0, 0, 0, 0]);
        syscall(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0, 0, 0, 0]);
        syscall(libc::SYS_nanosleep, [ptr::from_ref(&time) as usize, 0, 0, 0, 0, 0]);
    }
    loop {
        // SAFETY: it does not come back.
        unsafe { syscall(libc::SYS_exit_group, [0; 6]) };
    }
}

#[test]
fn whoever_has_the_number_of_one_that_is_gone_is_left_alone() {
    let _alone = alone();
    let shell = Shell::run("exit 0", &[], Vec::new(), None).unwrap();
    let held = Kin::of(&shell.process).unwrap();
    let again = Kin::of(&shell.process).unwrap();
    let pid = held.pid();
    assert!(held.is_there());
    Shell::reap(shell.process);
    let Some(stranger) = stranger(pid) else { return eprintln!("not tried: nobody can be given a number here") };
    assert_eq!(stranger.pid(), pid);

    assert!(!held.is_there());
    assert_eq!(held.facts().unwrap(), None);
    assert_eq!(held.signal(Signal::KILL), Err(NotSent::Gone));
    let strangers = Kin::open(pid).unwrap();
    let child = loop {
        // It has been made, and makes its child now.
        if let Some(child) = strangers.children().unwrap().pop() {
            break child;
        }
        std::thread::yield_now();
    };
    assert!(held.children().unwrap().is_empty(), "they are of another parent with its number");
    assert!(kin::held([child.pid()], std::process::id()).unwrap().is_empty(), "it is no child of this process");
    assert_eq!(kill_tree(vec![again], Vec::new), Cull { killed: 0, spared: Vec::new(), whole: true });
    let states = [&strangers, &child].map(|kin| kin.facts().unwrap().unwrap().state);
    assert!(states.iter().all(|state| !matches!(state, 'T' | 'Z')), "{states:?}");
    let cull = kill_tree(vec![strangers], Vec::new);
    assert_eq!((cull.killed, cull.whole), (2, true));
    assert!(matches!(Shell::reap(stranger), Ending::Killed { signal: Signal::KILL, .. }));
}
