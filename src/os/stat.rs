//! The line that the kernel keeps about each process (proc_pid_stat(5)).

use std::io;

/// `/proc/PID/stat` as it was read.
#[derive(Debug)]
pub(super) struct Stat(String);

/// The first field after the name.
const STATE: usize = 3;
const START_TIME: usize = 22;
const VIRTUAL_SIZE: usize = 23;
const ENVIRONMENT_END: usize = 51;

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
        self.field(VIRTUAL_SIZE).is_some_and(|size| size > 0) && self.field(ENVIRONMENT_END) == Some(0)
    }

    /// A field by its number in the manual page, from [`STATE`] on.
    fn field(&self, number: usize) -> Option<u64> {
        // The name in parentheses may hold spaces and parentheses too: the state follows the last one.
        let (_, after_name) = self.0.rsplit_once(") ")?;
        after_name.split_ascii_whitespace().nth(number.checked_sub(STATE)?)?.parse().ok()
    }
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
    }
}
