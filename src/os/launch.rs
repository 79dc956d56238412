//! Launching without waiting: the parent's side.
//!
//! fork(2) copies the page tables of a parent that may be large; vfork(2) and posix_spawn(3) share them, but suspend the
//! parent until the child has executed its program, and a child may hang before that, on a dead mount or in a frozen
//! cgroup. Here the child shares the memory (`CLONE_VM`) and the parent goes on (no `CLONE_VFORK`): the child runs on a
//! stack of its own and reads an [`Order`] that is left alone until the child is done with it.
//!
//! That moment is learnt from a close-on-exec pipe. Its writing end is the child's; it is closed when the child executes
//! its program, by then in another memory (begin_new_exec in the kernel's fs/exec.c closes after it has changed the
//! memory), and when it ends (do_exit leaves the memory before it closes files). No byte is ever written: what the child
//! has to say, the stage it is at and the error that stopped it, it leaves in the shared memory.
//!
//! A child that takes on another user still shares the memory until exec. The kernel marks the memory as not dumpable
//! when the user changes (credentials(7), prctl(2) PR_SET_DUMPABLE), so that user can't trace or read it through the
//! child. Nobody may reset that mark while launches are in flight.
#![expect(unsafe_code, reason = "a process is made by hand")]

use std::ffi::{CString, c_char};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use super::child;
use super::limits::{KernelLimit, number};
use super::pidfd::Process;
use super::raw::{self, CloneArgs, INTO_CGROUP};
use super::shared_file::PidWord;
use super::signals::Ignored;
use super::stack::Stack;
use super::stock::Stock;
use crate::model::{LaunchError, Limit, Resource, Stage};

/// What a new process needs, in the order in which it is applied. All of it is spelled out: the child looks up nothing.
#[derive(Debug)]
pub(crate) struct Order {
    /// Limits to set.
    pub(crate) limits: Vec<(Resource, Limit)>,
    /// Standard output.
    pub(crate) stdout: OutputTo,
    /// Standard error; `None` is the same open file as standard output.
    pub(crate) stderr: Option<OutputTo>,
    /// The file mode creation mask; `None` is this process's.
    pub(crate) umask: Option<u32>,
    /// User and groups; `None` are this process's.
    pub(crate) ids: Option<Ids>,
    /// The working directory.
    pub(crate) cwd: CString,
    /// The paths to try to execute, in order.
    pub(crate) programs: Vec<CString>,
    /// The argument vector.
    pub(crate) argv: Vec<CString>,
    /// The environment.
    pub(crate) env: Vec<CString>,
}

/// User and groups as numbers.
#[derive(Debug)]
pub(crate) struct Ids {
    /// The user.
    pub(crate) uid: u32,
    /// The primary group.
    pub(crate) gid: u32,
    /// The supplementary groups.
    pub(crate) groups: Vec<u32>,
}

/// Where an output stream goes.
#[derive(Debug)]
pub(crate) enum OutputTo {
    /// `/dev/null`.
    Null,
    /// A file that is appended to, made with its directories where it is missing.
    File(CString),
    /// A FIFO that is there, open for reading, too: whoever writes to it lives on without a reader (fifo(7)).
    Fifo(CString),
}

/// A launch that is under way. Dropped before the child is done, it leaks what the child may still use.
#[derive(Debug)]
pub(crate) struct Flight {
    pipe: OwnedFd,
    loan: Option<Loan>,
    in_leaf: bool,
}

/// How a launch went, once the child is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    /// It was executing its program when it was done; whether that or a signal's work, the process itself tells.
    Executing,
    /// It ended before it came to that, and nothing had failed.
    Cut,
    /// A step failed.
    Failed(LaunchError),
}

/// What the child uses, until it is done with it.
#[derive(Debug)]
struct Loan {
    record: NonNull<Record>,
    stack: Stack,
    /// What the kernel writes while the child is made.
    number: Option<PidWord>,
}

/// What parent and child share. Its pointers lead to what lies beside it above the child's stack.
#[derive(Debug)]
pub(super) struct Record {
    /// Where the child stands: the number of a [`Stage`].
    pub(super) stage: AtomicU8,
    /// What stopped it there; 0 is nothing.
    pub(super) errno: AtomicI32,
    /// What the child uses of its parent's descriptors.
    pub(super) given: Given,
    /// Signals to put back to their default.
    pub(super) ignored: Ignored,
    /// Limits in the kernel's form.
    pub(super) limits: *const [(usize, KernelLimit)],
    /// Without one, stderr is the same open file as stdout.
    pub(super) stdout: Target,
    pub(super) stderr: Option<Target>,
    /// As in the order.
    pub(super) umask: Option<u32>,
    /// User and group.
    pub(super) ids: Option<(u32, u32)>,
    pub(super) groups: *const [u32],
    pub(super) cwd: *const c_char,
    /// Null-terminated arrays of strings.
    pub(super) programs: *const *const c_char,
    pub(super) argv: *const *const c_char,
    pub(super) env: *const *const c_char,
}

/// Where an output stream goes, as the child sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// A path; null is `/dev/null`.
    pub(super) path: *const c_char,
    /// What is there is a FIFO.
    pub(super) fifo: bool,
}

/// Descriptors of the parent's, none of them a standard stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    /// The writing end of the pipe.
    pub(super) pipe: RawFd,
    /// A lock that is held until exec.
    pub(super) lock: Option<RawFd>,
    /// `/dev/null` to read from and to write to; without them the child opens it.
    pub(super) null: Option<(RawFd, RawFd)>,
}

const POINTER: usize = size_of::<usize>();

/// What a launch leaves for others to find, should this process end in the middle of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace<'a> {
    /// Where the kernel stores the child's number, before the child's first instruction.
    pub(crate) number: Option<PidWord>,
    /// The cgroup that it begins in.
    pub(crate) leaf: Option<BorrowedFd<'a>>,
    /// A lock that the child holds open until it executes its program. A number from 5 on.
    pub(crate) lock: Option<BorrowedFd<'a>>,
    /// What it must not inherit: 60 system calls less where that is known.
    pub(crate) ignored: Ignored,
}

/// Begins a launch and returns at once. `watch` is given the pipe that will hang up when the child is done, before there
/// is a child: what can't be watched is not begun.
///
/// # Errors
/// The system is out of something: descriptors, processes, memory (pipe2(2), clone3(2)), or `watch` failed. Nothing is
/// left behind. What clone3(2) has against a leaf is no error: the process begins where this one is.
pub(crate) fn launch(
    order: &Order,
    stock: &mut Stock,
    trace: Trace<'_>,
    watch: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
) -> io::Result<(Process, Flight)> {
    let (reading, writing) = stock.take_pipe()?;
    watch(reading.as_fd())?;
    let mut stack = stock.take_stack(weight(order))?;
    let lock = trace.lock.as_ref().map(AsRawFd::as_raw_fd);
    let given = Given { pipe: writing.as_raw_fd(), lock, null: stock.null() };
    let record = Record::put(order, given, trace.ignored, &mut stack);
    let mut loan = Loan { record, stack, number: trace.number };
    let mut in_leaf = trace.leaf.is_some();
    let made = make_child(&mut loan, trace.leaf).or_else(|error| {
        if !in_leaf || !is_of_leaf(&error) {
            return Err(error);
        }
        in_leaf = false;
        make_child(&mut loan, None)
    });
    match made {
        Ok(process) => Ok((process, Flight { pipe: reading, loan: Some(loan), in_leaf })),
        Err(error) => {
            stock.give_back(loan.stack);
            Err(error)
        }
    }
}

impl Flight {
    /// Whether the child began in the leaf that it was to begin in.
    pub(crate) fn is_in_leaf(&self) -> bool {
        self.in_leaf
    }

    /// The step that is being taken.
    pub(crate) fn stage(&self) -> Stage {
        self.loan.as_ref().map_or(Stage::Exec, |loan| loan.record().stage())
    }

    /// Takes back what the child used and says how it went.
    ///
    /// The caller knows that the child is done: its end of the pipe is closed, or the process has ended.
    pub(crate) fn land(mut self, stock: &mut Stock) -> Landing {
        let Some(loan) = self.loan.take() else { return Landing::Cut };
        let landing = loan.record().landing();
        stock.give_back(loan.stack);
        landing
    }
}

impl AsFd for Flight {
    /// The pipe that hangs up when the child is done.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Nobody knows whether the child is done, and freeing what it reads would crash it or worse.
        mem::forget(self.loan.take());
    }
}

impl Loan {
    fn record(&self) -> &Record {
        // SAFETY: the record lies in the memory of the loan's stack. Child and parent both read it; what the child writes is
        // atomic.
        unsafe { self.record.as_ref() }
    }

    /// For as long as there is no child.
    fn record_mut(&mut self) -> &mut Record {
        // SAFETY: as above, and nobody else has it yet.
        unsafe { self.record.as_mut() }
    }
}

impl Record {
    /// Copies the order above the stack, and a record that leads to it.
    fn put(order: &Order, given: Given, ignored: Ignored, stack: &mut Stack) -> NonNull<Self> {
        let limits: Vec<_> = order.limits.iter().map(|&(resource, limit)| (number(resource), limit.into())).collect();
        let limits = stack.put(&limits);
        let groups = stack.put(order.ids.as_ref().map_or(&[], |ids| &*ids.groups));
        let record = Self {
            stage: AtomicU8::new(Stage::Fork as u8),
            errno: AtomicI32::new(0),
            given,
            ignored,
            limits,
            stdout: put_output(&order.stdout, stack),
            stderr: order.stderr.as_ref().map(|output| put_output(output, stack)),
            umask: order.umask,
            ids: order.ids.as_ref().map(|ids| (ids.uid, ids.gid)),
            groups,
            cwd: put_string(&order.cwd, stack),
            programs: put_strings(&order.programs, stack),
            argv: put_strings(&order.argv, stack),
            env: put_strings(&order.env, stack),
        };
        stack.put_one(record)
    }

    fn stage(&self) -> Stage {
        Stage::from_number(self.stage.load(Ordering::Acquire)).unwrap_or(Stage::Fork)
    }

    fn landing(&self) -> Landing {
        match (self.stage(), self.errno.load(Ordering::Acquire)) {
            (Stage::Exec, 0) => Landing::Executing,
            (_, 0) => Landing::Cut,
            (stage, errno) => Landing::Failed(LaunchError { stage, errno }),
        }
    }
}

/// How much room the copy of an order takes, at most.
fn weight(order: &Order) -> usize {
    let strings = |strings: &[CString]| strings.iter().map(string_weight).sum::<usize>() + POINTER;
    let output = |output: &OutputTo| match output {
        OutputTo::Null => 0,
        OutputTo::File(path) | OutputTo::Fifo(path) => string_weight(path),
    };
    let limits = order.limits.len() * size_of::<(usize, KernelLimit)>();
    let groups = order.ids.as_ref().map_or(0, |ids| ids.groups.len() * size_of::<u32>());
    let outputs = output(&order.stdout) + order.stderr.as_ref().map_or(0, output);
    let texts = string_weight(&order.cwd) + strings(&order.programs) + strings(&order.argv) + strings(&order.env);
    // What alignment may take before each of the few parts.
    let slack = 16 * POINTER;
    limits + groups + outputs + texts + size_of::<Record>() + slack
}

/// A string, and a pointer to it.
fn string_weight(string: &CString) -> usize {
    string.as_bytes_with_nul().len() + POINTER
}

fn put_string(string: &CString, stack: &mut Stack) -> *const c_char {
    stack.put(string.as_bytes_with_nul()).cast()
}

/// A null-terminated array of strings.
fn put_strings(strings: &[CString], stack: &mut Stack) -> *const *const c_char {
    let put = strings.iter().map(|string| put_string(string, stack));
    let pointers: Vec<*const c_char> = put.chain([ptr::null()]).collect();
    stack.put(&pointers).cast()
}

fn put_output(output: &OutputTo, stack: &mut Stack) -> Target {
    match output {
        OutputTo::Null => Target { path: ptr::null(), fifo: false },
        OutputTo::File(path) => Target { path: put_string(path, stack), fifo: false },
        OutputTo::Fifo(path) => Target { path: put_string(path, stack), fifo: true },
    }
}

/// Whether this is what clone3(2) says of a leaf: it is gone (ENODEV, ENOENT), has processes only in cgroups of its own
/// (EBUSY) or for threads only (EOPNOTSUPP), or the kernel is older than 5.7 (E2BIG, EINVAL).
fn is_of_leaf(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENODEV | libc::ENOENT | libc::EBUSY | libc::E2BIG | libc::EINVAL | libc::EOPNOTSUPP)
    )
}

fn make_child(loan: &mut Loan, leaf: Option<BorrowedFd<'_>>) -> io::Result<Process> {
    match clone_child(loan, leaf, raw::CLEAR_SIGHAND) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && leaf.is_none() => {
            // Linux before 5.5: then handlers go with all that is ignored.
            loan.record_mut().ignored = Ignored::default();
            clone_child(loan, leaf, 0)
        }
        made => made,
    }
}

fn clone_child(loan: &Loan, leaf: Option<BorrowedFd<'_>>, clear: u64) -> io::Result<Process> {
    let mut pidfd: RawFd = -1;
    let told = if loan.number.is_some() { libc::CLONE_PARENT_SETTID } else { 0 };
    let into_leaf = if leaf.is_some() { INTO_CGROUP } else { 0 };
    let args = CloneArgs {
        flags: (libc::CLONE_VM | libc::CLONE_PIDFD | told) as u64 | into_leaf | clear,
        parent_tid: loan.number.as_ref().map_or(0, PidWord::address),
        cgroup: leaf.map_or(0, |leaf| u64::from(leaf.as_raw_fd().unsigned_abs())),
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: loan.stack.bottom(),
        stack_size: loan.stack.size(),
        ..CloneArgs::default()
    };
    // A handler of the parent's must never run in the child, on a small stack and with somebody else's thread-local
    // storage. The raw call blocks the C library's own signals too, which pthread_sigmask(3) would leave out.
    let blocked: u64 = u64::MAX;
    let mut before: u64 = 0;
    // SAFETY: both masks live over the calls and have the kernel's size. The stack is the loan's own; entry and record
    // stay until the loan ends, which is when the child is done.
    let result = unsafe {
        child::change_mask(&blocked, &raw mut before);
        let result = raw::clone3(&args, child::begin, loan.record.as_ptr().cast());
        child::change_mask(&before, ptr::null_mut());
        result
    };
    let pid = i32::try_from(result).map_err(|_| io::ErrorKind::Other)?;
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(pid.wrapping_neg()));
    }
    // SAFETY: clone3 has just made the descriptor, for nobody else.
    Ok(Process::new(pid, Some(unsafe { OwnedFd::from_raw_fd(pidfd) })))
}
