//! Where the output of a process goes.

use std::fs;

use daemonherder::model::RunId;
use daemonherder::process::{Output, Sink};
use nix::unistd::{close, dup, dup2_stderr, dup2_stdin, dup2_stdout};

use crate::support::{Herd, within};
use crate::{OK, reported, values};

#[actix::test]
async fn output_is_appended_merged_or_apart() {
    let herd = Herd::new();
    let log = herd.dir.path().join("log");
    fs::write(&log, "before\n").unwrap();
    let stderr = herd.dir.path().join("deep/er/stderr");
    let sinks = [None, Some(Sink::Null), Some(Sink::File(stderr.clone()))];
    for stderr in sinks {
        let output = Output { stdout: Sink::File(log.clone()), stderr };
        assert_eq!(herd.run(&["stderr"], |launch| launch.output = output).await, OK);
    }
    assert_eq!(fs::read_to_string(log).unwrap(), "before\nout\nerr\nout\nout\n");
    assert_eq!(fs::read_to_string(stderr).unwrap(), "err\n");
    let null = Output { stdout: Sink::Null, stderr: None };
    assert_eq!(herd.run(&["flood", "1000000"], |launch| launch.output = null).await, OK);
}

#[actix::test]
async fn a_parent_with_closed_standard_streams_gives_its_children_theirs() {
    if !within("output::a_parent_with_closed_standard_streams_gives_its_children_theirs", &[]) {
        return;
    }
    let herd = Herd::new();
    let saved = (dup(std::io::stdin()).unwrap(), dup(std::io::stdout()).unwrap(), dup(std::io::stderr()).unwrap());
    for fd in [0, 1, 2] {
        close(fd).unwrap();
    }
    let text = reported(&herd, |_| {}).await;
    let apart = herd.dir.path().join("apart");
    let separate = Some(Sink::File(apart.clone()));
    let end = herd.run(&["stderr"], |launch| launch.output.stderr = separate).await;
    let log = fs::read_to_string(herd.log(RunId { herd: 7, number: 2 }));
    dup2_stdin(saved.0).unwrap();
    dup2_stdout(saved.1).unwrap();
    dup2_stderr(saved.2).unwrap();
    assert_eq!(values(&text, "fd").len(), 3);
    assert_eq!(end, OK);
    assert_eq!((log.unwrap().as_str(), fs::read_to_string(apart).unwrap().as_str()), ("out\n", "err\n"));
}
