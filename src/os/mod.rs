//! Linux: every system call that the crates in use do not offer safely, one aspect a file.
//!
//! The rooms above call it and see owned descriptors, values and error numbers. It is the only room with `unsafe`, each
//! block with its reason. What never happens here: a decision, a runtime, a log line, an allocation between clone and exec.

pub(crate) mod account;
mod alarm;
mod aside;
mod background;
pub(crate) mod cgroup;
mod child;
mod clock;
mod epoll;
mod exit_info;
pub(crate) mod fifo;
mod identity;
mod inotify;
mod launch;
mod limits;
mod mark;
mod memory;
pub(crate) mod ownership;
pub(crate) mod peer;
mod pidfd;
mod pipe;
mod raw;
mod role;
mod sealed;
mod shared_file;
mod shelf;
#[cfg(test)]
mod shell;
mod signals;
mod stack;
mod stat;
mod stock;
pub(crate) mod terminal;
pub(crate) mod tree;
mod unfinished;
mod witness;

pub(crate) use alarm::{Alarm, nap};
pub(crate) use aside::{LAUNCHES, OWN, aside};
pub(crate) use background::{leave_terminal, let_go_of_output, stay_behind};
pub use clock::Clock;
pub(crate) use epoll::{Epoll, Events};
#[cfg(test)]
pub(crate) use exit_info::exit_of;
pub(crate) use identity::{Identity, boot_id, find, open as open_process};
pub(crate) use inotify::{Awaited, Notifier, tells_changes};
pub(crate) use launch::{Flight, Ids, Landing, Order, OutputTo, Trace, launch};
pub(crate) use limits::{make_room_for_descriptors, open_files, raise_open_files};
pub(crate) use mark::service_in_environment;
pub(crate) use memory::{before_waiting, give_back_soon, keep_small};
pub(crate) use pidfd::{NotSent, Process, Remains};
pub(crate) use role::{
    Executable, FIRST_GIVEN, NOT_EXECUTED, Output, Unfit, become_role, given, name_process, raised, start_role,
};
pub(crate) use sealed::{seal, unseal};
pub(crate) use shared_file::{GRAIN, PidWord, SharedFile};
pub(crate) use shelf::Shelf;
pub(crate) use signals::{
    Ignored, Signals, Taken, ended_child, hold_signals, leave_signals_to_the_keeper, reap_stranger,
};
pub(crate) use stock::Stock;
pub(crate) use unfinished::{Claim, claim_of};
pub(crate) use witness::{Witness, Witnesses};
