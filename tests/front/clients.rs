//! Clients that send no request, send it slowly, never finish it, or have no more to say.

use std::io::Write;
use std::time::Duration;

use daemonherder::front::{self, Access};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fake_herder::{Door, FakeHerder, Told, identity};
use crate::{ask, connect, parse, read_answer};

#[test]
fn a_body_without_an_announced_end_is_cut_off_at_the_limit() {
    let door = Door::open(&["web"]);
    let mut stream = connect(&door.socket());
    write!(stream, "POST /v1/reload HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, " ".repeat(1 << 16));
    // The server hangs up when it has had enough, so that not all of this need arrive.
    for _ in 0..32 {
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    assert_eq!(read_answer(&mut stream).status, 413);
    assert_eq!(door.told(), Vec::<String>::new());
}

#[test]
fn bytes_that_are_no_request_do_nothing_and_do_no_harm() {
    let door = Door::open(&["web"]);
    let huge = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(1 << 17));
    for (request, status) in [
        (b"".as_slice(), 0),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET\r\n\r\n", 400),
        (b"POST /v1/services/web/start HTTP/1.1\r\nhost: x", 0),
        (b"POST /v1/services/web/start HTTP/1.1\r\nhost: x\r\ncontent-length: 30\r\n\r\n{", 400),
        (huge.as_bytes(), 431),
    ] {
        let mut stream = connect(&door.socket());
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let answer = read_answer(&mut stream);
        let said = String::from_utf8_lossy(&request[..request.len().min(60)]);
        assert_eq!(answer.status, status, "{said:?}: {answer:?}");
    }
    assert_eq!(door.told(), Vec::<String>::new());
    assert_eq!(ask(&door, "GET", "/healthz", "").body, "ok\n");
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let door = Door::open(&["web"]);
    let mut stream = connect(&door.socket());
    for byte in b"POST /v1/services/web/stop HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}" {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read_answer(&mut stream).json()["results"][0]["ok"], true);
}

#[test]
fn a_client_that_has_no_more_to_say_still_gets_the_answer_that_it_waits_for() {
    let door = Door::open(&["good"]);
    let mut stream = connect(&door.socket());
    let body = r#"{"settle_ms":100}"#;
    let length = body.len();
    write!(stream, "POST /v1/services/good/start HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
        .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_answer(&mut stream).json()["results"][0]["message"], "started");
}

#[actix::test]
async fn a_client_that_never_finishes_its_request_is_hung_up_on() {
    let (state, access) = (tempfile::tempdir().unwrap(), Access::of_this_process(None));
    let herder = actix::Actor::start(FakeHerder::new(&[], Told::default(), tokio::sync::oneshot::channel().0));
    let path = state.path().join("control.sock");
    let server = front::serve(front::bind(&path, &access).unwrap(), herder, identity(state.path()), access).unwrap();
    // Time passes only while nobody has anything to do.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    for request in ["", "GET / HTT", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.contains("200 OK"), request.contains("healthz"), "{answer}");
    }
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"POST /v1/reload HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n{").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(parse(&answer).status, 408, "{answer}");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(40) && waited < Duration::from_secs(45), "{waited:?}");
    server.close().await;
}

#[test]
fn closing_finishes_what_is_under_way_and_removes_the_socket() {
    let mut door = Door::open(&["good"]);
    let mut waiting = connect(&door.socket());
    let body = r#"{"settle_ms":300}"#;
    write!(waiting, "POST /v1/services/good/start HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .unwrap();
    // An answer on a second connection tells that the first one has been read.
    while door.told().is_empty() {
        assert_eq!(ask(&door, "GET", "/healthz", "").status, 200);
    }
    let socket = door.socket();
    door.close();
    assert_eq!(read_answer(&mut waiting).json()["results"][0]["message"], "started");
    assert!(!socket.exists());
}
