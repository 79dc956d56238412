//! An `env_file` that hangs when it is opened, as on a dead mount, keeps nobody waiting.

use std::fs;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response,
};
use serde_json::json;

use crate::herd::{Herd, is_root, sh, sleeper, with};
use crate::waiting::WATCHDOG;

/// A file that lets those who open it go on when it is told to (fanotify(7)). Dropped, it is as any other.
pub(crate) struct DeadMount(Fanotify);

impl DeadMount {
    /// None where this can't be had, which it then says.
    pub(crate) fn under(file: &Path) -> Option<Self> {
        if !is_root("files that hang") {
            return None;
        }
        let flags = InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC;
        let group = Fanotify::init(flags, EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC);
        let watched = group.and_then(|group| {
            group.mark(MarkFlags::FAN_MARK_ADD, MaskFlags::FAN_OPEN_PERM, nix::fcntl::AT_FDCWD, Some(file))?;
            Ok(Self(group))
        });
        watched.inspect_err(|error| eprintln!("skipped, for no file can be made to hang: {error}")).ok()
    }

    /// Waits until somebody opens it, who hangs from then on.
    pub(crate) fn opened(&self) -> FanotifyEvent {
        let patience = PollTimeout::try_from(WATCHDOG).unwrap();
        let ready = poll(&mut [PollFd::new(std::os::fd::AsFd::as_fd(&self.0), PollFlags::POLLIN)], patience).unwrap();
        assert_eq!(ready, 1, "nobody opens the file");
        let [event] = <[_; 1]>::try_from(self.0.read_events().unwrap()).unwrap();
        event
    }

    pub(crate) fn let_go(&self, event: &FanotifyEvent) {
        self.0.write_response(FanotifyResponse::new(event.fd().unwrap(), Response::FAN_ALLOW)).unwrap();
    }
}

#[test]
fn others_start_and_its_own_service_can_be_stopped_and_started_again() {
    let mut herd = Herd::new();
    let file = herd.work("hangs.env");
    fs::write(&file, "SAID=hello\n").unwrap();
    let Some(mount) = DeadMount::under(&file) else { return };
    // By their ids the one that hangs is launched first.
    herd.conf("a", &with(sh("echo $SAID $DHERDER_RUN >> said; exec sleep 100000"), json!({"env_file": file})));
    herd.conf("b", &sleeper());
    herd.start();
    let first = mount.opened();
    herd.until_state("b", "running");
    assert_eq!(herd.service("a")["state"], "starting");

    herd.done("stop a");
    assert_eq!(herd.service("a")["state"], "stopped");
    herd.done("start a --no-wait");
    let second = mount.opened();
    let run = herd.service("a")["run"].clone();
    // What comes of the first is for a run that has ended: only the second one has a process.
    mount.let_go(&first);
    mount.let_go(&second);
    herd.until_state("a", "running");
    assert_eq!(herd.service("a")["run"], run);
    let said = [format!("hello {}", run.as_str().unwrap())];
    assert_eq!(herd.lines("said", 1), said);
    assert_eq!(herd.end(), Some(0));
    assert_eq!(herd.lines_now("said"), said);
}

#[test]
fn the_daemon_ends_all_the_same() {
    let mut herd = Herd::new();
    let file = herd.work("hangs.env");
    fs::write(&file, "").unwrap();
    let Some(mount) = DeadMount::under(&file) else { return };
    herd.conf("a", &with(sleeper(), json!({"env_file": file})));
    herd.start();
    let _hangs = mount.opened();
    assert_eq!(herd.end(), Some(0));
}
