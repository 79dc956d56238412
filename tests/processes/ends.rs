//! How an end is told, to whom, and until when it is kept.

use std::fs;

use daemonherder::model::{Bound, Ending, Limit, Resource, Signal};
use daemonherder::process::{Report, Spawner, Whom};

use crate::support::Herd;
use crate::{killed, signal};

#[actix::test]
async fn an_end_is_told_as_it_was() {
    let herd = Herd::new();
    for code in [0, 1, 77, 255] {
        assert_eq!(herd.run(&["exit", &code.to_string()], |_| {}).await, (true, Ending::Exited(code)));
    }
    for number in [1, 9, 13, 15, 34, 64] {
        let end = herd.run(&["die", &number.to_string()], |_| {}).await;
        assert_eq!(end, (true, killed(signal(number))));
    }
}

#[actix::test]
async fn a_core_dump_is_told() {
    if fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().starts_with(['|', '@', '/']) {
        return eprintln!("skipped: core dumps of this machine go elsewhere");
    }
    let herd = Herd::new();
    let unlimited = Limit { soft: Bound::Unlimited, hard: Bound::Unlimited };
    let end = herd.run(&["die", "6"], |launch| _ = launch.limits.insert(Resource::Core, unlimited)).await;
    assert_eq!(end, (true, Ending::Killed { signal: signal(6), core: true }));
}

#[actix::test]
async fn an_end_is_kept_until_it_is_acknowledged() {
    let (herd, heir) = (Herd::new(), Herd::new());
    let run = herd.launch(&["exit", "5"]);
    let Report::Launched { pid } = herd.told().await.1 else { panic!("it is launched first") };
    assert_eq!(herd.told().await.1, Report::Ended(Ending::Exited(5)));

    for _ in 0..2 {
        assert!(herd.spawner.adopt(run, heir.reports()));
        assert_eq!(heir.told_so_far(), [], "nothing is told from within a call");
        assert_eq!(heir.told().await, (run, Report::Launched { pid }));
        assert_eq!(heir.told().await, (run, Report::Ended(Ending::Exited(5))));
    }
    herd.spawner.acknowledge(run);
    assert!(!herd.spawner.adopt(run, heir.reports()));
    assert_eq!(herd.told_so_far(), [], "the first listener is told nothing twice");
}

#[actix::test]
async fn a_living_run_changes_its_listener_and_is_not_forgotten() {
    let (herd, heir) = (Herd::new(), Herd::new());
    let run = herd.launch(&["wait"]);
    let launched = herd.told().await;
    assert!(herd.spawner.adopt(run, heir.reports()));
    assert_eq!(heir.told().await, launched);
    herd.spawner.acknowledge(run);
    herd.spawner.signal(run, Signal::TERM, Whom::Main);
    assert_eq!(heir.told().await, (run, Report::Ended(killed(Signal::TERM))));
    assert_eq!(herd.told_so_far(), []);
}
