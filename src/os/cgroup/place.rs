//! The cgroup that holds the leaves of a herd.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, mkdir, unlinkat};

use super::leaf::Leaf;
use super::spot::{Spot, spot};
use super::trial::prove;
use super::unusable::Unusable;
use crate::model::ServiceId;

/// Before a service's id in the name of its leaf. No controller's name begins with it, so that no file of the kernel's,
/// now or later, can have the name of a leaf (the kernel's cgroup-v2.rst, "Interface Files").
const MARK: char = '_';

/// The cgroup that holds the leaves of a herd, `daemonherder-` and the herd's prefix, and no process.
#[derive(Debug)]
pub(crate) struct Place {
    directory: OwnedFd,
    path: PathBuf,
}

impl Place {
    /// The place of the herd with this prefix, made where it is missing and proved to be usable: a process has begun in a
    /// leaf there and was ended with it.
    ///
    /// # Errors
    /// It is not usable, and nothing is left behind that was not there before.
    pub(crate) fn open(prefix: &str) -> Result<Self, Unusable> {
        let Spot { directory: above, gives } = spot()?;
        let path = above.join(name_of(prefix));
        let make = |source: io::Error| Unusable::Make { path: path.clone(), source };
        match mkdir(&path, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(make(error.into())),
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = open(&path, flags, Mode::empty()).map_err(|error| make(error.into()))?;
        if gives {
            give_memory(&above);
        }
        give_memory(&path);
        if let Err(unusable) = prove(directory.as_fd(), &path) {
            // Leaves of an earlier daemon keep it.
            let _ = fs::remove_dir(&path);
            return Err(unusable);
        }
        Ok(Self { directory, path })
    }

    /// Whether there is a place of the herd with this prefix, made by this process or by an earlier one.
    pub(crate) fn exists(prefix: &str) -> bool {
        spot().is_ok_and(|Spot { directory, .. }| directory.join(name_of(prefix)).is_dir())
    }

    /// Where it is, for people.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A service's leaf, made if there is none.
    ///
    /// # Errors
    /// The place is removed (ENOENT), the tree has as many cgroups as it may (EAGAIN), or no descriptor is left.
    pub(crate) fn leaf(&self, service: &ServiceId) -> io::Result<Leaf> {
        // It is there at every launch but the first.
        if let Some(leaf) = self.existing(service)? {
            return Ok(leaf);
        }
        let name = name(service);
        match mkdirat(&self.directory, &*name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => Leaf::open(self.directory.as_fd(), &name),
            Err(error) => Err(error.into()),
        }
    }

    /// A service's leaf, if there is one.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn existing(&self, service: &ServiceId) -> io::Result<Option<Leaf>> {
        match Leaf::open(self.directory.as_fd(), &name(service)) {
            Ok(leaf) => Ok(Some(leaf)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a process is in a service's leaf, as [`Leaf::is_populated`], with no more than one descriptor and three system
    /// calls: it is asked at the end of each run. Of a leaf that is not there, it is not.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn is_populated(&self, service: &ServiceId) -> io::Result<bool> {
        let events = name(service).join("cgroup.events");
        let file = match openat(&self.directory, &events, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::ENOENT | Errno::ENODEV) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut text = [0; 64];
        let length = fs::File::from(file).read(&mut text)?;
        Ok(text[..length].split(|byte| *byte == b'\n').any(|line| line == b"populated 1"))
    }

    /// All services that have a leaf, and whether somebody is in there: what a new daemon finds of an earlier one.
    ///
    /// # Errors
    /// The place is removed, or no descriptor is left.
    pub(crate) fn leaves(&self) -> io::Result<Vec<(ServiceId, bool)>> {
        let mut leaves = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let service = name.to_str().and_then(|name| name.strip_prefix(MARK)?.parse::<ServiceId>().ok());
            if let Some(service) = service
                && let Some(leaf) = self.existing(&service)?
            {
                let populated = leaf.is_populated()?;
                leaves.push((service, populated));
            }
        }
        Ok(leaves)
    }

    /// Removes a service's leaf and what the service has made in it. One that is not there is as good as removed.
    ///
    /// # Errors
    /// Somebody is in there (EBUSY).
    pub(crate) fn remove(&self, service: &ServiceId) -> io::Result<()> {
        let Some(leaf) = self.existing(service)? else { return Ok(()) };
        leaf.clear()?;
        match unlinkat(&self.directory, &*name(service), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the place itself: nothing of a herd is left of which nothing runs.
    ///
    /// # Errors
    /// There are leaves (EBUSY).
    pub(crate) fn dissolve(self) -> io::Result<()> {
        fs::remove_dir(&self.path)
    }
}

fn name_of(prefix: &str) -> String {
    format!("daemonherder-{prefix}")
}

fn name(service: &ServiceId) -> PathBuf {
    format!("{MARK}{service}").into()
}

/// Lets the cgroups in there have the memory controller, which counts what the kernel kills for want of memory. Where it
/// is not to be had, leaves are as good without it.
///
/// Only for cgroups that hold no process: with a controller to give on they could have none, and a unit that systemd
/// wants to start again in its delegated cgroup could not begin.
fn give_memory(directory: &Path) {
    if let Err(error) = fs::write(directory.join("cgroup.subtree_control"), "+memory") {
        log::debug!("no memory controller below {}: {error}", directory.display());
    }
}

#[cfg(test)]
mod tests;
