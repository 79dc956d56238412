//! Linux: every system call that the crates in use do not offer safely, one aspect a file.
//!
//! The rooms above call it and see owned descriptors, values and error numbers. It is the only room with `unsafe`, each
//! block with its reason. What never happens here: a decision, a runtime, a log line, an allocation between clone and exec.

pub(crate) mod account;
mod aside;
mod background;
pub(crate) mod cgroup;
mod child;
mod clock;
mod epoll;
mod launch;
mod limits;
mod memory;
pub(crate) mod ownership;
pub(crate) mod peer;
mod pidfd;
mod raw;
#[cfg(test)]
mod shell;
mod stack;
pub(crate) mod terminal;
pub(crate) mod tree;

pub(crate) use aside::{LAUNCHES, OWN, aside};
pub(crate) use background::{leave_terminal, let_go_of_output, stay_behind};
pub use clock::Clock;
pub(crate) use epoll::{Epoll, Events};
pub(crate) use launch::{Flight, Ids, Landing, Order, OutputTo, launch};
pub(crate) use limits::{open_files, raise_open_files};
pub(crate) use memory::{give_back, keep_small};
pub(crate) use pidfd::{NotSent, Process};
pub(crate) use stack::Stacks;
