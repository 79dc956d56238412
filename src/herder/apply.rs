//! What a set of confs makes of the herd: the plan, carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, Context, Handler};

use super::actor::Herder;
use super::messages::{Applied, Dismiss, HerdEnded, Reload, Supervise, UnknownServices};
use super::news::may_still_end;
use super::roster::{Child, Entry};
use crate::bus::Happening;
use crate::conf::{Found, Loaded, Problem};
use crate::model::{Moment, ServiceId, ServiceSpec};
use crate::policy::{Action, Because, Input, Lifecycle, Note, Rules, may_remove, plan};
use crate::service::{Adjust, Disable, Instruct, Replace, ServiceActor};

/// A service as its conf has it: a spec where that is good.
pub(super) struct Wish {
    pub(super) spec: Option<Arc<ServiceSpec>>,
    pub(super) conf: PathBuf,
    pub(super) problems: Vec<Problem>,
}

impl Herder {
    /// Applies what was read; all that changes, changes in this one turn.
    pub(super) fn apply(&mut self, loaded: Loaded, reload: Reload, ctx: &mut Context<Self>) -> Applied {
        let may_remove = may_remove(loaded.whole, loaded.conf_count, reload.prune);
        let problems: Vec<_> = loaded.problems().into_iter().map(|(path, p)| (path.to_owned(), p.clone())).collect();
        let skipped = loaded.skipped.into_iter().map(|skipped| (skipped.id, skipped.path)).collect();
        let wishes: BTreeMap<_, _> = loaded.services.into_iter().map(|(id, found)| (id, Wish::from(found))).collect();
        let specs = wishes.iter().map(|(id, wish)| (id.clone(), wish.spec.as_deref())).collect();
        let actions = plan(&specs, &self.roster.present(), may_remove);
        if !reload.dry_run {
            self.roster.skipped = skipped;
            self.loading.settings = loaded.settings.unwrap_or_else(|| self.loading.settings.clone());
            self.note_problems(&problems, &actions);
            self.carry_out(&actions, wishes, ctx);
        }
        Applied { problems, ..applied(&actions) }
    }

    /// Says what is wrong, once for each problem that is new.
    fn note_problems(&mut self, problems: &[(PathBuf, Problem)], actions: &BTreeMap<ServiceId, Action>) {
        for (path, problem) in problems.iter().filter(|problem| !self.loading.told.contains(problem)) {
            log::error!("{}:{problem}", path.display());
        }
        let mended: BTreeSet<_> = self.loading.told.iter().map(|(path, _)| path.clone()).collect();
        for path in mended.iter().filter(|path| problems.iter().all(|(of, _)| of != *path)) {
            log::info!("{}: its problems are gone", path.display());
        }
        self.loading.told = problems.to_vec();
        let spared: Vec<_> = actions.iter().filter(|(_, a)| **a == Action::Spare).map(|(id, _)| id.as_str()).collect();
        self.loading.problems.clear();
        if !spared.is_empty() {
            let text = format!(
                "no conf is left for {}, and perhaps by accident: they run on; `reload --prune` stops them",
                spared.join(", ")
            );
            log::warn!("{text}");
            self.loading.problems.push(text);
        }
    }

    fn carry_out(
        &mut self,
        actions: &BTreeMap<ServiceId, Action>,
        mut wishes: BTreeMap<ServiceId, Wish>,
        ctx: &mut Context<Self>,
    ) {
        // Stops before starts: what takes the place of another may need its port.
        let ends = |action: &Action| matches!(action, Action::Remove | Action::Stop | Action::Restart);
        let (first, then): (Vec<_>, Vec<_>) = actions.iter().partition(|(_, action)| ends(action));
        for (id, action) in first.into_iter().chain(then) {
            self.act(id, *action, wishes.remove(id), ctx);
        }
        self.roster.pack();
    }

    fn act(&mut self, id: &ServiceId, action: Action, wish: Option<Wish>, ctx: &mut Context<Self>) {
        let Some(wish) = wish else { return self.act_without_conf(id, action) };
        let Some(spec) = wish.spec.clone() else {
            self.enlist(id, wish, ctx);
            return;
        };
        let entry = self.enlist(id, wish, ctx);
        let Some(child) = &mut entry.child else { return };
        // A later plan must not take a wish for unfulfilled that is on its way.
        // One that says the same is kept, or there would be two of each in memory.
        let spec = if *child.spec == *spec { Arc::clone(&child.spec) } else { spec };
        let before = std::mem::replace(&mut child.spec, Arc::clone(&spec));
        let addr = &child.addr;
        match action {
            // An actor that is new has it already.
            Action::Start if Arc::ptr_eq(&before, &spec) => addr.do_send(Instruct(Input::Start(Because::Loaded))),
            Action::Start | Action::Restart => addr.do_send(Replace(spec)),
            Action::Adjust => addr.do_send(Adjust(spec)),
            Action::Stop => addr.do_send(Disable(spec)),
            Action::Hold | Action::Keep | Action::Doubt | Action::Remove | Action::Leave | Action::Spare => {}
        }
    }

    fn act_without_conf(&mut self, id: &ServiceId, action: Action) {
        let Some(entry) = self.roster.entries.get_mut(id) else { return };
        match (action, &entry.child) {
            (Action::Remove, Some(child)) => {
                entry.leaving = true;
                child.addr.do_send(Instruct(Input::Leave));
            }
            (Action::Remove, None) => self.remove(id),
            (_, _) => {}
        }
    }

    /// The last that is heard of an actor whose service left the herd. If a conf for it came back while it ended, it
    /// begins anew with what that says.
    pub(super) fn left(&mut self, id: &ServiceId, ctx: &mut Context<Self>) {
        let Some(entry) = self.roster.entries.get_mut(id) else { return };
        let (leaving, old) = (entry.leaving, entry.child.take());
        if leaving {
            return self.remove(id);
        }
        let spec = old.map(|child| Arc::clone(&child.spec)).filter(|_| entry.problems.is_empty());
        let wish = Wish { spec, conf: entry.conf.clone(), problems: entry.problems.clone() };
        let start = self.farewell.is_none() && wish.spec.as_ref().is_some_and(|spec| spec.enabled);
        let entry = self.enlist(id, wish, ctx);
        match &entry.child {
            Some(child) if start => child.addr.do_send(Instruct(Input::Start(Because::Loaded))),
            Some(_) => {}
            None => {
                let what = entry.invalid();
                self.publish(id.clone(), what);
            }
        }
        self.farewell_goes_on();
    }

    fn remove(&mut self, id: &ServiceId) {
        self.roster.entries.remove(id);
        self.publish(id.clone(), Happening::Removed);
        self.farewell_goes_on();
    }

    /// The entry of a service that has a conf, with its file and its problems; with an actor as soon as there is a spec.
    fn enlist(&mut self, id: &ServiceId, wish: Wish, ctx: &mut Context<Self>) -> &mut Entry {
        let rules = wish.spec.as_deref().map(|spec| self.rules(spec));
        self.enlist_with(id, wish, |now| rules.map(|rules| Lifecycle::of(Note::new(now), rules)), ctx)
    }

    /// As [`Self::enlist`], with a lifecycle that another actor has driven.
    pub(super) fn enlist_as(&mut self, id: &ServiceId, wish: Wish, life: Lifecycle, ctx: &mut Context<Self>) {
        self.living += usize::from(may_still_end(&life));
        self.enlist_with(id, wish, |_| Some(life), ctx);
    }

    /// The rules of a spec. They are the same for all services as a rule, and then they are in memory once.
    pub(super) fn rules(&self, spec: &ServiceSpec) -> Arc<Rules> {
        let rules = Rules::from(spec);
        let known = self.roster.children().next().map(|child| child.life.rules()).filter(|known| ***known == rules);
        known.map_or_else(|| Arc::new(rules), Arc::clone)
    }

    fn enlist_with(
        &mut self,
        id: &ServiceId,
        wish: Wish,
        life: impl FnOnce(Moment) -> Option<Lifecycle>,
        ctx: &mut Context<Self>,
    ) -> &mut Entry {
        let (now, parent) = (self.herd.clock.now(), self.parent(ctx));
        let entry = self.roster.entries.entry(id.clone()).or_insert_with(|| Entry {
            child: None,
            conf: PathBuf::new(),
            problems: Vec::new(),
            leaving: false,
            since: now,
        });
        entry.leaving = false;
        entry.conf = wish.conf;
        entry.problems = wish.problems;
        if let (None, Some(spec)) = (&entry.child, wish.spec)
            && let Some(life) = life(now)
        {
            let life = Arc::new(life);
            let actor = ServiceActor::new(Arc::clone(&spec), Arc::clone(&life), Rc::clone(&self.herd), parent);
            entry.child = Some(Box::new(Child {
                addr: actor.start(),
                follows: Arc::clone(&spec),
                spec,
                life,
                replaced: None,
                untold: None,
            }));
        }
        entry
    }
}

impl From<Found> for Wish {
    fn from(found: Found) -> Self {
        match found {
            Found::Good { spec, path, .. } => Self { spec: Some(spec), conf: path, problems: Vec::new() },
            Found::Broken { path, problems, .. } => Self { spec: None, conf: path, problems },
        }
    }
}

/// The actions sorted by kind.
fn applied(actions: &BTreeMap<ServiceId, Action>) -> Applied {
    let mut applied = Applied::default();
    for (id, action) in actions {
        let list = match action {
            Action::Start => &mut applied.start,
            Action::Remove | Action::Stop => &mut applied.stop,
            Action::Restart => &mut applied.restart,
            Action::Adjust => &mut applied.adjust,
            Action::Hold | Action::Keep | Action::Doubt | Action::Spare => &mut applied.unchanged,
            // Told when that was begun.
            Action::Leave => continue,
        };
        list.push(id.clone());
    }
    applied
}

impl Handler<Supervise> for Herder {
    type Result = Result<(), HerdEnded>;

    fn handle(&mut self, Supervise(spec): Supervise, ctx: &mut Self::Context) -> Self::Result {
        if self.is_ending() {
            return Err(HerdEnded);
        }
        let (id, spec) = (spec.id.clone(), Arc::new(spec));
        let specs = BTreeMap::from([(id.clone(), Some(&*spec))]);
        let mut present = self.roster.present();
        present.retain(|known, _| *known == id);
        let actions = plan(&specs, &present, false);
        let wish = Wish { spec: Some(spec), conf: PathBuf::new(), problems: Vec::new() };
        self.carry_out(&actions, BTreeMap::from([(id, wish)]), ctx);
        Ok(())
    }
}

impl Handler<Dismiss> for Herder {
    type Result = Result<(), UnknownServices>;

    fn handle(&mut self, Dismiss(id): Dismiss, _: &mut Self::Context) -> Self::Result {
        if !self.roster.entries.contains_key(&id) {
            return Err(UnknownServices(vec![id]));
        }
        self.act_without_conf(&id, Action::Remove);
        Ok(())
    }
}
