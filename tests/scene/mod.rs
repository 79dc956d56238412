//! A real herd without processes behind a real door, all on one thread, where time passes only while nobody has anything to
//! do; and a heap of which every byte is counted. For the fuzz target of requests, and for the test that a herd does not grow.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use actix::{Actor, Addr, Context, Handler};
use daemonherder::conf::{AnyAccounts, Settings, lower};
use daemonherder::front::{self, Access, Identity, NotUpgraded, Server, Upgrades};
use daemonherder::herder::{Herder, Shutdown, Supervise};
use daemonherder::model::{LaunchError, ServiceId, Stage};
use daemonherder::service::Herd;
use daemonherder::testing::FakeSpawner;

/// The services: one runs, one does not, one cannot.
const CONFS: [(&str, &str); 3] = [
    ("web", r#"{"cmd": "true"}"#),
    ("db", r#"{"cmd": "true", "enabled": false}"#),
    (BROKEN, r#"{"cmd": "true", "restart": "never"}"#),
];
const BROKEN: &str = "broken";

#[global_allocator]
static HEAP: Heap = Heap { live: AtomicUsize::new(0) };

/// The system's heap, and how much of it is in use.
struct Heap {
    live: AtomicUsize,
}

/// How many bytes this program has at the moment.
pub(crate) fn live_bytes() -> usize {
    HEAP.live.load(Ordering::Relaxed)
}

#[expect(unsafe_code, reason = "the trait is unsafe to implement; every call is handed on as it came")]
// SAFETY: it is the system's allocator; the count is no part of what is promised.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            self.live.fetch_add(layout.size(), Ordering::Relaxed);
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.live.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// A herd and its door. To be used in an actix system.
pub(crate) struct Scene {
    state: PathBuf,
    spawner: FakeSpawner,
    herder: Addr<Herder>,
    server: Option<Server>,
}

/// Who is asked for the end, of which the herd does not hear.
struct Immortal;

impl Scene {
    /// Begins one with its state in this directory.
    pub(crate) async fn begin(state: &Path) -> Self {
        // Time passes only while nobody has anything to do.
        tokio::time::pause();
        let spawner = FakeSpawner::new();
        let no_such_file = LaunchError { stage: Stage::Exec, errno: 2 };
        spawner.fail_launches(&id(BROKEN), no_such_file);
        let herd = Herd::new(spawner.clone(), state);
        for (name, _) in CONFS {
            let log = herd.place.log(&id(name));
            std::fs::create_dir_all(log.parent().expect("a directory of its own")).expect("a directory");
            std::fs::write(log, b"one\ntwo\n\xff\n").expect("a file");
        }
        let herder = Herder::new(herd, None).start();
        for (name, conf) in CONFS {
            let spec = lower(&id(name), conf, &Settings::default(), &AnyAccounts).expect("a conf without problems");
            herder.send(Supervise(spec)).await.expect("a herd that lives").expect("a herd that goes on");
        }
        let server = Some(open(state, &herder));
        Self { state: state.to_owned(), spawner, herder, server }
    }

    /// Where the door is.
    pub(crate) fn socket(&self) -> PathBuf {
        socket(&self.state)
    }

    /// Puts another door in the place of this one: where the end was asked for, no upgrade is begun any more.
    pub(crate) async fn open_anew(&mut self) {
        if let Some(server) = self.server.take() {
            server.close().await;
        }
        self.server = Some(open(&self.state, &self.herder));
    }

    /// Has the spawner forget what is over, which a real one does not know either.
    pub(crate) async fn forget(&self) {
        self.spawner.settle().await;
        self.spawner.forget();
    }
}

impl Actor for Immortal {
    type Context = Context<Self>;
}

impl Handler<Shutdown> for Immortal {
    type Result = ();

    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) {}
}

fn id(name: &str) -> ServiceId {
    name.parse().expect("letters are an id")
}

fn socket(state: &Path) -> PathBuf {
    state.join("control.sock")
}

fn open(state: &Path, herder: &Addr<Herder>) -> Server {
    let identity = Identity {
        version: "1.2.3".to_owned(),
        pid: 42,
        since: SystemTime::UNIX_EPOCH,
        host: "here".to_owned(),
        logs: state.join("logs"),
    };
    let replaces = |path| async move { NotUpgraded(format!("{path:?} is not what is played here")) };
    let herd = front::Herd {
        shutdown: Immortal.start().recipient(),
        upgrades: Some(Upgrades::new(|| None, replaces)),
        ..herder.clone().into()
    };
    let access = Access::of_this_process(None);
    let listener = front::bind(&socket(state), &access).expect("a socket");
    front::serve(listener, herd, identity, access).expect("a door")
}
