//! Which confs run here, and what a broken one does.

use std::fs;

use serde_json::json;

use crate::herd::{Herd, sh, sleeper, with};

#[test]
fn the_original_format_runs_unchanged() {
    let mut herd = Herd::new();
    let cwd = herd.path().join("work");
    let text = r#"{ "name": "Descriptive name of service", "cwd": "CWD", "cmd": "/bin/sh",
  "args": ["-c", "pwd > where; echo \"$@\" > args; exec sleep 100000", "sh", "--argument_to_your_service", "--argument_with_value", "2", "-v"] }
"#;
    herd.file("original.conf", &text.replace("CWD", cwd.to_str().unwrap()));
    herd.start();
    assert_eq!(herd.lines("args", 1), ["--argument_to_your_service --argument_with_value 2 -v"]);
    assert_eq!(herd.lines_now("where"), [cwd.to_str().unwrap()]);
    let service = herd.until_state("original", "running");
    assert_eq!(service["name"], "Descriptive name of service");
    assert_eq!(service["wanted"], "up");
}

#[test]
fn files_of_other_hosts_are_skipped_and_the_closest_file_wins() {
    let mut herd = Herd::new();
    let text = |name: &str| format!(r#"{{"name": "{name}", "cwd": "/", "cmd": "sleep", "args": ["100000"]}}"#);
    for (file, name) in [
        ("elsewhere@otherhost.conf", "x"),
        ("here@WEB1.conf", "x"),
        ("full@web1.example.org.conf", "x"),
        ("list@a,web1.conf", "x"),
        ("glob@web-*,web?.conf", "x"),
        ("both.conf", "everywhere"),
        ("both@web*.conf", "glob"),
        ("both@web1.conf", "named"),
        ("tie@web*.conf", "x"),
        ("tie@*1.conf", "x"),
    ] {
        herd.file(file, &text(name));
    }
    for ignored in [".hidden.conf", "backup.conf~", "notes.txt"] {
        herd.file(ignored, "this is no conf");
    }
    let mut command = herd.command();
    command.env("DHERDER_HOST", "web1.example.org");
    herd.launch(command);
    for id in ["here", "full", "list", "glob", "both"] {
        herd.until_state(id, "running");
    }
    assert_eq!(herd.service("both")["name"], "named");
    let tie = herd.service("tie");
    assert_eq!(tie["state"], "invalid");
    assert!(tie["reason"].as_str().unwrap().contains("expected one file that wins"), "{tie}");
    let elsewhere = herd.service("elsewhere");
    assert_eq!((&elsewhere["state"], &elsewhere["reason"]), (&json!("skipped"), &json!("runs on otherhost only")));
    assert_eq!(herd.document()["services"].as_array().unwrap().len(), 7);
    let start = herd.run("start elsewhere");
    assert_eq!(start.code, 1);
    assert!(start.err.contains("belongs to another host"), "{}", start.err);
}

#[test]
fn a_broken_file_is_explained_and_harms_nobody() {
    let mut herd = Herd::new();
    herd.file("broken.conf", "{\n  \"cmd\": \"sleep\",\n  \"argz\": [\"1\"],\n  \"restart\": { \"policy\": 3 }\n}\n");
    herd.file("torn.conf", "{\"cmd\": \"slee");
    herd.conf("good", &sleeper());
    herd.start();
    herd.until_state("good", "running");
    let broken = herd.service("broken");
    assert_eq!(broken["state"], "invalid");
    let places: Vec<_> =
        broken["conf_problems"].as_array().unwrap().iter().map(|p| (&p["line"], &p["column"])).collect();
    assert_eq!(places, [(&json!(3), &json!(3)), (&json!(4), &json!(26))]);
    assert!(broken["conf_problems"][0]["message"].as_str().unwrap().contains("args"), "{broken}");
    assert_eq!(herd.service("torn")["state"], "invalid");
    assert!(herd.log().contains("broken.conf:3:3: "), "{}", herd.log());

    let start = herd.run("start broken");
    assert_eq!(start.code, 1);
    assert!(start.err.contains("broken.conf:3:3: ") && start.err.contains("broken.conf:4:26: "), "{}", start.err);
    let reload = herd.done("reload");
    assert!(reload.err.contains("broken.conf:3:3: "), "{}", reload.err);
    let check = herd.run("check");
    assert_eq!(check.code, 1);
    assert!(check.out.contains("broken.conf:3:3: "), "{check:?}");
}

#[test]
fn a_file_that_breaks_under_its_service_leaves_the_old_version_running() {
    let herd = Herd::of([("web", with(sleeper(), json!({"name": "first"})))]);
    let first = herd.until_state("web", "running");

    herd.file("web.conf", "{\"cmd\": \"sleep\", \"name\": \"second\",}}");
    let reload = herd.done("reload");
    assert!(reload.err.contains("web.conf:1:"), "{}", reload.err);
    let broken = herd.service("web");
    assert_eq!(
        (&broken["state"], &broken["pid"], &broken["name"]),
        (&json!("running"), &first["pid"], &json!("first"))
    );
    assert!(!broken["conf_problems"].as_array().unwrap().is_empty(), "{broken}");
    assert!(herd.done("status web").out.contains("web.conf:1:"));
    // Even its next run is one of the last good version.
    assert_eq!(herd.done("restart web --settle 0s").code, 0);
    assert_eq!(herd.until_state("web", "running")["name"], "first");

    herd.conf("web", &with(sh("echo second > version; exec sleep 100000"), json!({"name": "second"})));
    assert_eq!(herd.done("reload --json").json()["restart"], json!(["web"]));
    assert_eq!(herd.lines("version", 1), ["second"]);
    let mended = herd.until_state("web", "running");
    assert_eq!((&mended["conf_problems"], &mended["name"]), (&json!([]), &json!("second")));
}

#[test]
fn a_file_that_others_may_write_is_not_run() {
    let mut herd = Herd::new();
    herd.conf("open", &sleeper());
    crate::herd::open_to_others(&herd.confs().join("open.conf"), 0o666);
    herd.conf("good", &sleeper());
    herd.start();
    herd.until_state("good", "running");
    let open = herd.service("open");
    assert_eq!(open["state"], "invalid");
    assert!(open["reason"].as_str().unwrap().contains("writable"), "{open}");
    crate::herd::open_to_others(&herd.confs().join("open.conf"), 0o644);
    assert_eq!(herd.done("reload --json").json()["start"], json!(["open"]));
    herd.until_state("open", "running");
}

#[test]
fn a_missing_conf_directory_is_made() {
    let mut herd = Herd::new();
    fs::remove_dir(herd.confs()).unwrap();
    herd.start();
    assert!(herd.confs().is_dir());
    herd.logged("{\"cmd\": ", 1);
    herd.conf("web", &sleeper());
    herd.done("reload");
    herd.until_state("web", "running");
}
