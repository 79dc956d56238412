//! What commands take and answer.

use serde::{Deserialize, Serialize};

use super::{ConfProblem, ServiceDocument};

/// The body of `start`, `stop` and `restart`; every field may be left out, and so may the whole body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartOptions {
    /// False: answer when the command has been taken, without its result. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<bool>,
    /// How long each run must have lived for a start to be a success, in milliseconds. Default 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_ms: Option<u64>,
}

/// The body of `signal`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalOptions {
    /// Which: `HUP`, `SIGHUP` or `"1"`. It has to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// True: to all processes of the service, and not only to its main one. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<bool>,
}

/// The body of `reload`; every field may be left out, and so may the whole body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadOptions {
    /// True: only say what would be done. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// True: services without a conf are stopped even if no conf is left at all. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
}

/// The body of `shutdown`; every field may be left out, and so may the whole body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShutdownOptions {
    /// True: the services run on, and the next daemon takes them over. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leave_services: Option<bool>,
}

/// The answer to a request that has been taken and whose effect is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The version of this document: 1.
    pub version: u32,
}

/// The answer to `start`, `stop` and `restart`: a result for each service that was named, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResults {
    /// The version of this document: 1.
    pub version: u32,
    /// The results.
    pub results: Vec<CommandResult>,
}

/// What a command did to one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// Which service.
    pub id: String,
    /// Whether the service is as the command asked for it.
    pub ok: bool,
    /// What happened, in a sentence.
    pub message: String,
    /// The service afterwards; null where it is gone.
    pub service: Option<ServiceDocument>,
    /// The last lines of its log, where it failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
}

/// The answer to `reload`: what was done, by service id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanDocument {
    /// The version of this document: 1.
    pub version: u32,
    /// Services that are new and were started.
    pub start: Vec<String>,
    /// Services that were stopped for want of a conf, or because they were disabled.
    pub stop: Vec<String>,
    /// Services whose process had to be replaced.
    pub restart: Vec<String>,
    /// Services whose rules changed without a new process.
    pub adjust: Vec<String>,
    /// Services of which nothing changed.
    pub unchanged: Vec<String>,
    /// Problems of files.
    pub problems: Vec<FileProblem>,
}

/// A problem and the file that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileProblem {
    /// The file.
    pub path: String,
    /// Where in it and what.
    #[serde(flatten)]
    pub problem: ConfProblem,
}
