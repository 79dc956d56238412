//! What the two processes say to each other, wherever the line is cut and whoever dies when.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use super::evidence::Evidence;
use super::link::Link;
use super::run_table::{Record, RunTable};
use super::slots::Slots;
use super::trees::Trees;
use super::wire::{Act, Incoming, Memo, Outgoing, Report, Request, Run, Slot, Step, Stop, Tell, Welcome};
use crate::model::{Ending, RunId, StopScope};
use crate::os::Epoll;
use crate::process::LAUNCH_LIMIT;
use crate::process::children::{EndBy, Table};

const BOOT: [u8; 16] = *b"boot of the test";
const HERD: u64 = 0xab;

/// A stream of which each read gives one piece.
struct Pieces<'p>(std::slice::Iter<'p, Vec<u8>>);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(piece) = self.0.next() else { return Ok(0) };
        buffer[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    }
}

fn request() -> impl Strategy<Value = Request> {
    let stop = Stop { signal: 15, timeout_ns: 1, tree: true };
    let texts = proptest::option::of((".{0,40}", ".{0,4}"));
    let memo = (vec(any::<u8>(), 0..300), any::<bool>(), texts).prop_map(move |(note, unasked, texts)| Memo {
        stop,
        note,
        restarts: 0,
        unasked,
        texts,
    });
    let acts = vec(any::<u64>().prop_map(|number| Act::Acknowledge(Run { herd: HERD, number })), 0..4);
    let step = ("[a-z]{1,9}", proptest::option::of(memo), acts);
    prop_oneof![
        step.prop_map(|(service, memo, acts)| Request::Step(Step { service, memo, acts })),
        prop::collection::vec((any::<(u64, u64)>(), any::<u8>()), 0..5).prop_map(|signals| {
            Request::Signals(
                signals.into_iter().map(|((herd, number), signal)| (Run { herd, number }, signal)).collect(),
            )
        }),
        "[a-z]{1,9}".prop_map(Request::Forget),
        any::<u64>().prop_map(Request::Heard),
        any::<bool>().prop_map(|left| Request::Over { left }),
        any::<bool>().prop_map(|leaves| if leaves { Request::Leaving } else { Request::Ending }),
    ]
}

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// A run of this service ends.
    Exit(u8),
    /// The keeper says what there is room for, and so much of it arrives before anything else happens.
    Tell(usize),
    /// The herder says so much of what it has to say, whole frames or not.
    Say(usize),
    /// The keeper hears what has arrived.
    Hear,
    /// The herder is killed, and another one takes its place.
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Event::Exit),
        3 => (1..200_usize).prop_map(Event::Tell),
        3 => (1..200_usize).prop_map(Event::Say),
        2 => Just(Event::Hear),
        1 => Just(Event::Crash),
    ]
}

/// A keeper without processes, and a herder that counts.
struct Pair {
    dir: TempDir,
    records: RunTable,
    slots: Slots,
    link: Link,
    herder: Herder,
    runs: u64,
}

/// What it knows beyond its life is in the notes: the runs whose ends it has counted, one after the other.
struct Herder {
    stream: UnixStream,
    incoming: Incoming,
    outgoing: Outgoing,
    notes: BTreeMap<String, Vec<u64>>,
    owners: BTreeMap<u64, String>,
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let records = |name| RunTable::open(&dir.path().join(name), BOOT).unwrap().0;
        let epoll = Rc::new(Epoll::new().unwrap());
        let table = Table::new(Rc::clone(&epoll), EndBy::Sigchld, LAUNCH_LIMIT);
        let lock = Rc::new(File::create(dir.path().join("lock")).unwrap().into());
        let slots = Slots::new(table, records("table"), Trees::new(epoll, HERD), lock, 1);
        let (link, herder) = connect(&slots);
        // Records only pass through it: nothing is launched here.
        let records = records("source");
        Self { records, slots, link, herder, runs: 0, dir }
    }

    fn exit(&mut self, service: u8) {
        self.runs += 1;
        let service = format!("s{service}").parse().unwrap();
        let place = self.records.claim(&service).unwrap();
        let run = RunId { herd: HERD, number: self.runs };
        let scope = StopScope::Tree;
        let record =
            Record { place, service, run, uid: 0, pid: None, identity: None, ended: None, scope, restarts: None };
        self.slots.adopt(record, Evidence::Ended(Ending::Exited(7)));
    }

    fn hear(&mut self) {
        let Self { link, slots, .. } = self;
        link.read(|request| {
            if let Request::Step(step) = request {
                slots.take(step, super::slots::HerdEnd::Never).unwrap();
            }
        })
        .unwrap();
    }

    fn crash(&mut self) {
        // Its end of the line is closed, and what it had said is heard to the end.
        self.herder.stream = UnixStream::pair().unwrap().0;
        self.hear();
        (self.link, self.herder) = connect(&self.slots);
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Exit(service) => self.exit(service),
            Event::Tell(count) => {
                self.link.write(&mut self.slots, || ());
                self.herder.hear(count);
            }
            Event::Say(count) => self.herder.say(count),
            Event::Hear => self.hear(),
            Event::Crash => self.crash(),
        }
    }
}

fn connect(slots: &Slots) -> (Link, Herder) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (next_run, answered, ending) = (slots.next_run(), true, false);
    let welcome = Welcome { pid: 1, since_ns: 0, herd: HERD, next_run, answered, ending, open_files: None };
    theirs.set_nonblocking(true).unwrap();
    let (incoming, outgoing) = (Incoming::default(), Outgoing::default());
    let herder = Herder { stream: theirs, incoming, outgoing, notes: BTreeMap::new(), owners: BTreeMap::new() };
    (Link::new(ours, slots, welcome).unwrap(), herder)
}

impl Herder {
    fn hear(&mut self, count: usize) {
        // An error says that nothing is there.
        let _ = self.incoming.read(&mut (&self.stream).take(count as u64));
        while let Some(tell) = self.incoming.next().unwrap() {
            match tell {
                Tell::Slot(slot) => self.inherit(slot),
                Tell::Report(run, Report::Ended(_)) => self.count(run),
                _ => {}
            }
        }
    }

    fn inherit(&mut self, Slot { service, note, runs, .. }: Slot) {
        let counted = note.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        self.notes.insert(service.clone(), counted.collect());
        self.owners.extend(runs.into_iter().map(|run| (run.number, service.clone())));
    }

    /// What a lifecycle does: an end that its note knows is acknowledged once more, and not counted.
    fn count(&mut self, run: Run) {
        // A run that began after the beginning has the only service that it can have in this test.
        let service = self.owners.get(&run.number).cloned().unwrap_or_else(|| owner_of(run));
        let note = self.notes.entry(service.clone()).or_default();
        if !note.contains(&run.number) {
            note.push(run.number);
        }
        let bytes = note.iter().flat_map(|number| number.to_le_bytes()).collect();
        let memo = Memo {
            stop: Stop { signal: 15, timeout_ns: 1, tree: true },
            note: bytes,
            restarts: 0,
            unasked: true,
            texts: None,
        };
        let step = Step { service, memo: Some(memo), acts: vec![Act::Acknowledge(run)] };
        self.outgoing.push(&Request::Step(step));
    }

    fn say(&mut self, count: usize) {
        let unsent = self.outgoing.unsent();
        let count = count.min(unsent.len());
        if count > 0 {
            (&self.stream).write_all(&unsent[..count]).unwrap();
            self.outgoing.sent(count);
        }
    }
}

thread_local! {
    /// Whose runs those are that the present case has made.
    static OWNERS: std::cell::RefCell<BTreeMap<u64, String>> = const { std::cell::RefCell::new(BTreeMap::new()) };
}

fn owner_of(run: Run) -> String {
    OWNERS.with_borrow(|owners| owners[&run.number].clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn wherever_the_stream_is_cut_the_frames_are_the_same_and_a_torn_one_is_none(
        frames in vec(request(), 1..20),
        cuts in vec(any::<Index>(), 0..30),
        end in any::<Index>(),
    ) {
        let (mut outgoing, mut ends) = (Outgoing::default(), Vec::new());
        for frame in &frames {
            outgoing.push(frame);
            ends.push(outgoing.unsent().len());
        }
        let stream = &outgoing.unsent()[..=end.index(outgoing.unsent().len())];
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| stream[cut[0]..cut[1]].to_vec()).collect();
        let (mut from, mut incoming, mut heard) = (Pieces(pieces.iter()), Incoming::default(), Vec::<Request>::new());
        while incoming.read(&mut from).unwrap() > 0 {
            while let Some(frame) = incoming.next().unwrap() {
                heard.push(frame);
            }
            incoming.rest();
        }
        let whole = ends.iter().filter(|end| **end <= stream.len()).count();
        prop_assert_eq!(&heard[..], &frames[..whole]);
    }

    #[test]
    fn every_exit_is_told_and_counted_once_whoever_dies_when(events in vec(event(), 1..120)) {
        OWNERS.with_borrow_mut(BTreeMap::clear);
        let mut pair = Pair::new();
        for event in &events {
            if let Event::Exit(service) = event {
                OWNERS.with_borrow_mut(|owners| owners.insert(pair.runs + 1, format!("s{service}")));
            }
            pair.happen(event);
        }
        // A last herder has all the time that it wants.
        pair.crash();
        for _ in 0..100 {
            pair.happen(&Event::Tell(1 << 16));
            pair.happen(&Event::Say(1 << 16));
            pair.happen(&Event::Hear);
        }
        let mut counted: Vec<u64> = pair.herder.notes.values().flatten().copied().collect();
        counted.sort_unstable();
        prop_assert_eq!(counted, (1..=pair.runs).collect::<Vec<_>>());
        for service in pair.slots.services() {
            let slot = pair.slots.told(&service).unwrap();
            prop_assert!(slot.runs.is_empty(), "all of {service} is acknowledged");
        }
        drop(pair.dir);
    }
}
