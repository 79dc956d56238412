//! Many at once.

use daemonherder::model::{Ending, Signal};
use daemonherder::process::{Report, Sink, Spawner, Whom};

use crate::support::{Herd, children, descriptors, within};
use crate::{OK, killed};

#[actix::test]
async fn two_hundred_that_die_at_once_are_told_once_each() {
    const MANY: usize = 200;
    let herd = Herd::new();
    let runs: Vec<_> = (0..MANY).map(|_| herd.launch(&["wait"])).collect();
    for _ in &runs {
        assert!(matches!(herd.told().await, (_, Report::Launched { .. })));
    }
    for run in &runs {
        herd.spawner.signal(*run, Signal::KILL, Whom::Main);
    }
    let mut ended = Vec::new();
    while ended.len() < MANY {
        let (run, report) = herd.told().await;
        assert_eq!(report, Report::Ended(killed(Signal::KILL)));
        ended.push(run);
    }
    ended.sort();
    assert_eq!(ended, runs);
}

#[actix::test]
async fn two_thousand_launches_leave_nothing_behind() {
    if !within("crowds::two_thousand_launches_leave_nothing_behind", &[]) {
        return;
    }
    let herd = Herd::new();
    assert_eq!(herd.run(&["exit", "0"], |_| {}).await, OK);
    let before = descriptors();
    for _ in 0..100 {
        let mut left = 20;
        (0..left).for_each(|_| _ = herd.launch_with(&["exit", "0"], |launch| launch.output.stdout = Sink::Null));
        while left > 0 {
            if let (run, Report::Ended(ending)) = herd.told().await {
                assert_eq!(ending, Ending::Exited(0));
                herd.spawner.acknowledge(run);
                left -= 1;
            }
        }
    }
    assert_eq!(descriptors(), before);
    assert_eq!(children(), Vec::<String>::new());
}
