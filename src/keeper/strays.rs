//! What earlier keepers' runs have left: processes that escaped while such a one lived, and are nobody's since it was killed.
//!
//! A look for them goes through all processes of the machine. So it is for all runs that have ended by then, and a herd of
//! which many end one after the other waits between two looks for several times as long as a look takes.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

use crate::model::{RunId, ServiceId};
use crate::os::tree::{Kin, Stray, kill_strays, strays};

/// So many times as long as a look took, nobody looks again.
const REST: u32 = 4;
/// How long until there is another look where one was not possible.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long that may go on for another reason than that the machine is short of something, before a run counts as ended all
/// the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// The runs that have ended and of which something may be left.
pub(super) struct Strays {
    herd: u64,
    sought: HashMap<RunId, Sought>,
    /// Not before this moment is looked again.
    rests: Instant,
}

/// A run that has ended and of which something may be left.
pub(super) struct Sought {
    pub(super) run: RunId,
    pub(super) service: ServiceId,
    /// The user that it was launched as.
    uid: u32,
    until: Instant,
}

impl Strays {
    pub(super) fn new(herd: u64) -> Self {
        Self { herd, sought: HashMap::new(), rests: Instant::now() }
    }

    /// Something may be left of this run.
    pub(super) fn seek(&mut self, run: RunId, service: &ServiceId, uid: u32) {
        let until = Instant::now() + PATIENCE;
        self.sought.insert(run, Sought { run, service: service.clone(), uid, until });
    }

    /// When there is to be a look.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.sought.is_empty()).then_some(self.rests)
    }

    /// Looks, if it is time to: the runs that were looked for, and what of each has been killed and is to be waited for.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Sought, Vec<Kin>)> {
        if self.due().is_none_or(|due| due > now) {
            return Vec::new();
        }
        let begun = Instant::now();
        let looked = self.end();
        let ended = Instant::now();
        match looked {
            Ok(mut killed) => {
                self.rests = ended + (ended - begun) * REST;
                let sought = std::mem::take(&mut self.sought).into_values();
                let left_of = |sought: Sought| {
                    let left = killed.remove(&sought.run).unwrap_or_default();
                    (sought, left)
                };
                sought.map(left_of).collect()
            }
            Err(error) => {
                log::warn!("cannot look for what earlier runs have left: {error}; it is tried again");
                self.rests = ended + LOOK_AGAIN;
                // Who is short of descriptors or memory may have them again; of one without `/proc` nothing is known for ever.
                let short = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM));
                let given_up = self.sought.extract_if(|_, sought| !short && sought.until <= now);
                given_up.map(|(_, sought)| (sought, Vec::new())).collect()
            }
        }
    }

    /// Kills all that is left of the runs that are sought.
    fn end(&self) -> io::Result<HashMap<RunId, Vec<Kin>>> {
        let found = self.look()?;
        let (mut killed, mut seen) = (HashMap::<RunId, Vec<Kin>>::new(), HashSet::new());
        let mut take = |found: Vec<Stray>| -> Vec<Kin> {
            for Stray { run, kin } in &found {
                // Without a descriptor more, nobody waits for it.
                if let (true, Ok(kin)) = (seen.insert(kin.pid()), kin.again()) {
                    killed.entry(*run).or_default().push(kin);
                }
            }
            found.into_iter().map(|stray| stray.kin).collect()
        };
        let roots = take(found);
        if !roots.is_empty() {
            kill_strays(roots, || take(self.look().unwrap_or_default()));
        }
        for (run, strays) in &killed {
            if let Some(Sought { service, .. }) = self.sought.get(run) {
                log::info!("{service}: what {run:?} left is killed: {} processes", strays.len());
            }
        }
        Ok(killed)
    }

    fn look(&self) -> io::Result<Vec<Stray>> {
        let own = nix::unistd::getuid().as_raw();
        let sought = |run, uid| self.sought.get(&run).is_some_and(|sought| uid == own || uid == sought.uid);
        strays(self.herd, |run| self.sought.contains_key(&run), sought)
    }
}
