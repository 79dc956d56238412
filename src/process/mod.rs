//! The port between decisions and processes: what a launch is, what a spawner promises.

mod launch;
mod spawner;

pub use launch::{Credentials, Launch, Output, Sink};
pub use spawner::{Report, Reports, SignalError, Spawner, Whom};
