//! Watchers of what happens: the journal for people, and the file that it goes to.
//!
//! The Herder hands every event to [`journal`]; `daemon/` points the lines at a terminal or at `daemon.log`. What never
//! happens here: a decision, or a write that a disk or a terminal could hold up (a thread of its own does that).

pub(crate) mod journal;
mod line_writer;
pub(crate) mod notes;
mod rotating;

pub(crate) use line_writer::{LineWriter, Target};
