//! For tests of one's own actors: a spawner that makes no processes.
//!
//! Programs that bring observers or actors of their own use it in their tests, as the tests of this crate do. What never
//! happens here: a real process, a real clock.

pub use crate::process::fake::{Awkward, FakeSpawner, SentSignal, Whose};
