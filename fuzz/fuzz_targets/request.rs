//! Any bytes as what a client says on the control socket: an answer in HTTP that is no fault of the daemon's, never a
//! panic, and a door that stays open. Behind it is a real herd without processes.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run request -s none fuzz/corpus/request fuzz/seeds/request -- -max_total_time=60 -timeout=20
//! -dict=fuzz/request.dict`
//!
//! Client, door and herd share one thread, and time passes only while nobody has anything to do: what a start waits for
//! costs nothing. A wait without an end is what `-timeout` is for. It is one herd from the first input to the last: it remembers
//! what earlier ones did to it, and nothing that takes memory (`tests/growth.rs` looks closer).

#![no_main]

#[deny(unsafe_code)]
#[path = "../../tests/scene/mod.rs"]
mod scene;

use std::cell::RefCell;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;

use actix::SystemRunner;
use libfuzzer_sys::fuzz_target;
use scene::{Scene, live_bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

/// After so many inputs it is looked how large the heap is.
const LOOK: u64 = 5000;
/// It may be larger than at the first look by so many bytes: a burst of orders or clients is still under way.
const ROOM: usize = 1 << 18;
/// Who says this asks for the end, and nobody else: it is not decoded. The herd does not hear of it, but a door where the end was
/// asked for begins no upgrade any more, so that another door takes its place.
const THE_END: &[u8] = b"/v1/shutdown";

/// Where all of it happens.
struct World {
    system: SystemRunner,
    scene: Scene,
    inputs: u64,
    /// The size of the heap at the first look.
    heap: Option<usize>,
    _state: tempfile::TempDir,
}

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
        let scene = system.block_on(async {
            // A client that hangs up is no reason to end. What begins in Rust ignores it, but libFuzzer's main function is C.
            let _ = signal(SignalKind::pipe()).expect("a signal that may be caught");
            Scene::begin(state.path()).await
        });
        Self { system, scene, inputs: 0, heap: None, _state: state }
    }

    fn play(&mut self, bytes: &[u8]) {
        let ends = has(bytes, THE_END);
        let (scene, inputs) = (&mut self.scene, self.inputs);
        self.system.block_on(async {
            ask(&scene.socket(), bytes, ends).await;
            if ends {
                scene.open_anew().await;
            }
            if inputs % LOOK == 0 {
                scene.forget().await;
            }
        });
        if inputs % LOOK == 0 && inputs > 0 {
            let (now, first) = (live_bytes(), *self.heap.get_or_insert_with(live_bytes));
            assert!(now < first + ROOM, "after {inputs} inputs {now} bytes are in use, and {first} were");
        }
        self.inputs += 1;
    }
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
