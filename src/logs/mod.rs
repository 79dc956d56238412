//! The services' log files: from the bytes that wait in a pipe to files that are rotated, compressed and never lose a line.
//!
//! The thread of the streams calls it, with one [`LogFile`] a stream; the command line reads what it leaves. Raw bytes go
//! through [`raw`], lines that are stamped through [`stamped`].
//!
//! What never happens here: a byte in a mailbox, a wait for anything but the disk, a file opened through a symlink.
#![expect(dead_code, unused_imports, reason = "the pump, which comes next, calls it")]

mod compress;
mod disk;
mod error;
mod file;
mod lines;
mod names;
mod raw;
mod rotation;
mod scratch;
mod stamped;

#[cfg(test)]
mod disks;
#[cfg(test)]
mod laws;

pub(crate) use compress::Packer;
pub(crate) use disk::{Disk, Filesystem};
pub(crate) use error::LogError;
pub(crate) use file::{LogFile, Rules};
pub(crate) use lines::{Ending, Form, Stamp};
pub(crate) use names::{Age, ForeignName, OldName, Packing, Stream};
pub(crate) use raw::{Limits, Turn};
pub(crate) use scratch::Scratch;
