//! `run --detach`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use nix::unistd::Pid;
use serde_json::json;

use crate::herd::{BINARY, Ends, Herd, finish, is_there, lives, open_to_others, sleeper};
use crate::waiting::within;

#[test]
fn it_returns_when_the_daemon_answers_and_the_second_time_at_once() {
    let herd = Herd::new();
    herd.conf("web", &sleeper());
    let ends = Ends(&herd);
    let first = herd.run("run --detach");
    assert_eq!((first.code, first.out.as_str(), first.err.as_str()), (0, "", ""));
    // Its socket is open by now: there is no wait here.
    let document = herd.document();
    let pid = document["daemon"]["pid"].as_i64().unwrap();
    assert_eq!(document["services"][0]["id"], "web");

    let second = herd.run("run --detach");
    assert_eq!((second.code, second.out.as_str(), second.err.as_str()), (0, "", ""));
    assert_eq!(herd.document()["daemon"]["pid"], json!(pid));
    assert!(herd.log().contains("web: running, pid "), "{}", herd.log());

    let daemon = format!("/proc/{pid}");
    let stat = fs::read_to_string(format!("{daemon}/stat")).unwrap();
    let fields: Vec<_> = stat.split(' ').collect();
    assert_eq!(fields[5], pid.to_string(), "a session of its own: {stat}");
    for fd in 0..3 {
        assert_eq!(fs::read_link(format!("{daemon}/fd/{fd}")).unwrap().to_str(), Some("/dev/null"));
    }
    assert_eq!(fs::read_link(format!("{daemon}/cwd")).unwrap().to_str(), Some("/"));
    drop(ends);
    assert!(!lives(Pid::from_raw(pid.try_into().unwrap())));
}

#[test]
fn it_says_why_it_cannot() {
    let herd = Herd::new();
    fs::create_dir(herd.state()).unwrap();
    open_to_others(&herd.state(), 0o755);
    let done = herd.run("run --detach");
    assert_eq!((done.code, done.out.as_str()), (2, ""));
    assert!(done.err.contains("open to others"), "{done:?}");
}

#[test]
fn one_whose_herder_cannot_begin_says_so_and_is_exit_1() {
    if !is_there("strace", "a herder that is not executed") {
        return;
    }
    let herd = Herd::new();
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e", "trace=execveat", "-e", "inject=execveat:error=EACCES"]);
    // In the role that it would turn itself into, by the same call.
    command.args([BINARY, "run", "--keeper", "--host", "here", "--config-dir"]).arg(herd.confs());
    command.arg("--state-dir").arg(herd.state());
    let done = finish(&mut command);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert_eq!(done.err, "daemonherder: cannot execute its own program for its herder (code 127)\n");
}

/// What is left of a daemon that was killed: somebody has its lock, and nobody answers.
#[test]
fn a_lock_without_anybody_who_answers_is_waited_for() {
    let herd = Herd::new();
    herd.conf("web", &sleeper());
    let ends = Ends(&herd);
    assert_eq!(herd.run("run --detach").code, 0);
    herd.done("shutdown --leave-services");
    let lock = fs::File::open(herd.state().join("lock")).unwrap();
    lock.try_lock().unwrap();
    let begun = herd.begin("run --detach");
    // It has tried once: from then on it waits for the lock, as the list of those who do says.
    let inode = lock.metadata().unwrap().ino().to_string();
    let waits = move |line: &str| line.contains("->") && line.split([':', ' ']).any(|word| word == inode);
    within("waiting for the lock", move || {
        while !fs::read_to_string("/proc/locks").unwrap().lines().any(&waits) {
            std::thread::yield_now();
        }
    });
    lock.unlock().unwrap();
    let begun = begun.end();
    assert_eq!((begun.code, begun.out.as_str(), begun.err.as_str()), (0, "", ""));
    assert_eq!(herd.document()["services"][0]["id"], "web");
    drop(ends);
}
