//! What happens is told: to those who ask for it, to those who stay, and to those who come back.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::herd::{Herd, sh, sleeper, with};

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
