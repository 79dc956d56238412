//! How services ended while some process of the daemon was dead is learnt all the same.

use std::fs;

use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::herd::{Herd, gone, sh, sleeper, with};

/// Stops the keeper with SIGSTOP: it hears of nothing until it goes on.
pub(crate) fn pause(herd: &Herd) {
    herd.signal(Signal::SIGSTOP);
    let stat = format!("/proc/{}/stat", herd.pid());
    while !fs::read_to_string(&stat).unwrap().contains(") T ") {
        std::thread::yield_now();
    }
}

#[test]
fn an_exit_that_nobody_decides_about_is_learnt_with_its_code() {
    let once = |end: &str| with(sh(&format!("read line < {end}; exit 7")), json!({"restart": "never"}));
    let mut herd = Herd::new();
    let fifos = ["paused", "dying"].map(|end| herd.fifo(end));
    herd.conf("paused", &once("paused"));
    herd.conf("dying", &once("dying"));
    herd.start();
    for id in ["paused", "dying"] {
        herd.until_state(id, "running");
    }
    // The keeper learns of both ends at once.
    let herder = herd.herder();
    let pid = herd.pid_of("paused");
    pause(&herd);
    fs::write(&fifos[0], "now\n").unwrap();
    gone(pid);
    kill(herder, Signal::SIGKILL).unwrap();
    herd.signal(Signal::SIGCONT);
    let exit = herd.until_state("paused", "exited")["last_exit"].clone();
    assert_eq!((&exit["code"], &exit["cause"]), (&json!(7), &json!("exit-code")));

    // The herder has heard of nothing when it is killed, for it is stopped.
    herd.until_replaced(herder);
    let herder = herd.herder();
    let pid = herd.pid_of("dying");
    kill(herder, Signal::SIGSTOP).unwrap();
    fs::write(&fifos[1], "now\n").unwrap();
    gone(pid);
    kill(herder, Signal::SIGKILL).unwrap();
    let exit = herd.until_state("dying", "exited")["last_exit"].clone();
    assert_eq!((&exit["code"], &exit["cause"]), (&json!(7), &json!("exit-code")));
}

#[test]
fn an_exit_that_the_keeper_learnt_outlives_the_keeper() {
    let mut herd = Herd::new();
    let fifo = herd.fifo("end");
    herd.conf("web", &with(sh("read line < end; exit 7"), json!({"restart": "never"})));
    herd.start();
    herd.until_state("web", "running");
    let (herder, pid) = (herd.herder(), herd.pid_of("web"));
    kill(herder, Signal::SIGSTOP).unwrap();
    fs::write(fifo, "now\n").unwrap();
    gone(pid);
    // It has no number any more once it is reaped, and its end is in the table before.
    while fs::exists(format!("/proc/{pid}")).unwrap() {
        std::thread::yield_now();
    }
    herd.kill_all();
    herd.start();
    let exit = herd.until_state("web", "exited")["last_exit"].clone();
    assert_eq!((&exit["code"], &exit["cause"]), (&json!(7), &json!("exit-code")));
}

#[test]
fn an_exit_after_both_were_dead_is_noticed_and_one_in_between_too() {
    let mut herd = Herd::new();
    let fifo = herd.fifo("end");
    herd.conf("later", &with(sh("read line < end; exit 7"), json!({"restart": "never"})));
    herd.conf("between", &with(sleeper(), json!({"restart": "never"})));
    herd.conf("back", &sleeper());
    herd.start();
    for id in ["later", "between", "back"] {
        herd.until_state(id, "running");
    }
    let later = herd.pid_of("later");
    let dying = ["between", "back"].map(|id| herd.pid_of(id));
    herd.kill_all();
    for pid in dying {
        kill(pid, Signal::SIGKILL).unwrap();
        gone(pid);
    }
    herd.start();
    let exit = herd.until_state("between", "exited")["last_exit"].clone();
    // Unless nobody has reaped it, nobody knows.
    assert!(exit["cause"] == "lost" || exit["signal"] == "KILL", "{exit}");
    herd.until("back", "came back", |back| back["restarts"] == 1 && back["state"] == "running");
    assert_eq!(herd.pid_of("later"), later);
    fs::write(fifo, "now\n").unwrap();
    let exit = herd.until_state("later", "exited")["last_exit"].clone();
    // Whose child it is now may have reaped it before it was looked at: then the kernel tells from Linux 6.15 on.
    let told = exit["cause"] == "exit-code" && exit["code"] == 7;
    assert!(told || exit["cause"] == "lost" && !is_remembered(), "{exit}");
}

/// Whether the kernel (Linux 6.15 or later) remembers how a process ended that others have reaped.
fn is_remembered() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    let remembered = (numbers.next(), numbers.next()) >= (Some(6), Some(15));
    if !remembered {
        eprintln!("skipped: this kernel does not remember how processes ended");
    }
    remembered
}

#[test]
fn an_exit_in_the_moment_of_the_keepers_death_is_learnt_with_its_code() {
    if !is_remembered() {
        return;
    }
    let mut herd = Herd::new();
    let ends = [("code", "exit 7"), ("signal", "kill -USR1 $$"), ("again", "exit 9")];
    let fifos = ends.map(|(id, end)| {
        herd.conf(id, &with(sh(&format!("read line < {id}.end; {end}")), json!({"restart": "never"})));
        herd.fifo(&format!("{id}.end"))
    });
    herd.start();
    for (id, _) in ends {
        herd.until_state(id, "running");
    }
    // One that comes later holds them, too.
    herd.kill_herder();
    let (herder, pids) = (herd.herder(), ends.map(|(id, _)| herd.pid_of(id)));
    // Neither process can learn of it before the keeper dies, nor the herder before it is the keeper.
    pause(&herd);
    kill(herder, Signal::SIGSTOP).unwrap();
    for (fifo, pid) in fifos.iter().zip(pids).take(2) {
        fs::write(fifo, "now\n").unwrap();
        gone(pid);
    }
    herd.signal(Signal::SIGKILL);
    fs::write(&fifos[2], "now\n").unwrap();
    gone(pids[2]);
    kill(herder, Signal::SIGCONT).unwrap();
    herd.succeeded(herder);
    for (id, code, signal) in
        [("code", json!(7), json!(null)), ("signal", json!(null), json!("USR1")), ("again", json!(9), json!(null))]
    {
        let exit = herd.until_state(id, "exited")["last_exit"].clone();
        assert_eq!((&exit["code"], &exit["signal"]), (&code, &signal), "{id}: {exit}\n{}", herd.log());
    }
    // And it is written down.
    herd.kill_herder();
    assert_eq!(herd.service("again")["last_exit"]["code"], 9);
    assert_eq!(herd.end(), Some(0));
}
