//! How the daemon's program is replaced: by whoever composed the daemon.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::api::UpgradeResult;

/// Why the program was not replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotUpgraded(pub String);

/// What comes of an upgrade, which comes back only where it fails: else this process ends.
type Failure = Pin<Box<dyn Future<Output = NotUpgraded>>>;

/// Who replaces the daemon's program.
#[derive(Clone)]
pub struct Upgrades {
    last: Rc<dyn Fn() -> Option<UpgradeResult>>,
    begin: Rc<dyn Fn(Option<String>) -> Failure>,
}

impl Upgrades {
    /// One who tells how the last upgrade went, and begins one: to the file of this path, or without one to that at the
    /// daemon's own place.
    pub fn new<F>(
        last: impl Fn() -> Option<UpgradeResult> + 'static,
        begin: impl Fn(Option<String>) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = NotUpgraded> + 'static,
    {
        Self { last: Rc::new(last), begin: Rc::new(move |path| Box::pin(begin(path))) }
    }

    pub(super) fn last(&self) -> Option<UpgradeResult> {
        (self.last)()
    }

    pub(super) fn begin(&self, path: Option<String>) -> Failure {
        (self.begin)(path)
    }
}

impl fmt::Debug for Upgrades {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrades").finish_non_exhaustive()
    }
}
