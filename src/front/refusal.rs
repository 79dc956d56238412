//! Requests that are not done, and how that is told (RFC 9457).

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use crate::api::{NO_SUCH_SERVICE, PROBLEM_JSON, ProblemDocument, UnknownName};
use crate::herder::{ReloadError, UnknownServices};

/// Why a request is not done. Whatever the reason: nothing of it was done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{path} is nothing that this daemon knows")]
    NoSuchPath { path: String },
    #[error("{method} is not what this path takes; it takes {allowed}")]
    Method { method: String, allowed: &'static str },
    #[error("{0}")]
    BadRequest(String),
    #[error("the body is longer than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body did not arrive within {seconds} seconds")]
    TooSlow { seconds: u64 },
    #[error("{}", forbidden(*uid))]
    Forbidden { uid: Option<u32> },
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    UnknownNames(Vec<UnknownName>),
    #[error("{0}")]
    UnknownServices(#[from] UnknownServices),
    #[error("{0}")]
    Reload(#[from] ReloadError),
    #[error("{0}")]
    NotUpgraded(String),
    #[error("only the daemon's user and root may name the file; without one it is the one at the daemon's own place")]
    OthersProgram,
    #[error("{most} clients follow the events already, and no more may")]
    TooManyFollowers { most: usize },
    #[error("the daemon is shutting down")]
    HerdGone,
}

fn forbidden(uid: Option<u32>) -> String {
    let who = uid.map_or_else(|| "nobody that the kernel can name".to_owned(), |uid| format!("user {uid}"));
    format!("{who} may not use this socket: its owner, root and the members of control.group in herder.json may")
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchPath { .. } | Self::UnknownNames(_) | Self::UnknownServices(_) => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Forbidden { .. } | Self::OthersProgram => StatusCode::FORBIDDEN,
            Self::Reload(ReloadError::Directory { .. }) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Reload(ReloadError::NoDirectory) | Self::NotUpgraded(_) => StatusCode::CONFLICT,
            Self::Reload(ReloadError::ShuttingDown) | Self::HerdGone => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManyFollowers { .. } => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::NoSuchPath { .. } => "no such path",
            Self::UnknownNames(_) | Self::UnknownServices(_) => NO_SUCH_SERVICE,
            Self::Method { .. } => "wrong method",
            Self::BadRequest(_) => "bad request",
            Self::TooLarge { .. } => "body too large",
            Self::TooSlow { .. } => "body too slow",
            Self::Forbidden { .. } | Self::OthersProgram => "forbidden",
            Self::Reload(ReloadError::ShuttingDown) | Self::HerdGone => "shutting down",
            Self::Reload(_) => "cannot reload",
            Self::NotUpgraded(_) => "not upgraded",
            Self::TooManyFollowers { .. } => "too many followers",
        }
    }

    /// Whether the rest of the request is still in the pipe, so that the connection can't go on.
    fn leaves_bytes_unread(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::TooSlow { .. } | Self::Forbidden { .. })
    }

    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let status = self.status();
        let document =
            ProblemDocument { status: status.as_u16(), title: self.title().to_owned(), detail: self.to_string() };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Self::Method { allowed, .. } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        if self.leaves_bytes_unread() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
