//! The children of a process, by number (proc_pid_task(5), `children`).
#![expect(unsafe_code, reason = "nix has no prctl(2) in the features that are used")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

use super::super::stat::{self, unless_short};

/// Makes what outlives its parents below this process its own children from now on (PR_SET_CHILD_SUBREAPER). It stays so
/// over exec.
///
/// # Errors
/// The kernel is older than 3.4.
pub(crate) fn become_subreaper() -> io::Result<()> {
    // SAFETY: the call changes a flag of this process and takes no memory.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The children of a process, those of all its threads. One that ends, or becomes somebody else's child, while the list is
/// read may hide another one: who has to know of all asks until nothing new is there.
///
/// # Errors
/// The kernel has no such lists (it is built without `CONFIG_PROC_CHILDREN`, which is rare): `Unsupported`. A process that
/// is not there has no children.
pub(super) fn children_of(pid: u32) -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    let Some(threads) = unless_short(fs::read_dir(format!("/proc/{pid}/task")))? else { return Ok(children) };
    for thread in threads {
        let Ok(thread) = thread else { continue };
        children.extend(children_of_thread(&thread.path())?);
    }
    Ok(children)
}

/// The children of this process's first thread: its own, and all that were handed over to this process as subreaper, which
/// go to the first thread that has not ended (find_alive_thread in the kernel's kernel/exit.c).
///
/// Each child in the list takes 0.5 µs. A process that makes its own children on another thread has them in another list,
/// and finds here those that were handed over, and none besides.
///
/// # Errors
/// As [`children_of`].
pub(super) fn handed_over() -> io::Result<Vec<u32>> {
    // Kept open: it is read at every end of a service, also when no descriptor is left.
    static LIST: OnceLock<File> = OnceLock::new();
    let thread = || format!("/proc/self/task/{}", std::process::id());
    let list = match LIST.get() {
        Some(list) => list,
        None => match File::open(Path::new(&thread()).join("children")) {
            Ok(list) => LIST.get_or_init(|| list),
            Err(_) => return children_of_thread(Path::new(&thread())),
        },
    };
    let mut start = [0; 512];
    match list.read_at(&mut start, 0)? {
        read if read < start.len() => Ok(numbers(&String::from_utf8_lossy(&start[..read]))),
        _ => children_of_thread(Path::new(&thread())),
    }
}

fn children_of_thread(thread: &Path) -> io::Result<Vec<u32>> {
    match fs::read_to_string(thread.join("children")) {
        Ok(list) => Ok(numbers(&list)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && thread.join("stat").exists() => {
            Err(io::ErrorKind::Unsupported.into())
        }
        // The thread has ended.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn numbers(list: &str) -> Vec<u32> {
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The children of a process, found by looking at every process: 20 µs for each that the machine has, so that only a stop
/// may do so, and only where there are no lists.
pub(super) fn scan_for_children_of(pid: u32) -> io::Result<Vec<u32>> {
    let all = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    Ok(all.filter(|&child| stat::facts(child).ok().flatten().is_some_and(|facts| facts.parent == pid)).collect())
}
