//! Users and groups: the passwd and group databases, wherever the name service keeps them.
//!
//! All look-ups are the reentrant ones (getpwnam_r(3)) and may take as long as the name service does: none of this
//! belongs on a thread that must not block.

use std::ffi::CString;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

/// A user as passwd(5) knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The user id.
    pub(crate) uid: u32,
    /// The primary group.
    pub(crate) gid: u32,
    /// The login name.
    pub(crate) name: String,
    /// The home directory.
    pub(crate) home: PathBuf,
    /// The login shell.
    pub(crate) shell: PathBuf,
}

/// Why a user or group was not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The name service answered, and knows no such entry.
    #[error("no such {what}: {whom}")]
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// The name or number that was asked for.
        whom: String,
    },
    /// The name service could not be asked.
    #[error("cannot look up {what} {whom}")]
    Failed {
        /// `user` or `group`.
        what: &'static str,
        /// The name or number that was asked for.
        whom: String,
        /// What the system said.
        #[source]
        source: Errno,
    },
}

/// The user of this name.
///
/// # Errors
/// There is none, or the look-up failed.
pub(crate) fn by_name(name: &str) -> Result<Account, AccountError> {
    settle("user", name, User::from_name(name)).map(account)
}

/// The user of this number.
///
/// # Errors
/// There is none, or the look-up failed.
pub(crate) fn by_uid(uid: u32) -> Result<Account, AccountError> {
    settle("user", &uid.to_string(), User::from_uid(Uid::from_raw(uid))).map(account)
}

/// The number of the group of this name.
///
/// # Errors
/// There is none, or the look-up failed.
pub(crate) fn group_by_name(name: &str) -> Result<u32, AccountError> {
    settle("group", name, Group::from_name(name)).map(|group| group.gid.as_raw())
}

/// The groups of a user (getgrouplist(3)), the given primary one among them.
///
/// # Errors
/// The look-up failed; a user without an entry has the primary group only, which is no error.
pub(crate) fn groups_of(name: &str, gid: u32) -> Result<Vec<u32>, AccountError> {
    let failed = |source| AccountError::Failed { what: "groups of user", whom: name.to_owned(), source };
    let text = CString::new(name).map_err(|_| failed(Errno::EINVAL))?;
    let groups = getgrouplist(&text, Gid::from_raw(gid)).map_err(failed)?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

fn settle<T>(what: &'static str, whom: &str, found: nix::Result<Option<T>>) -> Result<T, AccountError> {
    match found {
        Ok(Some(entry)) => Ok(entry),
        // getpwnam_r(3) lists these two as other ways to say that there is no such entry.
        Ok(None) | Err(Errno::ENOENT | Errno::ESRCH) => Err(AccountError::Unknown { what, whom: whom.to_owned() }),
        Err(source) => Err(AccountError::Failed { what, whom: whom.to_owned(), source }),
    }
}

fn account(user: User) -> Account {
    Account { uid: user.uid.as_raw(), gid: user.gid.as_raw(), name: user.name, home: user.dir, shell: user.shell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_by_name_and_by_number() {
        let root = by_name("root").unwrap();
        assert_eq!((root.uid, root.gid, root.name.as_str()), (0, 0, "root"));
        assert!(root.home.is_absolute());
        assert_eq!(by_uid(0).unwrap(), root);
        assert!(groups_of("root", 0).unwrap().contains(&0));
        assert_eq!(group_by_name("root"), Ok(0));
    }

    #[test]
    fn nobody_else_is_found_for_an_unknown_name() {
        for name in ["no such user", "0", "root\0x", ""] {
            assert!(matches!(by_name(name), Err(AccountError::Unknown { what: "user", .. })), "{name:?}");
            assert!(matches!(group_by_name(name), Err(AccountError::Unknown { what: "group", .. })), "{name:?}");
        }
    }

    #[test]
    fn a_failed_look_up_is_not_an_unknown_user() {
        assert!(matches!(settle::<()>("user", "x", Err(Errno::EIO)), Err(AccountError::Failed { .. })));
        assert!(matches!(settle::<()>("user", "x", Err(Errno::ENOENT)), Err(AccountError::Unknown { .. })));
    }
}
