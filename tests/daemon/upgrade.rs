//! The daemon's program is replaced in place: the services notice nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::herd::{BINARY, Herd, finish, lives, open_to_others, sh, sleeper, with};

/// Another file with the same program.
fn copy(herd: &Herd, name: &str) -> PathBuf {
    let path = herd.path().join(name);
    // Not by this process: another scenario that forks meanwhile would hold it open for writing (ETXTBSY).
    assert_eq!(finish(Command::new("cp").arg(BINARY).arg(&path)).code, 0);
    open_to_others(&path, 0o755);
    path
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
        let kept = keys.map(|key| (key.to_owned(), one[key].clone()));
        (one["id"].as_str().unwrap().to_owned(), Value::Object(kept.into_iter().collect()))
    };
    document["services"].as_array().unwrap().iter().map(service).collect()
}

#[test]
fn services_keep_their_processes_and_their_counters() {
    let herd = Herd::of([
        ("calm", sleeper()),
        ("marked", sh("trap '' TERM; echo begun >> begun; while :; do read line < /dev/zero; done")),
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
    let (pid, old) = (herd.pid_of("calm"), inode(herd.pid()));
    let next = copy(&herd, "next");
    fs::rename(&next, &own).unwrap();
    herd.done("upgrade");
    assert_ne!(inode(herd.pid()), old);
    assert_eq!((program(herd.pid()), herd.pid_of("calm")), (own, pid));

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
