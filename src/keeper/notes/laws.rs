//! What holds whatever happened to the file.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::disks::Memory;
use super::file::Disk;
use super::ledger::Ledger;
use super::queue::{Newest, State};
use super::{Header, Recalled, Text};
use crate::model::ServiceId;

/// A note and a conf, or nothing.
type Model = BTreeMap<ServiceId, (Vec<u8>, Option<Vec<u8>>)>;

#[derive(Clone, Debug)]
enum Step {
    Put {
        service: u8,
        note: Vec<u8>,
        conf: Option<u8>,
    },
    Remove {
        service: u8,
    },
    Write,
    Compact,
    /// The next life reads the file and goes on.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4u8, vec(any::<u8>(), 0..12), proptest::option::of(0..3u8))
            .prop_map(|(service, note, conf)| Step::Put { service, note, conf }),
        2 => (0..4u8).prop_map(|service| Step::Remove { service }),
        4 => Just(Step::Write),
        1 => Just(Step::Compact),
        1 => Just(Step::Restart),
    ];
    vec(step, 0..60)
}

fn id(service: u8) -> ServiceId {
    format!("s{service}").parse().unwrap()
}

/// Texts of confs: one is no UTF-8, one has newlines.
fn conf(number: u8) -> Vec<u8> {
    [b"{}".to_vec(), b"\xff\n\x00".to_vec(), b"{\n  \"cmd\": \"\xc3\xa4\"\n}\n".to_vec()][usize::from(number)].clone()
}

fn header() -> Header {
    Header { boot: "b".to_owned(), herd: 7 }
}

fn model(recalled: &Recalled) -> Model {
    let kept = recalled.services.iter();
    kept.map(|(service, kept)| (service.clone(), (kept.note.clone(), kept.conf.as_deref().map(<[u8]>::to_vec))))
        .collect()
}

/// The file after a history, and what was true when: each time with the size that the file had then, beginning with the last
/// time that it was made anew.
struct History {
    file: Vec<u8>,
    times: Vec<(usize, Model)>,
    /// All that was ever written.
    ever: Vec<Model>,
}

fn live_through(steps: Vec<Step>) -> History {
    let mut disk = Memory::new();
    let mut ledger = Ledger::new(header(), &Recalled::nothing());
    let (mut now, mut times, mut ever) = (Model::new(), Vec::new(), Vec::new());
    for step in steps.into_iter().chain([Step::Write]) {
        let made_anew = disk.size().is_none() || matches!(step, Step::Compact | Step::Restart);
        match step {
            Step::Put { service, note, conf: number } => {
                let text = number.map(conf);
                let state = State { note: note.clone(), conf: text.as_deref().map(|text| Text::from(Arc::from(text))) };
                ledger.take(Newest::from([(id(service), Some(state))]));
                now.insert(id(service), (note, text));
                continue;
            }
            Step::Remove { service } => {
                ledger.take(Newest::from([(id(service), None)]));
                now.remove(&id(service));
                continue;
            }
            Step::Write => ledger.write(&mut disk).unwrap(),
            Step::Compact => ledger.compact(&mut disk).unwrap(),
            Step::Restart => {
                ledger.write(&mut disk).unwrap();
                let recalled = disk.recalled();
                assert_eq!((model(&recalled), recalled.damaged), (now.clone(), 0));
                ledger = Ledger::new(header(), &recalled);
                ledger.compact(&mut disk).unwrap();
            }
        }
        if made_anew {
            times.clear();
        }
        times.push((disk.bytes().len(), now.clone()));
        ever.push(now.clone());
    }
    History { file: disk.bytes(), times, ever }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Where a kill -9 or a full disk ends the file: for each service there is its newest whole line before that.
    #[test]
    fn a_cut_file_says_what_was_true_before_the_cut(steps in steps(), cut: Index) {
        let History { file, times, .. } = live_through(steps);
        // A new file comes into its place whole.
        let cut = times[0].0 + cut.index(file.len() - times[0].0 + 1);
        let recalled = Recalled::from_bytes(&file[..cut]);
        prop_assert_eq!(recalled.damaged, 0, "a torn last line is nobody's fault");
        prop_assert_eq!(recalled.header.as_deref(), Some(&header()));
        // A line may lack its newline.
        let before = times.iter().rposition(|(size, _)| *size <= cut + 1).unwrap();
        let after = (before + 1).min(times.len() - 1);
        let read = model(&recalled);
        if cut >= file.len() - 1 {
            prop_assert_eq!(&read, &times[times.len() - 1].1);
        }
        if times[before].0 >= cut {
            prop_assert_eq!(&read, &times[before].1);
        }
        for service in (0..4).map(id) {
            let state = read.get(&service);
            let (old, new) = (times[before].1.get(&service), times[after].1.get(&service));
            prop_assert!(state == old || state == new, "{service}: {state:?}, not {old:?} or {new:?}");
        }
    }

    /// Bytes that a bad disk changed are noticed; whatever is read was true once, and a note never has another one's conf.
    #[test]
    fn a_damaged_file_says_nothing_that_was_never_true(
        steps in steps(), damage in vec((any::<Index>(), 1..=255u8), 1..4),
    ) {
        let History { mut file, ever, .. } = live_through(steps);
        let whole = file.clone();
        for (at, bits) in damage {
            let at = at.index(file.len());
            file[at] ^= bits;
        }
        let recalled = Recalled::from_bytes(&file);
        let tail = file.rsplit(|&byte| byte == b'\n').next().is_some_and(|tail| !tail.is_empty());
        prop_assert!(file == whole || recalled.damaged > 0 || tail);
        for (service, (note, text)) in model(&recalled) {
            let mut states = ever.iter().filter_map(|model| model.get(&service));
            prop_assert!(states.any(|(once, conf)| *once == note && (text.is_none() || *conf == text)));
        }
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in vec(any::<u8>(), 0..400), steps in steps(), at: Index) {
        Recalled::from_bytes(&bytes);
        let History { mut file, times, .. } = live_through(steps);
        // Between two lines they are one line of their own, or several, and hide nothing else.
        let ends: Vec<usize> = (1..=file.len()).filter(|&end| file[end - 1] == b'\n').collect();
        let at = ends[at.index(ends.len())];
        file.splice(at..at, bytes.into_iter().chain([b'\n']));
        let recalled = Recalled::from_bytes(&file);
        prop_assert!(recalled.damaged > 0);
        prop_assert_eq!(model(&recalled), times[times.len() - 1].1.clone());
    }
}
