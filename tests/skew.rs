//! Verbs and a daemon of another version: what an old one is asked, and what a later one may answer.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::JoinHandle;

use daemonherder::cli::{self, Daemon, Exit, Role, Style, Terminal};
use serde_json::{Value, json};

/// What a verb did.
struct Done {
    exit: Exit,
    out: String,
    err: String,
}

fn typed(socket: PathBuf, line: &str) -> Done {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal { out: &mut out, err: &mut err, style: Style::PLAIN };
    let words = std::iter::once("daemonherder").chain(line.split_whitespace());
    let exit = match cli::parse(words, &mut terminal) {
        Ok(Role::Client(_, verb)) => cli::run(&verb, &Daemon { socket, confs: "/confs".into() }, &mut terminal),
        other => panic!("{line}: {other:?}"),
    };
    Done { exit, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// A daemon's part: one answer for each connection, or none at all; it gives back what it was asked, with all
/// that can't be seen.
fn daemon(socket: &Path, answers: Vec<Option<String>>) -> JoinHandle<String> {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || answers.into_iter().map(|answer| serve(&listener, answer)).collect())
}

fn serve(listener: &UnixListener, answer: Option<String>) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let (mut asked, mut byte) = (String::new(), [0]);
    loop {
        if let Some((head, body)) = asked.split_once("\r\n\r\n") {
            let length = head.split_once("content-length: ").map(|(_, rest)| rest.lines().next().unwrap());
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                break;
            }
        }
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the client hung up: {asked}");
        asked.push(char::from(byte[0]));
    }
    if let Some(answer) = answer {
        stream.write_all(answer.as_bytes()).unwrap();
    }
    asked.replace("\r\n", "\\r\\n\n") + "(end)\n"
}

fn answer(status: &str, media_type: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!("HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{body}"))
}

fn document(document: &Value) -> Option<String> {
    answer("200 OK", "application/json", &document.to_string())
}

/// What is asked by a verb that is answered with a refusal, if its answers do not say otherwise.
fn asked(line: &str, mut answers: Vec<Option<String>>) -> String {
    answers.push(answer(
        "409 Conflict",
        "application/problem+json",
        r#"{"status":409,"title":"x","detail":"not now"}"#,
    ));
    let state = tempfile::tempdir().unwrap();
    let socket = state.path().join("control.sock");
    let server = daemon(&socket, answers);
    let done = typed(socket, line);
    assert_eq!(done.exit, Exit::Failed, "{line}");
    assert!(done.err.contains("not now"), "{line}: {}", done.err);
    server.join().unwrap()
}

#[test]
fn a_verb_without_options_sends_no_body() {
    insta::assert_snapshot!(asked("status", vec![]), @r"
    GET /v1/services HTTP/1.1\r\n
    host: daemonherder\r\n
    prefer: return=minimal\r\n
    \r\n
    (end)
    ");
    insta::assert_snapshot!(asked("start web", vec![]), @r"
    POST /v1/services/web/start HTTP/1.1\r\n
    host: daemonherder\r\n
    \r\n
    (end)
    ");
    insta::assert_snapshot!(asked("stop web", vec![]), @r"
    POST /v1/services/web/stop HTTP/1.1\r\n
    host: daemonherder\r\n
    \r\n
    (end)
    ");
    insta::assert_snapshot!(asked("restart --all", vec![]), @r"
    POST /v1/services/%2A/restart HTTP/1.1\r\n
    host: daemonherder\r\n
    \r\n
    (end)
    ");
    insta::assert_snapshot!(asked("reload", vec![]), @r"
    POST /v1/reload HTTP/1.1\r\n
    host: daemonherder\r\n
    \r\n
    (end)
    ");
    insta::assert_snapshot!(asked("events", vec![]), @r"
    GET /v1/events?past=100000&follow=false HTTP/1.1\r\n
    host: daemonherder\r\n
    \r\n
    (end)
    ");
    let last = || document(&json!({"version": 1, "running": "1", "last": null}));
    insta::assert_snapshot!(asked("upgrade", vec![last()]), @r"
    GET /v1/upgrade HTTP/1.1\r\n
    host: daemonherder\r\n
    \r\n
    (end)
    POST /v1/upgrade HTTP/1.1\r\n
    host: daemonherder\r\n
    \r\n
    (end)
    ");
}

/// `shutdown` looks first who is there, by a connection on which it says nothing.
#[test]
fn a_shutdown_without_options_sends_no_body() {
    insta::assert_snapshot!(told_to_end("shutdown", r#"{"version":1}"#), @r"
    POST /v1/shutdown HTTP/1.1\r\n
    host: daemonherder\r\n
    \r\n
    (end)
    ");
}

#[test]
fn an_option_is_sent_alone() {
    insta::assert_snapshot!(asked("start web --settle 2s", vec![]), @r#"
    POST /v1/services/web/start HTTP/1.1\r\n
    host: daemonherder\r\n
    content-type: application/json\r\n
    content-length: 18\r\n
    \r\n
    {"settle_ms":2000}(end)
    "#);
    insta::assert_snapshot!(asked("stop web --no-wait", vec![]), @r#"
    POST /v1/services/web/stop HTTP/1.1\r\n
    host: daemonherder\r\n
    content-type: application/json\r\n
    content-length: 14\r\n
    \r\n
    {"wait":false}(end)
    "#);
    insta::assert_snapshot!(asked("reload --dry-run", vec![]), @r#"
    POST /v1/reload HTTP/1.1\r\n
    host: daemonherder\r\n
    content-type: application/json\r\n
    content-length: 16\r\n
    \r\n
    {"dry_run":true}(end)
    "#);
    insta::assert_snapshot!(asked("reload --prune", vec![]), @r#"
    POST /v1/reload HTTP/1.1\r\n
    host: daemonherder\r\n
    content-type: application/json\r\n
    content-length: 14\r\n
    \r\n
    {"prune":true}(end)
    "#);
    insta::assert_snapshot!(asked("signal HUP web", vec![]), @r#"
    POST /v1/services/web/signal HTTP/1.1\r\n
    host: daemonherder\r\n
    content-type: application/json\r\n
    content-length: 16\r\n
    \r\n
    {"signal":"HUP"}(end)
    "#);
    insta::assert_snapshot!(asked("signal HUP web --tree", vec![]), @r#"
    POST /v1/services/web/signal HTTP/1.1\r\n
    host: daemonherder\r\n
    content-type: application/json\r\n
    content-length: 28\r\n
    \r\n
    {"signal":"HUP","tree":true}(end)
    "#);
    insta::assert_snapshot!(told_to_end("shutdown --leave-services", r#"{"version":1}"#), @r#"
    POST /v1/shutdown HTTP/1.1\r\n
    host: daemonherder\r\n
    content-type: application/json\r\n
    content-length: 23\r\n
    \r\n
    {"leave_services":true}(end)
    "#);
}

/// What is shown of what later daemons answer.
fn shown(line: &str, answers: Vec<Option<String>>) -> Done {
    let state = tempfile::tempdir().unwrap();
    let socket = state.path().join("control.sock");
    daemon(&socket, answers);
    typed(socket, line)
}

/// Adds to every object what nobody here knows.
fn later(mut document: Value) -> Value {
    fn add(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.values_mut().for_each(add);
                fields.insert("later".to_owned(), json!({"of": ["a", {"later": 1.5}], "daemon": null}));
            }
            Value::Array(values) => values.iter_mut().for_each(add),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    add(&mut document);
    document
}

/// A service whose every word is of a later daemon's.
fn service() -> Value {
    let exit = json!({"at": "T", "code": 7, "signal": "QUASAR", "core": false, "cause": "eclipse", "stage": "orbit", "errno": 9});
    json!({
        "id": "web", "name": "The web", "state": "dreaming", "wanted": "sideways", "reason": "it is late", "since": "T",
        "pid": 7, "run": "r-1", "uptime_ms": 5000, "restarts": 3, "window": {"count": 1, "intensity": 5, "period_ms": 10000},
        "next_start_ms": 100, "last_exit": exit, "conf": "/confs/web.conf",
        "conf_problems": [{"line": 1, "column": 2, "message": "odd"}], "tree": "galaxy", "logs": {"bytes": 1, "dropped": 0},
        "details": {"exits": [exit], "last_words": ["good night"], "pipe_bytes": 0,
            "processes": [{"pid": 7, "depth": 0, "name": "sleep", "memory_bytes": 4096, "cpu_ms": 10}]},
    })
}

fn herd() -> Value {
    let daemon = json!({"version": "9.0.0", "pid": 42, "since": "T"});
    later(json!({"version": 1, "host": "here", "daemon": daemon, "services": [service()], "problems": ["tired"]}))
}

#[test]
fn a_later_daemons_status_is_shown_with_the_words_that_it_has() {
    let done = shown("status", vec![document(&herd())]);
    assert_eq!(done.exit, Exit::Done);
    insta::assert_snapshot!(done.out, @r"
    ID   STATE     PID  UPTIME  RESTARTS  REASON
    web  dreaming    7  5s             3  it is late (next start in 100ms)
    tired
    /confs/web.conf:1:2: odd
    ");
    // What is in a state that nobody here knows is not known to be up.
    let answers = vec![document(&herd()), answer("200 OK", "text/plain", "zzz\n"), document(&later(service()))];
    let done = shown("status web", answers);
    assert_eq!((done.exit, done.err.as_str()), (Exit::Failed, ""));
    insta::assert_snapshot!(done.out, @r"
    id:        web
    name:      The web
    state:     dreaming since T
    reason:    it is late (next start in 100ms)
    wanted:    sideways
    pid:       7
    run:       r-1
    uptime:    5s
    restarts:  3, 1 of at most 5 within the last 10s
    last exit: exited with code 7 (eclipse) at T
    conf:      /confs/web.conf (for every host)
    logs:      1 bytes
    /confs/web.conf:1:2: odd
    processes:
               7 sleep, 4 KiB, 10ms of processor time

    what it wrote before its last end:
    good night

    zzz
    ");
    let done = shown("status --json", vec![document(&herd())]);
    assert_eq!((done.exit, serde_json::from_str::<Value>(&done.out).unwrap()), (Exit::Done, herd()));
}

#[test]
fn a_later_daemons_results_are_understood() {
    let results = json!({"version": 1, "results": [
        {"id": "web", "ok": true, "message": "dreams", "service": service()},
        {"id": "db", "ok": false, "message": "woke up", "service": null, "last_lines": ["where am I"]},
    ]});
    for verb in ["start", "stop", "restart", "signal HUP"] {
        let done = shown(&format!("{verb} web db"), vec![document(&later(results.clone()))]);
        let name = verb.split(' ').next().unwrap();
        let complaint = format!("daemonherder: cannot {name} db: woke up\n    db | where am I\n");
        assert_eq!((done.exit, done.out, done.err), (Exit::Failed, "web: dreams\n".into(), complaint), "{verb}");
    }
}

#[test]
fn a_later_daemons_plan_is_understood() {
    let plan = later(json!({
        "version": 1, "start": ["web"], "stop": [], "restart": [], "adjust": [], "unchanged": [],
        "problems": [{"path": "/confs/db.conf", "line": 3, "column": 5, "message": "odd"}],
    }));
    let done = shown("reload", vec![document(&plan)]);
    let complaint = "daemonherder: /confs/db.conf:3:5: odd\n";
    assert_eq!(
        (done.exit, done.out.as_str(), done.err.as_str()),
        (Exit::Done, "start      web\nunchanged  0\n", complaint)
    );
    let done = shown("reload --json", vec![document(&plan)]);
    assert_eq!((done.exit, serde_json::from_str::<Value>(&done.out).unwrap()), (Exit::Done, plan));
}

#[test]
fn a_later_daemons_upgrade_is_understood() {
    let last = |number| json!({"number": number, "from": "1", "to": "2", "path": "/x", "failed": null});
    let told = |number| document(&later(json!({"version": 1, "running": "2", "last": last(number)})));
    let done = shown("upgrade", vec![told(1), None, told(2)]);
    assert_eq!((done.exit, done.out.as_str(), done.err.as_str()), (Exit::Done, "upgraded from 1 to 2: /x\n", ""));
}

#[test]
fn a_later_daemons_shutdown_is_understood() {
    told_to_end("shutdown", &later(json!({"version": 1, "state": "falling asleep"})).to_string());
}

#[test]
fn a_later_daemons_refusal_is_understood() {
    let problem = later(json!({"status": 418, "title": "teapot", "detail": "it is a teapot", "type": "about:blank"}));
    let done = shown("status", vec![answer("418 I'm a teapot", "application/problem+json", &problem.to_string())]);
    assert_eq!((done.exit, done.err.as_str()), (Exit::Failed, "daemonherder: it is a teapot\n"));
}

#[test]
fn a_later_daemons_events_are_shown_as_far_as_they_are_understood() {
    let event = |event: &str| {
        later(json!({"id": "x-1", "at": "T", "service": "web", "event": event, "message": "it happened",
        "from": "dozing", "state": "dreaming", "run": "r", "pid": 7, "exit": service()["last_exit"]}))
    };
    let missed = later(json!({"missed": 3}));
    let stream = [
        ": a comment\nretry: 10\n\n".to_owned(),
        format!("id: x-1\nevent: state\nlater: field\ndata: {}\n\n", event("state")),
        format!("id: x-2\nevent: eclipse\ndata: {}\n\n", event("eclipse")),
        format!("id: x-3\nevent: weather\ndata: {}\n\n", json!({"of": "a later daemon"})),
        format!("event: missed\ndata: {missed}\n\n"),
    ];
    let stream = || answer("200 OK", "text/event-stream", &stream.concat());
    let done = shown("events", vec![stream()]);
    assert_eq!((done.exit, done.err.as_str()), (Exit::Done, ""));
    insta::assert_snapshot!(done.out, @r"
    T web: it happened
    T web: it happened
    (3 events were missed here)
    ");
    let done = shown("events --json", vec![stream()]);
    let lines: Vec<Value> = done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [event("state"), event("eclipse"), json!({"of": "a later daemon"}), missed]);
}

/// Not a test of its own: what [`told_to_end`] runs as a daemon in a process of its own, whose end is what the verb waits
/// for.
#[test]
fn as_a_daemon() {
    let Some(socket) = std::env::var_os("SKEW_TEST_SOCKET") else { return };
    let listener = UnixListener::bind(socket).unwrap();
    println!("<<open>>");
    // Of the first connection only its other end is looked at.
    drop(listener.accept().unwrap());
    let asked =
        serve(&listener, answer("202 Accepted", "application/json", &std::env::var("SKEW_TEST_ANSWER").unwrap()));
    print!("<<{asked}>>");
}

/// What a verb asks that ends the daemon, and does not complain about being answered so.
fn told_to_end(line: &str, answer: &str) -> String {
    let state = tempfile::tempdir().unwrap();
    let socket = state.path().join("control.sock");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["as_a_daemon", "--exact", "--nocapture"])
        .env("SKEW_TEST_SOCKET", &socket)
        .env("SKEW_TEST_ANSWER", answer)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut said, mut byte) = (String::new(), [0]);
    while !said.contains("<<open>>") {
        assert_eq!(stdout.read(&mut byte).unwrap(), 1, "the daemon ended: {said}");
        said.push(char::from(byte[0]));
    }
    let done = typed(socket, line);
    assert_eq!((done.exit, done.out.as_str(), done.err.as_str()), (Exit::Done, "", ""));
    let mut said = String::new();
    stdout.read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    said.split_once("<<").and_then(|(_, rest)| rest.split_once(">>")).unwrap().0.to_owned()
}
