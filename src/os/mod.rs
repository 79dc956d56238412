//! Linux, one aspect a file: the only room with `unsafe` code.
//!
//! Any room above may call it; each function is a thin, owned, safe form of a system call and says which one. What never
//! happens here: a decision, a retry that is not the system call's own, a name of this program's world.

pub(crate) mod peer;
pub(crate) mod terminal;
