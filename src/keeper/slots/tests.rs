//! Slots with real processes, which this test reaps when it wants to.

use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tempfile::TempDir;

use super::*;
use crate::model::ServiceId;
use crate::os::peer::exit_descriptor;
use crate::os::tree::Kin;
use crate::os::{Epoll, Events, Identity};
use crate::process::LAUNCH_LIMIT;
use crate::process::children::EndBy;

const BOOT: [u8; 16] = *b"boot of the test";
const HERD: u64 = 0xab;
const WATCHDOG_MS: u16 = 30_000;

struct Keeper {
    dir: TempDir,
    epoll: Rc<Epoll>,
    slots: Slots,
}

fn run(number: u64) -> RunId {
    RunId { herd: HERD, number }
}

fn id(text: &str) -> ServiceId {
    text.parse().unwrap()
}

impl Keeper {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let epoll = Rc::new(Epoll::new().unwrap());
        let table = Table::new(Rc::clone(&epoll), EndBy::Sigchld, LAUNCH_LIMIT);
        let lock = File::create(dir.path().join("lock")).unwrap();
        let lock = Rc::new(crate::os::raised(lock.as_fd(), 5).unwrap());
        let records = RunTable::open(&dir.path().join("table"), BOOT).unwrap().0;
        let mut trees = Trees::new(Rc::clone(&epoll), HERD);
        // Other tests of this process have orphans.
        trees.expect_strangers();
        let slots = Slots::new(table, records, trees, lock, 1);
        slots.vouch();
        Self { slots, dir, epoll }
    }

    /// What the next keeper would find.
    fn found(&self, service: &str) -> Record {
        let found = RunTable::open(&self.dir.path().join("table"), BOOT).unwrap().1;
        found.records.into_iter().find(|record| record.service == id(service)).unwrap()
    }

    fn launch(&mut self, service: &str, number: u64, program: &str) {
        let launch = wire::Launch {
            run: run(number).into(),
            programs: vec![CString::new(program).unwrap()],
            argv: vec![c"program".to_owned()],
            env: Vec::new(),
            cwd: c"/".to_owned(),
            ids: None,
            umask: None,
            limits: Vec::new(),
            stdout: wire::Sink::Null,
            stderr: None,
            cgroup: false,
            tree: false,
        };
        let acts = vec![Act::Launch(Box::new(launch))];
        self.slots.take(Step { service: service.to_owned(), memo: None, acts }, HerdEnd::Never).unwrap();
    }

    /// Takes over the run of a process that somebody else reaps.
    fn adopt(&mut self, service: &str, number: u64, process: &Child) {
        let (pid, fd) = (process.id(), exit_descriptor(process.id()).unwrap());
        let place = self.slots.records.claim(&id(service)).unwrap();
        let identity = Identity::of(pid.cast_signed(), fd.as_fd()).unwrap();
        self.slots.records.begin(&place, run(number), 0).store(pid.cast_signed());
        self.slots.records.made(&place, pid.cast_signed(), identity);
        let record = Record {
            place,
            service: id(service),
            run: run(number),
            uid: 0,
            pid: Some(pid.cast_signed()),
            identity: Some(identity),
            ended: None,
            scope: StopScope::Main,
            restarts: None,
        };
        self.slots.adopt(record, Evidence::Alive(fd));
    }

    /// Hears of what happens until a run has ended.
    fn until_ended(&mut self, number: u64) -> Ending {
        let mut events = Events::default();
        loop {
            if let Some(ending) = self.slots.table.ending(run(number)) {
                return ending;
            }
            let wait = self.slots.next_deadline().map(|due| due.saturating_duration_since(Instant::now()));
            let epoll = Rc::clone(&self.epoll);
            for number in epoll.wait(&mut events, wait.or(Some(Duration::from_secs(30)))).unwrap() {
                self.slots.happened(number);
            }
            self.slots.expire(Instant::now());
        }
    }

    fn ends(&mut self) -> Vec<(u64, Ending)> {
        let mut ends = Vec::new();
        while let Some((run, report)) = self.slots.tell() {
            if let Report::Ended(ending) = report {
                ends.push((run.number, ending));
            }
        }
        ends
    }
}

fn wait_for_the_end(pid: u32) {
    let fd = exit_descriptor(pid).unwrap();
    assert_eq!(poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(WATCHDOG_MS)).unwrap(), 1);
}

/// A process of this test that waits until it is let go.
fn sleeper() -> Child {
    Command::new("/bin/cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn the_next_keeper_finds_that_a_program_could_not_be_executed() {
    let mut keeper = Keeper::new();
    keeper.launch("web", 1, "/nowhere/at/all");
    let pid = keeper.found("web").pid.unwrap();
    wait_for_the_end(pid.unsigned_abs());
    keeper.slots.reap(pid);
    let expected = Ending::NotLaunched(LaunchError { stage: Stage::Exec, errno: libc::ENOENT });
    assert_eq!(keeper.until_ended(1), expected);
    assert_eq!(keeper.found("web").ended, Some(expected), "and not that it exited with code 127");
}

#[test]
fn the_next_keeper_finds_how_an_earlier_ones_run_has_ended() {
    let mut keeper = Keeper::new();
    let mut process = sleeper();
    keeper.adopt("web", 1, &process);
    assert_eq!(keeper.found("web").ended, None);
    process.kill().unwrap();
    process.wait().unwrap();
    let ending = keeper.until_ended(1);
    assert!(matches!(ending, Ending::Killed { signal: Signal::KILL, .. } | Ending::Lost), "{ending:?}");
    assert_eq!(keeper.found("web").ended, Some(ending));
}

#[test]
fn a_launch_that_is_refused_leaves_what_is_known_of_who_lives() {
    let mut keeper = Keeper::new();
    let mut process = sleeper();
    keeper.adopt("web", 1, &process);
    let known = |keeper: &Keeper| {
        let slot = &keeper.slots.slots["web"];
        (slot.in_leaf, slot.began, slot.foreign, slot.oom_kills)
    };
    keeper.slots.slots.get_mut("web").unwrap().oom_kills = 3;
    let before = known(&keeper);
    keeper.launch("web", 2, "/bin/true");
    assert_eq!(keeper.ends(), [(2, Ending::NotLaunched(REFUSED))]);
    assert_eq!(known(&keeper), before);
    assert!(before.2, "it is an earlier keeper's");
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn what_is_only_stopped_has_not_ended() {
    let mut keeper = Keeper::new();
    let mut process = sleeper();
    let pid = process.id();
    keeper.slots.table.bury(run(1), StopScope::Tree, Ending::Exited(0));
    keeper.slots.table.hold(run(1));
    keeper.slots.trees.wait_for_process(run(1), id("web"), pid);
    let held = Kin::open(pid).unwrap();
    held.signal(Signal::from_number(libc::SIGSTOP.into()).unwrap()).unwrap();
    keeper.slots.reap(pid.cast_signed());
    assert!(keeper.slots.table.lives(run(1)));
    assert_eq!(keeper.ends(), []);
    held.signal(Signal::KILL).unwrap();
    wait_for_the_end(pid);
    keeper.slots.reap(pid.cast_signed());
    assert_eq!(keeper.ends(), [(1, Ending::Exited(0))]);
    assert!(!keeper.slots.table.lives(run(1)));
    assert!(process.wait().is_err(), "it is reaped");
}

#[test]
fn a_run_of_which_something_is_ending_is_not_forgotten() {
    let mut keeper = Keeper::new();
    let service = keeper.slots.slot("web");
    keeper.slots.slots.get_mut("web").unwrap().runs.push(run(1));
    keeper.slots.owners.insert(run(1), service);
    keeper.slots.table.bury(run(1), StopScope::Tree, Ending::Exited(0));
    keeper.slots.table.hold(run(1));
    keeper.slots.acknowledge(run(1));
    keeper.launch("web", 2, "/bin/true");
    assert_eq!(keeper.ends(), [(2, Ending::NotLaunched(REFUSED))], "it still has its slot");
    keeper.slots.table.release(run(1));
    assert_eq!(keeper.ends(), [], "whoever acknowledged it has heard of it");
    assert!(!keeper.slots.owners.contains_key(&run(1)));
}

/// What a herder had asked for that was too busy to hear of a shutdown, and that is read after the keeper has begun it.
#[test]
fn once_the_keeper_ends_the_services_nothing_is_launched() {
    let mut keeper = Keeper::new();
    assert_eq!(keeper.slots.close(), []);
    keeper.launch("web", 1, "/bin/true");
    assert_eq!(keeper.slots.living(), []);
    assert_eq!(keeper.slots.tell(), None);
}

/// Asks for a signal, as a step of the service does.
fn ask(keeper: &mut Keeper, signal: i32, end: HerdEnd) {
    let acts = vec![Act::Signal { run: run(1).into(), signal: u8::try_from(signal).unwrap(), tree: false }];
    keeper.slots.take(Step { service: "web".to_owned(), memo: None, acts }, end).unwrap();
}

#[test]
fn what_is_stopped_is_woken_later_in_a_herd_that_ends() {
    let mut keeper = Keeper::new();
    let mut process = sleeper();
    keeper.adopt("web", 1, &process);
    let is_stopped = |keeper: &Keeper| keeper.slots.table.process(run(1)).and_then(Process::state) == Some('T');
    for end in [HerdEnd::Asked, HerdEnd::Begun, HerdEnd::Never] {
        ask(&mut keeper, libc::SIGSTOP, end);
        while !is_stopped(&keeper) {
            std::thread::yield_now();
        }
        ask(&mut keeper, libc::SIGCONT, end);
        assert_eq!(is_stopped(&keeper), end != HerdEnd::Never);
        keeper.slots.wake_stopped();
        assert!(!is_stopped(&keeper));
    }
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn a_run_is_asked_once_together_with_others() {
    let mut keeper = Keeper::new();
    let mut process = sleeper();
    keeper.adopt("web", 1, &process);
    let ask = |keeper: &mut Keeper, number, signal: Signal| {
        let signal = u8::try_from(signal.number()).unwrap();
        keeper.slots.signal_together(&[(run(9).into(), signal), (run(number).into(), signal)]).unwrap();
    };
    ask(&mut keeper, 1, Signal::CONT);
    ask(&mut keeper, 1, Signal::TERM);
    still_answers(&mut process);
    process.kill().unwrap();
    process.wait().unwrap();

    // One that is launched only then was not asked.
    ask(&mut keeper, 2, Signal::TERM);
    let mut process = sleeper();
    keeper.adopt("other", 2, &process);
    ask(&mut keeper, 2, Signal::TERM);
    assert_eq!(process.wait().unwrap().signal(), Some(libc::SIGTERM));
}

/// A signal that it was sent would come before what it does next.
fn still_answers(process: &mut Child) {
    process.stdin.as_mut().unwrap().write_all(b"lives\n").unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "lives\n");
}

/// What is remembered of a service that is stopped by this signal.
fn remember(keeper: &mut Keeper, service: &str, signal: Signal, unasked: bool) {
    let stop = wire::Stop { signal: u8::try_from(signal.number()).unwrap(), timeout_ns: 1, tree: false };
    let memo = Memo { stop, note: Vec::new(), restarts: 0, unasked, texts: None };
    let step = Step { service: service.to_owned(), memo: Some(memo), acts: Vec::new() };
    keeper.slots.take(step, HerdEnd::Never).unwrap();
}

#[test]
fn all_are_asked_to_end_in_their_own_way_but_those_that_were() {
    let mut keeper = Keeper::new();
    let [mut web, mut db, mut known, mut new] = [(); 4].map(|()| sleeper());
    for (number, service, process) in [(1, "web", &web), (2, "db", &db), (3, "known", &known), (4, "new", &new)] {
        keeper.adopt(service, number, process);
    }
    remember(&mut keeper, "web", Signal::TERM, true);
    remember(&mut keeper, "db", Signal::from_number(libc::SIGINT.into()).unwrap(), true);
    // It is being stopped, or it is not remembered how it is: whoever decides that is waited for.
    remember(&mut keeper, "known", Signal::TERM, false);
    keeper.slots.ask_all();
    assert_eq!(web.wait().unwrap().signal(), Some(libc::SIGTERM));
    assert_eq!(db.wait().unwrap().signal(), Some(libc::SIGINT));
    for process in [&mut known, &mut new] {
        still_answers(process);
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

/// By a herder that has not heard yet that it was asked with all others.
#[test]
fn a_stop_that_crosses_the_end_of_the_herd_on_its_way_is_no_second_one() {
    let mut keeper = Keeper::new();
    let mut process = sleeper();
    keeper.adopt("web", 1, &process);
    remember(&mut keeper, "web", Signal::CONT, true);
    keeper.slots.ask_all();
    // Its stop signal is another one by now, so that it can be seen.
    remember(&mut keeper, "web", Signal::TERM, true);
    ask(&mut keeper, libc::SIGTERM, HerdEnd::Asked);
    still_answers(&mut process);
    ask(&mut keeper, libc::SIGTERM, HerdEnd::Begun);
    assert_eq!(process.wait().unwrap().signal(), Some(libc::SIGTERM));
}
