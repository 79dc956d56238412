//! What a herder does whose keeper has gone: it becomes the keeper.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;

use crate::keeper;
use crate::os::{self, Executable};

/// Puts a keeper in the place of this process, and of the one that has gone. It finds what lives by the run table, as any
/// keeper does, and by the witnesses how those ended that have ended meanwhile. Comes back only with the reason why not.
///
/// A herd that was being stopped goes on being stopped.
///
/// Where systemd made the keeper it makes the next one, too, and would not know of this one. Not so while the herd is being
/// stopped: it may be systemd that stops it, and then there is no next one. If there is one after all, it is tried again
/// until this one has ended.
pub(super) fn succeed(gone: u32, ending: bool, witnesses: &[RawFd]) -> io::Error {
    if is_left_to_systemd(gone, ending) {
        return io::Error::other("systemd starts the next one");
    }
    let executable = match Executable::own() {
        Ok(executable) => executable,
        Err(error) => return error,
    };
    let role = |word: OsString| if word == "--herder" { "--successor".into() } else { word };
    let argv = std::env::args_os().map(role).chain(ending.then(|| "--ending".into()));
    let given = [keeper::LISTENER, keeper::LOCK, keeper::SHELF[0], keeper::SHELF[1]];
    os::become_role(&executable, &texts(argv), &environment(), &[&given, witnesses].concat())
}

/// What comes after a keeper that has gone, for the log.
pub(super) fn prospect(gone: u32, ending: bool) -> &'static str {
    match is_left_to_systemd(gone, ending) {
        true => "systemd starts the next one, which finds what lives",
        false => "this herder becomes the keeper, and finds what lives",
    }
}

fn is_left_to_systemd(gone: u32, ending: bool) -> bool {
    !ending && std::env::var("SYSTEMD_EXEC_PID").is_ok_and(|of_systemd| of_systemd == gone.to_string())
}

/// What came from the system has no NUL in it.
pub(super) fn texts(words: impl IntoIterator<Item = OsString>) -> Vec<CString> {
    words.into_iter().filter_map(|word| CString::new(word.into_vec()).ok()).collect()
}

/// The environment that this process was started with.
pub(super) fn environment() -> Vec<CString> {
    texts(std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    }))
}
