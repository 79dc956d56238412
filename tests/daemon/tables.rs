//! What a keeper makes of a run table that says too little, or nothing at all.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::herd::{Herd, sh};
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
    let log = herd.state().join("logs").join("web").join("current.log");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(log.parent().unwrap()).unwrap();
    // There the child waits, before its program.
    mkfifo(&log, Mode::S_IRWXU).unwrap();
    let script = format!("echo up >> up; : {}; while :; do sleep 1000; done", log.display());
    herd.conf("web", &sh(&script));
    herd.done("reload");
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
    let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&log).unwrap();
    herd.lines("up", 1);
    let found = herd.until_state("web", "running");
    assert_eq!((&found["run"], &found["restarts"]), (&launched["run"], &0.into()), "{}", herd.log());
    assert_eq!(copies(&script), [herd.pid_of("web")]);
    assert_eq!(herd.lines_now("up").len(), 1);
    drop(reader);
    assert_eq!(herd.end(), Some(0));
}
