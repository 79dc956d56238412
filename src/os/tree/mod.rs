//! The tree of a service without cgroups: who descends from whom, told by the kernel, and the net for what escapes.
//!
//! The keeper becomes the subreaper of everything below it: what outlives its parent becomes the keeper's own child and
//! is found there, whatever groups and sessions it has made ([`orphans`]). Before a service is killed its descendants are
//! collected and held ([`descendants`], [`kill_tree`]); to whom an orphan belongs is a function of values ([`attribute`]).
//!
//! What never happens here: a signal to a number. A process is held by a pidfd first, and proved to be the one that was
//! meant while it is held; one that ended meanwhile, and whoever got its number, is left alone.
#![expect(unused_imports, reason = "the keeper calls it")]
#![cfg_attr(not(test), expect(dead_code, reason = "the keeper calls it"))]

mod children;
mod kill;
mod kin;
mod mark;
mod orphan;
mod stat;

pub(crate) use children::become_subreaper;
pub(crate) use kill::{Cull, kill_tree};
pub(crate) use kin::{Kin, descendants, orphans};
pub(crate) use mark::limit_mark;
pub(crate) use orphan::{Known, Orphan, attribute};
pub(crate) use stat::Facts;

#[cfg(test)]
mod tests;
