use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::model::{LaunchError, Signal, Stage};

mod kills;

const BOOT: [u8; 16] = *b"boot of the test";

struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("table")
    }

    /// Nothing lives that has no record.
    fn open(&self) -> (RunTable, Found) {
        let (table, found) = RunTable::open(&self.path(), BOOT).unwrap();
        table.vouch();
        (table, found)
    }

    /// What the next keeper would find if this one were killed now.
    fn after_a_kill(&self) -> Found {
        let copy = self.dir.path().join("copy");
        fs::copy(self.path(), &copy).unwrap();
        RunTable::open(&copy, BOOT).unwrap().1
    }

    /// What is found in a file of these bytes, by a table that works afterwards.
    fn found_in(&self, bytes: &[u8]) -> Found {
        fs::write(self.path(), bytes).unwrap();
        let (mut table, found) = self.open();
        let place = table.claim(&id("fresh")).unwrap();
        table.begin(&place, run(1), 0);
        drop(table);
        let again = self.open().1;
        assert_eq!(again.distrusted, None);
        assert!(again.records.iter().any(|record| record.service == id("fresh")), "{again:?}");
        found
    }
}

fn id(text: &str) -> ServiceId {
    text.parse().unwrap()
}

fn run(number: u64) -> RunId {
    RunId { herd: 0xab, number }
}

/// There was no table.
fn unmade() -> Found {
    Found { lost: true, ..Found::default() }
}

fn distrusted(why: Distrust) -> Found {
    Found { records: Vec::new(), distrusted: Some(why), lost: why != Distrust::OtherBoot }
}

#[test]
fn a_run_is_found_again_as_far_as_it_had_come() {
    let desk = Desk::new();
    let (mut table, found) = desk.open();
    assert_eq!(found, unmade());
    let place = table.claim(&id("web")).unwrap();
    assert_eq!(desk.after_a_kill(), Found::default(), "no run yet");

    let seen = || desk.after_a_kill().records.into_iter().map(|r| (r.run, r.uid, r.pid, r.identity, r.ended)).next();
    let word = table.begin(&place, run(7), 33);
    assert_eq!(seen(), Some((run(7), 33, None, None, None)));
    word.store(4711);
    assert_eq!(seen(), Some((run(7), 33, Some(4711), None, None)));
    let identity = Identity::Inode(u64::MAX);
    table.made(&place, 4711, identity);
    assert_eq!(seen(), Some((run(7), 33, Some(4711), Some(identity), None)));
    for ending in [
        Ending::Exited(255),
        Ending::Killed { signal: Signal::KILL, core: true },
        Ending::NotLaunched(LaunchError { stage: Stage::Cwd, errno: libc::ENOENT }),
    ] {
        table.ended(&place, ending);
        assert_eq!(seen(), Some((run(7), 33, Some(4711), Some(identity), Some(ending))));
    }
    table.begin(&place, run(8), 34);
    assert_eq!(seen(), Some((run(8), 34, None, None, None)), "nothing of the run before");
    table.clear(&place);
    assert_eq!(seen(), None);
    table.begin(&place, run(9), 34);
    table.release(place);
    assert_eq!(seen(), None);
}

#[test]
fn what_ends_with_a_run_is_found_with_it_and_with_no_other() {
    let desk = Desk::new();
    let (mut table, _) = desk.open();
    let place = table.claim(&id("web")).unwrap();
    let seen = || desk.after_a_kill().records.into_iter().map(|record| (record.run, record.scope)).next();
    table.begin(&place, run(7), 33);
    assert_eq!(seen(), Some((run(7), StopScope::Tree)));
    table.rescope(&place, run(7), StopScope::Main);
    assert_eq!(seen(), Some((run(7), StopScope::Main)));
    assert_eq!((table.uid(&place, run(7)), table.uid(&place, run(8))), (Some(33), None));
    table.begin(&place, run(8), 33);
    table.rescope(&place, run(7), StopScope::Main);
    assert_eq!(seen(), Some((run(8), StopScope::Tree)), "nothing of the run before");
    table.clear(&place);
    table.rescope(&place, run(8), StopScope::Main);
    assert_eq!(seen(), None, "what is over is not begun again");
}

#[test]
fn what_was_counted_is_found_with_the_run_and_with_no_other() {
    let desk = Desk::new();
    let (mut table, _) = desk.open();
    let place = table.claim(&id("web")).unwrap();
    let seen = || desk.after_a_kill().records.into_iter().map(|r| (r.run, r.scope, r.restarts)).next();
    table.begin(&place, run(7), 33);
    table.rescope(&place, run(7), StopScope::Main);
    for (restarts, known) in [(0, true), (5, true), ((1 << 30) - 2, true), ((1 << 30) - 1, false), (1 << 40, false)] {
        table.count(&place, run(7), restarts);
        assert_eq!(seen(), Some((run(7), StopScope::Main, known.then_some(restarts))), "{restarts}");
    }
    table.count(&place, run(7), 5);
    table.rescope(&place, run(7), StopScope::Tree);
    assert_eq!(seen(), Some((run(7), StopScope::Tree, Some(5))));
    table.begin(&place, run(8), 33);
    table.count(&place, run(7), 6);
    assert_eq!(seen(), Some((run(8), StopScope::Tree, None)), "nothing of the run before");
    table.clear(&place);
    table.count(&place, run(8), 6);
    assert_eq!(seen(), None, "what is over is not begun again");
}

#[test]
fn a_table_is_none_until_all_that_lives_is_in_it() {
    let desk = Desk::new();
    for (what, bytes) in [("none", Vec::new()), ("a damaged one", b"{}\n".to_vec())] {
        fs::write(desk.path(), bytes).unwrap();
        let (mut table, found) = RunTable::open(&desk.path(), BOOT).unwrap();
        assert!(found.lost, "{what}");
        let place = table.claim(&id("found-first")).unwrap();
        table.begin(&place, run(1), 0);
        assert_eq!(desk.after_a_kill(), unmade(), "{what}: there may be another one");
        table.vouch();
        let found = desk.after_a_kill();
        assert_eq!((found.records.len(), found.lost), (1, false), "{what}");
    }
    fs::write(desk.path(), used(&desk)).unwrap();
    let found = RunTable::open(&desk.path(), [7; 16]).unwrap().1;
    assert_eq!(found, distrusted(Distrust::OtherBoot));
    assert!(!RunTable::open(&desk.path(), [7; 16]).unwrap().1.lost, "nothing lives that is of another boot");
}

#[test]
fn the_next_keeper_goes_on_with_the_places_that_it_finds() {
    let desk = Desk::new();
    let (mut table, _) = desk.open();
    let place = table.claim(&id("web")).unwrap();
    table.begin(&place, run(1), 0);
    table.claim(&id("db")).unwrap();
    drop(table);

    let (mut table, mut found) = desk.open();
    let web = found.records.pop().unwrap();
    assert_eq!((&web.service, web.run, &web.place), (&id("web"), run(1), &place));
    table.begin(&web.place, run(2), 0);
    let end = table.end;
    table.claim(&id("db")).unwrap();
    assert_eq!(table.end, end, "the record without a run is used again");
    assert_eq!(desk.after_a_kill().records.len(), 1);
}

#[test]
fn a_freed_record_is_taken_by_the_next_id_of_its_size() {
    let desk = Desk::new();
    let (mut table, _) = desk.open();
    let (short, long) = (id("s"), id(&"l".repeat(250)));
    let place = table.claim(&long).unwrap();
    let end = table.end;
    table.release(place);
    let short = table.claim(&short).unwrap();
    assert!(table.end > end, "one that is too long is left to a long id");
    let end = table.end;
    let place = table.claim(&id(&"m".repeat(245))).unwrap();
    assert_eq!(table.end, end);
    table.begin(&place, run(1), 0);
    table.begin(&short, run(2), 0);
    let services: Vec<_> = desk.after_a_kill().records.into_iter().map(|record| record.service.to_string()).collect();
    assert_eq!(services, ["m".repeat(245), "s".to_owned()]);
}

#[test]
fn every_length_of_an_id_has_its_record_and_a_longer_one_none() {
    let desk = Desk::new();
    let (mut table, _) = desk.open();
    let ids: Vec<_> = (1..=layout::LONGEST_ID).map(|length| id(&"x".repeat(length))).collect();
    for (number, id) in ids.iter().enumerate() {
        let place = table.claim(id).unwrap();
        table.begin(&place, run(number as u64), 0);
    }
    let records = desk.after_a_kill().records;
    assert!(records.iter().map(|record| &record.service).eq(&ids));
    let too_long = table.claim(&id(&"x".repeat(256)));
    assert!(matches!(too_long, Err(TableError::IdTooLong(_))), "{too_long:?}");
}

#[test]
fn a_table_grows_with_its_herd() {
    let desk = Desk::new();
    let (mut table, _) = desk.open();
    for number in 0..3000 {
        let place = table.claim(&id(&format!("s{number}"))).unwrap();
        table.begin(&place, run(number), 0);
    }
    assert!(table.cells.size() > 2 * GRAIN);
    drop(table);
    let found = desk.open().1;
    let numbers: Vec<_> = found.records.iter().map(|record| record.run.number).collect();
    assert_eq!(numbers, (0..3000).collect::<Vec<_>>());
}

#[test]
fn a_thousand_new_services_do_not_wait_for_the_disk() {
    let desk = Desk::new();
    let (mut table, _) = desk.open();
    for round in 0..3 {
        let size = table.cells.size();
        for number in 0..1000 {
            table.claim(&id(&format!("s{round}-{number}"))).unwrap();
        }
        assert_eq!(table.cells.size(), size, "round {round}");
        table.grow_ahead();
    }
    let size = table.cells.size();
    drop(table);
    let (mut table, _) = desk.open();
    assert_eq!(table.cells.size(), size, "what is free is room enough");
    table.grow_ahead();
    assert_eq!(table.cells.size(), size);
}

#[test]
fn an_unfinished_long_id_does_not_lead_a_later_walk_astray() {
    let desk = Desk::new();
    let (mut table, _) = desk.open();
    // Killed before the store of the head: all of the id is there, and reads like heads.
    let end = table.end;
    table.claim(&id(&"x".repeat(250))).unwrap();
    drop(table);
    let mut bytes = fs::read(desk.path()).unwrap();
    bytes[end..end + 4].fill(0);
    fs::write(desk.path(), bytes).unwrap();

    let (mut table, _) = desk.open();
    let place = table.claim(&id("short")).unwrap();
    table.begin(&place, run(1), 0);
    let found = desk.after_a_kill();
    assert_eq!((found.records.len(), found.distrusted), (1, None));
}

/// A table with a few runs in it.
fn used(desk: &Desk) -> Vec<u8> {
    let (mut table, _) = desk.open();
    for (number, text) in ["web", "db", &"long".repeat(30), "z"].into_iter().enumerate() {
        let place = table.claim(&id(text)).unwrap();
        table.begin(&place, run(number as u64), 7);
        table.made(&place, 12, Identity::Inode(13));
    }
    fs::read(desk.path()).unwrap()
}

#[test]
fn nothing_that_is_not_of_this_boot_and_version_and_whole_is_trusted() {
    let desk = Desk::new();
    let whole = used(&desk);
    assert_eq!(desk.found_in(&whole).records.len(), 4);
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let longer = [&whole[..], b"more than the header says"].concat();
    for (what, bytes, expected) in [
        ("another boot", with(24, &[0]), distrusted(Distrust::OtherBoot)),
        ("the other half of the boot id", with(39, &[0]), distrusted(Distrust::OtherBoot)),
        ("another version", with(8, &[1]), distrusted(Distrust::OtherVersion(1))),
        ("no magic", with(0, b"D"), distrusted(Distrust::Foreign)),
        ("never finished", with(0, &[0; 8]), unmade()),
        ("empty", Vec::new(), unmade()),
        ("a text", b"{}\n".to_vec(), distrusted(Distrust::Foreign)),
        ("a size of nothing", with(16, &[0; 8]), distrusted(Distrust::Damaged)),
        ("a size of much", with(16, &[0, 0, 0, 0, 0, 0, 0, 1]), distrusted(Distrust::Damaged)),
        ("an odd size", with(16, &[1]), distrusted(Distrust::Damaged)),
        ("a record of no cells", with(64 + 1, &[0]), distrusted(Distrust::Damaged)),
        ("a record of another kind", with(64 + 3, b"x"), distrusted(Distrust::Damaged)),
        ("an id that is none", with(64 + 48, b"/"), distrusted(Distrust::Damaged)),
        ("an id of no text", with(64 + 48, &[0xff]), distrusted(Distrust::Damaged)),
    ] {
        assert_eq!(desk.found_in(&bytes), expected, "{what}");
    }
    assert_eq!(desk.found_in(&longer).records.len(), 4, "a growth that was cut short");
}

#[test]
fn a_table_that_was_cut_anywhere_is_begun_anew() {
    let desk = Desk::new();
    let whole = used(&desk);
    for end in (0..600).chain((600..whole.len()).step_by(4999)) {
        let found = desk.found_in(&whole[..end]);
        let why = if end < 64 { Distrust::Foreign } else { Distrust::Damaged };
        assert_eq!(found, if end == 0 { unmade() } else { distrusted(why) }, "cut at {end}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Claim,
    Begin,
    PidWord,
    Made,
    Ended,
    Clear,
    Release,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<(Step, usize)>> {
    use Step::{Begin, Claim, Clear, Ended, Made, PidWord, Release, Reopen};
    let step = prop::sample::select(vec![Claim, Begin, Begin, PidWord, Made, Ended, Clear, Release, Reopen]);
    prop::collection::vec((step, 0..5_usize), 1..60)
}

/// What a record says but for its place.
type Said = (RunId, Option<i32>, Option<Identity>, Option<Ending>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A reader that comes at any time finds what a plain map would hold.
    #[test]
    fn a_kill_between_any_two_calls_loses_nothing(steps in steps()) {
        let desk = Desk::new();
        let (mut table, _) = desk.open();
        let services = [1, 16, 17, 100, 250].map(|length| id(&"abcde".repeat(50)[..length]));
        let mut places: BTreeMap<usize, Place> = BTreeMap::new();
        let mut model: BTreeMap<ServiceId, Said> = BTreeMap::new();
        for (number, (step, which)) in steps.into_iter().enumerate() {
            let service = &services[which];
            if let Step::Reopen = step {
                drop(table);
                let (next, found) = desk.open();
                table = next;
                places = found.records.into_iter().map(|record| {
                    (services.iter().position(|service| *service == record.service).unwrap(), record.place)
                }).collect();
            } else if let Step::Claim = step {
                places.entry(which).or_insert_with(|| table.claim(service).unwrap());
            } else if let Step::Release = step {
                if let Some(place) = places.remove(&which) {
                    table.release(place);
                    model.remove(service);
                }
            } else if let Some(place) = places.get(&which) {
                let (pid, identity) = (number as i32 + 1, Identity::StartTime(number as u64));
                match step {
                    Step::Clear => {
                        table.clear(place);
                        model.remove(service);
                    }
                    Step::Begin => {
                        table.begin(place, run(number as u64), 0);
                        model.insert(service.clone(), (run(number as u64), None, None, None));
                    }
                    _ => if let Some(said) = model.get_mut(service) {
                        match step {
                            Step::PidWord if said.1.is_none() => {
                                table.begin(place, said.0, 0).store(pid);
                                (said.1, said.3) = (Some(pid), None);
                            }
                            Step::Made => {
                                table.made(place, pid, identity);
                                (said.1, said.2) = (Some(pid), Some(identity));
                            }
                            Step::Ended => {
                                table.ended(place, Ending::Exited(number as u8));
                                said.3 = Some(Ending::Exited(number as u8));
                            }
                            _ => {}
                        }
                    }
                }
            }
            let found = desk.after_a_kill();
            prop_assert_eq!(found.distrusted, None);
            let said: Vec<_> = found.records.into_iter().map(|record| {
                (record.service, (record.run, record.pid, record.identity, record.ended))
            }).collect();
            prop_assert_eq!(said.len(), model.len());
            prop_assert_eq!(said.into_iter().collect::<BTreeMap<_, _>>(), model.clone());
        }
    }

    #[test]
    fn no_file_makes_it_fall(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        Desk::new().found_in(&bytes);
    }

    /// With a header that is trusted, so that what follows is walked; half of the bytes are zeros or come from records.
    #[test]
    fn no_records_make_it_fall(bytes in prop::collection::vec(
        prop_oneof![Just(0), Just(1), Just(b'T'), Just(b'A'), Just(b'F'), Just(b'R'), any::<u8>()], 0..2000,
    )) {
        let desk = Desk::new();
        let mut whole = used(&desk);
        whole[64..64 + bytes.len()].copy_from_slice(&bytes);
        desk.found_in(&whole);
    }

    #[test]
    fn no_changed_bytes_make_it_fall(changes in prop::collection::vec((0..640_usize, any::<u8>()), 1..6)) {
        let desk = Desk::new();
        let mut whole = used(&desk);
        for (at, byte) in changes {
            whole[at] = byte;
        }
        desk.found_in(&whole);
    }
}
