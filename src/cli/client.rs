//! Speaking to the daemon: HTTP/1.1 on its control socket.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use super::Failure;
use crate::api::ProblemDocument;
use crate::os::peer;

/// Where the daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Its control socket.
    pub socket: PathBuf,
    /// Its conf directory, for people.
    pub confs: PathBuf,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    method: Method,
    path: String,
    body: Vec<u8>,
    /// Whether less than all is enough (RFC 7240). A daemon that does not know of that answers all.
    minimal: bool,
    /// Whether asking twice does no more than asking once.
    repeatable: bool,
}

impl Question {
    /// For a document.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: Vec::new(), minimal: false, repeatable: true }
    }

    /// For all services, and a line of each.
    pub(super) fn lines() -> Self {
        Self { minimal: true, ..Self::get("/v1/services") }
    }

    /// For an effect.
    pub(super) fn post(path: impl Into<String>) -> Self {
        Self { method: Method::POST, path: path.into(), body: Vec::new(), minimal: false, repeatable: true }
    }

    /// With options; those without any are an empty body, which every version of the daemon understands.
    pub(super) fn with(mut self, options: &(impl Serialize + Default + PartialEq)) -> Self {
        if *options != Default::default() {
            // Options are made of numbers and booleans: writing them to memory can't fail.
            self.body = serde_json::to_vec(options).unwrap_or_default();
        }
        self
    }

    /// To be asked only once, whatever happens.
    pub(super) fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }
}

/// Why there is no answer.
enum Silence {
    /// The connection ended first: the daemon may have been replaced.
    HungUp,
    /// Something that will not be better a second time.
    Final(Failure),
}

impl Daemon {
    /// Asks, and gives the answer's bytes.
    ///
    /// A daemon that is being replaced hangs up on whoever it has not answered yet; so a question that may be asked twice
    /// is asked once more.
    ///
    /// # Errors
    /// There is no daemon, it does not answer, or it refuses.
    pub(super) fn ask(&self, question: &Question) -> Result<Bytes, Failure> {
        let answer = async {
            match self.ask_once(question).await {
                Err(Silence::HungUp) if question.repeatable => self.ask_once(question).await,
                answered => answered,
            }
        };
        self.in_runtime(async {
            answer.await.map_err(|silence| match silence {
                Silence::HungUp => Failure::NoAnswer,
                Silence::Final(failure) => failure,
            })
        })
    }

    /// Does something in a runtime of its own.
    pub(super) fn in_runtime<T>(&self, act: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        runtime().map_err(|source| self.broken(source))?.block_on(act)
    }

    /// A connection, in a runtime.
    pub(super) fn stream(&self) -> Result<UnixStream, Failure> {
        UnixStream::from_std(self.connect()?).map_err(|source| self.broken(source))
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// As [`Self::ask`], or the answer is not such a document.
    pub(super) fn ask_for<T: DeserializeOwned>(&self, question: &Question) -> Result<T, Failure> {
        understand(&self.ask(question)?)
    }

    /// A descriptor that becomes readable when the daemon's process has gone; `None` where that process can't be seen from
    /// here (another pid namespace).
    ///
    /// # Errors
    /// There is no daemon.
    pub(super) fn exit_descriptor(&self) -> Result<Option<OwnedFd>, Failure> {
        let stream = self.connect()?;
        let runtime = runtime().map_err(|source| self.broken(source))?;
        let _entered = runtime.enter();
        let stream = UnixStream::from_std(stream).map_err(|source| self.broken(source))?;
        // The pid is of whoever called listen(2), and it lives: it holds the other end of this very connection.
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(|pid| u32::try_from(pid).ok());
        Ok(pid.filter(|pid| *pid > 0).and_then(|pid| peer::exit_descriptor(pid).ok()))
    }

    /// Connects, and waits for it where the daemon's backlog is full (a non-blocking connect(2) would fail then).
    fn connect(&self) -> Result<StdStream, Failure> {
        let stream = StdStream::connect(&self.socket).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Failure::NoDaemon { confs: self.confs.clone(), socket: self.socket.clone() }
            }
            io::ErrorKind::PermissionDenied => Failure::NotPermitted { socket: self.socket.clone() },
            _ => self.broken(source),
        })?;
        stream.set_nonblocking(true).map_err(|source| self.broken(source))?;
        Ok(stream)
    }

    async fn ask_once(&self, question: &Question) -> Result<Bytes, Silence> {
        let stream = self.stream().map_err(Silence::Final)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.silence(&error))?;
        // Its end is seen by whoever waits for the answer; it ends with the runtime at the latest.
        tokio::spawn(connection);

        let mut request =
            Request::builder().method(question.method.clone()).uri(question.path.as_str()).header(HOST, "daemonherder");
        if !question.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if question.minimal {
            request = request.header("prefer", "return=minimal");
        }
        let request = request
            .body(Full::new(Bytes::from(question.body.clone())))
            .map_err(|error| Silence::Final(Failure::NotUnderstood(error.to_string())))?;
        let answer = sender.send_request(request).await.map_err(|error| self.silence(&error))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| self.silence(&error))?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        Err(Silence::Final(refused(status, &body)))
    }

    fn silence(&self, error: &hyper::Error) -> Silence {
        if error.is_parse() { Silence::Final(Failure::NotUnderstood(error.to_string())) } else { Silence::HungUp }
    }

    fn broken(&self, source: io::Error) -> Failure {
        Failure::Connection { socket: self.socket.clone(), source }
    }
}

/// An answer that is a refusal.
pub(super) fn refused(status: StatusCode, body: &[u8]) -> Failure {
    Failure::Refused(serde_json::from_slice(body).unwrap_or_else(|_| ProblemDocument {
        status: status.as_u16(),
        title: String::new(),
        detail: format!("the daemon answered {status}"),
    }))
}

/// Reads a document.
///
/// # Errors
/// The bytes are none.
pub(super) fn understand<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::NotUnderstood(error.to_string()))
}

/// A path segment with everything encoded that may mean something to a server (RFC 3986, 2.3).
pub(super) fn segment(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b',' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// A runtime for one thread.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::StartOptions;

    #[test]
    fn what_means_something_to_a_server_is_encoded() {
        assert_eq!(segment("web-1,a*"), "web-1,a%2A");
        assert_eq!(segment("a?b/../ä"), "a%3Fb%2F..%2F%C3%A4");
    }

    #[test]
    fn options_that_nobody_gave_are_an_empty_body() {
        assert_eq!(Question::post("/").with(&StartOptions::default()).body, b"");
        let options = StartOptions { wait: Some(false), settle_ms: None };
        assert_eq!(Question::post("/").with(&options).body, br#"{"wait":false}"#);
    }

    #[test]
    fn without_a_socket_there_is_no_daemon() {
        let state = tempfile::tempdir().unwrap();
        let daemon = Daemon { socket: state.path().join("control.sock"), confs: "/c".into() };
        let failure = daemon.ask(&Question::get("/healthz")).unwrap_err();
        assert_eq!(failure.exit(), crate::cli::Exit::NoDaemon);
        // A socket that nobody listens on is a dead daemon's.
        drop(std::os::unix::net::UnixListener::bind(&daemon.socket).unwrap());
        let failure = daemon.ask(&Question::get("/healthz")).unwrap_err();
        assert!(matches!(failure, Failure::NoDaemon { .. }), "{failure}");
    }
}
