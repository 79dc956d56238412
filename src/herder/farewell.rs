//! The ordered end of a herd.

use std::time::Duration;

use actix::{Handler, ResponseFuture};
use tokio::sync::oneshot;

use super::actor::Herder;
use super::messages::Shutdown;
use crate::model::Moment;
use crate::policy::{Because, Input};
use crate::service::Instruct;

/// A second request counts as such only after this time: Ctrl-C and `killall` may reach the daemon twice.
const SECOND: Duration = Duration::from_secs(1);

/// A farewell under way.
pub(super) struct Farewell {
    begun: Moment,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Handler<Shutdown> for Herder {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) -> Self::Result {
        let now = self.herd.clock.now();
        let (done, ended) = oneshot::channel();
        match &mut self.farewell {
            None => {
                log::info!("stopping {} services", self.living);
                self.farewell = Some(Farewell { begun: now, waiting: vec![done] });
                self.instruct_all(Input::Stop(Because::Shutdown));
            }
            Some(farewell) => {
                farewell.waiting.push(done);
                if now - farewell.begun >= SECOND {
                    log::warn!("asked again: killing {} services", self.living);
                    self.instruct_all(Input::Kill);
                }
            }
        }
        self.farewell_goes_on();
        Box::pin(async move {
            // An error is a herder that is gone, and so is its herd.
            let _ = ended.await;
        })
    }
}

impl Herder {
    /// Ends the farewell once nothing lives any more that could still be ended.
    pub(super) fn farewell_goes_on(&mut self) {
        if self.farewell.is_some() && self.living == 0 {
            for child in self.roster.children().filter(|child| child.life.note().phase.run().is_some()) {
                log::error!("{}: left behind: {}", child.spec.id, child.life.reason(self.herd.clock.now()));
            }
            for waiting in self.farewell.iter_mut().flat_map(|farewell| farewell.waiting.drain(..)) {
                // Whoever asked may have gone.
                let _ = waiting.send(());
            }
        }
    }

    fn instruct_all(&self, input: Input) {
        for child in self.roster.children() {
            child.addr.do_send(Instruct(input));
        }
    }
}
