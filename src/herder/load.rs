//! When the confs are read, and what follows when they can't be.

use std::error::Error;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{AsyncContext, Context, Handler, Message, ResponseFuture, SpawnHandle};
use tokio::sync::oneshot;

use super::actor::Herder;
use super::live::Live;
use super::messages::{Applied, Reload, ReloadError};
use crate::conf::{DirectoryError, Loaded, Problem, Remembered, Settings, Source, Watch, WatchList, load_changes};
use crate::os;

/// The first wait before confs with passing problems are read again, doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(10);
/// The longest.
const LAST_RETRY: Duration = Duration::from_secs(300);

/// Where the confs of a herd are.
#[derive(Clone, Debug)]
pub struct Confs {
    pub(super) source: Arc<Source>,
    /// Whether they are read again when they change.
    pub(super) live: bool,
}

impl Confs {
    /// Has them read again whenever they change.
    #[must_use]
    pub fn live(self) -> Self {
        Self { live: true, ..self }
    }
}

impl From<Source> for Confs {
    fn from(source: Source) -> Self {
        Self { source: Arc::new(source), live: false }
    }
}

/// A reload, and who waits for what it did.
pub(super) struct Request {
    reload: Reload,
    done: Option<oneshot::Sender<Result<Applied, ReloadError>>>,
}

/// How far the reading of the confs is.
#[derive(Default)]
pub(super) struct Loading {
    /// The reload that is under way.
    busy: Option<Request>,
    /// What keeps the herd from knowing what should run.
    pub(super) problems: Vec<String>,
    /// The problems of files that the log has told, so that each is told once.
    pub(super) told: Vec<(PathBuf, Problem)>,
    /// The last settings without problems.
    pub(super) settings: Settings,
    /// What the confs said, so that what has not changed need not be read; with whoever reads them at the moment.
    pub(super) remembered: Remembered,
    pub(super) live: Live,
    /// The next try after passing problems, and how long it waits.
    retry: Option<(SpawnHandle, Duration)>,
}

/// The confs have been read, on another thread.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Read {
    loaded: Result<Loaded, DirectoryError>,
    remembered: Remembered,
    watch: Option<(Watch, WatchList)>,
}

impl Request {
    fn answer(self, result: Result<Applied, ReloadError>) {
        if let Some(done) = self.done {
            // Whoever asked may have gone.
            let _ = done.send(result);
        }
    }
}

impl Handler<Reload> for Herder {
    type Result = ResponseFuture<Result<Applied, ReloadError>>;

    fn handle(&mut self, reload: Reload, ctx: &mut Self::Context) -> Self::Result {
        let (done, result) = oneshot::channel();
        self.reload(reload, Some(done), ctx);
        // The sender is only dropped with the herder itself.
        Box::pin(async move { result.await.unwrap_or(Err(ReloadError::ShuttingDown)) })
    }
}

impl Handler<Read> for Herder {
    type Result = ();

    fn handle(&mut self, Read { loaded, remembered, watch }: Read, ctx: &mut Self::Context) {
        self.loading.remembered = remembered;
        self.loading.live.follow(watch);
        let Some(request) = self.loading.busy.take() else { return };
        let result = match loaded {
            _ if self.is_ending() => Err(ReloadError::ShuttingDown),
            Ok(loaded) => {
                self.retry_while(loaded.has_passing_problem(), ctx);
                let applied = self.apply(loaded, request.reload, ctx);
                let roster = &self.roster;
                self.loading.remembered.share(|spec| roster.spec(&spec.id));
                Ok(applied)
            }
            Err(error) => {
                self.retry_while(true, ctx);
                Err(self.unreadable(&error))
            }
        };
        self.answer(request, result, ctx);
        self.next_reload(ctx);
    }
}

impl Herder {
    /// Answers once it holds over the end of every process of the daemon that processes were ended for another conf: the next
    /// one would take them for dead ones.
    fn answer(&self, request: Request, result: Result<Applied, ReloadError>, ctx: &mut Context<Self>) {
        let ends = |applied: &Applied| !applied.stop.is_empty() || !applied.restart.is_empty();
        if request.reload.dry_run || !result.as_ref().is_ok_and(ends) {
            return request.answer(result);
        }
        let spawner = Rc::clone(&self.herd.spawner);
        ctx.spawn(wrap_future(async move {
            // The services that were told of it have their turn first.
            tokio::task::yield_now().await;
            spawner.kept().await;
            request.answer(result);
        }));
    }

    /// Reads the confs and applies them, after the reloads that are already waiting.
    pub(super) fn reload(
        &mut self,
        reload: Reload,
        done: Option<oneshot::Sender<Result<Applied, ReloadError>>>,
        ctx: &mut Context<Self>,
    ) {
        // Many signals in a row, or a slow disk: one that nobody waits for is as good as the one that waits already.
        if done.is_none() && self.reloads.iter().any(|waiting| waiting.done.is_none()) {
            return;
        }
        self.reloads.push_back(Request { reload, done });
        if self.loading.busy.is_none() {
            self.next_reload(ctx);
        }
    }

    fn next_reload(&mut self, ctx: &mut Context<Self>) {
        let Some(request) = self.reloads.pop_front() else { return };
        let Some(confs) = &self.confs else {
            return request.answer(Err(ReloadError::NoDirectory));
        };
        self.loading.busy = Some(request);
        let (source, this) = (Arc::clone(&confs.source), ctx.address());
        let path = confs.source.directory.clone();
        let error = move |why| Err(DirectoryError::List { path: path.clone(), source: why });
        let unread = move |why| Read { loaded: error(why), remembered: Remembered::default(), watch: None };
        let panicked = unread.clone();
        let mut remembered = std::mem::take(&mut self.loading.remembered);
        let watch = self.loading.live.watch.take();
        let begun = os::aside(&os::OWN, move || {
            let read = catch_unwind(AssertUnwindSafe(|| {
                // First, so that no change falls between the two.
                let watch = watch.map(|mut watch| {
                    let list = watch.arm(&source.directory);
                    (watch, list)
                });
                Read { loaded: load_changes(&source, &mut remembered), remembered, watch }
            }));
            this.do_send(read.unwrap_or_else(|_| panicked(io::Error::other("a panic, which the log tells of"))));
        });
        if let Err(error) = begun {
            ctx.notify(unread(error));
        }
    }

    fn unreadable(&mut self, error: &DirectoryError) -> ReloadError {
        let why = error.source().map(ToString::to_string);
        let error = ReloadError::Directory { what: error.to_string(), why: why.unwrap_or_default() };
        let problem = error.to_string();
        if self.loading.problems != [problem.as_str()] {
            log::error!("{problem}");
        }
        self.loading.problems = vec![problem];
        error
    }

    /// Looks again later where a problem may pass without a change of a file; else there is no timer.
    fn retry_while(&mut self, passing: bool, ctx: &mut Context<Self>) {
        let last = self.loading.retry.take().map(|(handle, wait)| {
            ctx.cancel_future(handle);
            wait
        });
        if passing {
            let wait = last.map_or(FIRST_RETRY, |wait| (wait * 2).min(LAST_RETRY));
            let handle = ctx.run_later(wait, |herder, ctx| herder.reload(Reload::default(), None, ctx));
            self.loading.retry = Some((handle, wait));
        }
    }
}
