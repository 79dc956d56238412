//! Requests that are too large, too slow, malformed or broken off: what they cost those who send them, and nobody else.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use daemonherder::front::{self, Access, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fake_herder::{Door, FakeHerder, Told, identity};
use crate::{ask, connect, parse, raise_descriptor_limit, read_answer};

/// More than are served at a time: if each of so many clients left something of itself behind, the next one would wait.
const MANY: usize = 330;

#[test]
fn a_body_that_is_announced_too_large_is_answered_unread_and_hung_up_on() {
    let door = Door::open(&["web"]);
    let hidden = "POST /v1/shutdown HTTP/1.1\r\nhost: x\r\n\r\n";
    for path in ["services/web/start", "services/web/signal", "reload", "upgrade", "shutdown"] {
        for sent in ["", hidden] {
            let mut stream = connect(&door.socket());
            let length = (1 << 20) + 1;
            write!(stream, "POST /v1/{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{sent}").unwrap();
            // The stream ends although more could be said: what would follow is the body, and no request.
            let answer = read_answer(&mut stream);
            assert_eq!((answer.status, answer.json()["title"].as_str()), (413, Some("body too large")), "{path}");
            assert!(answer.head.contains("\r\nconnection: close"), "{answer:?}");
        }
    }
    assert_eq!(door.told(), Vec::<String>::new());
}

#[test]
fn a_head_that_is_too_large_is_refused_and_hung_up_on() {
    let door = Door::open(&["web"]);
    let long = "x".repeat(1 << 17);
    for request in [
        format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("{long} / HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("POST /v1/reload HTTP/1.1\r\nhost: {long}\r\n\r\n"),
        format!("POST /v1/reload HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(10_000)),
        // Not long, but many.
        format!("POST /v1/reload HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(200)),
        // Without an end, and with nobody who says that none comes.
        format!("POST /v1/reload HTTP/1.1\r\nx: {long}"),
    ] {
        let mut stream = connect(&door.socket());
        // The server hangs up when it has had enough, so that not all of this need arrive.
        let _ = stream.write_all(request.as_bytes());
        let answer = read_answer(&mut stream);
        assert!([400, 414, 431].contains(&answer.status), "{}: {answer:?}", &request[..40]);
    }
    assert_eq!(door.told(), Vec::<String>::new());
}

#[test]
fn what_is_no_request_or_could_be_two_is_refused_and_hung_up_on() {
    let door = Door::open(&["web"]);
    let post = |rest: &str| format!("POST /v1/reload HTTP/1.1\r\nhost: x\r\n{rest}");
    for request in [
        "POST /v1/reload\r\n\r\n".to_owned(),
        "POST /v1/reload HTTP/3.9\r\n\r\n".to_owned(),
        "POST /v1/re load HTTP/1.1\r\n\r\n".to_owned(),
        "POST /v1/reload HTTP/1.1\r\nno colon\r\n\r\n".to_owned(),
        "PO ST /v1/reload HTTP/1.1\r\n\r\n".to_owned(),
        post("x: \0\r\n\r\n"),
        post("x : y\r\n\r\n"),
        post("content-length: -1\r\n\r\n"),
        post("content-length: 2x\r\n\r\n{}"),
        post("content-length: 18446744073709551616\r\n\r\n"),
        // Where does the body end? Whoever stands in between may see another request than this one.
        post("content-length: 2\r\ncontent-length: 3\r\n\r\n{}"),
        post("transfer-encoding: gzip\r\n\r\n"),
        post("transfer-encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n\r\n2\r\n{}garbage"),
    ] {
        let mut stream = connect(&door.socket());
        stream.write_all(request.as_bytes()).unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!(answer.status, 400, "{request:?}: {answer:?}");
    }
    assert_eq!(door.told(), Vec::<String>::new());
}

#[test]
fn what_follows_a_request_is_the_next_one_or_the_end() {
    let door = Door::open(&["web"]);
    let health = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    for (behind, second) in [
        ("\x16\x03\x01 no request\r\n\r\n", Some(400)),
        ("POST /v1/reload HTTP/9.9\r\n\r\n", Some(400)),
        ("GET /nowhere HTTP/1.1\r\nconnection: close\r\n\r\n", Some(404)),
        ("\r\n\r\nGET /nowhere HTTP/1.1\r\nconnection: close\r\n\r\n", Some(404)),
        ("POST /v1/reload HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{", Some(400)),
        ("POST /v1/reload HT", None),
    ] {
        let mut stream = connect(&door.socket());
        stream.write_all(format!("{health}{behind}").as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        let statuses: Vec<_> = said.match_indices("HTTP/1.1 ").map(|(at, _)| parse(&said[at..]).status).collect();
        assert_eq!(statuses, std::iter::once(200).chain(second).collect::<Vec<_>>(), "{behind:?}: {said}");
    }
    assert_eq!(door.told(), Vec::<String>::new());
}

#[test]
fn who_hangs_up_in_the_middle_costs_others_nothing() {
    let door = Door::open(&["web"]);
    door.log("web", &format!("{}\n", "x".repeat(10_000)).repeat(40));
    let log = "GET /v1/services/web/logs?lines=1000000 HTTP/1.1\r\nhost: x\r\n\r\n";
    raise_descriptor_limit();
    for request in [
        "",
        "POST /v1/reload HTTP/1.1\r\nho",
        "POST /v1/reload HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{",
        "POST /v1/reload HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{",
        log,
    ] {
        for _ in 0..MANY {
            let mut stream = connect(&door.socket());
            stream.write_all(request.as_bytes()).unwrap();
            // Of the log more is on its way than fits between the two.
            if request == log {
                stream.read_exact(&mut [0; 9]).unwrap();
            }
        }
        assert_eq!(ask(&door, "GET", "/healthz", "").body, "ok\n", "{request:?}");
    }
    assert_eq!(door.told(), Vec::<String>::new());
}

/// A door in the runtime of the test, whose clock goes on only while nobody has anything to do.
struct Paused {
    state: tempfile::TempDir,
    told: Told,
    server: Server,
}

impl Paused {
    fn open() -> Self {
        let (state, told, access) = (tempfile::tempdir().unwrap(), Told::default(), Access::of_this_process(None));
        let herder = actix::Actor::start(FakeHerder::new(&["web"], told.clone(), tokio::sync::oneshot::channel().0));
        let listener = front::bind(&state.path().join("control.sock"), &access).unwrap();
        let server = front::serve(listener, herder, identity(state.path()), access).unwrap();
        tokio::time::pause();
        Self { state, told, server }
    }

    fn socket(&self) -> PathBuf {
        self.state.path().join("control.sock")
    }

    async fn connect(&self) -> tokio::net::UnixStream {
        tokio::net::UnixStream::connect(self.socket()).await.unwrap()
    }

    /// Begins to follow the events, and hangs up on being told with what status.
    async fn follow(&self) -> u16 {
        let mut stream = self.connect().await;
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        parse(&String::from_utf8(head).unwrap()).status
    }
}

#[actix::test]
async fn a_request_that_comes_in_drops_is_cut_off_all_the_same() {
    let door = Paused::open();
    let post = "POST /v1/reload HTTP/1.1\r\nhost: x\r\n";
    for (begin, status) in
        [("", 0), (post, 0), (&format!("{post}content-length: 1000\r\n\r\n"), 408), (&format!("{post}x: "), 0)]
    {
        let mut stream = door.connect().await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        let (mut answer, began) = (Vec::new(), tokio::time::Instant::now());
        // A drop a second: nobody is ever silent for as long as the patience.
        loop {
            match tokio::time::timeout(Duration::from_secs(1), stream.read_buf(&mut answer)).await {
                Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(_)) => {}
                Err(_) => _ = stream.write_all(b"x").await,
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{begin:?}: nobody cuts it off");
        }
        assert_eq!(parse(&String::from_utf8(answer).unwrap()).status, status, "{begin:?}");
        let waited = began.elapsed();
        assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(12), "{begin:?}: {waited:?}");
    }
    assert_eq!(*door.told.lock().unwrap(), Vec::<String>::new());
    door.server.close().await;
}

#[actix::test]
async fn who_hung_up_on_the_events_makes_room_for_another_follower() {
    let door = Paused::open();
    // Of those who hung up the door still has a descriptor each.
    raise_descriptor_limit();
    while door.follow().await == 200 {}
    let began = tokio::time::Instant::now();
    // That somebody has gone is known by what it is told, at the latest that there is nothing to tell.
    while door.follow().await != 200 {
        assert!(began.elapsed() <= Duration::from_secs(31), "they are waited for although they have gone");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    door.server.close().await;
}
