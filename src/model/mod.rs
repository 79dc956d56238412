//! Plain values that every other room speaks in: who a service is, what is wanted of it, how a run of it ended.
//!
//! Every room imports from here, and this room from none. What never happens here: I/O, a clock, a runtime, serde. A
//! value that has a rule (an id, a signal) can't be made without keeping it.

mod causes;
mod civil;
mod exit;
mod id;
mod limits;
mod moment;
mod net;
mod run;
mod signal;
mod spec;
mod state;

pub(crate) use causes::with_causes;
pub(crate) use civil::Civil;
pub use exit::{Cause, Death, Ending, LaunchError, Stage};
pub use id::{InvalidId, ServiceId};
pub use limits::{Bound, Limit, Resource};
pub use moment::Moment;
pub use net::Net;
pub use run::{InvalidRunId, RunId};
pub use signal::{InvalidSignal, Signal};
pub use spec::{
    EnvChange, Exceeded, HerdEnv, LogFormat, LogTarget, LogsSpec, OnFull, Origin, ProcessSpec, RestartPolicy,
    RestartSpec, ServiceSpec, StderrTo, StopScope, StopSpec,
};
pub use state::{State, Wanted};
