//! A herd that plays a part: each service does what its id says, at once. Behind a real door on a real socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use actix::{Actor, Context, Handler, MessageResult};
use daemonherder::bus::{Bus, Happening};
use daemonherder::conf::Problem;
use daemonherder::front::{self, Access, Identity};
use daemonherder::herder::{
    Applied, AwaitKept, Command, Order, Overview, Reload, ReloadError, SendSignal, ServiceStatus, Shutdown, Subscribe,
    Survey, UnknownServices,
};
use daemonherder::model::{Cause, Death, Ending, Moment, Net, RunId, ServiceId, State, Wanted};
use tokio::sync::oneshot;

/// What the herd was told, in words.
pub(crate) type Told = Arc<Mutex<Vec<String>>>;

/// The root actor's part.
pub(crate) struct FakeHerder {
    services: BTreeMap<ServiceId, ServiceStatus>,
    bus: Bus,
    began: Instant,
    runs: u64,
    told: Told,
    ended: Option<oneshot::Sender<()>>,
}

impl FakeHerder {
    /// A herd of these services, in the state that their ids begin with.
    pub(crate) fn new(ids: &[&str], told: Told, ended: oneshot::Sender<()>) -> Self {
        let mut herder = Self {
            services: BTreeMap::new(),
            bus: Bus::new(),
            began: Instant::now(),
            runs: 0,
            told,
            ended: Some(ended),
        };
        for id in ids {
            let status = herder.service(id);
            herder.services.insert(status.id.clone(), status);
        }
        herder
    }

    fn now(&self) -> Moment {
        Moment::after_boot(Duration::from_secs(1000) + self.began.elapsed())
    }

    fn next_run(&mut self) -> RunId {
        self.runs += 1;
        RunId { herd: 255, number: self.runs }
    }

    fn service(&mut self, id: &str) -> ServiceStatus {
        let state =
            State::ALL.into_iter().find(|(_, name)| id.starts_with(name)).map_or(State::Stopped, |(state, _)| state);
        let run = (state == State::Running).then(|| self.next_run());
        let since = Moment::after_boot(Duration::from_secs(10));
        let problem = Problem { line: 1, column: 2, message: "cmd is missing".into(), passing: false };
        ServiceStatus {
            id: id.parse().unwrap(),
            name: format!("The {id}"),
            state,
            wanted: if state == State::Stopped { Wanted::Down } else { Wanted::Up },
            reason: format!("it was {state} from the beginning"),
            since,
            run,
            pid: run.map(|_| 4711),
            running_since: run.map(|_| since),
            restarts: 2,
            window_count: 1,
            intensity: 5,
            period: Duration::from_secs(10),
            next_start: None,
            stop_timeout: Duration::from_secs(10),
            deaths: vec![],
            net: Net::Group,
            logged: None,
            conf: PathBuf::from(format!("/confs/{id}.conf")),
            conf_problems: if state == State::Invalid { vec![problem] } else { vec![] },
        }
    }

    fn enter(&mut self, id: &ServiceId, state: State, reason: &str, run: Option<RunId>, death: Option<Death>) {
        let at = self.now();
        let status = self.services.get_mut(id).unwrap();
        let from = Some(std::mem::replace(&mut status.state, state));
        (status.reason, status.since, status.run, status.pid) = (reason.into(), at, run, run.map(|_| 4711));
        status.running_since = run.filter(|_| state == State::Running).map(|_| at);
        status.deaths.splice(0..0, death);
        let what = Happening::Entered { from, state, reason: reason.into(), run, pid: status.pid, death };
        self.bus.publish(at, id.clone(), what);
    }

    fn death(&self, run: RunId, ending: Ending, cause: Cause) -> Option<Death> {
        Some(Death { at: self.now(), run, lived: Duration::from_millis(2), ending, cause })
    }

    fn start(&mut self, id: &ServiceId) {
        if self.services[id].state == State::Running {
            return;
        }
        let run = self.next_run();
        self.enter(id, State::Starting, "was asked for", Some(run), None);
        self.enter(id, State::Running, "runs", Some(run), None);
        if id.as_str().contains("dies") {
            let death = self.death(run, Ending::Exited(3), Cause::ExitCode);
            self.enter(id, State::Backoff, "exited with code 3, waits", None, death);
        } else if id.as_str().contains("once") {
            let death = self.death(run, Ending::Exited(0), Cause::Success);
            self.enter(id, State::Exited, "exited with code 0", None, death);
        }
    }

    fn stop(&mut self, id: &ServiceId) {
        if let Some(run) = self.services[id].run {
            self.enter(id, State::Stopping, "was asked to", Some(run), None);
            let death = self.death(run, Ending::Exited(0), Cause::Stop);
            self.enter(id, State::Stopped, "was asked to", None, death);
        } else {
            self.enter(id, State::Stopped, "was asked to", None, None);
        }
    }
}

impl Actor for FakeHerder {
    type Context = Context<Self>;
}

impl Handler<Survey> for FakeHerder {
    type Result = MessageResult<Survey>;

    fn handle(&mut self, _: Survey, _: &mut Self::Context) -> Self::Result {
        MessageResult(Overview {
            at: self.now(),
            services: self.services.values().cloned().collect(),
            ending: false,
            problems: vec![],
        })
    }
}

impl Handler<Command> for FakeHerder {
    type Result = Result<(), UnknownServices>;

    fn handle(&mut self, Command { ids, order }: Command, _: &mut Self::Context) -> Self::Result {
        self.told.lock().unwrap().push(format!("{order:?} {ids:?}"));
        for id in &ids {
            match order {
                Order::Start => self.start(id),
                Order::Stop => self.stop(id),
                Order::Restart => {
                    self.stop(id);
                    self.start(id);
                }
            }
        }
        Ok(())
    }
}

impl Handler<SendSignal> for FakeHerder {
    type Result = Result<Vec<ServiceId>, UnknownServices>;

    fn handle(&mut self, SendSignal { ids, signal, tree }: SendSignal, _: &mut Self::Context) -> Self::Result {
        self.told.lock().unwrap().push(format!("{signal} {ids:?} {tree}"));
        Ok(ids.into_iter().filter(|id| self.services[id].run.is_none()).collect())
    }
}

impl Handler<AwaitKept> for FakeHerder {
    type Result = ();

    fn handle(&mut self, _: AwaitKept, _: &mut Self::Context) {}
}

impl Handler<Reload> for FakeHerder {
    type Result = Result<Applied, ReloadError>;

    fn handle(&mut self, reload: Reload, _: &mut Self::Context) -> Self::Result {
        self.told.lock().unwrap().push(format!("{reload:?}"));
        let problem = Problem { line: 3, column: 5, message: "unknown key".into(), passing: false };
        Ok(Applied {
            start: vec!["new".parse().unwrap()],
            unchanged: self.services.keys().cloned().collect(),
            problems: vec![("/confs/db.conf".into(), problem)],
            ..Applied::default()
        })
    }
}

impl Handler<Shutdown> for FakeHerder {
    type Result = ();

    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) {
        self.told.lock().unwrap().push("Shutdown".into());
        if let Some(ended) = self.ended.take() {
            let _ = ended.send(());
        }
    }
}

impl Handler<Subscribe> for FakeHerder {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, _: Subscribe, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.bus.subscribe())
    }
}

/// What a daemon with such a herd would say of itself.
pub(crate) fn identity(state: &Path) -> Identity {
    Identity {
        version: "1.2.3".into(),
        pid: 42,
        since: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        host: "here".into(),
        logs: state.join("logs"),
    }
}

/// The whole of a small daemon: opens the door in `state`, says so through `open`, and ends on [`Shutdown`].
pub(crate) fn daemon(state: &Path, access: Access, ids: &[&str], told: Told, open: impl FnOnce()) {
    actix::System::new().block_on(async {
        let (ended, ends) = oneshot::channel();
        let herder = FakeHerder::new(ids, told, ended).start();
        let listener = front::bind(&state.join("control.sock"), &access).unwrap();
        let server = front::serve(listener, herder.clone(), identity(state), access).unwrap();
        open();
        let _ = ends.await;
        server.close().await;
    });
}

/// Such a daemon in a thread, with a state directory of its own. It ends with this value.
pub(crate) struct Door {
    pub(crate) state: tempfile::TempDir,
    pub(crate) told: Told,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    pub(crate) fn open(ids: &[&str]) -> Self {
        Self::open_for(Access::of_this_process(None), ids)
    }

    pub(crate) fn open_for(access: Access, ids: &[&str]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (told, ids): (Told, Vec<String>) = (Told::default(), ids.iter().map(ToString::to_string).collect());
        let (path, telling, (opened, open)) = (state.path().to_owned(), Arc::clone(&told), mpsc::channel());
        let thread = std::thread::spawn(move || {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            daemon(&path, access, &ids, telling, || opened.send(()).unwrap());
        });
        open.recv().unwrap();
        Self { state, told, thread: Some(thread) }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.state.path().join("control.sock")
    }

    /// Writes what a service has said.
    pub(crate) fn log(&self, id: &str, text: &str) {
        let directory = self.state.path().join("logs").join(id);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("current.log"), text).unwrap();
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// Ends the daemon, and waits until it has ended.
    pub(crate) fn close(&mut self) {
        if let Some(thread) = self.thread.take() {
            let mut stream = std::os::unix::net::UnixStream::connect(self.socket()).unwrap();
            let request = b"POST /v1/shutdown HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            std::io::Write::write_all(&mut stream, request).unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the daemon panicked");
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.close();
        }
    }
}
