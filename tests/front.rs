//! The control socket as any client sees it: bytes in, bytes out.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

mod fake_herder;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use daemonherder::front::{self, Access};
use fake_herder::{Door, FakeHerder, Told, identity};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An answer, taken apart.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body with everything taken out that is another one every time.
    fn golden(&self) -> String {
        fn settle(value: &mut Value) {
            match value {
                Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| match (name.as_str(), &value) {
                    ("since" | "at", Value::String(time)) => {
                        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
                        *value = "TIME".into();
                    }
                    ("uptime_ms", Value::Number(_)) => *value = "MILLISECONDS".into(),
                    _ => settle(value),
                }),
                Value::Array(values) => values.iter_mut().for_each(settle),
                _ => {}
            }
        }
        let mut value = self.json();
        settle(&mut value);
        serde_json::to_string_pretty(&value).unwrap()
    }
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    // Only a watchdog: no answer in a minute is none.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn read_answer(stream: &mut UnixStream) -> Answer {
    let mut bytes = Vec::new();
    // A server that hangs up on bytes that it did not read resets the connection after its answer.
    let _ = stream.read_to_end(&mut bytes);
    parse(&String::from_utf8(bytes).unwrap())
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

fn ask(door: &Door, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = connect(&door.socket());
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    read_answer(&mut stream)
}

#[test]
fn the_herd_is_told_in_one_document() {
    let door = Door::open(&["running-web"]);
    door.log("running-web", "12345");
    let answer = ask(&door, "GET", "/v1/services", "");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    insta::assert_snapshot!(answer.golden(), @r#"
    {
      "version": 1,
      "host": "here",
      "daemon": {
        "version": "1.2.3",
        "pid": 42,
        "since": "TIME"
      },
      "services": [
        {
          "id": "running-web",
          "name": "The running-web",
          "state": "running",
          "wanted": "up",
          "reason": "it was running from the beginning",
          "since": "TIME",
          "pid": 4711,
          "run": "00000000000000ff-1",
          "uptime_ms": "MILLISECONDS",
          "restarts": 2,
          "window": {
            "count": 1,
            "intensity": 5,
            "period_ms": 10000
          },
          "next_start_ms": null,
          "last_exit": null,
          "conf": "/confs/running-web.conf",
          "conf_problems": [],
          "tree": "group",
          "logs": {
            "bytes": 5,
            "dropped": 0
          }
        }
      ]
    }
    "#);
    assert_eq!(answer.json()["daemon"]["since"], "2023-11-14T22:13:20.123Z");
    let one = ask(&door, "GET", "/v1/services/running-web", "");
    assert_eq!(one.golden(), serde_json::to_string_pretty(&parse_golden(&answer)["services"][0]).unwrap());
}

fn parse_golden(answer: &Answer) -> Value {
    serde_json::from_str(&answer.golden()).unwrap()
}

#[test]
fn an_unchanged_moment_is_told_in_the_same_words_every_time() {
    let door = Door::open(&["running-web"]);
    let since = || ask(&door, "GET", "/v1/services/running-web", "").json()["since"].clone();
    let first = since();
    assert!((0..50).all(|_| since() == first));
}

#[test]
fn a_start_that_fails_is_told_with_its_cause_and_last_lines() {
    let door = Door::open(&["dies", "good"]);
    door.log("dies", "one\ntwo\n");
    let answer = ask(&door, "POST", "/v1/services/dies,good/start", r#"{"settle_ms": 0}"#);
    assert_eq!(answer.status, 200);
    let results = &answer.json()["results"];
    // Without a settle time, to have run is enough.
    assert_eq!((&results[0]["id"], &results[0]["ok"]), (&"dies".into(), &true.into()));

    ask(&door, "POST", "/v1/services/*/stop", "");
    let mut answer = ask(&door, "POST", "/v1/services/dies/start", r#"{"settle_ms": 60000}"#);
    let mut document = answer.json();
    let service = document["results"][0]["service"].take();
    answer.body = document.to_string();
    insta::assert_snapshot!(answer.golden(), @r#"
    {
      "version": 1,
      "results": [
        {
          "id": "dies",
          "ok": false,
          "message": "exited with code 3, waits (exit-code); now backoff",
          "service": null,
          "last_lines": [
            "one",
            "two"
          ]
        }
      ]
    }
    "#);
    assert_eq!((&service["state"], &service["last_exit"]["code"]), (&"backoff".into(), &3.into()));
}

#[test]
fn commands_wait_for_their_result() {
    let door = Door::open(&["good", "once", "running-a", "invalid-b", "skipped-c"]);
    for (path, body, ok, message) in [
        ("/v1/services/good/start", r#"{"settle_ms":50}"#, true, "started"),
        ("/v1/services/good/restart", r#"{"settle_ms":50}"#, true, "restarted"),
        ("/v1/services/once/start", "", true, "ran and ended: exited with code 0"),
        ("/v1/services/running-a/start", "", true, "already running"),
        ("/v1/services/running-a/stop", "", true, "stopped"),
        ("/v1/services/running-a/stop", "{}", true, "does not run (stopped)"),
        ("/v1/services/good/stop", r#"{"wait":false}"#, true, "ordered"),
        ("/v1/services/invalid-b/start", "", false, "/confs/invalid-b.conf:1:2: cmd is missing"),
        ("/v1/services/skipped-c/start", "", false, "belongs to another host: it was skipped from the beginning"),
    ] {
        let answer = ask(&door, "POST", path, body);
        let result = &answer.json()["results"][0];
        assert_eq!((answer.status, &result["ok"], &result["message"]), (200, &ok.into(), &message.into()), "{path}");
    }
    // What belongs to another host can't be told anything, and is not.
    assert!(!door.told().iter().any(|told| told.contains("skipped")), "{:?}", door.told());
}

#[test]
fn a_thousand_services_are_one_request_even_when_events_are_missed() {
    let ids: Vec<String> = (0..1200).map(|number| format!("s{number:04}")).collect();
    let door = Door::open(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    // The fake herd publishes 2,400 events in one turn, more than the bus holds.
    let answer = ask(&door, "POST", "/v1/services/%2A/start", r#"{"settle_ms": 10}"#);
    let results = answer.json()["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), 1200);
    assert!(results.iter().all(|result| result["ok"] == true && result["service"]["state"] == "running"));
    assert_eq!(door.told().len(), 1);
}

#[test]
fn of_names_that_are_not_all_known_nothing_is_done() {
    let door = Door::open(&["web", "db"]);
    let answer = ask(&door, "POST", "/v1/services/web,dbx,zzz/stop", "");
    assert_eq!(answer.status, 404);
    assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
    insta::assert_snapshot!(answer.golden(), @r#"
    {
      "status": 404,
      "title": "no such service",
      "detail": "no such service: dbx (did you mean db?); no such service: zzz"
    }
    "#);
    assert_eq!(door.told(), Vec::<String>::new());
}

#[test]
fn a_reload_is_told_as_a_plan() {
    let door = Door::open(&["web"]);
    let answer = ask(&door, "POST", "/v1/reload", "");
    insta::assert_snapshot!(answer.golden(), @r#"
    {
      "version": 1,
      "start": [
        "new"
      ],
      "stop": [],
      "restart": [],
      "adjust": [],
      "unchanged": [
        "web"
      ],
      "problems": [
        {
          "path": "/confs/db.conf",
          "line": 3,
          "column": 5,
          "message": "unknown key"
        }
      ]
    }
    "#);
    ask(&door, "POST", "/v1/reload", r#"{"dry_run": true, "prune": true}"#);
    assert_eq!(door.told(), ["Reload { dry_run: false, prune: false }", "Reload { dry_run: true, prune: true }"]);
}

#[test]
fn the_last_lines_of_a_log_are_plain_text() {
    let door = Door::open(&["web"]);
    door.log("web", "1\n2\n3\n");
    let answer = ask(&door, "GET", "/v1/services/web/logs?lines=2", "");
    assert_eq!((answer.status, answer.body.as_str()), (200, "2\n3\n"));
    assert!(answer.head.contains("content-type: text/plain"), "{answer:?}");
    // Nobody leaves the directory of logs by a clever id.
    std::fs::create_dir_all(door.state.path().join("secret")).unwrap();
    std::fs::write(door.state.path().join("secret/current.log"), "secret").unwrap();
    assert_eq!(ask(&door, "GET", "/v1/services/..%2Fsecret/logs", "").status, 404);
}

#[test]
fn what_can_not_be_done_is_refused_as_a_problem() {
    let door = Door::open(&["web"]);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let post = |path: &str, length: usize, body: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let start = |body: &str| post("/v1/services/web/start", body.len(), body);
    for (request, status, title) in [
        (get("/nowhere"), 404, "no such path"),
        (get("/v1/services/nobody"), 404, "no such service"),
        ("PUT /v1/services HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 405, "wrong method"),
        (start(r#"{"x": 1}"#), 400, "bad request"),
        (start("{]}}"), 400, "bad request"),
        (start(r#"{"settle_ms": "long"}"#), 400, "bad request"),
        (start(r#"{"settle_ms": 999999999999}"#), 400, "bad request"),
        // Announced, and never sent: the answer does not wait for it.
        (post("/v1/services/web/start", (1 << 20) + 1, ""), 413, "body too large"),
        (post("/v1/shutdown", 7, r#"{"a":1}"#), 400, "bad request"),
    ] {
        let mut stream = connect(&door.socket());
        stream.write_all(request.as_bytes()).unwrap();
        // `nc -N` does the same: nothing more to say, but an answer is wanted.
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!((answer.status, answer.json()["title"].as_str()), (status, Some(title)), "{request}");
        assert_eq!(answer.json()["status"], status);
        assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
        assert_eq!(answer.head.contains("\r\nallow: get"), status == 405, "{answer:?}");
    }
    assert_eq!(door.told(), Vec::<String>::new());
}

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
async fn of_more_connections_than_are_served_at_a_time_the_last_ones_wait() {
    let (state, access) = (tempfile::tempdir().unwrap(), Access::of_this_process(None));
    let herder = actix::Actor::start(FakeHerder::new(&[], Told::default(), tokio::sync::oneshot::channel().0));
    let path = state.path().join("control.sock");
    let server = front::serve(front::bind(&path, &access).unwrap(), herder, identity(state.path()), access);
    // Time passes only while nobody has anything to do.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(tokio::net::UnixStream::connect(&path).await.unwrap());
    }
    let mut late = tokio::net::UnixStream::connect(&path).await.unwrap();
    late.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).await.unwrap();
    assert_eq!(parse(&answer).body, "ok\n");
    // It was its turn when the first of the idle ones had been hung up on.
    assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
    server.close().await;
}

#[actix::test]
async fn a_client_that_never_finishes_its_request_is_hung_up_on() {
    let (state, access) = (tempfile::tempdir().unwrap(), Access::of_this_process(None));
    let herder = actix::Actor::start(FakeHerder::new(&[], Told::default(), tokio::sync::oneshot::channel().0));
    let path = state.path().join("control.sock");
    let server = front::serve(front::bind(&path, &access).unwrap(), herder, identity(state.path()), access);
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

/// Not a test of its own: what [`a_stranger_is_refused`] runs as another user.
#[test]
fn as_a_stranger() {
    if let Some(socket) = std::env::var_os("FRONT_TEST_SOCKET") {
        let mut stream = connect(Path::new(&socket));
        write!(stream, "POST /v1/shutdown HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n").unwrap();
        print!("<<{}>>", read_answer(&mut stream).body);
    }
}

#[test]
fn a_stranger_is_refused() {
    let own = Access::of_this_process(None);
    if own.owner != 0 {
        // Who is not root can't become somebody else, but can be a stranger at somebody else's door.
        let door = Door::open_for(Access { owner: own.owner + 1, group: None }, &[]);
        let answer = ask(&door, "GET", "/healthz", "");
        assert_eq!((answer.status, answer.json()["title"].as_str()), (403, Some("forbidden")));
        return;
    }
    let door = Door::open(&[]);
    let everybody = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    everybody(door.state.path(), 0o755);
    everybody(&door.socket(), 0o666);
    // A copy, since another user may not reach the place where this program was built.
    let program = door.state.path().join("stranger");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    everybody(&program, 0o755);
    let mut command = std::process::Command::new(&program);
    command.args(["as_a_stranger", "--exact", "--nocapture"]).env("FRONT_TEST_SOCKET", door.socket());
    let output = std::os::unix::process::CommandExt::uid(&mut command, 65534).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let body = output.split_once("<<").and_then(|(_, rest)| rest.split_once(">>")).expect(&output).0;
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&problem["status"], &problem["title"]), (&403.into(), &"forbidden".into()));
    assert!(problem["detail"].as_str().unwrap().contains("user 65534"), "{problem}");
    assert_eq!(door.told(), Vec::<String>::new());
}

/// Not a test of its own: what [`without_a_descriptor_left_the_door_waits_and_does_not_spin`] runs in a process whose
/// descriptors are counted.
#[actix::test]
async fn as_an_exhausted_daemon() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    if std::env::var_os("FRONT_TEST_EXHAUST").is_none() {
        return;
    }
    let (state, access) = (tempfile::tempdir().unwrap(), Access::of_this_process(None));
    let herder = actix::Actor::start(FakeHerder::new(&[], Told::default(), tokio::sync::oneshot::channel().0));
    let path = state.path().join("control.sock");
    let server = front::serve(front::bind(&path, &access).unwrap(), herder, identity(state.path()), access);
    tokio::time::pause();
    let began = tokio::time::Instant::now();

    setrlimit(Resource::RLIMIT_NOFILE, 64, getrlimit(Resource::RLIMIT_NOFILE).unwrap().1).unwrap();
    let mut hoard: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    // The last descriptor is the client's: the daemon has none to accept it with.
    hoard.pop();
    let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
    client.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    // Time passes only while nobody has anything to do: a daemon that tries again and again would never let it.
    let mut answer = String::new();
    let early = tokio::time::timeout(Duration::from_millis(1500), client.read_to_string(&mut answer)).await;
    assert!(early.is_err(), "{answer}");
    hoard.clear();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(parse(&answer).body, "ok\n");
    print!("<<waited {} s>>", began.elapsed().as_secs());
    server.close().await;
}

#[test]
fn without_a_descriptor_left_the_door_waits_and_does_not_spin() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["as_an_exhausted_daemon", "--exact", "--nocapture"])
        .env("FRONT_TEST_EXHAUST", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("<<waited 2 s>>"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
