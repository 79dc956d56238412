//! A shutdown is cut short, or nobody but the keeper is left to do it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::herd::{Herd, lives, sh, sleeper, with};

/// One whose first run ignores TERM, for so long as its conf says.
fn deaf(timeout: &str) -> Value {
    let script = "[ -e up ] || trap '' TERM; echo up >> up; while :; do sleep 100000; done";
    with(sh(script), json!({"stop": {"timeout": timeout}}))
}

/// A herd whose shutdown has stopped `quick` and waits for `slow`.
fn cut_short(timeout: &str) -> Herd {
    let herd = Herd::of([
        ("quick", sleeper()),
        ("loop", with(sh("exit 1"), json!({"restart": {"delay": "10m"}}))),
        ("idle", sleeper()),
        ("slow", deaf(timeout)),
    ]);
    herd.lines("up", 1);
    herd.until_state("quick", "running");
    herd.until_state("loop", "backoff");
    herd.until_state("slow", "running");
    herd.done("stop idle");
    herd.signal(Signal::SIGTERM);
    herd.until_state("quick", "stopped");
    herd.until_state("slow", "stopping");
    // A command is answered once all that is known is written.
    herd.done("stop idle");
    herd
}

#[test]
fn what_a_shutdown_had_stopped_that_was_cut_short_runs_again() {
    let mut herd = cut_short("10m");
    let slow = herd.pid_of("slow");
    herd.kill_all();
    kill(slow, Signal::SIGKILL).unwrap();
    herd.start();
    herd.until_state("quick", "running");
    herd.until("slow", "came back", |slow| slow["state"] == "running");
    herd.until("loop", "was tried again", |looping| looping["state"] == "backoff" && looping["restarts"] == 2);
    assert_eq!(herd.service("quick")["wanted"], "up");
    assert_eq!(herd.service("idle")["state"], "stopped", "an operator's stop holds");
}

#[test]
fn what_was_still_ending_runs_again_once_it_has_ended() {
    let mut herd = cut_short("2s");
    let slow = herd.pid_of("slow");
    herd.kill_all();
    herd.start();
    herd.until("slow", "came back", |slow| slow["state"] == "running");
    assert!(!lives(slow));
    assert_eq!(herd.lines("up", 2).len(), 2);
}

#[test]
fn what_is_disabled_stays_down() {
    let mut herd = cut_short("10m");
    let slow = herd.pid_of("slow");
    herd.kill_all();
    kill(slow, Signal::SIGKILL).unwrap();
    herd.conf("quick", &with(sleeper(), json!({"enabled": false})));
    herd.start();
    herd.until("slow", "came back", |slow| slow["state"] == "running");
    herd.until("quick", "was told", |quick| quick["state"] == "stopped" && quick["wanted"] == "down");
}

#[test]
fn a_shutdown_goes_on_with_another_herder_whoever_asked_for_it() {
    for by_verb in [true, false] {
        let mut herd = Herd::of([("quick", sleeper()), ("slow", deaf("3s"))]);
        herd.lines("up", 1);
        for id in ["quick", "slow"] {
            herd.until_state(id, "running");
        }
        let slow = herd.pid_of("slow");
        let verb = by_verb.then(|| herd.begin("shutdown"));
        if !by_verb {
            herd.signal(Signal::SIGTERM);
        }
        herd.until_state("quick", "stopped");
        // Whatever the confs say meanwhile.
        herd.conf("quick", &sh("exec sleep 200000"));
        herd.conf("new", &sleeper());
        kill(herd.herder(), Signal::SIGKILL).unwrap();
        assert_eq!(herd.ended(), Some(0), "by verb: {by_verb}");
        assert!(!lives(slow));
        assert_eq!(herd.log().matches("quick: running").count(), 1, "{}", herd.log());
        assert!(!herd.log().contains("new: running"), "{}", herd.log());
        drop(verb.map(crate::herd::Begun::end));
    }
}

/// Ends the daemon with SIGTERM while its herder hears of nothing.
fn end_without_herder(herd: &mut Herd) {
    kill(herd.herder(), Signal::SIGSTOP).unwrap();
    assert_eq!(herd.end(), Some(0));
}

#[test]
fn after_a_shutdown_by_the_keeper_alone_all_begin_anew() {
    let mut herd = Herd::of([
        ("web", sleeper()),
        ("once", with(sleeper(), json!({"restart": "never"}))),
        ("deaf", deaf("100ms")),
        ("idle", sleeper()),
    ]);
    herd.lines("up", 1);
    for id in ["web", "once", "deaf", "idle"] {
        herd.until_state(id, "running");
    }
    herd.done("stop idle");
    end_without_herder(&mut herd);
    assert!(!herd.state().join("runs").join("notes").exists());
    herd.start();
    for id in ["web", "once", "deaf", "idle"] {
        let service = herd.until_state(id, "running");
        assert_eq!((&service["restarts"], &service["last_exit"]), (&json!(0), &Value::Null), "{id}");
        assert_eq!(service["reason"], "started with its conf", "{id}");
    }
}

#[test]
fn the_keeper_alone_leaves_what_is_not_to_be_ended() {
    let child = "sleep 100000 & echo $! >> children;";
    let main = |script: &str| with(sh(script), json!({"stop": {"scope": "main", "timeout": "300ms"}}));
    for cgroup in ["auto", "off"] {
        let mut herd = Herd::new();
        herd.file("herder.json", &json!({ "cgroup": cgroup }).to_string());
        herd.conf("polite", &main(&format!("{child} exec sleep 100000")));
        herd.conf("deaf", &main(&format!("{child} trap '' TERM; echo up >> up; while :; do sleep 1; done")));
        // As long as this one lives, the others are still looked after.
        herd.conf("slow", &deaf("600ms"));
        herd.start();
        herd.lines("up", 2);
        let children: Vec<_> =
            herd.lines("children", 2).iter().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect();
        let mains = ["polite", "deaf", "slow"].map(|id| {
            herd.until_state(id, "running");
            herd.pid_of(id)
        });
        end_without_herder(&mut herd);
        assert_eq!(
            (mains.map(lives), children.iter().copied().map(lives).collect()),
            ([false; 3], vec![true; 2]),
            "{cgroup}"
        );
        children.iter().for_each(|pid| kill(*pid, Signal::SIGKILL).unwrap());
    }
}
