//! The Herder itself: what it holds, and the messages that only look or pass on.

use std::collections::VecDeque;
use std::future::ready;
use std::rc::{Rc, Weak};

use actix::{Actor, AsyncContext, Context, Handler, MessageResult, Recipient, ResponseFuture};
use tokio::sync::oneshot;

use super::farewell::Farewell;
use super::load::{Confs, Loading, Request};
use super::messages::{
    AwaitKept, Command, End, GetSettings, Order, Overview, SendSignal, Subscribe, Survey, UnknownServices,
};
use super::roster::Roster;
use crate::bus::{Bus, Subscription};
use crate::model::ServiceId;
use crate::policy::{Because, Input};
use crate::process::Whom;
use crate::service::{Herd, Instruct, ServiceNews, Terminating};

/// The root actor of a herd.
pub struct Herder {
    pub(super) herd: Rc<Herd>,
    pub(super) roster: Roster,
    /// Where services tell their news, as long as there are some.
    parent: Weak<Recipient<ServiceNews>>,
    pub(super) bus: Bus,
    /// Where the confs are; none in a herd that is told its services.
    pub(super) confs: Option<Confs>,
    pub(super) loading: Loading,
    /// Reloads that wait for their turn.
    pub(super) reloads: VecDeque<Request>,
    /// Services with a process that may still end.
    pub(super) living: usize,
    pub(super) farewell: Option<Farewell>,
    /// Who waits for the end of the herd.
    pub(super) mourners: Vec<oneshot::Sender<End>>,
}

impl Herder {
    /// A herd without services; it must be started on the thread of its spawner. What is in its conf directory runs from
    /// the first [`Reload`](super::Reload) on; a herd without one is told its services by [`Supervise`](super::Supervise).
    pub fn new(herd: Herd, confs: Option<Confs>) -> Self {
        Self {
            // A herd that is made once more from a copy is not being ended for that.
            herd: Rc::new(Herd { terminating: Terminating::default(), ..herd }),
            roster: Roster::default(),
            parent: Weak::new(),
            bus: Bus::new(),
            confs,
            loading: Loading::default(),
            reloads: VecDeque::new(),
            living: 0,
            farewell: None,
            mourners: Vec::new(),
        }
    }

    /// Whether the herd is being ended, for whoever hears of that before this actor does.
    pub(crate) fn terminating(&self) -> Terminating {
        self.herd.terminating.clone()
    }

    /// Whether nothing is started any more.
    pub(super) fn is_ending(&self) -> bool {
        // Of the end of a herd its services may have heard first.
        self.farewell.is_some() || self.herd.terminating.has_begun()
    }

    /// Where services tell their news.
    pub(super) fn parent(&mut self, ctx: &mut Context<Self>) -> Rc<Recipient<ServiceNews>> {
        self.parent.upgrade().unwrap_or_else(|| {
            let parent = Rc::new(ctx.address().recipient());
            self.parent = Rc::downgrade(&parent);
            parent
        })
    }

    /// The services of these ids, or the ids of which there are none.
    /// One whose conf is gone can only be stopped any more.
    fn known(&self, ids: &[ServiceId], order: Order) -> Result<(), UnknownServices> {
        let leaving = |id: &ServiceId| self.roster.entries.get(id).is_some_and(|entry| entry.leaving);
        let unknown = |id: &&ServiceId| !self.roster.knows(id) || (order != Order::Stop && leaving(id));
        let unknown: Vec<_> = ids.iter().filter(unknown).cloned().collect();
        if unknown.is_empty() { Ok(()) } else { Err(UnknownServices(unknown)) }
    }
}

impl Actor for Herder {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // One message a service and state change: the default of 16 is a bound for senders who wait, and these do not.
        ctx.set_mailbox_capacity(1024);
        if self.confs.as_ref().is_some_and(|confs| confs.live) {
            self.listen_for_changes(ctx);
        }
    }
}

impl Handler<Survey> for Herder {
    type Result = MessageResult<Survey>;

    fn handle(&mut self, _: Survey, _: &mut Self::Context) -> Self::Result {
        let at = self.herd.clock.now();
        let problems = self.loading.problems.clone();
        MessageResult(Overview {
            at,
            services: self.roster.statuses(at, &*self.herd.spawner),
            problems,
            ending: self.is_ending(),
        })
    }
}

impl Handler<Command> for Herder {
    type Result = ResponseFuture<Result<(), UnknownServices>>;

    /// Answered once it holds over the end of every process of the daemon.
    fn handle(&mut self, Command { ids, order }: Command, _: &mut Self::Context) -> Self::Result {
        if let Err(unknown) = self.known(&ids, order) {
            return Box::pin(ready(Err(unknown)));
        }
        let input = match order {
            Order::Start => Input::Start(Because::Operator),
            Order::Stop => Input::Stop(Because::Operator),
            Order::Restart => Input::Restart(Because::Operator),
        };
        // In a herd that ends, nothing begins.
        if self.is_ending() && order != Order::Stop {
            return Box::pin(ready(Ok(())));
        }
        let children = ids.iter().filter_map(|id| self.roster.entries.get(id)?.child.as_ref());
        let told: Vec<_> = children.map(|child| child.addr.send(Instruct(input))).collect();
        let spawner = Rc::clone(&self.herd.spawner);
        Box::pin(async move {
            for told in told {
                // An error is an actor that panicked; what it was told is lost with it.
                let _ = told.await;
            }
            spawner.kept().await;
            Ok(())
        })
    }
}

impl Handler<SendSignal> for Herder {
    type Result = Result<Vec<ServiceId>, UnknownServices>;

    fn handle(&mut self, SendSignal { ids, signal, tree }: SendSignal, _: &mut Self::Context) -> Self::Result {
        self.known(&ids, Order::Stop)?;
        let whom = if tree { Whom::Tree } else { Whom::Main };
        let mut without = Vec::new();
        for id in ids {
            let child = self.roster.entries.get(&id).and_then(|entry| entry.child.as_ref());
            match child.and_then(|child| child.life.note().phase.run()) {
                Some(run) => self.herd.spawner.signal(run, signal, whom),
                None => without.push(id),
            }
        }
        Ok(without)
    }
}

impl Handler<AwaitKept> for Herder {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, AwaitKept { output_of }: AwaitKept, _: &mut Self::Context) -> Self::Result {
        let kept = self.herd.spawner.kept();
        let settled: Vec<_> = output_of.iter().map(|id| self.herd.spawner.settled(id)).collect();
        Box::pin(async move {
            kept.await;
            for settled in settled {
                settled.await;
            }
        })
    }
}

impl Handler<Subscribe> for Herder {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, _: Subscribe, _: &mut Self::Context) -> Self::Result {
        let subscription: Subscription = self.bus.subscribe();
        MessageResult(subscription)
    }
}

impl Handler<GetSettings> for Herder {
    type Result = MessageResult<GetSettings>;

    fn handle(&mut self, _: GetSettings, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.loading.settings.clone())
    }
}
