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
/// How many clients are answered at a time; more wait.
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
            // An error says that it is open as it was.
            let _ = self.epoll.add_readable(self.listener.as_fd(), DOOR);
        }
    }

    /// Whether the keeper answers.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// From now on the keeper answers.
    pub(super) fn open(&mut self) {
        self.open = self.open || self.epoll.add_readable(self.listener.as_fd(), DOOR).is_ok();
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
            if client.set_nonblocking(true).is_ok() && self.epoll.add_readable(client.as_fd(), self.next).is_ok() {
                self.clients.insert(self.next, client);
            }
        }
    }

    /// A client has said something: whatever it is, this is the answer.
    pub(super) fn answer(&mut self, number: u64) {
        let Some(mut client) = self.clients.remove(&number) else { return };
        self.epoll.remove(client.as_fd());
        let mut request = [0; 4096];
        // Its words are of no interest, but one that hangs up with words unread looks like one that was cut off.
        while matches!(client.read(&mut request), Ok(length) if length == request.len()) {}
        let _ = client.write_all(self.refusal().as_bytes());
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
