//! Any bytes as what a client says on the control socket: an answer in HTTP that is no fault of the daemon's, never a
//! panic, and a door that stays open. Behind it is a real herd without processes.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run request -s none fuzz/corpus/request fuzz/seeds/request -- -max_total_time=60 -timeout=20
//! -dict=fuzz/request.dict`
//!
//! Client, door and herd share one thread, and time passes only while nobody has anything to do: what a start waits for
//! costs nothing. A wait without an end is what `-timeout` is for. The herd remembers what earlier inputs did to it.

#![no_main]

use std::cell::RefCell;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::time::SystemTime;

use actix::{Actor, Addr, Context, Handler, SystemRunner};
use daemonherder::conf::{AnyAccounts, Settings, lower};
use daemonherder::front::{self, Access, Identity, NotUpgraded, Server, Upgrades};
use daemonherder::herder::{Dismiss, Herder, Shutdown, Supervise};
use daemonherder::model::{LaunchError, ServiceId, Stage};
use daemonherder::service::Herd;
use daemonherder::testing::FakeSpawner;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

/// The services: one runs, one does not, one cannot.
const CONFS: [(&str, &str); 3] = [
    ("web", r#"{"cmd": "true"}"#),
    ("db", r#"{"cmd": "true", "enabled": false}"#),
    (BROKEN, r#"{"cmd": "true", "restart": "never"}"#),
];
const BROKEN: &str = "broken";
const SOCKET: &str = "control.sock";
/// After so many inputs another herd takes the place of the last one: the fake spawner forgets nothing.
const LIFE: u32 = 5000;
/// Who says this asks for the end, and nobody else: it is not decoded. The herd does not hear of it, but a door where the end was
/// asked for begins no upgrade any more, so that another door takes its place.
const THE_END: &[u8] = b"/v1/shutdown";

/// Where all of it happens.
struct World {
    system: SystemRunner,
    state: tempfile::TempDir,
    scene: Option<Scene>,
}

/// A herd and its door.
struct Scene {
    herder: Addr<Herder>,
    server: Server,
    inputs: u32,
}

/// Who is asked for the end.
struct Immortal;

/// What a client has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// Answers, the last of which is not whole.
    Part,
    /// Whole answers.
    Whole,
    /// The head of a stream of events, which has no end.
    Stream,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

fuzz_target!(|bytes: &[u8]| WORLD.with_borrow_mut(|world| world.play(bytes)));

impl World {
    fn new() -> Self {
        let (system, state) = (actix::System::new(), tempfile::tempdir().expect("a directory"));
        system.block_on(async {
            // Time passes only while nobody has anything to do.
            tokio::time::pause();
            // A client that hangs up is no reason to end. What begins in Rust ignores it, but libFuzzer's main function is C.
            let _ = signal(SignalKind::pipe()).expect("a signal that may be caught");
        });
        Self { system, state, scene: None }
    }

    fn play(&mut self, bytes: &[u8]) {
        let ends = has(bytes, THE_END);
        let (state, scene) = (self.state.path(), self.scene.take());
        self.scene = self.system.block_on(async {
            let mut scene = match scene {
                Some(scene) => scene,
                None => Scene::begin(state).await,
            };
            scene.inputs += 1;
            ask(&state.join(SOCKET), bytes, ends).await;
            if scene.inputs == LIFE {
                scene.end().await;
                return None;
            }
            if ends {
                scene.server.close().await;
                scene.server = open(state, &scene.herder);
            }
            Some(scene)
        });
    }
}

impl Scene {
    async fn begin(state: &Path) -> Self {
        let spawner = FakeSpawner::new();
        let broken: ServiceId = BROKEN.parse().expect("letters are an id");
        let no_such_file = LaunchError { stage: Stage::Exec, errno: 2 };
        spawner.fail_launches(&broken, no_such_file);
        let herd = Herd::new(spawner, state);
        for (id, _) in CONFS {
            let log = herd.place.log(&id.parse().expect("letters are an id"));
            std::fs::create_dir_all(log.parent().expect("a directory of its own")).expect("a directory");
            std::fs::write(log, b"one\ntwo\n\xff\n").expect("a file");
        }
        let herder = Herder::new(herd, None).start();
        for (id, conf) in CONFS {
            let id = id.parse().expect("letters are an id");
            let spec = lower(&id, conf, &Settings::default(), &AnyAccounts).expect("a conf without problems");
            herder.send(Supervise(spec)).await.expect("a herd that lives").expect("a herd that goes on");
        }
        let server = open(state, &herder);
        Self { herder, server, inputs: 0 }
    }

    async fn end(self) {
        self.server.close().await;
        for (id, _) in CONFS {
            let id = id.parse().expect("letters are an id");
            self.herder.send(Dismiss(id)).await.expect("a herd that lives").expect("a service");
        }
        self.herder.send(Shutdown::default()).await.expect("a herd that did not panic");
    }
}

impl Actor for Immortal {
    type Context = Context<Self>;
}

impl Handler<Shutdown> for Immortal {
    type Result = ();

    fn handle(&mut self, _: Shutdown, _: &mut Self::Context) {}
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
    let listener = front::bind(&state.join(SOCKET), &access).expect("a socket");
    front::serve(listener, herd, identity, access).expect("a door")
}

/// Says all of it, and looks at what is answered.
async fn ask(socket: &Path, bytes: &[u8], ends: bool) {
    let stream = StdStream::connect(socket).expect("the door is open");
    stream.set_nonblocking(true).expect("an open descriptor");
    let mut stream = UnixStream::from_std(stream).expect("a runtime");
    // Of a request that is refused at its beginning the rest need not arrive.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let (mut answer, may_be_head) = (Vec::new(), has(bytes, b"HEAD"));
    loop {
        // Bytes that nobody read reset the connection, after the answer.
        let is_over = matches!(stream.read_buf(&mut answer).await, Ok(0) | Err(_));
        match listen(&answer, ends, may_be_head) {
            Heard::Part => assert!(!is_over, "an answer that is cut short: {}", answer.escape_ascii()),
            Heard::Whole if is_over => return,
            Heard::Whole => {}
            Heard::Stream => return,
        }
    }
}

/// Reads answers. Where the end was asked for that may be said; no other fault is one that a client may cause.
fn listen(mut answer: &[u8], ends: bool, may_be_head: bool) -> Heard {
    while !answer.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut headers);
        let parsed = head.parse(answer).unwrap_or_else(|error| panic!("{error}: {}", answer.escape_ascii()));
        let httparse::Status::Complete(length) = parsed else { return Heard::Part };
        let status = head.code.expect("a head that is complete has a status");
        assert!(status < 500 || (ends && status == 503), "{}", answer.escape_ascii());
        answer = &answer[length..];
        if header(&head, "content-type") == Some(b"text/event-stream") {
            return Heard::Stream;
        }
        // Nothing but a stream is sent without its length; a HEAD and a 100 have none of what they announce.
        let length = header(&head, "content-length")
            .map_or(0, |length| str::from_utf8(length).ok().and_then(|length| length.parse().ok()).expect("a number"));
        if may_be_head && (answer.is_empty() || answer.starts_with(b"HTTP/")) {
            continue;
        }
        match answer.get(length..) {
            Some(rest) => answer = rest,
            None => return Heard::Part,
        }
    }
    Heard::Whole
}

fn header<'a>(head: &httparse::Response<'_, 'a>, name: &str) -> Option<&'a [u8]> {
    head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

fn has(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|window| window == words)
}
