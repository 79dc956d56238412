//! One actor for each service: a thin shell around the pure lifecycle.
//!
//! The Herder starts a [`ServiceActor`] for each conf and tells it what is wanted; the actor performs the lifecycle's
//! effects through the spawner and reports every change of its note to the Herder before it performs them. It owns its
//! process through a run id.
//!
//! What never happens here: a decision (that is `policy/`), waiting for a disk or a lookup (that is done on a thread that
//! may wait, and comes back as a message), a pid that is signalled.

mod actor;
mod context;
mod messages;

pub use crate::os::Clock;
pub use actor::ServiceActor;
pub use context::{Herd, RunNumbers, Terminating};
pub(crate) use messages::InstructTogether;
pub use messages::{Adjust, Disable, Instruct, News, Replace, ServiceNews};
