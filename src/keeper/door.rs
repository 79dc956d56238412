//! The control listener while no herder comes up: clients are told so instead of waiting for ever.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;

use crate::api::{PROBLEM_JSON, ProblemDocument};
use crate::os::Epoll;

/// Numbers of epoll from here on are of clients.
pub(super) const CLIENTS: u64 = 1 << 62;
/// The listener's.
pub(super) const DOOR: u64 = u64::MAX - 2;
/// How many clients are answered at a time; more wait until one of them has been.
const MOST: usize = 32;

/// The listener, in the hands of the keeper.
pub(super) struct Door {
    listener: UnixListener,
    epoll: Rc<Epoll>,
    clients: HashMap<u64, UnixStream>,
    next: u64,
    open: bool,
    /// Why no herder comes up.
    reason: String,
}

impl Door {
    pub(super) fn new(listener: UnixListener, epoll: Rc<Epoll>) -> Self {
        Self { listener, epoll, clients: HashMap::new(), next: CLIENTS, open: false, reason: String::new() }
    }

    /// The listener, for a herder.
    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Why no herder comes up.
    pub(super) fn note(&mut self, reason: String) {
        self.reason = reason;
        if self.open {
            self.watch();
        }
    }

    /// Whether the keeper answers.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// From now on the keeper answers.
    pub(super) fn open(&mut self) {
        if !std::mem::replace(&mut self.open, true) {
            self.watch();
        }
    }

    /// Waits for clients, if there is room for one more.
    fn watch(&self) {
        if self.clients.len() < MOST {
            // An error says that it is watched already, or that the system is out of something: then the next herder that does
            // not come up is the next occasion.
            let _ = self.epoll.add_readable(self.listener.as_fd(), DOOR);
        }
    }

    /// From now on a herder answers.
    pub(super) fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.epoll.remove(self.listener.as_fd());
            self.clients.clear();
        }
    }

    /// Somebody is there.
    pub(super) fn accept(&mut self) {
        while self.clients.len() < MOST {
            let client = match self.listener.accept() {
                Ok((client, _)) => client,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // No descriptor is left, and to be told again and again that somebody waits helps nobody. The next herder
                // that does not come up opens the door again.
                Err(_) => return self.epoll.remove(self.listener.as_fd()),
            };
            self.next += 1;
            // One that can't be watched is let go.
            if client.set_nonblocking(true).is_ok() && self.epoll.add_readable(client.as_fd(), self.next).is_ok() {
                self.clients.insert(self.next, client);
            }
        }
        // Whoever waits now is told of for as long as it waits, and would have to be let in to end that.
        self.epoll.remove(self.listener.as_fd());
    }

    /// A client has said something: whatever it is, this is the answer.
    pub(super) fn answer(&mut self, number: u64) {
        let Some(mut client) = self.clients.remove(&number) else { return };
        self.epoll.remove(client.as_fd());
        let mut request = [0; 4096];
        // Its words are of no interest, but one that hangs up with words unread looks like one that was cut off.
        while matches!(client.read(&mut request), Ok(length) if length == request.len()) {}
        let _ = client.write_all(self.refusal().as_bytes());
        if self.open {
            self.watch();
        }
    }

    fn refusal(&self) -> String {
        let detail = format!(
            "the daemon can't decide anything now ({}); its services run on, daemon.log says more",
            self.reason
        );
        let problem = ProblemDocument { status: 503, title: "no herder".to_owned(), detail };
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let length = body.len();
        format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {PROBLEM_JSON}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
    }
}

/// Whether this number of epoll is a client's.
pub(super) fn is_client(number: u64) -> bool {
    (CLIENTS..super::trees::CLEARING).contains(&number)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::os::Events;

    fn door(epoll: &Rc<Epoll>) -> (Door, UnixStream, impl Fn() -> UnixStream) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("door");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let door = Door::new(listener, Rc::clone(epoll));
        let knock = move || {
            let _kept = &dir;
            UnixStream::connect(&path).unwrap()
        };
        (door, knock(), knock)
    }

    fn ready(epoll: &Epoll) -> Vec<u64> {
        epoll.wait(&mut Events::default(), Some(Duration::ZERO)).unwrap().collect()
    }

    fn is_quiet(epoll: &Epoll) -> bool {
        ready(epoll).is_empty()
    }

    #[test]
    fn those_who_wait_for_others_wake_nobody() {
        let epoll = Rc::new(Epoll::new().unwrap());
        let (mut door, first, knock) = door(&epoll);
        door.open();
        let silent: Vec<_> = (0..MOST).map(|_| knock()).collect();
        while ready(&epoll) == [DOOR] {
            door.accept();
            assert!(door.clients.len() <= MOST);
            if door.clients.len() == MOST {
                break;
            }
        }
        assert!(is_quiet(&epoll), "one waits, and there is no room");
        (&first).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let spoken = ready(&epoll);
        assert!(spoken.len() == 1 && is_client(spoken[0]), "{spoken:?}");
        door.answer(spoken[0]);
        assert_eq!(ready(&epoll), [DOOR], "there is room again");
        door.accept();
        assert!(door.clients.len() == MOST && is_quiet(&epoll));
        drop(silent);
        // With all of them gone there is room for anybody.
        while let Some(gone) = ready(&epoll).into_iter().find(|number| is_client(*number)) {
            door.answer(gone);
        }
        let next = knock();
        assert_eq!(ready(&epoll), [DOOR]);
        door.close();
        assert!(is_quiet(&epoll), "a herder answers now");
        drop(next);
    }

    #[test]
    fn a_door_that_cannot_be_watched_is_tried_when_there_is_news() {
        let epoll = Rc::new(Epoll::new().unwrap());
        let (mut door, _first, _) = door(&epoll);
        // Stands for a lack of memory: epoll refuses the second entry.
        epoll.add_readable(door.listener.as_fd(), 7).unwrap();
        door.open();
        assert!(door.is_open(), "or it is opened again at once, for ever");
        epoll.remove(door.listener.as_fd());
        assert!(is_quiet(&epoll));
        door.note("the next one has ended, too".to_owned());
        assert_eq!(ready(&epoll), [DOOR]);
    }
}
