//! A keeper that is killed between two stores, for real: in a process of its own, at moments that nobody chooses.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::*;

const INNER: &str = "RUN_TABLE_TEST_FILE";
/// How many different runs shall have been found: each is one of a keeper that was killed while it was at work, which
/// not every one is on a busy machine.
const RUNS: usize = 100;
const WATCHDOG: usize = 3000;

/// All that a record of this run may ever say.
fn said(number: u64) -> (RunId, u32, i32, Identity, Ending) {
    let run = RunId { herd: !number, number };
    (run, number as u32, (number % 30_000) as i32 + 1, Identity::Inode(number * 3), Ending::Exited(number as u8))
}

/// Two of each size of record, which change hands. The first run of a life is a multiple of four, and the first service's.
fn services() -> [ServiceId; 4] {
    [("a", 3), ("b", 16), ("c", 100), ("d", 140)].map(|(letter, length)| id(&letter.repeat(length)))
}

#[test]
fn a_kill_between_two_stores_leaves_whole_records() {
    if let Some(path) = std::env::var_os(INNER) {
        work(Path::new(&path));
    }
    let desk = Desk::new();
    let mut runs = BTreeSet::new();
    let mut kills = 0;
    while runs.len() < RUNS {
        kills += 1;
        assert!(kills < WATCHDOG, "only {runs:?} were found");
        let test = "keeper::run_table::tests::kills::a_kill_between_two_stores_leaves_whole_records";
        let keeper = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", test])
            .env(INNER, desk.path())
            .output()
            .unwrap();
        assert_eq!(keeper.status.signal(), Some(Signal::KILL.number()), "{keeper:?}");

        let found = desk.open().1;
        assert_eq!(found.distrusted, None);
        let services: BTreeSet<_> = found.records.iter().map(|record| &record.service).collect();
        assert_eq!(services.len(), found.records.len(), "one record a service");
        for record in &found.records {
            let (run, uid, pid, identity, ended) = said(record.run.number);
            assert_eq!((record.run, record.uid), (run, uid), "{record:?}");
            assert_eq!(record.pid.unwrap_or(pid), pid, "{record:?}");
            assert_eq!(record.identity.unwrap_or(identity), identity, "{record:?}");
            assert_eq!(record.ended.unwrap_or(ended), ended, "{record:?}");
            assert!(record.pid.is_some() || record.identity.is_none() && record.ended.is_none(), "{record:?}");
            let services = self::services();
            assert_eq!(record.service, services[record.run.number as usize % services.len()], "{record:?}");
            runs.insert(record.run.number);
        }
    }
}

/// Works on the table, on and on, with what the one before left there, until it is killed: when the
/// shell has come so far, beside that work.
fn work(path: &Path) -> ! {
    let (mut table, found) = RunTable::open(path, BOOT).unwrap();
    assert_eq!(found.distrusted, None);
    table.vouch();
    for record in found.records {
        table.release(record.place);
    }
    let services = services();
    let mut number = fastrand::u64(..1 << 40) * 4;
    std::thread::spawn(|| Command::new("sh").args(["-c", "kill -KILL $PPID"]).status());
    loop {
        number = round(&mut table, &services, number);
    }
}

/// The life of a few services, from this run number on.
fn round(table: &mut RunTable, services: &[ServiceId; 4], mut number: u64) -> u64 {
    let mut places = services.each_ref().map(|service| Some(table.claim(service).unwrap()));
    for _ in 0..3 {
        for place in places.iter().flatten() {
            let (run, uid, pid, identity, ended) = said(number);
            table.begin(place, run, uid).store(pid);
            table.made(place, pid, identity);
            table.ended(place, ended);
            if number.is_multiple_of(2) {
                table.clear(place);
            }
            number += 1;
        }
    }
    // In another order than they were claimed in, so that records change hands.
    for which in [2, 0, 3, 1] {
        if let Some(place) = places[which].take() {
            table.release(place);
        }
    }
    number
}
