//! Lines, and the laws that hold for every input.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use super::*;

const STAMP: &str = "2026-11-23T04:05:06.123456Z";
const FORMS: [Form; 2] = [Form::Timestamped, Form::Json(Stream::Errors)];
const ALL: Room = Room::Bytes(usize::MAX);

fn stamp() -> Stamp {
    Stamp::at(Duration::from_micros(1_795_406_706_123_456))
}

fn taken(form: Form, seen: &[u8], ending: Ending) -> (String, usize) {
    let mut out = Vec::new();
    let Taken { used, full } = take(form, &stamp(), seen, ending, ALL, &mut out);
    assert!(!full);
    (String::from_utf8(out).unwrap().replace(STAMP, "T"), used)
}

/// What the lines of a json file say: the lines, and whether each is only a part.
fn read(json: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let text = std::str::from_utf8(json).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(read_object).collect()
}

fn read_object(line: &str) -> (Vec<u8>, bool) {
    let object: Value = serde_json::from_str(line).unwrap();
    assert_eq!((object["ts"].as_str(), object["stream"].as_str()), (Some(STAMP), Some("stderr")));
    let text = object["line"].as_str().unwrap();
    let bytes = if object["escaped"] == true { unescaped(text.as_bytes()) } else { text.as_bytes().to_vec() };
    (bytes, object["partial"] == true)
}

fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [first, rest @ ..] = text {
        (text, bytes) = match (first, rest) {
            (b'\\', [b'\\', rest @ ..]) => (rest, [bytes, vec![b'\\']].concat()),
            (b'\\', [b'x', a, b, rest @ ..]) => {
                let digits = String::from_utf8(vec![*a, *b]).unwrap();
                (rest, [bytes, vec![u8::from_str_radix(&digits, 16).unwrap()]].concat())
            }
            (b'\\', _) => panic!("a lone backslash"),
            (byte, rest) => (rest, [bytes, vec![*byte]].concat()),
        };
    }
    bytes
}

/// Bytes with many newlines, quotes, backslashes, characters and halves of characters.
fn output() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => Just(b"\n".to_vec()),
        2 => Just("ä€😀".as_bytes().to_vec()),
        2 => vec(prop_oneof![Just(b'\\'), Just(b'"'), Just(b'x'), Just(0xF0), Just(0x9F)], 0..4),
        3 => vec(any::<u8>(), 0..8),
        3 => "[ -~]{0,12}".prop_map(String::into_bytes),
    ];
    vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_cut_of_the_input_gives_the_same_lines(output in output(), cuts in vec((any::<Index>(), 0..200_usize), 0..20)) {
        for form in FORMS {
            let mut whole = Vec::new();
            let used = take(form, &stamp(), &output, Ending::Open, ALL, &mut whole).used;
            let mut pieces = Vec::new();
            let (mut done, mut seen) = (0, 0);
            for (further, room) in cuts.iter().map(|(cut, room)| (cut.index(output.len() + 1), *room)).chain([(output.len(), usize::MAX)]) {
                seen = further.max(seen);
                let before = pieces.len();
                let taken = take(form, &stamp(), &output[done..seen], Ending::Open, Room::Bytes(room), &mut pieces);
                prop_assert!(pieces.len() - before <= room);
                done += taken.used;
            }
            prop_assert_eq!(done, used);
            prop_assert_eq!(&pieces, &whole);
        }
    }

    #[test]
    fn json_says_every_byte(output in output(), ending in prop_oneof![Just(Ending::Full), Just(Ending::Over)]) {
        let mut out = Vec::new();
        let mut used = 0;
        while used < output.len() {
            used += take(FORMS[1], &stamp(), &output[used..], ending, ALL, &mut out).used;
        }
        let mut said = Vec::new();
        for (line, partial) in read(&out) {
            said.extend(line);
            said.extend((!partial).then_some(b'\n'));
        }
        let unfinished = output.last().is_some_and(|&last| last != b'\n');
        let expected = [&output[..], if unfinished && ending == Ending::Over { b"\n" } else { b"" }].concat();
        prop_assert_eq!(said, expected);
    }

    #[test]
    fn one_line_is_one_whatever_it_takes(output in output()) {
        let mut out = Vec::new();
        let taken = take(FORMS[0], &stamp(), &output, Ending::Open, Room::OneLine, &mut out);
        let first = memchr(b'\n', &output).map_or(0, |end| end + 1);
        prop_assert_eq!(taken, Taken { used: first, full: false });
    }

    #[test]
    fn what_was_torn_is_known_as_such(output in output(), cut in any::<Index>()) {
        for form in FORMS {
            let mut out = Vec::new();
            take(form, &stamp(), &output, Ending::Over, Room::OneLine, &mut out);
            prop_assert!(may_be_torn(&out[..cut.index(out.len() + 1)]));
        }
    }
}

#[test]
fn a_line_is_stamped_and_its_bytes_stay_as_they_are() {
    let timestamped = |seen: &[u8], ending| taken(Form::Timestamped, seen, ending);
    assert_eq!(timestamped(b"a\n\nb", Ending::Open), ("T a\nT \n".to_owned(), 3));
    assert_eq!(timestamped(b"a\nb", Ending::Full), ("T a\nT b…\n".to_owned(), 3));
    assert_eq!(timestamped(b"a\nb", Ending::Over), ("T a\nT b\n".to_owned(), 3));
    assert_eq!(timestamped(b"", Ending::Over), (String::new(), 0));
    let mut out = Vec::new();
    take(Form::Timestamped, &stamp(), b"\xff\0\r\n", Ending::Open, ALL, &mut out);
    assert_eq!(out, [STAMP.as_bytes(), b" \xff\0\r\n"].concat());
}

#[test]
fn a_line_becomes_an_object_that_every_parser_takes() {
    let json = |seen: &[u8], ending| taken(Form::Json(Stream::Output), seen, ending).0;
    let object = |rest: &str| format!("{{\"ts\":\"T\",\"stream\":\"stdout\",\"line\":{rest}}}\n");
    assert_eq!(json(b"a \"b\" \\ \t\r\x01\n", Ending::Open), object(r#""a \"b\" \\ \t\r\u0001""#));
    assert_eq!(json("ä\n".as_bytes(), Ending::Open), object(r#""ä""#));
    assert_eq!(json(b"\\ \xff\n", Ending::Open), object(r#""\\\\ \\xff","escaped":true"#));
    assert_eq!(json(b"abc", Ending::Full), object(r#""abc","partial":true"#));
    assert_eq!(json(b"\xff", Ending::Full), object(r#""\\xff","partial":true,"escaped":true"#));
}

#[test]
fn a_line_stays_whole_up_to_a_mebibyte_and_a_longer_one_is_marked() {
    let line = |length: usize| [vec![b'x'; length - 1], b"\n".to_vec()].concat();
    let (whole, long) = (line(LONGEST), line(2 * LONGEST + 5));
    assert_eq!(taken(Form::Timestamped, &whole, Ending::Open).0.lines().count(), 1);
    let seen = [&whole[..], &long, b"next\n"].concat();
    let (text, used) = taken(Form::Timestamped, &seen, Ending::Open);
    assert_eq!(used, seen.len());
    let ends: Vec<_> = text.lines().map(|line| (line.len(), line.ends_with("x…"))).collect();
    let part = "T ".len() + LONGEST + "…".len();
    assert_eq!(ends, [(LONGEST + 1, false), (part, true), (part, true), ("T xxxx".len(), false), (6, false)]);
    // In whatever pieces it is seen.
    let first = taken(Form::Timestamped, &long[..LONGEST - 1], Ending::Open);
    assert_eq!(first, (String::new(), 0));
    assert_eq!(taken(Form::Timestamped, &long[..LONGEST], Ending::Open).1, LONGEST);
}

#[test]
fn a_part_ends_with_a_whole_character() {
    for (text, whole) in [
        ("abcä".as_bytes(), 5),
        (&"abcä".as_bytes()[..4], 3),
        (&"abc€".as_bytes()[..5], 3),
        (&"abc😀".as_bytes()[..6], 3),
        ("abc😀".as_bytes(), 7),
        (b"\xF0\x9F", 2),
        (b"\xF0", 1),
        (b"a\x80\x80\x80\x80", 5),
    ] {
        assert_eq!(whole_characters(text).len(), whole, "{text:?}");
    }
}

#[test]
fn what_was_written_as_it_is_was_not_torn() {
    for end in ["Password: ", "2026-11-23 04:05", "{\"time\":\"", "{\"ts\":1", "2026-11-23T04:05:06.123Z"] {
        assert!(!may_be_torn(end.as_bytes()), "{end}");
    }
}
