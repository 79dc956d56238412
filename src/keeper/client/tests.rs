//! The line when its other end goes.

use std::io::Write;
use std::os::unix::net;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::task::LocalSet;

use super::*;
use crate::testing::FakeSpawner;

/// Longer than it takes on any machine.
const WATCHDOG: Duration = Duration::from_secs(30);

fn inheritance() -> Inheritance {
    Inheritance {
        pid: 1,
        since_ns: 0,
        herd: 7,
        next_run: 1,
        answered: false,
        ending: false,
        open_files: None,
        upgraded: None,
        services: Vec::new(),
    }
}

#[test]
fn a_keeper_that_goes_while_there_is_something_to_say_is_noticed() {
    let (noticed, notice) = channel();
    // A client that hears nothing would keep its whole thread busy.
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async move {
            let (ours, theirs) = net::UnixStream::pair().unwrap();
            let line = Line { stream: ours, incoming: Incoming::default(), heard: 0 };
            let (client, mut wishes) = Client::start(line, &inheritance(), None, None).unwrap();
            client.ready();
            // The line is known to be ready to be written to, and that it is not ready to be read from.
            client.stream.writable().await.unwrap();
            after_others().await;
            drop(theirs);
            client.ready();
            noticed.send(wishes.recv().await).unwrap();
        });
    });
    assert_eq!(notice.recv_timeout(WATCHDOG), Ok(Some(Wish::KeeperGone)));
}

/// All that a client has said by now.
fn said(from: &mut net::UnixStream) -> Vec<Request> {
    from.set_nonblocking(true).unwrap();
    let mut incoming = Incoming::default();
    while incoming.read(from).is_ok() {}
    std::iter::from_fn(|| incoming.next().unwrap()).collect()
}

#[tokio::test]
async fn a_signal_that_was_sent_with_those_to_others_is_not_sent_again() {
    let tasks = LocalSet::new();
    let work = async {
        let (ours, mut theirs) = net::UnixStream::pair().unwrap();
        let line = Line { stream: ours, incoming: Incoming::default(), heard: 0 };
        let (client, _wishes) = Client::start(line, &inheritance(), None, None).unwrap();
        let hup = Signal::from_number(libc::SIGHUP.into()).unwrap();
        let run = |number| RunId { herd: 7, number };
        let launch = |number| FakeSpawner::launch_of("web".parse().unwrap(), run(number));
        let hear = async |theirs: &mut net::UnixStream| {
            client.wake.notify_one();
            after_others().await;
            after_others().await;
            said(theirs)
        };
        client.launch(launch(1), Arc::new(|_, _| ()));
        hear(&mut theirs).await;

        assert!(client.signal_together(&[(run(1), Signal::TERM), (run(5), Signal::TERM)]));
        let term = frames::signal_number(Signal::TERM);
        assert_eq!(hear(&mut theirs).await, [Request::Signals(vec![(run(1).into(), term)])], "the other is not known");
        client.signal(run(1), hup, Whom::Main);
        client.signal(run(1), Signal::TERM, Whom::Main);
        client.signal(run(1), Signal::CONT, Whom::Main);
        client.signal(run(1), Signal::TERM, Whom::Main);
        let signals = |requests: Vec<Request>| -> Vec<u8> {
            let acts = requests.into_iter().flat_map(|request| match request {
                Request::Step(step) => step.acts,
                other => panic!("{other:?}"),
            });
            acts.filter_map(|act| if let Act::Signal { signal, .. } = act { Some(signal) } else { None }).collect()
        };
        let numbers = [hup, Signal::CONT, Signal::TERM].map(frames::signal_number);
        assert_eq!(signals(hear(&mut theirs).await), numbers);

        // It has it already; and the whole tree has not, nor has another signal been sent.
        assert!(client.signal_together(&[(run(1), Signal::TERM)]));
        assert_eq!(hear(&mut theirs).await, [Request::Signals(Vec::new())]);
        client.signal(run(1), hup, Whom::Main);
        client.signal_together(&[(run(1), Signal::TERM)]);
        client.signal(run(1), Signal::TERM, Whom::Tree);
        let heard = hear(&mut theirs).await;
        assert_eq!(
            signals(heard.into_iter().filter(|said| !matches!(said, Request::Signals(_))).collect()),
            [numbers[0], term]
        );

        // One that was not launched yet was sent nothing.
        client.signal_together(&[(run(1), Signal::TERM)]);
        client.hand_over(launch(1));
        hear(&mut theirs).await;
        client.signal(run(1), Signal::TERM, Whom::Main);
        assert_eq!(signals(hear(&mut theirs).await), [term]);
    };
    tasks.run_until(work).await;
}

/// The keeper has asked the services by then, and their ends shall not be taken for deaths.
#[tokio::test]
async fn the_end_of_the_herd_is_known_before_anything_that_comes_of_it_is_told() {
    let tasks = LocalSet::new();
    let work = async {
        let (ours, mut theirs) = net::UnixStream::pair().unwrap();
        let line = Line { stream: ours, incoming: Incoming::default(), heard: 0 };
        let (heard, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let (ends, knows) = (Arc::clone(&heard), Arc::clone(&heard));
        let (client, mut wishes) = Client::start(line, &inheritance(), None, None).unwrap();
        client.on_end(move || ends.store(true, Ordering::Relaxed));
        let run = RunId { herd: 7, number: 1 };
        let report = Arc::clone(&told);
        let listener = move |_, _| *report.lock().unwrap() = Some(knows.load(Ordering::Relaxed));
        client.launch(FakeSpawner::launch_of("web".parse().unwrap(), run), Arc::new(listener));
        let mut outgoing = Outgoing::default();
        outgoing.push(&Tell::Shutdown);
        outgoing.push(&Tell::Report(run.into(), Report::Ended(Ending::Exited(0)).into()));
        theirs.write_all(outgoing.unsent()).unwrap();
        outgoing = Outgoing::default();
        outgoing.push(&Tell::Reload);
        theirs.write_all(outgoing.unsent()).unwrap();
        assert_eq!(wishes.recv().await, Some(Wish::Reload));
        assert_eq!(*told.lock().unwrap(), Some(true));
    };
    tasks.run_until(work).await;
}
