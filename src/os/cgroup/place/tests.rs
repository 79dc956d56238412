use std::sync::MutexGuard;

use nix::poll::PollFlags;

use super::super::super::shell::{Shell, alone, wait};
use super::super::unusable::Unusable;
use super::*;
use crate::model::{Ending, Signal};

/// A place of the test's own; `None`, and a word about it, where the machine has none to offer.
struct Trial {
    place: Option<Place>,
    _alone: MutexGuard<'static, ()>,
}

impl Trial {
    fn begin(name: &str) -> Option<Self> {
        let _alone = alone();
        // 16 digits as a herd's, and as good as unique.
        let number = fastrand::u64(..);
        match Place::open(&format!("{number:016x}")) {
            Ok(place) => Some(Self { place: Some(place), _alone }),
            Err(unusable) => {
                let why = std::error::Error::source(&unusable).map(ToString::to_string).unwrap_or_default();
                eprintln!("{name}: not tried: {unusable} ({why})");
                assert!(!matches!(unusable, Unusable::Survived { .. }), "a kernel that has cgroup.kill kills by it");
                None
            }
        }
    }

    fn place(&self) -> &Place {
        self.place.as_ref().unwrap()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let place = self.place.take().unwrap();
        for (service, _) in place.leaves().unwrap_or_default() {
            if let Ok(Some(leaf)) = place.existing(&service)
                && let Ok(mut occupancy) = leaf.occupancy()
                && leaf.kill().is_ok()
            {
                // After a failed test; a good one has left nobody.
                while occupancy.is_populated().unwrap_or(false) {
                    wait(occupancy.as_fd(), PollFlags::POLLPRI);
                }
            }
            let _ = place.remove(&service);
        }
        let path = place.path().to_owned();
        let dissolved = place.dissolve();
        assert!(std::thread::panicking() || dissolved.is_ok(), "{}: {dissolved:?}", path.display());
    }
}

fn id(text: &str) -> ServiceId {
    text.parse().unwrap()
}

/// A main process that goes, a double-forked grandchild in a session of its own, and a child of that in another.
const ESCAPING: &str = "(setsid sh -c '
    setsid sh -c \"echo deep \\$\\$; exec sleep 60\" &
    echo middle $$; exec sleep 60' &)
    echo main $$; exec sleep 60";

#[test]
fn a_leaf_ends_with_all_that_has_escaped_in_it() {
    let Some(trial) = Trial::begin("cgroup.kill") else { return };
    let place = trial.place();
    let leaf = place.leaf(&id("web")).unwrap();
    assert!(!leaf.is_populated().unwrap());
    let counted = place.path().join("_web/memory.events").exists();
    assert_eq!(leaf.oom_kills(), counted.then_some(0));
    let mut shell = Shell::run(ESCAPING, &[], Vec::new(), Some(leaf.as_fd())).unwrap();
    let mut pids = ["main", "middle", "deep"].map(|word| shell.number(word)).to_vec();

    let mut members = leaf.members().unwrap();
    members.sort_unstable();
    pids.sort_unstable();
    assert_eq!(members, pids);
    assert_eq!(place.leaves().unwrap(), [(id("web"), true)]);
    assert_eq!(place.remove(&id("web")).unwrap_err().raw_os_error(), Some(libc::EBUSY));

    let mut occupancy = leaf.occupancy().unwrap();
    assert!(occupancy.is_populated().unwrap());
    leaf.kill().unwrap();
    while occupancy.is_populated().unwrap() {
        wait(occupancy.as_fd(), PollFlags::POLLPRI);
    }
    assert!(leaf.members().unwrap().is_empty());
    shell.all_gone();
    assert_eq!(Shell::reap(shell.process), Ending::Killed { signal: Signal::KILL, core: false });
}

#[test]
fn a_leaf_is_used_again_and_removed_with_what_was_made_in_it() {
    let Some(trial) = Trial::begin("reuse") else { return };
    let place = trial.place();
    let web = id("cgroup.procs");
    for round in 0..2 {
        let leaf = place.leaf(&web).unwrap();
        let shell = Shell::run("exit 3", &[], Vec::new(), Some(leaf.as_fd())).unwrap();
        assert!(shell.in_leaf);
        assert_eq!(Shell::reap(shell.process), Ending::Exited(3), "round {round}");
        assert!(!leaf.is_populated().unwrap());
    }
    assert_eq!(place.leaves().unwrap(), [(web.clone(), false)]);

    // What a service may do to its own: cgroups below, and a process in the lowest.
    let leaf = place.leaf(&web).unwrap();
    let lower = place.path().join("_cgroup.procs/a/b");
    std::fs::create_dir_all(&lower).unwrap();
    let script = format!("echo $$ > {}/cgroup.procs; echo moved $$; exec sleep 60", lower.display());
    let mut shell = Shell::run(&script, &[], Vec::new(), Some(leaf.as_fd())).unwrap();
    let pid = shell.number("moved");
    assert_eq!(leaf.members().unwrap(), [pid]);
    assert!(leaf.is_populated().unwrap());
    leaf.kill().unwrap();
    assert!(matches!(Shell::reap(shell.process), Ending::Killed { signal: Signal::KILL, .. }));

    place.remove(&web).unwrap();
    place.remove(&web).unwrap();
    assert!(place.existing(&web).unwrap().is_none());
    assert_eq!(place.leaves().unwrap(), []);
    assert!(leaf.kill().is_err(), "a removed leaf says so");
    let outside = Shell::run("exit 3", &[], Vec::new(), Some(leaf.as_fd())).unwrap();
    assert!(!outside.in_leaf, "nobody can begin in it");
    assert_eq!(Shell::reap(outside.process), Ending::Exited(3));
}

#[test]
fn the_next_daemon_finds_the_place_and_who_is_in_it() {
    let Some(trial) = Trial::begin("next daemon") else { return };
    let place = trial.place();
    let leaf = place.leaf(&id("db")).unwrap();
    drop(place.leaf(&id("web")).unwrap());
    let mut shell = Shell::run("echo main $$; exec sleep 60", &[], Vec::new(), Some(leaf.as_fd())).unwrap();
    shell.number("main");

    let prefix = place.path().file_name().unwrap().to_str().unwrap().strip_prefix("daemonherder-").unwrap();
    let next = Place::open(prefix).unwrap();
    let mut leaves = next.leaves().unwrap();
    leaves.sort();
    assert_eq!(leaves, [(id("db"), true), (id("web"), false)]);
    next.existing(&id("db")).unwrap().unwrap().kill().unwrap();
    assert!(matches!(Shell::reap(shell.process), Ending::Killed { .. }));
}

#[test]
fn the_longest_id_has_a_leaf() {
    let Some(trial) = Trial::begin("long id") else { return };
    // What `.conf` leaves of the longest file name.
    let long = id(&"x".repeat(250));
    drop(trial.place().leaf(&long).unwrap());
    assert_eq!(trial.place().leaves().unwrap(), [(long, false)]);
}
