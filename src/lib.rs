//! daemonherder: a process supervisor with Erlang's restart rules.

pub mod api;
pub mod bus;
pub mod cli;
pub mod conf;
pub mod front;
pub mod herder;
pub mod model;
pub(crate) mod os;
pub mod process;
