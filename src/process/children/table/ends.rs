//! The ends of processes: looked at first, reaped when there is time.

use std::collections::HashMap;
use std::mem;
use std::time::Instant;

use super::{EndBy, FADING, REMAINS, Table};
use crate::model::{Ending, RunId};
use crate::os::{Flight, Process, Remains};
use crate::process::children::run::Life;
use crate::process::children::slots::Token;

impl Table {
    /// Epoll says of this number that a launch is done, or that a process has ended: `noted` is told how.
    pub(crate) fn happened(&mut self, number: u64, noted: impl FnOnce(RunId, Ending)) {
        let token = Token::from(number);
        // No entry: the event was taken in one batch with one that ended its run.
        let Some(run) = self.runs.get_mut(token) else { return };
        match mem::replace(&mut run.life, Life::Changing) {
            Life::InFlight(flight) => self.landed(token, *flight),
            Life::Alive(process) => self.ended(token, process, noted),
            life @ (Life::Ended(_) | Life::Changing) => run.life = life,
        }
    }

    /// A child of this number has ended, as SIGCHLD says: `noted` is told how, and it is reaped by the next
    /// [`Self::reap_ended`]. False if it is none of these, or was reaped before.
    pub(crate) fn reap(&mut self, pid: i32, noted: impl FnOnce(RunId, Ending)) -> bool {
        let Some(token) = self.by_pid.get(&pid).copied() else { return false };
        // No entry: its end was acknowledged before it was reaped.
        let Some(run) = self.runs.get_mut(token) else { return true };
        match mem::replace(&mut run.life, Life::Changing) {
            Life::InFlight(flight) => self.reap_in_flight(token, *flight, noted),
            Life::Alive(process) => self.ended(token, process, noted),
            life @ (Life::Ended(_) | Life::Changing) => run.life = life,
        }
        true
    }

    /// Reaps those that have ended. That takes as long as all else that a restart needs of its end, and need not come first.
    /// True if there was one.
    pub(crate) fn reap_ended(&mut self) -> bool {
        reap_all(&mut self.remains, &mut self.by_pid)
    }

    /// Whether there is one that has ended and is not reaped.
    pub(crate) fn has_remains(&self) -> bool {
        !self.remains.is_empty()
    }

    /// One that has ended is done with its launch; one that was only stopped is not.
    fn reap_in_flight(
        &mut self,
        token: Token,
        (process, flight): (Process, Flight),
        noted: impl FnOnce(RunId, Ending),
    ) {
        if process.has_ended() {
            self.landed(token, (process, flight));
            if let Some(run) = self.runs.get_mut(token)
                && let Life::Alive(process) = mem::replace(&mut run.life, Life::Changing)
            {
                self.ended(token, process, noted);
            }
        } else if let Some(run) = self.runs.get_mut(token) {
            run.life = Life::InFlight(Box::new((process, flight)));
        }
    }

    /// A process has ended: ends what is left of its group.
    fn ended(&mut self, token: Token, process: Process, noted: impl FnOnce(RunId, Ending)) {
        if process.is_fading() && !self.fading.iter().any(|(_, known)| *known == token) {
            return self.let_fade(token, process);
        }
        self.fading.retain(|(_, known)| *known != token);
        let Some(run) = self.runs.get_mut(token) else { return };
        if let Some(fd) = process.fd() {
            self.epoll.remove(fd);
        }
        let (pid, id, failed) = (process.number(), run.id, run.failed);
        let said = |ending| failed.map_or(ending, Ending::NotLaunched);
        match process.end(run.scope, |ending| noted(id, said(ending))) {
            Ok((ending, remains)) => {
                run.life = Life::Ended(said(ending));
                self.untold.push_back(token);
                match (self.end_by, remains) {
                    // Others may wait for any child of this process.
                    (EndBy::Pidfd, remains) => drop(remains),
                    (EndBy::Sigchld, remains) => {
                        self.ended.push_back(id);
                        match remains {
                            Some(remains) => self.remains.push(remains),
                            // Of somebody else's child the number may be a child's by now.
                            None if self.by_pid.get(&pid) == Some(&token) => _ = self.by_pid.remove(&pid),
                            None => {}
                        }
                        if self.remains.len() >= REMAINS {
                            self.reap_ended();
                        }
                    }
                }
            }
            // A pidfd is never readable before the end, but to wait once more costs nothing.
            Err(process) => {
                run.life = Life::Alive(process);
                self.watch(token);
            }
        }
    }

    /// Somebody else's child: how it ended is known once its parent has asked, which it does soon or never.
    fn let_fade(&mut self, token: Token, process: Process) {
        let Some(run) = self.runs.get_mut(token) else { return };
        if let Some(fd) = process.fd() {
            self.epoll.remove(fd);
            // An error leaves the deadline.
            let _ = self.epoll.add_hangup(fd, token.into());
        }
        run.life = Life::Alive(process);
        self.fading.push((Instant::now() + FADING, token));
    }
}

/// Reaps those that have ended, whose numbers are free from then on. True if there was one.
pub(super) fn reap_all(remains: &mut Vec<Remains>, by_pid: &mut HashMap<i32, Token>) -> bool {
    let any = !remains.is_empty();
    for ended in remains.drain(..) {
        by_pid.remove(&ended.number());
    }
    any
}
