//! The lock and the state directory.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::herd::{Herd, finish, is_root, open_to_others, sleeper};

#[test]
fn a_second_daemon_on_the_same_state_says_who_runs() {
    let herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    let before = herd.pid_of("web");
    let second = finish(&mut herd.command());
    assert_eq!(second.code, 1);
    assert_eq!(second.err, format!("daemonherder: already running (pid {})\n", herd.pid()));
    assert_eq!(herd.pid_of("web"), before);
}

#[test]
fn a_lock_ends_with_its_daemon_however_that_ends() {
    let mut herd = Herd::of([]);
    herd.kill_all();
    assert_eq!(herd.run("status").code, 3);
    herd.conf("web", &sleeper());
    herd.start();
    herd.until_state("web", "running");
}

#[test]
fn the_state_directory_is_for_its_owner_only() {
    let herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    let mode = |path: &str| herd.state().join(path).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode(""), mode("control.sock"), mode("logs"), mode("runs")), (0o700, 0o600, 0o700, 0o700));
    for file in ["lock", "daemon.log", "logs/web/current.log"] {
        assert_eq!(mode(file) & 0o077, 0, "{file}");
    }
}

#[test]
fn a_torn_memory_costs_the_herds_number_and_nothing_else() {
    let mut herd = Herd::of([("web", sleeper())]);
    // The first part of a run's id, which the state directory remembers.
    let number = |herd: &Herd| {
        let service = herd.until_state("web", "running");
        let (number, _) = service["run"].as_str().unwrap().split_once('-').unwrap();
        number.to_owned()
    };
    let memory = herd.state().join("runs/herd.json");
    let mut last = number(&herd);
    for torn in [false, true] {
        assert_eq!(herd.end(), Some(0));
        let mut whole = fs::read(&memory).unwrap();
        whole.truncate(if torn { whole.len() / 2 } else { 0 });
        fs::write(&memory, whole).unwrap();
        herd.start();
        let new = number(&herd);
        assert_ne!(new, last, "torn {torn}");
        last = new;
    }
    // It is whole again, and remembered as any other.
    assert_eq!(herd.end(), Some(0));
    herd.start();
    assert_eq!(number(&herd), last);
}

#[test]
fn a_state_directory_of_others_is_refused() {
    let mut herd = Herd::of([]);
    herd.end();
    let refused = |change: &mut dyn FnMut(&mut std::process::Command), words: &str| {
        let mut command = herd.command();
        change(&mut command);
        let done = finish(&mut command);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.err.starts_with("daemonherder: ") && done.err.contains(words), "{words}: {}", done.err);
        assert!(done.err.contains("--state-dir"), "{}", done.err);
    };
    let other = herd.path().join("other");
    fs::create_dir(&other).unwrap();
    refused(&mut |command| _ = command.env("DHERDER_CONFIG_DIR", &other), "belongs to the conf directory");
    refused(&mut |command| _ = command.env("DHERDER_HOST", "another"), "belongs to the host");
    open_to_others(&herd.state(), 0o750);
    refused(&mut |_| {}, "open to others");
    open_to_others(&herd.state(), 0o700);
    if is_root("a state directory of another owner") {
        std::os::unix::fs::chown(herd.state(), Some(65534), None).unwrap();
        refused(&mut |_| {}, "belongs to uid 65534");
        std::os::unix::fs::chown(herd.state(), Some(0), None).unwrap();
    }
    let long = herd.path().join("x".repeat(110));
    refused(&mut |command| _ = command.env("DHERDER_STATE_DIR", &long), "socket");
    herd.start();
}

#[test]
fn a_link_to_the_conf_directory_is_the_same_directory() {
    let mut herd = Herd::of([]);
    herd.end();
    let link = herd.path().join("link");
    std::os::unix::fs::symlink(herd.confs(), &link).unwrap();
    let mut command = herd.command();
    command.env("DHERDER_CONFIG_DIR", link);
    herd.launch(command);
}

#[test]
fn without_overrides_everything_is_in_the_home() {
    let herd = Herd::new();
    let confs = herd.path().join("home/.dherder");
    fs::create_dir(&confs).unwrap();
    let verb = |line: &str| {
        let mut command = herd.command();
        command
            .env_remove("DHERDER_CONFIG_DIR")
            .env_remove("DHERDER_STATE_DIR")
            .env("DHERDER_HOST", "web1.example.org");
        finish(command.args(line.split_whitespace()))
    };
    assert_eq!(verb("run --detach").code, 0);
    assert!(herd.path().join("home/.local/state/dherder/web1/control.sock").exists());
    assert_eq!(verb("status").code, 0);
    assert_eq!(verb("shutdown").code, 0);
}
