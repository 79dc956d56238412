//! A keeper that is killed between two stores, for real: in a process of its own, at moments that nobody chooses.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const INNER: &str = "RUN_TABLE_TEST_FILE";
const KILLS: usize = 60;
const READY: &str = "the keeper is at work";

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
    for _ in 0..KILLS {
        let test = "keeper::run_table::tests::kills::a_kill_between_two_stores_leaves_whole_records";
        let mut keeper = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", test])
            .env(INNER, desk.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(keeper.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains(READY)));
        keeper.kill().unwrap();
        keeper.wait().unwrap();

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
    assert!(runs.len() > KILLS / 4, "the kills came at many moments: {runs:?}");
}

/// Works on the table, on and on, with what the one before left there, and says so beside that work: who is killed when it
/// says something is always killed at the same moment.
fn work(path: &Path) -> ! {
    let (mut table, found) = RunTable::open(path, BOOT).unwrap();
    assert_eq!(found.distrusted, None);
    for record in found.records {
        table.release(record.place);
    }
    let (at_work, is_at_work) = std::sync::mpsc::sync_channel(1);
    let worker = std::thread::spawn(move || {
        let services = services();
        let mut number = fastrand::u64(..1 << 40) * 4;
        // Not for ever: whoever was to kill it may be gone.
        for _ in 0..1_000_000 {
            number = round(&mut table, &services, number);
            // Nobody listens any more once it has been said.
            _ = at_work.try_send(());
        }
    });
    for _ in 0..fastrand::usize(1..100) {
        is_at_work.recv().unwrap();
    }
    writeln!(std::io::stdout(), "{READY}").unwrap();
    worker.join().unwrap();
    std::process::exit(1)
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
