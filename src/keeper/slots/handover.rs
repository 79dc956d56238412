//! The slots as they go over to the program that takes this one's place, and back into slots.

use std::collections::HashMap;
use std::os::fd::AsFd;

use super::Slots;
use crate::keeper::frames::{self, Meaningless};
use crate::keeper::handover::{self, BadHandover};
use crate::keeper::run_table::{Found, Place};
use crate::model::{LaunchError, RunId, StopSpec};
use crate::os::{self, Identity};
use crate::process::children::{Carried, CarriedLife};

impl Slots {
    /// Whether a launch is in flight, whose child lives in the memory of the present program, a child is not reaped that only
    /// this program knows to have ended, or a tree is being ended. One that has not ended for a while is looked at again by the
    /// next program.
    pub(in crate::keeper) fn has_flights(&self) -> bool {
        self.table.has_flights() || self.table.has_remains() || self.trees.is_at_work()
    }

    /// All slots. Nothing is in flight.
    pub(in crate::keeper) fn hand_over(&self) -> Vec<handover::Slot> {
        let run = |id: &RunId| self.table.carried(*id).map(|carried| run(*id, carried));
        let slot = |service: &std::rc::Rc<str>, slot: &super::Slot| handover::Slot {
            service: service.to_string(),
            stop: slot.stop.map(Into::into),
            note: slot.note.to_vec(),
            conf: slot.conf.to_string(),
            settings: slot.settings.to_string(),
            leaf: slot.in_leaf,
            began: slot.began,
            runs: slot.runs.iter().filter_map(run).collect(),
        };
        self.slots.iter().map(|(service, known)| slot(service, known)).collect()
    }

    /// Goes on with what the program before has left; `found` is what its run table says. The table may be of a form that
    /// this program does not know: then it begins anew, and each run that lives gets a record in it.
    ///
    /// # Errors
    /// A value has no meaning, or a descriptor is not there.
    pub(in crate::keeper) fn go_on(&mut self, slots: Vec<handover::Slot>, found: Found) -> Result<(), BadHandover> {
        if let Some(why) = found.distrusted {
            log::warn!("the run table is begun anew: {why}");
        }
        let mut records: HashMap<RunId, Place> =
            found.records.into_iter().map(|record| (record.run, record.place)).collect();
        let in_leaves = slots.iter().any(|slot| slot.leaf);
        for slot in slots {
            let name = slot.service.as_str();
            let bad = |Meaningless| BadHandover::Value { service: name.to_owned() };
            let service = self.slot(&slot.service);
            let settings = self.shared(&slot.settings);
            for run in &slot.runs {
                let id = RunId { herd: run.herd, number: run.number };
                self.table.go_on(id, carried(run).map_err(bad)?)?;
                self.owners.insert(id, std::rc::Rc::clone(&service));
            }
            let runs: Vec<_> = slot.runs.iter().map(|run| RunId { herd: run.herd, number: run.number }).collect();
            let mut place = None;
            for (id, run) in runs.iter().zip(&slot.runs) {
                match records.remove(id) {
                    Some(found) => place = Some(found),
                    None => place = place.or_else(|| self.record(&slot.service, *id, run)),
                }
            }
            let stop = slot.stop.map(TryInto::try_into).transpose().map_err(bad)?;
            if let Some(known) = self.slots.get_mut(&service) {
                known.stop = stop;
                known.note = slot.note.into();
                known.conf = slot.conf.into();
                known.settings = settings;
                (known.in_leaf, known.began) = (slot.leaf, slot.began);
                known.foreign = slot.runs.iter().any(|run| run.pidfd.is_some());
                known.runs = runs.into();
                known.place = place;
            }
        }
        for (_, place) in records {
            self.records.release(place);
        }
        self.vouch();
        if in_leaves {
            self.trees.leaves.open_again();
        }
        self.trees.expect_strangers();
        for (service, slot) in &mut self.slots {
            if let (true, Ok(id)) = (slot.in_leaf, service.parse()) {
                // What was killed before has not ended its present run.
                slot.oom_kills = self.trees.leaves.oom_kills(&id);
            }
            if let [run] = slot.runs[..] {
                // Of one that has ended something may still be there.
                self.table.end_again(run);
            }
        }
        Ok(())
    }

    /// A record for a run that lives and has none.
    fn record(&mut self, service: &str, id: RunId, run: &handover::Run) -> Option<Place> {
        let pid = run.pid?;
        let service = service.parse().ok()?;
        let claimed = self.records.claim(&service).inspect_err(|error| log::error!("{service}: {error}"));
        let place = claimed.ok()?;
        self.records.begin(&place, id, nix::unistd::geteuid().as_raw()).store(pid);
        self.records.rescope(&place, id, frames::scope(run.tree));
        let process = os::open_process(pid).ok().flatten();
        if let Some(identity) = process.and_then(|fd| Identity::of(pid, fd.as_fd()).ok()) {
            self.records.made(&place, pid, identity);
        }
        Some(place)
    }
}

/// Whether all values of a slot have a meaning.
pub(in crate::keeper) fn check(slot: &handover::Slot) -> Result<(), Meaningless> {
    slot.stop.map(StopSpec::try_from).transpose()?;
    slot.runs.iter().try_for_each(|run| carried(run).map(|_| ()))
}

fn run(RunId { herd, number }: RunId, carried: Carried) -> handover::Run {
    let (pid, pidfd, ended) = match carried.life {
        CarriedLife::Child(pid) => (Some(pid), None, None),
        CarriedLife::Foreign(pid, fd) => (Some(pid), Some(fd), None),
        CarriedLife::Ended(ending) => (None, None, Some(ending.into())),
    };
    handover::Run {
        herd,
        number,
        tree: frames::is_tree(carried.scope),
        pid,
        pidfd,
        launched: carried.launched,
        overdue: carried.overdue.map(|stage| stage as u8),
        failed: carried.failed.map(|LaunchError { stage, errno }| (stage as u8, errno)),
        ended,
    }
}

fn carried(run: &handover::Run) -> Result<Carried, Meaningless> {
    let life = match (run.ended, run.pid, run.pidfd) {
        (Some(ending), ..) => CarriedLife::Ended(ending.try_into()?),
        (None, Some(pid), Some(fd)) => CarriedLife::Foreign(pid, fd),
        (None, Some(pid), None) => CarriedLife::Child(pid),
        (None, None, _) => return Err(Meaningless),
    };
    let failed = run.failed.map(|(stage, errno)| Ok(LaunchError { stage: frames::stage(stage)?, errno }));
    Ok(Carried {
        scope: frames::scope(run.tree),
        launched: run.launched,
        overdue: run.overdue.map(frames::stage).transpose()?,
        failed: failed.transpose()?,
        life,
    })
}
