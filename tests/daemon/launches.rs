//! Launches that fail say which and why.

use std::fs;

use nix::errno::Errno;
use serde_json::{Value, json};

use crate::herd::{Herd, is_root, open_to_others, sleeper, with};

/// One that gives up at once.
fn once(conf: Value) -> Value {
    with(conf, json!({"restart": {"intensity": 0, "exceeded": "fail"}}))
}

fn failed(herd: &Herd, id: &str, stage: &str, errno: Errno, words: &[&str]) {
    let service = herd.until_state(id, "failed");
    let exit = &service["last_exit"];
    let cause = (&exit["cause"], &exit["stage"], &exit["errno"]);
    assert_eq!(cause, (&json!("exec-failed"), &json!(stage), &json!(errno as i32)), "{id}: {service}");
    assert_eq!((&exit["code"], &exit["signal"]), (&Value::Null, &Value::Null), "{id}");
    let start = herd.run(&format!("start {id}"));
    assert_eq!(start.code, 1, "{id}");
    for words in words {
        assert!(service["reason"].as_str().unwrap().contains(words), "{id}: {words}: {service}");
        assert!(start.err.contains(words), "{id}: {words}: {}", start.err);
    }
}

#[test]
fn what_cannot_be_executed_says_which_and_why() {
    let mut herd = Herd::new();
    fs::write(herd.work("plain"), "no program").unwrap();
    fs::write(herd.work("garbage"), [0u8; 64]).unwrap();
    open_to_others(&herd.work("garbage"), 0o755);
    fs::write(herd.work("script"), "#!/no/such/interpreter\n").unwrap();
    open_to_others(&herd.work("script"), 0o755);
    for (id, cmd) in [
        ("missing", "no-such-program"),
        ("missing-path", "./no/such/program"),
        ("plain", "./plain"),
        ("garbage", "./garbage"),
        ("script", "./script"),
        ("directory", "."),
        ("slash", "/"),
    ] {
        herd.conf(id, &once(json!({"cmd": cmd})));
    }
    herd.conf("cwd", &once(with(sleeper(), json!({"cwd": herd.work("gone")}))));
    herd.conf("cwd-file", &once(with(sleeper(), json!({"cwd": herd.work("plain")}))));
    herd.conf("env-file", &once(with(sleeper(), json!({"env_file": "missing.env"}))));
    herd.start();
    let exec = "cannot execute cmd";
    failed(&herd, "missing", "exec", Errno::ENOENT, &[exec, "No such file"]);
    failed(&herd, "missing-path", "exec", Errno::ENOENT, &[exec, "No such file"]);
    failed(&herd, "plain", "exec", Errno::EACCES, &[exec, "Permission denied"]);
    failed(&herd, "garbage", "exec", Errno::ENOEXEC, &[exec, "Exec format error"]);
    failed(&herd, "script", "exec", Errno::ENOENT, &[exec, "No such file"]);
    failed(&herd, "slash", "exec", Errno::EACCES, &[exec, "Permission denied"]);
    failed(&herd, "cwd", "cwd", Errno::ENOENT, &["cannot enter cwd", "No such file"]);
    failed(&herd, "cwd-file", "cwd", Errno::ENOTDIR, &["cannot enter cwd", "Not a directory"]);
    failed(&herd, "env-file", "env_file", Errno::ENOENT, &["cannot read env_file", "No such file"]);
}

#[test]
fn a_pipe_that_nobody_writes_is_no_env_file_and_holds_up_nobody() {
    let mut herd = Herd::new();
    let pipe = herd.fifo("pipe.env");
    // By their ids it is the first one to be launched.
    herd.conf("a", &once(with(sleeper(), json!({"env_file": pipe}))));
    herd.conf("b", &sleeper());
    herd.start();
    herd.until_state("b", "running");
    failed(
        &herd,
        "a",
        "env_file",
        Errno::EINVAL,
        &["cannot read env_file", pipe.to_str().unwrap(), "Invalid argument"],
    );
}

#[test]
fn a_program_that_is_named_says_so_in_the_reason() {
    let herd = Herd::of([
        ("program", once(json!({"cmd": "no-such-program"}))),
        ("directory", once(with(sleeper(), json!({"cwd": "/no/such/directory"})))),
        ("file", once(with(sleeper(), json!({"env_file": "/no/such/file.env"})))),
    ]);
    for (id, named) in
        [("program", "no-such-program"), ("directory", "/no/such/directory"), ("file", "/no/such/file.env")]
    {
        herd.until_state(id, "failed");
        let start = herd.run(&format!("start {id}"));
        assert!(start.err.contains(named), "{id}: {}", start.err);
        assert!(herd.run(&format!("status {id}")).out.contains(named), "{id}");
    }
}

#[test]
fn a_directory_that_vanished_is_tried_again_and_works_once_it_is_back() {
    let mut herd = Herd::new();
    let (cwd, away) = (herd.work("site"), herd.work("site.away"));
    fs::create_dir(&cwd).unwrap();
    let restart = json!({"intensity": 1, "cooldown": "50ms", "max_cooldown": "50ms"});
    herd.conf("web", &with(sleeper(), json!({"cwd": cwd, "restart": restart})));
    herd.start();
    herd.until_state("web", "running");
    fs::rename(&cwd, &away).unwrap();
    nix::sys::signal::kill(herd.pid_of("web"), nix::sys::signal::Signal::SIGKILL).unwrap();
    // It is tried more than once.
    herd.logged("web: cooldown: ", 3);
    let service = herd.until("web", "failed to enter", |service| service["last_exit"]["stage"] == "cwd");
    assert_eq!(service["last_exit"]["errno"], Errno::ENOENT as i32);
    fs::rename(&away, &cwd).unwrap();
    herd.until_state("web", "running");
}

#[test]
fn an_unknown_user_or_limit_refuses_its_service_and_nothing_else() {
    if !is_root("unknown users") {
        return;
    }
    let herd = Herd::of([
        ("user", with(sleeper(), json!({"user": "no-such-user"}))),
        ("day", with(sleeper(), json!({"user": "0day"}))),
        ("group", with(sleeper(), json!({"group": "no-such-group"}))),
        ("limit", with(sleeper(), json!({"limits": {"nofiles": "1"}}))),
        ("umask", with(sleeper(), json!({"umask": "099"}))),
        ("good", with(sleeper(), json!({"user": "nobody", "cwd": "/"}))),
    ]);
    for (id, words) in [
        ("user", "\"no-such-user\""),
        ("day", "\"0day\""),
        ("group", "\"no-such-group\""),
        ("limit", "nofile"),
        ("umask", "umask"),
    ] {
        let service = herd.service(id);
        assert_eq!(service["state"], "invalid", "{id}");
        assert!(service["reason"].as_str().unwrap().contains(words), "{service}");
    }
    herd.until_state("good", "running");
    let status = fs::read_to_string(format!("/proc/{}/status", herd.pid_of("good"))).unwrap();
    assert!(status.contains("\nUid:\t65534\t65534\t65534\t65534\n"), "{status}");
    assert!(status.contains("\nGid:\t65534\t65534\t65534\t65534\n"), "{status}");
}
