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

/// Who is waited for.
#[derive(Debug, Default)]
struct Waited {
    all: usize,
    /// Those that are not there yet: state and reason.
    left: BTreeMap<String, (String, String)>,
    starts: bool,
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
        let (daemon, shown, starts) = (daemon.clone(), bar.clone(), verb != "stop");
        // It ends with this process, which waits for something else.
        thread::spawn(move || {
            let Ok(herd) = daemon.ask_for::<HerdDocument>(&Question::get("/v1/services")) else { return };
            let mut waited = Waited::of(&herd, &names, starts);
            shown.set_message(waited.message());
            // Without events the wheel turns on.
            let _ = daemon.hear("/v1/events", None, |told| {
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
    fn of(herd: &HerdDocument, names: &[String], starts: bool) -> Self {
        let is_here = |state: &str| state != State::Skipped.name();
        let candidates: Vec<_> =
            herd.services.iter().map(|one| Candidate { id: &one.id, by_glob: is_here(&one.state) }).collect();
        // Names that nobody has are told by the answer.
        let chosen = select(names, &candidates).unwrap_or_default();
        let mut waited = Self { all: chosen.len(), left: BTreeMap::new(), starts };
        for service in chosen.into_iter().filter_map(|index| herd.services.get(index)) {
            waited.left.insert(service.id.clone(), (service.state.clone(), service.reason.clone()));
        }
        waited
    }

    fn happened(&mut self, event: EventDocument) {
        let Some(state) = event.state else { return };
        let is_there = match state.as_str() {
            "running" => self.starts,
            "stopped" | "exited" | "failed" => !self.starts,
            _ => false,
        };
        if is_there {
            self.left.remove(&event.service);
        } else if let Some(known) = self.left.get_mut(&event.service) {
            *known = (state, event.message);
        }
    }

    fn message(&self) -> String {
        if self.left.is_empty() {
            return if self.starts { "waiting for them to settle".to_owned() } else { String::new() };
        }
        let one = |(id, (state, why)): (&String, &(String, String))| {
            // Why says the state, too, as a rule.
            if why.starts_with(state.as_str()) { format!("{id} {why}") } else { format!("{id} {state}: {why}") }
        };
        let left: Vec<_> = self.left.iter().map(one).collect();
        format!("{} of {} left: {}", self.left.len(), self.all, printable(&left.join("; ")))
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
        let mut waited = Waited::of(&herd, &["*".to_owned()], false);
        assert_eq!(waited.message(), "2 of 2 left: a running: it is running; b running: it is running");
        let event = |id: &str, state: &str, message: &str| EventDocument {
            service: id.into(),
            state: Some(state.into()),
            message: message.into(),
            ..EventDocument::default()
        };
        waited.happened(event("a", "stopping", "stopping: sent TERM"));
        waited.happened(event("other", "stopped", "stopped"));
        waited.happened(event("b", "stopped", "stopped: was asked to"));
        assert_eq!(waited.message(), "1 of 2 left: a stopping: sent TERM");
        waited.happened(event("a", "stopped", "stopped"));
        assert_eq!(waited.message(), "");
    }
}
