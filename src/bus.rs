//! The event bus: what happens in the herd, told to whoever listens.
//!
//! The Herder publishes, observers subscribe. The bus is bounded: the herd never waits for an observer; one that falls
//! behind is told how many events it missed ([`Missed`]) and goes on with the oldest that is still there.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use tokio::sync::broadcast;

use crate::model::{Death, Moment, RunId, ServiceId, State};

/// Something that happened to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Counted from 1 since the daemon started, without gaps.
    pub number: u64,
    /// When it was.
    pub at: Moment,
    /// Whom it happened to.
    pub service: ServiceId,
    /// What it was.
    pub what: Happening,
}

/// What can happen to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It entered a state, or a new run is in the same one.
    Entered {
        /// The state before; `None` where the service is new.
        from: Option<State>,
        /// The state now.
        state: State,
        /// One sentence that names the cause.
        reason: String,
        /// The run that lives.
        run: Option<RunId>,
        /// Its main process, for people.
        pid: Option<u32>,
        /// The end of a run that led here.
        death: Option<Death>,
    },
    /// Its rules changed without a new process.
    Adjusted,
    /// Its output can't be written.
    OutputStuck {
        /// Why, and what becomes of it: a sentence without its full stop.
        why: String,
    },
    /// Its output is written again.
    OutputGoesOn {
        /// Lines that were dropped meanwhile.
        dropped: u64,
    },
    /// Its actor panicked and was replaced; its process was not touched.
    ActorReplaced,
    /// Its conf is gone, and so is it.
    Removed,
}

/// What happened, in a sentence without its full stop.
impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entered { state, reason, pid: Some(pid), .. } => write!(f, "{state}, pid {pid}: {reason}"),
            Self::Entered { state, reason, pid: None, .. } => write!(f, "{state}: {reason}"),
            Self::Adjusted => f.write_str("adjusted to its changed conf, without a new process"),
            Self::OutputStuck { why } => f.write_str(why),
            Self::OutputGoesOn { dropped: 0 } => f.write_str("its output is written again"),
            Self::OutputGoesOn { dropped } => {
                write!(f, "its output is written again; {dropped} lines were dropped")
            }
            Self::ActorReplaced => f.write_str("its actor panicked and was replaced; its process goes on"),
            Self::Removed => f.write_str("removed, its conf is gone"),
        }
    }
}

/// How many events an observer may be behind before it misses some.
pub const CAPACITY: usize = 1024;

/// Where events are published.
#[derive(Debug)]
pub struct Bus {
    /// None once the herd has ended.
    sender: Option<broadcast::Sender<Arc<Event>>>,
    published: u64,
    past: VecDeque<Arc<Event>>,
}

/// How many events are remembered.
pub const HISTORY: usize = 256;

/// An observer's end of the bus.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Arc<Event>>,
    past: Vec<Arc<Event>>,
}

/// The observer was too slow: this many events are gone, the next one is the oldest that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("missed {0} events")]
pub struct Missed(pub u64);

impl Bus {
    /// A bus without observers.
    pub fn new() -> Self {
        Self { sender: Some(broadcast::Sender::new(CAPACITY)), published: 0, past: VecDeque::new() }
    }

    /// Tells all observers, and gives the event back for the caller's own use.
    pub fn publish(&mut self, at: Moment, service: ServiceId, what: Happening) -> Arc<Event> {
        self.published += 1;
        let event = Arc::new(Event { number: self.published, at, service, what });
        if self.past.len() == HISTORY {
            self.past.pop_front();
        }
        self.past.push_back(Arc::clone(&event));
        if let Some(sender) = &self.sender {
            // An error says that nobody listens, which is no failure.
            let _ = sender.send(Arc::clone(&event));
        }
        event
    }

    /// Every event from now on; none where the bus is closed.
    pub fn subscribe(&self) -> Subscription {
        let receiver = match &self.sender {
            Some(sender) => sender.subscribe(),
            None => broadcast::Sender::new(1).subscribe(),
        };
        Subscription { receiver, past: self.past.iter().cloned().collect() }
    }

    /// Tells all observers that they have heard the last event, once they have heard it.
    pub fn close(&mut self) {
        self.sender = None;
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}

impl Subscription {
    /// The last events before the subscription, oldest first: at most [`HISTORY`].
    pub fn past(&self) -> &[Arc<Event>] {
        &self.past
    }

    /// The next event, if there is one already; `None` also once the herd has ended.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn next_now(&mut self) -> Option<Result<Arc<Event>, Missed>> {
        match self.receiver.try_recv() {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(Err(Missed(missed))),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => None,
        }
    }

    /// The next event; `None` once the herd has ended. Cancel safe.
    ///
    /// # Errors
    /// The observer was too slow and missed some; the next call goes on after them.
    pub async fn next(&mut self) -> Option<Result<Arc<Event>, Missed>> {
        match self.receiver.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Err(Missed(missed))),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(bus: &mut Bus) -> u64 {
        bus.publish(Moment::BOOT, "a".parse().unwrap(), Happening::Removed).number
    }

    #[tokio::test]
    async fn a_slow_observer_is_told_how_much_it_missed() {
        let mut bus = Bus::new();
        let mut slow = bus.subscribe();
        for _ in 0..CAPACITY + 3 {
            event(&mut bus);
        }
        assert_eq!(slow.next().await, Some(Err(Missed(3))));
        assert_eq!(slow.next().await.unwrap().unwrap().number, 4);
    }

    #[tokio::test]
    async fn events_arrive_in_order_and_end_with_the_bus() {
        let mut bus = Bus::new();
        event(&mut bus);
        let mut late = bus.subscribe();
        event(&mut bus);
        event(&mut bus);
        drop(bus);
        assert_eq!(late.next().await.unwrap().unwrap().number, 2);
        assert_eq!(late.next().await.unwrap().unwrap().number, 3);
        assert_eq!(late.next().await, None);
    }

    #[tokio::test]
    async fn whoever_comes_late_finds_the_last_ones() {
        let mut bus = Bus::new();
        for _ in 0..HISTORY + 7 {
            event(&mut bus);
        }
        let mut late = bus.subscribe();
        let numbers: Vec<_> = late.past().iter().map(|event| event.number).collect();
        assert_eq!(numbers, (8..=HISTORY as u64 + 7).collect::<Vec<_>>());
        assert_eq!(late.next_now(), None);
        event(&mut bus);
        assert_eq!(late.next_now().unwrap().unwrap().number, HISTORY as u64 + 8);
        assert_eq!(late.past().len(), HISTORY);
    }

    #[tokio::test]
    async fn a_closed_bus_tells_what_it_has_and_nothing_more() {
        let mut bus = Bus::new();
        let mut early = bus.subscribe();
        event(&mut bus);
        bus.close();
        event(&mut bus);
        assert_eq!(early.next().await.unwrap().unwrap().number, 1);
        assert_eq!(early.next().await, None);
        assert_eq!(bus.subscribe().next().await, None);
    }
}
