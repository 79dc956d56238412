//! Signals, and the tree of processes that a run is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use daemonherder::model::{RunId, Signal, StopScope};
use daemonherder::process::{Report, Spawner, Whom};

use crate::support::{self, Herd, fixture, is_root, within};
use crate::{OK, c, killed, signal};

#[actix::test]
async fn what_is_left_of_a_tree_is_killed_with_its_main_process() {
    let herd = Herd::new();
    let (sink, mut lines) = herd.pipe();
    let run = herd.launch_with(&["fork", "group", "exit"], |launch| launch.output.stdout = sink);
    assert_eq!(herd.end(run).await, OK);
    assert!(lines.next().await.unwrap().starts_with("grandchild "));
    assert_eq!(lines.next().await, None, "nobody who could write is left");
}

#[actix::test]
async fn what_is_left_under_scope_main_lives_on() {
    let herd = Herd::new();
    let (sink, mut lines) = herd.pipe();
    let run = herd.launch_with(&["fork", "group", "exit"], |launch| {
        launch.output.stdout = sink;
        launch.scope = StopScope::Main;
    });
    assert_eq!(herd.end(run).await, OK);
    let grandchild = nix::unistd::Pid::from_raw(lines.pid("grandchild").await);
    nix::sys::signal::kill(grandchild, nix::sys::signal::Signal::SIGUSR1).unwrap();
    assert_eq!(lines.pid("alive").await, grandchild.as_raw());
    assert_eq!(lines.next().await, None);
}

#[actix::test]
async fn a_signal_reaches_the_main_process_or_the_whole_group() {
    let herd = Herd::new();
    let usr1 = signal(10);
    for (whom, answers) in [(Whom::Main, false), (Whom::Tree, true)] {
        let (sink, mut lines) = herd.pipe();
        // Under scope main, so that the grandchild is not killed before it has answered.
        let run = herd.launch_with(&["fork", "group"], |launch| {
            launch.output.stdout = sink;
            launch.scope = StopScope::Main;
        });
        assert!(matches!(herd.told().await, (_, Report::Launched { .. })));
        let grandchild = lines.pid("grandchild").await;
        assert!(lines.next().await.unwrap().starts_with("ready"));
        herd.spawner.examine(run);
        let (_, found) = herd.told().await;
        assert!(matches!(found, Report::Examined { state: Some('R' | 'S') }), "{found:?}");

        herd.spawner.signal(run, usr1, whom);
        assert_eq!(herd.end(run).await, (false, killed(usr1)));
        if !answers {
            let grandchild = nix::unistd::Pid::from_raw(grandchild);
            nix::sys::signal::kill(grandchild, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        assert_eq!(lines.next().await.is_some(), answers, "{whom:?}");
        herd.spawner.signal(run, usr1, whom);
        herd.spawner.examine(run);
        assert_eq!(herd.told_so_far(), [], "of one that is acknowledged nothing is told");
    }
}

#[actix::test]
async fn term_that_is_ignored_is_followed_by_kill() {
    let herd = Herd::new();
    let (sink, mut lines) = herd.pipe();
    let run = herd.launch_with(&["ignore", "15"], |launch| launch.output.stdout = sink);
    assert!(matches!(herd.told().await, (_, Report::Launched { .. })));
    assert!(lines.next().await.unwrap().starts_with("ready"));
    herd.spawner.signal(run, Signal::TERM, Whom::Main);
    herd.spawner.signal(run, Signal::KILL, Whom::Tree);
    assert_eq!(herd.end(run).await, (false, killed(Signal::KILL)));
}

#[actix::test]
async fn who_may_not_be_signalled_is_told() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("herd-become-root");
    if !support::is_inner() {
        if !is_root() {
            return;
        }
        fs::copy(fixture(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    }
    if !within("trees::who_may_not_be_signalled_is_told", &["uid", "65534"]) {
        return;
    }
    let herd = Herd::new();
    let (sink, mut lines) = herd.pipe();
    let run = herd.launch_with(&["become-root"], |launch| {
        launch.programs = vec![c(program)];
        launch.output.stdout = sink;
    });
    assert!(matches!(herd.told().await, (_, Report::Launched { .. })));
    assert!(lines.next().await.unwrap().starts_with("ready"));
    for whom in [Whom::Main, Whom::Tree] {
        herd.spawner.signal(run, Signal::TERM, whom);
        assert_eq!(herd.told().await, (run, Report::Refused { uid: 0 }));
    }
    // Its reader's end is what ends it.
    drop(lines);
    assert_eq!(herd.end(run).await, (false, killed(signal(13))));
}

#[actix::test]
async fn an_unknown_run_is_gone() {
    let herd = Herd::new();
    let unknown = RunId { herd: 7, number: 99 };
    herd.spawner.signal(unknown, Signal::KILL, Whom::Tree);
    herd.spawner.examine(unknown);
    assert!(!herd.spawner.adopt(unknown, herd.reports()));
    herd.spawner.acknowledge(unknown);
}
