//! Exit codes and output of the verbs at a real daemon.

use serde_json::json;

use crate::herd::{Herd, finish, sh, sleeper, with};

#[test]
fn exit_codes_are_those_of_the_interface() {
    let mut herd = Herd::new();
    for line in ["status", "start web", "stop web", "restart --all", "reload", "upgrade", "shutdown"] {
        let done = herd.run(line);
        assert_eq!((done.code, done.out.as_str()), (3, ""), "{line}: {done:?}");
        assert!(done.err.starts_with("daemonherder: no daemon is running"), "{done:?}");
    }
    herd.conf("web", &sleeper());
    herd.conf(
        "dies",
        &with(sh("echo the last word; exit 3"), json!({"restart": {"intensity": 0, "exceeded": "fail"}})),
    );
    herd.conf("job", &with(sh("exit 0"), json!({"restart": "never"})));
    herd.start();
    herd.until_state("web", "running");
    herd.until_state("dies", "failed");
    herd.until_state("job", "exited");
    for (line, code) in [
        ("status", 0),
        ("status web", 0),
        ("status job", 0),
        ("status dies", 1),
        ("status web dies --json", 1),
        ("status nobody", 4),
        ("start web", 0),
        ("start web --settle 1ms", 0),
        ("start dies", 1),
        ("start job", 0),
        ("start nobody", 4),
        ("restart web --settle 1ms", 0),
        ("restart web nobody", 4),
        ("stop web", 0),
        ("stop web", 0),
        ("stop nobody*", 4),
        ("status web", 1),
        ("start w* --settle 1ms", 0),
        ("reload", 0),
        ("check", 0),
        ("schema", 0),
        ("completions bash", 0),
        ("man", 0),
        ("add", 2),
        ("add web", 2),
        ("add we@b -- sleep", 2),
        ("add web --env =1 -- sleep", 2),
        ("add web -- sleep", 1),
        ("remove nobody", 4),
        ("remove w*", 2),
        ("--version", 0),
        ("--help", 0),
        ("explode", 2),
        ("start", 2),
        ("stop --all web", 2),
        ("status --jsno", 2),
        ("run --detach", 0),
    ] {
        let done = herd.run(line);
        assert_eq!(done.code, code, "{line}: {done:?}");
        if code > 1 {
            assert!(done.out.is_empty() && done.err.starts_with("daemonherder: "), "{line}: {done:?}");
        }
    }
    let dies = herd.run("start dies");
    assert!(dies.err.contains("exited with code 3") && dies.err.contains("    dies | the last word"), "{dies:?}");
}

#[test]
fn json_is_one_document_and_nothing_else() {
    let mut herd = Herd::of([("web", sleeper())]);
    herd.file("broken.conf", "{");
    for line in ["status --json", "status web --json", "reload --dry-run --json", "reload --json", "check --json"] {
        let done = herd.run(line);
        done.json();
        assert!(!done.out.contains('\x1b'), "{line}");
    }
    herd.file("broken.conf", "{\"cmd\": \"x\", \"enabled\": false}");
    assert_eq!(herd.done("check --json").code, 0);
    herd.end();
    let done = herd.run("status --json");
    assert_eq!((done.code, done.out.as_str()), (3, ""));
}

#[test]
fn there_is_no_colour_where_nobody_sees_it() {
    let herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    // Not even with NO_COLOR unset, for this is no terminal.
    let done = finish(herd.command().env_remove("NO_COLOR").env("TERM", "xterm-256color").arg("status"));
    assert!(done.code == 0 && !done.out.contains('\x1b'), "{done:?}");
    if !crate::herd::is_there("script", "colour on a terminal") {
        return;
    }
    let on_a_terminal = |no_color: &str| {
        let mut command = herd.command();
        let line = format!("{} status", crate::herd::BINARY);
        // script(1) gives its command a terminal.
        let mut script = std::process::Command::new("script");
        script
            .args(["-qec", &line, "/dev/null"])
            .env_clear()
            .envs(command.env("NO_COLOR", no_color).env("TERM", "xterm").get_envs().filter_map(|(n, v)| Some((n, v?))));
        finish(&mut script).out
    };
    assert!(on_a_terminal("").contains("\x1b["), "{:?}", on_a_terminal(""));
    assert!(!on_a_terminal("1").contains("\x1b["), "{:?}", on_a_terminal("1"));
}

#[test]
fn the_status_of_one_service_tells_everything() {
    let script = "echo line one; echo line two >&2; [ -e up ] || { echo >> up; exit 4; }; exec sleep 100000";
    let herd = Herd::of([("web", with(sh(script), json!({"name": "The web"})))]);
    herd.until("web", "came back", |service| service["restarts"] == 1 && service["state"] == "running");
    let out = herd.done("status web").out;
    for words in
        ["The web", "running since ", "exited with code 4", "web.conf", "line one\nline two\nline one\nline two\n"]
    {
        assert!(out.contains(words), "{words}: {out}");
    }
    let pid = herd.pid_of("web").to_string();
    assert!(out.contains(&pid), "{out}");
}
