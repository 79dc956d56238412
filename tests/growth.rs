//! A herd that is asked and ordered about for ever needs no more memory than one that was asked a few times: every byte of the
//! heap is counted.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

mod scene;

use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::time::Duration;

use scene::{Scene, live_bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What clients ask, over and over: with answers, refusals, launches, deaths and cool-downs.
const REQUESTS: [(&str, &str, &str); 14] = [
    ("GET", "/v1/services", ""),
    ("GET", "/v1/services/web", ""),
    ("GET", "/v1/services/web/logs?lines=2", ""),
    ("POST", "/v1/services/web,db/start", r#"{"settle_ms": 5}"#),
    ("POST", "/v1/services/*/restart", r#"{"wait": false}"#),
    ("POST", "/v1/services/broken/start", ""),
    ("POST", "/v1/services/web/signal", r#"{"signal": "KILL", "tree": true}"#),
    ("POST", "/v1/services/d*/stop", ""),
    ("POST", "/v1/services/nobody/start", ""),
    ("POST", "/v1/reload", r#"{"dry_run": true}"#),
    ("POST", "/v1/upgrade", r#"{"path": "/x"}"#),
    ("GET", "/v1/events?past=300&follow=false", ""),
    ("GET", "/v1/events", ""),
    ("GET", "/v2", "{"),
];
/// How often all of them are asked before the heap is measured: more than once all that is remembered (256 events).
const WARM: usize = 60;
/// And how often from there to the second measurement.
const MORE: usize = 240;
/// After so many rounds another door takes the place of the last one, which was asked for the end.
const DOOR: usize = 20;
/// What may be more in all that time: what is remembered is not of the same length each time. A single byte that each
/// request leaves behind is more.
const ROOM: usize = MORE * REQUESTS.len();

/// Asks, and waits for the answer; whoever asks for a stream leaves after the head of it.
async fn ask(socket: &Path, method: &str, path: &str, body: &str) {
    let stream = StdStream::connect(socket).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut stream = UnixStream::from_std(stream).unwrap();
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while stream.read_buf(&mut answer).await.unwrap() > 0 {
        if path == "/v1/events" && answer.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            break;
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 "), "{method} {path}: {}", answer.escape_ascii());
}

/// Asks all of it, and how much memory is in use when the herd has come to rest.
async fn bytes_after(rounds: usize, scene: &mut Scene) -> usize {
    let socket = scene.socket();
    for round in 0..rounds {
        for (method, path, body) in REQUESTS {
            ask(&socket, method, path, body).await;
        }
        if round % DOOR == 0 {
            ask(&socket, "POST", "/v1/shutdown", "").await;
            scene.open_anew().await;
        }
    }
    // No cool-down, no connection and nothing that is given back later is left after that.
    for _ in 0..100 {
        tokio::time::advance(Duration::from_secs(60)).await;
        scene.forget().await;
    }
    live_bytes()
}

#[test]
fn a_herd_that_is_asked_for_ever_does_not_grow() {
    let state = tempfile::tempdir().unwrap();
    actix::System::new().block_on(async {
        let mut scene = Scene::begin(state.path()).await;
        let before = bytes_after(WARM, &mut scene).await;
        let after = bytes_after(MORE, &mut scene).await;
        assert!(after < before + ROOM, "{before} bytes were in use, and {after} are");
    });
}
