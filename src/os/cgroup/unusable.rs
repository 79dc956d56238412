//! Why there are no leaves, for the log and for `status`.

use std::io;
use std::path::PathBuf;

/// Why the herd can't have leaves.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// There is no such tree, or it is mounted nowhere.
    #[error("no cgroup v2 tree is mounted")]
    NoTree,
    /// What says where this process is can't be read.
    #[error("cannot read {path}")]
    Unread {
        /// The file.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The mounted part of the tree is not where this process is.
    #[error("the mounted part of the cgroup v2 tree does not hold the own cgroup {own}")]
    Hidden {
        /// Where this process is.
        own: String,
    },
    /// Somebody else manages the cgroup that this process is in.
    #[error("the own cgroup {own} is not delegated, and only root may have one beside it")]
    Foreign {
        /// Where this process is.
        own: String,
    },
    /// A cgroup can't be made or opened.
    #[error("cannot make the cgroup {path}")]
    Make {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No process can be made in it.
    #[error("no process can begin in the cgroup {path}")]
    Begin {
        /// Which.
        path: PathBuf,
        /// Why: an older kernel than 5.7 says E2BIG or EINVAL, a sandbox EPERM or ENOSYS.
        source: io::Error,
    },
    /// It can't be ended as one.
    #[error("cannot kill the cgroup {path} as one, which takes Linux 5.14")]
    Kill {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was ended as one, and a process in it lived on.
    #[error("a process in the cgroup {path} outlived cgroup.kill")]
    Survived {
        /// Which.
        path: PathBuf,
    },
}
