//! The port between decisions and processes: what a launch is, what a spawner promises, and two spawners.
//!
//! `service/` calls it; [`DirectSpawner`] makes children of the calling process, the fake one (`daemonherder::testing`)
//! makes none. A program may bring its own. What never happens here: a decision about restarts, a name looked up or a
//! file read while a launch is handed over (that is [`prepare()`]'s, on a thread that may wait).

pub(crate) mod children;
mod direct;
mod environment;
pub(crate) mod fake;
mod launch;
mod order;
mod prepare;
mod spawner;

pub use direct::{DirectSpawner, LAUNCH_LIMIT};
pub use environment::Baseline;
pub use launch::{Credentials, Launch, Memo, Output, Sink};
pub(crate) use order::order;
pub use prepare::{Place, prepare, takes_time};
pub use spawner::{Kept, Logged, Report, Reports, Spawner, Whom};
