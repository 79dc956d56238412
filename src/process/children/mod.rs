//! The children of this process: the runs that are not acknowledged, and what the kernel says of them.
//!
//! The direct spawner ([`super::DirectSpawner`]) and the keeper own one [`Table`] each and feed it what their loops learn.
//! What never happens here: waiting, a thread, a runtime, a decision.

mod run;
mod slots;
mod table;

pub(crate) use table::{Carried, CarriedLife, EndBy, Table};
