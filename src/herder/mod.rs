//! The root of the supervision tree.
//!
//! The [`Herder`] holds the roster (every service, its actor and its last known state), reads the confs, applies the plan,
//! judges services that exceeded their restart intensity, replaces actors that panicked, publishes events, and ends the
//! herd in order. `daemon/` starts it; a program that embeds a herd does the same; `front/` sends it messages.
//!
//! What never happens here: a handler that waits (confs are read on a thread that may), a process that is touched, a
//! second way to start or recover a service beside the plan.

mod actor;
mod apply;
mod farewell;
mod inherit;
mod live;
mod load;
mod messages;
mod news;
mod roster;

pub use actor::Herder;
pub(crate) use inherit::{TakeOver, understand};
pub use load::Confs;
pub(crate) use messages::LogNews;
pub use messages::{
    Applied, AwaitEnd, AwaitKept, Command, Dismiss, End, GetSettings, HerdEnded, Order, Overview, Reload, ReloadError,
    SendSignal, ServiceStatus, Shutdown, Subscribe, Supervise, Survey, UnknownServices,
};
