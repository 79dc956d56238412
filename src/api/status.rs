//! The document of `status --json` and `GET /v1/services`.

use serde::{Deserialize, Serialize};

/// All of the herd. Whoever needs less of each service than there is may read less of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HerdDocument<S = Vec<ServiceDocument>> {
    /// The version of this document: 1.
    pub version: u32,
    /// This host's name.
    pub host: String,
    /// The daemon itself.
    pub daemon: DaemonDocument,
    /// The services, by id.
    pub services: S,
    /// What keeps the daemon from knowing what should run (a conf directory that can't be read); absent where nothing does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// The daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonDocument {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started: RFC 3339 UTC with milliseconds.
    pub since: String,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDocument {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Its state; the names are those of `model::State`.
    pub state: String,
    /// `up` or `down`.
    pub wanted: String,
    /// One sentence that names the cause of the state.
    pub reason: String,
    /// When it entered the state: RFC 3339 UTC with milliseconds.
    pub since: String,
    /// The main process.
    pub pid: Option<u32>,
    /// The run id.
    pub run: Option<String>,
    /// How long the run has lived, in milliseconds.
    pub uptime_ms: Option<u64>,
    /// How often the daemon restarted it since it was loaded.
    pub restarts: u64,
    /// The restart window.
    pub window: WindowDocument,
    /// Milliseconds from now until it is started again, where that is planned.
    pub next_start_ms: Option<u64>,
    /// How its last run ended.
    pub last_exit: Option<ExitDocument>,
    /// The path of its conf file.
    pub conf: String,
    /// What is wrong with that file.
    pub conf_problems: Vec<ConfProblem>,
    /// How its tree of processes is held together.
    pub tree: TreeLevel,
    /// Its logs.
    pub logs: LogsDocument,
    /// What else is known of it: only where one service is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<DetailsDocument>,
}

/// What there is to know of one service that would be too much for all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DetailsDocument {
    /// How its last runs ended, newest first, at most five.
    pub exits: Vec<ExitDocument>,
    /// What the last of them wrote last, in at most ten lines of each stream.
    pub last_words: Vec<String>,
    /// How many bytes its output pipes hold at the moment: more while it floods.
    pub pipe_bytes: u64,
    /// Its main process and all that descends from it, each before its children.
    pub processes: Vec<ProcessDocument>,
}

/// A process of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessDocument {
    /// Its number.
    pub pid: u32,
    /// How many are between it and the main process: 0 is that itself.
    pub depth: usize,
    /// Its name, as `ps` has it.
    pub name: String,
    /// The memory that it has in use (resident), in bytes.
    pub memory_bytes: u64,
    /// The processors' time that it has used, in milliseconds.
    pub cpu_ms: u64,
}

/// The restart window: `count` restarts of at most `intensity` within `period_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowDocument {
    /// Restarts that are in the window now.
    pub count: u32,
    /// How many may be.
    pub intensity: u32,
    /// Its length in milliseconds.
    pub period_ms: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitDocument {
    /// When: RFC 3339 UTC with milliseconds.
    pub at: String,
    /// The exit code, where it exited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The signal's name without SIG, where one ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Whether it left a core dump.
    pub core: bool,
    /// One word for it; the names are those of `model::Cause`.
    pub cause: String,
    /// The step of the launch that failed, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Its error number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
}

/// A problem of a conf file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfProblem {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What is wrong and what was expected.
    pub message: String,
}

/// How the processes of a service are held together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TreeLevel {
    /// A cgroup of its own.
    Cgroup,
    /// The daemon adopts what its main process leaves behind.
    Subreaper,
    /// A process group of its own.
    Group,
    /// A way that a later version of the daemon knows.
    #[serde(other)]
    Unknown,
}

/// Counters of a service's logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsDocument {
    /// Bytes in its current log file.
    pub bytes: u64,
    /// Lines that were dropped.
    pub dropped: u64,
}
