//! The services' log files.
//!
//! The terminal's `logs` and the front read them: the last lines ([`Snapshot::last`]), and what comes after those
//! ([`Follow`], woken by [`Watch`]). Output is a stream of bytes that lies in several files, the old ones first; lines are
//! those of the stream, wherever a file ends.
//!
//! What never happens here: a service's bytes in a mailbox, a file opened through a symlink, a file read whole for the sake
//! of its end, a look at a file that nothing has happened to.

mod follow;
mod older;
mod reading;
mod tail;
mod watch;

pub(crate) use follow::{Follow, News};
pub(crate) use reading::{LogFiles, ReadError, Stream};
pub(crate) use tail::{Amount, Snapshot};
pub(crate) use watch::{Watch, Woken};
