//! What keeper and herder tell each other, and its form on the way.
//!
//! Both are of one build (a herder is always made from its keeper's own file), so the form needs no version. A frame is its
//! length and then its bytes; it is applied whole or not at all, wherever the stream is cut.

use std::ffi::CString;
use std::io::{self, Read};

use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::handover::Outcome;
use crate::model::RunId;

/// No frame is longer: an environment of the largest size that exec takes has room.
const LONGEST: usize = 64 << 20;
/// How much is read at a time.
const CHUNK: usize = 16 << 10;
const LENGTH: usize = size_of::<u32>();

/// What the herder tells the keeper.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// One step of a service, which is done whole or not at all.
    Step(Step),
    /// Send the main process of each run this signal, unless it was sent one in this way before.
    Signals(Vec<(Run, u8)>),
    /// A service has left the herd.
    Forget(String),
    /// So many frames have been heard since the connection was made.
    Heard(u64),
    /// The herder has taken over what runs, and answers.
    Ready,
    /// The herd is being ended, whoever asked for it: the next herder goes on with that.
    Ending,
    /// The herd is about to be over, with services that run on.
    Leaving,
    /// The herd has ended, and so shall the keeper: with nothing left, or with services that run on.
    Over { left: bool },
    /// Put the program of this file in the place of this one.
    Upgrade(String),
}

/// A step of a service: what is to be remembered, then what is to be done.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) service: String,
    pub(super) memo: Option<Memo>,
    pub(super) acts: Vec<Act>,
}

/// What is remembered of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memo {
    pub(super) stop: Stop,
    pub(super) note: Vec<u8>,
    /// Restarts so far, as the note has it.
    pub(super) restarts: u64,
    /// Whether it has a run that was not asked to end.
    pub(super) unasked: bool,
    /// The texts of its conf and of `herder.json`, where they are others than the last ones.
    pub(super) texts: Option<(String, String)>,
}

/// How a service is stopped where nobody is left to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stop {
    pub(super) signal: u8,
    pub(super) timeout_ns: u64,
    pub(super) tree: bool,
}

/// Something to do about a run.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Act {
    Acknowledge(Run),
    Launch(Box<Launch>),
    Signal { run: Run, signal: u8, tree: bool },
    Rescope { run: Run, tree: bool },
    Examine(Run),
}

/// A launch with everything spelled out.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Launch {
    pub(super) run: Run,
    pub(super) programs: Vec<CString>,
    pub(super) argv: Vec<CString>,
    pub(super) env: Vec<CString>,
    pub(super) cwd: CString,
    pub(super) ids: Option<(u32, u32, Vec<u32>)>,
    pub(super) umask: Option<u32>,
    /// The number of the resource, soft and hard, none being unlimited.
    pub(super) limits: Vec<(u8, Option<u64>, Option<u64>)>,
    pub(super) stdout: Sink,
    /// None: the same as stdout.
    pub(super) stderr: Option<Sink>,
    pub(super) cgroup: bool,
    pub(super) tree: bool,
}

/// Where an output stream goes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Sink {
    Null,
    File(CString),
    Fifo(CString),
}

/// What the keeper tells the herder.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Tell {
    /// One service as it is remembered. All of them come first.
    Slot(Slot),
    /// That was the last slot; from here on things are told as they happen.
    Welcome(Welcome),
    /// What became of a run.
    Report(Run, Report),
    /// Whether services get cgroups.
    Leaves(bool),
    /// Somebody asked the keeper for the end of the herd, by a signal.
    Shutdown,
    /// Somebody asked the keeper to read the confs, by a signal.
    Reload,
    /// Say that you have heard this.
    Ping,
    /// How the last upgrade went: before all else to a new herder, and when one has failed.
    Upgraded(Outcome),
    /// A line for the log, which the keeper does not write itself: a disk may hang.
    Line { error: bool, text: String },
}

/// A service as the keeper remembers it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) service: String,
    pub(super) note: Vec<u8>,
    pub(super) conf: String,
    pub(super) settings: String,
    /// Its runs whose ends are not acknowledged.
    pub(super) runs: Vec<Run>,
    /// Restarts when the last of them was launched, where that is known.
    pub(super) restarts: Option<u64>,
}

/// What a herder has to know of its keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) pid: u32,
    /// Since when the daemon runs, in nanoseconds of the wall clock.
    pub(super) since_ns: u64,
    pub(super) herd: u64,
    /// The first run number that is free.
    pub(super) next_run: u64,
    /// A herder has answered in this keeper's life.
    pub(super) answered: bool,
    /// The herd is being ended.
    pub(super) ending: bool,
    /// The open files that the daemon was started with, soft and hard, none being unlimited.
    pub(super) open_files: Option<(Option<u64>, Option<u64>)>,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    Launched { pid: u32 },
    Overdue { stage: u8 },
    Refused { uid: u32 },
    Examined { state: Option<char> },
    Ended(Ending),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    Exited(u8),
    Killed { signal: u8, core: bool },
    NotLaunched { stage: u8, errno: i32 },
    Lost,
    OomKilled,
}

/// A run id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) herd: u64,
    pub(super) number: u64,
}

/// The other side says what it can't say.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadFrame {
    /// Its length is none.
    #[error("a frame of {0} bytes was announced")]
    Length(usize),
    /// Its bytes mean nothing.
    #[error("a frame means nothing")]
    Meaning(#[from] postcard::Error),
}

/// Frames on their way out.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

/// Bytes on their way in, of which frames are made.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
    taken: usize,
}

impl Outgoing {
    /// Adds a frame.
    pub(super) fn push<T: Serialize>(&mut self, frame: &T) {
        let start = self.bytes.len();
        self.bytes.extend([0; LENGTH]);
        postcard::serialize_with_flavor(frame, Append(&mut self.bytes))
            .expect("a frame is made of plain values, and memory grows as it needs");
        let length = u32::try_from(self.bytes.len() - start - LENGTH).expect("a frame is far below 4 GiB");
        self.bytes[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
    }

    /// What is still to be sent.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// So many bytes more have been sent.
    pub(super) fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(CHUNK);
            self.sent = 0;
        }
    }
}

impl Incoming {
    /// Reads once; zero is the end of the stream.
    pub(super) fn read(&mut self, from: &mut impl Read) -> io::Result<usize> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let filled = self.bytes.len();
        self.bytes.resize(filled + CHUNK, 0);
        let result = from.read(&mut self.bytes[filled..]);
        self.bytes.truncate(filled + result.as_ref().copied().unwrap_or(0));
        result
    }

    /// The next whole frame.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, BadFrame> {
        let unread = &self.bytes[self.taken..];
        let Some(length) = unread.first_chunk().map(|bytes| u32::from_le_bytes(*bytes) as usize) else {
            return Ok(None);
        };
        if length == 0 || length > LONGEST {
            return Err(BadFrame::Length(length));
        }
        let Some(frame) = unread.get(LENGTH..LENGTH + length) else { return Ok(None) };
        let frame = postcard::from_bytes(frame)?;
        self.taken += LENGTH + length;
        Ok(Some(frame))
    }

    /// Gives memory back that a large burst took.
    pub(super) fn rest(&mut self) {
        if self.taken == self.bytes.len() {
            *self = Self::default();
        }
    }
}

/// Writes behind what is already there.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl From<RunId> for Run {
    fn from(RunId { herd, number }: RunId) -> Self {
        Self { herd, number }
    }
}

impl From<Run> for RunId {
    fn from(Run { herd, number }: Run) -> Self {
        Self { herd, number }
    }
}
