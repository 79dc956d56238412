//! The tree of a service without cgroups: who descends from whom, told by the kernel, and the net for what escapes.
//!
//! The keeper becomes the subreaper of everything below it: what outlives its parent becomes the keeper's own child and
//! is found there, whatever groups and sessions it has made ([`orphans`]). Before a service is killed its descendants are
//! collected and held (`descendants`, [`kill_tree`]); to whom an orphan belongs is a function of values ([`attribute`]).
//!
//! What escaped while an earlier keeper lived is nobody's child that this one could find. It is looked for among all
//! processes, by its mark ([`strays`]), and that only where an earlier keeper's run has ended.
//!
//! What never happens here: a signal to a number. A process is held by a pidfd first, and proved to be the one that was
//! meant while it is held; one that ended meanwhile, and whoever got its number, is left alone.

mod census;
mod children;
mod kill;
mod kin;
mod mark;
mod orphan;
mod stray;

pub(crate) use census::{Member, census};
pub(crate) use children::become_subreaper;
#[cfg(test)]
pub(crate) use kill::Cull;
pub(crate) use kill::kill_tree;
#[cfg(test)]
pub(crate) use kin::descendants;
pub(crate) use kin::{Kin, orphans};
pub(crate) use mark::limit_mark;
pub(super) use mark::{Locks, locks};
pub(crate) use orphan::{Known, Orphan, attribute};
pub(crate) use stray::{Stray, kill_strays, strays};

#[cfg(test)]
mod tests;
