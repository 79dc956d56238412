//! A shutdown: somebody asked the keeper for it, by a signal, or the herder.

use std::os::fd::AsFd;
use std::time::Duration;

use super::Keeper;
use crate::keeper::farewell::{self, Farewell};
use crate::keeper::slots::HerdEnd;
use crate::model::{Moment, RunId, Signal};
use crate::policy::INSISTS;
use crate::process::Whom;

/// While the herd is being ended, what has ended is not looked at for as long as this for each that lives: on two processors they
/// take that long at least.
const ONE_ENDS: Duration = Duration::from_micros(25);
/// But at most this long.
const LOOKS: Duration = Duration::from_millis(25);
/// Of so many it is then seen whether all have ended. As long as some of them do, the others are let alone for a part of that time.
const SAMPLE: usize = 16;
const PART: u32 = 4;

/// The end of the herd was asked for.
pub(super) struct Shutdown {
    pub(super) since: Moment,
    /// A herder has heard of it.
    pub(super) taken_over: bool,
    /// It has said so, and what it says from then on it has decided knowing that.
    pub(super) begun: bool,
    /// No herder has heard of it: the keeper ends the services itself.
    pub(super) own: Option<Farewell>,
}

impl Keeper {
    pub(super) fn ask_for_the_end(&mut self) {
        let (now, is_first) = (self.now(), self.shutdown.is_none());
        match &mut self.shutdown {
            None => self.shutdown = Some(Shutdown { since: now, taken_over: false, begun: false, own: None }),
            Some(Shutdown { since, own: Some(own), .. }) if now - *since >= INSISTS => own.hurry(now),
            Some(_) => {}
        }
        self.wish(|wishes| wishes.shutdown = true);
        if is_first && !self.is_left() {
            // Should this process be killed meanwhile, the herder knows why services end.
            self.speak();
            // Not waiting for it: to wake it takes as long as some ten services do to end.
            self.slots.ask_all();
        }
    }

    /// Whether there is nothing to be ended: the herd has ended, or its services run on.
    pub(super) fn is_left(&self) -> bool {
        self.left || self.over.is_some()
    }

    pub(super) fn herd_end(&self) -> HerdEnd {
        match &self.shutdown {
            None => HerdEnd::Never,
            Some(shutdown) if shutdown.begun => HerdEnd::Begun,
            Some(_) => HerdEnd::Asked,
        }
    }

    /// The herder ends the herd. If it does not come to an end with that, the next one is told of it.
    pub(super) fn taken_over(&mut self) {
        let now = self.now();
        self.shutdown.get_or_insert(Shutdown { since: now, taken_over: true, begun: false, own: None }).taken_over =
            true;
    }

    /// The herder goes about it, whoever asked for it.
    pub(super) fn begun(&mut self) {
        self.taken_over();
        self.shutdown.iter_mut().for_each(|shutdown| shutdown.begun = true);
    }

    /// Ends the services itself where no herder does it.
    pub(super) fn end_services(&mut self, now: Moment) {
        let is_left = self.is_left();
        let Some(shutdown) = &mut self.shutdown else { return };
        if shutdown.own.is_none() && !shutdown.taken_over && !is_left && now >= shutdown.since + farewell::PATIENCE {
            log::error!("no herder has taken over the shutdown: the keeper ends the services itself");
            let (own, signals) = Farewell::begin(&self.slots.close(), now);
            shutdown.own = Some(own);
            for (run, signal) in signals {
                if signal == Signal::CONT || self.slots.ask(run) {
                    self.slots.signal(run, signal, Whom::Main);
                }
            }
            self.watch.rest();
            self.kill_herder();
            return;
        }
        if let Some(own) = &mut shutdown.own {
            for (run, whom) in own.due(now) {
                // What one that has ended was allowed to leave behind is nobody's to end.
                if self.slots.lives(run) {
                    self.slots.signal(run, Signal::KILL, whom);
                }
            }
        }
    }
}

/// No signal is heard: services are ending.
pub(super) struct Deaf {
    /// Until then, or longer.
    pub(super) until: Moment,
    /// How much longer where they are still at it.
    again: Duration,
    /// Some of those that live, and how many of them have ended.
    sample: Vec<RunId>,
    ended: usize,
}

/// Of many that end at a time each would wake this process, and to see to one takes as long as it takes another one to end.
/// Nobody waits for one of them alone, so they are seen to together.
impl Keeper {
    pub(super) fn let_others_end(&mut self) {
        if self.shutdown.is_some() && self.over.is_none() {
            self.epoll.remove(self.signals.as_fd());
            let living = u32::try_from(self.slots.children()).unwrap_or(u32::MAX);
            let wait = ONE_ENDS.saturating_mul(living).min(LOOKS);
            let sample = self.slots.some_children(SAMPLE);
            self.deaf = Some(Deaf { until: self.now() + wait, again: wait / PART, sample, ended: 0 });
        }
    }

    pub(super) fn hear_again(&mut self, now: Moment) {
        let Some(deaf) = &mut self.deaf else { return };
        if self.over.is_none() {
            if now < deaf.until {
                return;
            }
            let ended = self.slots.ended_of(&deaf.sample);
            if std::mem::replace(&mut deaf.ended, ended) < ended && ended < deaf.sample.len() {
                deaf.until = now + deaf.again;
                return;
            }
        }
        match self.epoll.add_readable(self.signals.as_fd(), super::SIGNALS) {
            Ok(()) => self.deaf = None,
            // Without memory for that it is tried again.
            Err(_) => deaf.until = now + LOOKS,
        }
        // Those that have ended are seen before others are sent CONT.
        self.behind = true;
    }
}

impl Shutdown {
    /// When there is something to do; `is_left` where nothing is left to be ended.
    pub(super) fn deadline(&self, is_left: bool) -> Option<Moment> {
        match &self.own {
            Some(own) => Some(own.deadline()),
            None if self.taken_over || is_left => None,
            None => Some(self.since + farewell::PATIENCE),
        }
    }
}
