//! Debian's cron, as it is: what `install` writes brings a daemon back that was killed, and starts it with the machine.
//!
//! Needs root and the package cron, so it is behind the feature `debian-servers`. It has cron believe that the machine has just
//! started: what others have for that moment (`@reboot`) is run, too.
#![cfg(feature = "debian-servers")]
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

#[path = "daemon/herd.rs"]
#[expect(dead_code, reason = "the scenarios of one daemon alone use more of it")]
mod herd;
#[path = "daemon/waiting.rs"]
mod waiting;

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;

use herd::{Herd, finish, gone, is_there, lives, sleeper};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use waiting::{until, within};

/// What a table says of itself that has nothing but the line for the start of the machine.
const AT_START: &str = "TABLE=at-start";

/// The crontab of root as it was, and the cron of this scenario. Dropped, all is as before.
struct Cron<'h> {
    herd: &'h Herd,
    table: Option<String>,
    cron: Child,
}

impl<'h> Cron<'h> {
    fn start(herd: &'h Herd) -> Self {
        Self { herd, table: table(), cron: cron() }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.cron.id().cast_signed())
    }

    /// Stops it between two minutes: no job begins from here on, and those that have begun have ended.
    fn pause(&self) {
        let pid = self.pid();
        kill(pid, Signal::SIGSTOP).unwrap();
        let stat = format!("/proc/{pid}/stat");
        within("the stop of cron", move || {
            while !fs::read_to_string(&stat).unwrap().contains(") T ") {
                thread::yield_now();
            }
        });
        let jobs = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let jobs: Vec<Pid> = jobs.split_whitespace().map(|job| Pid::from_raw(job.parse().unwrap())).collect();
        within("the end of what cron has begun", move || jobs.into_iter().for_each(gone));
    }

    fn go_on(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    /// Ends it, and starts it as the machine does: it knows that by the absence of a file of its own.
    fn restart_with_the_machine(&mut self) {
        self.cron.kill().unwrap();
        self.cron.wait().unwrap();
        // It is there only if a cron has started since the last boot.
        let _ = fs::remove_file("/run/crond.reboot");
        self.cron = cron();
    }

    fn set_table(&self, table: &str) {
        let file = self.herd.path().join("table");
        fs::write(&file, table).unwrap();
        let set = finish(Command::new("crontab").arg(file));
        assert_eq!(set.code, 0, "{set:?}");
    }
}

fn cron() -> Child {
    Command::new("cron").arg("-f").stdin(Stdio::null()).spawn().unwrap()
}

/// The crontab of root.
fn table() -> Option<String> {
    let listed = finish(Command::new("crontab").arg("-l"));
    (listed.code == 0).then_some(listed.out)
}

impl Drop for Cron<'_> {
    fn drop(&mut self) {
        let _ = self.cron.kill();
        let _ = self.cron.wait();
        match &self.table {
            Some(table) => self.set_table(table),
            None => drop(finish(Command::new("crontab").arg("-r"))),
        }
        self.herd.run("shutdown");
    }
}

/// The processes of this herd's daemon: the keeper and then its herder.
fn processes(herd: &Herd) -> Vec<Pid> {
    let state = herd.state();
    let role = |pid: &Pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        let ours = words.contains(&state.to_str().unwrap().as_bytes()) && lives(*pid);
        let role = |word: &str| words.contains(&word.as_bytes());
        ours.then(|| if role("--keeper") { Some(0) } else { role("--herder").then_some(1) }).flatten()
    };
    let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let mut found: Vec<_> = names.map(Pid::from_raw).filter_map(|pid| Some((role(&pid)?, pid))).collect();
    found.sort();
    found.into_iter().map(|(_, pid)| pid).collect()
}

/// One scenario, since there is one crontab. (Two after each other would also have to be a second apart: a cron that has read a
/// crontab does not see another one of the same second.)
#[test]
fn a_daemon_that_was_killed_is_back_within_a_minute_and_so_it_is_with_the_machine() {
    assert!(nix::unistd::geteuid().is_root(), "this scenario needs root");
    if !is_there("cron", "a real cron") {
        return;
    }
    let herd = Herd::new();
    herd.conf("web", &sleeper());
    herd.conf("db", &sleeper());
    let mut cron = Cron::start(&herd);
    herd.done("install");
    // The daemon answers as soon as it can, and its launches may still be under way.
    herd.done("start --all");
    comes_back(&herd, &cron);
    starts_with_the_machine(&herd, &mut cron);

    herd.done("uninstall");
    let left = table().unwrap_or_default();
    assert!(!left.contains(herd.path().to_str().unwrap()), "{left}");
    drop(cron);
}

fn comes_back(herd: &Herd, cron: &Cron<'_>) {
    let pids = |document: &Value| -> Vec<Value> {
        document["services"].as_array().unwrap().iter().map(|service| service["pid"].clone()).collect()
    };
    let before = herd.document();
    assert!(pids(&before).len() == 2 && pids(&before).iter().all(Value::is_u64), "{before}");

    // What brings it back is a job that has begun without it.
    cron.pause();
    kill_daemon(herd);
    cron.go_on();

    // Its first moment is the next full minute; the watchdog of one look is less than that.
    let back = || until(&herd.state(), || (herd.run("status").code == 0).then_some(()));
    assert!(back().or_else(back).is_some(), "cron does not bring it back: {}", herd.log());
    let after = herd.document();
    assert_ne!(after["daemon"]["pid"], before["daemon"]["pid"]);
    assert_eq!(pids(&after), pids(&before));
    let restarts = after["services"].as_array().unwrap().iter().map(|service| service["restarts"].clone());
    assert!(restarts.into_iter().all(|restarts| restarts == 0), "{after}");
}

fn starts_with_the_machine(herd: &Herd, cron: &mut Cron<'_>) {
    let services = ["web", "db"].map(|id| herd.pid_of(id));
    // Or a minute that turns before its line is cut would start the daemon as well.
    cron.pause();
    // The other line is for a daemon that has gone while the machine runs.
    let ours = |line: &&str| line.contains(herd.path().to_str().unwrap());
    let written = table().unwrap();
    let at_start: Vec<_> = written.lines().filter(ours).filter(|line| line.starts_with("@reboot ")).collect();
    assert_eq!(at_start.len(), 1, "{written}");
    // Whatever this table starts has the variable.
    cron.set_table(&format!("{AT_START}\n{}\n", at_start[0]));

    // What the power takes away.
    kill_daemon(herd);
    services.iter().for_each(|pid| kill(*pid, Signal::SIGKILL).unwrap());
    cron.restart_with_the_machine();

    let answers = until(&herd.state(), || (herd.run("status").code == 0).then_some(()));
    assert!(answers.is_some(), "cron does not start it: {}", herd.log());
    let environment = fs::read(format!("/proc/{}/environ", processes(herd)[0])).unwrap();
    let has_it = environment.split(|byte| *byte == 0).any(|variable| variable == AT_START.as_bytes());
    assert!(has_it, "something else has started it: {}", environment.escape_ascii());
    herd.done("start --all");
    assert!(["web", "db"].iter().all(|id| !services.contains(&herd.pid_of(id))));
    cron.set_table(&written);
}

/// Ends both processes of a daemon, without a word.
fn kill_daemon(herd: &Herd) {
    let [keeper, herder] = processes(herd)[..] else { panic!("{:?}", processes(herd)) };
    // A stopped keeper makes no further herder.
    kill(keeper, Signal::SIGSTOP).unwrap();
    kill(herder, Signal::SIGKILL).unwrap();
    kill(keeper, Signal::SIGKILL).unwrap();
    let lock = File::open(herd.state().join("lock")).unwrap();
    within("the end of both", move || lock.lock().unwrap());
}
