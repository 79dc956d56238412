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

fn services() -> [ServiceId; 4] {
    [1, 20, 90, 250].map(|length| id(&"x".repeat(length)))
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
            runs.insert(record.run.number);
        }
    }
    assert!(runs.len() > KILLS / 4, "the kills came at many moments: {runs:?}");
}

/// Works on the table, on and on, with what the one before left there.
fn work(path: &Path) -> ! {
    let (mut table, found) = RunTable::open(path, BOOT).unwrap();
    assert_eq!(found.distrusted, None);
    let mut number = fastrand::u64(..1 << 40);
    for record in found.records {
        table.release(record.place);
    }
    writeln!(std::io::stdout(), "{READY}").unwrap();
    let services = services();
    loop {
        let mut places = services.each_ref().map(|service| Some(table.claim(service).unwrap()));
        for _ in 0..3 {
            for place in places.iter().flatten() {
                number += 1;
                let (run, uid, pid, identity, ended) = said(number);
                table.begin(place, run, uid).store(pid);
                table.made(place, pid, identity);
                table.ended(place, ended);
                if number.is_multiple_of(2) {
                    table.clear(place);
                }
            }
        }
        // In another order than they were claimed in, so that records change hands.
        for which in [2, 0, 3, 1] {
            if let Some(place) = places[which].take() {
                table.release(place);
            }
        }
    }
}
