//! cgroup v2 (cgroups(7)): a leaf for each service, so that its whole tree can be ended at once.
//!
//! The keeper opens the herd's [`Place`] once, which proves that it is usable, launches into a [`Leaf`] per service, and
//! ends what is in there by one write. A process leaves its leaf only if somebody with rights over both cgroups moves it.
//!
//! What never happens here: a cgroup made below a unit that somebody else manages, a process moved, a limit set. No
//! descriptor is kept but that of the place: each open one makes every clone slower.

mod leaf;
mod mounts;
mod place;
mod spot;
mod trial;
mod unusable;

pub(crate) use leaf::{Leaf, Occupancy};
pub(crate) use place::Place;
pub(crate) use spot::SUBGROUP;
