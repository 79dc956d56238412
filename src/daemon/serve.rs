//! The life of a herder, from what it takes over to the last line of its log.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix::{Actor, Addr, System};
use tokio::sync::{mpsc, oneshot};

use super::keep::notes;
use super::succeed::{prospect, succeed};
use super::upgrade::upgrades;
use super::{StartError, journal};
use crate::conf::Places;
use crate::front::{self, Access, Identity};
use crate::herder::{
    AwaitEnd, Confs, End, GetSettings, Herder, LogNews, Reload, Shutdown, Subscribe, Survey, TakeOver,
};
use crate::keeper::{self, Client, Header, Inheritance, Line, LineError, Notes, Wish};
use crate::logs::{Pump, Word};
use crate::os::{self, Clock, Shelf};
use crate::process::{Baseline, Place};
use crate::service::{Herd, RunNumbers, Terminating};

/// How long the first reading of the confs may keep clients waiting.
const LONGEST_FIRST_LOOK: Duration = Duration::from_secs(5);
/// So many events leave memory behind that is worth giving back.
const BURST: u32 = 200;
/// A burst is over when nothing has happened for so long.
const QUIET: Duration = Duration::from_millis(300);

pub(super) fn serve(places: &Places, detached: bool) -> Result<(), StartError> {
    os::keep_small();
    os::name_process(c"daemonherder");
    os::leave_signals_to_the_keeper();
    let given =
        |number| os::given(number).map_err(|source| io_error("find what a keeper gives a herder".to_owned(), source));
    let (line, listener, _lock) = (given(os::FIRST_GIVEN)?, given(keeper::LISTENER)?, given(keeper::LOCK)?);
    let lines = journal::open(&places.state_dir)?;
    let result = decide(places, line, listener.into(), detached);
    match &result {
        Ok(()) => log::info!("ended"),
        // On a terminal it is about to be said anyway.
        Err(_) if io::stderr().is_terminal() => {}
        Err(error) => log::error!("{}", error.with_causes()),
    }
    // The last lines are written here, so that no way out leads past it.
    drop(lines);
    result
}

/// What lies between the first and the last line of the log.
fn decide(places: &Places, line: OwnedFd, listener: UnixListener, detached: bool) -> Result<(), StartError> {
    let (mut inheritance, line) = match keeper::inherit(line) {
        // It was killed before it could say who it is; its lock tells.
        Err(LineError::Gone | LineError::Read(_)) => {
            let gone = std::fs::read_to_string(places.state_dir.join("lock")).unwrap_or_default();
            let gone = gone.trim().parse().unwrap_or_default();
            log::error!("the keeper has gone: {}", prospect(gone, false));
            let error = succeed(gone, false, &[]);
            return Err(io_error("become the keeper".to_owned(), error));
        }
        heard => heard?,
    };
    let journal = notes(places);
    let written = recall(&journal, &mut inheritance);
    if inheritance.services.is_empty() {
        greet(places, inheritance.pid);
    }
    let system = System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(os::before_waiting)
            .build()
            .expect("a runtime needs an epoll and an eventfd, and a daemon without those can't start")
    });
    if let End::Stopped = system.block_on(live(places, inheritance, written, line, listener, detached))? {
        // A stop holds until the end of the herd. An error says that nothing was written.
        let _ = std::fs::remove_file(journal);
    }
    Ok(())
}

/// The journal of notes, after what it says of services that the keeper does not know.
fn recall(path: &Path, inheritance: &mut Inheritance) -> Option<Notes> {
    let boot = match os::boot_id() {
        Ok(id) => id.iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(error) => {
            log::error!("cannot read the boot id: {error}; what the services do is not written down");
            return None;
        }
    };
    let today = Header { boot, herd: inheritance.herd };
    match Notes::open(path.to_owned(), today.clone()) {
        Ok((notes, recalled)) => {
            if recalled.damaged > 0 {
                log::warn!("{} lines of the journal of notes are damaged", recalled.damaged);
            }
            inheritance.complete(recalled, &today);
            Some(notes)
        }
        Err(error) => {
            let why = error.source().map(ToString::to_string).unwrap_or_default();
            log::error!("{error}: {why}; what the services do is not written down");
            None
        }
    }
}

fn greet(places: &Places, pid: u32) {
    let (version, host) = (env!("CARGO_PKG_VERSION"), &places.host);
    let (confs, state) = (places.config_dir.display(), places.state_dir.display());
    log::info!("daemonherder {version} on {host}, pid {pid}: confs in {confs}, state in {state}");
}

async fn live(
    places: &Places,
    mut inheritance: Inheritance,
    notes: Option<Notes>,
    line: Line,
    listener: UnixListener,
    detached: bool,
) -> Result<End, StartError> {
    let line_error = |source| io_error("hear the keeper".to_owned(), source);
    let shelf = shelf();
    let output = output(places, shelf.as_ref());
    let (keeper, wishes) = Client::start(line, &inheritance, notes, output).map_err(line_error)?;
    let services = std::mem::take(&mut inheritance.services);
    let herd = Herd {
        spawner: Rc::new(keeper.clone()),
        clock: Clock::of_boot(),
        runs: RunNumbers::new(inheritance.herd, inheritance.next_run),
        terminating: Terminating::default(),
        place: Arc::new(Place::new(&places.state_dir)),
        baseline: Arc::new(Baseline::of_this_process().with_open_files(inheritance.open_files)),
    };
    let herder = Herder::new(herd, Some(Confs::from(places.source()).live()));
    let terminating = herder.terminating();
    let herder = herder.start();
    let this = herder.downgrade();
    keeper.on_end(move || {
        terminating.begin();
        // Before its services tell it what comes of that.
        this.upgrade().into_iter().for_each(|herder| herder.do_send(Shutdown::default()));
    });
    herder.do_send(TakeOver { services, ending: inheritance.ending });
    tokio::select! {
        end = answer(places, &inheritance, listener, &keeper, &herder, detached) => end,
        // Without a keeper there is nothing to be done here.
        error = pass_on(wishes, &keeper, &herder, inheritance.pid) => {
            Err(io_error("become the keeper; the next daemon finds what lives".to_owned(), error))
        }
    }
}

/// What keeps services' pipes. By these numbers a keeper finds it that this process may become.
fn shelf() -> Option<Shelf> {
    let [into, out] = keeper::SHELF;
    let shelf = os::given(into).and_then(|into| Ok(Shelf::of(into, os::given(out)?)));
    shelf.inspect_err(|error| log::error!("cannot find what keeps services' pipes: {error}")).ok()
}

/// The thread that writes what services write. Without one their processes write files themselves, which nobody rotates.
fn output(places: &Places, shelf: Option<&Shelf>) -> Option<(Pump, mpsc::UnboundedReceiver<Word>)> {
    let pump = Pump::start(&places.state_dir, shelf.and_then(|shelf| shelf.try_clone().ok()));
    pump.inspect_err(|error| log::error!("logs are neither rotated nor stamped: {error}")).ok()
}

/// Answers clients, until the herd has ended.
async fn answer(
    places: &Places,
    inheritance: &Inheritance,
    listener: UnixListener,
    keeper: &Client,
    herder: &Addr<Herder>,
    detached: bool,
) -> Result<End, StartError> {
    // What is wrong with the confs is in the log and in the status; the daemon is there all the same. A directory that
    // hangs does not keep it from answering for ever, nor from ending.
    // An error is a herder that panicked, or the end of the time.
    let _ = tokio::time::timeout(LONGEST_FIRST_LOOK, async {
        tokio::select! {
            _ = herder.send(Reload::default()) => {}
            _ = herder.send(AwaitEnd) => {}
        }
    })
    .await;
    let access = admit_group(places, Access::of_this_process(None), herder).await;
    let upgrades = Some(upgrades(keeper, inheritance.pid));
    let door = front::Herd { upgrades, ..herder.clone().into() };
    let server = front::serve(listener, door, identity(places, inheritance), access)
        .map_err(|source| io_error(format!("answer on {}", places.socket.display()), source))?;
    tokio::task::spawn_local(tidy_memory(herder.clone()));
    keeper.ready();
    if detached {
        super::detach::let_go();
    }
    // An error is a herder that panicked: nothing of the herd can be reached any more.
    let end = herder.send(AwaitEnd).await.map_err(|error| io_error("go on".to_owned(), io::Error::other(error)))?;
    server.close().await;
    keeper.finish_output();
    keeper.close_notes();
    keeper.over(end == End::Left).await;
    Ok(end)
}

/// Does what is asked of the daemon by a signal, of which the keeper tells. Comes back once there is none, with the reason
/// why this process does not take its place.
async fn pass_on(
    mut wishes: mpsc::UnboundedReceiver<Wish>,
    keeper: &Client,
    herder: &Addr<Herder>,
    pid: u32,
) -> io::Error {
    while let Some(wish) = wishes.recv().await {
        match wish {
            Wish::Log(id, what) => herder.do_send(LogNews { id, what }),
            Wish::Reload => {
                log::info!("SIGHUP: reading the confs");
                herder.do_send(Reload::default());
            }
            Wish::KeeperGone => {
                // An error is a herder that panicked: then nobody knows.
                let ending = herder.send(Survey).await.is_ok_and(|overview| overview.ending);
                log::error!("the keeper has gone: {}", prospect(pid, ending));
                keeper.flush();
                return succeed(pid, ending, &keeper.witnesses());
            }
        }
    }
    io::Error::other("nobody hears it any more")
}

/// Gives memory back when a burst of events (a start, a storm, a reload of many) is over. In between it waits for the next
/// event only: with nothing happening there is no timer.
async fn tidy_memory(herder: Addr<Herder>) {
    let Ok(mut events) = herder.send(Subscribe).await else { return };
    // The start is one, however few services there are.
    let mut burst = BURST;
    loop {
        if burst >= BURST {
            while let Ok(Some(_)) = tokio::time::timeout(QUIET, events.next()).await {}
            os::give_back_soon();
            burst = 0;
        }
        if events.next().await.is_none() {
            return;
        }
        burst += 1;
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

fn identity(places: &Places, inheritance: &Inheritance) -> Identity {
    Identity {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: inheritance.pid,
        since: SystemTime::UNIX_EPOCH + Duration::from_nanos(inheritance.since_ns),
        host: places.host.to_string(),
        logs: places.state_dir.join("logs"),
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

fn io_error(what: String, source: io::Error) -> StartError {
    StartError::Io { what, source }
}
