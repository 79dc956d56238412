use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::keeper::RunTable;
use crate::model::{RunId, ServiceId};
use crate::os::{Identity, boot_id};

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

fn is_alive(evidence: io::Result<Evidence>) -> bool {
    match evidence.unwrap() {
        Evidence::Alive(_) => true,
        Evidence::Gone => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_verdict_on_what_is_seen() {
    let record = |ended| Record { ended, ..Table::new().with(Some(7), None) };
    let of = |run, uid| Seen::Somebody(Mark::Of { run, uid });
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
        (Seen::Somebody(Mark::Missing), Verdict::Gone),
        (Seen::Somebody(Mark::Hidden), Verdict::Gone),
        (Seen::Somebody(Mark::NotYet), Verdict::NotYet),
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

#[test]
fn an_end_that_the_last_keeper_knew_is_told_as_it_was() {
    let process = Process::with_mark("00000000000000ab-3");
    let mut record = Table::new().with(Some(process.pid()), Some(process.identity()));
    record.ended = Some(Ending::Exited(7));
    assert!(matches!(examine(&record).unwrap(), Evidence::Ended(Ending::Exited(7))));
}

#[test]
fn what_is_found_is_the_process_itself() {
    let process = Process::with_mark("00000000000000ab-3");
    let record = Table::new().with(Some(process.pid()), Some(process.identity()));
    let Evidence::Alive(pidfd) = examine(&record).unwrap() else { panic!("it lives") };
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
