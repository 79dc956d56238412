//! One output of one service: its FIFO, the file that it goes to, and what becomes of it when nothing can be written.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::{memchr_iter, memrchr};

use super::trouble::{Do, Trouble};
use super::{
    Ending, Filesystem, Form, Limits, Line, LogError, LogFile, Rules, Scratch, Stamp, Stream, Tally, Turn, lines, raw,
    stamped,
};
use crate::model::{LogFormat, LogsSpec, OnFull, with_causes};
use crate::os::fifo;

/// How many turns one source has before others have theirs.
const TURNS: usize = 32;
/// How much one of them moves at most.
const MOST: usize = 1 << 20;
/// How much the pipe of a quiet service holds: a user has memory for a thousand pipes of 64 KiB, and not for more.
const SMALL: usize = 16 << 10;
/// What the kernel makes of a pipe by itself.
const USUAL: usize = 64 << 10;
/// And that of one that floods.
const LARGE: usize = 1 << 20;
/// How long a pipe stays large after the last flood.
const CALM: Duration = Duration::from_secs(5);
/// How many lines of a run that has ended are kept in memory, and of how many bytes at most.
const LAST_LINES: usize = 10;
const LAST_BYTES: u64 = 2 << 10;

/// What the sources of a thread have in common.
pub(super) struct Tools {
    pub(super) scratch: Scratch,
    pub(super) out: Vec<u8>,
    /// How many bytes large pipes may still take.
    pub(super) room: usize,
}

/// The present moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at: Instant,
    /// So long after 1970.
    pub(super) wall: Duration,
}

/// What came of the turns of a source.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// There is more to do, and others shall have their turn first.
    pub(super) again: bool,
    /// It has been emptied, and will be full again in no time.
    pub(super) floods: bool,
    /// When there is something to do without anything that comes.
    pub(super) due: Option<Instant>,
    /// Old files of this directory may be compressed.
    pub(super) rotated: Option<PathBuf>,
    pub(super) told: Option<Told>,
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing can be written: why, and what becomes of the output.
    Trouble(String),
    /// It can again; so many lines were dropped meanwhile.
    Over {
        /// Lines.
        dropped: u64,
    },
}

/// One output of one service.
pub(super) struct Source {
    fifo: OwnedFd,
    path: PathBuf,
    stream: Stream,
    file: LogFile<Filesystem>,
    spec: Arc<LogsSpec>,
    tally: Arc<Tally>,
    /// A run has ended since it was last idle: a last line without a newline is a whole one.
    over: bool,
    /// What the last run said last is to be remembered; and how much was written since the one before.
    remember: bool,
    said: u64,
    trouble: Option<Trouble>,
    /// Lines and bytes that were dropped since the last mark in the file, lines since the episode began, and why.
    dropped: (u64, u64),
    lost_in_episode: u64,
    why: String,
    size: usize,
    calm_at: Option<Instant>,
}

impl Source {
    /// The output with this FIFO, which is made where there is none.
    ///
    /// # Errors
    /// It can't be made or opened.
    pub(super) fn open(
        path: PathBuf,
        directory: PathBuf,
        stream: Stream,
        spec: Arc<LogsSpec>,
        tally: Arc<Tally>,
    ) -> io::Result<Self> {
        let fifo = match fifo::open_fifo(&path) {
            // Nobody has anything else there: it is the daemon's own directory.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput || error.raw_os_error() == Some(libc::ELOOP) => {
                std::fs::remove_file(&path)?;
                fifo::open_fifo(&path)?
            }
            opened => opened?,
        };
        let size = fifo::pipe_size(fifo.as_fd()).unwrap_or(LARGE);
        let file = LogFile::new(Filesystem, directory, stream, rules(&spec));
        let (over, trouble, dropped, lost_in_episode, why, calm_at) = (false, None, (0, 0), 0, String::new(), None);
        let (remember, said) = (false, 0);
        tally.resized(0, size);
        let mut source = Self {
            fifo,
            path,
            stream,
            file,
            spec,
            tally,
            over,
            remember,
            said,
            trouble,
            dropped,
            lost_in_episode,
            why,
            size,
            calm_at,
        };
        if size > SMALL {
            source.resize(SMALL);
        }
        Ok(source)
    }

    /// Whether the path still leads to this FIFO.
    pub(super) fn is_there(&self) -> bool {
        fifo::is_at(self.fifo.as_fd(), &self.path)
    }

    /// Follows this from now on.
    pub(super) fn follow(&mut self, spec: Arc<LogsSpec>) {
        self.file.follow(rules(&spec));
        self.spec = spec;
    }

    /// A run has ended.
    pub(super) fn ended(&mut self) {
        (self.over, self.remember) = (true, true);
    }

    pub(super) fn directory(&self) -> &Path {
        self.file.directory()
    }

    pub(super) fn number(&self) -> RawFd {
        self.fifo.as_raw_fd()
    }

    /// Removes the FIFO, of which nobody has any use any more.
    pub(super) fn remove(self) {
        // One that stays is used again when a service of this name comes back.
        let _ = std::fs::remove_file(&self.path);
    }

    /// Nobody reads it for some time: its service, if that runs on, can write more before it has to wait.
    pub(super) fn leave(&mut self) {
        if self.size < USUAL {
            self.resize(USUAL);
        }
    }

    /// Does what there is to do, for a while.
    pub(super) fn go(&mut self, tools: &mut Tools, now: Now) -> Pass {
        let mut pass = Pass::default();
        match self.trouble.map_or(Do::Write, |trouble| trouble.now(self.spec.on_full, now.at)) {
            Do::Wait => {}
            Do::Drop => self.discard(tools),
            Do::Write => match self.write(tools, now, &mut pass) {
                Ok(again) => {
                    pass.again = again;
                    self.is_well(&mut pass);
                }
                Err(error) => self.failed(&error, tools, now, &mut pass),
            },
        }
        if self.remember && !pass.again {
            self.remember = false;
            // What one run after the other wrote before this one has other last words.
            let said = std::mem::take(&mut self.said).min(LAST_BYTES);
            self.tally.set_last_words(self.stream, self.file.last(LAST_LINES, said));
        }
        let calm = self.be_calm(tools, now.at);
        // A pipe that was made smaller meanwhile is full sooner.
        pass.floods &= self.size >= LARGE;
        let aged = self.trouble.is_none().then(|| self.ages_at(now)).flatten();
        pass.due = self.trouble.map(|trouble| trouble.next()).into_iter().chain(calm).chain(aged).min();
        pass
    }

    /// True if there is more.
    fn write(&mut self, tools: &mut Tools, now: Now, pass: &mut Pass) -> Result<bool, LogError> {
        self.file.refresh()?;
        if self.dropped.0 > 0 {
            self.mark(now)?;
        }
        let mut all = 0;
        for _ in 0..TURNS {
            match self.turn(tools, now)? {
                Turn::Moved(bytes) => {
                    all += bytes;
                    self.moved(bytes, tools, now.at);
                }
                // Whatever comes later is told.
                Turn::Emptied(bytes) => {
                    self.moved(bytes, tools, now.at);
                    pass.floods = self.is_flood(all + bytes);
                    self.prune();
                    return Ok(false);
                }
                Turn::Rotated(_) => {
                    self.prune();
                    if self.spec.compress {
                        pass.rotated = Some(self.file.directory().to_owned());
                    }
                }
                Turn::Idle if self.is_stuck(tools, now.at)? => {}
                Turn::Idle => {
                    pass.floods = self.is_flood(all);
                    self.prune();
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether so much at a time is more to come, by far.
    fn is_flood(&self, bytes: usize) -> bool {
        self.size >= LARGE && bytes >= USUAL
    }

    fn moved(&mut self, bytes: usize, tools: &mut Tools, now: Instant) {
        self.wrote(bytes);
        if bytes > self.size / 2 {
            self.grow(tools, now);
        }
    }

    fn wrote(&mut self, bytes: usize) {
        self.tally.wrote(bytes);
        self.said += bytes as u64;
    }

    fn turn(&mut self, tools: &mut Tools, now: Now) -> Result<Turn, LogError> {
        let aged = self.file.size() > 0 && self.age(now.wall).is_some_and(|left| left.is_zero());
        let limits = Limits { max_size: self.spec.max_size, aged };
        let Tools { scratch, out, .. } = tools;
        let fifo = self.fifo.as_fd();
        match form(&self.spec, self.stream) {
            None => {
                self.over = false;
                raw::turn(&mut self.file, fifo, scratch, limits, MOST, now.wall)
            }
            Some(form) => {
                let ending = if self.over { Ending::Over } else { Ending::Open };
                let turn = stamped::turn(&mut self.file, fifo, scratch, form, ending, limits, now.wall, out)?;
                self.over &= turn != Turn::Idle;
                Ok(turn)
            }
        }
    }

    /// Whether the begin of a line is all that waits and nothing can follow it, since the pipe is full: first there is to be more
    /// room, and if there is none, it is written as a part of a line.
    fn is_stuck(&mut self, tools: &mut Tools, now: Instant) -> Result<bool, LogError> {
        let Some(form) = form(&self.spec, self.stream) else { return Ok(false) };
        let pipe = LogError::pipe("look at");
        if !fifo::is_full(self.fifo.as_fd()).map_err(pipe)? {
            return Ok(false);
        }
        if self.size < LARGE && self.grow(tools, now) {
            return Ok(false);
        }
        let (limits, wall) = (Limits { max_size: self.spec.max_size, aged: false }, super::wall_clock());
        let Tools { scratch, out, .. } = tools;
        let turn = stamped::turn(&mut self.file, self.fifo.as_fd(), scratch, form, Ending::Full, limits, wall, out)?;
        if let Turn::Moved(bytes) = turn {
            self.wrote(bytes);
        }
        Ok(turn != Turn::Idle)
    }

    /// Removes old files that are too many.
    fn prune(&mut self) {
        if let Err(error) = self.file.prune() {
            log::warn!("{}", with_causes(&error));
        }
    }

    /// Says in the file what is missing there.
    fn mark(&mut self, now: Now) -> Result<(), LogError> {
        let (lines, bytes) = self.dropped;
        let text = format!("[daemonherder: {lines} lines ({bytes} bytes) were dropped here: {}]\n", self.why);
        let mut mark = Vec::new();
        match form(&self.spec, self.stream) {
            Some(form) => {
                let stamp = Stamp::at(now.wall);
                lines::take(form, &stamp, text.as_bytes(), Ending::Over, lines::Room::OneLine, &mut mark);
            }
            None => {
                if matches!(self.file.line()?, Line::Open { .. }) {
                    mark.push(b'\n');
                }
                mark.extend_from_slice(text.as_bytes());
            }
        }
        if self.file.size() > 0 && self.file.size() + mark.len() as u64 > self.spec.max_size {
            self.file.rotate(now.wall)?;
        }
        self.file.write(&mark)?;
        self.dropped = (0, 0);
        Ok(())
    }

    fn failed(&mut self, error: &LogError, tools: &mut Tools, now: Now, pass: &mut Pass) {
        let on_full = self.spec.on_full;
        match &mut self.trouble {
            Some(trouble) => trouble.goes_on(on_full, now.at),
            None => {
                self.why = innermost(error);
                let becomes = match on_full {
                    OnFull::Drop => "its output is dropped",
                    OnFull::Block => "its output waits",
                };
                let trouble = format!("cannot {}: {becomes} until that is mended", with_causes(error));
                self.tally.set_trouble(Some(trouble.clone()));
                self.trouble = Some(Trouble::begin(on_full, now.at));
                pass.told = Some(Told::Trouble(trouble));
            }
        }
        if self.trouble.is_some_and(|trouble| trouble.now(on_full, now.at) == Do::Drop) {
            self.discard(tools);
        }
    }

    fn is_well(&mut self, pass: &mut Pass) {
        if self.trouble.take().is_some() {
            self.tally.set_trouble(None);
            let dropped = std::mem::take(&mut self.lost_in_episode);
            pass.told = Some(Told::Over { dropped });
        }
    }

    /// Drops whole lines, and counts them.
    fn discard(&mut self, tools: &mut Tools) {
        // An error is a pipe that is broken, and the next write will tell of it.
        while let Ok(seen) = tools.scratch.look(self.fifo.as_fd(), MOST) {
            let whole = memrchr(b'\n', seen).map_or(0, |newline| newline + 1);
            // The begin of a line waits for its rest, unless that has no room.
            let bytes = match whole {
                0 if seen.len() > self.size / 2 => seen.len(),
                whole => whole,
            };
            if bytes == 0 {
                return;
            }
            let lines = memchr_iter(b'\n', &seen[..bytes]).count().max(1) as u64;
            if tools.scratch.consume(self.fifo.as_fd(), bytes).is_err() {
                return;
            }
            self.dropped = (self.dropped.0 + lines, self.dropped.1 + bytes as u64);
            self.lost_in_episode += lines;
            self.tally.lost(lines);
        }
    }

    /// How long the file may still be written to; none where there is no limit.
    fn age(&self, wall: Duration) -> Option<Duration> {
        let (limit, made) = (self.spec.max_age?, self.file.made()?);
        Some((made + limit).saturating_sub(wall))
    }

    fn ages_at(&self, now: Now) -> Option<Instant> {
        self.age(now.wall).filter(|_| self.file.size() > 0).map(|left| now.at + left)
    }

    /// Makes the pipe of a service that floods a large one. True if it did.
    fn grow(&mut self, tools: &mut Tools, now: Instant) -> bool {
        self.calm_at = Some(now + CALM);
        if self.size >= LARGE || tools.room < LARGE {
            return false;
        }
        let before = self.size;
        self.resize(LARGE);
        tools.room -= if self.size > before { LARGE } else { 0 };
        self.size > before
    }

    /// Makes the pipe small again some time after the last flood; says when, until then.
    fn be_calm(&mut self, tools: &mut Tools, now: Instant) -> Option<Instant> {
        let calm_at = self.calm_at?;
        if now < calm_at {
            return Some(calm_at);
        }
        let before = self.size;
        self.resize(SMALL);
        if self.size == before && before > SMALL {
            // More waits than a small one holds.
            self.calm_at = Some(now + CALM);
            return self.calm_at;
        }
        tools.room += if before >= LARGE { LARGE } else { 0 };
        self.calm_at = None;
        None
    }

    fn resize(&mut self, size: usize) {
        // The user has no more memory for pipes, or more waits than that: then it stays as it is.
        if let Ok(size) = fifo::resize_pipe(self.fifo.as_fd(), size) {
            self.tally.resized(std::mem::replace(&mut self.size, size), size);
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.tally.resized(self.size, 0);
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }
}

fn rules(spec: &LogsSpec) -> Rules {
    Rules { stamped: spec.format != LogFormat::Raw, keep: spec.keep }
}

fn form(spec: &LogsSpec, stream: Stream) -> Option<Form> {
    match spec.format {
        LogFormat::Raw => None,
        LogFormat::Timestamped => Some(Form::Timestamped),
        LogFormat::Json => Some(Form::Json(stream)),
    }
}

/// What the system said.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
