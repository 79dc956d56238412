use std::ffi::CString;
use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::keeper::RunTable;
use crate::model::{Limit, Resource, RunId, ServiceId, Signal, Stage, StopScope};
use crate::os::tree::limit_mark;
use crate::os::{self, Flight, Identity, Order, OutputTo, Stock, Trace, boot_id};

const RUN: RunId = RunId { herd: 0xab, number: 3 };

/// A process that has executed its program, and ends when it is waited for.
struct Process(Child);

impl Process {
    fn with_mark(mark: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo; read x"]).env("DHERDER_RUN", mark);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Self(child)
    }

    fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    fn identity(&self) -> Identity {
        let pidfd = open_process(self.pid()).unwrap().unwrap();
        Identity::of(self.pid(), pidfd.as_fd()).unwrap()
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.wait().unwrap();
    }
}

/// A table on the disk, and what it says to the next keeper.
struct Table(tempfile::TempDir);

impl Table {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The record of a run that came this far.
    fn with(&self, pid: Option<i32>, identity: Option<Identity>) -> Record {
        let path = self.0.path().join("table");
        let boot_id = boot_id().unwrap();
        let (mut table, _) = RunTable::open(&path, boot_id).unwrap();
        table.vouch();
        let service: ServiceId = "web".parse().unwrap();
        let place = table.claim(&service).unwrap();
        let word = table.begin(&place, RUN, 12345);
        match (pid, identity) {
            (Some(pid), Some(identity)) => table.made(&place, pid, identity),
            (Some(pid), None) => word.store(pid),
            (None, _) => {}
        }
        drop(table);
        RunTable::open(&path, boot_id).unwrap().1.records.pop().unwrap()
    }
}

/// Looks beside a lock that nobody holds.
fn examine(record: &Record) -> Look {
    let lock = tempfile::tempfile().unwrap();
    super::examine(record, lock.as_fd()).unwrap()
}

fn is_alive(look: Look) -> bool {
    match look {
        Look::Settled(Evidence::Alive(_)) => true,
        Look::Settled(Evidence::Gone) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_verdict_on_what_is_seen() {
    let record = |ended| Record { ended, ..Table::new().with(Some(7), None) };
    let of = |run, uid| Seen::Somebody(Claim::Of(run), uid);
    let other_herd = RunId { herd: 0xac, ..RUN };
    let other_run = RunId { number: 4, ..RUN };
    let own = 1000;
    for (seen, expected) in [
        (Seen::Nobody, Verdict::Gone),
        (Seen::Itself, Verdict::Alive),
        (Seen::Stranger, Verdict::Gone),
        (of(RUN, own), Verdict::Alive),
        (of(RUN, 12345), Verdict::Alive),
        (of(RUN, 0), Verdict::Gone),
        (of(other_run, own), Verdict::Gone),
        (of(other_herd, own), Verdict::Gone),
        (Seen::Somebody(Claim::NoRun, own), Verdict::Gone),
        (Seen::Somebody(Claim::Launching, own), Verdict::Alive),
        (Seen::Somebody(Claim::Launching, 12345), Verdict::Alive),
        (Seen::Somebody(Claim::Launching, 0), Verdict::Gone),
        (Seen::Somebody(Claim::Executing, own), Verdict::NotYet { kill: true }),
        (Seen::Somebody(Claim::Executing, 0), Verdict::Gone),
        (Seen::Somebody(Claim::Hidden, 12345), Verdict::NotYet { kill: false }),
        (Seen::Somebody(Claim::Hidden, 0), Verdict::Gone),
    ] {
        assert_eq!(judge(&record(None), seen, own), expected, "{seen:?}");
        let ended = Ending::Exited(7);
        assert_eq!(judge(&record(Some(ended)), seen, own), Verdict::Ended(ended), "{seen:?}, and known to have ended");
    }
}

#[test]
fn a_run_is_found_by_its_identity_whatever_it_says_of_itself() {
    let process = Process::with_mark("written over");
    let record = Table::new().with(Some(process.pid()), Some(process.identity()));
    assert!(is_alive(examine(&record)));
    drop(process);
    assert!(!is_alive(examine(&record)));
}

#[test]
fn a_living_stranger_is_left_alone() {
    let table = Table::new();
    let mut stranger = Process::with_mark("00000000000000ab-3");
    let once = Process::with_mark("00000000000000ab-3");
    let of_one_that_ended = once.identity();
    drop(once);
    // The number is a living process's, which even carries the mark; the identity is that of another one.
    let record = table.with(Some(stranger.pid()), Some(of_one_that_ended));
    assert!(!is_alive(examine(&record)));
    // The same for a forged one: all is as it was, but for the bytes of the identity.
    let table = Table::new();
    let record = table.with(Some(stranger.pid()), Some(stranger.identity()));
    assert!(is_alive(examine(&record)));
    let path = table.0.path().join("table");
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff; 8], 64 + 24).unwrap();
    let forged = RunTable::open(&path, boot_id().unwrap()).unwrap().1.records.pop().unwrap();
    assert_eq!((forged.pid, forged.run), (record.pid, record.run));
    assert!(!is_alive(examine(&forged)));
    assert!(stranger.lives());
}

#[test]
fn a_run_without_an_identity_is_known_by_its_mark_only() {
    for (mark, expected) in [("00000000000000ab-3", true), ("00000000000000ab-4", false), ("", false)] {
        let mut process = Process::with_mark(mark);
        assert_eq!(is_alive(examine(&Table::new().with(Some(process.pid()), None))), expected, "{mark:?}");
        assert!(process.lives());
    }
}

/// A launch as the keeper makes it, beside the lock that it holds until it executes its program.
struct Launched {
    process: Option<os::Process>,
    flight: Flight,
    lock: OwnedFd,
}

impl Launched {
    fn new(stdout: OutputTo, limits: Vec<(Resource, Limit)>) -> Self {
        let order = Order {
            limits,
            stdout,
            stderr: None,
            umask: None,
            ids: None,
            cwd: c"/".into(),
            programs: vec![c"/bin/sleep".into()],
            argv: vec![c"sleep".into(), c"60".into()],
            env: vec![c"DHERDER_RUN=00000000000000ab-3".into()],
        };
        let lock = os::raised(tempfile::tempfile().unwrap().as_fd(), 5).unwrap();
        let trace = Trace { lock: Some(lock.as_fd()), ..Trace::default() };
        let (process, flight) = os::launch(&order, &mut Stock::default(), trace, |_| Ok(())).unwrap();
        Self { process: Some(process), flight, lock }
    }

    /// Only its number is known.
    fn record(&self) -> Record {
        Table::new().with(self.process.as_ref().map(os::Process::number), None)
    }

    fn is_done(&self) -> bool {
        poll(&mut [PollFd::new(self.flight.as_fd(), PollFlags::empty())], PollTimeout::ZERO).unwrap() > 0
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        let process = self.process.take().unwrap();
        process.signal(Signal::KILL).unwrap();
        let mut ended = [PollFd::new(process.fd().unwrap(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut ended, PollTimeout::NONE), Ok(1));
        process.reap(StopScope::Main, |_| ()).unwrap();
    }
}

#[test]
fn a_launch_that_has_not_come_to_its_program_is_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("nobody reads");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let stdout = || OutputTo::File(CString::new(fifo.to_str().unwrap()).unwrap());
    let hanging = |limits| {
        let launched = Launched::new(stdout(), limits);
        while launched.flight.stage() != Stage::Stdio {
            std::thread::yield_now();
        }
        launched
    };
    let launched = hanging(Vec::new());
    let record = launched.record();
    assert!(is_alive(super::examine(&record, launched.lock.as_fd()).unwrap()));
    assert!(!is_alive(examine(&record)), "a launch of another state directory");
    drop(launched);
    assert!(!is_alive(examine(&record)));

    let Some(mark) = limit_mark(RUN) else { return eprintln!("not tried: this process may not set the limit") };
    let launched = hanging(vec![(Resource::Locks, mark)]);
    let record = launched.record();
    // Where nobody may see what it holds, the limit is there to be seen.
    assert!(is_alive(examine(&record)));
    let next = RunId { number: 4, ..RUN };
    assert!(!is_alive(examine(&Record { run: next, ..record })));
}

#[test]
fn at_no_moment_of_its_launch_a_run_seems_gone() {
    for _ in 0..100 {
        let launched = Launched::new(OutputTo::Null, Vec::new());
        let record = launched.record();
        let mut done = false;
        while !done {
            // What is seen after it was done is the program.
            done = launched.is_done();
            let look = super::examine(&record, launched.lock.as_fd()).unwrap();
            let found = matches!(look, Look::Settled(Evidence::Alive(_)) | Look::NotYet(Some(_)));
            assert!(found, "{look:?}, done: {done}");
        }
    }
}

#[test]
fn a_keeper_is_no_run_of_its_own() {
    let lock = os::raised(tempfile::tempfile().unwrap().as_fd(), 5).unwrap();
    let record = Table::new().with(Some(std::process::id().cast_signed()), None);
    assert!(!is_alive(super::examine(&record, lock.as_fd()).unwrap()));
}

#[test]
fn an_end_that_the_last_keeper_knew_is_told_as_it_was() {
    let process = Process::with_mark("00000000000000ab-3");
    let mut record = Table::new().with(Some(process.pid()), Some(process.identity()));
    record.ended = Some(Ending::Exited(7));
    assert!(matches!(examine(&record), Look::Settled(Evidence::Ended(Ending::Exited(7)))));
}

#[test]
fn what_is_found_is_the_process_itself() {
    let process = Process::with_mark("00000000000000ab-3");
    let record = Table::new().with(Some(process.pid()), Some(process.identity()));
    let Look::Settled(Evidence::Alive(pidfd)) = examine(&record) else { panic!("it lives") };
    assert_eq!(Identity::of(process.pid(), pidfd.as_fd()).unwrap(), process.identity());
    // Once it has been reaped, the descriptor still leads to how it ended, where the kernel tells.
    drop(process);
    assert!(matches!(crate::os::exit_of(pidfd.as_fd()), Some(Ending::Exited(1)) | None));
}

#[test]
fn a_run_that_was_never_made_is_gone() {
    assert!(!is_alive(examine(&Table::new().with(None, None))));
}

#[test]
fn of_another_boot_there_is_no_evidence() {
    let process = Process::with_mark("00000000000000ab-3");
    let table = Table::new();
    table.with(Some(process.pid()), Some(process.identity()));
    let (_, found) = RunTable::open(&table.0.path().join("table"), [7; 16]).unwrap();
    assert!(found.records.is_empty());
}
