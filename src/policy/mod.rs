//! Decisions as functions of values: when a service is restarted, how long it cools down, how it is stopped, and what a
//! new set of confs changes.
//!
//! `service/` drives a [`Lifecycle`], `herder/` asks for a [`plan`](plan()) and a [`Verdict`]. What never happens here: a clock, a
//! random number, a runtime, the system. Time and chance are arguments.

mod cooldown;
mod farewell;
mod lifecycle;
mod note;
mod note_bytes;
mod outcome;
mod plan;
mod reason;
mod runs;
mod window;
mod wishes;

pub use cooldown::{Verdict, next_wait, verdict};
pub use farewell::INSISTS;
pub use lifecycle::{Effect, Effects, Input, KILL_PATIENCE, Lifecycle, Rules};
pub use note::{Because, Note, Obstacle, Phase, Rung, Then};
pub use note_bytes::BadNote;
pub use plan::{Action, Present, may_remove, plan};
pub use window::Window;
