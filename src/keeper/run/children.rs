//! Ends of children: of services' processes, of orphans that became the keeper's own, of a herder.

use super::Keeper;
use crate::model::Ending;
use crate::os::{self, Taken};

impl Keeper {
    pub(super) fn take_signals(&mut self) {
        let (mut taken, mut children) = (Vec::new(), Vec::new());
        self.signals.read(|signal| match signal {
            Taken::Child(pid) => children.push(pid),
            other => taken.push(other),
        });
        for signal in taken {
            match signal {
                Taken::End => self.ask_for_the_end(),
                Taken::Reload => self.wish(|wishes| wishes.reload = true),
                Taken::Child(_) => {}
            }
        }
        if children.is_empty() {
            return;
        }
        for pid in children {
            self.child_ended(pid);
        }
        self.slots.clear();
        self.behind = true;
    }

    /// Reaps those that have ended, and looks for others: a signal that is pending swallows further ones, so that there may be
    /// more than were named, and asking for any looks at every child there is.
    pub(super) fn catch_up_with_children(&mut self) {
        self.slots.reap_ended();
        while let Some(pid) = os::ended_child() {
            self.child_ended(pid);
            self.slots.reap_ended();
        }
        self.slots.clear();
        self.slots.wake_stopped();
    }

    fn child_ended(&mut self, pid: i32) {
        if self.herder.as_ref().is_some_and(|herder| herder.pid() == pid) {
            self.herder_changed();
        } else if self.is_preflight(pid) {
            self.preflight_ended();
        } else {
            self.slots.reap(pid);
        }
    }

    fn herder_changed(&mut self) {
        let Some(herder) = self.herder.take() else { return };
        match herder.reap() {
            // It was stopped (SIGSTOP) or goes on: whether it listens will be seen.
            Err(herder) => {
                self.herder = Some(herder);
                self.wish(|wishes| wishes.ping = true);
            }
            Ok(ending) => {
                // What it said before it ended counts, but for a last word that is not whole.
                self.listen();
                self.unlink();
                self.watch.ended(self.now());
                if self.over.is_none() && !self.leaves() {
                    self.mourn(ending);
                }
            }
        }
    }

    fn mourn(&mut self, ending: Ending) {
        log::error!("the herder {ending}; the next one takes over");
        self.door.note(format!("the last process of it {ending}"));
        if let (false, Ending::Exited(code)) = (self.answered, ending)
            && self.slots.living().is_empty()
        {
            // It has said why it can't begin, and nothing is lost with this daemon.
            self.never_began = Some(code);
        }
    }
}
