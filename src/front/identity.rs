//! What the daemon says of itself.

use std::path::PathBuf;
use std::time::SystemTime;

/// Who the daemon is; constant while it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The version of the program.
    pub version: String,
    /// The process that clients may know it by.
    pub pid: u32,
    /// When it started.
    pub since: SystemTime,
    /// This host's name.
    pub host: String,
    /// The directory that has `<id>/current.log` of every service.
    pub logs: PathBuf,
}
