//! What is kept of a run's output beyond its files, and to whom its pipes belong.

use std::fs;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::herd::{Herd, is_root, sh, sleeper, with};

fn last_words(service: &Value) -> Vec<String> {
    serde_json::from_value(service["details"]["last_words"].clone()).unwrap()
}

#[test]
fn the_last_words_before_a_death_are_kept_while_the_next_run_writes() {
    let script = "echo run >> runs; if test $(wc -l < runs) = 1; then seq 20; echo oops >&2; read x < die; exit 3; fi; \
                  seq 100 200; echo >> again; exec sleep 100000";
    for (stderr, expected) in [
        ("merge", "12 13 14 15 16 17 18 19 20 oops"),
        ("separate", "11 12 13 14 15 16 17 18 19 20 oops"),
        ("discard", "11 12 13 14 15 16 17 18 19 20"),
    ] {
        let mut herd = Herd::new();
        let die = herd.fifo("die");
        herd.conf("web", &with(sh(script), json!({"logs": {"stderr": stderr}, "restart": {"delay": "300ms"}})));
        herd.start();
        herd.lines("runs", 1);
        // All of it is in its file before anything of the next run can be.
        while !herd.output("web").ends_with(if stderr == "merge" { "oops\n" } else { "20\n" }) {
            std::thread::yield_now();
        }
        fs::write(die, "now\n").unwrap();
        herd.lines("again", 1);
        herd.output("web");
        let web = herd.until("web", "has last words", |web| !last_words(web).is_empty());
        let expected: Vec<_> = expected.split(' ').collect();
        assert_eq!(last_words(&web), expected, "{stderr}");
        assert_eq!(web["details"]["exits"][0]["code"], 3);
        assert!(herd.document()["services"][0]["details"].is_null(), "too much for all of them");
        let shown = herd.done("status web").out;
        assert!(shown.contains("what it wrote before its last end:\n"), "{shown}");
        assert!(shown.contains("200\n"), "and what the present run wrote: {shown}");
    }
}

#[test]
fn the_size_of_a_pipe_is_shown_and_a_quiet_one_is_small() {
    let herd = Herd::of([("web", sleeper()), ("null", with(sleeper(), json!({"logs": {"to": "null"}})))]);
    let pipe = |id: &str| herd.until_state(id, "running")["details"]["pipe_bytes"].as_u64().unwrap();
    assert_eq!((pipe("web"), pipe("null")), (16 << 10, 0));
    assert!(herd.run("status web").out.contains("through a pipe of 16 KiB"));
}

#[test]
fn a_pipe_grows_while_a_service_floods() {
    let herd = Herd::of([("flood", with(sh("yes"), json!({"logs": {"keep": 1, "max_size": "1MiB"}})))]);
    herd.until("flood", "floods through a large pipe", |flood| flood["details"]["pipe_bytes"] == 1 << 20);
}

#[test]
fn what_a_service_says_while_it_stops_is_not_lost_by_a_conf_that_wants_no_logs_any_more() {
    let script = "trap 'echo last words; exit' TERM; echo first; echo >> up; while :; do sleep 100000 & wait; done";
    let herd = Herd::of([("web", sh(script))]);
    herd.lines("up", 1);
    let before = herd.pid_of("web");
    herd.conf("web", &with(sh(script), json!({"logs": {"to": "null"}})));
    herd.done("reload");
    herd.until("web", "came back", |web| web["state"] == "running" && web["pid"] != before.as_raw());
    herd.lines("up", 2);
    let log = herd.state().join("logs/web/current.log");
    assert_eq!(fs::read_to_string(&log).unwrap(), "first\nlast words\n");
    assert!(!herd.state().join("pipes/web.stdout").exists());
    // And back again.
    herd.conf("web", &sh(script));
    herd.done("reload");
    herd.lines("up", 3);
    assert_eq!(herd.output("web"), "first\nlast words\nfirst\n");
}

#[test]
fn another_user_may_open_its_standard_output_anew() {
    if !is_root("another user's standard output") {
        return;
    }
    let script = "echo one > /dev/stdout; echo two > /proc/self/fd/2; exec sleep 100000";
    let herd = Herd::of([("web", with(sh(script), json!({"user": "nobody", "cwd": "/"})))]);
    herd.until_state("web", "running");
    while !herd.output("web").ends_with("two\n") {
        std::thread::yield_now();
    }
    assert_eq!(herd.output("web"), "one\ntwo\n");
    kill(herd.pid_of("web"), Signal::SIGKILL).unwrap();
    herd.until("web", "came back", |web| web["state"] == "running" && web["restarts"] == 1);
    while herd.output("web").lines().count() < 4 {
        std::thread::yield_now();
    }
}
