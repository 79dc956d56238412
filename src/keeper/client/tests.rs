//! The line when its other end goes.

use std::os::unix::net;
use std::sync::mpsc::channel;
use std::thread;

use tokio::task::LocalSet;

use super::*;

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
