//! The actor of one service.

use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Recipient, SpawnHandle};

use super::context::Herd;
use super::messages::{Adjust, Disable, Instruct, InstructTogether, News, Prepared, Replace, Reported, ServiceNews};
use crate::model::{Death, Ending, LaunchError, Moment, RunId, ServiceSpec, Stage, State, StopScope};
use crate::os;
use crate::policy::{Because, Effect, Effects, Input, Lifecycle, Phase, Rules};
use crate::process::{LAUNCH_LIMIT, Launch, Memo, Report, Reports, Whom, prepare, takes_time};

/// Drives the lifecycle of one service. Started by the Herder, which holds its only address.
pub struct ServiceActor {
    spec: Arc<ServiceSpec>,
    /// The spawner keeps the texts of this spec.
    kept: bool,
    /// Shared with the parent, which is told of every change: there is one in memory.
    life: Arc<Lifecycle>,
    herd: Rc<Herd>,
    /// Shared by all services of the parent: each way to a mailbox takes memory.
    parent: Rc<Recipient<ServiceNews>>,
    /// Where the spawner tells what becomes of a run; the same for all runs.
    reports: Option<Reports>,
    /// The one timer, and when it is due.
    timer: Option<(Moment, SpawnHandle)>,
    /// A run whose launch is being prepared on another thread: the spawner does not know it yet.
    preparing: Option<Preparing>,
}

/// A launch that is being prepared on another thread, and the timer that gives it up.
struct Preparing {
    run: RunId,
    limit: SpawnHandle,
}

impl ServiceActor {
    /// A service that goes on where its lifecycle is: a new one waits to be told, and one that was driven by another actor
    /// adopts its process.
    pub fn new(
        spec: Arc<ServiceSpec>,
        life: impl Into<Arc<Lifecycle>>,
        herd: Rc<Herd>,
        parent: impl Into<Rc<Recipient<ServiceNews>>>,
    ) -> Self {
        Self {
            spec,
            kept: false,
            life: life.into(),
            herd,
            parent: parent.into(),
            reports: None,
            timer: None,
            preparing: None,
        }
    }

    fn feed(&mut self, input: Input, ctx: &mut Context<Self>) {
        let now = self.herd.clock.now();
        if self.herd.terminating.has_begun() {
            if input.is_order_to_run() {
                return;
            }
            if self.life.stops_before(input) {
                // Its process may have been asked to end before it was told here.
                self.advance(ctx, |life, fresh| life.on(Input::Stop(Because::Shutdown), now, fresh));
            }
        }
        self.advance(ctx, |life, fresh| life.on(input, now, fresh));
    }

    /// Takes a step of the lifecycle: the parent hears of it first, then its effects are performed.
    fn advance(&mut self, ctx: &mut Context<Self>, step: impl FnOnce(&mut Lifecycle, RunId) -> Effects) {
        let from = self.life.state();
        let deaths = self.life.note().deaths.front().copied();
        let before = (self.life.note().phase, self.life.note().because, Arc::clone(self.life.rules()));
        let fresh = self.herd.runs.peek();
        let effects = step(Arc::make_mut(&mut self.life), fresh);
        if effects.contains(&Effect::Launch { run: fresh }) {
            self.herd.runs.taken();
        }
        let note = self.life.note();
        let death = note.deaths.front().copied().filter(|newest| Some(*newest) != deaths);
        if (note.phase, note.because, self.life.rules()) != (before.0, before.1, &before.2) || death.is_some() {
            // Kept before the effects exist, so that whoever takes over never sees one that it does not know of.
            self.keep(from, death);
        }
        for effect in effects {
            self.perform(effect, ctx);
        }
        self.arm(ctx);
    }

    /// Has the spawner keep what there is now, and tells the parent of it.
    fn keep(&mut self, from: State, death: Option<Death>) {
        let memo = Memo {
            stop: self.life.rules().stop,
            origin: &self.spec.origin,
            restarts: self.life.note().restarts,
            unasked: self.life.is_unasked(),
            same_origin: std::mem::replace(&mut self.kept, true),
            note: &|| self.life.note().to_bytes(),
        };
        self.herd.spawner.keep(&self.spec.id, memo);
        let (life, spec) = (Arc::clone(&self.life), Arc::clone(&self.spec));
        self.tell(News::Changed { life, spec, from, death });
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Launch { run } => self.prepare(run, ctx),
            Effect::Signal { run, .. } if self.is_preparing(run) => {
                // There is no process yet, and now there will be none.
                self.prepared(ctx);
                let cancelled = LaunchError { stage: Stage::Fork, errno: libc::ECANCELED };
                self.feed(Input::Ended { run, ending: Ending::NotLaunched(cancelled) }, ctx);
            }
            Effect::Signal { run, signal, scope } => self.herd.spawner.signal(run, signal, whom(scope)),
            Effect::Examine { run } => self.herd.spawner.examine(run),
            Effect::Acknowledge { run } => self.herd.spawner.acknowledge(run),
            Effect::Escalate { wait } => self.tell(News::Exceeded { wait }),
            Effect::Gone => {
                self.herd.spawner.forget(&self.spec.id);
                self.tell(News::Gone);
                ctx.stop();
            }
        }
    }

    fn prepare(&mut self, run: RunId, ctx: &mut Context<Self>) {
        if !takes_time(&self.spec.process) {
            let launch = prepare(&self.spec, run, &self.herd.place, &self.herd.baseline);
            return self.launch(run, launch, ctx);
        }
        let stage = if self.spec.process.env_file.is_some() { Stage::EnvFile } else { Stage::User };
        let limit = ctx.run_later(LAUNCH_LIMIT, move |_, ctx| {
            ctx.notify(Prepared { run, launch: Err(LaunchError { stage, errno: libc::ETIMEDOUT }) });
        });
        self.preparing = Some(Preparing { run, limit });
        let (spec, place, baseline) =
            (Arc::clone(&self.spec), Arc::clone(&self.herd.place), Arc::clone(&self.herd.baseline));
        let this = ctx.address().downgrade();
        // The thread may hang in a name service or on a dead disk; it holds nothing that anybody else needs.
        let begun = os::aside(&os::LAUNCHES, move || {
            let launch = prepare(&spec, run, &place, &baseline);
            if let Some(this) = this.upgrade() {
                this.do_send(Prepared { run, launch });
            }
        });
        if let Err(error) = begun {
            let errno = error.raw_os_error().unwrap_or(libc::EAGAIN);
            ctx.notify(Prepared { run, launch: Err(LaunchError { stage: Stage::Fork, errno }) });
        }
    }

    fn is_preparing(&self, run: RunId) -> bool {
        self.preparing.as_ref().is_some_and(|preparing| preparing.run == run)
    }

    /// Nothing is being prepared any more; what still comes of it is dropped.
    fn prepared(&mut self, ctx: &mut Context<Self>) {
        if let Some(Preparing { limit, .. }) = self.preparing.take() {
            ctx.cancel_future(limit);
        }
    }

    fn launch(&mut self, run: RunId, launch: Result<Launch, LaunchError>, ctx: &mut Context<Self>) {
        match launch {
            Ok(launch) => {
                let reports = self.reports(ctx);
                self.herd.spawner.launch(launch, reports);
            }
            // By way of the mailbox, as every other end: a launch that fails at once must not recurse.
            Err(error) => ctx.notify(Reported { run, report: Report::Ended(Ending::NotLaunched(error)) }),
        }
    }

    /// Keeps the one timer at the lifecycle's deadline.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let due = self.life.note().phase.deadline();
        if self.timer.map(|(at, _)| at) == due {
            return;
        }
        if let Some((_, old)) = self.timer.take() {
            ctx.cancel_future(old);
        }
        self.timer = due.map(|at| {
            let wait = at - self.herd.clock.now();
            let handle = ctx.run_later(wait, |this, ctx| {
                this.timer = None;
                this.feed(Input::Tick, ctx);
            });
            (at, handle)
        });
    }

    /// The way to this actor's mailbox. Made once: a small thing that each launch left behind, among all that a launch
    /// takes and gives back, would keep whole pages of memory busy.
    fn reports(&mut self, ctx: &mut Context<Self>) -> Reports {
        let made = self.reports.get_or_insert_with(|| {
            let this = ctx.address().downgrade();
            Arc::new(move |run, report| {
                if let Some(this) = this.upgrade() {
                    this.do_send(Reported { run, report });
                }
            })
        });
        Arc::clone(made)
    }

    /// Takes another spec, and the step of the lifecycle that follows from it.
    fn follow(
        &mut self,
        spec: Arc<ServiceSpec>,
        ctx: &mut Context<Self>,
        step: impl FnOnce(&mut Lifecycle, Rules, Moment, RunId) -> Effects,
    ) {
        if self.herd.terminating.has_begun() {
            return;
        }
        // What belongs to a living process is a rule, too, and its spawner keeps that one.
        if let Some(run) = self.life.note().phase.run() {
            self.herd.spawner.rescope(run, spec.stop.scope);
        }
        (self.spec, self.kept) = (spec, false);
        self.herd.spawner.log(&self.spec);
        let (rules, now) = (Rules::from(&*self.spec), self.herd.clock.now());
        self.advance(ctx, |life, fresh| step(life, rules, now, fresh));
        if !self.kept {
            // Nothing has come of it yet. Its text is the last good one all the same.
            self.keep(self.life.state(), None);
        }
    }

    fn tell(&self, news: News) {
        self.parent.do_send(ServiceNews { id: self.spec.id.clone(), news });
    }
}

fn whom(scope: StopScope) -> Whom {
    match scope {
        StopScope::Tree => Whom::Tree,
        StopScope::Main => Whom::Main,
    }
}

impl Actor for ServiceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.herd.spawner.log(&self.spec);
        let reports = self.reports(ctx);
        if let Some(run) = self.life.note().phase.run() {
            if self.herd.spawner.adopt(run, reports) {
                // A spawner that found the process again may not know what belongs to it.
                self.herd.spawner.rescope(run, self.spec.stop.scope);
                for effect in self.life.resume() {
                    self.perform(effect, ctx);
                }
            } else {
                ctx.notify(Instruct(Input::Vanished { run }));
            }
        }
        if self.life.note().phase == Phase::Exceeded {
            let wait = crate::policy::next_wait(self.life.note().last_wait, &self.spec.restart);
            self.tell(News::Exceeded { wait });
        }
        self.arm(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        // actix drops an actor whose handler panics, and only here it can still say so.
        if std::thread::panicking() {
            self.tell(News::Panicked);
        }
    }
}

impl Handler<Instruct> for ServiceActor {
    type Result = ();

    fn handle(&mut self, Instruct(input): Instruct, ctx: &mut Self::Context) {
        self.feed(input, ctx);
    }
}

impl Handler<InstructTogether> for ServiceActor {
    type Result = ();

    fn handle(&mut self, InstructTogether { input, heard }: InstructTogether, ctx: &mut Self::Context) {
        self.feed(input, ctx);
        // Not before: what it has told is on its way by now.
        drop(heard);
    }
}

impl Handler<Adjust> for ServiceActor {
    type Result = ();

    fn handle(&mut self, Adjust(spec): Adjust, ctx: &mut Self::Context) {
        self.follow(spec, ctx, Lifecycle::adjust);
    }
}

impl Handler<Disable> for ServiceActor {
    type Result = ();

    fn handle(&mut self, Disable(spec): Disable, ctx: &mut Self::Context) {
        self.follow(spec, ctx, |life, rules, now, _| life.disable(rules, now));
    }
}

impl Handler<Replace> for ServiceActor {
    type Result = ();

    fn handle(&mut self, Replace(spec): Replace, ctx: &mut Self::Context) {
        self.follow(spec, ctx, Lifecycle::replace);
    }
}

impl Handler<Reported> for ServiceActor {
    type Result = ();

    fn handle(&mut self, Reported { run, report }: Reported, ctx: &mut Self::Context) {
        self.feed(
            match report {
                Report::Launched { pid } => Input::Launched { run, pid },
                Report::Overdue { stage } => Input::Overdue { run, stage },
                Report::Refused { uid } => Input::Refused { run, uid },
                Report::Examined { state } => Input::Examined { run, state },
                Report::Ended(ending) => Input::Ended { run, ending },
            },
            ctx,
        );
    }
}

impl Handler<Prepared> for ServiceActor {
    type Result = ();

    fn handle(&mut self, Prepared { run, launch }: Prepared, ctx: &mut Self::Context) {
        if self.is_preparing(run) && self.herd.terminating.has_begun() {
            // Which gives it up.
            self.feed(Input::Stop(Because::Shutdown), ctx);
        }
        if self.is_preparing(run) {
            self.prepared(ctx);
            self.launch(run, launch, ctx);
        }
    }
}
