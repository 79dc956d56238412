//! Waiting for something to happen to logs, by inotify(7): nobody looks at a file before.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// How many directories above one are watched, if they exist: that of all logs, the state directory, and what that is in.
const ABOVE: usize = 3;

/// Why nobody can wait.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// The system says no.
    #[error("cannot wait for changes: {source}{hint}")]
    System {
        /// Why not.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// A directory can't be watched.
    #[error("cannot wait for changes in {}: {source}{hint}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Something to the directories of these numbers.
    Changed(Vec<usize>),
    /// Nothing for as long as was waited.
    Nothing,
    /// Nobody reads any more what would be written.
    NobodyReads,
}

/// Directories that are watched, whether they exist or not, by their places in a list.
///
/// What is above them is watched, too: a directory that is deleted is not told to be as long as a file that was in it is
/// open, but the one above it tells at once.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: Inotify,
    directories: Vec<PathBuf>,
    watched: HashMap<WatchDescriptor, Watched>,
}

/// A directory of these, or one above.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// For whom.
    whom: Vec<usize>,
}

impl Watch {
    /// Watches directories.
    ///
    /// # Errors
    /// The user's share of watches is used up, or a directory may not be read.
    pub(crate) fn on(directories: Vec<PathBuf>) -> Result<Self, WatchError> {
        let system = |errno| WatchError::System { source: io::Error::from(errno), hint: hint(errno) };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(system)?;
        let mut watch = Self { inotify, directories, watched: HashMap::new() };
        for index in 0..watch.directories.len() {
            watch.arm(index)?;
        }
        Ok(watch)
    }

    /// Waits until something happens: to a directory, or to the reader of `output`.
    ///
    /// # Errors
    /// A directory that has come into being may not be watched.
    pub(crate) fn wait(&mut self, output: BorrowedFd<'_>, longest: Option<Duration>) -> Result<Woken, WatchError> {
        let system = |errno| WatchError::System { source: io::Error::from(errno), hint: "" };
        // Rounded up: whoever wakes up before its time finds nothing to do and waits again.
        let millis = |wait: Duration| i32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        let timeout = longest.map_or(PollTimeout::NONE, |wait| millis(wait).try_into().unwrap_or(PollTimeout::MAX));
        // That the last reader has gone is told without being asked for (poll(2), POLLERR).
        let mut polled =
            [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN), PollFd::new(output, PollFlags::empty())];
        match poll(&mut polled, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Woken::Nothing),
            Ok(_) => {}
            Err(errno) => return Err(system(errno)),
        }
        if polled[1].any().unwrap_or(true) {
            return Ok(Woken::NobodyReads);
        }
        let events = match self.inotify.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Woken::Nothing),
            Err(errno) => return Err(system(errno)),
        };
        let mut changed = Vec::new();
        let mut again = Vec::new();
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                again.extend(0..self.directories.len());
                continue;
            }
            let Some(watched) = self.watched.get(&event.wd) else { continue };
            let gone = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_IGNORED;
            let is_gone = event.mask.intersects(gone);
            for index in &watched.whom {
                match self.directories[*index].strip_prefix(&watched.path) {
                    Ok(below) if !is_gone && below.as_os_str().is_empty() => changed.push(*index),
                    Ok(below) if !is_gone && below.iter().next() != event.name.as_deref() => {}
                    _ => again.push(*index),
                }
            }
            if is_gone {
                self.watched.remove(&event.wd);
                self.forget(event.wd);
            }
        }
        again.sort_unstable();
        again.dedup();
        changed.extend(&again);
        for index in again {
            self.arm(index)?;
        }
        changed.sort_unstable();
        changed.dedup();
        Ok(Woken::Changed(changed))
    }

    /// Watches the directory of this number, or what there is above it.
    fn arm(&mut self, index: usize) -> Result<(), WatchError> {
        for Watched { whom, .. } in self.watched.values_mut() {
            whom.retain(|other| *other != index);
        }
        let directory = self.directories[index].clone();
        loop {
            let places = places(&directory);
            let complete = places.iter().try_fold(true, |complete, path| {
                let events = if *path == directory { own_events() } else { events_above() };
                match self.inotify.add_watch(*path, events) {
                    Ok(wd) => {
                        let new = || Watched { path: path.to_path_buf(), whom: Vec::new() };
                        self.watched.entry(wd).or_insert_with(new).whom.push(index);
                        Ok(complete)
                    }
                    // Deleted meanwhile.
                    Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
                    Err(errno) => {
                        let source = io::Error::from(errno);
                        Err(WatchError::Directory { path: path.to_path_buf(), source, hint: hint(errno) })
                    }
                }
            })?;
            // What is nearer may have come into being before the watch did.
            if complete && self::places(&directory) == places {
                break;
            }
            for Watched { whom, .. } in self.watched.values_mut() {
                whom.retain(|other| *other != index);
            }
        }
        let idle: Vec<_> =
            self.watched.iter().filter(|(_, watched)| watched.whom.is_empty()).map(|(wd, _)| *wd).collect();
        for wd in idle {
            self.watched.remove(&wd);
            self.forget(wd);
        }
        Ok(())
    }

    /// Watches something no more.
    fn forget(&self, wd: WatchDescriptor) {
        // What was deleted is not watched any more, which is no trouble; what was moved still is.
        let _ = self.inotify.rm_watch(wd);
    }
}

/// Of a directory with logs: all that changes what is to be read.
fn own_events() -> AddWatchFlags {
    AddWatchFlags::IN_MODIFY | events_above()
}

/// Of a directory above it: that what leads to it comes and goes.
fn events_above() -> AddWatchFlags {
    AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR
}

/// What there is of a directory and of those above it, the outermost first: whatever happens to the others after it is
/// watched is told. At least one, the root if need be.
fn places(directory: &Path) -> Vec<&Path> {
    let exists = |path: &&Path| path.is_dir();
    let mut places: Vec<&Path> = directory.ancestors().take(1 + ABOVE).filter(exists).collect();
    if places.is_empty() {
        places.push(directory.ancestors().find(exists).unwrap_or(Path::new("/")));
    }
    places.reverse();
    places
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOSPC => " (raise fs.inotify.max_user_watches, or follow fewer services)",
        Errno::EMFILE => " (raise fs.inotify.max_user_instances)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Only ends what would hang for ever.
    const WATCHDOG: Option<Duration> = Some(Duration::from_secs(30));

    /// What happens next, without what else has happened by then.
    fn next(watch: &mut Watch) -> Woken {
        let nothing = fs::File::open("/dev/null").unwrap();
        let woken = watch.wait(nothing.as_fd(), WATCHDOG).unwrap();
        while watch.wait(nothing.as_fd(), Some(Duration::ZERO)).unwrap() != Woken::Nothing {}
        woken
    }

    #[test]
    fn directories_are_watched_whether_they_exist_or_not() {
        let root = tempfile::tempdir().unwrap();
        let logs = root.path().join("state/logs");
        let mut watch = Watch::on(vec![logs.join("web"), logs.join("db")]).unwrap();
        fs::create_dir_all(logs.join("web")).unwrap();
        assert!(matches!(next(&mut watch), Woken::Changed(_)));
        fs::write(logs.join("web/current.log"), "x").unwrap();
        assert_eq!(next(&mut watch), Woken::Changed(vec![0]));
        fs::create_dir(logs.join("db")).unwrap();
        assert_eq!(next(&mut watch), Woken::Changed(vec![1]));
        fs::write(logs.join("db/current.log"), "more").unwrap();
        assert_eq!(next(&mut watch), Woken::Changed(vec![1]));
        fs::rename(logs.join("db/current.log"), logs.join("db/old.log")).unwrap();
        assert_eq!(next(&mut watch), Woken::Changed(vec![1]));
        fs::remove_file(logs.join("db/old.log")).unwrap();
        assert_eq!(next(&mut watch), Woken::Changed(vec![1]));
        fs::rename(logs.join("web"), logs.join("web.old")).unwrap();
        assert!(matches!(next(&mut watch), Woken::Changed(_)));
        fs::create_dir(logs.join("web")).unwrap();
        assert_eq!(next(&mut watch), Woken::Changed(vec![0]));
        fs::write(logs.join("web/current.log"), "x").unwrap();
        assert_eq!(next(&mut watch), Woken::Changed(vec![0]));
        // A file that is open keeps what it was in from being told to have gone.
        let _open = fs::File::open(logs.join("web/current.log")).unwrap();
        fs::remove_dir_all(logs.join("web")).unwrap();
        assert_eq!(next(&mut watch), Woken::Changed(vec![0]));
        fs::create_dir(logs.join("web")).unwrap();
        assert_eq!(next(&mut watch), Woken::Changed(vec![0]));
        fs::write(logs.join("web/current.log"), "x").unwrap();
        assert_eq!(next(&mut watch), Woken::Changed(vec![0]));
        // What is beside them is nobody's.
        fs::write(root.path().join("state/else"), "x").unwrap();
        fs::create_dir(logs.join("else")).unwrap();
        assert_eq!(next(&mut watch), Woken::Changed(vec![]));
        fs::remove_dir_all(root.path().join("state")).unwrap();
        assert!(matches!(next(&mut watch), Woken::Changed(_)));
        fs::create_dir_all(logs.join("db")).unwrap();
        assert!(matches!(next(&mut watch), Woken::Changed(_)));
        fs::write(logs.join("db/current.log"), "x").unwrap();
        assert_eq!(next(&mut watch), Woken::Changed(vec![1]));
    }

    #[test]
    fn whoever_is_read_by_nobody_is_told() {
        let root = tempfile::tempdir().unwrap();
        // As deep as what is watched above it: others have directories beside this one.
        let directory = root.path().join("a/b/c");
        fs::create_dir_all(&directory).unwrap();
        let mut watch = Watch::on(vec![directory]).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        assert_eq!(watch.wait(writer.as_fd(), Some(Duration::ZERO)).unwrap(), Woken::Nothing);
        drop(reader);
        assert_eq!(watch.wait(writer.as_fd(), WATCHDOG).unwrap(), Woken::NobodyReads);
    }
}
