//! The keeper itself: one loop that waits for signals, for its children, for what they do before they execute, and for
//! the herder.

mod children;
mod shutdown;
mod trial;
mod upgrade;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::door::{self, DOOR, Door};
use super::frames;
use super::handover::Outcome;
use super::herder::{HerderProcess, HerderProgram};
use super::lines;
use super::link::Link;
use super::run_table::{Found, RunTable};
use super::slots::Slots;
use super::take_over::take_over;
use super::trees::Trees;
use super::watch::{self, Due, Watch};
use super::wire::{Request, Welcome};
use crate::model::Moment;
use crate::os::{self, Epoll, Events, Shelf, Signals, Witnesses};
use crate::process::LAUNCH_LIMIT;
use crate::process::children::{EndBy, Table};

pub(crate) use trial::Arrival;

use shutdown::{Deaf, Shutdown};
use upgrade::Upgrade;

/// So many requests leave memory behind that is worth giving back.
const BURST: u32 = 200;
/// A burst is over when nothing has happened for so long.
const QUIET: Duration = Duration::from_millis(300);
const SIGNALS: u64 = u64::MAX;
const LINK: u64 = u64::MAX - 1;

/// What a keeper is made of.
pub(crate) struct Parts {
    /// How it makes herders.
    pub(crate) program: HerderProgram,
    /// The control listener, which outlives every herder.
    pub(crate) listener: OwnedFd,
    /// The lock of the state directory, by a number from 5 on: a launch holds it until it executes its program.
    pub(crate) lock: OwnedFd,
    /// What keeps the bytes in services' pipes while no herder lives.
    pub(crate) shelf: Shelf,
    /// The run table, and what an earlier keeper left in it.
    pub(crate) records: (RunTable, Found),
    /// The first part of its run ids.
    pub(crate) herd: u64,
    /// The first run number that no life has taken yet.
    pub(crate) next_run: u64,
    /// Since when the daemon runs, in nanoseconds of the wall clock.
    pub(crate) since_ns: u64,
    /// The open files that the daemon was started with.
    pub(crate) open_files: Option<crate::model::Limit>,
    /// The herd was being stopped when the last keeper went.
    pub(crate) ending: bool,
    /// Called once, when a herder answers for the first time.
    pub(crate) on_ready: Box<dyn FnOnce()>,
    /// What the program left that this one has taken the place of.
    pub(crate) arrival: Option<Rc<Arrival>>,
    /// What the herder held of the runs of an earlier keeper whose place this one has taken.
    pub(crate) witnesses: Witnesses,
}

/// The process that owns the services' processes.
pub(crate) struct Keeper {
    program: HerderProgram,
    door: Door,
    lock: Rc<OwnedFd>,
    shelf: Shelf,
    beginning: Welcome,
    on_ready: Option<Box<dyn FnOnce()>>,
    clock: fn() -> Moment,
    epoll: Rc<Epoll>,
    signals: Signals,
    slots: Slots,
    /// Children have ended, and what need not be done before others hear of it is not done yet.
    behind: bool,
    herder: Option<HerderProcess>,
    link: Option<Link>,
    watch: Watch,
    /// Requests since memory was last given back.
    requests: u32,
    shutdown: Option<Shutdown>,
    /// While the herd is being ended.
    deaf: Option<Deaf>,
    /// A herder has answered in this life.
    answered: bool,
    /// Since when the herd has ended: so does the keeper as soon as the herder has.
    over: Option<Moment>,
    /// Its services run on, for the next daemon to find.
    left: bool,
    /// The exit code of a first herder that could not begin.
    never_began: Option<u8>,
    /// What the program left that this one has taken the place of, until that is settled.
    arrival: Option<Rc<Arrival>>,
    /// Another program is about to take this one's place.
    upgrade: Option<Upgrade>,
    /// How the last upgrade went, and whether the herder knows.
    upgraded: Option<Outcome>,
    upgrade_told: bool,
}

/// How a keeper's life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The herd has ended.
    Done,
    /// The daemon has: its services run on.
    Left,
    /// The first herder could not begin, and there was nothing to keep: it has said why. This was its exit code.
    NeverBegan(u8),
}

impl Keeper {
    /// A keeper of what an earlier one left.
    ///
    /// # Errors
    /// No descriptor is left, or it can't be seen what still lives.
    pub(crate) fn new(parts: Parts, clock: fn() -> Moment) -> io::Result<Self> {
        lines::keep();
        if let Err(error) = os::tree::become_subreaper() {
            log::warn!("what leaves its group is not found when a service ends: {error}");
        }
        let Parts {
            program,
            listener,
            lock,
            shelf,
            records,
            herd,
            next_run,
            since_ns,
            open_files,
            ending,
            on_ready,
            arrival,
            witnesses,
        } = parts;
        let beginning = Welcome {
            pid: std::process::id(),
            since_ns,
            herd,
            next_run,
            answered: false,
            ending: false,
            open_files: open_files.map(|limit| (frames::bound(limit.soft), frames::bound(limit.hard))),
        };
        let (epoll, signals) = (Rc::new(Epoll::new()?), Signals::take()?);
        epoll.add_readable(signals.as_fd(), SIGNALS)?;
        let table = Table::new(Rc::clone(&epoll), EndBy::Sigchld, LAUNCH_LIMIT);
        let (lock, trees) = (Rc::new(lock), Trees::new(Rc::clone(&epoll), herd));
        let mut slots = Slots::new(table, records.0, trees, Rc::clone(&lock), next_run);
        match &arrival {
            Some(arrival) => arrival.unpack(&mut slots, records.1)?,
            None => take_over(records.1, &mut slots, herd, lock.as_fd(), &witnesses)?,
        }
        Ok(Self {
            upgraded: arrival.as_deref().map(Arrival::outcome),
            answered: arrival.is_some(),
            arrival,
            upgrade: None,
            upgrade_told: false,
            slots,
            behind: false,
            program,
            door: Door::new(listener.into(), Rc::clone(&epoll)),
            lock,
            shelf,
            beginning,
            on_ready: Some(on_ready),
            epoll,
            signals,
            herder: None,
            link: None,
            watch: Watch::new(clock()),
            shutdown: ending.then(|| Shutdown { since: clock(), taken_over: false, begun: false, own: None }),
            deaf: None,
            // What the start left is worth as much as what a burst does.
            requests: BURST,
            over: None,
            left: false,
            never_began: None,
            clock,
        })
    }

    /// The first run number that was not used.
    pub(crate) fn next_run(&self) -> u64 {
        self.slots.next_run()
    }

    /// Keeps until the herd has ended.
    ///
    /// # Errors
    /// The system does not let it wait any more.
    pub(crate) fn run(&mut self) -> io::Result<Ended> {
        let mut events = Events::default();
        self.arrive();
        loop {
            if !self.behind && self.deaf.is_none() {
                self.slots.wake_stopped();
            }
            self.expire();
            self.speak();
            if let Some(ended) = self.ended() {
                if ended == Ended::Done {
                    self.slots.dissolve();
                }
                return Ok(ended);
            }
            let epoll = Rc::clone(&self.epoll);
            // The herder's answer to an end is a launch, and that is waited for.
            let behind = std::mem::take(&mut self.behind);
            let wait = if behind { Some(Duration::ZERO) } else { self.wait() };
            let mut quiet = !behind;
            os::before_waiting();
            for number in epoll.wait(&mut events, wait)? {
                quiet = false;
                match number {
                    SIGNALS => {
                        self.take_signals();
                        self.let_others_end();
                    }
                    LINK => self.listen(),
                    DOOR => self.door.accept(),
                    client if door::is_client(client) => self.door.answer(client),
                    process => self.slots.happened(process),
                }
            }
            if behind {
                self.catch_up_with_children();
            }
            if quiet && self.is_after_burst() {
                self.slots.rest();
                os::give_back_soon();
                self.requests = 0;
            }
        }
    }

    /// Whether memory is to be given back once nothing happens. With nothing to give back there is no timer.
    fn is_after_burst(&self) -> bool {
        self.requests >= BURST
    }

    fn now(&self) -> Moment {
        (self.clock)()
    }

    /// How long there is nothing to do unless something happens.
    fn wait(&mut self) -> Option<Duration> {
        let now = self.now();
        let shutdown = self.shutdown.as_ref().and_then(|shutdown| shutdown.deadline(self.is_left()));
        let over = self.over.map(|since| since + watch::PATIENCE);
        let herder = self.watch.deadline().filter(|_| !self.leaves());
        let upgrade = self.upgrade.as_ref().map(Upgrade::deadline);
        let own = herder.into_iter().chain(upgrade).chain(shutdown).chain(self.door_opens()).chain(over);
        let own = own.chain(self.deaf.as_ref().map(|deaf| deaf.until));
        let own = own.min().map(|due| due - now);
        let launch = self.slots.next_deadline().map(|due| due.saturating_duration_since(Instant::now()));
        let tidy = self.is_after_burst().then_some(QUIET);
        own.into_iter().chain(launch).chain(tidy).min()
    }

    /// When the keeper answers clients itself.
    fn door_opens(&self) -> Option<Moment> {
        self.watch.hopeless().filter(|_| !self.door.is_open())
    }

    /// Does what is due.
    fn expire(&mut self) {
        self.slots.expire(Instant::now());
        let now = self.now();
        self.hear_again(now);
        self.end_services(now);
        if self.watch.hopeless().is_some_and(|at| at <= now) {
            self.door.open();
        }
        if self.over.is_some_and(|since| now >= since + watch::PATIENCE) {
            // It has said its last word, and does not end.
            self.over = Some(now);
            self.kill_herder();
        }
        self.go_on_with_upgrade(now);
        match self.watch.due(now) {
            Due::Nothing => {}
            Due::Start if self.leaves() => {}
            Due::Start => self.start_herder(now),
            Due::Kill => {
                log::error!("the herder has not listened for 10 seconds: it is replaced");
                self.kill_herder();
            }
        }
    }

    fn kill_herder(&mut self) {
        if let Some(herder) = &self.herder {
            herder.kill();
            self.watch.killed();
        }
    }

    fn start_herder(&mut self, now: Moment) {
        self.watch.started();
        if let Err(error) = self.try_start_herder() {
            log::error!("cannot make a herder: {error}");
            self.door.note(format!("cannot make its process: {error}"));
            if let Some(deaf) = self.herder.take() {
                deaf.kill();
            }
            self.watch.ended(now);
        }
    }

    fn try_start_herder(&mut self) -> io::Result<()> {
        let (herder, stream) = self.program.start(self.door.listener().as_fd(), self.lock.as_fd(), &self.shelf)?;
        self.herder = Some(herder);
        let mut link = Link::new(stream, &self.slots, self.welcome())?;
        self.epoll.add_changes(link.as_fd(), LINK)?;
        (self.upgrade_told, self.left) = (false, false);
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.begun = false;
            if shutdown.taken_over {
                // The one that knew of it has ended in the middle of it. Herders that end before they know of it do not make
                // the wait for one that does any longer.
                (shutdown.since, shutdown.taken_over) = ((self.clock)(), false);
            }
            link.wish(|wishes| wishes.shutdown = true);
        }
        self.link = Some(link);
        Ok(())
    }

    fn welcome(&self) -> Welcome {
        let (answered, ending) = (self.answered, self.shutdown.is_some());
        Welcome { next_run: self.slots.next_run(), answered, ending, ..self.beginning }
    }

    fn unlink(&mut self) {
        if let Some(link) = self.link.take() {
            self.epoll.remove(link.as_fd());
        }
    }

    fn wish(&mut self, change: impl FnOnce(&mut super::link::Wishes)) {
        if let Some(link) = &mut self.link {
            link.wish(change);
        }
    }

    /// Hears what the herder has to say.
    fn listen(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        let mut bad = None;
        let read = link.read(|request| {
            if let Err(error) = self.take(request) {
                bad = Some(error);
            }
        });
        let has_heard_all = link.is_told_all() && self.watch.has_heard_all();
        self.link = Some(link);
        if self.shutdown.is_some() && has_heard_all {
            self.taken_over();
        }
        match (read, bad) {
            (Ok(false), None) => {}
            (Ok(true), None) => {
                // It has nothing more to say. If it lives, it does so without a keeper, which is of no use to anybody.
                self.unlink();
                if self.over.is_none() {
                    self.kill_herder();
                }
            }
            (Err(error), _) => {
                log::error!("the herder says what it can't say: {error}; it is replaced");
                self.kill_herder();
            }
            (_, Some(error)) => {
                log::error!("the herder says what it can't say: {error}; it is replaced");
                self.kill_herder();
            }
        }
    }

    fn take(&mut self, request: Request) -> Result<(), frames::Meaningless> {
        self.requests = self.requests.saturating_add(1);
        match request {
            Request::Step(step) => self.slots.take(step, self.herd_end())?,
            Request::Signals(signals) => self.slots.signal_together(&signals)?,
            Request::Forget(service) => self.slots.forget(&service),
            Request::Heard(count) => self.watch.heard(count, self.now()),
            Request::Ready => {
                self.watch.ready();
                self.door.close();
                self.answered = true;
                if let Some(on_ready) = self.on_ready.take() {
                    on_ready();
                }
            }
            Request::Ending => self.begun(),
            Request::Leaving => self.left = true,
            Request::Over { left } => {
                (self.over, self.left) = (Some(self.now()), left);
                self.watch.rest();
            }
            Request::Upgrade(path) => self.begin_upgrade(path),
        }
        Ok(())
    }

    /// Tells the herder what there is to tell.
    fn speak(&mut self) {
        let now = self.now();
        if self.watch.is_killed() {
            // Nobody hears it any more; the next herder shall.
            return;
        }
        let Self { link: Some(link), slots, watch, upgraded, upgrade_told, .. } = self else { return };
        if let (Some(outcome), false) = (upgraded, std::mem::replace(upgrade_told, true)) {
            link.upgraded(outcome.clone());
        }
        link.write(slots, || watch.told(now));
    }

    fn ended(&self) -> Option<Ended> {
        let alone = self.herder.is_none();
        if let (true, Some(code)) = (alone, self.never_began) {
            return Some(Ended::NeverBegan(code));
        }
        if self.over.is_some() && alone {
            return Some(if self.left { Ended::Left } else { Ended::Done });
        }
        let own = self.shutdown.as_ref()?.own.as_ref()?;
        (alone && (self.slots.living().is_empty() || own.is_over(self.now()))).then_some(Ended::Done)
    }
}
