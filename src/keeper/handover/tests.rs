use super::*;

/// What the first version with upgrades leaves. This file is never changed: such a daemon runs somewhere.
const GOLDEN: &[u8] = include_bytes!("golden-1.jsonl");

fn run(number: u64) -> Run {
    Run {
        herd: 0xfedc_ba98_7654_3210,
        number,
        tree: true,
        pid: None,
        pidfd: None,
        launched: None,
        overdue: None,
        failed: None,
        ended: None,
    }
}

fn sample() -> Handover {
    let head = Head {
        listener: 5,
        lock: 7,
        program: 6,
        since_ns: 1_795_000_000_123_456_789,
        herd: 0xfedc_ba98_7654_3210,
        next_run: 1_000_000_007,
        open_files: Some((Some(1024), None)),
        outcome: Outcome {
            number: 3,
            from: "0.1.0".into(),
            to: "0.2.0".into(),
            path: "/usr/bin/daemonherder".into(),
            failed: None,
        },
        lines: vec![(true, "a line".into())],
        ..Head::default()
    };
    let alive = Run { pid: Some(4711), launched: Some(4711), ..run(1) };
    let foreign = Run { pid: Some(4712), pidfd: Some(12), launched: Some(4712), tree: false, ..run(2) };
    let failing = Run { pid: Some(4713), failed: Some((9, 2)), overdue: Some(3), ..run(3) };
    let ended = |number, ending| Run { ended: Some(ending), ..run(number) };
    let slot = |service: &str, runs| Slot {
        service: service.into(),
        stop: Some(wire::Stop { signal: 15, timeout_ns: 10_000_000_000, tree: true }),
        note: vec![0, 1, 0x7f, 0xff],
        conf: "{\"cmd\": \"ä\"}\n".into(),
        settings: "{}".into(),
        leaf: false,
        began: 0,
        runs,
    };
    let bare =
        Slot { stop: None, note: Vec::new(), conf: String::new(), settings: String::new(), ..slot("bare", vec![]) };
    let ends = vec![
        ended(4, wire::Ending::Exited(3)),
        ended(5, wire::Ending::Killed { signal: 9, core: false }),
        ended(6, wire::Ending::NotLaunched { stage: 9, errno: 2 }),
        ended(7, wire::Ending::Lost),
    ];
    Handover::new(head, vec![slot("web", vec![alive]), slot("db", vec![foreign, failing]), slot("ends", ends), bare])
}

#[test]
fn what_the_first_version_left_is_understood_for_ever() {
    assert_eq!(Handover::from_bytes(GOLDEN).unwrap(), sample());
    // Of the same form, so that the first version understands it, too.
    assert_eq!(String::from_utf8(sample().to_bytes()).unwrap(), String::from_utf8(GOLDEN.to_vec()).unwrap());
    assert_eq!(sample().digest(), 2388286850);
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    let text = String::from_utf8(GOLDEN.to_vec()).unwrap();
    let text = text.replace("{\"format\":1,", "{\"format\":1,\"weather\":{\"rain\":[1]},");
    let text =
        text.replace("{\"service\":", "{\"colour\":\"red\",\"service\":").replace("{\"herd\":", "{\"x\":1,\"herd\":");
    assert_eq!(Handover::from_bytes(text.as_bytes()).unwrap(), sample());
}

#[test]
fn what_is_of_a_later_form_or_torn_or_no_such_thing_is_refused() {
    assert!(matches!(Handover::from_bytes(b"{\"format\":2,\"all\":\"new\"}\n"), Err(BadHandover::Later(2))));
    let lines: Vec<&[u8]> = GOLDEN.split_inclusive(|byte| *byte == b'\n').collect();
    let torn = lines[..lines.len() - 1].concat();
    assert!(matches!(Handover::from_bytes(&torn), Err(BadHandover::Torn { announced: 4, found: 3 })));
    assert!(matches!(Handover::from_bytes(&GOLDEN[..GOLDEN.len() - 9]), Err(BadHandover::Line { line: 5, .. })));
    assert!(matches!(Handover::from_bytes(b""), Err(BadHandover::Line { line: 1, .. })));
}

#[test]
fn a_digest_is_of_everything() {
    let digest = sample().digest();
    let changes: [fn(&mut Handover); 6] = [
        |it| it.head.next_run += 1,
        |it| it.slots[0].note[0] += 1,
        |it| it.slots[0].conf.push(' '),
        |it| it.slots[0].settings.push(' '),
        |it| it.slots[0].runs[0].pid = None,
        |it| _ = it.slots.pop(),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut other = sample();
        change(&mut other);
        assert_ne!(other.digest(), digest, "change {at}");
    }
}

#[test]
fn every_descriptor_that_is_named_goes_along() {
    assert_eq!(sample().descriptors(), [12, 5, 7, 6]);
}
