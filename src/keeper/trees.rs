//! What belongs to a run besides its main process: found, ended, and waited for.
//!
//! With a leaf all of it is in there. Without one, what has outlived its parents has become this process's own child, and
//! is told by the marks that it has inherited; what made a group or session of its own is found so, too. A run that an
//! earlier keeper launched has left nothing to this process: what is left of it is looked for among all (`strays.rs`).

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::leaves::Leaves;
use super::strays::Strays;
use crate::model::{RunId, ServiceId};
use crate::os::cgroup::Occupancy;
use crate::os::tree::{Kin, Known, Orphan, attribute, kill_tree, orphans};
use crate::os::{Epoll, Process};

/// Numbers of epoll from here on are of leaves that are being cleared, and of processes of others that are ending.
pub(super) const CLEARING: u64 = 1 << 63;
/// How long what was sent KILL may take to end before it is looked at and killed again, which is told; and how long that
/// becomes at most, each time twice as long.
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);
/// How long until that is looked at again for which there was no descriptor.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The net below all runs.
pub(super) struct Trees {
    pub(super) leaves: Leaves,
    epoll: Rc<Epoll>,
    herd: u64,
    clearing: Vec<Clearing>,
    /// Runs of which something has not ended for a while, and how long that is waited for.
    lasting: HashMap<RunId, Duration>,
    strays: Strays,
    next: u64,
    /// Among the orphans there may be some that no run has left, or one that is forgotten.
    strangers: bool,
    /// What the log has said of the net, once.
    said: bool,
}

/// A run whose main process has ended, and of which something else is still ending.
struct Clearing {
    number: u64,
    run: RunId,
    service: ServiceId,
    left: Left,
    until: Instant,
}

enum Left {
    /// In its leaf.
    Leaf(Occupancy),
    /// These processes, which this process reaps.
    Processes(HashSet<u32>),
    /// These processes, which others reap, by their numbers in epoll.
    Strays(HashMap<u64, Kin>),
    /// Nobody knows: the machine is out of something that it takes to look.
    Unseen,
}

impl Clearing {
    /// Whether epoll tells of it by this number.
    fn is_told_by(&self, number: u64) -> bool {
        self.number == number || matches!(&self.left, Left::Strays(left) if left.contains_key(&number))
    }
}

/// A run whose main process has ended.
pub(super) struct Ended<'a> {
    pub(super) run: RunId,
    pub(super) service: &'a ServiceId,
    /// Whether it was launched into a leaf.
    pub(super) in_leaf: bool,
}

/// What time has brought.
#[derive(Default)]
pub(super) struct Due {
    /// Runs of which nothing more is waited for.
    pub(super) over: Vec<RunId>,
    /// Runs of which something is to be looked for again.
    pub(super) again: Vec<RunId>,
}

impl Trees {
    pub(super) fn new(epoll: Rc<Epoll>, herd: u64) -> Self {
        Self {
            leaves: Leaves::new(herd),
            epoll,
            herd,
            clearing: Vec::new(),
            lasting: HashMap::new(),
            strays: Strays::new(herd),
            next: CLEARING,
            // To the first process of a container all come that have lost their parents.
            strangers: std::process::id() == 1,
            said: false,
        }
    }

    /// From now on there may be orphans that no run which is known has left.
    pub(super) fn expect_strangers(&mut self) {
        self.strangers = true;
    }

    /// Ends all that is left of a run. `nobody_left` says, once it is found, that no run has left anything. True if something still is: then the run has not ended yet.
    pub(super) fn clear(
        &mut self,
        ended: &Ended<'_>,
        is_known: impl Fn(u32) -> bool,
        runs: impl FnOnce() -> Vec<Known>,
        nobody_left: &mut bool,
    ) -> bool {
        let left = if ended.in_leaf && self.leaves.are_usable() {
            self.clear_leaf(ended.service)
        } else if *nobody_left {
            None
        } else {
            self.clear_orphans(ended, is_known, runs, nobody_left)
        };
        let Some(left) = left else {
            self.lasting.remove(&ended.run);
            return false;
        };
        self.wait_for(ended.run, ended.service.clone(), left);
        true
    }

    /// The next call of [`Self::expire`] ends all that is left of a run that an earlier keeper launched as this user. Until
    /// it gives the run back, the run has not ended.
    pub(super) fn seek(&mut self, run: RunId, service: &ServiceId, uid: u32) {
        self.strays.seek(run, service, uid);
    }

    /// Kills the whole tree of a living run.
    pub(super) fn kill(&mut self, service: &ServiceId, in_leaf: bool, main: Option<&Process>) {
        if in_leaf && self.leaves.kill(service) {
            return;
        }
        let Some(main) = main.and_then(|process| Kin::of(process).ok()) else { return };
        kill_tree(vec![main], Vec::new);
    }

    /// A leaf that is being cleared has changed, or somebody else's process has ended: the run that has ended by that.
    pub(super) fn happened(&mut self, number: u64) -> Option<RunId> {
        let at = self.clearing.iter().position(|clearing| clearing.is_told_by(number))?;
        match &mut self.clearing.get_mut(at)?.left {
            Left::Leaf(occupancy) => {
                if occupancy.is_populated().unwrap_or(false) {
                    return None;
                }
                self.epoll.remove(occupancy.as_fd());
            }
            Left::Strays(left) => {
                left.remove(&number).into_iter().for_each(|stray| self.epoll.remove(stray.as_fd()));
                if !left.is_empty() {
                    return None;
                }
            }
            Left::Processes(_) | Left::Unseen => return None,
        }
        Some(self.over(at))
    }

    /// A process that is no run's main process was reaped: the run that has ended by that.
    pub(super) fn reaped(&mut self, pid: u32) -> Option<RunId> {
        let of = |clearing: &mut Clearing| match &mut clearing.left {
            Left::Processes(left) => left.remove(&pid) && left.is_empty(),
            Left::Leaf(_) | Left::Strays(_) | Left::Unseen => false,
        };
        let at = self.clearing.iter_mut().position(of)?;
        Some(self.over(at))
    }

    fn over(&mut self, at: usize) -> RunId {
        let run = self.clearing.swap_remove(at).run;
        self.lasting.remove(&run);
        run
    }

    /// Looks for what is left of runs that are sought, and says what has lasted for too long.
    pub(super) fn expire(&mut self, now: Instant) -> Due {
        let mut due = Due { again: self.take_what_lasts(now), over: Vec::new() };
        for (sought, strays) in self.strays.expire(now) {
            if strays.is_empty() {
                self.lasting.remove(&sought.run);
                due.over.push(sought.run);
                continue;
            }
            let left: HashMap<u64, Kin> = (self.next + 1..).zip(strays).collect();
            for (number, stray) in &left {
                // An error leaves the deadline.
                let _ = self.epoll.add_readable(stray.as_fd(), *number);
            }
            self.next += left.len() as u64;
            self.wait_for(sought.run, sought.service, Left::Strays(left));
        }
        due
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.clearing.iter().map(|clearing| clearing.until).chain(self.strays.due()).min()
    }

    /// Whether something is being ended that may still end soon.
    pub(super) fn is_at_work(&self) -> bool {
        self.strays.due().is_some() || self.clearing.iter().any(|one| !self.lasting.contains_key(&one.run))
    }

    fn wait_for(&mut self, run: RunId, service: ServiceId, left: Left) {
        self.next += 1;
        let patience = match left {
            Left::Unseen => LOOK_AGAIN,
            _ => self.lasting.get(&run).copied().unwrap_or(PATIENCE),
        };
        let (number, until) = (self.next, Instant::now() + patience);
        if let Left::Leaf(occupancy) = &left {
            // An error leaves the deadline.
            let _ = self.epoll.add_hangup(occupancy.as_fd(), number);
        }
        self.clearing.push(Clearing { number, run, service, left, until });
    }

    /// As if this process had been left by the run.
    #[cfg(test)]
    pub(super) fn wait_for_process(&mut self, run: RunId, service: ServiceId, pid: u32) {
        self.wait_for(run, service, Left::Processes([pid].into()));
    }

    /// Runs of which something is to be looked at once more: it does not end, or it could not be looked at.
    fn take_what_lasts(&mut self, now: Instant) -> Vec<RunId> {
        let lasting: Vec<Clearing> = self.clearing.extract_if(.., |one| one.until <= now).collect();
        let again = |Clearing { run, service, left, .. }| {
            match left {
                Left::Unseen => return run,
                Left::Leaf(occupancy) => self.epoll.remove(occupancy.as_fd()),
                Left::Strays(left) => left.values().for_each(|stray| self.epoll.remove(stray.as_fd())),
                Left::Processes(_) => {}
            }
            let patience = self.lasting.entry(run).or_insert_with(|| {
                log::error!("{service}: some of its tree does not end after KILL: nothing is started in its place");
                PATIENCE
            });
            *patience = (*patience * 2).min(LONGEST);
            run
        };
        lasting.into_iter().map(again).collect()
    }

    fn clear_leaf(&mut self, service: &ServiceId) -> Option<Left> {
        match self.leaves.clear(service) {
            Ok(occupancy) => occupancy.map(Left::Leaf),
            Err(error) => Some(unseen(service, &error)),
        }
    }

    fn clear_orphans(
        &mut self,
        Ended { run, service, .. }: &Ended<'_>,
        is_known: impl Fn(u32) -> bool,
        runs: impl FnOnce() -> Vec<Known>,
        nobody_left: &mut bool,
    ) -> Option<Left> {
        let run = *run;
        let adopted = match orphans(&is_known) {
            Ok(adopted) => adopted,
            // There are no such lists, and never will be.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                if !std::mem::replace(&mut self.said, true) {
                    log::warn!("what leaves its group is not found when a service ends: {error}");
                }
                return None;
            }
            Err(error) => return Some(unseen(service, &error)),
        };
        if adopted.is_empty() {
            *nobody_left = true;
            return None;
        }
        let (runs, herd, strangers) = (runs(), self.herd, self.strangers);
        let whose = |kin: &Kin| {
            let orphan = Orphan::look(kin, herd)?;
            Ok(orphan.map(|orphan| attribute(&orphan, &runs, strangers)))
        };
        let mut its = Vec::new();
        for kin in adopted {
            match whose(&kin) {
                Ok(Some(Some(of))) if of == run => its.push(kin),
                // Nobody knows whose it is, nor will anybody know of what descends from it.
                Ok(Some(None)) if !kin.has_ended() => self.strangers = true,
                Ok(Some(_) | None) => {}
                Err(error) => return Some(unseen(service, &error)),
            }
        }
        if its.is_empty() {
            return None;
        }
        let mut left: HashSet<u32> = its.iter().map(Kin::pid).collect();
        let mut seen = left.clone();
        let cull = kill_tree(its, || {
            let more = orphans(|pid| is_known(pid) || seen.contains(&pid)).unwrap_or_default();
            let its: Vec<Kin> =
                more.into_iter().filter(|kin| matches!(whose(kin), Ok(Some(Some(of))) if of == run)).collect();
            seen.extend(its.iter().map(Kin::pid));
            left.extend(its.iter().map(Kin::pid));
            its
        });
        // What of it was not caught is, or becomes, an orphan that another look finds.
        Some(if cull.whole { Left::Processes(left) } else { Left::Unseen })
    }
}

fn unseen(service: &ServiceId, error: &io::Error) -> Left {
    log::error!("{service}: cannot look at what it has left: {error}; it is tried again");
    Left::Unseen
}
