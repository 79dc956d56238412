//! `logs`: the last lines, with a daemon and without one.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::herd::{BINARY, Done, Herd, finish, is_root, is_there, sh, sleeper, with};

/// A herd that no daemon runs on, with confs of these names and a log of those that have one.
pub(crate) fn silent<const N: usize>(services: [(&str, Option<&str>); N]) -> Herd {
    let herd = Herd::new();
    for (id, text) in services {
        herd.conf(id, &sleeper());
        if let Some(text) = text {
            write(&herd, id, text);
        }
    }
    herd
}

/// A file of a service's logs.
pub(crate) fn log(herd: &Herd, id: &str, name: &str) -> PathBuf {
    let directory = herd.state().join("logs").join(id);
    fs::create_dir_all(&directory).unwrap();
    directory.join(name)
}

/// Appends to a service's log.
pub(crate) fn write(herd: &Herd, id: &str, text: &str) {
    let mut file = File::options().append(true).create(true).open(log(herd, id, "current.log")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn shown(herd: &Herd, line: &str) -> String {
    let done = herd.done(line);
    assert_eq!(done.err, "", "{line}");
    done.out
}

#[test]
fn last_lines_are_shown_with_a_daemon_and_without_one() {
    let script = "seq -f 'line %g' 12; echo error >&2; exec sleep 100000";
    let mut herd = Herd::new();
    herd.conf("web", &sh(&format!("{script} && true")));
    herd.conf("apart", &with(sh(script), json!({"logs": {"stderr": "separate"}})));
    herd.conf("quiet", &sleeper());
    herd.file("away@somewhere-else.conf", &sleeper().to_string());
    herd.start();
    for (id, file, lines) in [("web", "current.log", 13), ("apart", "current.log", 12), ("apart", "stderr.log", 1)] {
        herd.until_state(id, "running");
        let path = herd.state().join("logs").join(id);
        let whole =
            || fs::read_to_string(path.join(file)).is_ok_and(|text| text.lines().count() == lines).then_some(());
        crate::waiting::until(&path, whole).unwrap();
    }
    for daemon in ["up", "down"] {
        assert_eq!(shown(&herd, "logs web -n 2"), "line 12\nerror\n", "{daemon}");
        assert_eq!(shown(&herd, "logs web"), shown(&herd, "logs --lines 10 w?b"), "{daemon}");
        assert_eq!(shown(&herd, "logs web").lines().count(), 10, "{daemon}");
        assert_eq!(shown(&herd, "logs web -n all").lines().count(), 13, "{daemon}");
        assert_eq!(shown(&herd, "logs web -n 0"), "", "{daemon}");
        assert_eq!(shown(&herd, "logs apart -n 1"), "line 12\n", "{daemon}");
        assert_eq!(shown(&herd, "logs apart --stderr"), "error\n", "{daemon}");
        assert_eq!(shown(&herd, "logs apart web -n1"), "apart | line 12\nweb   | error\n", "{daemon}");
        // Who has written nothing is nobody's business where a glob means it.
        assert_eq!(shown(&herd, "logs * -n1"), "apart | line 12\nweb   | error\n", "{daemon}");
        for (line, note) in [
            ("logs quiet", "daemonherder: quiet: nothing is in its log here: it has written nothing"),
            ("logs away", "daemonherder: away: nothing is in its log here"),
            ("logs web --stderr", "daemonherder: web: nothing of its standard error is kept apart"),
        ] {
            let Done { code, out, err } = herd.run(line);
            assert!(code == 0 && out.is_empty() && err.starts_with(note), "{daemon}: {line}: {code} {out} {err}");
        }
        for (line, said) in [
            ("logs wbe", "daemonherder: no such service: wbe (did you mean web?)\n"),
            ("logs web nobody", "daemonherder: no such service: nobody\n"),
            ("logs x*", "daemonherder: no such service: x*\n"),
            ("logs ../../confs", "daemonherder: no such service: ../../confs\n"),
        ] {
            let Done { code, out, err } = herd.run(line);
            assert_eq!((code, out.as_str(), err.as_str()), (4, "", said), "{daemon}: {line}");
        }
        if daemon == "up" {
            assert_eq!(herd.end(), Some(0));
        }
    }
    for line in ["logs", "logs web -n x", "logs web -n -1", "logs web --all"] {
        assert_eq!(herd.run(line).code, 2, "{line}");
    }
    // What is left of a service without a conf is found by its id, and by no glob.
    herd.remove("web");
    assert_eq!(shown(&herd, "logs web -n1"), "error\n");
    assert_eq!(herd.run("logs w*").code, 4);
}

#[test]
fn a_service_that_only_the_daemon_knows_is_no_unknown_one() {
    let herd = Herd::of([("web", sleeper()), ("other", sleeper())]);
    herd.until_state("web", "running");
    herd.remove("web");
    fs::remove_dir_all(herd.state().join("logs/web")).unwrap();
    let done = herd.run("logs web");
    assert!(done.code == 0 && done.err.starts_with("daemonherder: web: nothing is in its log here"), "{done:?}");
}

#[test]
fn old_files_are_a_part_of_the_log_compressed_or_not() {
    let herd = silent([("web", Some("5\n6"))]);
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(b"1\n2\n").unwrap();
    fs::write(log(&herd, "web", "20260101T000000.000000Z-1.log.gz"), gz.finish().unwrap()).unwrap();
    fs::write(log(&herd, "web", "20260101T000000.000000Z-2.log"), "3\n4\n").unwrap();
    fs::write(log(&herd, "web", "20260101T000000.000000Z-2.stderr.log"), "error\n").unwrap();
    fs::write(log(&herd, "web", "20260101T000000.000000Z-2.log.gz.part"), "half of it").unwrap();
    for (line, expected) in [
        ("logs web", "1\n2\n3\n4\n5\n6"),
        ("logs web -n 5", "2\n3\n4\n5\n6"),
        ("logs web -n 3", "4\n5\n6"),
        ("logs web -n all --stderr", "error\n"),
    ] {
        assert_eq!(shown(&herd, line), expected, "{line}");
    }
    // What can't be read is told, and the rest is shown.
    fs::write(log(&herd, "web", "20260101T000000.000000Z-1.log.gz"), "no gzip").unwrap();
    let done = herd.run("logs web");
    assert_eq!((done.code, done.out.as_str()), (1, "3\n4\n5\n6"));
    assert!(done.err.starts_with("daemonherder: cannot read ") && done.err.contains("-1.log.gz: "), "{done:?}");
}

#[test]
fn the_end_of_ten_gibibytes_is_shown_at_once() {
    let herd = silent([("web", Some(""))]);
    let file = File::options().write(true).open(log(&herd, "web", "current.log")).unwrap();
    file.write_all_at(b"\nthe\nend\n", 10 << 30).unwrap();
    let began = Instant::now();
    assert_eq!(shown(&herd, "logs web -n 2"), "the\nend\n");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // A line without an end is not shown from its beginning.
    let done = herd.run("logs web -n 3");
    assert_eq!((done.code, done.out.len()), (0, 3 << 20));
    assert!(done.err.starts_with("daemonherder: web: lines of more than 1 MiB"), "{}", done.err);
}

#[test]
fn a_log_that_is_no_file_is_not_read() {
    let herd = silent([("web", None), ("db", Some("fine\n"))]);
    std::os::unix::fs::symlink(herd.confs().join("web.conf"), log(&herd, "web", "current.log")).unwrap();
    let done = herd.run("logs web db");
    assert_eq!((done.code, done.out.as_str()), (1, "db  | fine\n"));
    assert!(done.err.contains("web/current.log: it is no regular file"), "{done:?}");
    fs::remove_file(log(&herd, "web", "current.log")).unwrap();
    nix::unistd::mkfifo(&log(&herd, "web", "current.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(herd.run("logs web").code, 1);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let line = "0123456789abcdef\n";
    let herd = silent([("web", Some(&line.repeat(100_000))), ("db", Some(&line.repeat(100_000)))]);
    for ids in ["web", "web db"] {
        // The shell's own exit code is that of the last one in the pipe; the first one's is on fd 3.
        let script = format!("{{ {BINARY} logs {ids} -n all; echo $? >&3; }} 3>&2 | head -n 1");
        let mut command = std::process::Command::new("/bin/sh");
        herd.place(command.args(["-c", &script]));
        let done = finish(&mut command);
        assert_eq!(done.err, "0\n", "{ids}: {done:?}");
        assert!(done.out.ends_with(line) && done.out.lines().count() == 1, "{ids}: {done:?}");
    }
}

#[test]
fn a_terminal_gets_colours_and_no_other_command() {
    if !is_there("script", "logs on a terminal") {
        return;
    }
    let herd = silent([("web", Some("\x1b[31mred\x1b[m \x1b[2J\r\n")), ("db", Some("plain\n"))]);
    let on_a_terminal = |line: &str, no_color: &str| {
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &format!("{BINARY} {line}"), "/dev/null"]);
        herd.place(&mut script);
        finish(script.env("NO_COLOR", no_color).env("TERM", "xterm")).out
    };
    assert_eq!(on_a_terminal("logs web", ""), "\x1b[31mred\x1b[m \\x1b[2J\r\n");
    assert_eq!(on_a_terminal("logs web", "1"), "red \\x1b[2J\r\n");
    let both = "\x1b[36mdb  | \x1b[0mplain\r\n\x1b[33mweb | \x1b[0m\x1b[31mred\x1b[m \\x1b[2J\x1b[0m\r\n";
    assert_eq!(on_a_terminal("logs db web", ""), both);
    assert_eq!(on_a_terminal("logs db web", "1"), "db  | plain\r\nweb | red \\x1b[2J\r\n");
    // And whoever reads a pipe gets what was written.
    assert_eq!(shown(&herd, "logs web"), "\x1b[31mred\x1b[m \x1b[2J\r\n");
}

#[test]
fn who_may_not_read_the_files_gets_them_from_the_daemon() {
    if !is_root("logs for a group") {
        return;
    }
    let mut herd = Herd::new();
    herd.file("herder.json", "{\"control\": {\"group\": \"daemon\"}}");
    let script = "seq 12; echo error >&2; exec sleep 100000";
    herd.conf("web", &with(sh(script), json!({"logs": {"stderr": "separate"}})));
    herd.conf("quiet", &sleeper());
    herd.start();
    herd.until_state("web", "running");
    let logs = herd.state().join("logs/web");
    let written = || fs::read_to_string(logs.join("stderr.log")).is_ok_and(|text| text == "error\n").then_some(());
    crate::waiting::until(&logs, written).unwrap();
    let binary = herd.public_binary();
    let group = fs::read_to_string("/etc/group").unwrap();
    let gid: u32 =
        group.lines().find_map(|line| line.strip_prefix("daemon:x:")?.split(':').next()?.parse().ok()).unwrap();
    let by = |gid: u32, line: &str| {
        let mut command = std::process::Command::new(&binary);
        command.env_clear().env("HOME", "/").arg("--config-dir").arg(herd.confs()).arg("--state-dir").arg(herd.state());
        finish(command.args(line.split_whitespace()).current_dir("/").uid(65534).gid(gid))
    };
    for (line, expected) in [
        ("logs web -n 2", "11\n12\n"),
        ("logs w*", "3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n"),
        ("logs web --stderr", "error\n"),
        ("logs web quiet -n 1", "web   | 12\n"),
    ] {
        let done = by(gid, line);
        assert_eq!((done.code, done.out.as_str()), (0, expected), "{line}: {done:?}");
    }
    assert_eq!(by(gid, "logs web -n all").out.lines().count(), 12);
    assert_eq!(by(gid, "logs nobody").code, 4);
    for (gid, line, why) in
        [(gid, "logs web -f", "cannot follow logs in "), (65534, "logs web", "not permitted to use ")]
    {
        let done = by(gid, line);
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{line}: {done:?}");
        assert!(done.err.starts_with(&format!("daemonherder: {why}")), "{done:?}");
    }
}
