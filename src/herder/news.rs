//! What the Herder makes of what its services tell.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler};

use super::actor::Herder;
use super::messages::LogNews;
use super::roster::Entry;
use crate::bus::Happening;
use crate::model::{Death, ServiceId, ServiceSpec, State};
use crate::observe::journal;
use crate::policy::{Because, Input, Lifecycle, Phase, Rung, verdict};
use crate::service::{Adjust, Disable, Instruct, News, Replace, ServiceActor, ServiceNews};

/// An actor that panics again within this time after it was replaced waits that long before it is replaced again.
const PANIC_PAUSE: Duration = Duration::from_secs(1);

/// Whether a service has a process of which an end may still come. One that KILL does not end is not waited for.
pub(super) fn may_still_end(life: &Lifecycle) -> bool {
    match life.note().phase {
        Phase::Stopping { rung: Rung::Stuck { .. }, .. } => false,
        phase => phase.run().is_some(),
    }
}

/// [`News::Changed`].
struct Change {
    life: Arc<Lifecycle>,
    spec: Arc<ServiceSpec>,
    from: State,
    death: Option<Death>,
}

impl Handler<ServiceNews> for Herder {
    type Result = ();

    fn handle(&mut self, ServiceNews { id, news }: ServiceNews, ctx: &mut Self::Context) {
        match news {
            News::Changed { life, spec, from, death } => self.changed(&id, Change { life, spec, from, death }),
            News::Exceeded { wait } => self.judge(&id, wait),
            News::Gone => self.left(&id, ctx),
            News::Panicked => self.panicked(&id, ctx),
        }
        self.tell_services_of_their_end(ctx);
    }
}

impl Handler<LogNews> for Herder {
    type Result = ();

    fn handle(&mut self, LogNews { id, what }: LogNews, _: &mut Self::Context) {
        if self.roster.knows(&id) {
            self.publish(id, what);
        }
    }
}

impl Herder {
    fn changed(&mut self, id: &ServiceId, Change { life, spec, from, death }: Change) {
        let now = self.herd.clock.now();
        let Some(child) = self.roster.child_mut(id) else { return };
        let before = std::mem::replace(&mut child.life, life);
        let followed = std::mem::replace(&mut child.follows, spec);
        self.living = self.living + usize::from(may_still_end(&child.life)) - usize::from(may_still_end(&before));
        if child.life.note().phase == Phase::Exceeded {
            // Told together with the verdict, which is what this leads to.
            child.untold = Some(Box::new((from, death)));
            return;
        }
        let told = child.untold.take();
        let entered = told.is_some()
            || death.is_some()
            || child.life.state() != from
            || child.life.note().phase.run() != before.note().phase.run();
        if entered {
            let (from, death) = told.map_or((from, death), |told| *told);
            let what = child.entered(from, death, now);
            self.publish(id.clone(), what);
        } else if !Arc::ptr_eq(&followed, &child.follows) && !child.life.is_to_start_anew() {
            self.publish(id.clone(), Happening::Adjusted);
        }
        self.farewell_goes_on();
    }

    /// The parent's part of an exceeded restart intensity.
    fn judge(&mut self, id: &ServiceId, wait: Duration) {
        if let Some(child) = self.roster.child_mut(id) {
            let verdict = verdict(child.life.rules().restart.exceeded, wait, fastrand::u8(..));
            child.addr.do_send(Instruct(Input::Verdict(verdict)));
        }
    }

    /// A service whose actor panicked gets a fresh one, which goes on from the last note; its process is adopted.
    fn panicked(&mut self, id: &ServiceId, ctx: &mut Context<Self>) {
        let now = self.herd.clock.now();
        let Some(child) = self.roster.child_mut(id) else { return };
        if child.replaced.is_some_and(|last| now - last < PANIC_PAUSE) {
            log::error!("{id}: its actor panicked again, the next one waits {PANIC_PAUSE:?}");
            let id = id.clone();
            ctx.run_later(PANIC_PAUSE, move |herder, ctx| herder.replace_actor(&id, ctx));
            return;
        }
        self.replace_actor(id, ctx);
    }

    fn replace_actor(&mut self, id: &ServiceId, ctx: &mut Context<Self>) {
        let (herd, parent, now) = (Rc::clone(&self.herd), self.parent(ctx), self.herd.clock.now());
        let Some(Entry { child: Some(child), leaving, .. }) = self.roster.entries.get_mut(id) else { return };
        child.addr = ServiceActor::new(Arc::clone(&child.follows), Arc::clone(&child.life), herd, parent).start();
        child.replaced = Some(now);
        // What was on its way to the old one is lost with its mailbox; what is owed is known here.
        let changed = !Arc::ptr_eq(&child.follows, &child.spec);
        match (&self.farewell, *leaving) {
            (Some(_), _) => child.addr.do_send(Instruct(Input::Stop(Because::Shutdown))),
            (None, true) => child.addr.do_send(Instruct(Input::Leave)),
            (None, false) if !changed => {}
            (None, false) if !child.spec.enabled => child.addr.do_send(Disable(Arc::clone(&child.spec))),
            (None, false) if child.follows.process == child.spec.process => {
                child.addr.do_send(Adjust(Arc::clone(&child.spec)));
            }
            (None, false) => child.addr.do_send(Replace(Arc::clone(&child.spec))),
        }
        self.publish(id.clone(), Happening::ActorReplaced);
    }

    /// Tells observers, and the log.
    pub(super) fn publish(&mut self, service: ServiceId, what: Happening) {
        let event = self.bus.publish(self.herd.clock.now(), service, what);
        journal::write(&event);
    }
}
