//! What happens is told: to those who ask for it, to those who stay, and to those who come back.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::herd::{Herd, sh, sleeper, with};
use crate::settled::{Transcript, on_a_host};

/// A client of the stream of events.
struct Listener(BufReader<UnixStream>);

impl Listener {
    fn of(herd: &Herd, query: &str, after: Option<&str>) -> Self {
        let mut stream = UnixStream::connect(herd.socket()).unwrap();
        let after = after.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        write!(stream, "GET /v1/events{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{after}\r\n").unwrap();
        let mut listener = Self(BufReader::new(stream));
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            listener.0.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        listener
    }

    /// The next event's name and data; none at the end of the stream.
    fn next(&mut self) -> Option<(String, Value)> {
        let (mut name, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(event) = line.strip_prefix("event: ") {
                event.trim().clone_into(&mut name);
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).unwrap()));
            }
        }
    }

    /// Goes on until something is told.
    fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let (_, data) = self.next().expect("a stream that goes on");
            if is_it(&data) {
                return data;
            }
        }
    }
}

fn number(event: &Value) -> u64 {
    event["id"].as_str().unwrap().split_once('-').unwrap().1.parse().unwrap()
}

#[test]
fn what_has_happened_is_shown_and_what_happens_is_followed() {
    let herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    let past = herd.done("events").out;
    assert!(past.contains("web: starting") && past.contains("web: running, pid "), "{past}");
    let json = herd.done("events --json").out;
    let events: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&events[0]["service"], &events[0]["event"]), (&json!("web"), &json!("state")));

    let mut listener = Listener::of(&herd, "", None);
    kill(herd.pid_of("web"), Signal::SIGKILL).unwrap();
    let death = listener.until(|event| event["exit"]["signal"] == "KILL");
    assert_eq!((&death["service"], &death["from"]), (&json!("web"), &json!("running")));
    let running = listener.until(|event| event["state"] == "running");
    // Who comes back goes on there, and a herder that was replaced says that it knows nothing of before.
    herd.done("stop web");
    let mut again = Listener::of(&herd, "", running["id"].as_str());
    assert_eq!(number(&again.next().unwrap().1), number(&running) + 1);
    again.until(|event| event["state"] == "stopped");
    herd.kill_herder();
    assert!(again.next().is_none(), "its stream has ended");
    let mut later = Listener::of(&herd, "?follow=false", running["id"].as_str());
    assert_eq!(later.next().unwrap(), ("missed".to_owned(), json!({"missed": null})));
}

#[test]
fn a_history_is_told_to_people_and_to_scripts() {
    let mut herd = Herd::new();
    // One after the other, or nobody knows in which order they come.
    herd.file("herder.json", "{\"live_reload\": false}");
    herd.conf("web", &with(sleeper(), json!({"enabled": false})));
    herd.file("far@elsewhere.conf", "{\"cmd\": \"sleep\"}");
    herd.launch(on_a_host(&herd));
    let mut told = Transcript::of(&herd);
    for line in ["start web --settle 1ms", "signal KILL web"] {
        told.run(&herd, line);
    }
    herd.until("web", "came back", |web| web["restarts"] == 1 && web["state"] == "running");
    told.run(&herd, "stop web");
    for conf in [
        with(sleeper(), json!({"enabled": false, "restart": {"intensity": 9}})),
        json!({"cmd": "/no/such/program", "restart": "never"}),
    ] {
        herd.conf("web", &conf);
        told.run(&herd, "reload");
    }
    herd.until_state("web", "failed");
    herd.remove("web");
    told.run(&herd, "reload --prune");
    herd.until("web", "went", Value::is_null);

    let first: Value = serde_json::from_str(herd.done("events --json").out.lines().next().unwrap()).unwrap();
    told.know(first["id"].as_str().unwrap().split('-').next().unwrap(), "LIFE");
    for line in ["events", "events --json"] {
        told.run(&herd, line);
    }
    insta::assert_snapshot!(told.into_text(), @r###"
    $ daemonherder start web --settle 1ms
    web: started
    exit 0
    $ daemonherder signal KILL web
    web: sent KILL
    exit 0
    $ daemonherder stop web
    web: stopped
    exit 0
    $ daemonherder reload
    adjust     web
    unchanged  0
    exit 0
    $ daemonherder reload
    start      web
    unchanged  0
    exit 0
    $ daemonherder reload --prune
    stop       web
    unchanged  0
    exit 0
    $ daemonherder events
    MOMENT web: starting: started by an operator
    MOMENT web: running, pid PID: started by an operator
    MOMENT web: starting: restarted (1 of 5 in 10s) after: killed by signal KILL
    MOMENT web: running, pid PID: restarted (1 of 5 in 10s) after: killed by signal KILL
    MOMENT web: stopping, pid PID: stopped by an operator; sent TERM, KILL follows after 10s
    MOMENT web: stopped: stopped by an operator
    MOMENT web: adjusted to its changed conf, without a new process
    MOMENT web: starting: started anew, its conf changed
    MOMENT web: failed: cannot execute cmd: No such file or directory (/no/such/program); restart policy never
    MOMENT web: stopped: its conf is gone
    MOMENT web: removed, its conf is gone
    exit 0
    $ daemonherder events --json
    {
      "id": "LIFE-1",
      "at": "MOMENT",
      "service": "web",
      "event": "state",
      "message": "starting: started by an operator",
      "from": "stopped",
      "state": "starting",
      "run": "HERD-1"
    }
    {
      "id": "LIFE-2",
      "at": "MOMENT",
      "service": "web",
      "event": "state",
      "message": "running, pid PID: started by an operator",
      "from": "starting",
      "state": "running",
      "run": "HERD-1",
      "pid": "PID"
    }
    {
      "id": "LIFE-3",
      "at": "MOMENT",
      "service": "web",
      "event": "state",
      "message": "starting: restarted (1 of 5 in 10s) after: killed by signal KILL",
      "from": "running",
      "state": "starting",
      "run": "HERD-2",
      "exit": {
        "at": "MOMENT",
        "signal": "KILL",
        "core": false,
        "cause": "signal"
      }
    }
    {
      "id": "LIFE-4",
      "at": "MOMENT",
      "service": "web",
      "event": "state",
      "message": "running, pid PID: restarted (1 of 5 in 10s) after: killed by signal KILL",
      "from": "starting",
      "state": "running",
      "run": "HERD-2",
      "pid": "PID"
    }
    {
      "id": "LIFE-5",
      "at": "MOMENT",
      "service": "web",
      "event": "state",
      "message": "stopping, pid PID: stopped by an operator; sent TERM, KILL follows after 10s",
      "from": "running",
      "state": "stopping",
      "run": "HERD-2",
      "pid": "PID"
    }
    {
      "id": "LIFE-6",
      "at": "MOMENT",
      "service": "web",
      "event": "state",
      "message": "stopped: stopped by an operator",
      "from": "stopping",
      "state": "stopped",
      "exit": {
        "at": "MOMENT",
        "signal": "TERM",
        "core": false,
        "cause": "stop"
      }
    }
    {
      "id": "LIFE-7",
      "at": "MOMENT",
      "service": "web",
      "event": "adjusted",
      "message": "adjusted to its changed conf, without a new process"
    }
    {
      "id": "LIFE-8",
      "at": "MOMENT",
      "service": "web",
      "event": "state",
      "message": "starting: started anew, its conf changed",
      "from": "stopped",
      "state": "starting",
      "run": "HERD-3"
    }
    {
      "id": "LIFE-9",
      "at": "MOMENT",
      "service": "web",
      "event": "state",
      "message": "failed: cannot execute cmd: No such file or directory (/no/such/program); restart policy never",
      "from": "starting",
      "state": "failed",
      "exit": {
        "at": "MOMENT",
        "core": false,
        "cause": "exec-failed",
        "stage": "exec",
        "errno": 2
      }
    }
    {
      "id": "LIFE-10",
      "at": "MOMENT",
      "service": "web",
      "event": "state",
      "message": "stopped: its conf is gone",
      "from": "failed",
      "state": "stopped"
    }
    {
      "id": "LIFE-11",
      "at": "MOMENT",
      "service": "web",
      "event": "removed",
      "message": "removed, its conf is gone"
    }
    exit 0
    "###);
}

#[test]
fn the_verb_follows_over_a_new_herder_to_the_end_of_the_daemon() {
    let mut herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    let mut follows = herd.command();
    let mut follows = follows.args(["events", "-f", "--json"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(follows.stdout.take().unwrap()).lines();
    let mut until = |state: &str| {
        let is_it = |line: &String| serde_json::from_str::<Value>(line).unwrap()["state"] == state;
        told.by_ref().map(Result::unwrap).find(is_it).unwrap_or_else(|| panic!("{state} is told"))
    };
    until("running");
    herd.kill_herder();
    herd.done("stop web");
    until("stopped");
    herd.done("start web --no-wait");
    until("running");
    assert_eq!(herd.end(), Some(0));
    until("stopped");
    assert_eq!(follows.wait().unwrap().code(), Some(0));
}

#[test]
fn two_hundred_listeners_of_whom_one_does_not_read_are_all_told() {
    let herd = Herd::of([("web", with(sleeper(), json!({"restart": {"intensity": 100_000}})))]);
    herd.until_state("web", "running");
    let deaf = Listener::of(&herd, "", None);
    let mut listeners: Vec<_> = (0..199).map(|_| Listener::of(&herd, "", None)).collect();
    for _ in 0..20 {
        kill(herd.pid_of("web"), Signal::SIGKILL).unwrap();
        for listener in &mut listeners {
            listener.until(|event| event["exit"]["signal"] == "KILL");
        }
        herd.until_state("web", "running");
    }
    assert_eq!(herd.service("web")["restarts"], 20);
    // And others are still let in.
    assert_eq!(herd.document()["services"][0]["state"], "running");
    drop((listeners, deaf));
}

#[test]
fn a_signal_reaches_the_main_process_or_all_of_them() {
    let script = "trap 'echo main >> heard' USR1; (trap 'echo child >> heard' USR1; echo >> up; while :; do sleep 1000 & wait; done) & \
                  echo >> up; while :; do sleep 1000 & wait; done";
    let herd = Herd::of([("web", sh(script)), ("off", with(sleeper(), json!({"enabled": false})))]);
    herd.lines("up", 2);
    assert_eq!(herd.done("signal USR1 web").out, "web: sent USR1\n");
    assert_eq!(herd.lines("heard", 1), ["main"]);
    herd.done("signal sigusr1 web --tree");
    let mut heard = herd.lines("heard", 3);
    heard[1..].sort();
    assert_eq!(heard, ["main", "child", "main"]);
    let off = herd.run("signal 10 off");
    assert!(off.code == 1 && off.err.contains("cannot signal off: has no process"), "{off:?}");
    assert_eq!(herd.run("signal USR1 none").code, 4);
    assert_eq!(herd.run("signal NONE web").code, 2);
    let (status, body) = herd.ask("POST", "/v1/services/web/signal", "");
    assert!(status == 400 && body.contains("no signal is named"), "{body}");
    assert_eq!(herd.service("web")["restarts"], 0);
}

#[test]
fn a_watched_status_is_shown_again_when_something_happens() {
    let herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    let mut command = herd.command();
    let mut watches =
        command.args(["status", "web", "--json", "--watch"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut pictures = BufReader::new(watches.stdout.take().unwrap()).lines();
    let mut until = |state: &str| {
        let is_it = |line: &String| serde_json::from_str::<Value>(line).unwrap()["services"][0]["state"] == state;
        assert!(pictures.by_ref().map(Result::unwrap).any(|line| is_it(&line)), "{state} is shown");
    };
    until("running");
    herd.done("stop web");
    until("stopped");
    herd.done("start web --no-wait");
    until("running");
    watches.kill().unwrap();
    watches.wait().unwrap();
}

/// The process that it waits for has the last one of them.
#[test]
fn a_restart_that_waits_for_a_stop_is_not_adjusted_by_another_change() {
    let mut herd = Herd::new();
    herd.file("herder.json", "{\"live_reload\": false}");
    let go = herd.fifo("go");
    herd.fifo("never");
    let waits = |number| sh(&format!("echo {number} >> up; trap 'read x < go; exit 0' TERM; read x < never"));
    herd.conf("web", &waits(1));
    herd.start();
    herd.lines("up", 1);
    for conf in [waits(2), sh("echo 3 >> up; exec sleep 100000")] {
        herd.conf("web", &with(conf, json!({"stop": {"timeout": "60s"}})));
        herd.done("reload");
        herd.until_state("web", "stopping");
    }
    std::fs::write(go, "go\n").unwrap();
    assert_eq!(herd.lines("up", 2), ["1", "3"]);
    herd.until_state("web", "running");
    let events = herd.done("events --json").out;
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told: Vec<String> =
        events.map(|event| event.get("state").unwrap_or(&event["event"]).as_str().unwrap().to_owned()).collect();
    assert_eq!(told, ["starting", "running", "stopping", "starting", "running"]);
}
