//! The control socket in the file system.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::Access;

/// The longest path of a unix socket: `sun_path` without its final NUL (unix(7)).
const MAX_PATH: usize = 107;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The kernel takes no longer path.
    #[error("the path of the control socket is longer than {MAX_PATH} bytes: {}; choose a shorter --state-dir", .0.display())]
    TooLong(PathBuf),
    /// An old socket could not be removed.
    #[error("cannot remove the old socket {}", path.display())]
    Stale {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket could not be made.
    #[error("cannot make the socket {}", path.display())]
    Make {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its permissions could not be set.
    #[error("cannot set the permissions of {}", path.display())]
    Permissions {
        /// Of what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes the socket. The caller holds the lock of the state directory: a socket that is already there is a dead daemon's.
///
/// The socket is 0600 in a directory that only its owner may enter. With a group in `access` the socket is 0660 and the
/// directory 0710, both of that group: its members can reach the socket by its name, and still see and read nothing else.
///
/// # Errors
/// The path is too long, or the system refuses.
pub fn bind(path: &Path, access: &Access) -> Result<UnixListener, BindError> {
    if path.as_os_str().len() > MAX_PATH {
        return Err(BindError::TooLong(path.to_owned()));
    }
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(BindError::Stale { path: path.to_owned(), source });
        }
        _ => {}
    }
    let make = |source| BindError::Make { path: path.to_owned(), source };
    let listener = UnixListener::bind(path).map_err(make)?;
    listener.set_nonblocking(true).map_err(make)?;
    // Until here the socket has the umask's mode; the directory is closed to others, and whoever connects is looked at.
    permit(path, 0o600, None)?;
    if let Some(group) = access.group {
        admit(path, group)?;
    }
    Ok(listener)
}

/// Lets a group reach the socket by its name; see [`bind`].
///
/// # Errors
/// The system refuses, for a group that the owner is not in.
pub fn admit(path: &Path, group: u32) -> Result<(), BindError> {
    permit(path, 0o660, Some(group))?;
    path.parent().map_or(Ok(()), |directory| permit(directory, 0o710, Some(group)))
}

fn permit(path: &Path, mode: u32, group: Option<u32>) -> Result<(), BindError> {
    let owned = if group.is_some() { chown(path, None, group) } else { Ok(()) };
    owned
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(|source| BindError::Permissions { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn only_the_owner_can_reach_the_socket() {
        let state = tempfile::tempdir().unwrap();
        std::fs::set_permissions(state.path(), Permissions::from_mode(0o700)).unwrap();
        let path = state.path().join("control.sock");
        std::fs::write(&path, "left by a dead daemon").unwrap();
        let _listener = bind(&path, &Access::of_this_process(None)).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(state.path()), 0o700);
    }

    #[test]
    fn a_control_group_can_reach_the_socket_and_see_nothing_else() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("control.sock");
        // One's own group is the only one that everybody may give away.
        let group = nix::unistd::getegid().as_raw();
        let _listener = bind(&path, &Access::of_this_process(Some(group))).unwrap();
        assert_eq!((mode(&path), path.metadata().unwrap().gid()), (0o660, group));
        assert_eq!((mode(state.path()), state.path().metadata().unwrap().gid()), (0o710, group));
    }

    #[test]
    fn a_path_that_the_kernel_does_not_take_is_refused_with_the_reason() {
        let path = PathBuf::from(format!("/{}/control.sock", "x".repeat(100)));
        let error = bind(&path, &Access::of_this_process(None)).unwrap_err();
        assert!(error.to_string().contains("longer than 107 bytes"), "{error}");
    }
}
