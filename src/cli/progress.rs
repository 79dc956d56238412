//! What a verb that waits shows of its waiting, on a terminal only: which services are not there yet, and why.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::client::{Daemon, Question};
use super::text::printable;
use crate::api::{Candidate, EventDocument, HerdDocument, select};
use crate::model::State;

/// How often the wheel turns.
const TURN: Duration = Duration::from_millis(100);

/// A line on standard error, which goes away with this.
pub(super) struct Progress(ProgressBar);

/// More events than any daemon remembers.
const ALL: usize = 100_000;

/// Who is waited for.
#[derive(Debug, Default)]
struct Waited {
    services: BTreeMap<String, Service>,
    starts: bool,
}

/// What was last heard of a service.
#[derive(Debug)]
struct Service {
    state: String,
    why: String,
    /// Since when: what happened before is old.
    since: String,
    is_there: bool,
}

impl Progress {
    /// Shows what becomes of the services that these names mean, until it is dropped.
    pub(super) fn of(verb: &str, names: Vec<String>, daemon: &Daemon) -> Self {
        let bar = ProgressBar::new_spinner();
        if bar.is_hidden() {
            return Self(bar);
        }
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TURN);
        let (daemon, shown, verb) = (daemon.clone(), bar.clone(), verb.to_owned());
        // It ends with this process, which waits for something else.
        thread::spawn(move || {
            let Ok(herd) = daemon.ask_for::<HerdDocument>(&Question::get("/v1/services")) else { return };
            let mut waited = Waited::of(&herd, &names, &verb);
            shown.set_message(waited.message());
            // The past ones, too: some of them may have happened since. Without events the wheel turns on.
            let _ = daemon.hear(&format!("/v1/events?past={ALL}"), None, |told| {
                if let Ok(event) = serde_json::from_str(&told.data) {
                    waited.happened(event);
                    shown.set_message(waited.message());
                }
                !shown.is_finished()
            });
        });
        Self(bar)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Waited {
    fn of(herd: &HerdDocument, names: &[String], verb: &str) -> Self {
        let is_here = |state: &str| state != State::Skipped.name();
        let candidates: Vec<_> =
            herd.services.iter().map(|one| Candidate { id: &one.id, by_glob: is_here(&one.state) }).collect();
        // Names that nobody has are told by the answer.
        let chosen = select(names, &candidates).unwrap_or_default();
        let mut waited = Self { services: BTreeMap::new(), starts: verb != "stop" };
        for service in chosen.into_iter().filter_map(|index| herd.services.get(index)) {
            // One that runs is to end before it is there again.
            let is_there = verb != "restart" && waited.is_there(&service.state);
            let (state, why, since) = (service.state.clone(), service.reason.clone(), service.since.clone());
            waited.services.insert(service.id.clone(), Service { state, why, since, is_there });
        }
        waited
    }

    fn is_there(&self, state: &str) -> bool {
        match state {
            "running" => self.starts,
            "stopped" | "exited" | "failed" => !self.starts,
            _ => false,
        }
    }

    fn happened(&mut self, event: EventDocument) {
        let Some(state) = event.state else { return };
        let is_there = self.is_there(&state);
        if let Some(known) = self.services.get_mut(&event.service)
            && known.since < event.at
        {
            *known = Service { state, why: event.message, since: event.at, is_there };
        }
    }

    fn message(&self) -> String {
        let one = |(id, Service { state, why, .. }): (&String, &Service)| {
            // Why says the state, too, as a rule.
            if why.starts_with(state.as_str()) { format!("{id} {why}") } else { format!("{id} {state}: {why}") }
        };
        let left: Vec<_> = self.services.iter().filter(|(_, service)| !service.is_there).map(one).collect();
        if left.is_empty() {
            return if self.starts { "waiting for them to settle".to_owned() } else { String::new() };
        }
        format!("{} of {} left: {}", left.len(), self.services.len(), printable(&left.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DaemonDocument;
    use crate::cli::table;

    #[test]
    fn those_who_are_there_are_waited_for_no_more() {
        let services = vec![table::sample("a", "running", None), table::sample("b", "running", None)];
        let daemon = DaemonDocument { version: String::new(), pid: 1, since: String::new() };
        let herd = HerdDocument { version: 1, host: String::new(), daemon, services, problems: vec![] };
        assert_eq!(Waited::of(&herd, &["*".to_owned()], "start").message(), "waiting for them to settle");
        assert!(Waited::of(&herd, &["a".to_owned()], "restart").message().starts_with("1 of 1 left: a running"));
        let mut waited = Waited::of(&herd, &["*".to_owned()], "stop");
        assert_eq!(waited.message(), "2 of 2 left: a running: it is running; b running: it is running");
        let event = |id: &str, state: &str, message: &str| EventDocument {
            service: id.into(),
            state: Some(state.into()),
            message: message.into(),
            at: "2027".into(),
            ..EventDocument::default()
        };
        waited.happened(event("a", "stopping", "stopping: sent TERM"));
        waited.happened(event("other", "stopped", "stopped"));
        waited.happened(event("b", "stopped", "stopped: was asked to"));
        assert_eq!(waited.message(), "1 of 2 left: a stopping: sent TERM");
        let old = EventDocument { at: "2025".into(), ..event("a", "stopped", "stopped") };
        waited.happened(old);
        assert_eq!(waited.message(), "1 of 2 left: a stopping: sent TERM");
        waited.happened(EventDocument { at: "2028".into(), ..event("a", "stopped", "stopped") });
        assert_eq!(waited.message(), "");
    }
}
