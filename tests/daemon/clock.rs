//! A wall clock that is set by a day changes nothing.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::herd::{Herd, sh, sleeper, with};

/// The library of Debian's package faketime, which gives the daemon a date that a file says.
fn faketime() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib").ok()?.filter_map(|place| Some(place.ok()?.path()));
    let found = places.map(|place| place.join("faketime/libfaketimeMT.so.1")).find(|library| library.exists());
    if found.is_none() {
        eprintln!("skipped, for libfaketime is not installed: a wall clock that is set");
    }
    found
}

#[test]
fn a_date_that_jumps_neither_hastens_nor_delays_anything() {
    let Some(library) = faketime() else { return };
    let mut herd = Herd::new();
    let date = herd.path().join("date");
    let set = |day: &str| fs::write(&date, format!("@{day} 12:00:00\n")).unwrap();
    set("2026-01-10");
    let restart = |wait: &str| json!({"intensity": 0, "cooldown": wait, "max_cooldown": wait});
    herd.conf("web", &sleeper());
    herd.conf("soon", &with(sh("echo run >> soon; exit 1"), json!({"restart": restart("300ms")})));
    herd.conf("late", &with(sh("echo run >> late; exit 1"), json!({"restart": restart("1h")})));
    let deaf = "trap '' TERM; echo up >> up; while :; do sleep 100000; done";
    herd.conf("deaf", &with(sh(deaf), json!({"stop": {"timeout": "300ms"}})));
    let mut command = herd.command();
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &date).env("FAKETIME_NO_CACHE", "1");
    // Only the clock that people set.
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    herd.launch(command);
    let pid = herd.until_state("web", "running")["pid"].clone();
    herd.until_state("late", "cooldown");
    assert!(herd.document()["daemon"]["since"].as_str().unwrap().starts_with("2026-01-10T12:00:"), "a date of its own");

    for day in ["2026-01-11", "2026-01-09", "2026-01-12", "2026-01-01"] {
        herd.lines("up", 1);
        set(day);
        let runs = herd.lines_now("soon").len();
        herd.lines("soon", runs + 2);
        herd.done("stop deaf --no-wait");
        set("2026-01-10");
        assert!(herd.done("stop deaf").out.contains("stopped"));
        assert_eq!(herd.service("deaf")["last_exit"]["cause"], "stop-timeout");
        fs::remove_file(herd.work("up")).unwrap();
        herd.done("start deaf --settle 1ms");

        let (web, late) = (herd.service("web"), herd.service("late"));
        assert_eq!((&web["pid"], &web["state"]), (&pid, &json!("running")));
        assert!(web["uptime_ms"].as_u64().unwrap() < 600_000, "{web}");
        assert!((3_000_000..=4_320_000).contains(&late["next_start_ms"].as_u64().unwrap()), "{late}");
        assert_eq!(herd.lines_now("late").len(), 1);
    }
    assert_eq!(herd.end(), Some(0));
}
