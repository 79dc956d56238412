//! The one sentence that says why a service is in its state.

use std::fmt::{self, Display};
use std::time::Duration;

use super::Lifecycle;
use super::note::{Because, Obstacle, Phase, Rung, Then};
use crate::model::{Cause, Exceeded, Moment, RestartPolicy};

impl Lifecycle {
    /// The cause of the present state, in a sentence without a full stop. Never empty.
    pub fn reason(&self, now: Moment) -> String {
        let note = self.note();
        let spec = &self.rules().restart;
        match note.phase {
            Phase::Stopped => match note.because {
                Because::Disabled => "disabled in its conf".to_owned(),
                Because::Unwanted => "its conf is gone".to_owned(),
                Because::Shutdown => "the daemon is shutting down".to_owned(),
                Because::Operator | Because::Loaded | Because::Changed | Because::Death | Because::CooledDown => {
                    "stopped by an operator".to_owned()
                }
            },
            Phase::Starting { .. } | Phase::Running { .. } => match note.because {
                Because::Loaded => "started with its conf".to_owned(),
                Because::Changed => "started anew, its conf changed".to_owned(),
                Because::Death => format!("restarted ({}) after: {}", self.strain(now), self.last()),
                Because::CooledDown => format!("tried again after a cool-down; before: {}", self.last()),
                Because::Operator | Because::Disabled | Because::Unwanted | Because::Shutdown => {
                    "started by an operator".to_owned()
                }
            },
            Phase::Stopping { rung, then, obstacle, .. } => self.stopping_reason(rung, then, obstacle),
            Phase::Backoff { .. } => {
                format!("waits {} before restart ({}) after: {}", Span(spec.delay), self.strain(now), self.last())
            }
            Phase::Exceeded => format!("{}; last: {}", self.too_many(), self.last()),
            Phase::Cooldown { wait, .. } => {
                format!("{}; cools down for {}; last: {}", self.too_many(), Span(wait), self.last())
            }
            Phase::Exited => match spec.policy {
                RestartPolicy::Never => format!("{}; restart policy never", self.last()),
                RestartPolicy::OnFailure | RestartPolicy::Always => {
                    format!("{}; restart policy on-failure", self.last())
                }
            },
            Phase::Failed => match (note.deaths.front().map(|death| death.cause), spec.exceeded) {
                (Some(Cause::ExecFailed | Cause::Resources), _) if spec.policy == RestartPolicy::Never => {
                    format!("{}; restart policy never", self.last())
                }
                (_, Exceeded::Fail | Exceeded::Cooldown) => {
                    format!("given up: {}; last: {}", self.too_many(), self.last())
                }
            },
        }
    }

    fn stopping_reason(&self, rung: Rung, then: Then, obstacle: Option<Obstacle>) -> String {
        if let Some(Obstacle::Uid(uid)) = obstacle {
            return format!("may not signal uid {uid}");
        }
        let why = match (then, self.note().because) {
            (Then::Overdue(stage), _) => format!("launch took too long ({stage})"),
            (Then::Leave, _) => "its conf is gone".to_owned(),
            (Then::Start, Because::Changed) => "its conf changed".to_owned(),
            (Then::Start, _) => "restarted by an operator".to_owned(),
            (Then::Stay, Because::Disabled) => "disabled in its conf".to_owned(),
            (Then::Stay, Because::Shutdown) => "the daemon is shutting down".to_owned(),
            (Then::Stay, _) => "stopped by an operator".to_owned(),
        };
        match rung {
            Rung::Asked { signal, .. } => {
                format!("{why}; sent {signal}, KILL follows after {}", Span(self.rules().stop.timeout))
            }
            Rung::Killed { .. } => format!("{why}; sent KILL"),
            Rung::Stuck { state: Some(state) } => format!("does not end after KILL (state {state})"),
            Rung::Stuck { state: None } => "does not end after KILL".to_owned(),
        }
    }

    /// `2 of 5 in 10s`.
    fn strain(&self, now: Moment) -> impl Display {
        let (count, intensity) = (self.window_count(now), self.rules().restart.intensity);
        format!("{count} of {intensity} in {}", Span(self.window_length()))
    }

    fn too_many(&self) -> impl Display {
        format!("more than {} restarts in {}", self.rules().restart.intensity, Span(self.window_length()))
    }

    /// How the last run ended.
    fn last(&self) -> String {
        match self.note().deaths.front() {
            Some(death) if death.lived.as_millis() == 0 => death.ending.to_string(),
            Some(death) => format!("{} after {}", death.ending, Span(death.lived)),
            None => "nothing is known of a run".to_owned(),
        }
    }
}

/// A span of time for people: two units at most, and no more digits than anybody reads.
struct Span(Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        match (days, hours, minutes, seconds % 60) {
            (0, 0, 0, 0) => write!(f, "{millis}ms"),
            (0, 0, 0, s) if s < 10 && millis >= 100 => write!(f, "{s}.{}s", millis / 100),
            (0, 0, 0, s) => write!(f, "{s}s"),
            (0, 0, m, 0) => write!(f, "{m}m"),
            (0, 0, m, s) => write!(f, "{m}m{s}s"),
            (0, h, 0, _) => write!(f, "{h}h"),
            (0, h, m, _) => write!(f, "{h}h{m}m"),
            (d, 0, ..) => write!(f, "{d}d"),
            (d, h, ..) => write!(f, "{d}d{h}h"),
        }
    }
}
