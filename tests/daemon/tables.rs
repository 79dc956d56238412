//! What a keeper makes of a run table that says too little, or nothing at all.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::hanging::DeadMount;
use crate::herd::{Herd, copy_of, gone, lives, sh, sleeper};
use crate::waiting::within;

/// Where the first record says which process it is, beyond its number.
const IDENTITY_KIND: u64 = 64 + 40;

fn table(herd: &Herd) -> PathBuf {
    herd.state().join("runs").join("table")
}

fn forge(herd: &Herd, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(table(herd)).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// The processes whose main one this is, and those that the service has beside it: all that execute its script.
fn copies(script: &str) -> Vec<Pid> {
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let executes = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == script.as_bytes())
    };
    all.filter(executes).map(Pid::from_raw).collect()
}

#[test]
fn a_launch_of_which_only_the_number_was_written_down_is_not_made_again() {
    let mut herd = Herd::of([]);
    // There the child waits, before its program.
    let slow = copy_of(Path::new("/bin/sh"), herd.work("slow"));
    let Some(mount) = DeadMount::under(&slow) else { return };
    let script = format!("echo up >> up; : {}; while :; do sleep 1000; done", herd.path().display());
    herd.conf("web", &json!({"cmd": slow, "args": ["-c", script]}));
    herd.done("reload");
    let hangs = mount.opened();
    let path = table(&herd);
    within("a launch", move || {
        while fs::read(&path).unwrap()[IDENTITY_KIND as usize] == 0 {
            std::thread::yield_now();
        }
    });
    let launched = herd.service("web");
    assert_eq!(launched["state"], "starting");
    forge(&herd, IDENTITY_KIND, &[0; 4]);
    herd.kill_keeper();
    mount.let_go(&hangs);
    herd.lines("up", 1);
    let found = herd.until_state("web", "running");
    assert_eq!((&found["run"], &found["restarts"]), (&launched["run"], &0.into()), "{}", herd.log());
    assert_eq!(copies(&script), [herd.pid_of("web")]);
    assert_eq!(herd.lines_now("up").len(), 1);
    assert_eq!(herd.end(), Some(0));
}

/// Ways to lose a table that was whole.
fn lose(herd: &Herd, how: &str) {
    match how {
        "deleted" => fs::remove_file(table(herd)).unwrap(),
        "damaged" => forge(herd, 64 + 3, b"x"),
        "of a later version" => forge(herd, 8, &[99]),
        "never finished" => forge(herd, 0, &[0; 8]),
        other => panic!("{other}"),
    }
}

#[test]
fn what_lives_is_found_without_a_table_and_not_made_twice() {
    for how in ["deleted", "damaged", "of a later version", "never finished"] {
        for cgroup in ["auto", "off"] {
            let mut herd = Herd::new();
            herd.file("herder.json", &json!({ "cgroup": cgroup }).to_string());
            let script = format!(
                "trap 'exit 0' TERM; echo $$ >> up; : {}; while :; do sleep 1000 & wait; done",
                herd.path().display()
            );
            herd.conf("web", &sh(&script));
            // It writes over what its environment says, as nginx and postgres do.
            herd.conf("mute", &json!({"cmd": "/usr/bin/env", "args": ["-i", "/bin/sleep", "100000"]}));
            herd.start();
            herd.lines("up", 1);
            let before = ["web", "mute"].map(|id| herd.until_state(id, "running"));
            herd.kill_all();
            lose(&herd, how);
            herd.start();
            let after = ["web", "mute"].map(|id| herd.until_state(id, "running"));
            for (before, after) in before.iter().zip(&after) {
                for key in ["pid", "run", "restarts"] {
                    assert_eq!(before[key], after[key], "{how}, {cgroup}: {}", herd.log());
                }
            }
            assert_eq!(copies(&script), [herd.pid_of("web")], "{how}");
            herd.done("stop web");
            assert_eq!(copies(&script), [], "{how}");
            herd.done("start web --no-wait");
            herd.until_state("web", "running");
            assert_eq!(copies(&script), [herd.pid_of("web")], "{how}");
            // And the new table tells the next keeper.
            herd.kill_all();
            herd.start();
            assert_eq!(herd.until_state("mute", "running")["pid"], before[1]["pid"]);
            assert_eq!(herd.end(), Some(0));
        }
    }
}

#[test]
fn what_nobody_can_name_any_more_ends_before_there_is_a_second_one() {
    let mut herd = Herd::new();
    herd.file("herder.json", "{\"cgroup\": \"off\"}");
    herd.conf("web", &sleeper());
    herd.conf("mute", &json!({"cmd": "/usr/bin/env", "args": ["-i", "/bin/sleep", "100000"]}));
    herd.start();
    let [web, mute] = ["web", "mute"].map(|id| {
        herd.until_state(id, "running");
        herd.pid_of(id)
    });
    herd.kill_all();
    lose(&herd, "deleted");
    fs::remove_file(herd.state().join("runs").join("notes")).unwrap();
    herd.start();
    for id in ["web", "mute"] {
        herd.until_state(id, "running");
    }
    assert_eq!(herd.pid_of("web"), web, "{}", herd.log());
    assert!(!lives(mute));
    assert_ne!(herd.pid_of("mute"), mute);
    assert_eq!(herd.end(), Some(0));
}

#[test]
fn a_keeper_that_dies_beside_its_table_is_followed_by_one_that_looks() {
    let mut herd = Herd::of([("web", sleeper())]);
    let before = herd.until_state("web", "running");
    lose(&herd, "deleted");
    herd.kill_keeper();
    let after = herd.until_state("web", "running");
    assert_eq!((&before["pid"], &before["run"]), (&after["pid"], &after["run"]), "{}", herd.log());
    assert_eq!(herd.end(), Some(0));
}

#[test]
fn what_a_run_left_that_no_table_tells_of_ends_before_the_next_one_begins() {
    let mut herd = Herd::new();
    herd.file("herder.json", "{\"cgroup\": \"off\"}");
    // What has ended and is not reaped has no command line.
    let meet = "for old in $(cat left); do grep -q . /proc/$old/cmdline && echo $old >> met; done";
    let leave = "sh -c 'echo $$ >> left; exec sleep 100000' & echo up >> up; wait";
    herd.conf("tree", &sh(&format!("{meet}; {leave}")));
    herd.start();
    herd.lines("up", 1);
    let first = Pid::from_raw(herd.lines("left", 1)[0].parse().unwrap());
    herd.until_state("tree", "running");
    let main = herd.pid_of("tree");
    herd.kill_all();
    kill(main, Signal::SIGKILL).unwrap();
    gone(main);
    assert!(lives(first));
    lose(&herd, "deleted");
    herd.start();
    herd.lines("up", 2);
    assert!(!lives(first));
    assert_eq!(herd.lines_now("met"), Vec::<String>::new(), "{}", herd.log());
    assert_eq!(herd.end(), Some(0));
}
