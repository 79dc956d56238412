//! The ordered end of a herd.

use std::collections::Bound;
use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Context, Handler, Message, ResponseFuture, SpawnHandle};
use tokio::sync::oneshot;

use super::actor::Herder;
use super::messages::{AwaitEnd, End, Shutdown};
use crate::model::{Moment, ServiceId};
use crate::policy::{Because, INSISTS, Input};
use crate::service::{Instruct, InstructTogether};

/// How many services hear of the end at a time.
const AT_ONCE: usize = 32;

/// How long one takes to end, more or less. As long as all take, the services that were asked together have the processors.
const ONE_ENDS: Duration = Duration::from_micros(100);
/// But at most this long.
const ENDS: Duration = Duration::from_millis(100);

/// A farewell under way.
pub(super) struct Farewell {
    begun: Moment,
    told: Told,
    over: bool,
    end: End,
}

/// Whom the farewell was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nobody, until the timer says so, or all have ended.
    Nobody(SpawnHandle),
    Some,
    /// Every service has heard of it, and whatever it had begun before is known here.
    All,
}

/// Every service up to this one has heard of the farewell. What they did before is told before this arrives.
#[derive(Message)]
#[rtype(result = "()")]
struct Heard(ServiceId);

impl Handler<Shutdown> for Herder {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Shutdown { leave_services }: Shutdown, ctx: &mut Self::Context) -> Self::Result {
        let now = self.herd.clock.now();
        match &self.farewell {
            // What was asked to end already is not left.
            None if leave_services && !self.herd.terminating.has_begun() => {
                log::info!("leaving {} services to the next daemon", self.living);
                self.farewell = Some(Farewell { begun: now, told: Told::All, over: true, end: End::Left });
                self.herd.spawner.leaving();
                self.bus.close();
            }
            None => {
                log::info!("stopping {} services", self.living);
                self.farewell = Some(Farewell { begun: now, told: Told::Some, over: false, end: End::Stopped });
                // Before any service is stopped: whoever finds one stopped knows why.
                self.herd.spawner.ending();
                self.herd.terminating.begin();
                let signals: Vec<_> = self.roster.children().filter_map(|child| child.life.stop_signal()).collect();
                if self.herd.spawner.signal_together(&signals) {
                    // The story of it can wait, and by then most of them have ended.
                    let services = u32::try_from(signals.len()).unwrap_or(u32::MAX);
                    let timer = ctx.run_later(ONE_ENDS.saturating_mul(services).min(ENDS), Self::tell_services);
                    if let Some(farewell) = &mut self.farewell {
                        farewell.told = Told::Nobody(timer);
                    }
                } else {
                    self.stop_some(Bound::Unbounded, ctx);
                }
            }
            Some(Farewell { begun, over: false, .. }) if now - *begun >= INSISTS => {
                log::warn!("asked again: killing {} services", self.living);
                for child in self.roster.children() {
                    child.addr.do_send(Instruct(Input::Kill));
                }
            }
            Some(_) => {}
        }
        let end = self.end();
        self.farewell_goes_on();
        Box::pin(async move {
            end.await;
        })
    }
}

impl Handler<Heard> for Herder {
    type Result = ();

    fn handle(&mut self, Heard(last): Heard, ctx: &mut Self::Context) {
        self.stop_some(Bound::Excluded(last), ctx);
        self.farewell_goes_on();
    }
}

impl Handler<AwaitEnd> for Herder {
    type Result = ResponseFuture<End>;

    fn handle(&mut self, _: AwaitEnd, _: &mut Self::Context) -> Self::Result {
        let end = self.end();
        self.farewell_goes_on();
        end
    }
}

impl Herder {
    /// Where all have ended that were asked to, the services are told now, also those that had no process.
    pub(super) fn tell_services_of_their_end(&mut self, ctx: &mut Context<Self>) {
        if self.living == 0 {
            self.tell_services(ctx);
        }
    }

    fn tell_services(&mut self, ctx: &mut Context<Self>) {
        if let Some(Farewell { told: told @ Told::Nobody(_), .. }) = &mut self.farewell {
            if let Told::Nobody(timer) = std::mem::replace(told, Told::Some) {
                ctx.cancel_future(timer);
            }
            self.stop_some(Bound::Unbounded, ctx);
            self.farewell_goes_on();
        }
    }

    /// Ends the farewell once nothing lives any more that could still be ended.
    pub(super) fn farewell_goes_on(&mut self) {
        let Some(farewell) = &mut self.farewell else { return };
        if !farewell.over && (farewell.told != Told::All || self.living > 0) {
            return;
        }
        if !farewell.over {
            farewell.over = true;
            for child in self.roster.children().filter(|child| child.life.note().phase.run().is_some()) {
                log::error!("{}: left behind: {}", child.spec.id, child.reason(self.herd.clock.now()));
            }
            // Observers end with the herd, not with the actor that served it.
            self.bus.close();
        }
        for mourner in self.mourners.drain(..) {
            // Whoever asked may have gone.
            let _ = mourner.send(farewell.end);
        }
    }

    fn end(&mut self) -> ResponseFuture<End> {
        let (done, ended) = oneshot::channel();
        self.mourners.push(done);
        Box::pin(async move {
            // An error is a herder that is gone, and so is its herd.
            ended.await.unwrap_or(End::Stopped)
        })
    }

    /// Tells the next few services to stop, and goes on with those behind them once these have begun to.
    ///
    /// A few at a time: the first ones end while the last ones have not heard of it, on a second processor that would have
    /// nothing to do else.
    fn stop_some(&mut self, behind: Bound<ServiceId>, ctx: &mut Context<Self>) {
        let (heard, all_heard) = oneshot::channel();
        let message = InstructTogether { input: Input::Stop(Because::Shutdown), heard: Arc::new(heard) };
        let next = self.roster.children_behind(behind).take(AT_ONCE);
        let last = next.inspect(|child| child.addr.do_send(message.clone())).last().map(|child| child.spec.id.clone());
        drop(message);
        match (last, &mut self.farewell) {
            (Some(last), _) => {
                let this = ctx.address();
                // A task of its own: what an actor has spawned is polled with each message to it.
                tokio::task::spawn_local(async move {
                    // It is never sent, but dropped. That of an actor which panicked is, too; the one in its place is told anew.
                    let _ = all_heard.await;
                    this.do_send(Heard(last));
                });
            }
            (None, Some(farewell)) => farewell.told = Told::All,
            (None, None) => {}
        }
    }
}
