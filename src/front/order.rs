//! A command to any number of services, and the wait for its result.
//!
//! One request has one subscription, one timer and no more, however many services it names.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::herd::{Herd, ask};
use super::refusal::Refusal;
use super::verdict::{Verdict, Watch};
use crate::api::{Candidate, SignalOptions, StartOptions, select};
use crate::bus::{Event, Missed, Subscription};
use crate::herder::{AwaitKept, Command, Order, Overview, SendSignal, ServiceStatus, Subscribe, Survey};
use crate::model::{Moment, ServiceId, Signal, State};

/// How long a run has to live by default before its start is a success.
const SETTLE: Duration = Duration::from_secs(1);
/// The longest time that it may be asked to live.
const LONGEST_SETTLE: Duration = Duration::from_secs(24 * 3600);

/// What became of each service that was named, in the order of the names.
pub(super) type Results = Vec<(ServiceId, Result<String, String>)>;

/// Gives the command to all services that the names mean, or to none, and waits for the results unless asked not to.
pub(super) async fn perform(
    herd: &Herd,
    order: Order,
    names: &[String],
    options: &StartOptions,
) -> Result<Results, Refusal> {
    let settle = options.settle_ms.map_or(SETTLE, Duration::from_millis);
    if settle > LONGEST_SETTLE {
        return Err(Refusal::BadRequest("settle_ms is longer than a day".to_owned()));
    }
    // Before the command, so that no event of its effect is missed; before the survey, so that none is between the two.
    let events = ask(&herd.subscribe, Subscribe).await?;
    let before = ask(&herd.survey, Survey).await?;
    let chosen = choose(names, &before)?;

    let mut wait = Wait::begin(order, settle, &chosen, before.at);
    let ids: Vec<_> = chosen.iter().filter(|status| status.state != State::Skipped).map(|one| one.id.clone()).collect();
    if !ids.is_empty() {
        ask(&herd.command, Command { ids, order }).await??;
    }
    if options.wait != Some(false) {
        wait.until_all_is_known(herd, events).await?;
        // What is answered is not forgotten when all processes of the daemon are killed a moment later.
        ask(&herd.kept, AwaitKept::default()).await?;
    }
    Ok(wait.results())
}

/// Sends a signal to all services that the names mean, or to none.
pub(super) async fn signal(herd: &Herd, names: &[String], options: &SignalOptions) -> Result<Results, Refusal> {
    let Some(signal) = &options.signal else {
        return Err(Refusal::BadRequest("no signal is named, expected {\"signal\": \"HUP\"}".to_owned()));
    };
    let signal: Signal = signal.parse().map_err(|error| Refusal::BadRequest(format!("{error}")))?;
    let overview = ask(&herd.survey, Survey).await?;
    let ids: Vec<_> = choose(names, &overview)?.into_iter().map(|status| status.id.clone()).collect();
    let tree = options.tree.unwrap_or_default();
    let without = ask(&herd.signal, SendSignal { ids: ids.clone(), signal, tree }).await??;
    let result = |id: ServiceId| {
        let done = if without.contains(&id) { Err("has no process".to_owned()) } else { Ok(format!("sent {signal}")) };
        (id, done)
    };
    Ok(ids.into_iter().map(result).collect())
}

/// The services that are meant. A glob does not mean services of other hosts, which can't be told anything.
fn choose<'a>(names: &[String], overview: &'a Overview) -> Result<Vec<&'a ServiceStatus>, Refusal> {
    let candidate =
        |status: &'a ServiceStatus| Candidate { id: status.id.as_str(), by_glob: status.state != State::Skipped };
    let candidates: Vec<_> = overview.services.iter().map(candidate).collect();
    let chosen = select(names, &candidates).map_err(Refusal::UnknownNames)?;
    Ok(chosen.into_iter().map(|index| &overview.services[index]).collect())
}

/// All services that are waited for.
struct Wait {
    watches: Vec<(ServiceId, Watch, Verdict)>,
    index: HashMap<ServiceId, usize>,
    pending: usize,
    /// When to look at which service; an entry that its service no longer has as its due moment counts for nothing.
    due: BinaryHeap<Reverse<(Moment, usize)>>,
    /// One instant on both clocks, to turn moments into timers.
    began: (Moment, Instant),
}

impl Wait {
    fn begin(order: Order, settle: Duration, chosen: &[&ServiceStatus], now: Moment) -> Self {
        let mut wait = Self {
            watches: Vec::with_capacity(chosen.len()),
            index: HashMap::with_capacity(chosen.len()),
            pending: chosen.len(),
            due: BinaryHeap::with_capacity(chosen.len()),
            began: (now, Instant::now()),
        };
        for (index, status) in chosen.iter().enumerate() {
            let (watch, verdict) = Watch::begin(order, settle, status, now);
            wait.index.insert(status.id.clone(), index);
            // Replaced at once; it only has to be pending for its verdict to be counted.
            wait.watches.push((status.id.clone(), watch, Verdict::Pending { due: now }));
            wait.note(index, verdict);
        }
        wait
    }

    /// Takes note of a verdict. The first one that is not pending is final.
    fn note(&mut self, index: usize, verdict: Verdict) {
        match verdict {
            Verdict::Pending { due } => self.due.push(Reverse((due, index))),
            Verdict::Done(_) | Verdict::Failed(_) => self.pending -= 1,
        }
        self.watches[index].2 = verdict;
    }

    fn is_pending(&self, index: usize) -> bool {
        matches!(self.watches[index].2, Verdict::Pending { .. })
    }

    async fn until_all_is_known(&mut self, herd: &Herd, mut events: Subscription) -> Result<(), Refusal> {
        while self.pending > 0 {
            let due = self.next_due();
            tokio::select! {
                // What has already happened comes before the end of a settle time: a death that is in the queue counts.
                biased;
                event = events.next() => match event {
                    Some(Ok(event)) => self.happened(&event),
                    Some(Err(Missed(_))) => self.surveyed(&ask(&herd.survey, Survey).await?),
                    None => return Err(Refusal::HerdGone),
                },
                () = sleep_until(self.began.1 + (due - self.began.0)) => self.passed(due),
            }
        }
        Ok(())
    }

    /// The earliest moment at which a verdict is due, old entries forgotten.
    fn next_due(&mut self) -> Moment {
        while let Some(Reverse((due, index))) = self.due.peek().copied() {
            if self.watches[index].2 == (Verdict::Pending { due }) {
                return due;
            }
            self.due.pop();
        }
        self.began.0
    }

    fn happened(&mut self, event: &Event) {
        // What was before the survey is in the survey.
        if event.at < self.began.0 {
            return;
        }
        if let Some(index) = self.index.get(&event.service).copied().filter(|index| self.is_pending(*index)) {
            let verdict = self.watches[index].1.happened(event.at, &event.what);
            self.note(index, verdict);
        }
    }

    fn surveyed(&mut self, overview: &Overview) {
        let statuses: HashMap<_, _> = overview.services.iter().map(|status| (&status.id, status)).collect();
        for index in 0..self.watches.len() {
            if self.is_pending(index) {
                let (id, watch, _) = &mut self.watches[index];
                let verdict = match statuses.get(id) {
                    Some(status) => watch.surveyed(status),
                    None => watch.happened(overview.at, &crate::bus::Happening::Removed),
                };
                self.note(index, verdict);
            }
        }
    }

    /// Asks everybody whose verdict is due at this moment.
    fn passed(&mut self, now: Moment) {
        while let Some(Reverse((due, index))) = self.due.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            self.due.pop();
            if self.watches[index].2 == (Verdict::Pending { due }) {
                let verdict = self.watches[index].1.at(now);
                self.note(index, verdict);
            }
        }
    }

    fn results(self) -> Results {
        let result = |verdict| match verdict {
            Verdict::Done(message) => Ok(message),
            Verdict::Failed(message) => Err(message),
            Verdict::Pending { .. } => Ok("ordered".to_owned()),
        };
        self.watches.into_iter().map(|(id, _, verdict)| (id, result(verdict))).collect()
    }
}
