//! What services write, from their pipes into files: whatever is killed, rotated or full meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::herd::{Herd, gone, is_root, sh, sleeper, with};
use crate::waiting::until;

/// All that a stream's files hold, oldest first.
fn whole(herd: &Herd, id: &str) -> String {
    let directory = herd.state().join("logs").join(id);
    let mut old: Vec<_> = names(&directory).into_iter().filter(|name| name != "current.log").collect();
    old.sort();
    old.push("current.log".to_owned());
    old.iter().map(|name| fs::read_to_string(directory.join(name)).unwrap()).collect()
}

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A service that writes numbered lines as fast as it can, and then says so.
fn counter(lines: usize, logs: Value) -> Value {
    with(sh(&format!("echo >> begun; seq {lines}; echo >> ended; exec sleep 100000")), json!({ "logs": logs }))
}

#[test]
fn a_flood_over_kills_and_rotations_is_written_once_and_in_order() {
    const LINES: usize = 2_000_000;
    let mut herd = Herd::of([("flood", counter(LINES, json!({"max_size": "512k", "keep": 1000})))]);
    herd.lines("begun", 1);
    for _ in 0..4 {
        herd.kill_herder();
    }
    // And once all of it.
    herd.kill_all();
    herd.start();
    herd.lines("ended", 1);
    herd.output("flood");
    let written = whole(&herd, "flood");
    let expected: String = (1..=LINES).map(|n| format!("{n}\n")).collect();
    assert!(written == expected, "{} of {} bytes", written.len(), expected.len());
    for name in names(&herd.state().join("logs/flood")) {
        let length = fs::metadata(herd.state().join("logs/flood").join(&name)).unwrap().len();
        assert!(length <= 512 << 10, "{name} has {length} bytes");
    }
}

#[test]
fn stamped_lines_are_all_there_after_kills() {
    const LINES: usize = 300_000;
    let logs = json!({"format": "json", "max_size": "1MiB", "keep": 1000});
    let mut herd = Herd::of([("flood", counter(LINES, logs))]);
    herd.lines("begun", 1);
    for _ in 0..2 {
        herd.kill_herder();
    }
    // The herder takes the place of the keeper, and another one goes on with the output.
    herd.kill_keeper();
    herd.lines("ended", 1);
    herd.output("flood");
    let mut next = 1;
    for line in whole(&herd, "flood").lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let number: usize = object["line"].as_str().unwrap().parse().unwrap();
        // What was written just before a kill may be there twice.
        assert!(number <= next, "{next} is missing before {number}");
        next = next.max(number + 1);
        assert_eq!(object["stream"], "stdout");
    }
    assert_eq!(next, LINES + 1);
}

#[test]
fn the_last_words_of_a_service_outlive_the_herder_that_did_not_read_them() {
    let script = "trap 'echo last words; exit' TERM; echo first; echo >> up; while :; do sleep 100000 & wait; done";
    let conf = with(sh(script), json!({"restart": "never", "logs": {"format": "raw"}}));
    let herd = Herd::of([("web", conf)]);
    herd.lines("up", 1);
    assert_eq!(herd.output("web"), "first\n");
    let (service, herder) = (herd.pid_of("web"), herd.herder());
    // It holds the pipe, and reads nothing.
    kill(herder, Signal::SIGSTOP).unwrap();
    kill(service, Signal::SIGTERM).unwrap();
    gone(service);
    kill(herder, Signal::SIGKILL).unwrap();
    herd.until_replaced(herder);
    assert_eq!(herd.output("web"), "first\nlast words\n");
}

#[test]
fn a_line_that_a_service_did_not_finish_is_one_when_it_has_ended() {
    let conf = with(sh("printf 'one\\ntwo'"), json!({"restart": "never", "logs": {"format": "timestamped"}}));
    let herd = Herd::of([("web", conf)]);
    herd.until_state("web", "exited");
    let text =
        until(&herd.state().join("logs/web"), || Some(herd.output("web")).filter(|text| text.lines().count() == 2));
    let lines: Vec<_> = text.as_ref().unwrap().lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(lines, ["one", "two"]);
}

#[test]
fn old_files_are_kept_as_many_as_the_conf_says_and_compressed() {
    let herd = Herd::of([("web", counter(100_000, json!({"max_size": "64k", "keep": 3, "compress": true})))]);
    herd.lines("ended", 1);
    herd.output("web");
    let directory = herd.state().join("logs/web");
    let packed = |name: &String| name.ends_with(".log.gz");
    let done = until(&directory, || {
        let names = names(&directory);
        (names.len() == 4 && names.iter().filter(|name| packed(name)).count() == 3).then_some(())
    });
    assert!(done.is_some(), "{:?}", names(&directory));

    // Fewer of them from now on, without a new process.
    let pid = herd.pid_of("web");
    herd.conf("web", &counter(100_000, json!({"max_size": "64k", "keep": 1, "compress": true})));
    herd.done("reload");
    let fewer = until(&directory, || (names(&directory).len() == 2).then_some(()));
    assert!(fewer.is_some(), "{:?}", names(&directory));
    assert_eq!(herd.pid_of("web"), pid);
}

#[test]
fn a_service_that_has_left_leaves_no_pipe() {
    let herd = Herd::of([("web", sleeper()), ("db", sleeper())]);
    herd.until_state("web", "running");
    let pipes = herd.state().join("pipes");
    assert!(names(&pipes).contains(&"web.stdout".to_owned()));
    herd.remove("web");
    herd.done("reload");
    let left = until(&pipes, || (names(&pipes) == ["db.stdout"]).then_some(()));
    assert!(left.is_some(), "{:?}", names(&pipes));
}

#[test]
fn a_pipe_that_somebody_deletes_is_made_anew_for_the_next_run() {
    let herd = Herd::of([("web", with(sh("echo hello; exec sleep 100000"), json!({"restart": {"delay": "100ms"}})))]);
    herd.until_state("web", "running");
    assert_eq!(herd.output("web"), "hello\n");
    fs::remove_file(herd.state().join("pipes/web.stdout")).unwrap();
    kill(herd.pid_of("web"), Signal::SIGKILL).unwrap();
    // The first launch does not find it, and says so; then there is one again.
    let text = until(&herd.state().join("logs/web"), || Some(herd.output("web")).filter(|text| text.len() > 6));
    assert_eq!(text.as_deref(), Some("hello\nhello\n"), "{}", herd.log());
    herd.until_state("web", "running");
}

/// A small file system in the place of the logs.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(herd: &Herd, size: &str) -> Option<Self> {
        let place = herd.state().join("logs");
        fs::DirBuilder::new().recursive(true).create(&place).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(herd.state(), private).unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "none"], &place);
        mounted.then_some(Self(place))
    }

    fn grow(&self, size: &str) {
        assert!(mount(&["-o", &format!("remount,size={size}")], &self.0));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still writes there goes on with what is hidden then.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(options: &[&str], place: &Path) -> bool {
    Command::new("mount").args(options).arg(place).status().is_ok_and(|status| status.success())
}

/// A service that writes more than the disk takes, then waits for a word and writes ten lines more.
fn talker(herd: &Herd, on_full: &str) -> (Value, PathBuf) {
    let script = "seq -f '%090g' 30000; echo >> first; read go < go; seq -f '%090g' 30001 30010; exec sleep 100000";
    (with(sh(script), json!({"logs": {"on_full": on_full, "max_size": "100MiB"}})), herd.fifo("go"))
}

#[test]
fn a_full_disk_drops_whole_lines_counted_and_marked() {
    let mut herd = Herd::new();
    let Some(disk) = is_root("a full disk").then(|| SmallDisk::at(&herd, "64k")).flatten() else { return };
    let (conf, go) = talker(&herd, "drop");
    herd.conf("web", &conf);
    herd.conf("other", &sh("exec sleep 100000"));
    herd.start();
    // It is not held up for more than a second.
    herd.lines("first", 1);
    herd.logged("web: cannot write to", 1);
    let reason = herd.service("web")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("No space left on device") && reason.contains("dropped"), "{reason}");
    assert_eq!(herd.service("other")["state"], "running");

    disk.grow("64m");
    // What comes before the next try is dropped, too.
    herd.logged("web: its output is written again", 1);
    fs::write(go, "now\n").unwrap();
    let text = until(&herd.state().join("logs/web"), || {
        Some(herd.output("web")).filter(|text| text.lines().last().is_some_and(|last| last.ends_with("30010")))
    });
    let text = text.unwrap_or_else(|| panic!("{}", herd.log()));
    let numbers: Vec<usize> = text.lines().filter_map(|line| line.trim_start_matches('0').parse().ok()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order and once");
    let dropped = herd.service("web")["logs"]["dropped"].as_u64().unwrap();
    // One line may be there in part.
    let missing = 30010 - numbers.len() as u64;
    assert!(dropped > 0 && (missing..=missing + 1).contains(&dropped), "{dropped} dropped, {missing} missing");
    let marks: Vec<_> = text.lines().filter(|line| line.contains("were dropped here")).collect();
    let marked: u64 = marks.iter().map(|mark| mark.split(' ').nth(1).unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(marked, dropped, "{marks:?}");
    assert!(!herd.service("web")["reason"].as_str().unwrap().contains("No space left"));
    herd.logged("web: cannot write to", 1);
    herd.end();
    drop(disk);
}

#[test]
fn a_full_disk_that_blocks_loses_nothing() {
    let mut herd = Herd::new();
    let Some(disk) = is_root("a full disk").then(|| SmallDisk::at(&herd, "64k")).flatten() else { return };
    let (conf, go) = talker(&herd, "block");
    herd.conf("web", &conf);
    herd.start();
    herd.logged("web: cannot write to", 1);
    let reason = herd.service("web")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("No space left on device") && reason.contains("waits"), "{reason}");
    assert_eq!(herd.lines_now("first"), Vec::<String>::new(), "the writer waits");
    // Another herder finds it as it is.
    herd.kill_herder();
    disk.grow("64m");
    herd.lines("first", 1);
    fs::write(go, "now\n").unwrap();
    let expected: String = (1..=30010).map(|n| format!("{n:090}\n")).collect();
    let all = until(&herd.state().join("logs/web"), || (herd.output("web") == expected).then_some(()));
    assert!(all.is_some(), "{} of {} bytes", herd.output("web").len(), expected.len());
    assert_eq!(herd.service("web")["logs"]["dropped"], 0);
    herd.end();
    drop(disk);
}
