//! A thousand services in one daemon.

use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::herd::{Herd, gone, lives, sh, sleeper, with};

#[test]
fn a_thousand_services_start_answer_and_stop() {
    let mut herd = Herd::new();
    for number in 0..1000 {
        herd.conf(&format!("s{number:03}"), &sleeper());
    }
    herd.start();
    herd.done("start --all --settle 1ms");
    let document = herd.document();
    let services = document["services"].as_array().unwrap();
    assert_eq!(services.len(), 1000);
    assert!(services.iter().all(|service| service["state"] == "running" && service["restarts"] == json!(0)));
    assert_eq!(herd.done("status").out.lines().count(), 1001);
    assert_eq!(herd.done("reload").out, "unchanged  1000\n");
    herd.done("stop s00*");
    assert_eq!(herd.service("s007")["state"], "stopped");
    assert_eq!(herd.end(), Some(0));
}

/// Whatever the herder is at, nobody waits for it; and what it hears of their ends it hears as that.
#[test]
fn services_are_asked_to_end_while_the_herder_does_not_listen() {
    // Which of its tasks the herder comes to first is a matter of chance.
    for _ in 0..6 {
        let mut herd = Herd::new();
        let script = "trap 'echo term >> terms; exit 3' TERM; echo up >> up; read x < go";
        herd.fifo("go");
        for number in 0..3 {
            herd.conf(&format!("s{number}"), &sh(script));
        }
        herd.start();
        herd.lines("up", 3);
        herd.done("start --all --settle 1ms");
        let pids = ["s0", "s1", "s2"].map(|name| herd.pid_of(name));
        let herder = herd.herder();
        kill(herder, Signal::SIGSTOP).unwrap();
        herd.signal(Signal::SIGTERM);
        pids.into_iter().for_each(gone);
        assert!(lives(herder), "the keeper did not wait for it");
        kill(herder, Signal::SIGCONT).unwrap();
        assert_eq!(herd.ended(), Some(0));
        assert_eq!((herd.lines_now("terms").len(), herd.lines_now("up").len()), (3, 3), "{}", herd.log());
        assert!(!herd.log().contains("restarted ("), "{}", herd.log());
    }
}

/// Its keeper knows that from its memo: the herder does not say it again.
#[test]
fn what_was_asked_to_stop_before_is_not_asked_with_the_others() {
    let mut herd = Herd::new();
    let go = herd.fifo("go");
    herd.fifo("never");
    let slow = "trap 'echo term >> terms; read x < go; exit 0' TERM; echo up >> up; while :; do read x < never; done";
    herd.conf("slow", &with(sh(slow), json!({"stop": {"timeout": "60s"}})));
    herd.conf("web", &sleeper());
    herd.start();
    herd.lines("up", 1);
    herd.until_state("web", "running");
    herd.done("stop slow --no-wait");
    herd.lines("terms", 1);
    let web = herd.pid_of("web");
    herd.signal(Signal::SIGTERM);
    gone(web);
    std::fs::write(go, "go\n").unwrap();
    assert_eq!(herd.ended(), Some(0));
    assert_eq!(herd.lines_now("terms"), ["term"]);
}

/// They are asked together, before each of them is told.
#[test]
fn what_was_asked_to_end_by_a_herder_that_dies_is_not_restarted_by_the_next() {
    let mut herd = Herd::new();
    for number in 0..400 {
        herd.conf(&format!("s{number:03}"), &sh("echo up >> up; exec sleep 100000"));
    }
    herd.start();
    herd.done("start --all --settle 1ms");
    herd.lines("up", 400);
    let (herder, first) = (herd.herder(), herd.pid_of("s000"));
    herd.signal(Signal::SIGTERM);
    gone(first);
    kill(herder, Signal::SIGKILL).unwrap();
    assert_eq!(herd.ended(), Some(0));
    assert_eq!(herd.lines_now("up").len(), 400);
    assert!(!herd.log().contains("restarted ("), "{}", herd.log());
}

/// Some programs end at once at a second one.
#[test]
fn each_is_asked_once_whichever_herder_knows_of_it() {
    for before_the_end in [true, false] {
        let mut herd = Herd::new();
        let script = "trap 'echo $0 >> terms' TERM; echo up >> up; read x < go; read x < go";
        herd.fifo("go");
        for number in 0..150 {
            herd.conf(
                &format!("s{number:03}"),
                &json!({"cmd": "/bin/sh", "args": ["-c", script, number.to_string()], "stop": {"timeout": "2s"}}),
            );
        }
        herd.start();
        herd.lines("up", 150);
        herd.done("start --all --settle 1ms");
        let herder = herd.herder();
        if before_the_end {
            kill(herder, Signal::SIGKILL).unwrap();
            herd.signal(Signal::SIGTERM);
        } else {
            herd.signal(Signal::SIGTERM);
            herd.lines("terms", 1);
            kill(herder, Signal::SIGKILL).unwrap();
        }
        assert_eq!(herd.ended(), Some(0));
        let mut terms = herd.lines_now("terms");
        terms.sort();
        terms.dedup();
        assert_eq!((terms.len(), herd.lines_now("terms").len()), (150, 150), "before the end: {before_the_end}");
    }
}
