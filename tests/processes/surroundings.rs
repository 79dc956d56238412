//! What a process is given, whatever its parent has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use daemonherder::model::{Bound, Limit, Resource, RunId, Stage};
use daemonherder::process::Credentials;
use nix::sys::stat::{Mode, umask};

use crate::support::{Herd, is_root, within};
use crate::{c, failed, reported, values};

#[actix::test]
async fn a_process_has_nothing_of_its_parent() {
    const NAME: &str = "surroundings::a_process_has_nothing_of_its_parent";
    // HUP, USR1, PIPE and two real-time signals, the second of them blocked too.
    let ignored = ["ignore", "1", "ignore", "10", "ignore", "13", "ignore", "40", "ignore", "64"];
    let blocked = ["block", "12", "block", "15", "block", "64", "open", "77", "open", "5000"];
    if !within(NAME, &[ignored, blocked].concat()) {
        return;
    }
    let herd = Herd::new();
    let text = reported(&herd, |launch| launch.env = vec![c"A=1".into(), c"B=".into(), c"C=x y".into()]).await;
    for key in ["SigBlk", "SigIgn", "SigCgt", "SigPnd"] {
        assert_eq!(values(&text, key), ["0"], "{key}");
    }
    let log = herd.log(RunId { herd: 7, number: 1 });
    let appended = libc::O_WRONLY | libc::O_APPEND;
    let fds = ["0 /dev/null flags 0".to_owned()].into_iter();
    let fds = fds.chain([1, 2].map(|fd| format!("{fd} {} flags {appended:o}", log.display())));
    assert_eq!(values(&text, "fd"), fds.collect::<Vec<_>>());
    assert_eq!(values(&text, "env"), ["A=1", "B=", "C=x y"]);
    assert_eq!(values(&text, "leader"), ["1 1"]);
    assert_eq!(values(&text, "cwd"), [herd.dir.path().to_str().unwrap()]);
}

#[actix::test]
async fn a_process_has_the_user_and_groups_it_was_given_and_no_capability() {
    if !is_root() {
        return;
    }
    let herd = Herd::new();
    // Only for root, so that it shows who opens the log and who enters the directory.
    let credentials = || Some(Credentials { uid: 1234, gid: 2345, groups: vec![2345, 3456] });
    let text = reported(&herd, |launch| (launch.credentials, launch.cwd) = (credentials(), c"/".into())).await;
    assert_eq!(values(&text, "uids"), ["1234 1234 1234"]);
    assert_eq!(values(&text, "gids"), ["2345 2345 2345"]);
    assert_eq!(values(&text, "groups"), ["2345 3456"]);
    assert_eq!(values(&text, "CapEff"), ["0"]);

    let closed = herd.dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let end = herd.run(&["exit", "0"], |launch| (launch.credentials, launch.cwd) = (credentials(), c(closed))).await;
    assert_eq!(end, failed(Stage::Cwd, libc::EACCES), "cwd is entered as the service's user");
}

#[actix::test]
async fn umask_and_limits_are_the_services_and_the_logs_are_not() {
    const NAME: &str = "surroundings::umask_and_limits_are_the_services_and_the_logs_are_not";
    if !within(NAME, &[]) {
        return;
    }
    let herd = Herd::new();
    umask(Mode::from_bits_truncate(0o750));
    let limit = Limit { soft: Bound::At(33), hard: Bound::At(44) };
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for (number, mask, shown) in [(1, Some(0), "000"), (2, Some(0o777), "777"), (3, None, "750")] {
        let text = reported(&herd, |launch| {
            launch.umask = mask;
            launch.limits.insert(Resource::Nofile, limit);
        });
        let text = text.await;
        assert_eq!(values(&text, "umask"), [shown]);
        assert_eq!(values(&text, "nofile"), ["33 44"]);
        let log = herd.log(RunId { herd: 7, number });
        assert_eq!((mode(&log), mode(log.parent().unwrap())), (0o600, 0o700), "with {mask:?}");
    }
    assert_eq!(umask(Mode::empty()), Mode::from_bits_truncate(0o750), "the parent's own is untouched");
}

#[actix::test]
async fn a_parent_may_have_more_files_open_than_a_service_may() {
    let herd = Herd::new();
    let files: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
    let limit = Limit { soft: Bound::At(20), hard: Bound::At(20) };
    let text = reported(&herd, |launch| _ = launch.limits.insert(Resource::Nofile, limit)).await;
    assert_eq!((values(&text, "fd").len(), values(&text, "nofile")), (3, vec!["20 20"]));
    drop(files);
}
