//! The line that the kernel keeps about each process (proc_pid_stat(5)), and the user whose process it is.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use nix::unistd::SysconfVar;

/// `/proc/PID/stat` as it was read.
#[derive(Debug)]
pub(super) struct Stat(String);

/// Where a process belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The letter of its first thread's state.
    pub(crate) state: char,
    /// The process whose child it is now.
    pub(crate) parent: u32,
    /// Its process group.
    pub(crate) group: u32,
    /// Its session.
    pub(crate) session: u32,
    /// When it began, in ticks after boot.
    pub(crate) began: u64,
}

/// What a process is, and what it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Its name, as `ps` has it.
    pub(crate) name: String,
    /// The memory that it has in use (resident), in bytes.
    pub(crate) memory: u64,
    /// The processors' time that it has used.
    pub(crate) processor: Duration,
}

/// The first field after the name.
const STATE: usize = 3;
const PARENT: usize = 4;
const GROUP: usize = 5;
const SESSION: usize = 6;
const USER_TIME: usize = 14;
const SYSTEM_TIME: usize = 15;
const START_TIME: usize = 22;
const VIRTUAL_SIZE: usize = 23;
const RESIDENT: usize = 24;
const ENVIRONMENT_END: usize = 51;
const EXIT_STATUS: usize = 52;

impl Stat {
    /// The line of the process that has this number now; `None` where nobody has it.
    ///
    /// # Errors
    /// There is no `/proc`, or no descriptor left to read it with.
    pub(super) fn read(pid: i32) -> io::Result<Option<Self>> {
        match std::fs::read(format!("/proc/{pid}/stat")) {
            // The name may hold any bytes.
            Ok(bytes) => Ok(Some(Self(String::from_utf8_lossy(&bytes).into_owned()))),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The letter of its first thread's state.
    pub(super) fn state(&self) -> Option<char> {
        self.field(STATE)
    }

    /// Where it belongs.
    pub(super) fn facts(&self) -> Option<Facts> {
        Some(Facts {
            state: self.state()?,
            parent: self.field(PARENT)?,
            group: self.field(GROUP)?,
            session: self.field(SESSION)?,
            began: self.start_time()?,
        })
    }

    /// How a zombie ended, in the form of wait(2). Who may not trace the process reads a zero.
    pub(super) fn exit_status(&self) -> Option<i32> {
        self.field(EXIT_STATUS).filter(|_| self.state() == Some('Z'))
    }

    /// When it started, in clock ticks after boot.
    pub(super) fn start_time(&self) -> Option<u64> {
        self.field(START_TIME)
    }

    /// Whether it is between its old program and its new one: it has the memory of the new one, and the kernel has not said
    /// yet where its environment is. Close-on-exec descriptors are closed by then (begin_new_exec and load_elf_binary in
    /// the kernel's fs/exec.c and fs/binfmt_elf.c). A zombie or a thread of the kernel has no memory at all.
    ///
    /// To be asked only of a process whose environment may be read: of others the kernel shows zeros.
    pub(super) fn is_executing(&self) -> bool {
        self.field(VIRTUAL_SIZE).is_some_and(|size: u64| size > 0) && self.field(ENVIRONMENT_END) == Some(0_u64)
    }

    fn usage(&self) -> Option<Usage> {
        let (name, _) = self.0.split_once(" (")?.1.rsplit_once(") ")?;
        let ticks: u64 = self.field::<u64>(USER_TIME)? + self.field::<u64>(SYSTEM_TIME)?;
        let system = |what| nix::unistd::sysconf(what).ok().flatten().and_then(|value| u64::try_from(value).ok());
        let tick = Duration::from_secs(1) / u32::try_from(system(SysconfVar::CLK_TCK)?).ok()?;
        let page = system(SysconfVar::PAGE_SIZE)?;
        Some(Usage {
            name: name.to_owned(),
            memory: self.field::<u64>(RESIDENT)? * page,
            processor: tick * u32::try_from(ticks).unwrap_or(u32::MAX),
        })
    }

    /// A field by its number in the manual page, from [`STATE`] on.
    fn field<T: FromStr>(&self, number: usize) -> Option<T> {
        // The name in parentheses may hold spaces and parentheses too: the state follows the last one.
        let (_, after_name) = self.0.rsplit_once(") ")?;
        after_name.split_ascii_whitespace().nth(number.checked_sub(STATE)?)?.parse().ok()
    }
}

/// Where whoever has this number now belongs; `None` if nobody has.
///
/// # Errors
/// No descriptor or no memory is left to look with.
pub(super) fn facts(pid: u32) -> io::Result<Option<Facts>> {
    let stat = unless_short(Stat::read(pid.cast_signed()))?.flatten();
    Ok(stat.and_then(|stat| stat.facts()))
}

/// What whoever has this number now is and uses; `None` if nobody has it.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    Stat::read(pid.cast_signed()).ok()??.usage()
}

/// What was read of a process: `None` if it is gone, or may not be looked at.
///
/// # Errors
/// The machine is short of what it takes to look: then nothing is known.
pub(super) fn unless_short<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The real user of whoever has this number now (proc_pid_status(5)).
///
/// # Errors
/// Nobody has it, or there is no descriptor left to look with.
pub(super) fn real_uid(pid: i32) -> io::Result<Option<u32>> {
    let status = std::fs::read(format!("/proc/{pid}/status"))?;
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    Ok(line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()))
}

/// Whether an error of a file below `/proc/PID` says that the process is gone.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line with the fields that matter here; all others are 7.
    fn line(name: &str, start_time: u64, size: u64, environment_end: u64) -> Stat {
        let fields: Vec<String> = (STATE + 1..=52)
            .map(|number| match number {
                START_TIME => start_time,
                VIRTUAL_SIZE => size,
                ENVIRONMENT_END => environment_end,
                _ => 7,
            })
            .map(|value| value.to_string())
            .collect();
        Stat(format!("123 ({name}) S {}\n", fields.join(" ")))
    }

    #[test]
    fn fields_are_counted_after_the_name_whatever_it_is() {
        for name in ["cat", "a b", "x) R 1 2 3", ") ", ""] {
            assert_eq!(line(name, 4711, 1, 1).start_time(), Some(4711), "{name:?}");
        }
        for torn in ["", "1 (cat", "1 (cat) S", "1 (cat) S 1 2 3"] {
            assert_eq!(Stat(torn.to_owned()).start_time(), None, "{torn:?}");
        }
        let forging = "7 (a) Z 1 2 3 (b) S 10 20 30 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 2 3";
        let facts = Facts { state: 'S', parent: 10, group: 20, session: 30, began: 987_654 };
        assert_eq!(Stat(forging.to_owned()).facts(), Some(facts));
        assert_eq!(Stat("7 (a) S 10 20".to_owned()).facts(), None);
    }

    #[test]
    fn a_process_is_executing_while_it_has_memory_and_no_environment() {
        for (what, size, environment_end, expected) in [
            ("a program", 4096, 0x7fff_0000, false),
            ("in the middle of exec", 4096, 0, true),
            ("a zombie or a thread of the kernel", 0, 0, false),
        ] {
            assert_eq!(line("cat", 1, size, environment_end).is_executing(), expected, "{what}");
        }
    }

    #[test]
    fn this_process_has_a_line_and_a_free_number_has_none() {
        let own = Stat::read(std::process::id().cast_signed()).unwrap().unwrap();
        assert!(own.start_time().is_some() && !own.is_executing());
        assert!(Stat::read(0x7fff_ffff).unwrap().is_none());
        assert_eq!(facts(0x7fff_ffff).unwrap(), None);
    }

    #[test]
    fn who_can_not_be_looked_at_is_not_nobody() {
        let failed = |errno| unless_short::<()>(Err(io::Error::from_raw_os_error(errno)));
        assert!(matches!(failed(libc::ENOENT), Ok(None)));
        assert!(matches!(failed(libc::ESRCH), Ok(None)));
        assert!(matches!(failed(libc::EACCES), Ok(None)));
        assert!(failed(libc::EMFILE).is_err());
    }

    #[test]
    fn this_process_is_its_parents_child_and_its_users() {
        let facts = facts(std::process::id()).unwrap().unwrap();
        assert_eq!(facts.parent, std::os::unix::process::parent_id());
        assert_eq!(facts.group, nix::unistd::getpgrp().as_raw().cast_unsigned());
        let uid = real_uid(std::process::id().cast_signed()).unwrap();
        assert_eq!(uid, Some(nix::unistd::getuid().as_raw()));
        assert!(real_uid(0x7fff_ffff).is_err());
    }
}
