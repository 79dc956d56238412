//! System calls without the C library.
//!
//! A child that shares its parent's memory without being its thread has its thread-local storage too: the C library's
//! wrappers would store the child's errno into the parent's. So what runs between clone and exec uses these, which touch
//! nothing but registers. All give the kernel's own result: negative values from -4095 are error numbers.
#![expect(unsafe_code, reason = "system calls are made by inline assembly")]

use std::arch::asm;
use std::ffi::c_void;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("launching is written for x86_64 and aarch64; other machines need their system call and clone3 here");

/// The arguments of clone3(2), in its third version (Linux 5.7).
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct CloneArgs {
    pub(super) flags: u64,
    pub(super) pidfd: u64,
    pub(super) child_tid: u64,
    pub(super) parent_tid: u64,
    pub(super) exit_signal: u64,
    /// The lowest address of the child's stack.
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    pub(super) tls: u64,
    pub(super) set_tid: u64,
    pub(super) set_tid_size: u64,
    /// A descriptor of the cgroup to begin in, where the flags have `CLONE_INTO_CGROUP`.
    pub(super) cgroup: u64,
}

impl CloneArgs {
    /// How much of it the kernel is told. One that knows only the first version (Linux 5.3) refuses to be told of more, so
    /// what is not used is left out.
    fn size(&self) -> usize {
        if self.flags & INTO_CGROUP == 0 && self.set_tid_size == 0 { FIRST_VERSION } else { size_of::<Self>() }
    }
}

/// `CLONE_INTO_CGROUP`: to begin in a cgroup rather than to be moved there. The libc crate has it in 32 bits on glibc.
pub(super) const INTO_CGROUP: u64 = 0x2_0000_0000;

/// `CLONE_CLEAR_SIGHAND` (Linux 5.5): no handler of the parent's is there in the child. What is ignored stays ignored.
pub(super) const CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// CLONE_ARGS_SIZE_VER0 in the kernel's include/uapi/linux/sched.h.
const FIRST_VERSION: usize = 64;

/// Where a child begins.
pub(super) type Entry = unsafe extern "C" fn(*mut c_void) -> !;

/// A system call with up to six arguments.
///
/// # Safety
/// As the call itself.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) unsafe fn syscall(number: i64, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let result: isize;
    // SAFETY: the kernel's convention (syscall(2)): it changes rax, rcx and r11 only, and memory as the call says.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            out("rcx") _, out("r11") _,
            options(nostack),
        );
    }
    result
}

/// A system call with up to six arguments.
///
/// # Safety
/// As the call itself.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) unsafe fn syscall(number: i64, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let result: isize;
    // SAFETY: the kernel's convention (syscall(2)): it changes x0 only, and memory as the call says.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    result
}

/// clone3(2) into a child that begins at `entry` on the stack in `args` and never comes back here.
///
/// # Safety
/// `args.stack` is writable, 16-byte aligned at its end, and used by nobody else until the child has left this memory by
/// exec or exit. `entry` and all that it reads of `argument` live as long.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn clone3(args: &CloneArgs, entry: Entry, argument: *mut c_void) -> isize {
    let result: isize;
    // SAFETY: for the parent this is a system call like any other. The child has the parent's registers, but for rax, 0,
    // and rsp, the end of its own stack, which is aligned as the ABI wants it before a call.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rdi, r9",
            "xor ebp, ebp",
            "call r8",
            "ud2",
            "2:",
            // Named registers: the compiler may choose any other for an operand, the frame pointer too.
            in("r8") entry,
            in("r9") argument,
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") args, in("rsi") args.size(),
            out("rcx") _, out("r11") _,
            options(nostack),
        );
    }
    result
}

/// clone3(2) into a child that begins at `entry` on the stack in `args` and never comes back here.
///
/// # Safety
/// `args.stack` is writable, 16-byte aligned at its end, and used by nobody else until the child has left this memory by
/// exec or exit. `entry` and all that it reads of `argument` live as long.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn clone3(args: &CloneArgs, entry: Entry, argument: *mut c_void) -> isize {
    let result: isize;
    // SAFETY: for the parent this is a system call like any other. The child has the parent's registers, but for x0, 0,
    // and sp, the end of its own stack, which is aligned as the ABI wants it.
    unsafe {
        asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x10",
            "blr x9",
            "brk #1",
            "2:",
            // Named registers: the compiler may choose any other for an operand, the link register too.
            in("x9") entry,
            in("x10") argument,
            in("x8") libc::SYS_clone3,
            inlateout("x0") args as *const CloneArgs as isize => result,
            in("x1") args.size(),
            options(nostack),
        );
    }
    result
}
