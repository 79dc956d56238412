//! What the thread does.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Bell, Call, Outputs, Pipes, Word, fifo};
use crate::logs::source::{Now, Source, Tools};
use crate::logs::{Packer, Scratch, Stream, Tally, wall_clock};
use crate::model::{ServiceId, with_causes};
use crate::os::{self, Epoll, Events, Shelf};

const BELL: u64 = u64::MAX;
/// Half of what an unprivileged user may have in pipes where `/proc/sys/fs/pipe-user-pages-soft` can't be read.
const ROOM: usize = 32 << 20;
const PAGE: usize = 4096;
/// How long those that flood are left alone after their pipes were emptied. What comes meanwhile is taken at once: a wake-up and
/// a look for each 64 KiB of a flood take as long as to move them. A pipe of 1 MiB holds what comes in several times as long;
/// others wait no longer than this, and what a timer takes, for it.
const PORTION: Duration = Duration::from_micros(150);

pub(super) struct Work {
    state: PathBuf,
    shelf: Option<Shelf>,
    /// The mark of what this thread has put on the shelf.
    mark: u64,
    bell: Arc<Bell>,
    calls: Receiver<Call>,
    words: mpsc::UnboundedSender<Word>,
    epoll: Epoll,
    packer: Packer,
    tools: Tools,
    services: HashMap<ServiceId, Service>,
    sources: Vec<Option<(ServiceId, Source)>>,
    free: Vec<usize>,
    /// Sources that have something to do, each once.
    ready: VecDeque<usize>,
    is_ready: Vec<bool>,
    /// Sources that have something to do later.
    due: BTreeSet<(Instant, usize)>,
    due_at: HashMap<usize, Instant>,
    ending: bool,
}

/// Where a service's sources are.
struct Service {
    output: usize,
    errors: Option<usize>,
}

impl Work {
    pub(super) fn new(
        state: &Path,
        shelf: Option<Shelf>,
        bell: Arc<Bell>,
        calls: Receiver<Call>,
        words: mpsc::UnboundedSender<Word>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add_arrivals(bell.alarm.as_fd(), BELL)?;
        let scratch = Scratch::new().map_err(io::Error::other)?;
        Ok(Self {
            state: state.to_owned(),
            shelf,
            mark: fastrand::u64(..),
            bell,
            calls,
            words,
            epoll,
            packer: Packer::new(|error| log::warn!("{}", with_causes(&error))),
            tools: Tools { scratch, out: Vec::new(), room: room() },
            services: HashMap::new(),
            sources: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            is_ready: Vec::new(),
            due: BTreeSet::new(),
            due_at: HashMap::new(),
            ending: false,
        })
    }

    pub(super) fn run(mut self) {
        let mut events = Events::default();
        loop {
            let wait = if self.ready.is_empty() {
                self.due.first().map(|(due, _)| due.saturating_duration_since(Instant::now()))
            } else {
                Some(std::time::Duration::ZERO)
            };
            let mut rung = false;
            match self.epoll.wait(&mut events, wait) {
                Ok(happened) => {
                    for number in happened.collect::<smallvec::SmallVec<[u64; 16]>>() {
                        match number {
                            BELL => rung = true,
                            source => self.wake(source as usize),
                        }
                    }
                }
                Err(error) => {
                    log::error!("the services' output is not written any more: {error}");
                    return;
                }
            }
            if rung {
                self.take_calls();
            }
            let now = Now { at: Instant::now(), wall: wall_clock() };
            while let Some(&(due, source)) = self.due.first()
                && due <= now.at
            {
                self.due.pop_first();
                self.due_at.remove(&source);
                self.wake(source);
            }
            let mut floods = false;
            for source in std::mem::take(&mut self.ready) {
                self.is_ready[source] = false;
                floods |= self.go(source, now);
            }
            if floods && self.ready.is_empty() {
                os::nap(PORTION);
            }
            if self.ending && self.ready.is_empty() {
                self.sources.iter_mut().flatten().for_each(|(_, source)| source.leave());
                return;
            }
        }
    }

    fn wake(&mut self, source: usize) {
        if self.sources.get(source).is_some_and(Option::is_some) && !std::mem::replace(&mut self.is_ready[source], true)
        {
            self.ready.push_back(source);
        }
    }

    /// Has a source do what there is to do. True if it floods.
    fn go(&mut self, index: usize, now: Now) -> bool {
        let Some((service, source)) = self.sources.get_mut(index).and_then(Option::as_mut) else { return false };
        let pass = source.go(&mut self.tools, now);
        if let Some(told) = pass.told {
            let _ = self.words.send(Word::Told(service.clone(), told));
        }
        if let Some(directory) = pass.rotated {
            self.packer.look_after(&directory, true);
        }
        self.set_due(index, pass.due);
        if pass.again {
            self.wake(index);
        }
        pass.floods
    }

    fn set_due(&mut self, source: usize, due: Option<Instant>) {
        let before = match due {
            Some(due) => self.due_at.insert(source, due),
            None => self.due_at.remove(&source),
        };
        if before != due {
            before.map(|before| self.due.remove(&(before, source)));
            due.map(|due| self.due.insert((due, source)));
        }
    }

    fn take_calls(&mut self) {
        self.bell.heard();
        let (mut opened, mut removed) = (Vec::new(), false);
        while let Ok(call) = self.calls.try_recv() {
            match call {
                Call::Follow(service, outputs, tally) => {
                    let pipes = self.follow(&service, &outputs, &tally, &mut opened);
                    let _ = self.words.send(Word::Opened(service, pipes));
                }
                Call::Forget(service) => {
                    self.forget(&service);
                    removed = true;
                }
                Call::Ended(service) => {
                    let Some(Service { output, errors }) = self.services.get(&service) else { continue };
                    for source in [Some(*output), *errors].into_iter().flatten() {
                        if let Some((_, known)) = &mut self.sources[source] {
                            known.ended();
                        }
                        self.wake(source);
                    }
                }
                Call::Settle(service, told) => {
                    self.settle(&service);
                    // Whoever asked may have gone.
                    let _ = told.send(());
                }
                Call::Finish => {
                    self.wake_all();
                    self.ending = true;
                }
            }
        }
        self.shelve(&opened, removed);
    }

    /// Writes what waits of a service now; of one that floods, a part.
    fn settle(&mut self, service: &ServiceId) {
        let now = Now { at: Instant::now(), wall: wall_clock() };
        let known = self.services.get(service).map(|service| [Some(service.output), service.errors]);
        for source in known.into_iter().flatten().flatten() {
            self.go(source, now);
        }
    }

    fn wake_all(&mut self) {
        (0..self.sources.len()).for_each(|source| self.wake(source));
    }

    fn follow(
        &mut self,
        service: &ServiceId,
        outputs: &Outputs,
        tally: &Arc<Tally>,
        opened: &mut Vec<usize>,
    ) -> Result<Pipes, i32> {
        let known = self.services.remove(service);
        let output =
            self.open(service, Stream::Output, known.as_ref().map(|known| known.output), outputs, tally, opened)?;
        let errors = known.and_then(|known| known.errors);
        let errors = match (outputs.separate, errors) {
            (true, errors) => Some(self.open(service, Stream::Errors, errors, outputs, tally, opened)?),
            (false, errors) => {
                errors.into_iter().for_each(|errors| self.close(errors));
                None
            }
        };
        self.services.insert(service.clone(), Service { output, errors });
        let pipe = |stream| fifo(&self.state, service, stream);
        Ok(Pipes { output: pipe(Stream::Output), errors: errors.map(|_| pipe(Stream::Errors)) })
    }

    /// The place of a source, which is opened where it is not, or not any more.
    fn open(
        &mut self,
        service: &ServiceId,
        stream: Stream,
        known: Option<usize>,
        outputs: &Outputs,
        tally: &Arc<Tally>,
        opened: &mut Vec<usize>,
    ) -> Result<usize, i32> {
        if let Some(known) = known {
            match &mut self.sources[known] {
                Some((_, source)) if source.is_there() => {
                    source.follow(Arc::clone(&outputs.spec));
                    self.wake(known);
                    return Ok(known);
                }
                _ => self.close(known),
            }
        }
        let source = self.new_source(service, stream, outputs, tally);
        let source = source.map_err(|error| {
            log::error!("{service}: cannot make the pipe for its output: {error}");
            error.raw_os_error().unwrap_or(libc::EIO)
        })?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.sources.push(None);
            self.is_ready.push(false);
            self.sources.len() - 1
        });
        self.epoll
            .add_arrivals(source.as_fd(), index as u64)
            .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
        if outputs.spec.compress {
            // What a killed daemon left half done.
            self.packer.look_after(source.directory(), true);
        }
        self.sources[index] = Some((service.clone(), source));
        opened.push(index);
        // What waits there came before it was looked at.
        self.wake(index);
        Ok(index)
    }

    fn new_source(
        &self,
        service: &ServiceId,
        stream: Stream,
        outputs: &Outputs,
        tally: &Arc<Tally>,
    ) -> io::Result<Source> {
        let path = fifo(&self.state, service, stream);
        let directory = self.state.join("logs").join(service.as_str());
        let open = || {
            let (spec, tally) = (Arc::clone(&outputs.spec), Arc::clone(tally));
            Source::open(path.clone(), directory.clone(), stream, spec, tally)
        };
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let above = path.parent().unwrap_or(&path);
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(above)?;
                open()
            }
            opened => opened,
        }
    }

    /// Writes what is left, and removes the FIFOs.
    fn forget(&mut self, service: &ServiceId) {
        let Some(Service { output, errors }) = self.services.remove(service) else { return };
        for source in [Some(output), errors].into_iter().flatten() {
            self.close(source);
        }
    }

    fn close(&mut self, index: usize) {
        let now = Now { at: Instant::now(), wall: wall_clock() };
        if let Some((_, source)) = &mut self.sources[index] {
            source.ended();
        }
        self.go(index, now);
        self.set_due(index, None);
        if let Some((_, source)) = self.sources[index].take() {
            self.epoll.remove(source.as_fd());
            source.remove();
            self.free.push(index);
        }
    }

    /// Keeps the FIFOs where they outlive this process: those that are new besides the others, or all of them anew.
    fn shelve(&mut self, opened: &[usize], removed: bool) {
        let Some(shelf) = &self.shelf else { return };
        let number = |index: &usize| Some(self.sources.get(*index)?.as_ref()?.1.number());
        let all = || (0..self.sources.len()).collect::<Vec<_>>();
        let first = !opened.is_empty() && opened.len() == self.sources.len();
        let shelved = if removed || first {
            self.mark = self.mark.wrapping_add(1);
            let numbers: Vec<_> = all().iter().filter_map(number).collect();
            // What an earlier process has put there goes once all is there anew.
            shelf.put(&numbers, self.mark).and_then(|()| shelf.clear(Some(self.mark)))
        } else if opened.is_empty() {
            Ok(())
        } else {
            let numbers: Vec<_> = opened.iter().filter_map(number).collect();
            shelf.put(&numbers, self.mark).or_else(|_| {
                self.mark = self.mark.wrapping_add(1);
                let numbers: Vec<_> = all().iter().filter_map(number).collect();
                // Full of single ones: all of them in few messages take less room.
                shelf.clear(None).and_then(|()| shelf.put(&numbers, self.mark))
            })
        };
        if let Err(error) = shelved {
            log::warn!("should this process be killed, what a service has just written may be lost: {error}");
        }
    }
}

/// How much memory large pipes may take in all: half of what the user may have.
fn room() -> usize {
    let pages = std::fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").ok();
    pages.and_then(|pages| pages.trim().parse::<usize>().ok()).map_or(ROOM, |pages| match pages {
        0 => usize::MAX / 2,
        pages => pages * PAGE / 2,
    })
}
