//! The other roles of this program, each a process of its own made from the very file that this one was made from.
#![expect(unsafe_code, reason = "fork, and a new process's descriptors put in order by hand")]

use std::ffi::{CStr, CString, c_char};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::ptr;

use super::child::change_mask;
use super::ownership::{Flaw, flaw};
use super::pidfd::Process;

/// The first descriptor that a role is given; the others follow.
pub(crate) const FIRST_GIVEN: RawFd = 3;
/// What a role's process ends with whose program could not be executed.
pub(crate) const NOT_EXECUTED: u8 = 127;

/// The file of a program, held by a descriptor: what is installed in its place later is another one.
#[derive(Debug)]
pub(crate) struct Executable(OwnedFd);

impl Executable {
    /// The file that this process was made from.
    ///
    /// # Errors
    /// There is no /proc, or no descriptor.
    pub(crate) fn own() -> io::Result<Self> {
        Self::open(Path::new("/proc/self/exe"))
    }

    /// The file at a path.
    ///
    /// # Errors
    /// It is not there, or no descriptor is left.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // O_PATH: one may execute a program that one may not read.
        let file = File::options().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path)?;
        Ok(Self(file.into()))
    }

    /// The file at a path, if it is one that a daemon of this user may turn itself into. What was looked at is what will be
    /// executed, whatever comes to be at that path.
    ///
    /// # Errors
    /// As [`Self::open`]; or it is no program, or one that others may write to.
    pub(crate) fn trusted(path: &Path) -> Result<Self, Unfit> {
        let executable = Self::open(path)?;
        let metadata = File::from(executable.0.try_clone()?).metadata()?;
        if !metadata.is_file() || metadata.mode() & 0o111 == 0 {
            return Err(Unfit::NoProgram);
        }
        match flaw(&metadata, nix::unistd::geteuid().as_raw()) {
            Some(flaw) => Err(Unfit::Untrusted(flaw)),
            None => Ok(executable),
        }
    }
}

/// Why a daemon does not turn itself into a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// It can't be opened.
    #[error(transparent)]
    Unopened(#[from] io::Error),
    /// It is something else than a program.
    #[error("it is no file that can be executed")]
    NoProgram,
    /// Others may write to it.
    #[error("{0}")]
    Untrusted(Flaw),
}

/// Where a role's standard output and error go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Output<'a> {
    /// Error to where this process's goes, and output nowhere.
    Shared,
    /// Both into this.
    Into(BorrowedFd<'a>),
}

impl From<OwnedFd> for Executable {
    fn from(file: OwnedFd) -> Self {
        Self(file)
    }
}

impl AsFd for Executable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes a process of a program in a session of its own, with standard input `/dev/null`, and these descriptors as 3, 4, ….
///
/// No other thread of this process does anything (its first one waits for this one), so that the child may do what any
/// program may; fork(2) is cheap for one that is small.
///
/// # Errors
/// The system is out of processes, memory or descriptors. What fails in the child ends it with [`NOT_EXECUTED`].
pub(crate) fn start_role(
    executable: &Executable,
    argv: &[CString],
    env: &[CString],
    given: &[BorrowedFd<'_>],
    output: Output<'_>,
) -> io::Result<Process> {
    let (argv, env) = (pointers(argv), pointers(env));
    // Copies above all numbers that are about to be given, so that none is overwritten before it is copied.
    let lowest = FIRST_GIVEN + RawFd::try_from(given.len()).unwrap_or(RawFd::MAX) + 1;
    let program = raised(executable.as_fd(), lowest)?;
    let given: Vec<OwnedFd> = given.iter().map(|fd| raised(*fd, lowest)).collect::<Result<_, _>>()?;
    let output = match output {
        Output::Shared => None,
        Output::Into(fd) => Some(raised(fd, lowest)?),
    };
    // SAFETY: no other thread does anything, so no lock is held that the child would miss.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: this is the child, and it is alone.
        0 => unsafe { begin(&program, &argv, &env, &given, output.as_ref()) },
        pid => Ok(Process::new(pid, None)),
    }
}

/// A copy of a descriptor whose number is not below this one.
///
/// # Errors
/// No descriptor is left.
pub(crate) fn raised(fd: BorrowedFd<'_>, lowest: RawFd) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: a new descriptor is made, for nobody else.
    match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: as above.
        new => Ok(unsafe { OwnedFd::from_raw_fd(new) }),
    }
}

/// # Safety
/// To be called in a forked child with one thread. The arrays end with a null pointer.
unsafe fn begin(
    program: &OwnedFd,
    argv: &[*const c_char],
    env: &[*const c_char],
    given: &[OwnedFd],
    output: Option<&OwnedFd>,
) -> ! {
    const NULL: &CStr = c"/dev/null";
    // SAFETY: plain calls on numbers of our own and strings that live until exec.
    unsafe {
        libc::setsid();
        let null = libc::open(NULL.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        libc::dup2(null, libc::STDIN_FILENO);
        libc::dup2(output.map_or(null, |output| output.as_raw_fd()), libc::STDOUT_FILENO);
        // Where one of these was free, that is the number that it was opened by, and is to be kept.
        for number in [libc::STDIN_FILENO, libc::STDOUT_FILENO] {
            libc::fcntl(number, libc::F_SETFD, 0);
        }
        if let Some(output) = output {
            libc::dup2(output.as_raw_fd(), libc::STDERR_FILENO);
        }
        for (number, fd) in (FIRST_GIVEN..).zip(given) {
            libc::dup2(fd.as_raw_fd(), number);
        }
        change_mask(&0, ptr::null_mut());
        execute(program.as_fd(), argv, env);
        libc::_exit(NOT_EXECUTED.into())
    }
}

/// Comes back only where it fails.
///
/// # Safety
/// The arrays end with a null pointer, and their strings live.
unsafe fn execute(program: BorrowedFd<'_>, argv: &[*const c_char], env: &[*const c_char]) {
    let (here, flags) = (c"", libc::AT_EMPTY_PATH);
    // SAFETY: as promised by the caller.
    unsafe {
        libc::syscall(libc::SYS_execveat, program.as_raw_fd(), here.as_ptr(), argv.as_ptr(), env.as_ptr(), flags);
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// Turns this very process into another role of its program, with these descriptors left open under their numbers. Comes
/// back only with the reason why not.
pub(crate) fn become_role(executable: &Executable, argv: &[CString], env: &[CString], kept: &[RawFd]) -> io::Error {
    let (argv, env) = (pointers(argv), pointers(env));
    for fd in kept {
        // SAFETY: setting a flag touches no memory. Of a descriptor that is not there, the next role will say so.
        unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) };
    }
    // SAFETY: the arrays end with a null pointer, and their strings live until exec.
    unsafe { execute(executable.as_fd(), &argv, &env) };
    let error = io::Error::last_os_error();
    for fd in kept {
        // Services shall not have it.
        // SAFETY: as above.
        unsafe { libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    error
}

/// The name by which `killall` and `ps` know this process, where its first thread says so; that of a program executed by a
/// descriptor is the number of that.
pub(crate) fn name_process(name: &CStr) {
    // SAFETY: the name lives over the call, which copies it (PR_SET_NAME(2const)).
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// A descriptor that this process was given when it was made.
///
/// # Errors
/// There is no such descriptor: this role was not started by its keeper.
pub(crate) fn given(number: RawFd) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: asking for the flags touches no memory.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // Services shall not have it.
    // SAFETY: as above.
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    // SAFETY: it was put there for this process, and each number is taken once, at its start.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
