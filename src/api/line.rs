//! What `GET /v1/services` tells of each service to whom less is enough (`Prefer: return=minimal`, RFC 7240): of thousands, all that there is to know takes longer to write, to
//! send and to read than what `status` shows of it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::ConfProblem;

/// A part of a `ServiceDocument`, and read from a whole one as well. What need not be changed is the document's own text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLine<'a> {
    /// Its id.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// Its state; the names are those of `model::State`.
    #[serde(borrow)]
    pub state: Cow<'a, str>,
    /// One sentence that names the cause of the state.
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// The main process.
    pub pid: Option<u32>,
    /// How long the run has lived, in milliseconds.
    pub uptime_ms: Option<u64>,
    /// How often the daemon restarted it since it was loaded.
    pub restarts: u64,
    /// Milliseconds from now until it is started again, where that is planned.
    pub next_start_ms: Option<u64>,
    /// How its last run ended.
    #[serde(borrow)]
    pub last_exit: Option<ExitLine<'a>>,
    /// The path of its conf file.
    #[serde(borrow)]
    pub conf: Cow<'a, str>,
    /// What is wrong with that file.
    pub conf_problems: Vec<ConfProblem>,
}

/// A part of an `ExitDocument`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitLine<'a> {
    /// One word for it; the names are those of `model::Cause`.
    #[serde(borrow)]
    pub cause: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_escapes_is_read_and_one_without_is_not_copied() {
        let text = r#"{"id":"x","state":"running","reason":"it said \"no\"","pid":1,"uptime_ms":2,"restarts":0,
            "next_start_ms":null,"last_exit":{"cause":"exit-code","code":3},"conf":"/c","conf_problems":[],"later":[1]}"#;
        let line: ServiceLine<'_> = serde_json::from_str(text).unwrap();
        assert_eq!((&*line.reason, &*line.last_exit.unwrap().cause), ("it said \"no\"", "exit-code"));
        assert!(matches!((&line.id, &line.reason), (Cow::Borrowed("x"), Cow::Owned(_))));
    }
}
