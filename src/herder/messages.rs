//! What the Herder can be told and asked.

use std::path::PathBuf;
use std::time::Duration;

use actix::Message;

use crate::bus::{Happening, Subscription};
use crate::conf::{Problem, Settings};
use crate::model::{Death, Moment, Net, RunId, ServiceId, ServiceSpec, Signal, State, Wanted};
use crate::process::Logged;

/// What is known of the herd right now.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Overview")]
pub struct Survey;

/// The answer to [`Survey`].
#[derive(Clone, Debug)]
pub struct Overview {
    /// When it was true.
    pub at: Moment,
    /// Every service, by id.
    pub services: Vec<ServiceStatus>,
    /// What keeps the herd from knowing what should run; empty where nothing does.
    pub problems: Vec<String>,
    /// The herd is being stopped, or has been.
    pub ending: bool,
}

/// All that is known of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Its id.
    pub id: ServiceId,
    /// Its name for people.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Its desired state.
    pub wanted: Wanted,
    /// One sentence that names the cause of the state.
    pub reason: String,
    /// When it entered the state.
    pub since: Moment,
    /// The run that lives or is being launched.
    pub run: Option<RunId>,
    /// Its main process, for people.
    pub pid: Option<u32>,
    /// When that began to run.
    pub running_since: Option<Moment>,
    /// How often it was restarted since it was loaded.
    pub restarts: u64,
    /// Restarts in the window at that moment.
    pub window_count: u32,
    /// Restarts that the window may hold.
    pub intensity: u32,
    /// The window's length.
    pub period: Duration,
    /// When it will be started again, where that is planned.
    pub next_start: Option<Moment>,
    /// How long it is given to stop.
    pub stop_timeout: Duration,
    /// How its last runs ended, newest first, at most five.
    pub deaths: Vec<Death>,
    /// By what its processes are found when it ends.
    pub net: Net,
    /// Figures of its output, and what is wrong with it; none where nobody but its own process writes it.
    pub logged: Option<Logged>,
    /// Its conf file; empty for a service that was not loaded from one.
    pub conf: PathBuf,
    /// What is wrong with that file.
    pub conf_problems: Vec<Problem>,
}

/// A signal to the processes of some services. All of them are known, or nothing is done. Answered with those that have no
/// process.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<ServiceId>, UnknownServices>")]
pub struct SendSignal {
    /// Whom.
    pub ids: Vec<ServiceId>,
    /// Which.
    pub signal: Signal,
    /// To all processes of each, and not only to the main one.
    pub tree: bool,
}

/// An operator's command to some services. All of them are known, or nothing is done.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), UnknownServices>")]
pub struct Command {
    /// Whom.
    pub ids: Vec<ServiceId>,
    /// What to do.
    pub order: Order,
}

/// What an operator can order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Start it if it does not run; ends a cool-down and a failure.
    Start,
    /// Stop it, and leave it stopped.
    Stop,
    /// Stop it if it runs, then start it.
    Restart,
}

/// There are no such services.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such service: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
pub struct UnknownServices(pub Vec<ServiceId>);

/// Read the confs again and do what they say.
#[derive(Clone, Copy, Debug, Default, Message)]
#[rtype(result = "Result<Applied, ReloadError>")]
pub struct Reload {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Services without a conf are stopped even if no conf is left at all.
    pub prune: bool,
}

/// What a [`Reload`] did, or would have done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// New, and started.
    pub start: Vec<ServiceId>,
    /// Without a conf, or disabled.
    pub stop: Vec<ServiceId>,
    /// Given a new process.
    pub restart: Vec<ServiceId>,
    /// Given new rules.
    pub adjust: Vec<ServiceId>,
    /// As they were.
    pub unchanged: Vec<ServiceId>,
    /// Problems by file.
    pub problems: Vec<(PathBuf, Problem)>,
}

/// Why the confs could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// The directory itself.
    #[error("{what}: {why}; nothing was changed")]
    Directory {
        /// What could not be done with it.
        what: String,
        /// Why, from the system.
        why: String,
    },
    /// The herd ends.
    #[error("the daemon is shutting down")]
    ShuttingDown,
    /// This herd was not loaded from a directory.
    #[error("this herd has no conf directory")]
    NoDirectory,
}

/// Take a service into the herd that no conf file tells of, or give one of that id another spec.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), HerdEnded>")]
pub struct Supervise(pub ServiceSpec);

/// Stop a service and take it out of the herd.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), UnknownServices>")]
pub struct Dismiss(pub ServiceId);

/// The herd is ending or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the herd is shutting down")]
pub struct HerdEnded;

/// The last settings without problems that were read.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Settings")]
pub struct GetSettings;

/// Wait until all that has happened by now holds over the end of every process of the daemon, and what some services have
/// written is in their files.
#[derive(Clone, Debug, Default, Message)]
#[rtype(result = "()")]
pub struct AwaitKept {
    /// Those services.
    pub output_of: Vec<ServiceId>,
}

/// Something has happened to a service's output.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct LogNews {
    /// Whose.
    pub(crate) id: ServiceId,
    /// What.
    pub(crate) what: Happening,
}

/// Wait until the herd has ended, whoever asked for it.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "End")]
pub struct AwaitEnd;

/// How a herd has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Its services were stopped.
    Stopped,
    /// Its services run on.
    Left,
}

/// Stop everything, then end the herd. Sent again a second or more later: kill everything.
#[derive(Clone, Copy, Debug, Default, Message)]
#[rtype(result = "()")]
pub struct Shutdown {
    /// End the herd without stopping anything. Only a spawner whose processes outlive it can give them back to another
    /// herd. Of a herd that is being stopped nothing is left.
    pub leave_services: bool,
}

/// Be told of every event from now on.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Subscription")]
pub struct Subscribe;
