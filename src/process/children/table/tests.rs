//! A table with processes of this test's own.

use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::os::Events;
use crate::os::peer::exit_descriptor;
use crate::process::LAUNCH_LIMIT;

fn sleeper() -> Child {
    Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn the_end_of_a_stranger_with_a_childs_number_is_not_the_childs() {
    let epoll = Rc::new(Epoll::new().unwrap());
    let mut table = Table::new(Rc::clone(&epoll), EndBy::Sigchld, LAUNCH_LIMIT);
    let [mut child, mut other] = [sleeper(), sleeper()];
    let [first, second] = [1, 2].map(|number| RunId { herd: 1, number });
    let pid = child.id().cast_signed();
    let life = CarriedLife::Child(pid);
    let carried = Carried { scope: StopScope::Main, launched: None, overdue: None, failed: None, life };
    table.go_on(first, carried).unwrap();
    // An earlier keeper's run, whose process had the number before.
    let gone = exit_descriptor(other.id()).unwrap();
    assert!(gone.as_raw_fd() > 2);
    table.adopt(second, StopScope::Main, Process::foreign(pid, gone));
    other.kill().unwrap();
    other.wait().unwrap();
    let mut events = Events::default();
    while table.ending(second).is_none() {
        for number in epoll.wait(&mut events, Some(FADING)).unwrap() {
            table.happened(number, |_, _| ());
        }
        table.expire(Instant::now(), |_, _| ());
    }
    assert!(table.knows(child.id()));
    child.kill().unwrap();
    let ended = exit_descriptor(child.id()).unwrap();
    epoll.add_readable(ended.as_fd(), u64::MAX).unwrap();
    assert_eq!(epoll.wait(&mut events, Some(Duration::from_secs(30))).unwrap().next(), Some(u64::MAX));
    assert!(table.reap(pid, |_, _| ()));
    let killed = Ending::Killed { signal: Signal::KILL, core: false };
    assert_eq!(table.ending(first), Some(killed), "its own end is heard of");
}
