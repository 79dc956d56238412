//! A spawner whose processes are children of the calling process: for embedding, and for tests with real children.
//!
//! One task ([`spawner`]) turns kernel events into changes of the table of children and then tells what they are. What
//! never happens here: waiting for a child, a report from within a call, a signal by number.

mod spawner;

pub use spawner::{DirectSpawner, LAUNCH_LIMIT};
