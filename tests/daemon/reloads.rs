//! What changed confs change, and what the loss of confs does not.

use std::fs;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::herd::{Herd, lives, sh, sleeper, with};

fn problems(herd: &Herd) -> String {
    herd.document()["problems"].as_array().cloned().unwrap_or_default().iter().map(Value::to_string).collect()
}

/// A herd that reads its confs when it is told to, and not before.
fn told<const N: usize>(confs: [(&str, Value); N]) -> Herd {
    let mut herd = Herd::new();
    herd.file("herder.json", "{\"live_reload\": false}");
    confs.iter().for_each(|(id, conf)| herd.conf(id, conf));
    herd.start();
    herd
}

#[test]
fn only_what_changed_is_touched() {
    let herd = told([
        ("adjusted", sleeper()),
        ("disabled", sleeper()),
        ("removed", sleeper()),
        ("restarted", sleeper()),
        ("same", sleeper()),
    ]);
    for id in ["adjusted", "disabled", "removed", "restarted", "same"] {
        herd.until_state(id, "running");
    }
    let pid = |id: &str| herd.service(id)["pid"].clone();
    let before: Vec<_> = ["adjusted", "restarted", "same"].map(pid).into();
    let removed = herd.pid_of("removed");
    herd.conf(
        "adjusted",
        &with(sleeper(), json!({"name": "New name", "restart": {"intensity": 9}, "stop": {"timeout": "3s"}})),
    );
    herd.conf("disabled", &with(sleeper(), json!({"enabled": false})));
    herd.conf("restarted", &with(sleeper(), json!({"env": {"A": "1"}})));
    herd.conf("new", &sleeper());
    let cwd = herd.path().join("work");
    herd.file(
        "same.conf",
        &format!("// the same\n{{\n \"args\": [\"100000\"],\n\"cmd\":\"sleep\", \"cwd\":{cwd:?} }}"),
    );
    herd.remove("removed");

    let plan = json!({"start": ["new"], "stop": ["disabled", "removed"], "restart": ["restarted"], "adjust": ["adjusted"], "unchanged": ["same"]});
    let check = |document: Value| {
        for kind in ["start", "stop", "restart", "adjust", "unchanged"] {
            assert_eq!(document[kind], plan[kind], "{kind}: {document}");
        }
        assert_eq!(document["problems"], json!([]));
    };
    check(herd.done("reload --dry-run --json").json());
    assert_eq!(["adjusted", "restarted", "same"].map(pid), before[..]);
    assert_eq!((herd.service("new"), herd.service("removed")["state"].clone()), (Value::Null, json!("running")));

    check(herd.done("reload --json").json());
    herd.until_state("new", "running");
    let restarted =
        herd.until("restarted", "restarted", |service| service["state"] == "running" && service["pid"] != before[1]);
    assert_eq!(restarted["restarts"], 0, "only what the daemon decides counts");
    herd.until_state("disabled", "stopped");
    assert_eq!(herd.service("disabled")["reason"], "disabled in its conf");
    herd.until("removed", "went", Value::is_null);
    assert!(!lives(removed));
    let adjusted = herd.service("adjusted");
    assert_eq!(
        (&adjusted["pid"], &adjusted["name"], &adjusted["window"]["intensity"]),
        (&before[0], &json!("New name"), &json!(9))
    );
    assert_eq!(pid("same"), before[2]);
    assert_eq!(herd.run("status removed").code, 4);

    let again = herd.done("reload").out;
    assert_eq!(again, "unchanged  5\n");
}

#[test]
fn enabled_is_followed_live() {
    let herd = told([("web", with(sleeper(), json!({"enabled": false})))]);
    assert_eq!(
        (&herd.service("web")["state"], &herd.service("web")["reason"]),
        (&json!("stopped"), &json!("disabled in its conf"))
    );
    herd.done("start web --settle 10ms");
    herd.done("reload");
    assert_eq!(herd.service("web")["state"], "running", "one that was started by hand stays");
    herd.done("stop web");
    herd.conf("web", &sleeper());
    assert_eq!(herd.done("reload --json").json()["start"], json!(["web"]));
    herd.until_state("web", "running");
    herd.conf("web", &with(sleeper(), json!({"enabled": false})));
    assert_eq!(herd.done("reload --json").json()["stop"], json!(["web"]));
    herd.until_state("web", "stopped");
}

#[test]
fn an_empty_directory_stops_nothing_until_that_is_confirmed() {
    let herd = told([("a", sleeper()), ("b", sleeper())]);
    herd.until_state("a", "running");
    herd.until_state("b", "running");
    herd.remove("a");
    herd.remove("b");
    let reload = herd.done("reload --json").json();
    assert_eq!((&reload["stop"], &reload["unchanged"]), (&json!([]), &json!(["a", "b"])));
    assert!(problems(&herd).contains("--prune"), "{}", problems(&herd));
    assert!(herd.done("status").out.contains("--prune"), "people are told, too");
    assert_eq!(herd.service("a")["state"], "running");
    let pid = herd.pid_of("a");
    assert_eq!(herd.done("reload --prune --json").json()["stop"], json!(["a", "b"]));
    herd.until("a", "went", Value::is_null);
    herd.until("b", "went", Value::is_null);
    assert!(!lives(pid));
    assert_eq!(problems(&herd), "");
}

#[test]
fn a_directory_that_disappears_and_comes_back() {
    let mut herd = told([("web", sleeper())]);
    let running = herd.until_state("web", "running");
    let away = herd.path().join("away");
    fs::rename(herd.confs(), &away).unwrap();
    for line in ["reload", "reload --prune", "reload --dry-run"] {
        let reload = herd.run(line);
        assert_eq!(reload.code, 1, "{line}: {reload:?}");
        assert!(reload.err.contains("No such file"), "{}", reload.err);
    }
    assert!(problems(&herd).contains("No such file"), "{}", problems(&herd));
    assert!(herd.done("status").out.contains("No such file"));
    assert_eq!(herd.service("web")["pid"], running["pid"]);

    // As a file system that is not mounted looks.
    fs::create_dir(herd.confs()).unwrap();
    herd.done("reload");
    assert_eq!(herd.service("web")["pid"], running["pid"]);
    assert!(problems(&herd).contains("web"), "{}", problems(&herd));

    fs::remove_dir(herd.confs()).unwrap();
    fs::rename(&away, herd.confs()).unwrap();
    herd.conf("new", &sleeper());
    herd.done("reload");
    assert_eq!((herd.service("web")["pid"].clone(), problems(&herd)), (running["pid"].clone(), String::new()));
    herd.until_state("new", "running");
    assert_eq!(herd.end(), Some(0));
}

#[test]
fn a_conf_that_comes_back_while_its_service_ends_is_kept() {
    let slow = sh("trap 'sleep 0.4; exit 0' TERM; echo up >> up; while :; do sleep 100000 & wait; done");
    let herd =
        told([("back", slow.clone()), ("disabled", slow.clone()), ("broken", slow.clone()), ("other", sleeper())]);
    herd.lines("up", 3);
    for id in ["back", "disabled", "broken"] {
        herd.remove(id);
    }
    herd.done("reload");
    for id in ["back", "disabled", "broken"] {
        let service = herd.service(id);
        assert_eq!((&service["state"], &service["wanted"]), (&json!("stopping"), &json!("down")), "{service}");
        assert!(service["reason"].as_str().unwrap().contains("its conf is gone"), "{service}");
    }
    herd.conf("back", &slow);
    herd.conf("disabled", &with(slow, json!({"enabled": false})));
    herd.file("broken.conf", "{");
    herd.done("reload");
    herd.lines("up", 4);
    herd.until_state("back", "running");
    herd.until_state("disabled", "stopped");
    herd.until_state("broken", "invalid");
}

#[test]
fn broken_settings_start_nothing_and_stop_nothing() {
    let herd = told([("web", sleeper())]);
    let pid = herd.until_state("web", "running")["pid"].clone();
    herd.file("herder.json", "{\"envv\": {}}");
    herd.conf("new", &sleeper());
    let reload = herd.done("reload");
    assert!(reload.err.contains("herder.json:1:2: ") && reload.err.contains("env"), "{}", reload.err);
    assert_eq!(
        (herd.service("web")["pid"].clone(), herd.service("new")["state"].clone()),
        (pid.clone(), json!("invalid"))
    );
    herd.file("herder.json", "{\"defaults\": {\"stop\": {\"timeout\": \"4s\"}}}");
    herd.done("reload");
    herd.until_state("new", "running");
    assert_eq!(herd.service("web")["pid"], pid);
}

#[test]
fn a_changed_conf_is_known_to_the_next_herder_even_if_its_file_is_broken() {
    let herd = told([("web", sleeper())]);
    let runs =
        |before: &Value| herd.until("web", "runs anew", |now| now["state"] == "running" && now["pid"] != *before);
    let first = runs(&Value::Null);
    herd.conf("web", &with(sleeper(), json!({"args": ["200000"]})));
    herd.done("reload");
    let changed = runs(&first["pid"]);
    herd.file("web.conf", "{");
    kill(herd.herder(), Signal::SIGKILL).unwrap();
    herd.logged("took over 1 services", 1);
    kill(herd.pid_of("web"), Signal::SIGKILL).unwrap();
    let again = runs(&changed["pid"]);
    let command = fs::read_to_string(format!("/proc/{}/cmdline", again["pid"])).unwrap();
    assert!(command.contains("200000"), "{command:?}");
}

#[test]
fn so_is_one_whose_change_changed_nothing_at_once() {
    for dead in ["herder", "both"] {
        let mut herd = told([("named", sleeper()), ("idle", sleeper())]);
        for id in ["named", "idle"] {
            herd.until_state(id, "running");
        }
        herd.conf("idle", &with(sleeper(), json!({"enabled": false})));
        herd.done("reload");
        herd.until_state("idle", "stopped");
        // Nothing of either happens but that the conf is another one.
        herd.conf("named", &with(sleeper(), json!({"name": "New name"})));
        herd.conf("idle", &with(sh("echo new >> runs; exec sleep 100000"), json!({"enabled": false})));
        herd.done("reload");
        herd.done("stop idle");
        for id in ["named", "idle"] {
            herd.file(&format!("{id}.conf"), "{");
        }
        if dead == "herder" {
            herd.kill_herder();
        } else {
            herd.kill_all();
            herd.start();
        }
        assert_eq!(herd.service("named")["name"], "New name", "{dead}");
        herd.done("start idle --settle 10ms");
        assert_eq!(herd.lines("runs", 1), ["new"], "{dead}");
    }
}

#[test]
fn a_stop_holds_until_a_changed_conf_that_concerns_the_process() {
    let herd = told([("web", sh("echo old >> runs; exec sleep 100000"))]);
    herd.lines("runs", 1);
    herd.done("stop web");
    herd.conf("web", &with(sh("echo old >> runs; exec sleep 100000"), json!({"name": "Web"})));
    assert_eq!(herd.done("reload").out, "adjust     web\nunchanged  0\n");
    assert_eq!(herd.service("web")["reason"], "stopped by an operator");
    herd.logged("web: adjusted to its changed conf", 1);
    herd.conf("web", &sh("echo new >> runs; exec sleep 100000"));
    assert_eq!(herd.done("reload").out, "start      web\nunchanged  0\n");
    assert_eq!(herd.lines("runs", 2), ["old", "new"]);
}
