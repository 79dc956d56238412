//! What the kernel says of a process in one line (proc_pid_stat(5)).

use std::fs;
use std::io;

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

/// The facts of whoever has this number now, if they can be read.
pub(super) fn read(pid: u32) -> Option<Facts> {
    look(pid).ok().flatten()
}

/// The facts of whoever has this number now; `None` if nobody has.
///
/// # Errors
/// No descriptor or no memory is left to look with.
pub(super) fn look(pid: u32) -> io::Result<Option<Facts>> {
    // Of a name any byte is allowed, and what is no text is no reason to overlook a process.
    let stat = unless_short(fs::read(format!("/proc/{pid}/stat")))?;
    Ok(stat.and_then(|stat| parse(&String::from_utf8_lossy(&stat))))
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

fn parse(stat: &str) -> Option<Facts> {
    // The name in parentheses may hold parentheses and blanks: the fields follow the last one.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    let mut number = |skipped| fields.nth(skipped)?.parse::<u64>().ok();
    let mut id = || u32::try_from(number(0)?).ok();
    let (parent, group, session) = (id()?, id()?, id()?);
    // Of the 22 fields of the manual 15 lie between.
    Some(Facts { state, parent, group, session, began: number(15)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_follow_a_name_that_tries_to_forge_them() {
        let stat = "7 (a) Z 1 2 3 (b) S 10 20 30 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 2 3";
        let facts = Facts { state: 'S', parent: 10, group: 20, session: 30, began: 987_654 };
        assert_eq!(parse(stat), Some(facts));
        assert_eq!(parse("7 (a) S 10 20"), None);
        assert_eq!(parse(""), None);
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
    fn this_process_is_its_parents_child() {
        let facts = read(std::process::id()).unwrap();
        assert_eq!(facts.parent, std::os::unix::process::parent_id());
        assert_eq!(facts.group, u32::try_from(nix::unistd::getpgrp().as_raw()).unwrap());
        assert!(facts.began > 0);
        assert_eq!(read(0x7fff_ffff), None);
    }
}
