//! Whole answers, head and body: what scripts hold on to.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc;

use daemonherder::front::Access;

use crate::connect;
use crate::fake_herder::{Door, Told, daemon};

/// An answer, settled.
fn told(door: &Door, method: &str, path: &str, headers: &str, body: &str) -> String {
    told_at(&door.socket(), method, path, headers, body)
}

fn told_at(socket: &Path, method: &str, path: &str, headers: &str, body: &str) -> String {
    let mut stream = connect(socket);
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}{length}\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    settled(answer)
}

/// The same with everything replaced that is another one every time: times, ages, and what the ids of events begin with.
/// Nothing becomes longer or shorter by it.
fn settled(mut answer: String) -> String {
    let life = answer.split_once("\nid: ").and_then(|(_, rest)| rest.split_once('-')).map(|(life, _)| life.to_owned());
    if let Some(life) = life {
        assert!(life.len() == 8 && life.bytes().all(|byte| byte.is_ascii_hexdigit()), "{answer}");
        answer = answer.replace(&life, "LIFELIFE");
    }
    while let Some(at) = answer.as_bytes().windows(24).position(is_time) {
        answer.replace_range(at..at + 24, "TTTT-TT-TTTTT:TT:TT.TTTT");
    }
    let age = "\"uptime_ms\":";
    let ages: Vec<_> = answer.match_indices(age).map(|(at, _)| at + age.len()).collect();
    for at in ages {
        let digits = answer[at..].bytes().take_while(u8::is_ascii_digit).count();
        answer.replace_range(at..at + digits, &"9".repeat(digits));
    }
    answer.replace("\r\n", "\n")
}

fn is_time(text: &[u8]) -> bool {
    let form = b"0000-00-00T00:00:00.000Z";
    text.iter().zip(form).all(|(byte, form)| if form.is_ascii_digit() { byte.is_ascii_digit() } else { byte == form })
}

#[test]
fn health() {
    let door = Door::open(&[]);
    insta::assert_snapshot!(told(&door, "GET", "/healthz", "", ""), @r"
    HTTP/1.1 200 OK
    content-type: text/plain; charset=utf-8
    connection: close
    content-length: 3

    ok
    ");
}

#[test]
fn services() {
    let door = Door::open(&["web"]);
    insta::assert_snapshot!(told(&door, "GET", "/v1/services", "prefer: return=minimal\r\n", ""), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    connection: close
    content-length: 312

    {"version":1,"host":"here","daemon":{"version":"1.2.3","pid":42,"since":"TTTT-TT-TTTTT:TT:TT.TTTT"},"services":[{"id":"web","state":"stopped","reason":"it was stopped from the beginning","pid":null,"uptime_ms":null,"restarts":2,"next_start_ms":null,"last_exit":null,"conf":"/confs/web.conf","conf_problems":[]}]}
    "#);
    insta::assert_snapshot!(told(&door, "GET", "/v1/services", "", ""), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    connection: close
    content-length: 490

    {"version":1,"host":"here","daemon":{"version":"1.2.3","pid":42,"since":"TTTT-TT-TTTTT:TT:TT.TTTT"},"services":[{"id":"web","name":"The web","state":"stopped","wanted":"down","reason":"it was stopped from the beginning","since":"TTTT-TT-TTTTT:TT:TT.TTTT","pid":null,"run":null,"uptime_ms":null,"restarts":2,"window":{"count":1,"intensity":5,"period_ms":10000},"next_start_ms":null,"last_exit":null,"conf":"/confs/web.conf","conf_problems":[],"tree":"group","logs":{"bytes":0,"dropped":0}}]}
    "#);
}

#[test]
fn a_service_with_its_details() {
    let door = Door::open(&["dies"]);
    told(&door, "POST", "/v1/services/dies/start", "", r#"{"settle_ms":60000}"#);
    insta::assert_snapshot!(told(&door, "GET", "/v1/services/dies", "", ""), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    connection: close
    content-length: 586

    {"id":"dies","name":"The dies","state":"backoff","wanted":"down","reason":"exited with code 3, waits","since":"TTTT-TT-TTTTT:TT:TT.TTTT","pid":null,"run":null,"uptime_ms":null,"restarts":2,"window":{"count":1,"intensity":5,"period_ms":10000},"next_start_ms":null,"last_exit":{"at":"TTTT-TT-TTTTT:TT:TT.TTTT","code":3,"core":false,"cause":"exit-code"},"conf":"/confs/dies.conf","conf_problems":[],"tree":"group","logs":{"bytes":0,"dropped":0},"details":{"exits":[{"at":"TTTT-TT-TTTTT:TT:TT.TTTT","code":3,"core":false,"cause":"exit-code"}],"last_words":[],"pipe_bytes":0,"processes":[]}}
    "#);
}

#[test]
fn logs() {
    let door = Door::open(&["web"]);
    door.log("web", "1\n2\n");
    insta::assert_snapshot!(told(&door, "GET", "/v1/services/web/logs?lines=1", "", ""), @r"
    HTTP/1.1 200 OK
    content-type: text/plain; charset=utf-8
    connection: close
    content-length: 2

    2
    ");
}

#[test]
fn orders() {
    let door = Door::open(&["web", "once"]);
    insta::assert_snapshot!(told(&door, "POST", "/v1/services/web/stop", "", ""), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    connection: close
    content-length: 449

    {"version":1,"results":[{"id":"web","ok":true,"message":"does not run (stopped)","service":{"id":"web","name":"The web","state":"stopped","wanted":"down","reason":"was asked to","since":"TTTT-TT-TTTTT:TT:TT.TTTT","pid":null,"run":null,"uptime_ms":null,"restarts":2,"window":{"count":1,"intensity":5,"period_ms":10000},"next_start_ms":null,"last_exit":null,"conf":"/confs/web.conf","conf_problems":[],"tree":"group","logs":{"bytes":0,"dropped":0}}}]}
    "#);
    insta::assert_snapshot!(told(&door, "POST", "/v1/services/once/start", "", r#"{"wait":true,"settle_ms":1}"#), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    connection: close
    content-length: 538

    {"version":1,"results":[{"id":"once","ok":true,"message":"ran and ended: exited with code 0","service":{"id":"once","name":"The once","state":"exited","wanted":"down","reason":"exited with code 0","since":"TTTT-TT-TTTTT:TT:TT.TTTT","pid":null,"run":null,"uptime_ms":null,"restarts":2,"window":{"count":1,"intensity":5,"period_ms":10000},"next_start_ms":null,"last_exit":{"at":"TTTT-TT-TTTTT:TT:TT.TTTT","code":0,"core":false,"cause":"success"},"conf":"/confs/once.conf","conf_problems":[],"tree":"group","logs":{"bytes":0,"dropped":0}}}]}
    "#);
    insta::assert_snapshot!(told(&door, "POST", "/v1/services/once/restart", "", r#"{}"#), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    connection: close
    content-length: 538

    {"version":1,"results":[{"id":"once","ok":true,"message":"ran and ended: exited with code 0","service":{"id":"once","name":"The once","state":"exited","wanted":"down","reason":"exited with code 0","since":"TTTT-TT-TTTTT:TT:TT.TTTT","pid":null,"run":null,"uptime_ms":null,"restarts":2,"window":{"count":1,"intensity":5,"period_ms":10000},"next_start_ms":null,"last_exit":{"at":"TTTT-TT-TTTTT:TT:TT.TTTT","code":0,"core":false,"cause":"success"},"conf":"/confs/once.conf","conf_problems":[],"tree":"group","logs":{"bytes":0,"dropped":0}}}]}
    "#);
}

#[test]
fn a_signal() {
    let door = Door::open(&["running-web", "web"]);
    insta::assert_snapshot!(told(&door, "POST", "/v1/services/running-web/signal", "", r#"{"signal":"1"}"#), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    connection: close
    content-length: 504

    {"version":1,"results":[{"id":"running-web","ok":true,"message":"sent HUP","service":{"id":"running-web","name":"The running-web","state":"running","wanted":"up","reason":"it was running from the beginning","since":"TTTT-TT-TTTTT:TT:TT.TTTT","pid":4711,"run":"00000000000000ff-1","uptime_ms":999999,"restarts":2,"window":{"count":1,"intensity":5,"period_ms":10000},"next_start_ms":null,"last_exit":null,"conf":"/confs/running-web.conf","conf_problems":[],"tree":"group","logs":{"bytes":0,"dropped":0}}}]}
    "#);
    insta::assert_snapshot!(told(&door, "POST", "/v1/services/web/signal", "", r#"{"signal":"SIGHUP","tree":true}"#), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    connection: close
    content-length: 463

    {"version":1,"results":[{"id":"web","ok":false,"message":"has no process","service":{"id":"web","name":"The web","state":"stopped","wanted":"down","reason":"it was stopped from the beginning","since":"TTTT-TT-TTTTT:TT:TT.TTTT","pid":null,"run":null,"uptime_ms":null,"restarts":2,"window":{"count":1,"intensity":5,"period_ms":10000},"next_start_ms":null,"last_exit":null,"conf":"/confs/web.conf","conf_problems":[],"tree":"group","logs":{"bytes":0,"dropped":0}}}]}
    "#);
    insta::assert_snapshot!(told(&door, "POST", "/v1/services/web/signal", "", ""), @r#"
    HTTP/1.1 400 Bad Request
    content-type: application/problem+json
    connection: close
    content-length: 98

    {"status":400,"title":"bad request","detail":"no signal is named, expected {\"signal\": \"HUP\"}"}
    "#);
    assert_eq!(door.told(), [r#"HUP ["running-web"] false"#, r#"HUP ["web"] true"#]);
}

#[test]
fn events() {
    let door = Door::open(&["dies", "web"]);
    told(&door, "POST", "/v1/services/dies,web/start", "", r#"{"settle_ms":0}"#);
    insta::assert_snapshot!(told(&door, "GET", "/v1/events?past=3&follow=false", "", ""), @r#"
    HTTP/1.1 200 OK
    content-type: text/event-stream
    cache-control: no-store
    connection: close
    transfer-encoding: chunked

    2F1
    id: LIFELIFE-3
    event: state
    data: {"id":"LIFELIFE-3","at":"TTTT-TT-TTTTT:TT:TT.TTTT","service":"dies","event":"state","message":"backoff: exited with code 3, waits","from":"running","state":"backoff","exit":{"at":"TTTT-TT-TTTTT:TT:TT.TTTT","code":3,"core":false,"cause":"exit-code"}}

    id: LIFELIFE-4
    event: state
    data: {"id":"LIFELIFE-4","at":"TTTT-TT-TTTTT:TT:TT.TTTT","service":"web","event":"state","message":"starting, pid 4711: was asked for","from":"stopped","state":"starting","run":"00000000000000ff-2","pid":4711}

    id: LIFELIFE-5
    event: state
    data: {"id":"LIFELIFE-5","at":"TTTT-TT-TTTTT:TT:TT.TTTT","service":"web","event":"state","message":"running, pid 4711: runs","from":"starting","state":"running","run":"00000000000000ff-2","pid":4711}


    0
    "#);
    // Of a life of which nobody here knows.
    let after = "Last-Event-ID: 00000000-7\r\n";
    insta::assert_snapshot!(told(&door, "GET", "/v1/events?follow=false", after, ""), @r#"
    HTTP/1.1 200 OK
    content-type: text/event-stream
    cache-control: no-store
    connection: close
    transfer-encoding: chunked

    4EC
    event: missed
    data: {"missed":null}

    id: LIFELIFE-1
    event: state
    data: {"id":"LIFELIFE-1","at":"TTTT-TT-TTTTT:TT:TT.TTTT","service":"dies","event":"state","message":"starting, pid 4711: was asked for","from":"stopped","state":"starting","run":"00000000000000ff-1","pid":4711}

    id: LIFELIFE-2
    event: state
    data: {"id":"LIFELIFE-2","at":"TTTT-TT-TTTTT:TT:TT.TTTT","service":"dies","event":"state","message":"running, pid 4711: runs","from":"starting","state":"running","run":"00000000000000ff-1","pid":4711}

    id: LIFELIFE-3
    event: state
    data: {"id":"LIFELIFE-3","at":"TTTT-TT-TTTTT:TT:TT.TTTT","service":"dies","event":"state","message":"backoff: exited with code 3, waits","from":"running","state":"backoff","exit":{"at":"TTTT-TT-TTTTT:TT:TT.TTTT","code":3,"core":false,"cause":"exit-code"}}

    id: LIFELIFE-4
    event: state
    data: {"id":"LIFELIFE-4","at":"TTTT-TT-TTTTT:TT:TT.TTTT","service":"web","event":"state","message":"starting, pid 4711: was asked for","from":"stopped","state":"starting","run":"00000000000000ff-2","pid":4711}

    id: LIFELIFE-5
    event: state
    data: {"id":"LIFELIFE-5","at":"TTTT-TT-TTTTT:TT:TT.TTTT","service":"web","event":"state","message":"running, pid 4711: runs","from":"starting","state":"running","run":"00000000000000ff-2","pid":4711}


    0
    "#);
}

#[test]
fn an_event_as_it_happens() {
    let door = Door::open(&["web"]);
    let mut stream = connect(&door.socket());
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    let mut until = |end: &[u8]| {
        let mut byte = [0];
        while !heard.ends_with(end) {
            stream.read_exact(&mut byte).unwrap();
            heard.extend(byte);
        }
        String::from_utf8(std::mem::take(&mut heard)).unwrap()
    };
    let head = until(b"\r\n\r\n");
    told(&door, "POST", "/v1/services/web/stop", "", "");
    insta::assert_snapshot!(settled(head + &until(b"\n\n\r\n")), @r#"
    HTTP/1.1 200 OK
    content-type: text/event-stream
    cache-control: no-store
    transfer-encoding: chunked

    BC
    id: LIFELIFE-1
    event: state
    data: {"id":"LIFELIFE-1","at":"TTTT-TT-TTTTT:TT:TT.TTTT","service":"web","event":"state","message":"stopped: was asked to","from":"stopped","state":"stopped"}
    "#);
}

#[test]
fn a_reload() {
    let door = Door::open(&["web"]);
    insta::assert_snapshot!(told(&door, "POST", "/v1/reload", "", r#"{"dry_run":true,"prune":false}"#), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    connection: close
    content-length: 167

    {"version":1,"start":["new"],"stop":[],"restart":[],"adjust":[],"unchanged":["web"],"problems":[{"path":"/confs/db.conf","line":3,"column":5,"message":"unknown key"}]}
    "#);
}

#[test]
fn upgrades() {
    let door = Door::open(&[]);
    insta::assert_snapshot!(told(&door, "GET", "/v1/upgrade", "", ""), @r#"
    HTTP/1.1 200 OK
    content-type: application/json
    connection: close
    content-length: 43

    {"version":1,"running":"1.2.3","last":null}
    "#);
    insta::assert_snapshot!(told(&door, "POST", "/v1/upgrade", "", r#"{"path":"/x"}"#), @r#"
    HTTP/1.1 409 Conflict
    content-type: application/problem+json
    connection: close
    content-length: 92

    {"status":409,"title":"not upgraded","detail":"this program replaces itself in its own way"}
    "#);
}

#[test]
fn a_shutdown() {
    let state = tempfile::tempdir().unwrap();
    let (opened, open) = mpsc::channel();
    let access = Access::of_this_process(None);
    std::thread::scope(|scope| {
        scope.spawn(|| daemon(state.path(), access, &[], Told::default(), move || opened.send(()).unwrap()));
        open.recv().unwrap();
        let (socket, body) = (state.path().join("control.sock"), r#"{"leave_services":true}"#);
        insta::assert_snapshot!(told_at(&socket, "POST", "/v1/shutdown", "", body), @r#"
        HTTP/1.1 202 Accepted
        content-type: application/json
        connection: close
        content-length: 13

        {"version":1}
        "#);
    });
}

#[test]
fn refusals() {
    let door = Door::open(&["web"]);
    insta::assert_snapshot!(told(&door, "PUT", "/v1/upgrade", "", ""), @r#"
    HTTP/1.1 405 Method Not Allowed
    content-type: application/problem+json
    allow: GET, POST
    connection: close
    content-length: 100

    {"status":405,"title":"wrong method","detail":"PUT is not what this path takes; it takes GET, POST"}
    "#);
    insta::assert_snapshot!(told(&door, "GET", "/v1/services/wbe", "", ""), @r#"
    HTTP/1.1 404 Not Found
    content-type: application/problem+json
    connection: close
    content-length: 92

    {"status":404,"title":"no such service","detail":"no such service: wbe (did you mean web?)"}
    "#);
    insta::assert_snapshot!(told(&door, "POST", "/v1/services/web/start", "", r#"{"newer":1}"#), @r#"
    HTTP/1.1 400 Bad Request
    content-type: application/problem+json
    connection: close
    content-length: 148

    {"status":400,"title":"bad request","detail":"the body is not understood: unknown field `newer`, expected `wait` or `settle_ms` at line 1 column 8"}
    "#);
    insta::assert_snapshot!(told(&door, "GET", "/v1/services?full=1", "", ""), @r#"
    HTTP/1.1 400 Bad Request
    content-type: application/problem+json
    connection: close
    content-length: 100

    {"status":400,"title":"bad request","detail":"/v1/services takes no query, but there is \"full=1\""}
    "#);
    insta::assert_snapshot!(told(&door, "POST", "/v1/reload", "content-length: 1048577\r\n", ""), @r#"
    HTTP/1.1 413 Payload Too Large
    content-type: application/problem+json
    connection: close
    content-length: 88

    {"status":413,"title":"body too large","detail":"the body is longer than 1048576 bytes"}
    "#);
}
