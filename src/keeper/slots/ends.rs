//! The ends of runs: what is learnt of them, and what is left of a run when its main process has ended.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Instant;

use super::{Slot, Slots};
use crate::keeper::run_table::RunTable;
use crate::keeper::trees::{CLEARING, Ended};
use crate::model::{Ending, RunId, Signal, StopScope};
use crate::os;
use crate::os::tree::Known;

impl Slots {
    /// Something that epoll knows by this number has happened.
    pub(in crate::keeper) fn happened(&mut self, number: u64) {
        if number >= CLEARING {
            let over = self.trees.happened(number);
            over.into_iter().for_each(|run| self.table.release(run));
        } else {
            let Self { table, records, slots, owners, .. } = self;
            table.happened(number, noting(records, slots, owners));
        }
        self.clear();
    }

    /// Does what is due.
    pub(in crate::keeper) fn expire(&mut self, now: Instant) {
        let Self { table, records, slots, owners, trees, .. } = self;
        table.expire(now, noting(records, slots, owners));
        let due = trees.expire(now);
        due.over.into_iter().for_each(|run| table.release(run));
        for run in due.again {
            self.clear_run(run, &mut false);
        }
        self.clear();
    }

    /// When [`Self::expire`] has something to do next.
    pub(in crate::keeper) fn next_deadline(&mut self) -> Option<Instant> {
        self.table.next_deadline().into_iter().chain(self.trees.deadline()).min()
    }

    /// The child of this number may have ended: a run's main process, which is reaped by [`Self::reap_ended`], or an orphan that
    /// became this process's own.
    pub(in crate::keeper) fn reap(&mut self, pid: i32) {
        let Self { table, records, slots, owners, .. } = self;
        let known = table.reap(pid, noting(records, slots, owners));
        if !known
            && os::reap_stranger(pid)
            && let Some(run) = self.trees.reaped(pid.unsigned_abs())
        {
            self.table.release(run);
        }
    }

    /// Reaps the main processes of runs that have ended.
    pub(in crate::keeper) fn reap_ended(&mut self) {
        self.table.reap_ended();
    }

    /// Ends what is left of runs whose main processes have ended. As long as something is, the run has not ended.
    ///
    /// All that have ended are reaped first, since what they leave behind is this process's own from then on: one look is
    /// enough for all of them where there is nothing.
    pub(in crate::keeper) fn clear(&mut self) {
        let mut nobody_left = false;
        while let Some(run) = self.table.next_ended() {
            self.clear_run(run, &mut nobody_left);
        }
    }

    /// Ends what is left of a run, and holds the run as long as something is.
    pub(super) fn clear_run(&mut self, run: RunId, nobody_left: &mut bool) {
        if self.is_anything_left(run, nobody_left) {
            self.table.hold(run);
        } else {
            self.table.release(run);
        }
    }

    fn is_anything_left(&mut self, run: RunId, nobody_left: &mut bool) -> bool {
        let Self { table, records, slots, owners, trees, .. } = self;
        let Some(scope) = table.scope(run) else { return false };
        let Some(service) = owners.get(&run) else { return false };
        let Some(slot) = slots.get(service) else { return false };
        let Ok(id) = service.parse() else { return false };
        // Of a process that was nobody's child an old kernel may not tell how it ended, but that it has killed one of these.
        let may_be = [Ending::Killed { signal: Signal::KILL, core: false }, Ending::Lost].map(Some);
        if slot.in_leaf && may_be.contains(&table.ending(run)) && trees.leaves.oom_kills(&id) > slot.oom_kills {
            table.amend(run, Ending::OomKilled);
            noting(records, slots, owners)(run, Ending::OomKilled);
        }
        // Where all has been killed already, all is on its way out.
        if scope == StopScope::Main && !(slot.in_leaf && trees.leaves.was_killed(&id)) {
            if !slot.foreign {
                trees.expect_strangers();
            }
            return false;
        }
        if slot.foreign && !slot.in_leaf {
            let uid = slot.place.as_ref().and_then(|place| records.uid(place, run));
            trees.seek(run, &id, uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw()));
            return true;
        }
        let is_known = |pid| table.knows(pid);
        let runs = || {
            let known = owners.iter().filter_map(|(run, service)| Some((*run, slots.get(service)?)));
            known.map(|(run, slot)| Known { run, session: table.number(run), began: slot.began }).collect()
        };
        trees.clear(&Ended { run, service: &id, in_leaf: slot.in_leaf }, is_known, runs, nobody_left)
    }
}

/// Stores how a run has ended, for a keeper to come.
fn noting<'a>(
    records: &'a RunTable,
    slots: &'a BTreeMap<Rc<str>, Box<Slot>>,
    owners: &'a HashMap<RunId, Rc<str>>,
) -> impl Fn(RunId, Ending) + 'a {
    move |run, ending| {
        let slot = owners.get(&run).and_then(|service| slots.get(service));
        if let Some(place) = slot.and_then(|slot| slot.place.as_ref()) {
            records.ended(place, ending);
        }
    }
}
