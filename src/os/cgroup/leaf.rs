//! One service's cgroup.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

/// A service's cgroup, held open: for a launch, or for as long as something is done to it.
#[derive(Debug)]
pub(crate) struct Leaf(OwnedFd);

/// A leaf's file of events, which says whether somebody is in there.
///
/// As long as it is open, its descriptor has an error condition after each change, until it is asked again: what waits for
/// hang-ups ([`Epoll::add_hangup`](crate::os::Epoll::add_hangup)) is told of it. It must have been asked once before.
///
/// The kernel tells of two changes no sooner than 10 ms after one another (CGROUP_FILE_NOTIFY_MIN_INTV in its
/// kernel/cgroup/cgroup.c), and the launch was one: who asks first, and waits only if the leaf is populated, saves that.
#[derive(Debug)]
pub(crate) struct Occupancy(File);

impl Leaf {
    /// The cgroup of this name in a directory.
    ///
    /// # Errors
    /// There is none (ENOENT), or no descriptor is left.
    pub(super) fn open(place: BorrowedFd<'_>, name: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Self(openat(place, name, flags, Mode::empty())?))
    }

    /// Kills all that is in there, what it has moved into cgroups of its own included, and what is being forked meanwhile.
    /// It has been signalled when this comes back, and ends soon after.
    ///
    /// # Errors
    /// The kernel is older than 5.14 (ENOENT), or the leaf is removed (ENODEV).
    pub(crate) fn kill(&self) -> io::Result<()> {
        let file = openat(&self.0, "cgroup.kill", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        File::from(file).write_all(b"1")
    }

    /// Whether a process is in there, or in a cgroup below. One that has ended and is not reaped does not count.
    ///
    /// # Errors
    /// The leaf is removed, or no descriptor is left.
    pub(crate) fn is_populated(&self) -> io::Result<bool> {
        self.occupancy()?.is_populated()
    }

    /// What tells when [`Self::is_populated`] changes.
    ///
    /// # Errors
    /// The leaf is removed, or no descriptor is left.
    pub(crate) fn occupancy(&self) -> io::Result<Occupancy> {
        Ok(Occupancy(self.file("cgroup.events")?))
    }

    /// How many processes the kernel has killed in there for want of memory, since the leaf was made; `None` where the v2
    /// tree does not have the memory controller.
    pub(crate) fn oom_kills(&self) -> Option<u64> {
        count(&read(self.file("memory.events").ok()?).ok()?, "oom_kill")
    }

    /// The numbers of all processes in there and in cgroups below, at one moment or another while they are read.
    ///
    /// # Errors
    /// The leaf is removed, or no descriptor is left.
    #[cfg(test)]
    pub(crate) fn members(&self) -> io::Result<Vec<u32>> {
        let mut members = Vec::new();
        for directory in self.directories()? {
            let file = self.file(directory.join("cgroup.procs"));
            match file.and_then(read) {
                // 0 is one that this process's pid namespace does not show.
                Ok(text) => {
                    members.extend(text.lines().filter_map(|line| line.parse().ok()).filter(|pid: &u32| *pid != 0))
                }
                // It was removed meanwhile, or holds threads of processes that an upper one lists.
                Err(error) if gone(&error) || error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(members)
    }

    /// Removes the cgroups in there, lowest first. The leaf itself is its place's to remove.
    ///
    /// # Errors
    /// One of them is populated (EBUSY).
    pub(super) fn clear(&self) -> io::Result<()> {
        let below = self.directories()?.into_iter().skip(1).collect::<Vec<_>>();
        for directory in below.iter().rev() {
            match fs::remove_dir(self.path(directory)) {
                Err(error) if !gone(&error) => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// This cgroup and all below it, relative to it, each before those in it.
    fn directories(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = vec![PathBuf::new()];
        let mut next = 0;
        while let Some(directory) = found.get(next).cloned() {
            next += 1;
            let entries = match fs::read_dir(self.path(&directory)) {
                Ok(entries) => entries,
                // A service may remove its own; the leaf itself has to be there.
                Err(error) if gone(&error) && next > 1 => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let Ok(entry) = entry else { continue };
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    found.push(directory.join(entry.file_name()));
                }
            }
        }
        Ok(found)
    }

    /// The name of something in there for calls that take no directory descriptor.
    fn path(&self, inside: &Path) -> PathBuf {
        Path::new(&format!("/proc/self/fd/{}", self.0.as_raw_fd())).join(inside)
    }

    fn file(&self, inside: impl AsRef<Path>) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        Ok(openat(&self.0, inside.as_ref(), flags, Mode::empty())?.into())
    }
}

impl AsFd for Leaf {
    /// What a launch takes.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Occupancy {
    /// Whether a process is in there now, as [`Leaf::is_populated`].
    ///
    /// # Errors
    /// The leaf is removed.
    pub(crate) fn is_populated(&mut self) -> io::Result<bool> {
        self.0.rewind()?;
        let mut text = String::new();
        self.0.read_to_string(&mut text)?;
        Ok(count(&text, "populated") == Some(1))
    }
}

impl AsFd for Occupancy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether somebody removed it: ENOENT by name, ENODEV from an open file of it.
fn gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

fn read(mut file: File) -> io::Result<String> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// A number in a file of keys and values.
fn count(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_whole_name() {
        let text = "low 0\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(count(text, "oom_kill"), Some(2));
        assert_eq!(count(text, "oom_group"), None);
        assert_eq!(count(text, "max"), None);
    }
}
