//! What follows a death.

use std::fs;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::herd::{Herd, sh, sleeper, with};

/// A service that leaves a line for each run.
fn run_then(end: &str, restart: Value) -> Value {
    with(sh(&format!("echo run >> runs; {end}")), json!({"restart": restart}))
}

#[test]
fn a_killed_service_is_back_with_a_new_pid() {
    let herd = Herd::of([("web", sleeper())]);
    let before = herd.until_state("web", "running");
    for round in 1..=3 {
        let pid = herd.pid_of("web");
        kill(pid, Signal::SIGKILL).unwrap();
        let back = herd.until("web", "came back", |service| {
            service["state"] == "running" && service["pid"] != json!(pid.as_raw())
        });
        assert_ne!(back["run"], before["run"]);
        assert_eq!((&back["restarts"], &back["window"]["count"]), (&json!(round), &json!(round)));
        let exit = &back["last_exit"];
        assert_eq!((&exit["signal"], &exit["cause"]), (&json!("KILL"), &json!("signal")));
        assert!(back["reason"].as_str().unwrap().contains("killed by signal KILL"), "{back}");
    }
}

#[test]
fn a_crash_loop_makes_one_run_and_intensity_restarts_and_then_cools_down() {
    let herd = Herd::of([("loop", run_then("exit 3", json!({})))]);
    let cool = herd.until_state("loop", "cooldown");
    assert_eq!(herd.lines_now("runs").len(), 6);
    assert_eq!((&cool["restarts"], &cool["pid"], &cool["run"]), (&json!(5), &Value::Null, &Value::Null));
    assert_eq!((&cool["last_exit"]["code"], &cool["last_exit"]["cause"]), (&json!(3), &json!("exit-code")));
    let reason = cool["reason"].as_str().unwrap();
    assert!(reason.starts_with("more than 5 restarts in 10s; cools down for 1"), "{reason}");
    assert!(reason.contains("exited with code 3"), "{reason}");
    let wait = cool["next_start_ms"].as_u64().unwrap();
    assert!((9_000..=12_000).contains(&wait), "{wait}");
    assert_eq!(herd.run("status loop").code, 1);
}

#[test]
fn cool_downs_double_up_to_the_cap_and_begin_anew_after_a_stable_run() {
    let restart = json!({"intensity": 1, "period": "150ms", "cooldown": "100ms", "max_cooldown": "250ms"});
    // Stable is longer than the period and than the last wait, jitter included.
    let herd = Herd::of([("loop", run_then("[ -e mended ] && rm mended && sleep 0.5; exit 1", restart))]);
    let waits = |count: usize| -> Vec<u64> {
        let lines = herd.logged("cools down for ", count);
        let wait = |line: &String| line.split("cools down for ").nth(1)?.split("ms").next()?.parse().ok();
        lines.iter().map(|line| wait(line).unwrap_or_else(|| panic!("{line}"))).collect()
    };
    let first = waits(4);
    for (wait, expected) in first.iter().zip([100..=120, 200..=240, 250..=300, 250..=300]) {
        assert!(expected.contains(wait), "{first:?}");
    }
    fs::write(herd.work("mended"), "").unwrap();
    let seen = waits(4).len();
    // The one after the stable run; a loop may have begun before the file was there.
    let back = (seen..seen + 3).find(|more| (100..=120).contains(waits(more + 1).last().unwrap()));
    assert!(back.is_some(), "{:?}", waits(1));
}

#[test]
fn a_delay_does_not_hide_a_loop() {
    let restart = json!({"intensity": 2, "period": "500ms", "delay": "1s", "cooldown": "10m", "max_cooldown": "10m"});
    let herd = Herd::of([("loop", run_then("exit 1", restart))]);
    let cool = herd.until_state("loop", "cooldown");
    assert_eq!(herd.lines_now("runs").len(), 3);
    assert_eq!(cool["window"]["period_ms"], 2500);
    assert!(herd.log().contains("loop: backoff: waits 1s before restart"), "{}", herd.log());
}

#[test]
fn one_that_shall_fail_stays_failed_until_it_is_told_otherwise() {
    let herd = Herd::of([(
        "loop",
        run_then("[ -e mended ] && exec sleep 100000; exit 1", json!({"intensity": 2, "exceeded": "fail"})),
    )]);
    let failed = herd.until_state("loop", "failed");
    assert_eq!(failed["next_start_ms"], Value::Null);
    assert!(failed["reason"].as_str().unwrap().starts_with("given up: more than 2 restarts in 10s"), "{failed}");
    assert_eq!(herd.lines_now("runs").len(), 3);

    // A window that is fresh again lets it fail as often once more.
    assert_eq!(herd.run("restart loop").code, 1);
    herd.lines("runs", 6);
    herd.until_state("loop", "failed");
    assert_eq!(herd.lines_now("runs").len(), 6);

    fs::write(herd.work("mended"), "").unwrap();
    herd.done("start loop --settle 50ms");
    let up = herd.service("loop");
    assert_eq!((&up["state"], &up["window"]["count"]), (&json!("running"), &json!(0)));
}

#[test]
fn a_start_or_a_changed_conf_ends_a_cool_down() {
    let restart = json!({"intensity": 0, "cooldown": "10m", "max_cooldown": "10m"});
    let herd = Herd::of([("loop", run_then("exit 1", restart.clone()))]);
    herd.until_state("loop", "cooldown");
    assert_eq!(herd.lines_now("runs").len(), 1);
    assert_eq!(herd.run("start loop").code, 1);
    herd.until_state("loop", "cooldown");
    assert_eq!(herd.lines("runs", 2).len(), 2);
    herd.conf("loop", &run_then("exec sleep 100000", restart));
    herd.done("reload");
    herd.until_state("loop", "running");
    assert_eq!(herd.lines_now("runs").len(), 3);
}

#[test]
fn the_policy_says_which_ends_are_followed() {
    let with_policy = |end: &str, restart: Value| with(sh(end), json!({"restart": restart}));
    let fail_soon = |mut restart: Value| {
        restart
            .as_object_mut()
            .unwrap()
            .extend(json!({"intensity": 1, "exceeded": "fail"}).as_object().unwrap().clone());
        restart
    };
    let on_failure = || fail_soon(json!({"policy": "on-failure"}));
    let herd = Herd::of([
        ("never-0", with_policy("exit 0", json!("never"))),
        ("never-3", with_policy("exit 3", json!("never"))),
        ("never-killed", with_policy("kill -9 $$", json!("never"))),
        ("on-failure-0", with_policy("exit 0", on_failure())),
        ("on-failure-3", with_policy("exit 3", on_failure())),
        ("on-failure-killed", with_policy("kill -TERM $$", on_failure())),
        (
            "on-failure-7-is-success",
            with_policy("exit 7", fail_soon(json!({"policy": "on-failure", "success_codes": [0, 7]}))),
        ),
        (
            "on-failure-0-is-failure",
            with_policy("exit 0", fail_soon(json!({"policy": "on-failure", "success_codes": [7]}))),
        ),
        ("always-0", with_policy("exit 0", fail_soon(json!({})))),
    ]);
    for (id, state, cause, restarts, code) in [
        ("never-0", "exited", "success", 0, 0),
        ("never-3", "exited", "exit-code", 0, 1),
        ("never-killed", "exited", "signal", 0, 1),
        ("on-failure-0", "exited", "success", 0, 0),
        ("on-failure-3", "failed", "exit-code", 1, 1),
        ("on-failure-killed", "failed", "signal", 1, 1),
        ("on-failure-7-is-success", "exited", "success", 0, 0),
        ("on-failure-0-is-failure", "failed", "exit-code", 1, 1),
        ("always-0", "failed", "success", 1, 1),
    ] {
        let service = herd.until_state(id, state);
        assert_eq!((&service["last_exit"]["cause"], &service["restarts"]), (&json!(cause), &json!(restarts)), "{id}");
        assert!(!service["reason"].as_str().unwrap().is_empty());
        assert_eq!(herd.run(&format!("status {id}")).code, code, "{id}");
    }
}
