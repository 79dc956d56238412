//! Every verb as it is typed: what it asks, what it shows, its exit code.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

mod fake_herder;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use daemonherder::cli::{self, Daemon, Exit, Role, Style, Terminal};
use daemonherder::front::Access;
use fake_herder::{Door, Told, daemon};
use serde_json::Value;

/// What a verb did.
struct Done {
    exit: Exit,
    out: String,
    err: String,
}

/// Types a line at a daemon's socket. With `--json`, stdout is one document and nothing else, whatever the verb.
fn typed(socket: PathBuf, line: &str) -> Done {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal { out: &mut out, err: &mut err, style: Style::PLAIN };
    let words = std::iter::once("daemonherder").chain(line.split_whitespace());
    let exit = match cli::parse(words, &mut terminal) {
        Ok(Role::Client(_, verb)) => cli::run(&verb, &Daemon { socket, confs: "/confs".into() }, &mut terminal),
        other => panic!("{line}: {other:?}"),
    };
    let done = Done { exit, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() };
    assert!(!done.out.contains('\x1b') && !done.err.contains('\x1b'), "{line}");
    for complaint in done.err.lines().filter(|line| !line.starts_with(' ')) {
        assert!(complaint.starts_with("daemonherder: "), "{complaint}");
    }
    if line.contains("--json") && !done.out.is_empty() {
        assert!(serde_json::from_str::<Value>(&done.out).is_ok() && done.out.ends_with("}\n"), "{}", done.out);
    }
    done
}

fn at(door: &Door, line: &str) -> Done {
    typed(door.socket(), line)
}

#[test]
fn exit_codes_are_those_of_the_interface() {
    let door = Door::open(&["running-web", "stopped-db", "invalid-x", "dies", "good"]);
    for (line, exit) in [
        ("status", Exit::Done),
        ("status running-web", Exit::Done),
        ("status running-*", Exit::Done),
        ("status stopped-db", Exit::Failed),
        ("status running-web stopped-db --json", Exit::Failed),
        ("status nobody", Exit::NoSuchService),
        ("status nobody --json", Exit::NoSuchService),
        ("start running-web", Exit::Done),
        ("start good --settle 20ms", Exit::Done),
        ("start invalid-x", Exit::Failed),
        ("start dies", Exit::Failed),
        ("start dies --no-wait", Exit::Done),
        ("start nobody", Exit::NoSuchService),
        ("start good nobody", Exit::NoSuchService),
        ("restart good --settle 20ms", Exit::Done),
        ("stop stopped-db", Exit::Done),
        ("stop nobody*", Exit::NoSuchService),
        ("stop --all", Exit::Done),
        ("reload", Exit::Done),
        ("reload --json --dry-run", Exit::Done),
        ("upgrade", Exit::Failed),
    ] {
        let done = at(&door, line);
        assert_eq!(done.exit, exit, "{line}: {} {}", done.out, done.err);
        let complains = line.starts_with("reload") || exit != Exit::Done && !line.contains("stopped-db");
        assert_eq!(!done.err.is_empty(), complains && !line.contains("--json --dry"), "{line}: {}", done.err);
        assert!(exit != Exit::NoSuchService || done.out.is_empty(), "{line}: {}", done.out);
    }
}

#[test]
fn without_a_daemon_every_verb_says_so_and_is_exit_3() {
    let state = tempfile::tempdir().unwrap();
    for line in ["status", "status --json", "start a", "stop --all", "restart a", "reload", "upgrade", "shutdown"] {
        let done = typed(state.path().join("control.sock"), line);
        assert_eq!((done.exit, done.out.as_str()), (Exit::NoDaemon, ""), "{line}");
        assert!(done.err.contains("no daemon is running for the confs in /confs"), "{}", done.err);
    }
}

#[test]
fn a_failed_start_shows_cause_and_last_lines() {
    let door = Door::open(&["dies"]);
    door.log("dies", "cannot open the disk\n");
    let done = at(&door, "start dies");
    insta::assert_snapshot!(done.err, @r"
    daemonherder: cannot start dies: exited with code 3, waits (exit-code); now backoff
        dies | cannot open the disk
    ");
    assert_eq!(done.out, "");
}

#[test]
fn an_unknown_name_is_told_with_the_nearest_one() {
    let door = Door::open(&["web", "db"]);
    for verb in ["status", "stop"] {
        let done = at(&door, &format!("{verb} wbe"));
        assert_eq!(done.err, "daemonherder: no such service: wbe (did you mean web?)\n");
    }
}

#[test]
fn one_service_is_shown_with_the_end_of_its_log() {
    let door = Door::open(&["running-web", "db"]);
    door.log("running-web", &(1..=20).map(|line| format!("line {line}\n")).collect::<String>());
    let done = at(&door, "status running-web");
    assert!(done.out.contains("state:     running since "), "{}", done.out);
    assert!(done.out.ends_with("\nline 19\nline 20\n") && !done.out.contains("line 10\n"), "{}", done.out);
    let table = at(&door, "status").out;
    assert!(table.starts_with("ID ") && table.lines().count() == 3, "{table}");
}

#[test]
fn json_is_the_document_of_the_socket_without_what_was_not_named() {
    let door = Door::open(&["a", "b"]);
    let document = |line| serde_json::from_str::<Value>(&at(&door, line).out).unwrap();
    let ids = |document: Value| -> Vec<Value> {
        document["services"].as_array().unwrap().iter().map(|service| service["id"].clone()).collect()
    };
    assert_eq!(ids(document("status --json")), ["a", "b"]);
    assert_eq!(ids(document("status b --json")), ["b"]);
    assert_eq!(document("status b --json")["daemon"]["pid"], 42);
    assert_eq!(document("reload --json")["start"][0], "new");
}

#[test]
fn a_reload_shows_the_plan_and_the_problems() {
    let door = Door::open(&["web"]);
    let done = at(&door, "reload --prune");
    assert_eq!(done.out, "start      new\nunchanged  1\n");
    assert_eq!(done.err, "daemonherder: /confs/db.conf:3:5: unknown key\n");
    assert_eq!(door.told(), ["Reload { dry_run: false, prune: true }"]);
}

/// A server that hangs up on the first `hang_ups` requests and answers the others with `answer`; it gives back what it
/// was asked.
fn flaky(socket: &Path, hang_ups: usize, answers: usize, answer: &'static str) -> std::thread::JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let mut asked = Vec::new();
        for number in 0..hang_ups + answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            asked.push(String::from_utf8(request).unwrap());
            if number >= hang_ups {
                let length = answer.len();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}").unwrap();
            }
        }
        asked
    })
}

#[test]
fn a_question_is_asked_once_more_when_the_daemon_hangs_up() {
    let state = tempfile::tempdir().unwrap();
    let socket = state.path().join("control.sock");
    let server = flaky(&socket, 1, 1, r#"{"version":9,"results":[{"id":"a","ok":true,"message":"fine","newer":1}]}"#);
    let done = typed(socket, "start a");
    assert_eq!((done.exit, done.out.as_str(), done.err.as_str()), (Exit::Done, "a: fine\n", ""));
    let asked = server.join().unwrap();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0], asked[1]);
    // Nothing was asked for but the start itself: the body is empty, which a daemon of any version understands.
    assert!(asked[0].starts_with("POST /v1/services/a/start ") && !asked[0].contains("content-"), "{asked:?}");
}

#[test]
fn a_restart_is_asked_only_once_and_a_second_hang_up_is_a_failure() {
    for (line, hang_ups) in [("restart a", 1), ("start a", 2)] {
        let state = tempfile::tempdir().unwrap();
        let socket = state.path().join("control.sock");
        let server = flaky(&socket, hang_ups, 0, "");
        let done = typed(socket, line);
        assert_eq!(done.exit, Exit::Failed, "{line}");
        assert!(done.err.contains("without an answer"), "{}", done.err);
        assert_eq!(server.join().unwrap().len(), hang_ups, "{line}");
    }
}

#[test]
fn what_answers_in_another_language_is_a_failure() {
    let state = tempfile::tempdir().unwrap();
    let socket = state.path().join("control.sock");
    let server = flaky(&socket, 0, 1, "hello");
    let done = typed(socket, "status");
    assert_eq!(done.exit, Exit::Failed);
    assert!(done.err.contains("not understood"), "{}", done.err);
    server.join().unwrap();
}

/// Not a test of its own: what [`shutdown_returns_when_the_daemon_has_gone`] runs as the daemon.
#[test]
fn as_a_daemon() {
    let Some(state) = std::env::var_os("CLI_TEST_STATE") else { return };
    let access = Access::of_this_process(None);
    daemon(Path::new(&state), access, &["web"], Told::default(), || {
        println!("open");
    });
    // The process lives until its stdin is closed: the door has long been closed then.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn shutdown_returns_when_the_daemon_has_gone() {
    let state = tempfile::tempdir().unwrap();
    let socket = state.path().join("control.sock");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["as_a_daemon", "--exact", "--nocapture"])
        .env("CLI_TEST_STATE", state.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut said = String::new();
    while !said.contains("open\n") {
        let mut byte = [0];
        assert_eq!(stdout.read(&mut byte).unwrap(), 1, "the daemon ended: {said}");
        said.push(char::from(byte[0]));
    }
    let (returned, returns) = std::sync::mpsc::channel();
    let path = socket.clone();
    let verb = std::thread::spawn(move || {
        let done = typed(path, "shutdown");
        returned.send(()).unwrap();
        done
    });
    // The door is closed, the process is not yet gone: the verb still waits.
    let watcher = std::time::Instant::now();
    while socket.exists() {
        assert!(watcher.elapsed().as_secs() < 60, "the daemon was not told to end");
        std::thread::yield_now();
    }
    assert_eq!(returns.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
    drop(stdin);
    let done = verb.join().unwrap();
    assert_eq!((done.exit, done.out.as_str(), done.err.as_str()), (Exit::Done, "", ""));
    assert!(child.wait().unwrap().success());
}
