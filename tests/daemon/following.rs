//! `logs -f`: what comes, whatever becomes of the files.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::herd::{Herd, sh};
use crate::logs::{log, silent, write};
use crate::waiting::{WATCHDOG, within};

/// A verb that goes on. Dropped, it is ended.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn of(herd: &Herd, line: &str) -> Self {
        let (child, stdout) = begin(herd, line);
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                // Whoever has ended the test reads no more.
                let _ = send.send(line.unwrap());
            }
        });
        Self { child, lines }
    }

    #[track_caller]
    fn next(&self) -> String {
        self.lines.recv_timeout(WATCHDOG).expect("nothing more is shown")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn begin(herd: &Herd, line: &str) -> (Child, ChildStdout) {
    let mut command = herd.command();
    command.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    (child, stdout)
}

#[test]
fn every_line_comes_once_while_files_are_rotated_at_full_speed() {
    let herd = silent([("web", Some("before\n"))]);
    let following = Following::of(&herd, "logs web -f");
    assert_eq!(following.next(), "before");
    let current = log(&herd, "web", "current.log");
    let writer = thread::spawn(move || {
        for rotation in 0..300 {
            let mut file = File::options().append(true).create(true).open(&current).unwrap();
            for number in 0..100 {
                writeln!(file, "{}", rotation * 100 + number).unwrap();
            }
            let old = current.with_file_name(format!("20260101T000000.{rotation:06}Z-{rotation}.log"));
            fs::rename(&current, old).unwrap();
        }
    });
    for number in 0..30_000 {
        assert_eq!(following.next(), number.to_string());
    }
    writer.join().unwrap();
}

#[test]
fn a_log_is_followed_through_all_that_may_happen_to_it() {
    let herd = silent([("web", None)]);
    // Not even the state directory exists.
    let mut following = Following::of(&herd, "logs web -f -n 0");
    let mut note = String::new();
    BufReader::new(following.child.stderr.take().unwrap()).read_line(&mut note).unwrap();
    assert!(note.starts_with("daemonherder: web: nothing is in its log here"), "{note}");
    write(&herd, "web", "first\n");
    assert_eq!(following.next(), "first");
    let current = log(&herd, "web", "current.log");
    let old = log(&herd, "web", "20260101T000000.000000Z-1.log");
    // Put aside by others, who let its writer go on until it hears of it.
    let mut writer = File::options().append(true).open(&current).unwrap();
    fs::rename(&current, &old).unwrap();
    writeln!(writer, "rest").unwrap();
    assert_eq!(following.next(), "rest");
    write(&herd, "web", "new file\n");
    assert_eq!(following.next(), "new file");
    // Truncated, as logrotate's copytruncate does, and written to at once.
    File::create(&current).unwrap().write_all(b"more than was there before\n").unwrap();
    assert_eq!(following.next(), "more than was there before");
    fs::remove_file(&current).unwrap();
    write(&herd, "web", "made anew\n");
    assert_eq!(following.next(), "made anew");
    fs::remove_dir_all(herd.state().join("logs/web")).unwrap();
    write(&herd, "web", "all made anew\n");
    assert_eq!(following.next(), "all made anew");
}

#[test]
fn lines_of_several_services_are_never_cut_by_each_other() {
    let herd = silent([("web", Some("a\nb\n")), ("db", Some("c\n"))]);
    let following = Following::of(&herd, "logs web db -f -n 1");
    assert_eq!((following.next(), following.next()), ("web | b".to_owned(), "db  | c".to_owned()));
    write(&herd, "web", "begin");
    write(&herd, "db", "whole\n");
    assert_eq!(following.next(), "db  | whole");
    write(&herd, "web", " and end\nnext\n");
    // Had the beginning been held for a second already, it was shown for itself.
    match following.next().as_str() {
        "web | begin and end" => {}
        "web | begin" => assert_eq!(following.next(), "web |  and end"),
        other => panic!("{other}"),
    }
    assert_eq!(following.next(), "web | next");
    // Last words have no end.
    write(&herd, "db", "last words");
    assert_eq!(following.next(), "db  | last words");
}

#[test]
fn a_service_that_starts_later_and_again_is_followed() {
    let mut herd = Herd::new();
    let orders = herd.fifo("orders");
    herd.conf("web", &sh(&format!("read order < {}; echo $order from $DHERDER_RUN", orders.display())));
    let following = Following::of(&herd, "logs web -f");
    herd.start();
    for order in ["one", "two", "three"] {
        // Opening it waits for the service to read.
        let path = orders.clone();
        within("a service that reads", move || fs::write(path, format!("{order}\n")).unwrap());
        assert!(following.next().starts_with(&format!("{order} from ")));
    }
}

#[test]
fn it_ends_with_its_reader_though_nothing_is_written() {
    let herd = silent([("web", Some("a\n")), ("db", None)]);
    for line in ["logs web -f", "logs web db -f"] {
        let (mut child, stdout) = begin(&herd, line);
        let mut first = String::new();
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut first).unwrap();
        drop(stdout);
        let (code, err) = within("an end", move || {
            let code = child.wait().unwrap().code();
            let mut err = String::new();
            child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            (code, err)
        });
        assert_eq!(code, Some(0), "{line}: {err}");
        assert!(err.is_empty() || err.starts_with("daemonherder: db: nothing is in its log here"), "{line}: {err}");
    }
}
