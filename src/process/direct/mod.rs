//! A spawner whose processes are children of the calling process: for embedding, and for the daemon as one process.
//!
//! One task ([`spawner`]) turns kernel events into changes of a table ([`table`]) of runs ([`run`]) and then tells what
//! they are. What never happens here: waiting for a child, a report from within a call, a signal by number.

mod run;
mod slots;
mod spawner;
mod table;

pub use spawner::{DirectSpawner, LAUNCH_LIMIT};
