//! The cgroups of services, one each, where the machine lets them have such.
//!
//! Linux (seen on 6.18) kills whatever is cloned into a cgroup that was once killed: its fork compares how often the
//! parent's cgroup and the child's were killed. So one that was killed is made anew for the next launch, and so is one of
//! which nobody knows. What a service was allowed to leave in there shows that it was not.

use std::collections::HashMap;
use std::io;

use crate::model::{ServiceId, StopScope, with_causes};
use crate::os::cgroup::{Leaf, Occupancy, Place};

/// The leaves of a herd.
pub(super) struct Leaves {
    herd: u64,
    place: Spot,
    /// Those that may not be launched into as they are.
    worn: HashMap<ServiceId, Worn>,
}

enum Spot {
    /// Nobody has asked for one.
    Untried,
    Usable(Place),
    Unusable,
}

/// What is against a leaf.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Worn {
    /// It was killed.
    Killed,
    /// An earlier keeper made it.
    Unknown,
}

/// Somebody is in a leaf that ought to be empty, and has been sent KILL.
#[derive(Debug)]
pub(super) struct Busy;

impl Leaves {
    pub(super) fn new(herd: u64) -> Self {
        Self { herd, place: Spot::Untried, worn: HashMap::new() }
    }

    /// The leaf for a launch with this scope; none where leaves are not usable.
    ///
    /// # Errors
    /// An earlier keeper's run has left somebody in there who may not stay: a later call finds it empty.
    pub(super) fn leaf(&mut self, service: &ServiceId, scope: StopScope) -> Result<Option<Leaf>, Busy> {
        self.open();
        let Spot::Usable(place) = &self.place else { return Ok(None) };
        let failed = |error| log::error!("{service}: cannot make its cgroup: {error}");
        if let Some(worn) = self.worn.get(service).copied() {
            let left_alone = scope == StopScope::Main && worn == Worn::Unknown;
            if !(left_alone && place.is_populated(service).unwrap_or(true)) {
                match place.remove(service) {
                    Ok(()) => _ = self.worn.remove(service),
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        log::warn!("{service}: what an earlier run left in its cgroup is killed");
                        self.kill(service);
                        return Err(Busy);
                    }
                    Err(error) => {
                        failed(error);
                        return Ok(None);
                    }
                }
            }
        }
        Ok(place.leaf(service).inspect_err(|error| log::error!("{service}: cannot make its cgroup: {error}")).ok())
    }

    /// Goes on with the leaves of the program before.
    pub(super) fn open_again(&mut self) {
        self.open();
    }

    /// Whether services get leaves.
    pub(super) fn are_usable(&self) -> bool {
        matches!(self.place, Spot::Usable(_))
    }

    /// How many processes in a service's leaf the kernel has killed for want of memory so far; 0 where it does not count.
    pub(super) fn oom_kills(&self, service: &ServiceId) -> u64 {
        let Spot::Usable(place) = &self.place else { return 0 };
        place.existing(service).ok().flatten().and_then(|leaf| leaf.oom_kills()).unwrap_or(0)
    }

    /// Whether a process is in its service's leaf.
    pub(super) fn has(&mut self, service: &ServiceId, pid: u32) -> bool {
        let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let leaf = format!("/daemonherder-{:016x}/_{service}", self.herd);
        // What the service has made in there is below it.
        let is_in =
            |path: &str| path.split_once(&leaf).is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('/'));
        cgroup.lines().filter_map(|line| line.strip_prefix("0::")).any(is_in) && self.open().is_some()
    }

    /// Whether somebody is in a service's leaf that an earlier keeper may have made. None is made for the question.
    pub(super) fn is_populated(&mut self, service: &ServiceId) -> bool {
        if matches!(self.place, Spot::Untried) && !Place::exists(&self.name()) {
            return false;
        }
        // One that can't be looked at is one to be looked at again.
        self.open().is_some_and(|place| place.is_populated(service).unwrap_or(true))
    }

    /// Whether this keeper has killed a service's leaf: whoever still is in there is ending.
    pub(super) fn was_killed(&self, service: &ServiceId) -> bool {
        self.worn.get(service) == Some(&Worn::Killed)
    }

    /// Kills all that is in a service's leaf. False if that can't be done.
    pub(super) fn kill(&mut self, service: &ServiceId) -> bool {
        let Spot::Usable(place) = &self.place else { return false };
        let killed = matches!(place.existing(service), Ok(Some(leaf)) if leaf.kill().is_ok());
        if killed {
            self.worn.insert(service.clone(), Worn::Killed);
        }
        killed
    }

    /// Kills what is in a service's leaf: what tells of its end, if that has not come yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn clear(&mut self, service: &ServiceId) -> io::Result<Option<Occupancy>> {
        let Spot::Usable(place) = &self.place else { return Ok(None) };
        if !place.is_populated(service)? {
            return Ok(None);
        }
        let Some(leaf) = place.existing(service)? else { return Ok(None) };
        let mut occupancy = leaf.occupancy()?;
        leaf.kill()?;
        self.worn.insert(service.clone(), Worn::Killed);
        Ok(occupancy.is_populated()?.then_some(occupancy))
    }

    /// A service has left the herd, or can't use its leaf.
    pub(super) fn forget(&mut self, service: &ServiceId) {
        let worn = self.worn.remove(service).unwrap_or(Worn::Unknown);
        if let Spot::Usable(place) = &self.place
            && let Err(error) = place.remove(service)
        {
            // Should there be one of this name again, it finds this leaf.
            self.worn.insert(service.clone(), worn);
            log::warn!("{service}: cannot remove its cgroup: {error}");
        }
    }

    /// The herd has ended.
    pub(super) fn dissolve(&mut self) {
        if let Spot::Usable(place) = std::mem::replace(&mut self.place, Spot::Untried) {
            let leaves = place.leaves().unwrap_or_default();
            // What is still in there stays, and so does its leaf.
            for (service, _) in leaves.into_iter().filter(|(_, populated)| !populated) {
                let _ = place.remove(&service);
            }
            let _ = place.dissolve();
        }
    }

    /// The place, which is made and tried when it is first asked for.
    fn open(&mut self) -> Option<&Place> {
        if let Spot::Untried = self.place {
            self.place = match Place::open(&self.name()) {
                Ok(place) => {
                    log::info!("each service has a cgroup of its own in {}", place.path().display());
                    let found = place.leaves().unwrap_or_default();
                    self.worn.extend(found.into_iter().map(|(service, _)| (service, Worn::Unknown)));
                    Spot::Usable(place)
                }
                Err(error) => {
                    log::info!(
                        "services have no cgroups, what they leave is caught as a subreaper: {}",
                        with_causes(&error)
                    );
                    Spot::Unusable
                }
            };
        }
        match &self.place {
            Spot::Usable(place) => Some(place),
            Spot::Untried | Spot::Unusable => None,
        }
    }

    fn name(&self) -> String {
        format!("{:016x}", self.herd)
    }
}
