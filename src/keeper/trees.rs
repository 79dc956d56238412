//! What belongs to a run besides its main process: found, ended, and waited for.
//!
//! With a leaf all of it is in there. Without one, what has outlived its parents has become this process's own child, and
//! is told by the marks that it has inherited; what made a group or session of its own is found so, too. A run that an
//! earlier keeper launched has left nothing to this process: what is left of it is looked for among all (`strays.rs`).

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::lines::with_causes;
use super::strays::Strays;
use crate::model::{RunId, ServiceId};
use crate::os::cgroup::{Leaf, Occupancy, Place};
use crate::os::tree::{Kin, Known, Orphan, attribute, kill_tree, orphans};
use crate::os::{Epoll, Process};

/// Numbers of epoll from here on are of leaves that are being cleared, and of processes of others that are ending.
pub(super) const CLEARING: u64 = 1 << 63;
/// How long what was sent KILL may take to end before a run counts as ended all the same.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long until a leaf is looked at again for which there was no descriptor.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The net below all runs.
pub(super) struct Trees {
    epoll: Rc<Epoll>,
    herd: u64,
    leaves: Leaves,
    /// Services whose leaves were killed. Linux (seen on 6.18) kills whatever is cloned into such a one afterwards: its fork
    /// compares how often the parent's cgroup and the child's were killed. So it is made anew for the next launch.
    killed: RefCell<HashSet<ServiceId>>,
    clearing: Vec<Clearing>,
    strays: Strays,
    next: u64,
    /// What the log has said of the net, once.
    said: bool,
}

enum Leaves {
    /// Nobody has asked for one.
    Untried,
    Usable(Place),
    Unusable,
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

impl Trees {
    pub(super) fn new(epoll: Rc<Epoll>, herd: u64) -> Self {
        Self {
            epoll,
            herd,
            leaves: Leaves::Untried,
            killed: RefCell::default(),
            clearing: Vec::new(),
            strays: Strays::new(herd),
            next: CLEARING,
            said: false,
        }
    }

    /// The leaf for a launch; none where leaves are not usable. What is in there of nobody's is killed.
    pub(super) fn leaf(&mut self, service: &ServiceId, lives: impl Fn(&ServiceId) -> bool) -> Option<Leaf> {
        self.place(lives);
        let Leaves::Usable(place) = &self.leaves else { return None };
        if self.killed.borrow_mut().remove(service)
            && let Err(error) = place.remove(service)
        {
            log::error!("{service}: cannot make its cgroup anew: {error}");
            return None;
        }
        place.leaf(service).inspect_err(|error| log::error!("{service}: cannot make its cgroup: {error}")).ok()
    }

    /// Goes on with the leaves of the program before.
    pub(super) fn open_again(&mut self) {
        self.place(|_| true);
    }

    /// Whether services get leaves.
    pub(super) fn has_leaves(&self) -> bool {
        matches!(self.leaves, Leaves::Usable(_))
    }

    /// How many processes in a service's leaf the kernel has killed for want of memory so far; 0 where it does not count.
    pub(super) fn oom_kills(&self, service: &ServiceId) -> u64 {
        let Leaves::Usable(place) = &self.leaves else { return 0 };
        place.existing(service).ok().flatten().and_then(|leaf| leaf.oom_kills()).unwrap_or(0)
    }

    /// The leaf of an adopted run, if it is in one.
    pub(super) fn is_in_leaf(&mut self, service: &ServiceId, pid: u32) -> bool {
        let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let leaf = format!("/daemonherder-{:016x}/_{service}", self.herd);
        let found = cgroup.lines().any(|line| line.starts_with("0::") && line.contains(&leaf));
        // It has a process of the herd: that is one more reason to leave the place alone while it is opened.
        found && self.place(|_| true).is_some()
    }

    /// Ends all that is left of a run. `nobody_left` says, once it is found, that no run has left anything. True if something still is: then the run has not ended yet.
    pub(super) fn clear(
        &mut self,
        ended: &Ended<'_>,
        is_known: impl Fn(u32) -> bool,
        runs: impl FnOnce() -> Vec<(RunId, u32, u64)>,
        nobody_left: &mut bool,
    ) -> bool {
        let left = match &self.leaves {
            Leaves::Usable(place) if ended.in_leaf => self.clear_leaf(place, ended.service),
            _ if *nobody_left => None,
            _ => self.clear_orphans(ended.run, is_known, runs, nobody_left),
        };
        let Some(left) = left else { return false };
        self.next += 1;
        let patience = if let Left::Unseen = left { LOOK_AGAIN } else { PATIENCE };
        let (number, until) = (self.next, Instant::now() + patience);
        if let Left::Leaf(occupancy) = &left {
            // An error leaves the deadline.
            let _ = self.epoll.add_hangup(occupancy.as_fd(), number);
        }
        self.clearing.push(Clearing { number, run: ended.run, service: ended.service.clone(), left, until });
        true
    }

    /// The next call of [`Self::expire`] ends all that is left of a run that an earlier keeper launched as this user. Until
    /// it gives the run back, the run has not ended.
    pub(super) fn seek(&mut self, run: RunId, service: &ServiceId, uid: u32) {
        self.strays.seek(run, service, uid);
    }

    /// Kills the whole tree of a living run.
    pub(super) fn kill(&self, service: &ServiceId, in_leaf: bool, main: Option<&Process>) {
        if let (Leaves::Usable(place), true) = (&self.leaves, in_leaf)
            && let Ok(Some(leaf)) = place.existing(service)
            && leaf.kill().is_ok()
        {
            self.killed.borrow_mut().insert(service.clone());
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
        Some(self.clearing.swap_remove(at).run)
    }

    /// A process that is no run's main process was reaped: the run that has ended by that.
    pub(super) fn reaped(&mut self, pid: u32) -> Option<RunId> {
        let of = |clearing: &mut Clearing| match &mut clearing.left {
            Left::Processes(left) => left.remove(&pid) && left.is_empty(),
            Left::Leaf(_) | Left::Strays(_) | Left::Unseen => false,
        };
        let at = self.clearing.iter_mut().position(of)?;
        Some(self.clearing.swap_remove(at).run)
    }

    /// Looks for what is left of runs that are sought. Gives back those of which nothing more is waited for.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<RunId> {
        let mut over = self.give_up_what_lasts(now);
        for (sought, strays) in self.strays.expire(now) {
            if strays.is_empty() {
                over.push(sought.run);
                continue;
            }
            let left: HashMap<u64, Kin> = (self.next + 1..).zip(strays).collect();
            for (number, stray) in &left {
                // An error leaves the deadline.
                let _ = self.epoll.add_readable(stray.as_fd(), *number);
            }
            self.next += left.len() as u64 + 1;
            let (number, until) = (self.next, Instant::now() + PATIENCE);
            let (run, service, left) = (sought.run, sought.service, Left::Strays(left));
            self.clearing.push(Clearing { number, run, service, left, until });
        }
        over
    }

    fn give_up_what_lasts(&mut self, now: Instant) -> Vec<RunId> {
        let (over, going_on) = std::mem::take(&mut self.clearing).into_iter().partition(|one| one.until <= now);
        self.clearing = going_on;
        let over: Vec<Clearing> = over;
        over.into_iter().filter_map(|clearing| self.give_up(clearing)).collect()
    }

    /// Waits no more for what does not end; or looks again at what could not be looked at.
    fn give_up(&mut self, Clearing { run, service, left, .. }: Clearing) -> Option<RunId> {
        match left {
            Left::Unseen => {
                let nobody = || Vec::new();
                let left = self.clear(&Ended { run, service: &service, in_leaf: true }, |_| true, nobody, &mut true);
                return (!left).then_some(run);
            }
            Left::Leaf(occupancy) => self.epoll.remove(occupancy.as_fd()),
            Left::Strays(left) => left.values().for_each(|stray| self.epoll.remove(stray.as_fd())),
            Left::Processes(_) => {}
        }
        log::error!("{service}: some of its tree does not end after KILL");
        Some(run)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.clearing.iter().map(|clearing| clearing.until).chain(self.strays.due()).min()
    }

    /// A service has left the herd.
    pub(super) fn forget(&self, service: &ServiceId) {
        if let Leaves::Usable(place) = &self.leaves
            && let Err(error) = place.remove(service)
        {
            log::warn!("{service}: cannot remove its cgroup: {error}");
        }
    }

    /// The herd has ended.
    pub(super) fn dissolve(&mut self) {
        if let Leaves::Usable(place) = std::mem::replace(&mut self.leaves, Leaves::Untried) {
            let leaves = place.leaves().unwrap_or_default();
            // What is still in there stays, and so does its leaf.
            for (service, _) in leaves.into_iter().filter(|(_, populated)| !populated) {
                let _ = place.remove(&service);
            }
            let _ = place.dissolve();
        }
    }

    fn place(&mut self, lives: impl Fn(&ServiceId) -> bool) -> Option<&Place> {
        if let Leaves::Untried = self.leaves {
            self.leaves = match Place::open(&format!("{:016x}", self.herd)) {
                Ok(place) => {
                    log::info!("each service has a cgroup of its own in {}", place.path().display());
                    self.kill_nobodys(&place, lives);
                    Leaves::Usable(place)
                }
                Err(error) => {
                    log::info!(
                        "services have no cgroups, what they leave is caught as a subreaper: {}",
                        with_causes(&error)
                    );
                    Leaves::Unusable
                }
            };
        }
        match &self.leaves {
            Leaves::Usable(place) => Some(place),
            Leaves::Untried | Leaves::Unusable => None,
        }
    }

    /// Kills what is in a service's leaf; what tells of its end, if that has not come yet.
    fn clear_leaf(&self, place: &Place, service: &ServiceId) -> Option<Left> {
        self.try_clear_leaf(place, service).unwrap_or_else(|error| {
            log::error!("{service}: cannot look at what is in its cgroup: {error}; it is tried again");
            Some(Left::Unseen)
        })
    }

    fn try_clear_leaf(&self, place: &Place, service: &ServiceId) -> io::Result<Option<Left>> {
        if !place.is_populated(service)? {
            return Ok(None);
        }
        let Some(leaf) = place.existing(service)? else { return Ok(None) };
        let mut occupancy = leaf.occupancy()?;
        leaf.kill()?;
        self.killed.borrow_mut().insert(service.clone());
        Ok(occupancy.is_populated()?.then_some(Left::Leaf(occupancy)))
    }

    /// Ends what an earlier daemon's services have left in leaves whose main processes have ended, and forgets the leaves: of
    /// which of them were killed nothing is known.
    fn kill_nobodys(&self, place: &Place, lives: impl Fn(&ServiceId) -> bool) {
        for (service, populated) in place.leaves().unwrap_or_default() {
            match place.existing(&service) {
                Ok(Some(leaf)) if populated && !lives(&service) => {
                    log::warn!("{service}: what an earlier run left in its cgroup is killed");
                    // What does not work now is told when its leaf is made anew.
                    let _ = leaf.kill();
                }
                _ => {}
            }
            self.killed.borrow_mut().insert(service);
        }
    }

    fn clear_orphans(
        &mut self,
        run: RunId,
        is_known: impl Fn(u32) -> bool,
        runs: impl FnOnce() -> Vec<(RunId, u32, u64)>,
        nobody_left: &mut bool,
    ) -> Option<Left> {
        let adopted = match orphans(&is_known) {
            Ok(adopted) => adopted,
            Err(error) => {
                if !std::mem::replace(&mut self.said, true) {
                    log::warn!("what leaves its group is not found when a service ends: {error}");
                }
                return None;
            }
        };
        if adopted.is_empty() {
            *nobody_left = true;
            return None;
        }
        let runs = runs();
        let sessions: Vec<[u32; 1]> = runs.iter().map(|(_, pid, _)| [*pid]).collect();
        let known: Vec<_> = runs
            .iter()
            .zip(&sessions)
            .map(|((known, _, began), sessions)| Known { run: *known, sessions, began: *began, ended: *known == run })
            .collect();
        let herd = self.herd;
        let is_its = |kin: &Kin| Orphan::look(kin, herd).and_then(|orphan| attribute(&orphan, &known)) == Some(run);
        let its: Vec<Kin> = adopted.into_iter().filter(is_its).collect();
        if its.is_empty() {
            return None;
        }
        let mut left: HashSet<u32> = its.iter().map(Kin::pid).collect();
        let mut seen = left.clone();
        kill_tree(its, || {
            let more = orphans(|pid| is_known(pid) || seen.contains(&pid)).unwrap_or_default();
            let its: Vec<Kin> = more.into_iter().filter(is_its).collect();
            seen.extend(its.iter().map(Kin::pid));
            left.extend(its.iter().map(Kin::pid));
            its
        });
        Some(Left::Processes(left))
    }
}
