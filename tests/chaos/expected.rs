//! What the schedule has done to each service, and what it may expect of it therefore.

use std::path::Path;

use serde_json::{Value, json};

/// What a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing at all, and the schedule leaves it alone.
    Calm,
    /// Nothing at all.
    Plain,
    /// It does not hear of TERM.
    Deaf,
    /// It begins with a lot of output.
    Flooding,
    /// It has children that left its group, its session, and its family.
    Tree,
    /// It ends as soon as it has begun.
    Crashing,
}

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    /// It shall run.
    pub(crate) up: bool,
    /// An order or a change of its conf is under way, and nobody knows how far it has come.
    pub(crate) busy: bool,
    /// Its main process, where nothing has been done to that since it was seen.
    pub(crate) pid: Option<i32>,
    /// Restarts when it was last at rest.
    pub(crate) restarts: u64,
    /// Deaths since then that count as a restart each, and those of which nobody knows whether they do.
    pub(crate) kills: u64,
    pub(crate) doubtful: u64,
    /// Restarts that the daemon told last.
    pub(crate) told: u64,
    /// How often its command line and its name have been changed.
    pub(crate) version: u64,
    pub(crate) name: u64,
}

impl Service {
    pub(crate) fn new(kind: Kind, number: usize) -> Self {
        let id = format!("{kind:?}-{number}").to_lowercase();
        let (restarts, kills, doubtful, told, version, name) = (0, 0, 0, 0, 0, 0);
        Self { id, kind, up: true, busy: false, pid: None, restarts, kills, doubtful, told, version, name }
    }

    /// Its conf. The mark is the word by which its processes are known.
    pub(crate) fn conf(&self, fixture: &Path, mark: &str, work: &Path) -> Value {
        let (verb, value) = match self.kind {
            Kind::Calm | Kind::Plain | Kind::Crashing => ("stay", ""),
            Kind::Deaf => ("ignore", "15"),
            Kind::Flooding => ("gush", "300000"),
            Kind::Tree => ("tree", ""),
        };
        let word = word(mark, &self.id);
        let (name, version) = (format!("name {}", self.name), format!("version {}", self.version));
        if self.kind == Kind::Crashing {
            let script = "echo $DHERDER_RUN >> \"$0.runs\"; exit 3";
            return json!({
                "cwd": work, "cmd": "/bin/sh", "args": ["-c", script, self.id, word, version],
                "restart": {"cooldown": "300ms", "max_cooldown": "1s"},
            });
        }
        json!({
            "name": name, "cwd": work, "cmd": fixture, "args": [verb, value, word, version],
            "restart": {"intensity": 10_000}, "stop": {"timeout": "200ms"},
        })
    }

    /// Whether it may be killed, told something, or given another conf.
    pub(crate) fn is_fair_game(&self) -> bool {
        !matches!(self.kind, Kind::Calm | Kind::Crashing)
    }

    /// Its main process was killed.
    pub(crate) fn killed(&mut self) {
        self.pid = None;
        if self.busy {
            self.doubtful += 1;
        } else {
            self.kills += 1;
        }
    }

    /// Something was begun that is not known to be over before the next rest.
    pub(crate) fn begun(&mut self) {
        (self.busy, self.pid) = (true, None);
        // A death of which the daemon has not told: the order may be faster, and then nothing follows that death.
        let unseen = (self.restarts + self.kills).saturating_sub(self.told);
        self.kills -= unseen;
        self.doubtful += unseen;
    }
}

/// The word in the command line of a service's processes.
pub(crate) fn word(mark: &str, id: &str) -> String {
    format!("{mark}:{id}")
}
