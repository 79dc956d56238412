//! Linux: every system call that the other rooms need, one aspect a file.
//!
//! Every room imports from here, and this room from `model` at most. What never happens here: a decision about a
//! service.

pub(crate) mod account;
pub(crate) mod ownership;
