//! Upgrades as the herder asks for them and hears of them.

use tokio::sync::oneshot;

use super::Client;
use crate::keeper::handover::Outcome;
use crate::keeper::wire::Request;

impl Client {
    /// How the last upgrade went, if there was one.
    pub(crate) fn upgraded(&self) -> Option<Outcome> {
        self.desk.borrow().upgraded.clone()
    }

    /// Puts the program of a file in the place of the present one. Only a failure is ever told: where it goes well this
    /// process ends. None where another upgrade is under way.
    pub(crate) fn upgrade(&self, path: String) -> Option<oneshot::Receiver<Outcome>> {
        let mut desk = self.desk.borrow_mut();
        if desk.upgrading.is_some() {
            return None;
        }
        let (failed, outcome) = oneshot::channel();
        desk.upgrading = Some(failed);
        drop(desk);
        self.say(&Request::Upgrade(path));
        Some(outcome)
    }

    pub(super) fn hear_of_upgrade(&self, outcome: Outcome) {
        let mut desk = self.desk.borrow_mut();
        if let Some(asked) = desk.upgrading.take() {
            // Whoever waited may have gone.
            let _ = asked.send(outcome.clone());
        }
        desk.upgraded = Some(outcome);
    }
}
