//! What a service actor is told, and what it tells.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use tokio::sync::oneshot;

use crate::model::{Death, LaunchError, RunId, ServiceId, ServiceSpec, State};
use crate::policy::{Input, Lifecycle};
use crate::process::{Launch, Report};

/// Feed this to the lifecycle: a wish of the parent, or its verdict.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Instruct(pub Input);

/// As [`Instruct`], to many: `heard` is dropped once the last of them has done what follows, or never will.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct InstructTogether {
    pub(crate) input: Input,
    pub(crate) heard: Arc<oneshot::Sender<()>>,
}

/// New rules for the living process.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Adjust(pub Arc<ServiceSpec>);

/// New rules, and the wish that it does not run: its conf is disabled now.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Disable(pub Arc<ServiceSpec>);

/// A new spec that needs a new process.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Replace(pub Arc<ServiceSpec>);

/// The spawner's report on a run.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Reported {
    pub(super) run: RunId,
    pub(super) report: Report,
}

/// A launch has been prepared on another thread.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Prepared {
    pub(super) run: RunId,
    pub(super) launch: Result<Launch, LaunchError>,
}

/// What a service actor tells its parent.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ServiceNews {
    /// Who tells it.
    pub id: ServiceId,
    /// What it is.
    pub news: News,
}

/// The news of a service.
#[derive(Clone, Debug)]
pub enum News {
    /// Its lifecycle is a new one; told before any of the effects exist.
    Changed {
        /// The lifecycle now.
        life: Arc<Lifecycle>,
        /// The spec that it follows.
        spec: Arc<ServiceSpec>,
        /// The state before.
        from: State,
        /// The end of a run that led here.
        death: Option<Death>,
    },
    /// It exceeded its restart intensity and waits for [`Input::Verdict`].
    Exceeded {
        /// The cool-down that would follow, without jitter.
        wait: Duration,
    },
    /// Its conf is gone and so is its process: nothing is left of it.
    Gone,
    /// Its actor panicked. Its process was not touched.
    Panicked,
}
