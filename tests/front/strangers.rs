//! Who is not let in.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use daemonherder::front::Access;
use serde_json::Value;

use crate::fake_herder::Door;
use crate::{ask, connect, read_answer};

/// Not a test of its own: what [`a_stranger_is_refused`] runs as another user.
#[test]
fn as_a_stranger() {
    if let Some(socket) = std::env::var_os("FRONT_TEST_SOCKET") {
        let mut stream = connect(Path::new(&socket));
        write!(stream, "POST /v1/shutdown HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n").unwrap();
        print!("<<{}>>", read_answer(&mut stream).body);
    }
}

#[test]
fn a_stranger_is_refused() {
    let own = Access::of_this_process(None);
    if own.owner != 0 {
        // Who is not root can't become somebody else, but can be a stranger at somebody else's door.
        let door = Door::open_for(Access { owner: own.owner + 1, group: None }, &[]);
        let answer = ask(&door, "GET", "/healthz", "");
        assert_eq!((answer.status, answer.json()["title"].as_str()), (403, Some("forbidden")));
        return;
    }
    let door = Door::open(&[]);
    let everybody = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    everybody(door.state.path(), 0o755);
    everybody(&door.socket(), 0o666);
    // A copy, since another user may not reach the place where this program was built.
    let program = door.state.path().join("stranger");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    everybody(&program, 0o755);
    let mut command = std::process::Command::new(&program);
    command.args(["strangers::as_a_stranger", "--exact", "--nocapture"]).env("FRONT_TEST_SOCKET", door.socket());
    let output = std::os::unix::process::CommandExt::uid(&mut command, 65534).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let body = output.split_once("<<").and_then(|(_, rest)| rest.split_once(">>")).expect(&output).0;
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&problem["status"], &problem["title"]), (&403.into(), &"forbidden".into()));
    assert!(problem["detail"].as_str().unwrap().contains("user 65534"), "{problem}");
    assert_eq!(door.told(), Vec::<String>::new());
}
