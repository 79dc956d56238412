//! Performing a request.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::SystemTime;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::oneshot;

use super::access::Peer;
use super::body::options;
use super::document::{self, VERSION};
use super::events::{EventStream, Events, Wish};
use super::herd::{Herd, ask};
use super::identity::Identity;
use super::logs::{self, LINE_BYTES, LOG_BYTES};
use super::order;
use super::refusal::Refusal;
use super::route::{Route, route};
use super::upgrade::Upgrades;
use super::wall_clock::WallClock;
use crate::api::{
    Accepted, CommandResults, ReloadOptions, ServiceDocument, ShutdownOptions, SignalOptions, StartOptions,
    UnknownName, UpgradeDocument, UpgradeOptions,
};
use crate::herder::{AwaitKept, Order, Overview, Reload, Shutdown, Survey};
use crate::logs::{Amount, LogFiles, Stream};
use crate::os;

/// How much of a document a service takes, more or less.
const SERVICE_BYTES: usize = 512;
/// The same, in brief.
const LINE_OF_SERVICE_BYTES: usize = 256;
/// How many lines of the log of a service come with the news that it failed.
const LAST_LINES: u64 = 10;
/// How many bytes of it are looked at: a thousand services may fail at once.
const LAST_LINES_BYTES: u64 = 4 << 10;

/// What a client says that has heard events before (the HTML standard, 9.2).
const LAST_EVENT_ID: &str = "last-event-id";
const PREFER: &str = "prefer";

/// What every request needs.
pub(super) struct Desk {
    herd: Herd,
    identity: Identity,
    clock: Cell<Option<WallClock>>,
    events: Rc<Events>,
    /// The end was asked for here.
    ending: Cell<bool>,
}

/// An answer that is sent as a whole.
type Answer = Response<Full<Bytes>>;

/// An answer that is sent as a whole, or piece by piece for as long as its client stays.
pub(super) type Reply = Response<Either<Full<Bytes>, EventStream>>;

impl Desk {
    pub(super) fn new(herd: Herd, identity: Identity) -> Self {
        Self { herd, identity, clock: Cell::new(None), events: Events::new(), ending: Cell::new(false) }
    }

    /// Answers a request: every one has an answer, a refusal is one too.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Reply {
        self.perform(request, peer).await.unwrap_or_else(|refusal| whole(refusal.response()))
    }

    async fn events(&self, headers: &HeaderMap, wish: Wish) -> Result<Reply, Refusal> {
        let after = headers.get(LAST_EVENT_ID).map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
        let overview = self.survey().await?;
        let stream = self.events.stream(&self.herd, self.clock(&overview), &Wish { after, ..wish }).await?;
        let mut response = Response::new(Either::Right(stream));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    async fn perform(&self, request: Request<Incoming>, peer: Peer) -> Result<Reply, Refusal> {
        let (head, body) = request.into_parts();
        let answer = match route(&head.method, head.uri.path(), head.uri.query())? {
            Route::Events(wish) => return self.events(&head.headers, wish).await,
            Route::Services if prefers_minimal(&head.headers) => self.lines().await,
            Route::Services => self.services().await,
            Route::Service { id } => self.service(&id).await,
            Route::Logs { id, lines, stderr } => self.logs(id, lines, stderr).await,
            Route::Order { order, names } => self.order(order, &names, &options(body).await?).await,
            Route::Signal { names } => self.signal(&names, &options(body).await?).await,
            Route::Reload => self.reload(&options(body).await?).await,
            Route::LastUpgrade => Ok(json(StatusCode::OK, &self.last_upgrade())),
            Route::Upgrade => Err(self.upgrade(options(body).await?, peer).await),
            Route::Shutdown => self.shutdown(&options(body).await?),
            Route::Health => self.survey().await.map(|_| text(&b"ok\n"[..])),
        };
        answer.map(whole)
    }

    async fn survey(&self) -> Result<Overview, Refusal> {
        ask(&self.herd.survey, Survey).await
    }

    /// The clock for documents of this overview.
    fn clock(&self, overview: &Overview) -> WallClock {
        let now = SystemTime::now();
        let clock = match self.clock.get() {
            Some(clock) => clock.refreshed(overview.at, now),
            None => WallClock::new(overview.at, now),
        };
        self.clock.set(Some(clock));
        clock
    }

    /// The size of each service's log, in the order of the overview.
    async fn log_sizes(&self, overview: &Overview) -> Vec<u64> {
        let directory = self.identity.logs.clone();
        let ids: Vec<_> = overview.services.iter().map(|status| status.id.clone()).collect();
        blocking(move || logs::sizes(&directory, ids.iter().map(|id| id.as_str()))).await.unwrap_or_default()
    }

    async fn services(&self) -> Result<Answer, Refusal> {
        let overview = self.survey().await?;
        let sizes = self.log_sizes(&overview).await;
        let document = document::herd(&self.identity, &overview, self.clock(&overview), &sizes);
        Ok(json_of(StatusCode::OK, &document, overview.services.len() * SERVICE_BYTES))
    }

    async fn lines(&self) -> Result<Answer, Refusal> {
        let overview = self.survey().await?;
        let document = document::lines(&self.identity, &overview);
        Ok(json_of(StatusCode::OK, &document, overview.services.len() * LINE_OF_SERVICE_BYTES))
    }

    async fn service(&self, id: &str) -> Result<Answer, Refusal> {
        let mut overview = self.survey().await?;
        let Some(status) = overview.services.iter().find(|status| status.id.as_str() == id).cloned() else {
            return Err(unknown(id, &overview));
        };
        overview.services = vec![status];
        let size = self.log_sizes(&overview).await.first().copied().unwrap_or_default();
        let (status, clock) = (&overview.services[0], self.clock(&overview));
        let members = match status.pid {
            Some(pid) => blocking(move || os::tree::census(pid)).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let details = Some(document::details(status, clock, members));
        let document = ServiceDocument { details, ..document::service(status, overview.at, clock, size) };
        Ok(json(StatusCode::OK, &document))
    }

    async fn logs(&self, id: String, lines: u64, stderr: bool) -> Result<Answer, Refusal> {
        let overview = self.survey().await?;
        // The id comes from outside and becomes a part of a path: only one that the herd knows may.
        let known = overview.services.iter().find(|status| status.id.as_str() == id);
        let Some(known) = known.map(|status| status.id.clone()) else { return Err(unknown(&id, &overview)) };
        ask(&self.herd.kept, AwaitKept { output_of: vec![known] }).await?;
        let files = LogFiles::of(&self.identity.logs, &id, if stderr { Stream::Errors } else { Stream::Output });
        let bytes = lines.saturating_mul(LINE_BYTES).clamp(LOG_BYTES.start, LOG_BYTES.end);
        let read = blocking(move || logs::last_lines(&files, Amount { lines, bytes })).await;
        Ok(text(read.unwrap_or_default()))
    }

    async fn signal(&self, names: &[String], options: &SignalOptions) -> Result<Answer, Refusal> {
        let results = order::signal(&self.herd, names, options).await?;
        Ok(json(StatusCode::OK, &self.results(results).await?))
    }

    async fn order(&self, order: Order, names: &[String], options: &StartOptions) -> Result<Answer, Refusal> {
        let results = order::perform(&self.herd, order, names, options).await?;
        let mut document = self.results(results).await?;
        if order != Order::Stop {
            self.add_last_lines(&mut document).await;
        }
        Ok(json(StatusCode::OK, &document))
    }

    /// What became of services, with what is known of each afterwards.
    async fn results(&self, results: order::Results) -> Result<CommandResults, Refusal> {
        let overview = self.survey().await?;
        let (clock, sizes) = (self.clock(&overview), self.log_sizes(&overview).await);
        let mut afterwards: HashMap<_, _> = overview
            .services
            .iter()
            .zip(sizes)
            .map(|(status, bytes)| (&status.id, document::service(status, overview.at, clock, bytes)))
            .collect();
        let result = |(id, done)| {
            let service = afterwards.remove(&id);
            document::result(&id, done, service)
        };
        Ok(CommandResults { version: VERSION, results: results.into_iter().map(result).collect() })
    }

    /// Adds to each failure what the service said last.
    async fn add_last_lines(&self, document: &mut CommandResults) {
        let failed = || document.results.iter().filter(|result| !result.ok);
        let output = |id: &str| LogFiles::of(&self.identity.logs, id, Stream::Output);
        let files: Vec<_> = failed().map(|result| output(&result.id)).collect();
        if files.is_empty() {
            return;
        }
        let output_of = failed().filter_map(|result| result.id.parse().ok()).collect();
        // An error is a herd that has ended: then there is nothing more to come.
        let _ = ask(&self.herd.kept, AwaitKept { output_of }).await;
        let read = move || -> Vec<Vec<u8>> {
            let amount = Amount { lines: LAST_LINES, bytes: LAST_LINES_BYTES };
            files.iter().map(|files| logs::last_lines(files, amount)).collect()
        };
        let lines = blocking(read).await.unwrap_or_default();
        for (result, lines) in document.results.iter_mut().filter(|result| !result.ok).zip(lines) {
            result.last_lines = String::from_utf8_lossy(&lines).lines().map(str::to_owned).collect();
        }
    }

    async fn reload(&self, options: &ReloadOptions) -> Result<Answer, Refusal> {
        let (dry_run, prune) = (options.dry_run.unwrap_or_default(), options.prune.unwrap_or_default());
        let applied = ask(&self.herd.reload, Reload { dry_run, prune }).await??;
        Ok(json(StatusCode::OK, &document::plan(&applied)))
    }

    fn last_upgrade(&self) -> UpgradeDocument {
        let last = self.herd.upgrades.as_ref().and_then(Upgrades::last);
        UpgradeDocument { version: VERSION, running: self.identity.version.clone(), last }
    }

    /// Answers only where the upgrade fails: else this process ends, and whoever asked finds the result where the last
    /// upgrade is told.
    async fn upgrade(&self, UpgradeOptions { path }: UpgradeOptions, peer: Peer) -> Refusal {
        if path.is_some() && !peer.is_owner {
            return Refusal::OthersProgram;
        }
        if self.ending.get() || !self.herd.shutdown.connected() {
            return Refusal::HerdGone;
        }
        match &self.herd.upgrades {
            Some(upgrades) => Refusal::NotUpgraded(upgrades.begin(path).await.0),
            None => Refusal::NotUpgraded("this program replaces itself in its own way".to_owned()),
        }
    }

    /// Answers at once: whoever wants to know when the daemon has gone waits for its process.
    fn shutdown(&self, options: &ShutdownOptions) -> Result<Answer, Refusal> {
        if !self.herd.shutdown.connected() {
            return Err(Refusal::HerdGone);
        }
        self.ending.set(true);
        self.herd.shutdown.do_send(Shutdown { leave_services: options.leave_services.unwrap_or_default() });
        Ok(json(StatusCode::ACCEPTED, &Accepted { version: VERSION }))
    }
}

/// Does slow work elsewhere; nothing where it panicked or there is no thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    // Whoever asked may have gone by the time it is done.
    os::aside(&os::OWN, move || _ = done.send(work())).ok()?;
    result.await.ok()
}

fn unknown(id: &str, overview: &Overview) -> Refusal {
    let candidates: Vec<_> = overview
        .services
        .iter()
        .map(|status| crate::api::Candidate { id: status.id.as_str(), by_glob: false })
        .collect();
    let name = [id.to_owned()];
    let unknown = crate::api::select(&name, &candidates).err();
    Refusal::UnknownNames(unknown.unwrap_or_else(|| vec![UnknownName { name: id.to_owned(), nearest: None }]))
}

fn json(status: StatusCode, document: &impl Serialize) -> Answer {
    json_of(status, document, 0)
}

/// The same, with room for so many bytes from the beginning.
fn json_of(status: StatusCode, document: &impl Serialize, expected: usize) -> Answer {
    // Documents are made of strings, numbers and lists: writing one to memory can't fail.
    let mut body = Vec::with_capacity(expected);
    let _ = serde_json::to_writer(&mut body, document);
    let mut response = with_type("application/json", body);
    *response.status_mut() = status;
    response
}

/// A reply that is an answer as a whole.
pub(super) fn whole(answer: Answer) -> Reply {
    answer.map(Either::Left)
}

fn text(body: impl Into<Bytes>) -> Answer {
    with_type("text/plain; charset=utf-8", body)
}

fn with_type(media_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Whether less than all is enough for a client (RFC 7240).
fn prefers_minimal(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    preferences.flat_map(|value| value.split([',', ';'])).any(|one| one.trim().eq_ignore_ascii_case("return=minimal"))
}
