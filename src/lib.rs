//! daemonherder: a process supervisor with Erlang's restart rules.
//!
//! A folder of small JSON confs says which programs must run on this machine, and they run, for ever. This crate is the
//! daemon, its command line, and a library: a program can embed a herd, watch it with actors of its own, launch processes
//! in a way of its own, and test all that without a process.
//!
//! - [`herder::Herder`] is the root actor: [`herder::Supervise`] gives it a service, [`herder::Survey`] asks what it does,
//!   [`herder::Subscribe`] gives the stream of [`bus::Event`]s.
//! - [`conf`] makes a [`model::ServiceSpec`] of the text of a conf; [`model::ServiceSpec::new`] begins one without a conf.
//! - [`process::Spawner`] is the port to processes, [`process::DirectSpawner`] makes real ones,
//!   [`testing::FakeSpawner`] makes none.
//! - [`policy`] is every decision, as functions of values.
//!
//! The programs in `examples/` show each of these at work; ARCHITECTURE.md shows the whole house.

pub mod api;
pub mod bus;
pub mod cli;
pub mod conf;
pub mod daemon;
pub mod front;
pub mod herder;
mod keeper;
mod logs;
pub mod model;
mod observe;
mod os;
pub mod policy;
pub mod process;
pub mod service;
pub mod testing;
