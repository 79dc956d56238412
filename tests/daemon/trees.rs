//! What a service leaves behind ends with it, wherever it went: by its cgroup, or caught by a subreaper.

use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::herd::{Herd, lives, sh, sleeper, with};

/// Starts a grandchild that has a session of its own, no variable, and no parent that lives; then waits for ever.
const ESCAPER: &str = "setsid sh -c 'setsid env -i /bin/sh -c \"echo \\$\\$ >> escaped; trap : TERM; while :; do sleep 1000; done\" & exit' & \
                       wait; echo up >> up; exec sleep 100000";

/// Herds whose services have cgroups where that is usable, and herds whose services have none.
fn both_ways(scenario: impl Fn(Herd)) {
    for cgroup in ["auto", "off"] {
        let herd = Herd::new();
        herd.file("herder.json", &json!({ "cgroup": cgroup }).to_string());
        scenario(herd);
    }
}

fn escaped(herd: &Herd, count: usize) -> Pid {
    Pid::from_raw(herd.lines("escaped", count)[count - 1].parse().unwrap())
}

#[test]
fn an_escaped_grandchild_ends_before_the_next_run_begins() {
    both_ways(|mut herd| {
        // A second run finds the first one's grandchild if that still lives.
        let script = format!("for old in $(cat escaped); do kill -0 $old && echo $old >> met; done; {ESCAPER}");
        herd.conf("tree", &sh(&script));
        herd.start();
        herd.lines("up", 1);
        let first = escaped(&herd, 1);
        herd.until_state("tree", "running");
        kill(herd.pid_of("tree"), Signal::SIGKILL).unwrap();
        herd.lines("up", 2);
        assert!(!lives(first));
        assert_eq!(herd.lines_now("met"), Vec::<String>::new());
        let second = escaped(&herd, 2);
        assert!(lives(second));
        herd.until("tree", "came back", |service| service["restarts"] == 1 && service["state"] == "running");
        herd.done("stop tree");
        assert!(!lives(second), "stop means stopped");
        assert_eq!(herd.service("tree")["restarts"], 1);
        assert_eq!(herd.end(), Some(0));
    });
}

#[test]
fn a_deaf_tree_is_killed_as_a_whole() {
    both_ways(|mut herd| {
        let deaf = with(sh(&format!("trap '' TERM; {ESCAPER}")), json!({"stop": {"timeout": "100ms"}}));
        herd.conf("deaf", &deaf);
        herd.start();
        herd.lines("up", 1);
        let grandchild = escaped(&herd, 1);
        herd.until_state("deaf", "running");
        herd.done("stop deaf");
        assert!(!lives(grandchild));
        assert_eq!(herd.end(), Some(0));
    });
}

#[test]
fn under_scope_main_what_escaped_lives_on() {
    both_ways(|mut herd| {
        herd.conf("main", &with(sh(ESCAPER), json!({"stop": {"scope": "main"}})));
        herd.start();
        herd.lines("up", 1);
        let grandchild = escaped(&herd, 1);
        herd.until_state("main", "running");
        herd.done("stop main");
        assert!(lives(grandchild));
        kill(grandchild, Signal::SIGKILL).unwrap();
        assert_eq!(herd.end(), Some(0));
    });
}

#[test]
fn another_services_grandchild_is_left_alone() {
    both_ways(|mut herd| {
        herd.conf("tree", &sh(ESCAPER));
        herd.start();
        herd.lines("up", 1);
        let grandchild = escaped(&herd, 1);
        herd.conf("other", &sleeper());
        herd.done("reload");
        herd.until_state("other", "running");
        for _ in 0..3 {
            let before = herd.service("other")["run"].clone();
            kill(herd.pid_of("other"), Signal::SIGKILL).unwrap();
            let back = |service: &Value| service["state"] == "running" && service["run"] != before;
            herd.until("other", "came back", back);
        }
        assert!(lives(grandchild));
        assert_eq!(herd.end(), Some(0));
        assert!(!lives(grandchild));
    });
}

#[test]
fn a_leaf_that_was_killed_is_good_for_the_next_run() {
    let mut herd = Herd::of([("tree", sh(ESCAPER))]);
    let begun = Instant::now();
    for count in 1..=3 {
        herd.lines("up", count);
        herd.until("tree", "ran", |service| service["state"] == "running" && service["restarts"] == count - 1);
        kill(herd.pid_of("tree"), Signal::SIGKILL).unwrap();
    }
    herd.lines("up", 4);
    assert_eq!(
        herd.until_state("tree", "running")["restarts"],
        3,
        "each kill is one restart, after {:?}",
        begun.elapsed()
    );
    let level = herd.service("tree")["tree"].clone();
    assert!(level == "cgroup" || level == "subreaper", "{level}");
    assert_eq!(herd.end(), Some(0));
}
