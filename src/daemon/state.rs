//! The state directory: one daemon's own, for one conf directory on one host.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::conf::Places;

/// Run numbers that a start takes for itself, so that one that ended without a farewell never shares a number with it.
const RUNS_OF_A_LIFE: u64 = 1_000_000_000;

/// Why the state directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another daemon uses it.
    #[error("already running (pid {pid})")]
    Running {
        /// Its process.
        pid: String,
    },
    /// It is somebody else's, or open to others.
    #[error("{} {why}; give another one with --state-dir, or mend it", path.display())]
    Refused {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system says no.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A state directory that is locked for this process.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Held for as long as the daemon lives; the kernel frees it however that ends.
    lock: File,
    memory: Memory,
}

/// What a state directory remembers of whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    config_dir: PathBuf,
    host: String,
    /// The first part of its run ids, 16 hex.
    herd: String,
    /// The first run number that no life has taken yet.
    next_run: u64,
}

impl StateDir {
    /// Makes or opens the directory, locks it, and checks that it belongs to this conf directory and host.
    ///
    /// # Errors
    /// Another daemon runs on it, or it is not ours to use, or the system says no.
    pub fn open(places: &Places) -> Result<Self, StateError> {
        let path = places.state_dir.clone();
        make(&path)?;
        check_owner(&path)?;
        let lock = lock(&path.join("lock"))?;
        Self::locked(places, path, lock)
    }

    /// Opens the directory with the lock that a predecessor of this process has held all the time.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn inherit(places: &Places, lock: File) -> Result<Self, StateError> {
        let path = places.state_dir.clone();
        // Whom the herder lets pass through it is let in all the time.
        look_at_owner(&path)?;
        sign(&lock).map_err(|source| StateError::Io { what: "write", path: path.join("lock"), source })?;
        Self::locked(places, path, lock)
    }

    /// Whether [`Self::inherit`] would do, as far as can be seen without changing anything.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn examine(places: &Places) -> Result<(), StateError> {
        let path = places.state_dir.clone();
        look_at_owner(&path)?;
        let memory = Memory::fresh(places);
        Self::recall(&path)?.map_or(Ok(()), |old| memory.check(&path, &old))
    }

    fn locked(places: &Places, path: PathBuf, lock: File) -> Result<Self, StateError> {
        for directory in ["runs", "logs"] {
            make(&path.join(directory))?;
        }
        let mut memory = Memory::fresh(places);
        if let Some(old) = Self::recall(&path)? {
            memory.check(&path, &old)?;
            memory = old;
        }
        Ok(Self { lock, memory, path })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its lock, which is free only when nobody holds this open file any more.
    pub fn lock(&self) -> &File {
        &self.lock
    }

    /// The first part of the run ids of this directory.
    pub fn herd(&self) -> u64 {
        u64::from_str_radix(&self.memory.herd, 16).unwrap_or_default()
    }

    /// The first run number of this life, which has a thousand million for itself from now on.
    ///
    /// # Errors
    /// It can't be written down.
    pub fn take_runs(&mut self) -> Result<u64, StateError> {
        let first = self.memory.next_run;
        self.remember(first.saturating_add(RUNS_OF_A_LIFE))?;
        Ok(first)
    }

    /// Gives back the run numbers that this life did not use.
    ///
    /// # Errors
    /// It can't be written down; the next life then leaves a gap.
    pub fn give_back_runs(&mut self, next: u64) -> Result<(), StateError> {
        self.remember(next)
    }

    fn recall(path: &Path) -> Result<Option<Memory>, StateError> {
        let path = Memory::path(path);
        match std::fs::read(&path) {
            // What can't be read any more is as good as lost, and a number of its own keeps the new runs apart.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Io { what: "read", path, source }),
        }
    }

    fn remember(&mut self, next_run: u64) -> Result<(), StateError> {
        self.memory.next_run = next_run;
        let (path, new) = (Memory::path(&self.path), self.path.join("runs").join("herd.json.new"));
        let text = serde_json::to_vec(&self.memory).map_err(io::Error::from);
        // By a rename, so that there is always a whole file.
        let written = text.and_then(|text| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&text)?;
            // Or a loss of power may leave an empty file under the new name.
            file.sync_all()?;
            std::fs::rename(&new, &path)
        });
        written.map_err(|source| StateError::Io { what: "write", path, source })
    }
}

impl Memory {
    fn fresh(places: &Places) -> Self {
        Self {
            config_dir: std::fs::canonicalize(&places.config_dir).unwrap_or_else(|_| places.config_dir.clone()),
            host: places.host.to_string(),
            herd: format!("{:016x}", fastrand::u64(..)),
            next_run: 1,
        }
    }

    fn path(directory: &Path) -> PathBuf {
        directory.join("runs").join("herd.json")
    }

    /// Whether a directory that remembers `old` is this one's.
    fn check(&self, directory: &Path, old: &Self) -> Result<(), StateError> {
        let refused = |why| Err(StateError::Refused { path: directory.to_owned(), why });
        if old.config_dir != self.config_dir {
            return refused(format!("belongs to the conf directory {}", old.config_dir.display()));
        }
        if old.host != self.host {
            return refused(format!("belongs to the host {}", old.host));
        }
        Ok(())
    }
}

/// Makes a directory that only its owner may enter.
fn make(path: &Path) -> Result<(), StateError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StateError::Io { what: "make the directory", path: path.to_owned(), source })
}

fn check_owner(path: &Path) -> Result<(), StateError> {
    look_at_owner(path)?;
    let io = |source| StateError::Io { what: "look after", path: path.to_owned(), source };
    std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(io)
}

fn look_at_owner(path: &Path) -> Result<(), StateError> {
    let refused = |why| Err(StateError::Refused { path: path.to_owned(), why });
    let io = |source| StateError::Io { what: "look after", path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    let (owner, me) = (metadata.uid(), nix::unistd::geteuid().as_raw());
    if owner != me {
        return refused(format!("belongs to uid {owner}, and this is uid {me}"));
    }
    // With `control.group` the last daemon let that group pass through; this one begins without.
    if metadata.mode() & 0o067 != 0 {
        return refused(format!("is open to others (mode {:o}, and must be 700)", metadata.mode() & 0o777));
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, StateError> {
    let io = |what| move |source| StateError::Io { what, path: path.to_owned(), source };
    let options = &mut OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io("open"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // The pid is for people; a lock without one is a lock.
            let _ = file.read_to_string(&mut pid);
            let pid = pid.trim();
            return Err(StateError::Running { pid: if pid.is_empty() { "unknown" } else { pid }.to_owned() });
        }
        Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
    }
    sign(&file).map_err(io("write"))?;
    Ok(file)
}

/// Writes into the lock whose it is, for people.
fn sign(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
