//! The control socket, as anything that speaks HTTP sees it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::herd::{Herd, finish, is_root, open_to_others, sleeper};

#[test]
fn it_answers_as_the_interface_says() {
    let herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    let (status, health) = herd.ask("GET", "/healthz", "");
    assert_eq!(status, 200, "{health}");
    let (status, services) = herd.ask("GET", "/v1/services", "");
    let document: Value = serde_json::from_str(&services).unwrap();
    assert_eq!((status, &document["version"], &document["services"][0]["id"]), (200, &json!(1), &json!("web")));
    assert_eq!(document["daemon"]["pid"], json!(herd.pid().as_raw()));
    let keys: Vec<_> = document["services"][0].as_object().unwrap().keys().cloned().collect();
    let expected = "id name state wanted reason since pid run uptime_ms restarts window next_start_ms last_exit conf \
                    conf_problems tree logs";
    assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());

    let (status, stopped) = herd.ask("POST", "/v1/services/web/stop", "");
    assert_eq!(status, 200, "{stopped}");
    assert_eq!(herd.service("web")["state"], "stopped");
    let (status, started) = herd.ask("POST", "/v1/services/web/start", "{\"settle_ms\": 1}");
    assert_eq!(status, 200, "{started}");
    assert_eq!(herd.service("web")["state"], "running");
}

#[test]
fn what_it_refuses_is_a_problem_document() {
    let herd = Herd::of([("web", sleeper())]);
    for (method, path, body, expected) in [
        ("GET", "/v1/services/nobody", "", 404),
        ("GET", "/nowhere", "", 404),
        ("DELETE", "/v1/services", "", 405),
        ("POST", "/v1/services/web/start", "{\"unknown\": 1}", 400),
        ("POST", "/v1/services/web/start", "{", 400),
        ("POST", "/v1/services/web/explode", "", 404),
        ("GET", "/v1/services?x=1", "", 400),
    ] {
        let answer = herd.exchange(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {expected} ")), "{method} {path}: {answer}");
        assert!(head.to_lowercase().contains("content-type: application/problem+json"), "{head}");
        let problem: Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["status"], json!(expected), "{problem}");
    }
    let answer = herd.exchange("POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let answer = herd.exchange("not http at all\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(), "{answer}");
    // Whatever was said to it, it goes on.
    herd.until_state("web", "running");
}

#[test]
fn it_is_there_before_the_first_program_runs() {
    let mut herd = Herd::new();
    let look = json!({"cmd": "test", "args": ["-S", herd.socket()], "restart": "never"});
    // So many that the first ones have long looked by the time that the last ones are launched.
    let ids: Vec<_> = (0..100).map(|number| format!("s{number:02}")).collect();
    for id in &ids {
        herd.conf(id, &look);
    }
    herd.start();
    for id in &ids {
        let service = herd.until(id, "looked for the socket", |service| !service["last_exit"].is_null());
        assert_eq!(service["last_exit"]["code"], 0, "{id}: {service}");
    }
}

#[test]
fn it_opens_to_its_owner_and_root_only() {
    if !is_root("other users at the socket") {
        return;
    }
    let herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    let binary = herd.public_binary();
    for (path, mode) in [(herd.state(), 0o711), (herd.socket(), 0o666)] {
        // By the modes anybody could come in.
        open_to_others(&path, mode);
    }
    for line in ["status", "stop web", "shutdown"] {
        let mut command = std::process::Command::new(&binary);
        command.env_clear().env("HOME", "/").arg("--config-dir").arg(herd.confs()).arg("--state-dir").arg(herd.state());
        let done = finish(command.args(line.split_whitespace()).current_dir("/").uid(65534).gid(65534));
        assert_eq!(done.code, 1, "{line}: {done:?}");
        assert!(done.err.contains("user 65534"), "{line}: {done:?}");
        assert_eq!(done.out, "", "{line}");
    }
    assert_eq!(herd.service("web")["state"], "running");
}

#[test]
fn a_group_may_be_let_in() {
    if !is_root("a group at the socket") {
        return;
    }
    let mut herd = Herd::new();
    herd.file("herder.json", "{\"control\": {\"group\": \"daemon\"}}");
    herd.conf("web", &sleeper());
    herd.start();
    herd.until_state("web", "running");
    let group = fs::read_to_string("/etc/group").unwrap();
    let gid: u32 =
        group.lines().find_map(|line| line.strip_prefix("daemon:x:")?.split(':').next()?.parse().ok()).unwrap();
    let binary = herd.public_binary();
    for (gid, code) in [(gid, 0), (65534, 1)] {
        let mut command = std::process::Command::new(&binary);
        command.env_clear().env("HOME", "/").arg("--config-dir").arg(herd.confs()).arg("--state-dir").arg(herd.state());
        let done = finish(command.arg("status").current_dir("/").uid(65534).gid(gid));
        assert_eq!(done.code, code, "{gid}: {done:?}");
    }
    // It may have the daemon's program replaced, but not say by which.
    let mut upgrade = std::process::Command::new(&binary);
    upgrade.env_clear().env("HOME", "/").arg("--config-dir").arg(herd.confs()).arg("--state-dir").arg(herd.state());
    upgrade.arg("upgrade").current_dir("/").uid(65534).gid(gid);
    let done = finish(&mut upgrade);
    assert_eq!(done.code, 0, "{done:?}");
    let done = finish(upgrade.arg(&binary));
    assert!(done.code == 1 && done.err.contains("only the daemon's user and root may name the file"), "{done:?}");
    // And the daemon knows its own state directory again.
    assert_eq!(herd.end(), Some(0));
    herd.start();
}

#[test]
fn for_a_group_that_nobody_knows_nobody_is_let_in() {
    let mut herd = Herd::new();
    herd.file("herder.json", "{\"control\": {\"group\": \"no-such-group\"}}");
    herd.conf("web", &sleeper());
    herd.start();
    // What answers has its modes for good.
    herd.until_state("web", "running");
    let lines = herd.logged("control.group", 1);
    assert!(lines.iter().any(|line| line.contains("ERROR") && line.contains("no-such-group")), "{lines:?}");
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode(&herd.socket()), mode(&herd.state())), (0o600, 0o700));
}
