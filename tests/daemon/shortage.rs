//! A machine that is out of something.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::herd::{Herd, is_root, is_there, open_to_others, sleeper, with};

/// One that is tried again soon.
fn eager(conf: Value) -> Value {
    with(conf, json!({"restart": {"intensity": 1, "cooldown": "100ms", "max_cooldown": "200ms"}}))
}

fn short_of(errno: Errno) -> impl Fn(&Value) -> bool {
    move |service| service["last_exit"]["cause"] == "resources" && service["last_exit"]["errno"] == errno as i32
}

/// The services that run.
fn running(herd: &Herd) -> Vec<String> {
    let document = herd.document();
    let services = document["services"].as_array().unwrap().iter();
    let running = services.filter(|service| service["state"] == "running");
    running.map(|service| service["id"].as_str().unwrap().to_owned()).collect()
}

/// Whoever is out of something says so and is tried again; what runs goes on, and all run once there is room.
fn lives_through(herd: &mut Herd, errno: Errno, count: usize) {
    // Each is tried again and again, which gives way to one another's descriptors and processes at first.
    herd.logged(": cooldown: ", 3 * count);
    let ids: Vec<_> = (0..count).map(|number| format!("s{number:02}")).collect();
    let short = ids.iter().rev().find(|id| herd.service(id)["state"] != "running").expect("one that does not run");
    let service = herd.until(short, "ran short", short_of(errno));
    assert_eq!(service["last_exit"]["stage"], "fork");
    let text = std::io::Error::from(errno).to_string();
    let reason = service["reason"].as_str().unwrap();
    assert!(
        reason.contains("cannot make a process: ") && reason.contains(text.split(" (os").next().unwrap()),
        "{reason}"
    );
    let up = running(herd);
    assert!(!up.is_empty() && up.len() < count, "{up:?}");
    // It may well be that the confs can't be read either now; then that is said, and changes nothing.
    let reload = herd.run("reload");
    assert!(reload.code == 0 || reload.err.contains("; nothing was changed"), "{reload:?}");
    assert!(running(herd).len() >= up.len());

    for id in &ids[..count - 3] {
        herd.done(&format!("stop {id}"));
    }
    for id in &ids[count - 3..] {
        herd.until_state(id, "running");
    }
    assert_eq!(herd.end(), Some(0));
}

/// Lets the keeper open no more than one file beyond what it has open, which is too few for the pipe of a launch.
struct FewFiles(Pid);

impl FewFiles {
    fn of(herd: &Herd) -> Self {
        let pid = herd.pid();
        let numbers = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let open: Vec<usize> = numbers.map(|fd| fd.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
        // The limit is one of numbers: with exactly one free below it.
        let limit = (0..).filter(|number| !open.contains(number)).nth(1).unwrap();
        Self(pid).limit(&format!("{limit}:"))
    }

    fn limit(self, nofile: &str) -> Self {
        let mut command = Command::new("prlimit");
        let done = command.arg(format!("--nofile={nofile}")).args(["--pid", &self.0.to_string()]).status().unwrap();
        assert!(done.success());
        self
    }
}

#[test]
fn out_of_descriptors() {
    if !is_there("prlimit", "out of descriptors") {
        return;
    }
    let mut herd = Herd::of([("plain", eager(sleeper())), ("untouched", sleeper())]);
    for id in ["plain", "untouched"] {
        herd.until_state(id, "running");
    }
    let untouched = herd.pid_of("untouched");
    let few = FewFiles::of(&herd);
    kill(herd.pid_of("plain"), Signal::SIGKILL).unwrap();
    let short = short_of(Errno::EMFILE);
    let service = herd.until("plain", "ran short", |service| service["state"] == "cooldown" && short(service));
    let reason = service["reason"].as_str().unwrap();
    assert!(reason.contains("cannot make a process: Too many open files"), "{reason}");
    // A herder that ends now has no successor until there is room.
    kill(herd.herder(), Signal::SIGKILL).unwrap();
    few.limit("1024:");
    herd.until_state("plain", "running");
    assert_eq!(herd.pid_of("untouched"), untouched);
    assert_eq!(herd.end(), Some(0));
}

#[test]
fn out_of_processes() {
    if !is_root("a user of no privileges") || !is_there("prlimit", "out of processes") {
        return;
    }
    // Nobody else has this number, so that the limit counts what is made here.
    let uid = 61_000 + std::process::id() % 4000;
    let mut herd = Herd::new();
    for number in 0..12 {
        herd.conf(&format!("s{number:02}"), &eager(sleeper()));
    }
    let binary = herd.public_binary();
    std::fs::create_dir(herd.state()).unwrap();
    open_to_others(&herd.state(), 0o700);
    std::os::unix::fs::chown(herd.state(), Some(uid), Some(uid)).unwrap();
    let mut command = Command::new("prlimit");
    command
        .arg("--nproc=9")
        .arg(&binary)
        .env_clear()
        .env("HOME", herd.path().join("home"))
        .env("PATH", "/usr/bin:/bin");
    command.arg("--config-dir").arg(herd.confs()).arg("--state-dir").arg(herd.state());
    command.uid(uid).gid(uid).current_dir("/");
    herd.launch(command);
    lives_through(&mut herd, Errno::EAGAIN, 12);
}

/// Ends strace(1), and with it what it does to the daemon.
struct Meddler(Child);

impl Drop for Meddler {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGINT);
        let _ = self.0.wait();
    }
}

impl Meddler {
    /// From now on this process can make neither a process nor a thread.
    fn at(pid: Pid, errno: &str) -> Self {
        let inject = format!("inject=clone,clone3:error={errno}");
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", "trace=clone,clone3", "-e", &inject, "-p", &pid.to_string()]);
        let mut meddler = Self(command.stderr(Stdio::piped()).spawn().unwrap());
        let mut said = String::new();
        let mut stderr = BufReader::new(meddler.0.stderr.take().unwrap());
        stderr.read_line(&mut said).unwrap();
        assert!(said.contains("attached"), "{said}");
        meddler
    }
}

#[test]
fn out_of_memory() {
    if !is_root("another process's system calls") || !is_there("strace", "out of memory") {
        return;
    }
    let user = with(sleeper(), json!({"user": "nobody", "cwd": "/"}));
    let mut herd = Herd::of([("plain", eager(sleeper())), ("user", eager(user)), ("untouched", sleeper())]);
    for id in ["plain", "user", "untouched"] {
        herd.until_state(id, "running");
    }
    let untouched = herd.pid_of("untouched");
    for (errno, name) in [(Errno::ENOMEM, "ENOMEM"), (Errno::EAGAIN, "EAGAIN")] {
        let meddler = Meddler::at(herd.pid(), name);
        for id in ["plain", "user"] {
            kill(herd.pid_of(id), Signal::SIGKILL).unwrap();
            herd.until(id, "ran short", |service| service["state"] == "cooldown" && short_of(errno)(service));
        }
        herd.done("reload");
        drop(meddler);
        for id in ["plain", "user"] {
            herd.until_state(id, "running");
        }
    }
    // The herder makes threads: for what a user is, and to read confs.
    let meddler = Meddler::at(herd.herder(), "EAGAIN");
    kill(herd.pid_of("user"), Signal::SIGKILL).unwrap();
    herd.until("user", "ran short", |service| service["state"] == "cooldown" && short_of(Errno::EAGAIN)(service));
    let reload = herd.run("reload");
    assert_eq!(reload.code, 1);
    assert!(reload.err.contains("; nothing was changed"), "{reload:?}");
    drop(meddler);
    herd.until_state("user", "running");
    herd.done("reload");
    assert_eq!(herd.pid_of("untouched"), untouched);
    assert_eq!(herd.end(), Some(0));
}
