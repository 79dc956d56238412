//! Who knows users and groups.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::os::account;
pub use crate::os::account::AccountError;

/// Looks up users and groups for the lowering.
pub trait Accounts {
    /// The effective user and group of the daemon.
    fn own(&self) -> (u32, u32);

    /// The number of a user.
    ///
    /// # Errors
    /// There is none, or the look-up failed.
    fn user(&self, name: &str) -> Result<u32, AccountError>;

    /// The number of a group.
    ///
    /// # Errors
    /// There is none, or the look-up failed.
    fn group(&self, name: &str) -> Result<u32, AccountError>;
}

/// The system's own, asked at most once for each name: made anew for each load.
#[derive(Debug)]
pub struct SystemAccounts {
    own: (u32, u32),
    users: RefCell<HashMap<String, Result<u32, AccountError>>>,
    groups: RefCell<HashMap<String, Result<u32, AccountError>>>,
}

impl SystemAccounts {
    /// Those that this process may ask for; nothing is asked yet.
    #[expect(clippy::new_without_default, reason = "it depends on who the process is")]
    pub fn new() -> Self {
        let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        Self { own, users: RefCell::default(), groups: RefCell::default() }
    }
}

impl Accounts for SystemAccounts {
    fn own(&self) -> (u32, u32) {
        self.own
    }

    fn user(&self, name: &str) -> Result<u32, AccountError> {
        once(&self.users, name, || account::by_name(name).map(|account| account.uid))
    }

    fn group(&self, name: &str) -> Result<u32, AccountError> {
        once(&self.groups, name, || account::group_by_name(name))
    }
}

fn once(
    known: &RefCell<HashMap<String, Result<u32, AccountError>>>,
    name: &str,
    ask: impl FnOnce() -> Result<u32, AccountError>,
) -> Result<u32, AccountError> {
    known.borrow_mut().entry(name.to_owned()).or_insert_with(ask).clone()
}

/// Knows everybody and is root: for confs of other hosts, whose users nobody can ask for here.
#[derive(Clone, Copy, Debug)]
pub struct AnyAccounts;

impl Accounts for AnyAccounts {
    fn own(&self) -> (u32, u32) {
        (0, 0)
    }

    fn user(&self, _name: &str) -> Result<u32, AccountError> {
        Ok(0)
    }

    fn group(&self, _name: &str) -> Result<u32, AccountError> {
        Ok(0)
    }
}
