//! How a run ended, and what that is called.

use std::fmt;
use std::time::Duration;

use super::{Moment, RunId, Signal};

/// How one run ended, as far as anybody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It called exit with this code, 0 to 255.
    Exited(u8),
    /// A signal ended it.
    Killed {
        /// Which one.
        signal: Signal,
        /// Whether it left a core dump.
        core: bool,
    },
    /// It never ran: the launch failed before or at exec.
    NotLaunched(LaunchError),
    /// The kernel killed it for want of memory (in its cgroup or on the machine).
    OomKilled,
    /// It is gone and nobody could learn how.
    Lost,
}

/// Where and why a launch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{stage}: {}", errno_text(*.errno))]
pub struct LaunchError {
    /// The step that failed.
    pub stage: Stage,
    /// Its error number (errno(3)).
    pub errno: i32,
}

impl LaunchError {
    /// Whether the machine was out of something (processes, memory, descriptors), which is nobody's mistake in a conf.
    pub fn is_resources(&self) -> bool {
        matches!(self.errno, libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE)
    }
}

/// The system's text for an error number, without the number.
fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// A step of a launch, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stage {
    /// Reading `env_file`.
    EnvFile = 1,
    /// Looking up `user` and `group`.
    User,
    /// Making the process (pipe2(2), clone3(2)).
    Fork,
    /// Its own session (setsid(2)).
    Session,
    /// `limits` (setrlimit(2)).
    Limits,
    /// stdin, stdout and stderr.
    Stdio,
    /// Supplementary groups (setgroups(2)).
    Groups,
    /// The group id (setresgid(2)).
    Gid,
    /// The user id (setresuid(2)).
    Uid,
    /// `cwd` (chdir(2)).
    Cwd,
    /// Signal dispositions and mask.
    Signals,
    /// The program itself (execve(2)).
    Exec,
}

impl Stage {
    /// Every stage with its name in JSON.
    pub const ALL: [(Self, &'static str); 12] = [
        (Self::EnvFile, "env_file"),
        (Self::User, "user"),
        (Self::Fork, "fork"),
        (Self::Session, "session"),
        (Self::Limits, "limits"),
        (Self::Stdio, "stdio"),
        (Self::Groups, "groups"),
        (Self::Gid, "gid"),
        (Self::Uid, "uid"),
        (Self::Cwd, "cwd"),
        (Self::Signals, "signals"),
        (Self::Exec, "exec"),
    ];

    /// The stage of a number that another process sent.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().map(|(stage, _)| *stage).find(|stage| *stage as u8 == number)
    }

    /// The stage of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(stage, _)| *stage)
    }

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(stage, _)| *stage == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::EnvFile => "cannot read env_file",
            Self::User => "cannot look up the user or group",
            Self::Fork => "cannot make a process",
            Self::Session => "cannot make a session",
            Self::Limits => "cannot set the limits",
            Self::Stdio => "cannot open the log",
            Self::Groups => "cannot set the supplementary groups",
            Self::Gid => "cannot take on the group",
            Self::Uid => "cannot take on the user",
            Self::Cwd => "cannot enter cwd",
            Self::Signals => "cannot reset the signals",
            Self::Exec => "cannot execute cmd",
        })
    }
}

/// The one word for how a run ended; those of systemd's `Result=` where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It exited with one of its `success_codes`.
    Success,
    /// It exited with another code.
    ExitCode,
    /// A signal that nobody here sent.
    Signal,
    /// The same, with a core dump.
    CoreDump,
    /// The kernel was out of memory and chose it.
    OomKill,
    /// It was asked to stop, and did.
    Stop,
    /// It was asked to stop, did not, and was killed.
    StopTimeout,
    /// It could not be launched.
    ExecFailed,
    /// It could not be launched for want of processes, memory or descriptors.
    Resources,
    /// Nobody saw how it ended.
    Lost,
}

impl Cause {
    /// Every cause with its name in JSON.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Success, "success"),
        (Self::ExitCode, "exit-code"),
        (Self::Signal, "signal"),
        (Self::CoreDump, "core-dump"),
        (Self::OomKill, "oom-kill"),
        (Self::Stop, "stop"),
        (Self::StopTimeout, "stop-timeout"),
        (Self::ExecFailed, "exec-failed"),
        (Self::Resources, "resources"),
        (Self::Lost, "lost"),
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(cause, _)| *cause == self).map_or("", |(_, name)| name)
    }

    /// The cause of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(cause, _)| *cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Killed { signal, core: false } => write!(f, "killed by signal {signal}"),
            Self::Killed { signal, core: true } => write!(f, "killed by signal {signal}, core dumped"),
            Self::NotLaunched(error) => error.fmt(f),
            Self::OomKilled => f.write_str("killed by the kernel for want of memory"),
            Self::Lost => f.write_str("ended, nobody saw how"),
        }
    }
}

/// The end of one run, as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// When it was noticed.
    pub at: Moment,
    /// Which run it was.
    pub run: RunId,
    /// How long it had lived; zero where it was not launched.
    pub lived: Duration,
    /// How it ended.
    pub ending: Ending,
    /// The word for it.
    pub cause: Cause,
}
