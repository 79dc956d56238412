//! The way out: another program takes the place of this one, in this very process, whose children remain its children.
//!
//! It is looked at first, while all goes on as ever. Then the herder is ended, all that it has said is done, and once no
//! launch is in flight any more (its child lives in our memory) everything is left in a sealed file and the other program is
//! executed. Whatever does not work until then ends the upgrade, and the next herder is one of this program.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use super::Keeper;
use crate::keeper::handover::{Handover, Head, Outcome};
use crate::keeper::lines;
use crate::keeper::preflight::Preflight;
use crate::model::Moment;
use crate::os::{self, Executable, Unfit};

/// How long the other program may look at the state.
const LOOK: Duration = Duration::from_secs(10);
/// How long the end of the herder and the launches in flight may take; meanwhile nobody answers.
const PARTING: Duration = Duration::from_secs(2);

/// An upgrade that is under way.
pub(super) struct Upgrade {
    program: Executable,
    outcome: Outcome,
    due: Moment,
    /// None once it has looked at the state: this program is about to go.
    preflight: Option<Preflight>,
}

impl Upgrade {
    pub(super) fn deadline(&self) -> Moment {
        self.due
    }
}

impl Keeper {
    /// Whether no more herders are made: another program is about to make its own.
    pub(super) fn leaves(&self) -> bool {
        self.upgrade.as_ref().is_some_and(|upgrade| upgrade.preflight.is_none())
    }

    pub(super) fn begin_upgrade(&mut self, path: String) {
        if self.upgrade.is_some() {
            // Asked for by a herder that has gone: this one hears what comes of it.
            return;
        }
        let number = self.upgraded.as_ref().map_or(0, |last| last.number) + 1;
        let from = env!("CARGO_PKG_VERSION").to_owned();
        let outcome = Outcome { number, from, to: String::new(), path, failed: None };
        if self.is_ending() {
            return self.upgrade_failed(outcome, "the daemon is shutting down".to_owned());
        }
        log::info!("upgrade: looking at {}", outcome.path);
        match self.look(&outcome) {
            Ok((program, preflight)) => {
                let due = self.now() + LOOK;
                self.upgrade = Some(Upgrade { program, outcome, due, preflight: Some(preflight) });
            }
            Err(error) => self.upgrade_failed(outcome, error.to_string()),
        }
    }

    fn look(&self, outcome: &Outcome) -> Result<(Executable, Preflight), Unfit> {
        let program = Executable::trusted(Path::new(&outcome.path))?;
        let preflight = Preflight::begin(&program, &self.program, &self.handover(outcome))?;
        Ok((program, preflight))
    }

    fn is_ending(&self) -> bool {
        self.shutdown.is_some() || self.over.is_some()
    }

    pub(super) fn is_preflight(&self, pid: i32) -> bool {
        self.upgrade.as_ref().and_then(|upgrade| upgrade.preflight.as_ref()).is_some_and(|look| look.pid() == pid)
    }

    pub(super) fn preflight_ended(&mut self) {
        let Some(mut upgrade) = self.upgrade.take() else { return };
        let Some(preflight) = upgrade.preflight.take() else { return };
        match preflight.end() {
            // It was stopped, or goes on.
            Err(preflight) => self.upgrade = Some(Upgrade { preflight: Some(preflight), ..upgrade }),
            Ok(Err(why)) => self.upgrade_failed(upgrade.outcome, why),
            Ok(Ok(version)) => {
                upgrade.outcome.to = version;
                upgrade.due = self.now() + PARTING;
                self.upgrade = Some(upgrade);
                self.kill_herder();
            }
        }
    }

    /// Does what is due in an upgrade. Where it goes well, nothing comes after it.
    pub(super) fn go_on_with_upgrade(&mut self, now: Moment) {
        let Some(upgrade) = self.upgrade.take() else { return };
        let (ending, parted) = (self.is_ending(), self.herder.is_none() && !self.slots.has_flights());
        let (outcome, why) = match upgrade {
            Upgrade { preflight, outcome, .. } if ending => {
                preflight.into_iter().for_each(Preflight::give_up);
                (outcome, "the daemon is shutting down".to_owned())
            }
            Upgrade { preflight: None, program, outcome, .. } if parted => {
                let error = self.become_other(&program, &outcome);
                (outcome, format!("it can't be executed: {error}"))
            }
            upgrade if now < upgrade.due => {
                self.upgrade = Some(upgrade);
                return;
            }
            Upgrade { preflight: Some(preflight), outcome, .. } => {
                preflight.give_up();
                (outcome, "its look at the present state does not end".to_owned())
            }
            Upgrade { preflight: None, outcome, .. } => (outcome, "a launch that is under way does not end".to_owned()),
        };
        self.upgrade_failed(outcome, why);
    }

    fn upgrade_failed(&mut self, outcome: Outcome, why: String) {
        log::error!("no upgrade to {}: {why}", outcome.path);
        self.upgraded = Some(Outcome { failed: Some(why), ..outcome });
        self.upgrade_told = false;
        // What the other program was shown was large.
        os::give_back_soon();
    }

    /// Comes back only with the reason why it is not done.
    fn become_other(&self, program: &Executable, outcome: &Outcome) -> io::Error {
        let waiting: Vec<_> = std::iter::from_fn(lines::next).map(|line| (line.error, line.text)).collect();
        let mut handover = self.handover(outcome);
        handover.head.lines.clone_from(&waiting);
        let error = match os::seal(c"daemonherder-upgrade", &handover.to_bytes()) {
            Ok(state) => {
                let number = state.as_raw_fd();
                let role = [c"--upgraded".into(), decimal(number)];
                let kept: Vec<_> = handover.descriptors().into_iter().chain([number]).collect();
                os::become_role(program, &self.program.argv_of(&role), &self.program.env, &kept)
            }
            Err(error) => error,
        };
        lines::put_back(waiting);
        error
    }

    fn handover(&self, outcome: &Outcome) -> Handover {
        let head = Head {
            listener: self.door.listener().as_raw_fd(),
            lock: self.lock.as_raw_fd(),
            program: self.program.executable.as_fd().as_raw_fd(),
            shelf: Some(self.shelf.ends().map(|end| end.as_raw_fd()).into()),
            since_ns: self.beginning.since_ns,
            herd: self.beginning.herd,
            next_run: self.slots.next_run(),
            open_files: self.beginning.open_files,
            outcome: outcome.clone(),
            ..Head::default()
        };
        Handover::new(head, self.slots.hand_over())
    }
}

/// A number as a word of a command line.
pub(super) fn decimal(number: i32) -> CString {
    CString::new(number.to_string()).expect("digits are no NUL")
}
