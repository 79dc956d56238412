//! Replacing the daemon's program.
//!
//! `POST /v1/upgrade` answers only where the upgrade fails while the present herder still lives: else the connection ends
//! without an answer. How it went is then told by `GET /v1/upgrade`, whose `last` has a higher `number` than before. The
//! socket stays the same over all of it, so that whoever connects again is answered once it is known.

use serde::{Deserialize, Serialize};

/// The body of `POST /v1/upgrade`; every field may be left out, and so may the whole body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpgradeOptions {
    /// The file of the new program, an absolute path. Default: what is now where the daemon's own program was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// The answer to `GET /v1/upgrade`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeDocument {
    /// The version of this document: 1.
    pub version: u32,
    /// The version of the program that runs.
    pub running: String,
    /// How the last upgrade went; null where there was none since the daemon's start.
    pub last: Option<UpgradeResult>,
}

/// How an upgrade went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeResult {
    /// Which one it was since the daemon's start, from 1 on.
    pub number: u64,
    /// The version before.
    pub from: String,
    /// The version of the file; empty where it did not come to say so.
    pub to: String,
    /// The file.
    pub path: String,
    /// Why the version before goes on; null where it does not.
    pub failed: Option<String>,
}
