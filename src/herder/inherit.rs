//! What a new herder takes over from its keeper: start is adopt or launch.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use actix::{Context, Handler, Message};

use super::actor::Herder;
use super::apply::Wish;
use crate::conf::{AnyAccounts, Pool, Settings, lower};
use crate::keeper::Inherited;
use crate::model::{Moment, RunId, ServiceSpec, Wanted};
use crate::policy::{Because, Input, Lifecycle, Note, Phase};
use crate::process::Memo;
use crate::service::Instruct;

/// Go on with these services where another herder left them.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TakeOver {
    /// What is remembered of them.
    pub(crate) services: Vec<Inherited>,
    /// The herd is being ended, and that goes on, too.
    pub(crate) ending: bool,
}

/// What the texts of confs say, read with the settings of their time.
#[derive(Default)]
struct Library {
    /// Settings by their text, of which there is one as a rule.
    settings: BTreeMap<Arc<str>, Settings>,
    pool: Pool,
}

impl Handler<TakeOver> for Herder {
    type Result = ();

    fn handle(&mut self, TakeOver { services, ending }: TakeOver, ctx: &mut Self::Context) {
        let mut library = Library::default();
        let count = services.len();
        if ending {
            // Before any of them hears how its process has ended, which was asked to.
            self.herd.terminating.begin();
        }
        for inherited in services {
            self.inherit(inherited, ending, &mut library, ctx);
        }
        if count > 0 {
            log::info!("took over {count} services, {} of them with a process", self.living);
        }
    }
}

/// Whether this program understands what is remembered of a service: its note, and the conf that it was given last. Nothing
/// is said against one of which nothing is remembered.
///
/// # Errors
/// It does not: why, for people.
pub(crate) fn understand(inherited: &Inherited) -> Result<(), String> {
    let Inherited { service, origin, note, .. } = inherited;
    if !note.is_empty() {
        Note::from_bytes(note)
            .map_err(|error| format!("{service}: what is remembered of it is not understood: {error}"))?;
    }
    if !origin.conf.is_empty() && Library::default().read(inherited).is_none() {
        return Err(format!("{service}: its conf was accepted, and is not understood any more"));
    }
    Ok(())
}

impl Herder {
    fn inherit(&mut self, inherited: Inherited, ending: bool, library: &mut Library, ctx: &mut Context<Self>) {
        let Inherited { service, origin, note, runs, restarts, .. } = &inherited;
        if note.is_empty() && runs.is_empty() {
            // Nothing is remembered but the name: its conf begins it anew.
            return;
        }
        let now = self.herd.clock.now();
        let spec = match library.read(&inherited).map(Arc::new) {
            Some(spec) => {
                self.loading.remembered.follow(Arc::clone(&spec));
                spec
            }
            None => {
                log::error!(
                    "{service}: what is remembered of its conf is not understood; it goes on until its conf is read"
                );
                ServiceSpec { origin: origin.clone(), ..ServiceSpec::new(service.clone(), "") }.into()
            }
        };
        let note = Note::from_bytes(note).unwrap_or_else(|error| {
            log::error!("{service}: what is remembered of it is not understood: {error}");
            Note { restarts: restarts.unwrap_or_default(), ..unknown(runs, now) }
        });
        let (mut note, runs) = (note, runs.clone());
        // One that was not launched before its herder died must not be taken by another service.
        note.phase.run().into_iter().for_each(|run| self.herd.runs.reserve(run));
        if let Some(&newest) = runs.iter().max_by_key(|run| run.number) {
            note.catch_up(newest, *restarts, now);
            if note.phase.run().is_some_and(|run| !runs.contains(&run)) {
                note.wait_for(newest, now);
            }
        }
        // A shutdown of which nobody knows any more has not come to its end.
        let starts = !ending && note.outlive_shutdown(spec.enabled);
        let present = note.phase.run();
        let life = Lifecycle::of(note, self.rules(&spec));
        // It may be known from the journal only, and a herder that ends now has a successor.
        let note = || life.note().to_bytes();
        let (stop, origin, restarts) = (spec.stop, &spec.origin, life.note().restarts);
        let unasked = life.is_unasked();
        let memo = Memo { stop, origin, restarts, unasked, same_origin: inherited.kept, note: &note };
        self.herd.spawner.keep(service, memo);
        for run in runs {
            if present == Some(run) {
                // A keeper that found it does not know what ends with it.
                self.herd.spawner.rescope(run, spec.stop.scope);
            } else {
                // The note knows of its end, and nobody else will ask for it.
                self.herd.spawner.acknowledge(run);
            }
        }
        let wish = Wish { spec: Some(Arc::clone(&spec)), conf: PathBuf::new(), problems: Vec::new() };
        self.enlist_as(service, wish, life, ctx);
        if let (true, Some(child)) = (starts, self.roster.child_mut(service)) {
            child.addr.do_send(Instruct(Input::Start(Because::Loaded)));
        }
    }
}

/// The note of a service of which nothing but its runs is known.
fn unknown(runs: &[RunId], now: Moment) -> Note {
    let note = Note::new(now);
    match runs.last() {
        None => note,
        Some(&run) => Note { wanted: Wanted::Up, phase: Phase::Starting { run }, because: Because::Loaded, ..note },
    }
}

impl Library {
    fn read(&mut self, Inherited { service, origin, .. }: &Inherited) -> Option<ServiceSpec> {
        // Users and groups are looked up when a process is made; whether they were known is nothing to ask here.
        let accounts = &AnyAccounts;
        if !self.settings.contains_key(&origin.settings) {
            let settings = match &*origin.settings {
                "" => Settings::default(),
                text => Settings::read(text, accounts).ok()?,
            };
            self.settings.insert(Arc::clone(&origin.settings), settings);
        }
        let spec = lower(service, &origin.conf, self.settings.get(&origin.settings)?, accounts).ok()?;
        Some(self.pool.share(spec))
    }
}
