//! What a service leaves behind: whose it is, whether it may stay, and what waits for its end.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::herd::{Herd, finish, gone, is_root, is_there, lives, open_to_others, sh, sleeper, with};

/// A herd whose services have no cgroups.
fn without_cgroups() -> Herd {
    let herd = Herd::new();
    herd.file("herder.json", "{\"cgroup\": \"off\"}");
    herd
}

/// Before a command in a script: it has a session of its own and bears none of the marks, as a login's does.
const UNMARKED: &str = "setsid env -i /usr/bin/prlimit --locks=5:6";

/// Leaves a job behind that is no child of it any more and has been told its number, which goes to `file`.
fn leaves(file: &str, how: &str) -> String {
    format!("({how} /bin/sh -c 'echo $$ >> {file}; exec sleep 100000' &)")
}

fn number(herd: &Herd, file: &str, count: usize) -> Pid {
    Pid::from_raw(herd.lines(file, count)[count - 1].parse().unwrap())
}

/// Kills a service, and waits until it has come back.
fn crash(herd: &Herd, id: &str) {
    let before = herd.until_state(id, "running");
    kill(herd.pid_of(id), Signal::SIGKILL).unwrap();
    herd.until(id, "came back", |now| now["state"] == "running" && now["run"] != before["run"]);
}

/// Whether the process is in the cgroup of this service.
fn is_in_leaf(pid: Pid, id: &str) -> bool {
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    cgroup.lines().any(|line| line.starts_with("0::/") && line.ends_with(&format!("/_{id}")))
}

/// A herd with cgroups; none, and a word about it, where the machine has none to offer.
fn with_cgroups(scenario: &str, confs: &[(&str, Value)]) -> Option<Herd> {
    let mut herd = Herd::new();
    for (id, conf) in confs {
        herd.conf(id, conf);
    }
    herd.start();
    let (id, _) = confs.first()?;
    let usable = herd.until_state(id, "running")["tree"] == "cgroup";
    if !usable {
        eprintln!("skipped, for there are no cgroups: {scenario}");
    }
    usable.then_some(herd)
}

#[test]
fn a_job_without_marks_outlives_another_services_end() {
    if !is_there("prlimit", "a job without marks") {
        return;
    }
    for scope in ["main", "tree"] {
        let mut herd = without_cgroups();
        let login = sh(&format!("{}; exec sleep 100000", leaves("job", UNMARKED)));
        herd.conf("login", &with(login, json!({"stop": {"scope": scope}})));
        herd.conf("web", &sleeper());
        herd.start();
        let job = number(&herd, "job", 1);
        herd.until_state("login", "running");
        for _ in 0..2 {
            crash(&herd, "web");
            assert!(lives(job), "scope {scope}: nobody knows that it is web's");
        }
        assert_eq!(herd.end(), Some(0));
        kill(job, Signal::SIGKILL).unwrap();
    }
}

#[test]
fn a_job_of_a_run_that_may_leave_it_outlives_the_only_other_service() {
    if !is_there("prlimit", "a job without marks") {
        return;
    }
    let mut herd = without_cgroups();
    // What comes from a run that is over was there when the run began that is the only one now.
    let keeps = format!("{}; read line < end", leaves("job", "env -u A"));
    let fifo = herd.fifo("end");
    let once = json!({"stop": {"scope": "main"}, "restart": "never"});
    let forks = format!("while read line < go; do {}; done", leaves("late", UNMARKED));
    let go = herd.fifo("go");
    herd.conf("login", &with(sh(&format!("({forks} &); {keeps}")), once));
    herd.start();
    number(&herd, "job", 1);
    herd.until_state("login", "running");
    fs::write(fifo, "now\n").unwrap();
    herd.until_state("login", "exited");
    herd.conf("web", &sleeper());
    herd.done("reload");
    herd.until_state("web", "running");
    fs::write(&go, "now\n").unwrap();
    let late = number(&herd, "late", 1);
    crash(&herd, "web");
    assert!(lives(late));
    assert_eq!(herd.end(), Some(0));
    for pid in [late, number(&herd, "job", 1)] {
        kill(pid, Signal::SIGKILL).unwrap();
    }
    // What forks reads no line any more, and ends.
    fs::write(go, "").unwrap();
}

#[test]
fn what_is_in_the_runs_session_is_its_whatever_it_has_thrown_off() {
    if !is_there("prlimit", "a child without marks") || !is_there("bash", "a group of its own") {
        return;
    }
    let mut herd = without_cgroups();
    // Job control gives it a group of its own.
    let child = "env -i /usr/bin/prlimit --locks=5:6 /bin/sh -c 'echo $$ >> child; exec sleep 100000'";
    let script = format!("set -m; {child} & exec sleep 100000");
    herd.conf("other", &sleeper());
    herd.start();
    herd.until_state("other", "running");
    herd.conf("web", &json!({"cmd": "bash", "args": ["-c", script]}));
    herd.done("reload");
    for count in 1..=2 {
        let child = number(&herd, "child", count);
        assert!(lives(child));
        crash(&herd, "web");
        assert!(!lives(child));
    }
    assert_eq!(herd.end(), Some(0));
}

/// A service that leaves a child, and says which one of an earlier run's it meets.
fn meeting(how: &str) -> Value {
    // One that has ended and is not reaped has no command line.
    let meet = "for old in $(cat child); do grep -q . /proc/$old/cmdline && echo $old >> met; done";
    sh(&format!("{meet}; {}; echo up >> up; exec sleep 100000", leaves("child", how)))
}

#[test]
fn what_is_left_in_a_cgroup_without_a_daemon_ends_before_the_next_run_begins_there() {
    if !is_there("prlimit", "what bears no mark") {
        return;
    }
    for alone in [true, false] {
        let mut confs = vec![("web", meeting(UNMARKED))];
        if !alone {
            confs.push(("other", sleeper()));
        }
        let Some(mut herd) = with_cgroups("what is left in a cgroup", &confs) else { return };
        let left = number(&herd, "child", 1);
        herd.lines("up", 1);
        for (id, _) in &confs {
            herd.until_state(id, "running");
        }
        let main = herd.pid_of("web");
        herd.kill_all();
        kill(main, Signal::SIGKILL).unwrap();
        gone(main);
        assert!(lives(left));
        herd.start();
        herd.lines("up", 2);
        assert!(!lives(left), "alone: {alone}");
        assert_eq!(herd.lines_now("met"), Vec::<String>::new());
        let web = herd.until("web", "came back", |web| web["state"] == "running" && web["restarts"] == 1);
        assert!(is_in_leaf(herd.pid_of("web"), "web"), "alone: {alone}: {web}");
        assert_eq!(herd.end(), Some(0));
    }
}

#[test]
fn what_may_stay_in_a_cgroup_stays_whoever_comes_next() {
    let main = with(meeting("env -u A"), json!({"stop": {"scope": "main"}}));
    let Some(mut herd) = with_cgroups("what may stay", &[("sshd", main), ("other", sleeper())]) else { return };
    herd.lines("up", 1);
    let mut left = vec![number(&herd, "child", 1)];
    let stays = |herd: &Herd, left: &[Pid]| {
        herd.until_state("sshd", "running");
        assert!(left.iter().all(|pid| lives(*pid)));
        assert!(is_in_leaf(herd.pid_of("sshd"), "sshd"));
    };
    // After an orderly end of the daemon.
    herd.done("shutdown");
    assert_eq!(herd.ended(), Some(0));
    assert!(lives(left[0]));
    herd.start();
    herd.lines("up", 2);
    left.push(number(&herd, "child", 2));
    stays(&herd, &left);
    // After its own end without any daemon.
    let pid = herd.pid_of("sshd");
    herd.kill_all();
    kill(pid, Signal::SIGKILL).unwrap();
    gone(pid);
    herd.start();
    herd.lines("up", 3);
    left.push(number(&herd, "child", 3));
    stays(&herd, &left);
    // After its end under a keeper that it does not know.
    herd.kill_keeper();
    crash(&herd, "sshd");
    herd.lines("up", 4);
    left.push(number(&herd, "child", 4));
    stays(&herd, &left);
    // After an upgrade.
    herd.done("upgrade");
    crash(&herd, "sshd");
    herd.lines("up", 5);
    left.push(number(&herd, "child", 5));
    stays(&herd, &left);
    assert_eq!(herd.end(), Some(0));
    for pid in left {
        assert!(lives(pid));
        kill(pid, Signal::SIGKILL).unwrap();
    }
}

#[test]
fn what_a_conf_lets_nobody_leave_any_more_ends_before_its_next_run() {
    let conf = meeting("env -u A");
    let main = with(conf.clone(), json!({"stop": {"scope": "main"}}));
    let Some(mut herd) = with_cgroups("a changed conf", &[("web", main)]) else { return };
    herd.lines("up", 1);
    let left = number(&herd, "child", 1);
    herd.done("shutdown");
    assert_eq!(herd.ended(), Some(0));
    assert!(lives(left));
    herd.conf("web", &conf);
    herd.start();
    herd.until_state("web", "running");
    assert!(!lives(left));
    assert_eq!(herd.lines_now("met"), Vec::<String>::new());
    assert!(is_in_leaf(herd.pid_of("web"), "web"));
    assert_eq!(herd.end(), Some(0));
}

#[test]
fn what_could_not_be_looked_for_is_looked_for_again() {
    if !is_there("prlimit", "out of descriptors") {
        return;
    }
    let mut herd = without_cgroups();
    herd.conf("web", &meeting("setsid"));
    herd.start();
    herd.lines("up", 1);
    let left = number(&herd, "child", 1);
    herd.until_state("web", "running");
    let keeper = herd.pid().to_string();
    let numbers = fs::read_dir(format!("/proc/{keeper}/fd")).unwrap();
    let open: Vec<usize> = numbers.map(|fd| fd.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    // A list can be read, but nothing held besides.
    let few = (0..).filter(|number| !open.contains(number)).nth(1).unwrap();
    let limit = |files: &str| assert_eq!(finish(Command::new("prlimit").args(["--pid", &keeper, files])).code, 0);
    limit(&format!("--nofile={few}:"));
    kill(herd.pid_of("web"), Signal::SIGKILL).unwrap();
    herd.logged("cannot look at what it has left", 1);
    assert!(lives(left));
    limit("--nofile=1024:");
    herd.lines("up", 2);
    assert!(!lives(left));
    assert_eq!(herd.lines_now("met"), Vec::<String>::new());
    assert_eq!(herd.end(), Some(0));
}

#[test]
fn nothing_is_started_beside_what_does_not_end() {
    if !is_root("a process that its own daemon may not kill") || !is_there("setpriv", "another real user") {
        return;
    }
    // Nobody else has this number.
    let uid = 65_000 + std::process::id() % 400;
    let mut herd = without_cgroups();
    let binary = herd.public_binary();
    for (directory, mode) in
        [(herd.path().join("work"), 0o777), (herd.confs(), 0o755), (herd.path().join("home"), 0o755)]
    {
        open_to_others(&directory, mode);
    }
    let setpriv = herd.path().join("setpriv");
    assert_eq!(finish(Command::new("cp").arg("/usr/bin/setpriv").arg(&setpriv)).code, 0);
    open_to_others(&setpriv, 0o4755);
    let how = format!("setsid {} --reuid=0 --regid=0 --clear-groups", setpriv.display());
    herd.conf("web", &meeting(&how));
    fs::create_dir(herd.state()).unwrap();
    open_to_others(&herd.state(), 0o700);
    std::os::unix::fs::chown(herd.state(), Some(uid), Some(uid)).unwrap();
    let mut command = Command::new(&binary);
    herd.place(&mut command);
    command.uid(uid).gid(uid);
    herd.launch(command);
    herd.lines("up", 1);
    let left = number(&herd, "child", 1);
    herd.until_state("web", "running");
    kill(herd.pid_of("web"), Signal::SIGKILL).unwrap();
    herd.logged("some of its tree does not end after KILL", 1);
    // It has heard of nothing that it could restart.
    herd.done("reload");
    assert_eq!((herd.lines_now("up").len(), &herd.service("web")["restarts"]), (1, &json!(0)));
    // Nor does the next program know better.
    herd.done("upgrade");
    herd.done("reload");
    assert_eq!((herd.lines_now("up").len(), &herd.service("web")["restarts"]), (1, &json!(0)));
    kill(left, Signal::SIGKILL).unwrap();
    herd.lines("up", 2);
    assert_eq!(herd.lines_now("met"), Vec::<String>::new());
    let second = number(&herd, "child", 2);
    herd.until_state("web", "running");
    let main = herd.pid_of("web");
    herd.signal(Signal::SIGTERM);
    gone(main);
    kill(second, Signal::SIGKILL).unwrap();
    assert_eq!(herd.ended(), Some(0));
}
