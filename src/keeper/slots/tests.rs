//! What slots do that no herder would ask for in its right mind.

use std::fs::File;

use super::*;
use crate::os::Epoll;
use crate::process::LAUNCH_LIMIT;
use crate::process::children::EndBy;

const HERD: u64 = 0xcd;

fn slots(dir: &std::path::Path) -> Slots {
    let epoll = Rc::new(Epoll::new().unwrap());
    let table = Table::new(Rc::clone(&epoll), EndBy::Sigchld, LAUNCH_LIMIT);
    let records = RunTable::open(&dir.join("table"), *b"boot of the test").unwrap().0;
    let lock = Rc::new(File::create(dir.join("lock")).unwrap().into());
    Slots::new(table, records, Trees::new(epoll, HERD), lock, 1)
}

fn launch(number: u64) -> Step {
    let launch = wire::Launch {
        run: wire::Run { herd: HERD, number },
        programs: vec![c"/bin/true".into()],
        argv: vec![c"true".into()],
        env: Vec::new(),
        cwd: c"/".into(),
        ids: None,
        umask: None,
        limits: Vec::new(),
        stdout: None,
        stderr: None,
        cgroup: false,
        tree: true,
    };
    Step { service: "web".to_owned(), memo: None, acts: vec![Act::Launch(Box::new(launch))] }
}

/// What a herder had asked for that was too busy to hear of a shutdown, and that is read after the keeper has begun it.
#[test]
fn once_the_keeper_ends_the_services_nothing_is_launched() {
    let dir = tempfile::tempdir().unwrap();
    let mut slots = slots(dir.path());
    assert_eq!(slots.close(), []);
    slots.take(launch(1)).unwrap();
    assert_eq!(slots.living(), []);
    assert_eq!(slots.tell(), None);
}
