//! What a conf says, resolved: every default filled in, every text a value.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Limit, Resource, ServiceId, Signal};

/// One service as it should run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Who it is.
    pub id: ServiceId,
    /// A name for people; none where that is the id.
    pub name: Option<String>,
    /// Whether it is started without being asked for.
    pub enabled: bool,
    /// What concerns the process itself: a change here needs a new run.
    pub process: ProcessSpec,
    /// What happens when a run ends; mostly one for many services, as whatever is shared here.
    pub restart: Arc<RestartSpec>,
    /// How a run is ended.
    pub stop: StopSpec,
    /// How its output is kept.
    pub logs: Arc<LogsSpec>,
    /// The texts that say all this.
    pub origin: Origin,
}

/// The texts that a spec was lowered from; empty where it was made otherwise.
///
/// They say nothing that the rest of the spec does not say, so two specs do not differ by them: whitespace, order and
/// comments change nothing. They are what is kept of a conf over the end of the program that read it, since a later version
/// may resolve the same text to something else.
#[derive(Clone, Default)]
pub struct Origin {
    /// The conf.
    pub conf: Arc<str>,
    /// `herder.json`, empty where there was none.
    pub settings: Arc<str>,
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

impl fmt::Debug for Origin {
    /// Without the texts, which hold values of environment variables.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").finish_non_exhaustive()
    }
}

impl ServiceSpec {
    /// What a conf with nothing but `cmd` means: named like its id, enabled, run without arguments as the daemon's user in
    /// that user's home, started again for ever, its output in a file. These are the defaults of the conf format.
    pub fn new(id: ServiceId, cmd: impl Into<Arc<str>>) -> Self {
        Self {
            id,
            name: None,
            enabled: true,
            process: ProcessSpec {
                cmd: cmd.into(),
                args: Vec::new(),
                cwd: None,
                env: EnvChange::default(),
                env_file: None,
                user: None,
                group: None,
                umask: None,
                limits: BTreeMap::new(),
                stderr: StderrTo::Merge,
                output: LogTarget::File,
                cgroup: true,
            },
            restart: Arc::default(),
            stop: StopSpec { signal: Signal::TERM, timeout: Duration::from_secs(10), scope: StopScope::Tree },
            logs: Arc::default(),
            origin: Origin::default(),
        }
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.id.as_str())
    }
}

/// Everything that a running process can't be given afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSpec {
    /// The program: with a slash relative to `cwd`, without one looked up in the service's PATH.
    pub cmd: Arc<str>,
    /// Its arguments, without the program's own name.
    pub args: Vec<String>,
    /// The working directory; `None` is the home of the service's user.
    pub cwd: Option<Arc<str>>,
    /// The environment that confs give it: `env` of `herder.json`, then (after `env_file`) `env` of the conf.
    pub env: EnvChange,
    /// `KEY=value` lines that are read at every start.
    pub env_file: Option<Arc<str>>,
    /// Whom it runs as; `None` is the daemon's user.
    pub user: Option<Arc<str>>,
    /// Its primary group; `None` is the user's.
    pub group: Option<Arc<str>>,
    /// The file mode creation mask, 0 to 0o777; `None` is the daemon's.
    pub umask: Option<u32>,
    /// Resource limits that differ from the daemon's.
    pub limits: BTreeMap<Resource, Limit>,
    /// Where its standard error goes.
    pub stderr: StderrTo,
    /// Whether its output is kept at all.
    pub output: LogTarget,
    /// Whether it gets a cgroup where that is usable.
    pub cgroup: bool,
}

/// What is added to the baseline environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvChange {
    /// What all services of the herd are given, below `env_file`.
    pub herd: Arc<HerdEnv>,
    /// The service's own, above `env_file`; `None` removes one.
    pub service: BTreeMap<String, Option<String>>,
}

/// What a herd adds to the baseline environment of all its services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HerdEnv {
    /// Names of variables that the daemon passes on if it has them.
    pub inherit: Vec<String>,
    /// The herd's own, above those; `None` removes one.
    pub variables: BTreeMap<String, Option<String>>,
}

/// When an ended run is followed by another (OTP's restart types).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestartPolicy {
    /// Always: OTP's permanent.
    Always,
    /// After a failure: OTP's transient.
    OnFailure,
    /// Never: OTP's temporary.
    Never,
}

/// What happens to a service that exceeds its restart intensity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exceeded {
    /// Wait, then try again, for ever.
    Cooldown,
    /// Stay failed until told otherwise.
    Fail,
}

/// The restart rules of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RestartSpec {
    /// When a run is followed by another.
    pub policy: RestartPolicy,
    /// Exit codes that are no failure.
    pub success_codes: Vec<u8>,
    /// Waited before each restart.
    pub delay: Duration,
    /// How many restarts may fall into one window; 0 allows none.
    pub intensity: u32,
    /// The length of the window; never zero.
    pub period: Duration,
    /// What follows when there were more.
    pub exceeded: Exceeded,
    /// The first cool-down.
    pub cooldown: Duration,
    /// The longest cool-down; never below the first.
    pub max_cooldown: Duration,
}

impl Default for RestartSpec {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::Always,
            success_codes: vec![0],
            delay: Duration::ZERO,
            intensity: 5,
            period: Duration::from_secs(10),
            exceeded: Exceeded::Cooldown,
            cooldown: Duration::from_secs(10),
            max_cooldown: Duration::from_secs(5 * 60),
        }
    }
}

/// How a service is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSpec {
    /// What the main process is sent.
    pub signal: Signal,
    /// How long it has before KILL.
    pub timeout: Duration,
    /// What is ended with it.
    pub scope: StopScope,
}

/// What belongs to a service when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopScope {
    /// Its whole tree of processes.
    Tree,
    /// Its main process only.
    Main,
}

/// How a service's output is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogsSpec {
    /// What is put before each line.
    pub format: LogFormat,
    /// Bytes that a file may have before it is rotated; never zero.
    pub max_size: u64,
    /// How many old files are kept.
    pub keep: u32,
    /// A file is rotated at least this often.
    pub max_age: Option<Duration>,
    /// Old files are compressed.
    pub compress: bool,
    /// What happens when nothing can be written.
    pub on_full: OnFull,
}

impl Default for LogsSpec {
    fn default() -> Self {
        Self {
            format: LogFormat::Raw,
            max_size: 10 * 1024 * 1024,
            keep: 10,
            max_age: None,
            compress: false,
            on_full: OnFull::Drop,
        }
    }
}

/// Where standard error goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StderrTo {
    /// The same file as standard output, in order.
    Merge,
    /// A file of its own.
    Separate,
    /// Nowhere.
    Discard,
}

/// Where the output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogTarget {
    /// Files below `logs/<id>/`.
    File,
    /// `/dev/null`.
    Null,
}

/// The form of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// Exactly the bytes that were written.
    Raw,
    /// A time before each line.
    Timestamped,
    /// One JSON object a line.
    Json,
}

/// What happens when the log can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnFull {
    /// Wait a second, then drop whole lines, counted and marked.
    Drop,
    /// The bytes wait in the pipe, then the writer waits.
    Block,
}
