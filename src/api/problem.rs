//! Errors of the control API (RFC 9457).

use serde::{Deserialize, Serialize};

/// The media type of a [`ProblemDocument`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The title of the problem that a request named a service which is not known.
pub const NO_SUCH_SERVICE: &str = "no such service";

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemDocument {
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem in a few words.
    pub title: String,
    /// What exactly, and what to do.
    pub detail: String,
}
