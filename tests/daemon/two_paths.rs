//! A conf directory that two paths lead to: by a symlink, or by a mount of it at a second place.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::herd::{Done, Herd, finish, is_root, sleeper, with};

/// A conf whose rules say which version of it is followed; its process stays.
fn version(number: u32) -> String {
    with(sleeper(), json!({"cwd": "/", "restart": {"intensity": number}})).to_string()
}

fn until_version(herd: &Herd, id: &str, number: u32) -> Value {
    herd.until(id, &format!("follows version {number}"), |service| {
        service["state"] == "running" && service["window"]["intensity"] == number
    })
}

/// A conf that is a symlink, by the second path of its own directory and then by another symlink there: so that directory
/// is watched for its files by the one path, and for that name by the other.
fn lead_through(herd: &Herd, other: &Path) {
    for (directory, number) in [("targets", 1), ("next", 3)] {
        fs::create_dir(herd.path().join(directory)).unwrap();
        fs::write(herd.path().join(directory).join("led.conf"), version(number)).unwrap();
    }
    symlink(herd.path().join("targets"), herd.confs().join("sub")).unwrap();
    symlink(other.join("sub/led.conf"), herd.confs().join("led.conf")).unwrap();
    herd.file("web.conf", &version(1));
}

/// Whatever is changed by whichever path is noticed, files that are written over, too.
fn is_followed(herd: &Herd, other: &Path) {
    let pids = ["web", "led"].map(|id| until_version(herd, id, 1)["pid"].clone());
    for (number, directory) in [(2, herd.confs()), (3, other.to_owned())] {
        fs::write(directory.join("web.conf"), version(number)).unwrap();
        until_version(herd, "web", number);
    }
    fs::write(herd.path().join("targets/led.conf"), version(2)).unwrap();
    until_version(herd, "led", 2);
    symlink(herd.path().join("next"), other.join(".new")).unwrap();
    fs::rename(other.join(".new"), other.join("sub")).unwrap();
    until_version(herd, "led", 3);
    // And so it is with what is watched from then on.
    fs::write(other.join("web.conf"), version(4)).unwrap();
    assert_eq!(until_version(herd, "web", 4)["pid"], pids[0]);
    fs::write(herd.path().join("next/led.conf"), version(4)).unwrap();
    assert_eq!(until_version(herd, "led", 4)["pid"], pids[1]);
}

/// A verb for the confs at this path, which finds the state by itself.
fn verb(herd: &Herd, confs: &Path, line: &str) -> Done {
    let mut command = herd.command();
    command.env_remove("DHERDER_STATE_DIR").env("DHERDER_CONFIG_DIR", confs);
    finish(command.args(line.split(' ')))
}

/// Ends a daemon in the background, whatever became of the scenario.
struct Ends<'h>(&'h Herd, &'h Path);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        verb(self.0, self.1, "shutdown");
    }
}

#[test]
fn a_symlink_and_what_it_leads_to_have_one_daemon() {
    let herd = Herd::new();
    let link = herd.path().join("link");
    symlink(herd.confs(), &link).unwrap();
    let _ends = Ends(&herd, &link);
    assert_eq!(verb(&herd, &link, "run --detach").code, 0);
    let pid = |confs: &Path| verb(&herd, confs, "status --json").json()["daemon"]["pid"].clone();
    let (by_link, by_itself) = (pid(&link), pid(&herd.confs()));
    let second = verb(&herd, &herd.confs(), "run");
    let states = fs::read_dir(herd.path().join("home/.local/state/dherder")).unwrap().count();
    assert_eq!(verb(&herd, &herd.confs(), "shutdown").code, 0);
    assert_eq!((by_link.is_u64(), &by_link, states), (true, &by_itself, 1));
    assert_eq!((second.code, second.err), (1, format!("daemonherder: already running (pid {by_link})\n")));
    assert_eq!(verb(&herd, &link, "status").code, 3);
}

#[test]
fn changes_behind_a_symlink_are_noticed_by_both_paths() {
    let mut herd = Herd::new();
    // By its name the link comes first: of two paths of one directory the kernel goes by what is asked for last.
    let link = herd.path().join("by-link");
    symlink(herd.confs(), &link).unwrap();
    lead_through(&herd, &herd.confs());
    let mut command = herd.command();
    command.env("DHERDER_CONFIG_DIR", &link);
    herd.launch(command);
    is_followed(&herd, &link);
}

/// A directory that is mounted at a second place, until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// None where this can't be had, which it then says.
    fn at(place: PathBuf, directory: &Path) -> Option<Self> {
        if !is_root("a second mount") {
            return None;
        }
        fs::create_dir(&place).unwrap();
        let mounted = Command::new("mount").arg("--bind").arg(directory).arg(&place).status();
        let mounted = mounted.is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped, for nothing can be mounted: a second mount");
        }
        mounted.then_some(Self(place))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The daemon may still watch it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn changes_by_a_second_mount_are_noticed_and_a_daemon_by_it_is_another_one() {
    let mut herd = Herd::new();
    let Some(mounted) = Mounted::at(herd.path().join("mounted"), &herd.confs()) else { return };
    lead_through(&herd, &mounted.0);
    herd.start();
    is_followed(&herd, &mounted.0);
    // No path says that these are the same, so that this state is that of other confs.
    let mut second = herd.command();
    let refused = finish(second.env("DHERDER_CONFIG_DIR", &mounted.0));
    assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{refused:?}");
    assert_eq!(refused.err, format!("daemonherder: already running (pid {})\n", herd.pid()));
    assert_eq!(herd.end(), Some(0));
    let mut second = herd.command();
    let refused = finish(second.env("DHERDER_CONFIG_DIR", &mounted.0));
    let belongs = format!("{} belongs to the conf directory {}; ", herd.state().display(), herd.confs().display());
    assert_eq!(refused.code, 2);
    assert!(refused.err.starts_with(&format!("daemonherder: {belongs}")), "{refused:?}");
    assert_eq!(verb(&herd, &mounted.0, "status").code, 3);
}
