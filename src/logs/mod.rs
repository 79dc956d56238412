//! The services' log files: from the bytes that wait in a pipe to files that are rotated, compressed and never lose a line, and
//! from those files back to lines.
//!
//! The terminal's `logs` and the front read them: the last lines ([`Snapshot::last`]), and what comes after those
//! ([`Follow`], woken by [`Watch`]). Output is a stream of bytes that lies in several files, the old ones first; lines are
//! those of the stream, wherever a file ends. The thread of the streams, which comes next, will write them, with one
//! [`LogFile`] a stream; until then services write themselves.
//!
//! What never happens here: a service's bytes in a mailbox, a file opened through a symlink, a file read whole for the sake
//! of its end, a look at a file that nothing has happened to.

mod compress;
mod disk;
mod error;
mod file;
mod follow;
mod lines;
mod names;
mod older;
mod pump;
mod raw;
mod reading;
mod rotation;
mod scratch;
mod source;
mod stamped;
mod tail;
mod tally;
mod trouble;
mod watch;

#[cfg(test)]
mod disks;
#[cfg(test)]
mod laws;

pub(crate) use compress::Packer;
pub(crate) use disk::{Disk, Filesystem};
pub(crate) use error::LogError;
pub(crate) use file::{Line, LogFile, Rules};
pub(crate) use follow::{Follow, News};
pub(crate) use lines::{Ending, Form, Stamp};
pub(crate) use names::{Age, OldName, Packing, Stream};
pub(crate) use pump::{Outputs, Pipes, Pump, Word};
pub(crate) use raw::{Limits, Turn};
pub(crate) use reading::{LogFiles, ReadError};
pub(crate) use scratch::Scratch;
pub(crate) use source::Told;
pub(crate) use tail::{Amount, Snapshot};
pub(crate) use tally::Tally;
pub(crate) use watch::{Watch, Woken};

/// So long after 1970 it is.
fn wall_clock() -> std::time::Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}
