//! The terminal: the verbs, their arguments and how their results are shown.
//!
//! `main` calls it for every verb that is not the daemon itself. What never happens here: a call into an actor.

mod check;
mod schema;

pub use check::{CheckReport, CheckedFile, Standing, check};
pub use schema::schema;
