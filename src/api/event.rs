//! What `GET /v1/events` tells.

use serde::{Deserialize, Serialize};

use super::ExitDocument;

/// Something that happened to a service: the data of a server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDocument {
    /// Which event: what a client says as `Last-Event-ID` to go on after it. Ids of one daemon's process are in a row.
    pub id: String,
    /// When: RFC 3339 UTC with milliseconds.
    pub at: String,
    /// Whom it happened to.
    pub service: String,
    /// What it was, in one word: one of [`EventDocument::KINDS`].
    pub event: String,
    /// The same for people, in a sentence.
    pub message: String,
    /// The state before, where it entered one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The state now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The run that lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Its main process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How the run ended that led here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitDocument>,
}

impl EventDocument {
    /// All kinds. Of a later daemon there may be others.
    pub const KINDS: [&str; 6] = ["state", "adjusted", "output-stuck", "output-goes-on", "actor-replaced", "removed"];
}

/// The data of an event `missed`: some are not told, since the client was too slow or came too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedDocument {
    /// How many, where that is known: those of an earlier process of the daemon are not.
    pub missed: Option<u64>,
}
