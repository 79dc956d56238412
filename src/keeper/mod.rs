//! The keeper: the process that owns the services' processes, and the herder's end of the line to it.
//!
//! The daemon's first process becomes the [`Keeper`]: it launches, signals, reaps and remembers what it is told to, starts
//! the herder as its child and again whenever that ends. The herder reaches it through its [`Client`], which is a
//! [`Spawner`](crate::process::Spawner) like any other. What they say to each other is in `wire`.
//!
//! What never happens here: a decision about a service (but for two reflexes while no herder works), a conf that is read,
//! a runtime or a wait in the keeper's own process.

mod client;
mod door;
mod ending_word;
mod evidence;
mod farewell;
mod frames;
mod handover;
mod herder;
mod heritage;
mod hex;
mod inherit;
mod leaves;
mod lines;
mod link;
mod notes;
mod preflight;
mod recover;
mod run;
mod run_table;
mod slots;
mod strays;
mod take_over;
mod trees;
mod watch;
mod wire;

pub(crate) use client::{Client, LISTENER, LOCK, SHELF, WITNESSES, Wish};
pub(crate) use handover::{BadHandover, Handover, Outcome};
pub(crate) use herder::HerderProgram;
pub(crate) use inherit::{Inheritance, Inherited, Line, LineError, inherit};
pub(crate) use notes::{Header, Notes};
pub(crate) use preflight::{Answer, STATE};
pub(crate) use run::{Arrival, Ended, Keeper, Parts};
pub(crate) use run_table::{RunTable, TableError};

#[cfg(test)]
mod laws;
