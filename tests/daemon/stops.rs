//! Stop means stopped.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::herd::{Herd, lives, sh, sleeper, with};
use crate::waiting::within;

/// One that ignores TERM, as everything does that it starts.
fn deaf() -> Value {
    sh("trap '' TERM; echo up >> up; while :; do sleep 100000; done")
}

/// Waits until nobody has the FIFO open for writing any more: all are dead that had.
fn all_gone(fifo: PathBuf) {
    within("the end of a tree", move || {
        let mut text = String::new();
        File::open(&fifo).unwrap().read_to_string(&mut text).unwrap();
    });
}

#[test]
fn a_service_is_asked_with_its_signal_and_stays_stopped() {
    let script = |signal: &str| {
        sh(&format!(
            "trap 'echo {signal} >> got; exit 0' {signal}; echo up >> up; while :; do sleep 100000 & wait; done"
        ))
    };
    let herd = Herd::of([
        ("term", script("TERM")),
        ("int", with(script("INT"), json!({"stop": {"signal": "SIGINT"}}))),
        ("usr2", with(script("USR2"), json!({"stop": {"signal": 12}}))),
    ]);
    herd.lines("up", 3);
    for (id, signal) in [("term", "TERM"), ("int", "INT"), ("usr2", "USR2")] {
        let pid = herd.pid_of(id);
        let done = herd.done(&format!("stop {id}"));
        assert_eq!(done.out, format!("{id}: stopped\n"));
        assert_eq!(herd.lines_now("got").last().unwrap(), signal);
        assert!(!lives(pid));
        let service = herd.service(id);
        assert_eq!((&service["state"], &service["wanted"]), (&json!("stopped"), &json!("down")));
        assert_eq!((&service["last_exit"]["code"], &service["last_exit"]["cause"]), (&json!(0), &json!("stop")));
        assert_eq!(service["reason"], "stopped by an operator");
    }
    // A reload does not wake it.
    herd.done("reload");
    assert_eq!(herd.service("term")["state"], "stopped");
    assert_eq!(herd.done("stop term").out, "term: does not run (stopped)\n");
    assert_eq!(herd.run("status term").code, 1);
    herd.done("start term --settle 10ms");
    herd.lines("up", 4);
}

#[test]
fn a_deaf_service_is_killed_after_its_timeout() {
    let herd = Herd::of([("deaf", with(deaf(), json!({"stop": {"timeout": "100ms"}})))]);
    herd.lines("up", 1);
    let pid = herd.pid_of("deaf");
    let done = herd.done("stop deaf");
    assert!(done.out.contains("KILL"), "{done:?}");
    assert!(!lives(pid));
    let exit = &herd.service("deaf")["last_exit"];
    assert_eq!((&exit["signal"], &exit["cause"]), (&json!("KILL"), &json!("stop-timeout")));
}

#[test]
fn a_stopped_process_is_woken_for_its_stop() {
    let herd = Herd::of([("web", with(sleeper(), json!({"stop": {"timeout": "10m"}})))]);
    herd.until_state("web", "running");
    kill(herd.pid_of("web"), Signal::SIGSTOP).unwrap();
    herd.done("stop web");
    let exit = &herd.service("web")["last_exit"];
    assert_eq!((&exit["signal"], &exit["cause"]), (&json!("TERM"), &json!("stop")));
}

#[test]
fn stopped_processes_are_woken_for_the_end_of_the_herd() {
    let patient = |spec| with(spec, json!({"stop": {"timeout": "10m"}}));
    let herd = Herd::of([("web", patient(sleeper())), ("worker", patient(sleeper())), ("quick", sleeper())]);
    let pids = ["web", "worker"].map(|id| {
        herd.until_state(id, "running");
        herd.pid_of(id)
    });
    pids.iter().for_each(|pid| kill(*pid, Signal::SIGSTOP).unwrap());
    herd.done("shutdown");
    assert!(!pids.into_iter().any(lives));
}

#[test]
fn what_is_left_of_the_group_ends_with_the_main_process() {
    let mut herd = Herd::new();
    let fifo = herd.fifo("tree");
    // The first run's child is deaf and holds the FIFO; the next run leaves no child.
    let script = "if mkdir once; then (trap '' TERM HUP INT; exec 3>tree; echo up >> up; while :; do sleep 100000; done) & fi; \
                  echo up >> up; exec sleep 100000";
    herd.conf("tree", &sh(script));
    herd.start();
    let watching = std::thread::spawn(move || all_gone(fifo));
    herd.lines("up", 2);
    herd.until_state("tree", "running");
    kill(herd.pid_of("tree"), Signal::SIGKILL).unwrap();
    watching.join().unwrap();
    herd.until("tree", "came back", |service| service["restarts"] == 1 && service["state"] == "running");
}

#[test]
fn a_scope_of_main_leaves_the_others_alone() {
    let script = "sleep 100000 & echo $! >> child; exec sleep 100000";
    let herd = Herd::of([("main", with(sh(script), json!({"stop": {"scope": "main"}})))]);
    let child: i32 = herd.lines("child", 1)[0].parse().unwrap();
    herd.until_state("main", "running");
    herd.done("stop main");
    assert!(lives(Pid::from_raw(child)));
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
}

#[test]
fn a_stop_while_waiting_is_immediate() {
    let long = json!({"timeout": "10m"});
    let herd = Herd::of([
        ("backoff", with(sh("exit 1"), json!({"restart": {"delay": "10m"}, "stop": long}))),
        (
            "cooldown",
            with(
                sh("exit 1"),
                json!({"restart": {"intensity": 0, "cooldown": "10m", "max_cooldown": "10m"}, "stop": long}),
            ),
        ),
        ("failed", with(sh("exit 1"), json!({"restart": {"intensity": 0, "exceeded": "fail"}, "stop": long}))),
        ("exited", with(sh("exit 0"), json!({"restart": "never", "stop": long}))),
    ]);
    for id in ["backoff", "cooldown", "failed", "exited"] {
        herd.until_state(id, id);
        herd.done(&format!("stop {id}"));
        let service = herd.service(id);
        assert_eq!((&service["state"], &service["next_start_ms"]), (&json!("stopped"), &Value::Null), "{id}");
        assert_eq!(service["reason"], "stopped by an operator");
    }
}

#[test]
fn a_stop_and_a_start_at_once_end_up() {
    let herd =
        Herd::of([("slow", sh("trap 'sleep 0.2; exit 0' TERM; echo up >> up; while :; do sleep 100000 & wait; done"))]);
    herd.lines("up", 1);
    herd.until_state("slow", "running");
    let first = herd.pid_of("slow");
    herd.done("stop slow --no-wait");
    herd.done("start slow --settle 10ms");
    let service = herd.service("slow");
    assert_eq!((&service["state"], &service["restarts"]), (&json!("running"), &json!(0)));
    assert_ne!(herd.pid_of("slow"), first);
    assert!(!lives(first));
}

#[test]
fn sigterm_stops_all_and_is_exit_0() {
    let mut herd = Herd::new();
    let fifo = herd.fifo("tree");
    let polite = "[ -p tree ] && exec 3>tree; trap 'echo bye >> got; exit 0' TERM; echo up >> up; while :; do sleep 100000 & wait; done";
    for id in ["a", "b", "c"] {
        herd.conf(id, &sh(polite));
    }
    herd.conf("deaf", &with(deaf(), json!({"stop": {"timeout": "100ms"}})));
    herd.conf("loop", &with(sh("exit 1"), json!({"restart": {"delay": "10m"}})));
    herd.start();
    let watching = std::thread::spawn(move || all_gone(fifo));
    herd.lines("up", 4);
    let deaf = herd.pid_of("deaf");
    assert_eq!(herd.end(), Some(0));
    watching.join().unwrap();
    assert_eq!(herd.lines_now("got"), ["bye", "bye", "bye"]);
    assert!(!lives(deaf));
    assert!(!herd.socket().exists());
    assert_eq!(herd.run("status").code, 3);
    // What was running runs again with the next daemon.
    std::fs::remove_file(herd.work("tree")).unwrap();
    herd.start();
    herd.lines("up", 8);
}

#[test]
fn a_second_sigterm_kills_after_a_second_and_not_before() {
    let script = "trap 'sleep 1.3; echo tick >> ticks' TERM; echo up >> up; while :; do sleep 100000 & wait; done";
    let mut herd = Herd::of([("deaf", with(sh(script), json!({"stop": {"timeout": "10m"}})))]);
    herd.lines("up", 1);
    let pid = herd.pid_of("deaf");
    herd.signal(Signal::SIGTERM);
    herd.logged("stopping 1 service", 1);
    // Ctrl-C and `killall` may well say it twice.
    herd.signal(Signal::SIGTERM);
    herd.lines("ticks", 1);
    assert!(lives(pid));
    herd.signal(Signal::SIGTERM);
    assert_eq!(herd.ended(), Some(0));
    assert!(!lives(pid));
}

#[test]
fn sigint_ends_it_and_sighup_reads_the_confs() {
    let mut herd = Herd::of([]);
    herd.conf("web", &sleeper());
    herd.signal(Signal::SIGHUP);
    herd.until_state("web", "running");
    let pid = herd.pid_of("web");
    herd.signal(Signal::SIGINT);
    assert_eq!(herd.ended(), Some(0));
    assert!(!lives(pid));
}

#[test]
fn the_verb_shutdown_waits_for_the_end() {
    let mut herd =
        Herd::of([("slow", sh("trap 'sleep 0.3; exit 0' TERM; echo up >> up; while :; do sleep 100000 & wait; done"))]);
    herd.lines("up", 1);
    let pid = herd.pid_of("slow");
    let done = herd.done("shutdown");
    assert_eq!((done.out.as_str(), done.err.as_str()), ("", ""));
    assert!(!lives(pid) && !herd.socket().exists());
    assert_eq!(herd.ended(), Some(0));
    assert_eq!(herd.run("shutdown").code, 3);
}

#[test]
fn nothing_is_left_of_services_that_have_just_been_started() {
    let mut herd = Herd::new();
    let fifo = herd.fifo("tree");
    for number in 0..40 {
        herd.conf(&format!("s{number}"), &sh("exec 3>tree; echo up >> up; exec sleep 100000"));
    }
    herd.start();
    let watching = std::thread::spawn(move || all_gone(fifo));
    herd.lines("up", 1);
    assert_eq!(herd.end(), Some(0));
    watching.join().unwrap();
}
