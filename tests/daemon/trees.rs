//! What a service leaves behind ends with it, wherever it went: by its cgroup, or caught by a subreaper.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::herd::{BINARY, Herd, is_root, is_there, lives, sh, sleeper, with};

/// Starts a grandchild that has a session of its own, no variable, and no parent that lives; then waits for ever.
const ESCAPER: &str = "setsid sh -c 'setsid env -i /bin/sh -c \"echo \\$\\$ >> escaped; trap : TERM; while :; do sleep 1000; done\" & exit' & \
                       wait; echo up >> up; exec sleep 100000";

/// Herds whose services have cgroups where that is usable, and herds whose services have none.
fn both_ways(scenario: impl Fn(Herd)) {
    for cgroup in ["auto", "off"] {
        let herd = Herd::new();
        herd.file("herder.json", &json!({ "cgroup": cgroup }).to_string());
        scenario(herd);
    }
}

fn escaped(herd: &Herd, count: usize) -> Pid {
    Pid::from_raw(herd.lines("escaped", count)[count - 1].parse().unwrap())
}

#[test]
fn an_escaped_grandchild_ends_before_the_next_run_begins() {
    both_ways(|mut herd| {
        // A second run finds the first one's grandchild if that still lives.
        let script = format!("for old in $(cat escaped); do kill -0 $old && echo $old >> met; done; {ESCAPER}");
        herd.conf("tree", &sh(&script));
        herd.start();
        herd.lines("up", 1);
        let first = escaped(&herd, 1);
        herd.until_state("tree", "running");
        kill(herd.pid_of("tree"), Signal::SIGKILL).unwrap();
        herd.lines("up", 2);
        assert!(!lives(first));
        assert_eq!(herd.lines_now("met"), Vec::<String>::new());
        let second = escaped(&herd, 2);
        assert!(lives(second));
        herd.until("tree", "came back", |service| service["restarts"] == 1 && service["state"] == "running");
        herd.done("stop tree");
        assert!(!lives(second), "stop means stopped");
        assert_eq!(herd.service("tree")["restarts"], 1);
        assert_eq!(herd.end(), Some(0));
    });
}

#[test]
fn a_deaf_tree_is_killed_as_a_whole() {
    both_ways(|mut herd| {
        let deaf = with(sh(&format!("trap '' TERM; {ESCAPER}")), json!({"stop": {"timeout": "100ms"}}));
        herd.conf("deaf", &deaf);
        herd.start();
        herd.lines("up", 1);
        let grandchild = escaped(&herd, 1);
        herd.until_state("deaf", "running");
        herd.done("stop deaf");
        assert!(!lives(grandchild));
        assert_eq!(herd.end(), Some(0));
    });
}

#[test]
fn under_scope_main_what_escaped_lives_on() {
    both_ways(|mut herd| {
        herd.conf("main", &with(sh(ESCAPER), json!({"stop": {"scope": "main"}})));
        herd.start();
        herd.lines("up", 1);
        let grandchild = escaped(&herd, 1);
        herd.until_state("main", "running");
        herd.done("stop main");
        assert!(lives(grandchild));
        kill(grandchild, Signal::SIGKILL).unwrap();
        assert_eq!(herd.end(), Some(0));
    });
}

#[test]
fn another_services_grandchild_is_left_alone() {
    both_ways(|mut herd| {
        herd.conf("tree", &sh(ESCAPER));
        herd.start();
        herd.lines("up", 1);
        let grandchild = escaped(&herd, 1);
        herd.conf("other", &sleeper());
        herd.done("reload");
        herd.until_state("other", "running");
        for _ in 0..3 {
            let before = herd.service("other")["run"].clone();
            kill(herd.pid_of("other"), Signal::SIGKILL).unwrap();
            let back = |service: &Value| service["state"] == "running" && service["run"] != before;
            herd.until("other", "came back", back);
        }
        assert!(lives(grandchild));
        assert_eq!(herd.end(), Some(0));
        assert!(!lives(grandchild));
    });
}

#[test]
fn a_leaf_that_was_killed_is_good_for_the_next_run() {
    let mut herd = Herd::of([("tree", sh(ESCAPER))]);
    let begun = Instant::now();
    for count in 1..=3 {
        herd.lines("up", count);
        herd.until("tree", "ran", |service| service["state"] == "running" && service["restarts"] == count - 1);
        kill(herd.pid_of("tree"), Signal::SIGKILL).unwrap();
    }
    herd.lines("up", 4);
    assert_eq!(
        herd.until_state("tree", "running")["restarts"],
        3,
        "each kill is one restart, after {:?}",
        begun.elapsed()
    );
    let level = herd.service("tree")["tree"].clone();
    assert!(level == "cgroup" || level == "subreaper", "{level}");
    assert_eq!(herd.end(), Some(0));
}

/// Herds without cgroups that lose their keeper, or both processes, when they are told to.
fn without_a_keeper(scenario: impl Fn(Herd, fn(&mut Herd))) {
    let both = |herd: &mut Herd| {
        herd.kill_all();
        herd.start();
    };
    for kill in [Herd::kill_keeper, both] {
        let herd = Herd::new();
        herd.file("herder.json", "{\"cgroup\": \"off\"}");
        scenario(herd, kill);
    }
}

/// Kills a main process that is nobody's child but init's, and waits until init has reaped it. Where init reaps nobody it is
/// a zombie for ever, which a keeper that finds it takes for its run's process.
fn kill_unseen(pid: Pid) {
    kill(pid, Signal::SIGKILL).unwrap();
    let begun = Instant::now();
    while kill(pid, None).is_ok() && begun.elapsed() < Duration::from_secs(5) {
        std::thread::yield_now();
    }
}

/// As [`ESCAPER`]; a run that meets what an earlier one left says so. One that has ended and is not reaped has no command
/// line.
fn meeting_escaper() -> Value {
    sh(&format!("for old in $(cat escaped); do grep -q . /proc/$old/cmdline && echo $old >> met; done; {ESCAPER}"))
}

#[test]
fn what_escaped_under_an_earlier_keeper_ends_before_the_next_run_begins() {
    without_a_keeper(|mut herd, kill_keeper| {
        herd.conf("tree", &meeting_escaper());
        herd.start();
        herd.lines("up", 1);
        let first = escaped(&herd, 1);
        herd.until_state("tree", "running");
        kill_keeper(&mut herd);
        herd.until_state("tree", "running");
        assert!(lives(first), "the keeper's death is no reason");
        kill(herd.pid_of("tree"), Signal::SIGKILL).unwrap();
        herd.lines("up", 2);
        assert!(!lives(first));
        assert_eq!(herd.lines_now("met"), Vec::<String>::new());
        herd.until("tree", "came back", |service| service["restarts"] == 1 && service["state"] == "running");
        assert_eq!(herd.end(), Some(0));
    });
}

#[test]
fn a_stop_reaches_what_escaped_under_keepers_before_the_last() {
    without_a_keeper(|mut herd, kill_keeper| {
        herd.conf("tree", &sh(ESCAPER));
        herd.conf("other", &sh(&ESCAPER.replace("escaped", "others").replace("up", "others-up")));
        herd.start();
        herd.lines("up", 1);
        herd.lines("others-up", 1);
        let (grandchild, other) = (escaped(&herd, 1), Pid::from_raw(herd.lines("others", 1)[0].parse().unwrap()));
        ["tree", "other"].iter().for_each(|id| _ = herd.until_state(id, "running"));
        herd.kill_all();
        herd.start();
        ["tree", "other"].iter().for_each(|id| _ = herd.until_state(id, "running"));
        kill_keeper(&mut herd);
        herd.until_state("tree", "running");
        // By the end of an upgrade it is still another keeper's run.
        herd.done("upgrade");
        herd.done("stop tree");
        assert!(!lives(grandchild), "stop means stopped");
        assert!(lives(other), "another service's");
        assert_eq!(herd.end(), Some(0));
        assert!(!lives(other));
    });
}

#[test]
fn what_a_run_left_that_ended_without_a_daemon_ends_before_the_next_one_begins() {
    let mut herd = Herd::new();
    herd.file("herder.json", "{\"cgroup\": \"off\"}");
    herd.conf("tree", &meeting_escaper());
    herd.start();
    herd.lines("up", 1);
    let first = escaped(&herd, 1);
    herd.until_state("tree", "running");
    let main = herd.pid_of("tree");
    herd.kill_all();
    kill_unseen(main);
    assert!(lives(first));
    herd.start();
    herd.lines("up", 2);
    assert!(!lives(first));
    assert_eq!(herd.lines_now("met"), Vec::<String>::new());
    assert_eq!(herd.end(), Some(0));
}

#[test]
fn under_scope_main_it_lives_on_whoever_looks() {
    let mut herd = Herd::new();
    herd.file("herder.json", "{\"cgroup\": \"off\"}");
    herd.conf("from-birth", &with(sh(ESCAPER), json!({"stop": {"scope": "main"}})));
    let later = sh(&ESCAPER.replace("escaped", "laters").replace("up", "laters-up"));
    herd.conf("later", &later);
    herd.start();
    herd.lines("up", 1);
    herd.lines("laters-up", 1);
    let grandchildren = [escaped(&herd, 1), Pid::from_raw(herd.lines("laters", 1)[0].parse().unwrap())];
    let mains = ["from-birth", "later"].map(|id| {
        herd.until_state(id, "running");
        herd.pid_of(id)
    });
    herd.conf("later", &with(later, json!({"stop": {"scope": "main"}})));
    herd.done("reload");
    // A keeper that has made its process has heard all that was said before.
    herd.conf("last", &sleeper());
    herd.done("reload");
    herd.until_state("last", "running");
    herd.kill_all();
    mains.into_iter().for_each(kill_unseen);
    herd.start();
    herd.lines("up", 2);
    herd.lines("laters-up", 2);
    for grandchild in grandchildren {
        assert!(lives(grandchild));
        kill(grandchild, Signal::SIGKILL).unwrap();
    }
    let second = [escaped(&herd, 2), Pid::from_raw(herd.lines("laters", 2)[1].parse().unwrap())];
    assert_eq!(herd.end(), Some(0));
    second.iter().for_each(|grandchild| kill(*grandchild, Signal::SIGKILL).unwrap());
}

/// A process of this test that bears the mark of a service's run.
struct Marked(Child);

impl Marked {
    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        // An error says that it has ended.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// The hard limit on file locks that marks the processes of a run.
fn hard_limit(run: &str) -> u64 {
    u64::from_str_radix(run.split_once('-').unwrap().0, 16).unwrap() | 1 << 63
}

/// One with another user than root, where that is asked.
fn marked(herd: &Herd, id: &str, user: Option<u32>) -> Marked {
    let run = herd.service(id)["run"].as_str().unwrap().to_owned();
    let (number, hard) = (run.split_once('-').unwrap().1, hard_limit(&run));
    let mut command = Command::new("prlimit");
    command.args([&format!("--locks={number}:{hard}"), "sleep", "100000"]);
    user.into_iter().for_each(|user| _ = command.uid(user));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let name = format!("/proc/{}/comm", child.id());
    while std::fs::read_to_string(&name).unwrap() != "sleep\n" {
        std::thread::yield_now();
    }
    Marked(child)
}

#[test]
fn only_for_an_earlier_keepers_run_everybody_is_looked_at() {
    if !is_there("prlimit", "what bears a mark and descends from nobody") {
        return;
    }
    let mut herd = Herd::new();
    herd.file("herder.json", "{\"cgroup\": \"off\"}");
    herd.conf("web", &sleeper());
    herd.start();
    herd.until_state("web", "running");
    let mut own = marked(&herd, "web", None);
    kill(herd.pid_of("web"), Signal::SIGKILL).unwrap();
    herd.until("web", "came back", |service| service["restarts"] == 1 && service["state"] == "running");
    assert!(own.lives(), "a run of this keeper's leaves what it leaves to this keeper");

    let mut earlier = marked(&herd, "web", None);
    let mut others = is_root("a stray of another user").then(|| marked(&herd, "web", Some(65534)));
    herd.kill_keeper();
    kill(herd.pid_of("web"), Signal::SIGKILL).unwrap();
    herd.until("web", "came back", |service| service["restarts"] == 2 && service["state"] == "running");
    assert!(!earlier.lives());
    assert!(own.lives(), "another run's mark");
    assert!(others.as_mut().is_none_or(Marked::lives), "no user of this run");
    assert_eq!(herd.end(), Some(0));
}

/// Two herds of which nothing runs. What bears the mark of the first can't bear that of the second besides: its number is a
/// hard limit, and that can only be made lower.
fn unmarkable() -> [Herd; 2] {
    let mut herds = [(); 2].map(|()| {
        let mut herd = Herd::new();
        herd.file("herder.json", "{\"cgroup\": \"off\"}");
        herd.conf("web", &sleeper());
        herd.start();
        let run = herd.until_state("web", "running")["run"].as_str().unwrap().to_owned();
        assert_eq!(herd.end(), Some(0));
        (hard_limit(&run), herd)
    });
    herds.sort_unstable_by_key(|(limit, _)| *limit);
    herds.map(|(_, herd)| herd)
}

#[test]
fn a_daemon_that_was_started_by_a_service_is_no_leftover_of_it() {
    let [mut herd, inner] = unmarkable();
    inner.conf("inner", &sh(ESCAPER));
    herd.conf("shell", &sh("read line < go; eval \"$line\"; echo up >> up; exec sleep 100000"));
    let go = herd.fifo("go");
    herd.start();
    let (confs, state) = (inner.confs(), inner.state());
    let begin = format!("{BINARY} run --detach --config-dir {} --state-dir {}\n", confs.display(), state.display());
    std::fs::write(go, begin).unwrap();
    herd.lines("up", 1);
    inner.lines("up", 1);
    let before = inner.until_state("inner", "running");
    let (grandchild, daemon) = (escaped(&inner, 1), inner.document()["daemon"]["pid"].clone());
    herd.kill_all();
    herd.start();
    herd.until_state("shell", "running");
    herd.done("stop shell");
    let after = (inner.service("inner"), lives(grandchild), inner.document()["daemon"]["pid"].clone());
    inner.done("shutdown");
    assert_eq!((&after.0["run"], &after.0["pid"]), (&before["run"], &before["pid"]));
    assert_eq!((after.1, after.2), (true, daemon));
    assert!(!lives(grandchild));
    assert_eq!(herd.end(), Some(0));
}
