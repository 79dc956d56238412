//! All that a keeper knows, as it leaves it to the program that takes its place in the process.
//!
//! The form crosses versions, in both directions: the next program may be newer or older, and this one goes on from the same
//! bytes where the next one does not get on. It is lines of JSON: a [`Head`], then a [`Slot`] for each service. A field is
//! never renamed, nor given another meaning; what is added has a default, and a reader passes over what it does not know.
//! Whatever can't be done so gets another `format`, and older programs refuse it before anything has happened.

use std::io;
use std::os::fd::RawFd;

use serde::{Deserialize, Serialize};

use super::hex;
use super::inherit::Inherited;
use super::slots;
use super::wire;
use crate::model::{Origin, RunId};

/// The form that this program writes, and the newest one that it reads.
const FORMAT: u32 = 1;

/// What is left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handover {
    pub(super) head: Head,
    pub(super) slots: Vec<Slot>,
}

/// The daemon itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(super) format: u32,
    /// How many slots follow.
    pub(super) slots: usize,
    /// Descriptors by their numbers, which are open in the next program: the control listener, the lock of the state
    /// directory, the file of the program that left this.
    pub(super) listener: RawFd,
    pub(super) lock: RawFd,
    pub(super) program: RawFd,
    /// Both ends of the shelf, where services' pipes are kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) shelf: Option<(RawFd, RawFd)>,
    /// As in [`wire::Welcome`].
    pub(super) since_ns: u64,
    pub(super) herd: u64,
    pub(super) next_run: u64,
    pub(super) open_files: Option<(Option<u64>, Option<u64>)>,
    /// How this upgrade went, if it goes well.
    pub(super) outcome: Outcome,
    /// Lines for the log that no herder was told: whether it is an error, and its text.
    #[serde(default)]
    pub(super) lines: Vec<(bool, String)>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(super) service: String,
    pub(super) stop: Option<wire::Stop>,
    #[serde(with = "hex")]
    pub(super) note: Vec<u8>,
    pub(super) conf: String,
    pub(super) settings: String,
    /// Whether its last run went into a leaf, and when that was, in ticks after boot.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) leaf: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) began: u64,
    pub(super) runs: Vec<Run>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A run whose end is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(super) herd: u64,
    pub(super) number: u64,
    /// Whether its tree ends with its main process.
    pub(super) tree: bool,
    /// The number of its process, until that is reaped.
    pub(super) pid: Option<i32>,
    /// A descriptor of its process, where that is somebody else's child.
    pub(super) pidfd: Option<RawFd>,
    /// The number of its process, once its program ran.
    pub(super) launched: Option<u32>,
    /// The stage at which its launch was given up.
    pub(super) overdue: Option<u8>,
    /// The stage that failed, and the error number.
    pub(super) failed: Option<(u8, i32)>,
    /// How it ended, once its process is reaped.
    pub(super) ended: Option<wire::Ending>,
}

/// How an upgrade went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Which one it was in the life of the daemon, from 1 on.
    pub(crate) number: u64,
    /// The version before.
    pub(crate) from: String,
    /// The version of the file; empty where it did not come to say so.
    pub(crate) to: String,
    /// The file.
    pub(crate) path: String,
    /// Why the version before goes on.
    pub(crate) failed: Option<String>,
}

/// What is read is not what a keeper leaves.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadHandover {
    /// It can't be read at all.
    #[error("what the present keeper leaves can't be read")]
    Read(#[from] io::Error),
    /// A later version wrote it.
    #[error("what the present keeper leaves has the form {0}, and this version knows forms up to {FORMAT}")]
    Later(u32),
    /// A line of it means nothing.
    #[error("line {line} of what the present keeper leaves is not understood")]
    Line {
        /// From 1.
        line: usize,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Some of it is missing.
    #[error("{found} of {announced} services are in what the present keeper leaves")]
    Torn {
        /// How many there should be.
        announced: usize,
        /// How many there are.
        found: usize,
    },
    /// A value of it means nothing.
    #[error("{service}: what the present keeper leaves holds a value that has no meaning")]
    Value {
        /// Whose.
        service: String,
    },
}

impl Handover {
    pub(super) fn new(head: Head, slots: Vec<Slot>) -> Self {
        Self { head: Head { format: FORMAT, slots: slots.len(), ..head }, slots }
    }

    /// The bytes of it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let line = |line: serde_json::Result<()>| line.expect("plain values are written to memory, which grows");
        line(serde_json::to_writer(&mut bytes, &self.head));
        for slot in &self.slots {
            bytes.push(b'\n');
            line(serde_json::to_writer(&mut bytes, slot));
        }
        bytes.push(b'\n');
        bytes
    }

    /// What bytes say.
    ///
    /// # Errors
    /// They are of a later form, or no such thing.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, BadHandover> {
        /// What is said in every form.
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let bad = |line: usize| move |source| BadHandover::Line { line: line + 1, source };
        let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate();
        let head = lines.next().map_or(&b""[..], |(_, line)| line);
        let Form { format } = serde_json::from_slice(head).map_err(bad(0))?;
        if format > FORMAT {
            return Err(BadHandover::Later(format));
        }
        let head: Head = serde_json::from_slice(head).map_err(bad(0))?;
        let slots: Vec<Slot> =
            lines.map(|(at, line)| serde_json::from_slice(line).map_err(bad(at))).collect::<Result<_, _>>()?;
        if slots.len() != head.slots {
            return Err(BadHandover::Torn { announced: head.slots, found: slots.len() });
        }
        Ok(Self { head, slots })
    }

    /// A number that shows that somebody has understood all of it: only of what every version understands alike.
    pub(super) fn digest(&self) -> u32 {
        let mut digest = crc32fast::Hasher::new();
        digest.update(&self.head.herd.to_le_bytes());
        digest.update(&self.head.next_run.to_le_bytes());
        for slot in &self.slots {
            for text in [slot.service.as_bytes(), &slot.note, slot.conf.as_bytes(), slot.settings.as_bytes()] {
                digest.update(&(text.len() as u64).to_le_bytes());
                digest.update(text);
            }
            for run in &slot.runs {
                digest.update(&run.number.to_le_bytes());
                digest.update(&run.pid.unwrap_or_default().to_le_bytes());
            }
        }
        digest.finalize()
    }

    /// The services as a herder will find them, once every value has a meaning.
    ///
    /// # Errors
    /// One has none.
    pub(crate) fn inherited(&self) -> Result<Vec<Inherited>, BadHandover> {
        let inherited = |slot: &Slot| {
            let bad = || BadHandover::Value { service: slot.service.clone() };
            slots::check(slot).map_err(|_| bad())?;
            Ok(Inherited {
                service: slot.service.parse().map_err(|_| bad())?,
                note: slot.note.clone(),
                origin: Origin { conf: slot.conf.as_str().into(), settings: slot.settings.as_str().into() },
                runs: slot.runs.iter().map(|run| RunId { herd: run.herd, number: run.number }).collect(),
                restarts: None,
                kept: !slot.note.is_empty(),
            })
        };
        self.slots.iter().map(inherited).collect()
    }

    /// The descriptors that the next program has to find.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let Head { listener, lock, program, shelf, .. } = self.head;
        let shelf = shelf.into_iter().flat_map(|(into, out)| [into, out]);
        let runs = self.slots.iter().flat_map(|slot| &slot.runs);
        runs.filter_map(|run| run.pidfd).chain([listener, lock, program]).chain(shelf).collect()
    }
}

#[cfg(test)]
mod tests;
