//! What a service wrote, for a terminal: colours stay, and nothing else moves a cursor, sets a title or asks for an answer.

use std::io::Write;

/// The longest sequence that sets a colour; what is longer sets none.
const LONGEST_COLOUR: usize = 32;
const RESET: &[u8] = b"\x1b[0m";

/// How much of the bytes could be shown, and whether a colour was left set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The others are the beginning of a character or of a sequence.
    pub(super) used: usize,
    /// Whether the text behind it should begin with a reset.
    coloured: bool,
}

/// The beginning of a text.
enum First {
    /// So many bytes, to be shown as they are.
    Plain(usize),
    /// A sequence of so many bytes that sets a colour.
    Colour(usize),
    /// So many bytes that end a line besides the newline.
    Nothing(usize),
    /// So many bytes that are shown in another way.
    Strange(usize),
    /// Not enough to know.
    Open,
}

/// Appends the bytes in the form for a terminal. Colours are left out where none are wanted. All bytes are used if no more
/// of the text will follow.
pub(super) fn show(bytes: &[u8], colour: bool, is_whole: bool, to: &mut Vec<u8>) -> Shown {
    let mut shown = Shown { used: 0, coloured: false };
    while let Some(rest) = bytes.get(shown.used..).filter(|rest| !rest.is_empty()) {
        let count = match first(rest) {
            First::Plain(count) => {
                to.extend_from_slice(&rest[..count]);
                count
            }
            First::Colour(count) => {
                if colour {
                    to.extend_from_slice(&rest[..count]);
                    shown.coloured = true;
                }
                count
            }
            First::Nothing(count) => count,
            First::Open if !is_whole => break,
            First::Strange(count) => escape(&rest[..count], to),
            First::Open => escape(&rest[..1], to),
        };
        shown.used += count;
    }
    shown
}

/// The same for a whole line without its newline, after which no colour is set.
pub(super) fn show_line(line: &[u8], colour: bool, to: &mut Vec<u8>) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if show(line, colour, true, to).coloured {
        to.extend_from_slice(RESET);
    }
}

fn first(rest: &[u8]) -> First {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\n');
    match rest.iter().position(|byte| !is_plain(byte)) {
        None => return First::Plain(rest.len()),
        Some(0) => {}
        Some(count) => return First::Plain(count),
    }
    match rest {
        [b'\r'] => First::Open,
        [b'\r', b'\n', ..] => First::Nothing(1),
        [0x1b, ..] => sequence(rest),
        [..0x80, ..] => First::Strange(1),
        _ => character(rest),
    }
}

/// A sequence that sets a colour, or what only begins like one (ECMA-48, SGR).
fn sequence(rest: &[u8]) -> First {
    if rest.len() > 1 && rest[1] != b'[' {
        return First::Strange(1);
    }
    let is_parameter = |byte: &u8| matches!(byte, b'0'..=b';');
    let parameters = rest.iter().skip(2).take(LONGEST_COLOUR).take_while(|byte| is_parameter(byte)).count();
    match rest.get(2 + parameters) {
        Some(b'm') => First::Colour(3 + parameters),
        None if parameters < LONGEST_COLOUR => First::Open,
        _ => First::Strange(1),
    }
}

/// A character beyond ASCII, or bytes that are none.
fn character(rest: &[u8]) -> First {
    let few = &rest[..rest.len().min(4)];
    let (valid, invalid) = match std::str::from_utf8(few) {
        Ok(text) => (text, None),
        // What is before the error is UTF-8, or the error would be there.
        Err(error) => (std::str::from_utf8(&few[..error.valid_up_to()]).unwrap_or_default(), Some(error)),
    };
    match (valid.chars().next(), invalid) {
        (Some(character), _) if character.is_control() => First::Strange(character.len_utf8()),
        (Some(character), _) => First::Plain(character.len_utf8()),
        (None, Some(error)) => error.error_len().map_or(First::Open, First::Strange),
        (None, None) => First::Open,
    }
}

/// Shows bytes as Rust would write them. Gives their number.
fn escape(bytes: &[u8], to: &mut Vec<u8>) -> usize {
    // Writing to memory can't fail.
    let _ = write!(to, "{}", bytes.escape_ascii());
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(bytes: &[u8], colour: bool) -> String {
        let mut text = Vec::new();
        show_line(bytes, colour, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn colours_stay_and_nothing_else_reaches_the_terminal() {
        for (bytes, expected) in [
            (&b"plain\ttext"[..], "plain\ttext"),
            ("ä€😀".as_bytes(), "ä€😀"),
            (b"\x1b[1;31mred\x1b[m", "\x1b[1;31mred\x1b[m\x1b[0m"),
            (b"\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
            (b"10%\r20%\r", "10%\\r20%"),
            ("\u{9b}31m".as_bytes(), "\\xc2\\x9b31m"),
            (b"\xff\xc3", "\\xff\\xc3"),
            (b"\x1b[31", "\\x1b[31"),
            (b"\x1b", "\\x1b"),
        ] {
            assert_eq!(shown(bytes, true), expected, "{bytes:?}");
        }
        assert_eq!(shown(b"\x1b[1;31mred\x1b[m", false), "red");
        let endless = [b"\x1b[".as_slice(), &[b'1'; 100], b"m"].concat();
        assert!(shown(&endless, true).starts_with("\\x1b[1"));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_text_is_cut(
            text in prop::collection::vec(prop_oneof![
                Just(b"\x1b[1;3".to_vec()), Just(b"1m".to_vec()), Just("ä€".as_bytes().to_vec()), Just(b"\r".to_vec()),
                Just(b"\n".to_vec()), prop::collection::vec(any::<u8>(), 1..3),
            ], 0..12),
            cuts in prop::collection::vec(1..7usize, 1..8),
        ) {
            let text = text.concat();
            let (mut at_once, mut in_parts) = (Vec::new(), Vec::new());
            show(&text, true, true, &mut at_once);
            let (mut held, mut rest) = (Vec::new(), text.as_slice());
            for cut in cuts.iter().cycle().take(text.len()) {
                let (part, after) = rest.split_at(rest.len().min(*cut));
                held.extend_from_slice(part);
                rest = after;
                let used = show(&held, true, false, &mut in_parts).used;
                held.drain(..used);
            }
            show(&held, true, true, &mut in_parts);
            prop_assert_eq!(String::from_utf8(at_once), String::from_utf8(in_parts));
        }
    }
}
