//! What a set of confs changes in what runs: one function for first start, reload and take-over.

use std::collections::BTreeMap;

use crate::model::{ServiceId, ServiceSpec};

/// What happens to one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is new, it was on its way out, or it was stopped, and shall run.
    Start,
    /// It is new, and its conf says that it is started only by hand.
    Hold,
    /// Its process has to be replaced.
    Restart,
    /// Its rules are replaced under the living process.
    Adjust,
    /// Its rules are replaced, and it is stopped: it is disabled now.
    Stop,
    /// Nothing changed.
    Keep,
    /// Its conf has problems: the last good version goes on, if there is one.
    Doubt,
    /// It has no conf any more.
    Remove,
    /// It has no conf any more, and is being ended for that already.
    Leave,
    /// It has no conf any more, but that may be an accident: it goes on.
    Spare,
}

/// What is known of a service that is in the herd.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    /// The last good spec; `None` where there never was one.
    pub spec: Option<&'a ServiceSpec>,
    /// It has lost its conf and is being ended.
    pub leaving: bool,
    /// It is wanted up: it runs, or will again.
    pub up: bool,
}

/// What to do with each service. `wanted` holds every service that has a conf for this host, without a spec where the conf
/// has problems.
pub fn plan(
    wanted: &BTreeMap<ServiceId, Option<&ServiceSpec>>,
    present: &BTreeMap<ServiceId, Present<'_>>,
    may_remove: bool,
) -> BTreeMap<ServiceId, Action> {
    let gone = present.iter().filter(|(id, _)| !wanted.contains_key(*id)).map(|(id, present)| {
        let action = match (present.leaving, may_remove, present.spec) {
            (true, ..) => Action::Leave,
            // What never ran can't be lost.
            (false, true, _) | (false, false, None) => Action::Remove,
            (false, false, Some(_)) => Action::Spare,
        };
        (id.clone(), action)
    });
    let kept = wanted.iter().map(|(id, spec)| (id.clone(), action(*spec, present.get(id).copied())));
    kept.chain(gone).collect()
}

fn action(wanted: Option<&ServiceSpec>, present: Option<Present<'_>>) -> Action {
    match (wanted, present) {
        (None, _) => Action::Doubt,
        (Some(new), None | Some(Present { spec: None, .. } | Present { leaving: true, .. })) => {
            if new.enabled {
                Action::Start
            } else {
                Action::Hold
            }
        }
        (Some(new), Some(Present { spec: Some(old), leaving: false, up })) => changed(old, new, up),
    }
}

fn changed(old: &ServiceSpec, new: &ServiceSpec, up: bool) -> Action {
    // A spec without a command stands for one that nobody remembers: what runs may well be what the conf says.
    let process = old.process != new.process && !old.process.cmd.is_empty();
    match (old.enabled, new.enabled) {
        _ if old == new => Action::Keep,
        (true, false) => Action::Stop,
        (false, true) if !up => Action::Start,
        // An operator's stop holds until a changed conf.
        (true, true) if process && !up => Action::Start,
        (true, true) | (false, true | false) if process && up => Action::Restart,
        (true, true) | (false, true | false) => Action::Adjust,
    }
}

/// Whether services without a conf may be stopped. A directory that could not be read whole, or in which no conf is left,
/// is more often an accident (an unmounted home, an empty mount point) than a wish.
pub fn may_remove(read_whole: bool, confs_left: usize, prune: bool) -> bool {
    read_whole && (confs_left > 0 || prune)
}
