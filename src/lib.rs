//! daemonherder: a process supervisor with Erlang's restart rules.

pub mod api;
pub mod bus;
pub mod conf;
pub mod herder;
pub mod model;
mod os;
pub mod process;
pub mod testing;
