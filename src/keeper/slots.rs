//! One slot a service: what is remembered of it, and its run.

mod ends;
mod handover;
mod recovered;

pub(super) use handover::check;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use smallvec::SmallVec;

use super::evidence::Evidence;
use super::frames::{self, Meaningless};
use super::leaves::Busy;
use super::run_table::{Place, Record, RunTable};
use super::trees::Trees;
use super::wire::{self, Act, Memo, Step};
use crate::model::{Ending, LaunchError, Resource, RunId, Signal, Stage, StopScope, StopSpec};
use crate::os::cgroup::Leaf;
use crate::os::tree::limit_mark;
use crate::os::{Clock, Process, Trace};
use crate::process::children::Table;
use crate::process::{Report, Whom};

/// The present moment as the kernel notes when a process began (proc_pid_stat(5)), or a little earlier.
fn ticks() -> u64 {
    const TICK: u128 = 10_000_000;
    u64::try_from(Clock::of_boot().now().since_boot().as_nanos() / TICK).unwrap_or(u64::MAX)
}

/// Something of the service lives.
const REFUSED: LaunchError = LaunchError { stage: Stage::Fork, errno: libc::EEXIST };

/// All slots, and the processes of the runs in them.
pub(super) struct Slots {
    table: Table,
    records: RunTable,
    trees: Trees,
    /// Held by every launch until it executes its program.
    lock: Rc<OwnedFd>,
    /// Boxed, since a map has room for nearly twice as many as there are in it.
    slots: BTreeMap<Rc<str>, Box<Slot>>,
    /// Whose runs those are that are not acknowledged. A slot may have several, of which one at most lives.
    owners: HashMap<RunId, Rc<str>>,
    /// Runs that were acknowledged before they had ended here: a herder knew of it from an earlier life.
    disowned: HashSet<RunId>,
    /// No run that was launched here has this number, or a higher one.
    next_run: u64,
    /// Nothing is launched any more.
    closed: bool,
    /// Runs that are still to be sent CONT.
    stopped: Vec<(RunId, Whom)>,
    /// Runs that were asked to end together with others: no later herder asks them in this way again.
    asked: HashSet<RunId>,
}

/// How far the end of the herd is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HerdEnd {
    /// Nobody has asked for it.
    Never,
    /// It was asked for, and what the herder says may have been decided before it knew.
    Asked,
    /// The herder goes about it.
    Begun,
}

#[derive(Default)]
struct Slot {
    /// None for one that a launch made before anything was to be remembered.
    stop: Option<StopSpec>,
    note: Box<[u8]>,
    conf: Box<str>,
    settings: Rc<str>,
    /// Runs whose ends are not acknowledged: one as a rule, and then it takes no memory of its own.
    runs: SmallVec<[RunId; 1]>,
    /// Whether its run was not asked to end, as far as is remembered.
    unasked: bool,
    /// Whether its last launch went into a leaf, and when that was, in ticks after boot.
    in_leaf: bool,
    began: u64,
    /// Its run was launched by an earlier keeper: what descends from it does not come to this one.
    foreign: bool,
    /// Processes in its leaf that the kernel had killed for want of memory by then.
    oom_kills: u64,
    /// Restarts of which was told last, where that is known: a launch takes the number along in its record.
    restarts: Option<u64>,
    /// Its record in the run table, from its first launch on.
    place: Option<Place>,
}

impl Slots {
    /// No slots yet.
    pub(super) fn new(table: Table, records: RunTable, trees: Trees, lock: Rc<OwnedFd>, next_run: u64) -> Self {
        let (slots, owners, disowned) = (BTreeMap::new(), HashMap::new(), HashSet::new());
        let (closed, stopped, asked) = (false, Vec::new(), HashSet::new());
        Self { table, records, trees, lock, slots, owners, disowned, next_run, closed, stopped, asked }
    }

    /// Takes over the run of a record that an earlier keeper left.
    pub(super) fn adopt(&mut self, record: Record, evidence: Evidence) {
        let Record { place, service: id, run, pid, scope, restarts, .. } = record;
        let service = self.slot(id.as_str());
        self.next_run = self.next_run.max(run.number.saturating_add(1));
        if let (None, Evidence::Gone) = (pid, &evidence) {
            // The kernel stores the number before the process does anything: this one was never made. Whoever decided it
            // finds that nobody knows it, and decides it again.
            self.records.clear(&place);
            if let Some(slot) = self.slots.get_mut(&service) {
                slot.place = Some(place);
            }
            return;
        }
        let leaves = &mut self.trees.leaves;
        let (in_leaf, ending) = match evidence {
            Evidence::Alive(fd) => {
                let pid = pid.unwrap_or_default();
                self.table.adopt(run, scope, Process::foreign(pid, fd));
                (leaves.has(&id, pid.unsigned_abs()), None)
            }
            Evidence::Ended(ending) => (pid.is_some() && leaves.is_populated(&id), Some(ending)),
            Evidence::Gone => (pid.is_some() && leaves.is_populated(&id), Some(Ending::Lost)),
        };
        self.owners.insert(run, Rc::clone(&service));
        if let Some(slot) = self.slots.get_mut(&service) {
            slot.runs.push(run);
            (slot.place, slot.restarts) = (Some(place), restarts);
            (slot.in_leaf, slot.foreign) = (in_leaf, true);
            // What was killed before has not ended this run.
            slot.oom_kills = if in_leaf { self.trees.leaves.oom_kills(&id) } else { 0 };
        }
        if let Some(ending) = ending {
            if let Some(place) = self.slots.get(&service).and_then(|slot| slot.place.as_ref()) {
                // A later keeper may have no witness of it.
                self.records.ended(place, ending);
            }
            self.table.bury(run, scope, ending);
            if pid.is_some() {
                // Nobody has looked for what it left, or the last one did not come to the end of it.
                self.clear_run(run, &mut false);
            }
        }
    }

    /// Whether services get cgroups.
    pub(super) fn has_leaves(&self) -> bool {
        self.trees.leaves.are_usable()
    }

    /// The herd has ended, and nobody will ask how: no later keeper shall take it for a herd that has died.
    pub(super) fn dissolve(&mut self) {
        let lives = |slot: &Slot| slot.runs.iter().any(|run| self.table.lives(*run));
        for place in self.slots.values().filter(|slot| !lives(slot)).filter_map(|slot| slot.place.as_ref()) {
            self.records.clear(place);
        }
        self.trees.leaves.dissolve();
    }

    /// Gives back what only a burst needs, and makes ready for another one.
    pub(super) fn rest(&mut self) {
        self.table.rest();
        self.records.grow_ahead();
        // Made from what is sorted already, the map's nodes are full; else they are half empty.
        self.slots = std::mem::take(&mut self.slots).into_iter().collect();
    }

    /// No run that was launched here has this number, or a higher one.
    pub(super) fn next_run(&self) -> u64 {
        self.next_run
    }

    /// Does a step of a service: what is to be remembered first, so that it is true before the effect exists.
    ///
    /// In a herd that is being ended CONT waits for [`Self::wake_stopped`]: it is for those that are stopped (SIGSTOP), and nearly all
    /// have ended by the next look at that.
    pub(super) fn take(&mut self, step: Step, end: HerdEnd) -> Result<(), Meaningless> {
        let Step { service, memo, acts } = step;
        let service = self.slot(&service);
        if let Some(memo) = memo {
            self.remember(&service, memo)?;
        }
        acts.into_iter().try_for_each(|act| self.act(&service, act, end))
    }

    /// Asks many runs to end, before what is to be remembered of that: a herder that dies meanwhile leaves a successor which is
    /// told of the end of the herd, and asks again. Each is asked once.
    pub(super) fn signal_together(&mut self, signals: &[(wire::Run, u8)]) -> Result<(), Meaningless> {
        for (run, signal) in signals {
            let (run, signal) = (RunId::from(*run), frames::signal(*signal)?);
            if self.ask(run) {
                self.signal(run, signal, Whom::Main);
            }
        }
        Ok(())
    }

    /// Asks all that live to end, but for those that were asked: whoever decides it later finds them asked.
    pub(super) fn ask_all(&mut self) {
        let slots = self.slots.values().filter(|slot| slot.unasked);
        let runs = slots.flat_map(|slot| slot.runs.iter().filter_map(|run| Some((*run, slot.stop?.signal))));
        let living: Vec<(RunId, Signal)> = runs.filter(|(run, _)| self.table.lives(*run)).collect();
        for (run, signal) in living {
            if self.ask(run) {
                self.signal(run, signal, Whom::Main);
            }
        }
    }

    /// Whether this run has not been asked to end together with others; from now on it has.
    pub(super) fn ask(&mut self, run: RunId) -> bool {
        // One that is not known may be launched yet.
        self.owners.contains_key(&run) && self.asked.insert(run)
    }

    /// Sends the CONT that waited to those that have not ended.
    pub(super) fn wake_stopped(&mut self) {
        for (run, whom) in std::mem::take(&mut self.stopped) {
            self.signal(run, Signal::CONT, whom);
        }
    }

    /// A service has left the herd. One of which something still lives, or of which an end was not heard, stays.
    pub(super) fn forget(&mut self, service: &str) {
        if self.slots.get(service).is_some_and(|slot| slot.runs.is_empty())
            && let Some(place) = self.slots.remove(service).and_then(|slot| slot.place)
        {
            self.records.release(place);
            if let Ok(service) = service.parse() {
                self.trees.leaves.forget(&service);
            }
        }
    }

    /// The services, to tell of each.
    pub(super) fn services(&self) -> Vec<Rc<str>> {
        self.slots.keys().cloned().collect()
    }

    /// A slot as the herder is told it.
    pub(super) fn told(&self, service: &str) -> Option<wire::Slot> {
        let slot = self.slots.get(service)?;
        Some(wire::Slot {
            service: service.to_owned(),
            note: slot.note.to_vec(),
            conf: slot.conf.to_string(),
            settings: slot.settings.to_string(),
            runs: slot.runs.iter().copied().map(Into::into).collect(),
            restarts: slot.restarts,
        })
    }

    /// Everything about every run will be told once more, from the beginning.
    pub(super) fn retell(&mut self) {
        for run in self.owners.keys() {
            self.table.retell(*run);
        }
    }

    /// The next thing to tell of a run.
    pub(super) fn tell(&mut self) -> Option<(RunId, Report)> {
        loop {
            let (run, report) = self.table.tell()?;
            if matches!(report, Report::Ended(_)) && self.disowned.contains(&run) {
                self.acknowledge(run);
                continue;
            }
            return Some((run, report));
        }
    }

    /// The runs that live, and how each is stopped by whoever has to without asking.
    pub(super) fn living(&self) -> Vec<(RunId, Option<StopSpec>)> {
        let runs = self.slots.values().flat_map(|slot| slot.runs.iter().map(|run| (*run, slot.stop)));
        runs.filter(|(run, _)| self.table.lives(*run)).collect()
    }

    /// How many of the services' main processes are not known to have ended, and are this process's children.
    pub(super) fn children(&self) -> usize {
        self.table.children()
    }

    /// Some of those.
    pub(super) fn some_children(&self, count: usize) -> Vec<RunId> {
        self.table.some_children(count)
    }

    /// How many of these runs' main processes have ended, told or not.
    pub(super) fn ended_of(&self, runs: &[RunId]) -> usize {
        runs.iter().filter(|run| self.table.has_ended(**run)).count()
    }

    /// Whether this run has not ended.
    pub(super) fn lives(&self, run: RunId) -> bool {
        self.table.lives(run)
    }

    /// Launches nothing from here on, and says what is left to end ([`Self::living`]).
    pub(super) fn close(&mut self) -> Vec<(RunId, Option<StopSpec>)> {
        self.closed = true;
        self.living()
    }

    /// Sends a signal to a run's main process, or to all that belongs to the run.
    pub(super) fn signal(&mut self, run: RunId, signal: Signal, whom: Whom) {
        let Self { table, slots, owners, trees, .. } = self;
        if (signal, whom) == (Signal::KILL, Whom::Tree)
            && table.lives(run)
            && let Some((service, slot)) = owners.get(&run).and_then(|owner| slots.get_key_value(owner))
            && let Ok(id) = service.parse()
        {
            // What has left the group, too, and before the main process gives its children away.
            trees.kill(&id, slot.in_leaf, table.process(run));
        }
        table.signal(run, signal, whom);
    }

    /// The key of a slot, which is made where there is none.
    fn slot(&mut self, service: &str) -> Rc<str> {
        if let Some((known, _)) = self.slots.get_key_value(service) {
            return Rc::clone(known);
        }
        let service: Rc<str> = service.into();
        self.slots.insert(Rc::clone(&service), Box::default());
        service
    }

    fn remember(
        &mut self,
        service: &str,
        Memo { stop, note, restarts, unasked, texts }: Memo,
    ) -> Result<(), Meaningless> {
        let settings = texts.as_ref().map(|(_, settings)| self.shared(settings));
        let Some(slot) = self.slots.get_mut(service) else { return Ok(()) };
        slot.stop = Some(stop.try_into()?);
        // Copied, not moved: what a frame is read into is then free again for the next one, and leaves no holes.
        slot.note = note.as_slice().into();
        (slot.restarts, slot.unasked) = (Some(restarts), unasked);
        if let (Some((conf, _)), Some(settings)) = (texts, settings) {
            slot.conf = conf.as_str().into();
            slot.settings = settings;
        }
        Ok(())
    }

    /// The settings are the same text for all services as a rule, and then they are kept once.
    fn shared(&self, settings: &str) -> Rc<str> {
        let known = self.slots.values().next().map(|slot| &slot.settings).filter(|known| ***known == *settings);
        known.map_or_else(|| settings.into(), Rc::clone)
    }

    fn act(&mut self, service: &Rc<str>, act: Act, end: HerdEnd) -> Result<(), Meaningless> {
        match act {
            Act::Acknowledge(run) => self.acknowledge(run.into()),
            // The herder that still asked for it is being killed, and nobody would end what comes of it.
            Act::Launch(_) if self.closed => {}
            Act::Launch(launch) => self.launch(service, *launch)?,
            Act::Signal { run, signal, tree } => {
                let (run, signal, whom) = (run.into(), frames::signal(signal)?, frames::whom(tree));
                if signal == Signal::CONT && end != HerdEnd::Never {
                    self.stopped.push((run, whom));
                } else if end != HerdEnd::Asked || !self.is_asked_by(service, run, signal, whom) {
                    self.signal(run, signal, whom);
                }
            }
            Act::Rescope { run, tree } => {
                let (run, scope) = (run.into(), frames::scope(tree));
                self.table.rescope(run, scope);
                if let Some(place) = self.slots.get(service).and_then(|slot| slot.place.as_ref()) {
                    self.records.rescope(place, run, scope);
                }
            }
            Act::Examine(run) => _ = self.table.examine(run.into()),
        }
        Ok(())
    }

    /// Whether this is the signal by which the run was asked to end with the herd.
    fn is_asked_by(&self, service: &str, run: RunId, signal: Signal, whom: Whom) -> bool {
        let stop = self.slots.get(service).and_then(|slot| slot.stop);
        whom == Whom::Main && stop.is_some_and(|stop| stop.signal == signal) && self.asked.contains(&run)
    }

    fn acknowledge(&mut self, run: RunId) {
        if !self.table.acknowledge(run) {
            if self.table.lives(run) {
                self.disowned.insert(run);
            }
            return;
        }
        self.disowned.remove(&run);
        if let Some(slot) = self.owners.remove(&run).and_then(|owner| self.slots.get_mut(&*owner)) {
            slot.runs.retain(|known| *known != run);
            if let (Some(place), true) = (&slot.place, slot.runs.is_empty()) {
                self.records.clear(place);
            }
        }
    }

    /// Begins a launch, unless something of the service lives: whatever the herder believes, there is no second copy.
    fn launch(&mut self, service: &Rc<str>, launch: wire::Launch) -> Result<(), Meaningless> {
        let (run, scope) = (RunId::from(launch.run), frames::scope(launch.tree));
        let wants_leaf = launch.cgroup;
        let mut order = frames::order(launch)?;
        if let Some(mark) = limit_mark(run)
            && !order.limits.iter().any(|(resource, _)| *resource == Resource::Locks)
        {
            order.limits.push((Resource::Locks, mark));
        }
        let Self { table, records, trees, lock, slots, owners, next_run, .. } = self;
        let Some(slot) = slots.get_mut(service) else { return Ok(()) };
        let room = slot.make_room(service, table, records).and_then(|()| leaf(trees, service, scope, wants_leaf));
        slot.runs.push(run);
        owners.insert(run, Rc::clone(service));
        *next_run = (*next_run).max(run.number.saturating_add(1));
        match (room, &slot.place) {
            (Ok(leaf), Some(place)) => {
                (slot.in_leaf, slot.began, slot.foreign) = (leaf.is_some(), ticks(), false);
                slot.oom_kills = leaf.as_ref().and_then(Leaf::oom_kills).unwrap_or(0);
                let uid = order.ids.as_ref().map_or_else(|| nix::unistd::geteuid().as_raw(), |ids| ids.uid);
                let number = records.begin(place, run, uid);
                records.rescope(place, run, scope);
                slot.restarts.into_iter().for_each(|restarts| records.count(place, run, restarts));
                let trace = Trace {
                    number: Some(number),
                    lock: Some(lock.as_fd()),
                    leaf: leaf.as_ref().map(AsFd::as_fd),
                    ..Trace::default()
                };
                let mut began_in_leaf = slot.in_leaf;
                table.launch(run, scope, Ok(order), trace, |pid, identity, in_leaf| {
                    identity.into_iter().for_each(|identity| records.made(place, pid, identity));
                    began_in_leaf = in_leaf;
                });
                if slot.in_leaf != began_in_leaf {
                    slot.in_leaf = false;
                    log::error!("{service}: its cgroup takes no process; what it leaves is caught as a subreaper");
                    // The next launch gets a new one.
                    service.parse().iter().for_each(|id| trees.leaves.forget(id));
                }
            }
            (room, _) => {
                let error = room.err().unwrap_or(REFUSED);
                table.launch(run, scope, Err(error), Trace::default(), |_, _, _| ());
            }
        }
        Ok(())
    }
}

/// The leaf for a launch that wants one.
fn leaf(trees: &mut Trees, service: &str, scope: StopScope, wants: bool) -> Result<Option<Leaf>, LaunchError> {
    let Some(id) = service.parse().ok().filter(|_| wants) else { return Ok(None) };
    trees.leaves.leaf(&id, scope).map_err(|Busy| LaunchError { errno: libc::EBUSY, ..REFUSED })
}

impl Slot {
    /// Sees to a record for one more run, and that there is no other that lives.
    fn make_room(&mut self, service: &str, table: &Table, records: &mut RunTable) -> Result<(), LaunchError> {
        let refused = |errno| LaunchError { errno, ..REFUSED };
        if let Some(occupant) = self.runs.iter().find(|occupant| table.lives(**occupant)) {
            log::error!("{service}: nothing is launched while {occupant:?} lives");
            return Err(REFUSED);
        }
        if self.place.is_none() {
            let service = service.parse().map_err(|_| refused(libc::EINVAL))?;
            let claimed = records.claim(&service).inspect_err(|error| log::error!("{service}: {error}"));
            self.place = Some(claimed.map_err(|error| refused(error.errno()))?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
