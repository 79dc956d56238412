//! The process that owns processes: what it must find again after its own death.
//!
//! Its slots lie in the run table, a file that is memory, so that a kill -9 at any moment loses no run; the evidence is
//! what a next keeper makes of it, together with the processes that there are. The keeper itself will call both.
//!
//! What never happens here: a decision about a service, a conf, a runtime. Nothing is signalled on the strength of a
//! number: a process is ours when its identity says so, and is left alone in any doubt.
#![expect(unused_imports, reason = "the keeper calls it")]
#![cfg_attr(not(test), expect(dead_code, reason = "the keeper calls it"))]

mod ending_word;
mod evidence;
mod run_table;

pub(crate) use evidence::{Evidence, examine};
pub(crate) use run_table::{Distrust, Found, Place, Record, RunTable, TableError};
