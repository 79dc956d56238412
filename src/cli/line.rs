//! What `status` reads of each service when it is asked for all: of thousands, to keep all of their documents takes longer than
//! to make them.

use std::borrow::Cow;

use serde::Deserialize;

use crate::api::{ConfProblem, HerdDocument};
use crate::model::{Cause, State};

/// The herd as `status` shows it; what need not be changed is the answer's own text.
pub(super) type Lines<'a> = HerdDocument<Vec<Line<'a>>>;

/// A part of a `ServiceDocument`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) state: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) reason: Cow<'a, str>,
    pub(super) pid: Option<u32>,
    pub(super) uptime_ms: Option<u64>,
    pub(super) restarts: u64,
    pub(super) next_start_ms: Option<u64>,
    #[serde(borrow)]
    last_exit: Option<LastExit<'a>>,
    #[serde(borrow)]
    pub(super) conf: Cow<'a, str>,
    pub(super) conf_problems: Vec<ConfProblem>,
}

#[derive(Clone, Debug, Deserialize)]
struct LastExit<'a> {
    #[serde(borrow)]
    cause: Cow<'a, str>,
}

impl Line<'_> {
    /// Running, or exited by success.
    pub(super) fn is_up(&self) -> bool {
        let succeeded = || self.last_exit.as_ref().is_some_and(|exit| exit.cause == Cause::Success.name());
        self.state == State::Running.name() || (self.state == State::Exited.name() && succeeded())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::sample;

    #[test]
    fn up_is_running_or_exited_by_success() {
        for (state, cause, up) in [
            ("running", None, true),
            ("running", Some("exit-code"), true),
            ("exited", Some("success"), true),
            ("exited", Some("exit-code"), false),
            ("exited", None, false),
            ("stopped", Some("success"), false),
            ("starting", None, false),
            ("skipped", None, false),
        ] {
            let text = serde_json::to_string(&sample("x", state, cause)).unwrap();
            let line: Line<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(line.is_up(), up, "{state} {cause:?}");
        }
    }

    #[test]
    fn a_text_with_escapes_is_read_and_one_without_is_not_copied() {
        let mut service = sample("x", "running", None);
        service.reason = "it said \"no\"".into();
        let text = serde_json::to_string(&service).unwrap();
        let line: Line<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(line.reason, "it said \"no\"");
        assert!(matches!((&line.id, &line.reason), (Cow::Borrowed("x"), Cow::Owned(_))));
    }
}
