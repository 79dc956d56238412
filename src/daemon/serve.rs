//! The life of a daemon, from the lock to the last line of its log.

use std::error::Error;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix::{Actor, Addr, System};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::{StartError, StateDir, journal};
use crate::conf::{Places, create_directory};
use crate::front::{self, Access, Identity};
use crate::herder::{AwaitEnd, GetSettings, Herder, Reload, Shutdown, Subscribe};
use crate::os::{self, Clock};
use crate::process::{Baseline, DirectSpawner, Place};
use crate::service::{Herd, RunNumbers};

/// So many events leave memory behind that is worth giving back.
const BURST: u32 = 200;
/// A burst is over when nothing has happened for so long.
const QUIET: Duration = Duration::from_millis(300);

pub(super) fn serve(places: &Places, detached: bool) -> Result<(), StartError> {
    os::keep_small();
    let since = SystemTime::now();
    let made = create_directory(&places.config_dir)
        .map_err(|source| io_error(format!("make {}", places.config_dir.display()), source))?;
    let mut state = StateDir::open(places)?;
    let first_run = state.take_runs()?;
    // What services get is what the daemon was started with, so this is looked at before anything is changed.
    let baseline = Baseline::of_this_process();
    os::raise_open_files();
    let lines = journal::open(state.path())?;
    greet(places, made);
    let system = System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs an epoll and an eventfd, and a daemon without those can't start")
    });
    let runs = RunNumbers::new(state.herd(), first_run);
    let result = system.block_on(live(places, &state, baseline, runs.clone(), since, detached));
    let kept = state.give_back_runs(runs.peek().number);
    if let Err(error) = &kept {
        log::warn!("{error}: the next daemon leaves a gap in the run numbers");
    }
    log::info!("ended");
    drop(lines);
    result
}

fn greet(places: &Places, made: bool) {
    let (version, host) = (env!("CARGO_PKG_VERSION"), &places.host);
    let (confs, state) = (places.config_dir.display(), places.state_dir.display());
    log::info!("daemonherder {version} on {host}, pid {}: confs in {confs}, state in {state}", std::process::id());
    if made {
        log::info!("made {confs}: a file NAME.conf in it with {{\"cmd\": \"…\"}}, and NAME is a service");
    }
}

async fn live(
    places: &Places,
    state: &StateDir,
    baseline: Baseline,
    runs: RunNumbers,
    since: SystemTime,
    detached: bool,
) -> Result<(), StartError> {
    let signals = Signals::new().map_err(|source| io_error("take the signals".to_owned(), source))?;
    let spawner = DirectSpawner::new().map_err(|source| io_error("watch processes".to_owned(), source))?;
    let herd = Herd {
        spawner: Rc::new(spawner),
        clock: Clock::start(),
        runs,
        place: Arc::new(Place::new(state.path())),
        baseline: Arc::new(baseline),
    };
    // What may fail comes before the first service: nothing is left behind by a daemon that does not start.
    let access = Access::of_this_process(None);
    let listener = front::bind(&places.socket, &access)
        .map_err(|error| io_error(format!("open {}", places.socket.display()), io::Error::other(error)))?;
    let herder = Herder::new(herd, Some(places.source().into())).start();
    tokio::task::spawn_local(signals.pass_on(herder.clone()));
    // What is wrong with the confs is in the log and in the status; the daemon is there all the same. A directory that
    // hangs does not keep it from ending.
    tokio::select! {
        _ = herder.send(Reload::default()) => {}
        _ = herder.send(AwaitEnd) => {}
    }
    let access = admit_group(places, access, &herder).await;
    let server = front::serve(listener, herder.clone(), identity(places, state, since), access);
    tokio::task::spawn_local(tidy_memory(herder.clone()));
    if detached {
        super::detach::tell_ready();
    }
    // An error is a herder that panicked: nothing of the herd can be reached any more.
    let ended = herder.send(AwaitEnd).await.map_err(|error| io_error("go on".to_owned(), io::Error::other(error)));
    server.close().await;
    ended
}

/// Gives memory back when a burst of events (a start, a storm, a reload of many) is over. In between it waits for the next
/// event only: with nothing happening there is no timer.
async fn tidy_memory(herder: Addr<Herder>) {
    let Ok(mut events) = herder.send(Subscribe).await else { return };
    os::give_back();
    let mut burst = 0;
    while events.next().await.is_some() {
        burst += 1;
        if burst >= BURST {
            while let Ok(Some(_)) = tokio::time::timeout(QUIET, events.next()).await {}
            os::give_back();
            burst = 0;
        }
    }
}

/// Opens the door to `control.group`. Where that can't be done, it stays closed to it.
async fn admit_group(places: &Places, access: Access, herder: &Addr<Herder>) -> Access {
    let settings = herder.send(GetSettings).await.unwrap_or_default();
    let Some(name) = settings.control_group else { return access };
    let Some(group) = group(name.clone()).await else { return access };
    match front::admit(&places.socket, group) {
        Ok(()) => Access { group: Some(group), ..access },
        Err(error) => {
            log::error!(
                "control.group {name}: {error}: {}",
                error.source().map(ToString::to_string).unwrap_or_default()
            );
            access
        }
    }
}

fn identity(places: &Places, state: &StateDir, since: SystemTime) -> Identity {
    Identity {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        since,
        host: places.host.to_string(),
        logs: state.path().join("logs"),
    }
}

/// The number of `control.group`. Whom nobody knows, nobody is let in for.
async fn group(name: String) -> Option<u32> {
    let asked = name.clone();
    let (found, result) = oneshot::channel();
    // Whoever waits for it is right here.
    let begun = os::aside(&os::OWN, move || _ = found.send(os::account::group_by_name(&asked)));
    match (begun, result.await) {
        (Ok(()), Ok(Ok(gid))) => return Some(gid),
        (Ok(()), Ok(Err(error))) => log::error!("control.group {name}: {error}"),
        (Err(error), _) => log::error!("control.group {name}: {error}"),
        (Ok(()), Err(error)) => log::error!("control.group {name}: {error}"),
    }
    None
}

/// The signals that speak to the daemon.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// TERM and INT end the herd, again and a second later they kill it; HUP reads the confs.
    async fn pass_on(mut self, herder: Addr<Herder>) {
        loop {
            tokio::select! {
                Some(()) = self.term.recv() => herder.do_send(Shutdown),
                Some(()) = self.int.recv() => herder.do_send(Shutdown),
                Some(()) = self.hup.recv() => {
                    log::info!("SIGHUP: reading the confs");
                    herder.do_send(Reload::default());
                }
                else => return,
            }
        }
    }
}

fn io_error(what: String, source: io::Error) -> StartError {
    StartError::Io { what, source }
}
