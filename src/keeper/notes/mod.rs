//! The journal of notes: what must outlive the daemon when both of its processes are killed at once.
//!
//! The herder opens it at its start, reads what the last life left, and puts every service's note into it whenever that
//! changes; a thread writes (`writer.rs`), and only it touches the disk. The file is append-only, one line an entry
//! (`line.rs`), and is made anew when it has grown (`ledger.rs`, `file.rs`).
//!
//! What never happens here: a look into a note or a conf, which are bytes; a put that waits for a disk; memory for more than
//! the newest state of a service; a wake-up with nothing unwritten.

#[cfg(test)]
mod disks;
mod error;
mod file;
#[cfg(test)]
mod laws;
mod ledger;
mod line;
mod queue;
mod recall;
mod text;
mod writer;

pub(crate) use error::NotesError;
pub(crate) use line::Header;
pub(crate) use recall::{Kept, Recalled, recall};
pub(crate) use text::Text;
pub(crate) use writer::Notes;
