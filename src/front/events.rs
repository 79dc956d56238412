//! The stream of events, for any number of clients.
//!
//! One task hears the bus while there is a client, and writes each event once; what follows within a moment is one batch, and
//! clients share it. A client that does not read keeps nobody waiting and holds nothing but a few batches that others have
//! read; it is told how many events it has missed.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, sleep_until, timeout};

use super::document;
use super::herd::{Herd, ask};
use super::refusal::Refusal;
use super::wall_clock::WallClock;
use crate::api::MissedDocument;
use crate::bus::{Event, Subscription};
use crate::herder::Subscribe;

/// What happens within this time after a batch is the next one.
const PACE: Duration = Duration::from_millis(20);
/// How large a batch becomes.
const LARGEST: usize = 64 << 10;
/// How many batches a slow client may be behind.
const BEHIND: usize = 16;
/// So many clients may follow at a time: fewer than are let in, so that others can still ask for something.
const FOLLOWERS: usize = 256;
/// A client that hears nothing for so long is sent a comment: whether it is still there is known by that.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where clients come from, and the task that writes for all of them.
pub(super) struct Events {
    /// Tells the ids of this process from those of others.
    life: u32,
    fan: RefCell<Option<broadcast::Sender<Arc<Batch>>>>,
}

/// What a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// So many past events first, the newest ones; of those that came after `after` where that is said.
    pub(super) past: usize,
    /// The id of the last event that it has heard.
    pub(super) after: Option<String>,
    /// Whether it stays for what is to come.
    pub(super) follow: bool,
}

/// Events in a row, written.
struct Batch {
    /// The number of the first one.
    first: u64,
    /// Where each of them ends.
    ends: Vec<usize>,
    bytes: Bytes,
}

/// The body of an answer.
pub(super) struct EventStream {
    /// What is to be sent first.
    first: Option<Bytes>,
    /// None once nothing more comes.
    next: Option<Pin<Box<Next>>>,
}

/// What comes to what is to be sent, and to who goes on from there.
type Next = dyn Future<Output = Option<(Bytes, Listener)>>;

/// A client's place among the events.
struct Listener {
    batches: broadcast::Receiver<Arc<Batch>>,
    /// The number of the last event that it was told.
    told: u64,
}

impl Events {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self { life: fastrand::u32(..), fan: RefCell::new(None) })
    }

    /// What a client is to be sent.
    pub(super) async fn stream(
        self: &Rc<Self>,
        herd: &Herd,
        clock: WallClock,
        wish: &Wish,
    ) -> Result<EventStream, Refusal> {
        // Before the past is asked for: what comes between the two is told twice, and sorted out by its number.
        let batches = if wish.follow { Some(self.join(herd).await?) } else { None };
        let subscription = ask(&herd.subscribe, Subscribe).await?;
        let past = subscription.past();
        let newest = past.last().map_or(0, |event| event.number);
        let (after, missed) = self.place(wish, past);
        let told: Vec<_> = past.iter().filter(|event| event.number > after).collect();
        let mut first = missed.map(write_missed).unwrap_or_default();
        told.iter().for_each(|event| self.write(event, clock, &mut first));
        let first = Some(Bytes::from(first)).filter(|first| !first.is_empty());
        let next = batches.map(|batches| Listener { batches, told: newest }.next());
        Ok(EventStream { first, next: next.map(|next| Box::pin(next) as _) })
    }

    /// After which number a client begins, and what it is told of having missed.
    fn place(&self, wish: &Wish, past: &[Arc<Event>]) -> (u64, Option<MissedDocument>) {
        let newest = past.last().map_or(0, |event| event.number);
        let oldest = past.first().map_or(1, |event| event.number);
        let Some(after) = &wish.after else { return (newest.saturating_sub(wish.past as u64), None) };
        let known = after.split_once('-').and_then(|(life, number)| {
            let life = u32::from_str_radix(life, 16).ok()?;
            number.parse::<u64>().ok().filter(|_| life == self.life)
        });
        match known {
            Some(number) if number + 1 >= oldest => (number, None),
            Some(number) => (number, Some(MissedDocument { missed: Some(oldest - number - 1) })),
            None => (0, Some(MissedDocument { missed: None })),
        }
    }

    /// A place among those who are written for.
    async fn join(self: &Rc<Self>, herd: &Herd) -> Result<broadcast::Receiver<Arc<Batch>>, Refusal> {
        if let Some(fan) = &*self.fan.borrow() {
            let has_room = fan.receiver_count() < FOLLOWERS;
            return if has_room { Ok(fan.subscribe()) } else { Err(Refusal::TooManyFollowers { most: FOLLOWERS }) };
        }
        let subscription = ask(&herd.subscribe, Subscribe).await?;
        // Another client may have begun meanwhile.
        if let Some(fan) = &*self.fan.borrow() {
            return Ok(fan.subscribe());
        }
        let (fan, batches) = broadcast::channel(BEHIND);
        *self.fan.borrow_mut() = Some(fan);
        tokio::task::spawn_local(Rc::clone(self).serve(subscription));
        Ok(batches)
    }

    /// Writes for all clients, until there is none.
    async fn serve(self: Rc<Self>, mut subscription: Subscription) {
        let mut clock: Option<WallClock> = None;
        // One that was missed shows by the numbers.
        while let Some(event) = subscription.next().await {
            let mut batch = Unfinished::default();
            let mut event = event.ok();
            loop {
                if let Some(event) = event.take() {
                    let now = SystemTime::now();
                    let shown =
                        clock.map_or_else(|| WallClock::new(event.at, now), |clock| clock.refreshed(event.at, now));
                    clock = Some(shown);
                    if batch.ends.is_empty() {
                        batch.first = event.number;
                    } else if event.number != batch.first + batch.ends.len() as u64 {
                        self.send(std::mem::take(&mut batch));
                        batch.first = event.number;
                    }
                    self.write(&event, shown, &mut batch.bytes);
                    batch.ends.push(batch.bytes.len());
                }
                if batch.bytes.len() >= LARGEST {
                    break;
                }
                match subscription.next_now() {
                    Some(Ok(next)) => event = Some(next),
                    Some(Err(_)) => {}
                    None => break,
                }
            }
            self.send(batch);
            if self.is_alone() {
                break;
            }
            sleep_until(Instant::now() + PACE).await;
        }
        *self.fan.borrow_mut() = None;
    }

    /// Whether every client has gone.
    fn is_alone(&self) -> bool {
        self.fan.borrow().as_ref().is_none_or(|fan| fan.receiver_count() == 0)
    }

    fn send(&self, Unfinished { first, ends, bytes }: Unfinished) {
        if let (Some(fan), false) = (&*self.fan.borrow(), ends.is_empty()) {
            // An error says that nobody listens.
            let _ = fan.send(Arc::new(Batch { first, ends, bytes: bytes.into() }));
        }
    }

    fn write(&self, event: &Event, clock: WallClock, to: &mut Vec<u8>) {
        let document = document::event(event, clock, format!("{:08x}-{}", self.life, event.number));
        to.extend_from_slice(format!("id: {}\nevent: {}\ndata: ", document.id, document.event).as_bytes());
        // Strings and numbers can be written, and JSON has no line ends.
        let _ = serde_json::to_writer(&mut *to, &document);
        to.extend_from_slice(b"\n\n");
    }
}

/// A batch that is being written.
#[derive(Default)]
struct Unfinished {
    first: u64,
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

fn write_missed(missed: MissedDocument) -> Vec<u8> {
    let data = serde_json::to_string(&missed).unwrap_or_default();
    format!("event: missed\ndata: {data}\n\n").into_bytes()
}

impl Listener {
    /// What is to be sent next; none once there is nothing more.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            let bytes = match timeout(KEEP_ALIVE, self.batches.recv()).await {
                Err(_) => Bytes::from_static(b": there is nothing to tell\n\n"),
                Ok(Ok(batch)) => match self.take(&batch) {
                    Some(bytes) => bytes,
                    None => continue,
                },
                // The numbers of the next one tell how many that were.
                Ok(Err(RecvError::Lagged(_))) => continue,
                Ok(Err(RecvError::Closed)) => return None,
            };
            return Some((bytes, self));
        }
    }

    /// What of a batch is new.
    fn take(&mut self, batch: &Batch) -> Option<Bytes> {
        let next = batch.first + batch.ends.len() as u64;
        let known = usize::try_from((self.told + 1).saturating_sub(batch.first)).ok()?;
        let missed = batch.first.saturating_sub(self.told + 1);
        if known >= batch.ends.len() {
            return None;
        }
        self.told = next - 1;
        let from = known.checked_sub(1).and_then(|last| batch.ends.get(last)).copied().unwrap_or_default();
        let new = batch.bytes.slice(from..);
        if missed == 0 {
            return Some(new);
        }
        let mut bytes = write_missed(MissedDocument { missed: Some(missed) });
        bytes.extend_from_slice(&new);
        Some(bytes.into())
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let Poll::Ready(told) = next.as_mut().poll(context) else { return Poll::Pending };
        let (bytes, next) = told.unzip();
        self.next = next.map(|listener: Listener| Box::pin(listener.next()) as _);
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Happening;
    use crate::model::Moment;

    fn batch(first: u64, texts: &[&str]) -> Batch {
        let mut unfinished = Unfinished { first, ..Unfinished::default() };
        for text in texts {
            unfinished.bytes.extend_from_slice(text.as_bytes());
            unfinished.ends.push(unfinished.bytes.len());
        }
        Batch { first, ends: unfinished.ends, bytes: unfinished.bytes.into() }
    }

    fn listener(told: u64) -> Listener {
        Listener { batches: broadcast::channel(1).1, told }
    }

    #[test]
    fn a_listener_is_told_each_event_once_and_what_it_missed() {
        for (told, first, expected) in [
            (0, 1, Some("abc")),
            (1, 1, Some("bc")),
            (2, 1, Some("c")),
            (3, 1, None),
            (9, 1, None),
            (2, 3, Some("abc")),
            (2, 5, Some("event: missed\ndata: {\"missed\":2}\n\nabc")),
        ] {
            let mut listener = listener(told);
            let bytes = listener.take(&batch(first, &["a", "b", "c"]));
            assert_eq!(bytes.as_deref().map(|bytes| str::from_utf8(bytes).unwrap()), expected, "{told} {first}");
            assert_eq!(listener.told, told.max(first + 2));
        }
    }

    #[test]
    fn who_comes_back_goes_on_after_what_it_has_heard() {
        let events = Events { life: 0xab, fan: RefCell::new(None) };
        let event = |number| {
            let service = "web".parse().unwrap();
            Arc::new(Event { number, at: Moment::BOOT, service, what: Happening::Adjusted })
        };
        let past: Vec<_> = (5..=9).map(event).collect();
        let missed = |missed| Some(MissedDocument { missed });
        let place = |after: &str| {
            let after = Some(after.to_owned());
            events.place(&Wish { after, ..Wish::default() }, &past)
        };
        assert_eq!(place("000000ab-7"), (7, None));
        assert_eq!(place("000000ab-4"), (4, None));
        assert_eq!(place("000000ab-2"), (2, missed(Some(2))));
        assert_eq!(place("000000ac-7"), (0, missed(None)), "of an earlier process");
        for nothing in ["", "7", "000000ab-", "x-7"] {
            assert_eq!(place(nothing), (0, missed(None)), "{nothing:?}");
        }
        let begins = |past_events| events.place(&Wish { past: past_events, ..Wish::default() }, &past).0;
        assert_eq!([0, 1, 3, 100].map(begins), [9, 8, 6, 0]);
    }
}
