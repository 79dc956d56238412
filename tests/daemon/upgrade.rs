//! The daemon's program is replaced in place: the services notice nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::hanging::DeadMount;
use crate::herd::{BINARY, Herd, copy_of, finish, lives, open_to_others, sh, sleeper, with};

/// Another file with the same program.
fn copy(herd: &Herd, name: &str) -> PathBuf {
    copy_of(Path::new(BINARY), herd.path().join(name))
}

/// The process of a service, once it has one.
fn running(herd: &Herd, id: &str) -> Pid {
    herd.until_state(id, "running");
    herd.pid_of(id)
}

/// Every herder opens this before it answers.
fn journal(herd: &Herd) -> PathBuf {
    // A command is answered once it is written down: from here on it is the file that the next herder finds.
    herd.done("stop calm");
    herd.done("start calm");
    herd.state().join("runs").join("notes")
}

fn upgrade(herd: &Herd, path: &Path) -> crate::herd::Done {
    herd.run(&format!("upgrade {}", path.display()))
}

/// What a process is made from.
fn program(pid: Pid) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).unwrap()
}

/// What must not change for any service.
fn herd_as_seen(herd: &Herd) -> BTreeMap<String, Value> {
    let document = herd.document();
    let service = |one: &Value| {
        let keys = ["pid", "run", "restarts", "state", "wanted", "window", "last_exit"];
        let mut kept: serde_json::Map<_, _> = keys.map(|key| (key.to_owned(), one[key].clone())).into_iter().collect();
        // Each herder makes the time of day anew of the time since the boot.
        kept["last_exit"].as_object_mut().map(|exit| exit.remove("at"));
        (one["id"].as_str().unwrap().to_owned(), Value::Object(kept))
    };
    document["services"].as_array().unwrap().iter().map(service).collect()
}

#[test]
fn services_keep_their_processes_and_their_counters() {
    let herd = Herd::of([
        ("calm", sleeper()),
        ("marked", sh("echo begun >> begun; exec sleep 100000")),
        ("once", json!({"cmd": "true", "restart": "never"})),
    ]);
    herd.conf("crashed", &with(sh("[ -e crashed ] || { echo > crashed; exit 3; }; exec sleep 100000"), json!({})));
    herd.done("reload");
    for (id, state) in [("calm", "running"), ("marked", "running"), ("once", "exited")] {
        herd.until_state(id, state);
    }
    herd.until("crashed", "restarted", |service| service["restarts"] == 1 && service["state"] == "running");
    let (before, keeper, since) = (herd_as_seen(&herd), herd.pid(), herd.document()["daemon"].clone());
    let old_herder = herd.herder();

    let next = copy(&herd, "next");
    let done = upgrade(&herd, &next);
    assert_eq!(done.code, 0, "{done:?}\n{}", herd.log());
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(done.out, format!("upgraded from {version} to {version}: {}\n", next.display()));
    assert_eq!(done.err, "");
    assert_eq!((program(keeper), program(herd.herder())), (next.clone(), next.clone()));
    assert!(!lives(old_herder));
    assert_eq!(herd_as_seen(&herd), before);
    assert_eq!(herd.document()["daemon"], since);
    assert_eq!(herd.lines_now("begun").len(), 1);

    // From here on it is a keeper as any: it learns of ends, launches, and replaces its herder.
    kill(herd.pid_of("crashed"), Signal::SIGKILL).unwrap();
    let crashed = herd.until("crashed", "restarted", |service| service["restarts"] == 2 && !service["pid"].is_null());
    assert_eq!(crashed["last_exit"]["signal"], "KILL");
    herd.done("restart calm");
    kill(herd.herder(), Signal::SIGKILL).unwrap();
    herd.logged("the next one takes over", 1);
    herd.done("stop calm");
    assert_eq!(program(herd.herder()), next);
}

#[test]
fn without_a_path_it_is_what_is_at_the_daemons_own_place() {
    let mut herd = Herd::new();
    herd.conf("calm", &sleeper());
    let own = copy(&herd, "own");
    let mut command = Command::new(&own);
    herd.place(&mut command);
    herd.launch(command);
    let (pid, old) = (running(&herd, "calm"), inode(herd.pid()));
    let next = copy(&herd, "next");
    fs::rename(&next, &own).unwrap();
    herd.done("upgrade");
    assert_ne!(inode(herd.pid()), old);
    assert_eq!((program(herd.pid()), running(&herd, "calm")), (own, pid));

    // An empty body is that of every version; who asks so hears nothing but the end of the connection.
    assert_eq!(herd.exchange("POST /v1/upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), "");
    let (status, body) = herd.ask("GET", "/v1/upgrade", "");
    let document: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &document["last"]["number"], &document["last"]["failed"]), (200, &json!(2), &Value::Null));
    assert_eq!(herd.ask("POST", "/v1/upgrade", "{\"pathh\":1}").0, 400);
}

fn inode(pid: Pid) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(format!("/proc/{pid}/exe")).unwrap().ino()
}

#[test]
fn a_wrong_program_is_refused_and_nothing_has_happened() {
    let mut herd = Herd::of([("calm", sleeper())]);
    let text = herd.path().join("text");
    fs::write(&text, "hello\n").unwrap();
    running(&herd, "calm");
    let (before, own, herder) = (herd_as_seen(&herd), program(herd.pid()), herd.herder());
    let refused = |path: &Path, why: &str| {
        let done = upgrade(&herd, path);
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{done:?}");
        assert_eq!(done.err, format!("daemonherder: {}: {why}\n", path.display()));
    };
    refused(&text, "it is no file that can be executed");
    open_to_others(&text, 0o755);
    refused(&text, "it is no program that this machine can execute");
    refused(Path::new("/nowhere/at/all"), "No such file or directory (os error 2)");
    refused(Path::new("/bin/false"), "its look at the present state exited with code 1");
    refused(Path::new("/bin/true"), "it is no daemonherder");
    refused(&herd.path().join("work"), "it is no file that can be executed");
    open_to_others(&text, 0o757);
    let done = upgrade(&herd, &text);
    assert!(done.code == 1 && done.err.contains("writable for"), "{done:?}");

    assert_eq!((program(herd.pid()), herd.herder()), (own, herder));
    assert_eq!(herd_as_seen(&herd), before);
    assert_eq!(herd.end(), Some(0));
}

#[test]
fn what_is_under_way_goes_on() {
    let mut herd = Herd::of([
        ("cooling", with(sh("exit 3"), json!({"restart": {"intensity": 1, "cooldown": "1h", "max_cooldown": "1h"}}))),
        ("waiting", with(sh("echo run >> waited; exit 3"), json!({"restart": {"delay": "3s", "intensity": 100}}))),
        // It says that it was asked to end, and ends when the FIFO is written to.
        (
            "deaf",
            with(
                sh("trap 'echo asked >> asked' TERM; echo up >> up; until read x < gate; do :; done"),
                json!({"stop": {"timeout": "1h"}}),
            ),
        ),
        ("down", sleeper()),
    ]);
    herd.fifo("gate");
    herd.until_state("cooling", "cooldown");
    herd.done("stop down");
    herd.lines("up", 1);
    herd.done("stop deaf --no-wait");
    herd.lines("asked", 1);
    let (cooling, deaf, waited) = (herd.service("cooling"), herd.pid_of("deaf"), herd.lines("waited", 1).len());

    let done = upgrade(&herd, &copy(&herd, "next"));
    assert_eq!(done.code, 0, "{done:?}\n{}", herd.log());
    let later = herd.service("cooling");
    assert_eq!((&later["state"], &later["restarts"]), (&json!("cooldown"), &cooling["restarts"]));
    let left = |service: &Value| service["next_start_ms"].as_u64().unwrap();
    assert!(left(&later) <= left(&cooling) && left(&later) > left(&cooling) - 60_000, "{later} {cooling}");
    assert_eq!((herd.service("deaf")["state"].clone(), herd.pid_of("deaf")), (json!("stopping"), deaf));
    assert_eq!(herd.service("down")["state"], "stopped");
    herd.lines("waited", waited + 1);

    fs::write(herd.work("gate"), "end\n").unwrap();
    herd.until_state("deaf", "stopped");
    assert_eq!(herd.lines_now("asked").len(), 1);
    assert_eq!(herd.end(), Some(0));
}

#[test]
fn adopted_services_stay_adopted_even_where_the_run_table_is_not_understood() {
    let mut herd = Herd::of([("calm", sleeper()), ("other", sleeper())]);
    let calm = running(&herd, "calm");
    herd.kill_all();
    herd.start();
    assert_eq!(running(&herd, "calm"), calm);
    herd.done("restart other");
    let other = running(&herd, "other");

    // As one of another version would be for this one: its first words mean something else.
    let table = fs::File::options().write(true).open(herd.state().join("runs").join("table")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&table, &[0xff; 16], 0).unwrap();
    assert_eq!(upgrade(&herd, &copy(&herd, "next")).code, 0);
    herd.logged("the run table is begun anew", 1);
    assert_eq!((running(&herd, "calm"), running(&herd, "other")), (calm, other));

    // It is a whole one again.
    herd.kill_all();
    herd.start();
    assert_eq!((running(&herd, "calm"), running(&herd, "other")), (calm, other));
    assert_eq!(upgrade(&herd, &copy(&herd, "again")).code, 0);
    for (id, pid) in [("calm", calm), ("other", other)] {
        kill(pid, Signal::SIGKILL).unwrap();
        let again = |service: &Value| !service["pid"].is_null() && service["pid"] != pid.as_raw();
        herd.until(id, "restarted", again);
    }
    assert_eq!(herd.end(), Some(0));
}

#[test]
fn nothing_more_is_open_afterwards() {
    let mut herd = Herd::of([("calm", sleeper())]);
    // A keeper that has launched keeps some things for the next launch.
    herd.until_state("calm", "running");
    let open = |pid: Pid| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let (before, next) = (open(herd.pid()), copy(&herd, "next"));
    for _ in 0..3 {
        assert_eq!(upgrade(&herd, &next).code, 0);
        assert_eq!(upgrade(&herd, Path::new("/bin/true")).code, 1);
    }
    herd.done("restart calm");
    assert_eq!(open(herd.pid()), before);
    let inherited: Vec<_> = fs::read_dir(format!("/proc/{}/fd", running(&herd, "calm"))).unwrap().collect();
    assert_eq!(inherited.len(), 3, "{inherited:?}");
    assert_eq!(herd.end(), Some(0));
}

#[test]
fn a_program_that_does_not_understand_a_conf_that_is_in_use_is_refused() {
    let herd = Herd::of([("calm", with(sleeper(), json!({"restart": {"max_cooldown": "1h"}})))]);
    running(&herd, "calm");
    let (before, own) = (herd_as_seen(&herd), program(herd.pid()));
    // The conf itself may be broken meanwhile, and has nothing to say in this.
    herd.file("calm.conf", "{");
    let next = copy(&herd, "next");
    // A version that has another name for a key: what this one took is unknown to it.
    let mut other = Command::new("sed");
    other.env("LC_ALL", "C").args(["-i", "s/max_cooldown/max_cooldawn/g"]).arg(&next);
    assert_eq!(finish(&mut other).code, 0);
    let done = upgrade(&herd, &next);
    let why = "calm: its conf was accepted, and is not understood any more";
    assert_eq!((done.code, done.err), (1, format!("daemonherder: {}: {why}\n", next.display())));
    assert_eq!((program(herd.pid()), herd_as_seen(&herd)), (own, before));
    assert_eq!(upgrade(&herd, &copy(&herd, "good")).code, 0);
}

/// Who may write where the program lies can put another one there after it was looked at.
#[test]
fn what_is_executed_is_what_was_looked_at() {
    let herd = Herd::of([("calm", sleeper())]);
    let (own, next, wrong) = (program(herd.pid()), copy(&herd, "next"), copy(&herd, "wrong"));
    open_to_others(&wrong, 0o777);
    herd.signal(Signal::SIGSTOP);
    let (tell, told) = channel();
    for asking in [(); 2].map(|()| herd.begin(&format!("upgrade {}", next.display()))) {
        let tell = tell.clone();
        thread::spawn(move || tell.send(asking.end()));
    }
    // One of them has been passed on to the keeper, then.
    let refused = told.recv().unwrap();
    assert!(refused.err.contains("another upgrade is under way"), "{refused:?}");
    fs::rename(&wrong, &next).unwrap();
    herd.signal(Signal::SIGCONT);
    let done = told.recv().unwrap();
    assert!(done.code == 1 && done.err.contains("is writable for"), "{done:?}");
    assert_eq!(program(herd.pid()), own);
}

#[test]
fn a_look_that_does_not_end_is_ended_and_meanwhile_all_goes_on() {
    let herd = Herd::of([("calm", sleeper())]);
    let Some(mount) = DeadMount::under(&herd.state().join("runs").join("herd.json")) else { return };
    let (own, herder, next) = (program(herd.pid()), herd.herder(), copy(&herd, "next"));
    let asking = herd.begin(&format!("upgrade {}", next.display()));
    let _hangs = mount.opened();
    herd.done("restart calm");
    let second = upgrade(&herd, &next);
    assert!(second.code == 1 && second.err.contains("another upgrade is under way"), "{second:?}");
    let done = asking.end();
    assert!(done.code == 1 && done.err.contains("its look at the present state does not end"), "{done:?}");
    assert_eq!((program(herd.pid()), herd.herder()), (own, herder));
}

#[test]
fn a_program_whose_herder_hangs_gives_the_place_back() {
    let herd = Herd::of([("calm", sleeper()), ("crashing", with(sleeper(), json!({"restart": {"intensity": 1000}})))]);
    let Some(mount) = DeadMount::under(&journal(&herd)) else { return };
    let (keeper, own, calm, crashing) =
        (herd.pid(), program(herd.pid()), running(&herd, "calm"), running(&herd, "crashing"));
    let next = copy(&herd, "next");
    let asking = herd.begin(&format!("upgrade {}", next.display()));
    let hangs = mount.opened();
    assert_eq!(program(keeper), next);
    // Who ends meanwhile is a zombie until somebody stays.
    kill(crashing, Signal::SIGKILL).unwrap();
    // The one that came back makes a herder of its own.
    let after = mount.opened();
    assert_eq!(program(keeper), own);
    mount.let_go(&after);
    let done = asking.end();
    let why = "its herder did not answer within 10 seconds";
    let version = env!("CARGO_PKG_VERSION");
    let told = format!("daemonherder: {}: {why}; version {version} goes on\n", next.display());
    assert_eq!((done.code, done.err), (1, told));
    assert_eq!((program(herd.herder()), running(&herd, "calm")), (own, calm));
    let restarted =
        herd.until("crashing", "restarted", |service| service["restarts"] == 1 && !service["pid"].is_null());
    assert_eq!(restarted["last_exit"]["signal"], "KILL");
    mount.let_go(&hangs);
}

#[test]
fn a_program_whose_herder_ends_gives_the_place_back() {
    let herd = Herd::of([("calm", sleeper())]);
    let Some(mount) = DeadMount::under(&journal(&herd)) else { return };
    let (own, calm, next) = (program(herd.pid()), running(&herd, "calm"), copy(&herd, "next"));
    let asking = herd.begin(&format!("upgrade {}", next.display()));
    let _hangs = mount.opened();
    kill(herd.herder(), Signal::SIGKILL).unwrap();
    mount.let_go(&mount.opened());
    let done = asking.end();
    assert!(done.code == 1 && done.err.contains("its herder ended before it answered"), "{done:?}");
    assert_eq!((program(herd.pid()), running(&herd, "calm")), (own, calm));
}

#[test]
fn a_signal_in_the_middle_of_it_has_only_waited() {
    let mut herd = Herd::of([("calm", sleeper())]);
    let Some(mount) = DeadMount::under(&journal(&herd)) else { return };
    let (calm, next) = (running(&herd, "calm"), copy(&herd, "next"));
    let asking = herd.begin(&format!("upgrade {}", next.display()));
    let hangs = mount.opened();
    herd.signal(Signal::SIGTERM);
    mount.let_go(&hangs);
    assert_eq!(herd.ended(), Some(0));
    assert!(!lives(calm));
    drop(asking.end());
}

#[test]
fn a_launch_in_flight_is_waited_for_but_not_for_ever() {
    let herd = Herd::of([("calm", sleeper())]);
    let (calm, own, next) = (running(&herd, "calm"), program(herd.pid()), copy(&herd, "next"));
    // Its process hangs before it executes this.
    let slow = copy_of(Path::new("/bin/sleep"), herd.work("slow"));
    let Some(mount) = DeadMount::under(&slow) else { return };
    herd.conf("slow", &json!({"cmd": slow, "args": ["100000"]}));
    herd.done("reload");
    let hangs = mount.opened();

    let done = upgrade(&herd, &next);
    assert!(done.code == 1 && done.err.contains("a launch that is under way does not end"), "{done:?}");
    assert_eq!((program(herd.pid()), program(herd.herder()), herd.pid_of("calm")), (own.clone(), own, calm));
    assert_eq!(herd.service("slow")["state"], "starting");
    mount.let_go(&hangs);
    let pid = running(&herd, "slow");
    assert_eq!(upgrade(&herd, &next).code, 0);
    assert_eq!((running(&herd, "slow"), running(&herd, "calm")), (pid, calm));
}

#[test]
fn a_daemon_that_ends_is_not_upgraded() {
    let deaf = sh("trap 'echo asked >> asked' TERM; echo up >> up; until read x < gate; do :; done");
    let mut herd = Herd::of([("deaf", with(deaf, json!({"stop": {"timeout": "1h"}})))]);
    herd.fifo("gate");
    herd.lines("up", 1);
    herd.signal(Signal::SIGTERM);
    herd.lines("asked", 1);
    let done = upgrade(&herd, &copy(&herd, "next"));
    assert!(done.code == 1 && done.err.contains("the daemon is shutting down"), "{done:?}");
    fs::write(herd.work("gate"), "end\n").unwrap();
    assert_eq!(herd.ended(), Some(0));
}

#[test]
fn five_in_a_row_under_load_lose_nobody_and_make_no_second_copy() {
    let herd = Herd::new();
    let restless = json!({"restart": {"intensity": 100_000, "delay": "10ms"}, "stop": {"timeout": "1s"}});
    for number in 0..20 {
        herd.conf(&format!("calm-{number}"), &sleeper());
        // A second copy does not get the lock, and says so.
        let script = format!("flock -n lock-{number} sleep 0.0{} || echo double >> double", number % 10);
        herd.conf(&format!("restless-{number}"), &with(sh(&script), restless.clone()));
    }
    let mut herd = herd;
    herd.start();
    for number in 0..20 {
        herd.until_state(&format!("calm-{number}"), "running");
    }
    let pids = |herd: &Herd| (0..20).map(|number| herd.pid_of(&format!("calm-{number}"))).collect::<Vec<_>>();
    let (before, copies) = (pids(&herd), [copy(&herd, "one"), copy(&herd, "two")]);
    let restarts = |herd: &Herd| herd.service("restless-0")["restarts"].as_u64().unwrap();
    let mut last = restarts(&herd);
    for round in 0..5 {
        let done = upgrade(&herd, &copies[round % 2]);
        assert_eq!(done.code, 0, "{done:?}\n{}", herd.log());
        assert_eq!(pids(&herd), before);
        herd.until("restless-0", "restarted", |service| service["restarts"].as_u64().unwrap() > last);
        last = restarts(&herd);
    }
    assert_eq!(herd.lines_now("double"), [""; 0]);
    assert_eq!(herd.end(), Some(0));
}
