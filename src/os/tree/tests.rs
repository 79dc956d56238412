//! Trees of real processes, below a test that is their subreaper.

mod reuse;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::super::shell::{Shell, alone, wait};
use super::*;
use crate::model::{Bound, Ending, Limit, Resource, RunId, Signal};

/// A main process that goes, a double-forked grandchild in a session of its own, and a child of that in another.
/// The one that is found by the mark in its environment executes nothing more: meanwhile its environment could not be read.
const ESCAPING: &str = "(setsid sh -c '
    setsid sh -c \"echo deep \\$\\$; exec sleep 60\" &
    echo middle $$; wait' &)
    sh -c 'echo child $$; exec sleep 60' &
    echo main $$; wait";

/// A run with a number of its own, so that tests beside this one have other marks.
fn run() -> RunId {
    RunId { herd: fastrand::u64(..) >> 1, number: 7 }
}

/// What belongs to a run of what has become this test's own child.
fn adopted(run: RunId, main: u32) -> Vec<Kin> {
    new_adopted(run, main, |pid| pid == main)
}

fn new_adopted(run: RunId, main: u32, known: impl Fn(u32) -> bool) -> Vec<Kin> {
    let runs = [Known { run, session: Some(main), began: 0 }];
    let of_run = |kin: &Kin| {
        Orphan::look(kin, run.herd).unwrap().is_some_and(|orphan| {
            // Beside this test others have orphans, which are strangers to it.
            attribute(&orphan, &runs, true) == Some(run)
        })
    };
    orphans(known).unwrap().into_iter().filter(of_run).collect()
}

fn numbers(kin: &[Kin]) -> Vec<u32> {
    kin.iter().map(Kin::pid).collect()
}

fn reap(orphan: Kin) {
    assert!(matches!(Shell::reap(orphan.into_child()), Ending::Killed { signal: Signal::KILL, .. }));
}

/// With which mark, and whether the main process has ended before somebody looks.
fn escaped_grandchildren_are_killed(
    env: &[&str],
    limits: Vec<(Resource, crate::model::Limit)>,
    run: RunId,
    crash: bool,
) {
    let _alone = alone();
    become_subreaper().unwrap();
    let mut shell = Shell::run(ESCAPING, env, limits, None).unwrap();
    let [main, child, middle, deep] = ["main", "child", "middle", "deep"].map(|word| shell.number(word));

    let root = Kin::of(&shell.process).unwrap();
    let below = descendants(&[Kin::of(&shell.process).unwrap()]).unwrap();
    assert_eq!(numbers(&below), [child], "the others have let go of it");
    let outside = adopted(run, main);
    assert_eq!(numbers(&outside), [middle]);
    let deeper = descendants(&outside).unwrap();
    assert_eq!(numbers(&deeper), [deep]);

    let mut roots = vec![root];
    if crash {
        shell.process.signal(Signal::KILL).unwrap();
        wait(shell.process.fd().unwrap(), PollFlags::POLLIN);
        roots.clear();
    }
    let cull = kill_tree(roots, || adopted(run, main));
    assert_eq!(cull, Cull { killed: if crash { 3 } else { 4 }, spared: Vec::new(), whole: true });
    shell.all_gone();
    reap(Kin::of(&shell.process).unwrap());
    // Each has been handed over to this process by the end of the one before it.
    [below, outside, deeper].into_iter().flatten().for_each(reap);
    assert!(adopted(run, main).is_empty());
}

#[test]
fn a_stop_kills_escaped_grandchildren_by_the_mark_in_their_environment() {
    let run = run();
    // The limit is a conf's own, so that it can't be the mark.
    let of_conf = Limit { soft: Bound::At(7), hard: Bound::At(7) };
    escaped_grandchildren_are_killed(&[&format!("DHERDER_RUN={run}")], vec![(Resource::Locks, of_conf)], run, false);
}

#[test]
fn of_what_has_no_limit_the_environment_is_not_waited_for() {
    let _alone = alone();
    let run = run();
    let of_conf = Limit { soft: Bound::At(7), hard: Bound::At(7) };
    for (limits, expected) in [(Vec::new(), None), (vec![(Resource::Locks, of_conf)], Some(run))] {
        let unlimited = limits.is_empty();
        let env = format!("DHERDER_RUN={run}");
        let mut shell = Shell::run("echo main $$; sleep 60 & wait", &[&env], limits, None).unwrap();
        let main = shell.number("main");
        if unlimited && mark::locks(main, run.herd).unwrap() != mark::Locks::Unlimited {
            eprintln!("not tried: this process itself has a limit");
        } else {
            assert_eq!(mark::mark(main, run.herd).unwrap(), expected);
        }
        kill_tree(vec![Kin::of(&shell.process).unwrap()], Vec::new);
        shell.all_gone();
        Shell::reap(shell.process);
    }
}

#[test]
fn a_crash_leaves_no_escaped_grandchildren_by_the_mark_in_their_limits() {
    let run = run();
    let Some(mark) = limit_mark(run) else { return eprintln!("not tried: this process may not set the limit") };
    escaped_grandchildren_are_killed(&[], vec![(Resource::Locks, mark)], run, true);
}

#[test]
fn a_process_that_lives_by_forking_is_caught() {
    let _alone = alone();
    become_subreaper().unwrap();
    let run = run();
    let Some(mark) = limit_mark(run) else { return eprintln!("not tried: this process may not set the limit") };
    // These execute programs all the time, so only the mark in their limits will do. Each one starts the next in a session of its own and ends. Should nobody catch it, it comes to an end by itself.
    let hop = "HOP='echo left $1; test $1 -gt 0 && { setsid sh -c \"$HOP\" hop $(($1 - 1)) & }'; export HOP
        sh -c \"$HOP\" hop 20000; echo main $$; exec sleep 60";
    let mut shell = Shell::run(hop, &[], vec![(Resource::Locks, mark)], None).unwrap();
    let main = shell.number("main");
    let mut seen: HashMap<u32, Kin> = HashMap::new();
    let cull = kill_tree(vec![Kin::of(&shell.process).unwrap()], || {
        let found = new_adopted(run, main, |pid| pid == main || seen.contains_key(&pid));
        seen.extend(found.iter().map(|kin| (kin.pid(), Kin::open(kin.pid()).unwrap())));
        found
    });
    assert!(cull.whole, "{cull:?}");
    assert!(!shell.all_gone().ends_with("left 0\n"), "it ended by itself");
    Shell::reap(shell.process);
    for kin in seen.into_values() {
        Shell::reap(kin.into_child());
    }
}

#[test]
fn what_children_there_are_is_known_with_and_without_lists() {
    let _alone = alone();
    let mut shell = Shell::run("sleep 60 & sleep 60 & echo main $$; wait", &[], Vec::new(), None).unwrap();
    let main = shell.number("main");
    let mut listed = children::children_of(main).unwrap();
    let mut scanned = children::scan_for_children_of(main).unwrap();
    listed.sort_unstable();
    scanned.sort_unstable();
    assert_eq!((listed.len(), &listed), (2, &scanned));
    let cull = kill_tree(vec![Kin::of(&shell.process).unwrap()], Vec::new);
    assert_eq!((cull.killed, cull.whole), (3, true));
    shell.all_gone();
    Shell::reap(shell.process);
    assert!(children::children_of(0x7fff_ffff).unwrap().is_empty());
}

#[test]
fn nobody_is_killed_before_all_are_stopped() {
    let _alone = alone();
    let mut shell = Shell::run("sleep 60 & sleep 60 & echo main $$; wait", &[], Vec::new(), None).unwrap();
    shell.number("main");
    let root = Kin::of(&shell.process).unwrap();
    let mut all = root.children().unwrap();
    all.push(Kin::of(&shell.process).unwrap());
    let mut asked = 0;
    let watchdog = Instant::now() + Duration::from_secs(30);
    let cull = kill_tree(vec![root], || {
        asked += 1;
        // By the second question the children have been found.
        while asked == 2 && all.iter().any(|kin| kin.facts().unwrap().unwrap().state != 'T') {
            assert!(!all.iter().any(Kin::has_ended), "killed while others ran");
            assert!(Instant::now() < watchdog, "not stopped");
            std::thread::yield_now();
        }
        Vec::new()
    });
    assert_eq!((cull.killed, cull.whole), (3, true));
    assert!(asked > 2);
    shell.all_gone();
    Shell::reap(shell.process);
}

#[test]
fn a_stray_is_whose_marks_leave_no_doubt() {
    let _alone = alone();
    let (run, uid) = (run(), nix::unistd::getuid().as_raw());
    let other = RunId { herd: run.herd ^ 1, number: run.number };
    let next = RunId { herd: run.herd, number: run.number + 1 };
    let Some(mark) = limit_mark(run) else { return eprintln!("not tried: this process may not set the limit") };
    let limited = || vec![(Resource::Locks, mark)];
    let meant = |env: Option<RunId>, limits, sought: (RunId, u32)| {
        let env = env.map(|run| format!("DHERDER_RUN={run}"));
        let env: Vec<_> = env.iter().map(String::as_str).collect();
        let mut shell = Shell::run("echo main $$; exec sleep 60", &env, limits, None).unwrap();
        let main = shell.number("main");
        let found = strays(run.herd, |_| true, |run, uid| (run, uid) == sought).unwrap();
        let found = match &*found {
            [] => false,
            [stray] => stray.run == run && stray.kin.pid() == main,
            more => panic!("{more:?}"),
        };
        shell.process.signal(Signal::KILL).unwrap();
        wait(shell.process.fd().unwrap(), PollFlags::POLLIN);
        let left = strays(run.herd, |_| true, |_, _| true).unwrap();
        assert!(left.is_empty(), "it has ended, though nobody has reaped it: {left:?}");
        Shell::reap(shell.process);
        found
    };
    assert!(meant(None, limited(), (run, uid)));
    assert!(meant(Some(run), limited(), (run, uid)));
    assert!(!meant(Some(run), limited(), (next, uid)), "another run");
    assert!(!meant(Some(run), limited(), (run, uid + 1)), "another user");
    assert!(!meant(Some(other), limited(), (run, uid)), "a herd within a service has marked its own");
    assert!(!meant(Some(next), limited(), (run, uid)), "two marks of two runs");
    assert!(!meant(None, Vec::new(), (run, uid)), "no mark");
    let of_conf = Limit { soft: Bound::At(7), hard: Bound::At(7) };
    assert!(meant(Some(run), vec![(Resource::Locks, of_conf)], (run, uid)), "the limit was the conf's");
    assert!(!meant(Some(other), vec![(Resource::Locks, of_conf)], (run, uid)));
}

#[test]
fn a_stray_and_what_descends_from_it_is_killed() {
    let _alone = alone();
    become_subreaper().unwrap();
    let run = run();
    let Some(mark) = limit_mark(run) else { return eprintln!("not tried: this process may not set the limit") };
    let mut shell = Shell::run(ESCAPING, &[], vec![(Resource::Locks, mark)], None).unwrap();
    let [main, child, middle, deep] = ["main", "child", "middle", "deep"].map(|word| shell.number(word));
    let look = || strays(run.herd, |of| of == run, |of, _| of == run).unwrap().into_iter().map(|stray| stray.kin);
    let mut found: Vec<_> = look().map(|kin| kin.pid()).collect();
    found.sort_unstable();
    let mut expected = [main, child, middle, deep];
    expected.sort_unstable();
    assert_eq!(found, expected);
    let orphans: Vec<Kin> = look().filter(|kin| kin.pid() != main).collect();
    let cull = kill_strays(look().filter(|kin| kin.pid() == middle).collect(), Vec::new);
    assert_eq!((cull.killed, cull.whole), (2, true), "and the one below it");
    let cull = kill_strays(look().collect(), || look().collect());
    assert!(cull.whole && cull.killed <= 4, "{cull:?}");
    shell.all_gone();
    assert_eq!(look().count(), 0);
    Shell::reap(shell.process);
    orphans.into_iter().for_each(reap);
}
