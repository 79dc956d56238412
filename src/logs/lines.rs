//! From the bytes that a service wrote to the lines that go into its file, where they are stamped.
//!
//! What is seen is what waits in the pipe; a line is taken once it is whole. The same bytes make the same lines, in whatever
//! pieces they were seen.

use std::time::Duration;

use memchr::memchr;

use super::Stream;
use crate::model::Civil;

/// A line of up to so many bytes, its newline included, stays whole.
pub(crate) const LONGEST: usize = 1 << 20;
/// What a part of a line ends with in a timestamped file, unless it is the last part.
const GOES_ON: &[u8] = "…".as_bytes();
/// How a timestamped line begins; the digits are those of one.
const STAMP_FORM: &[u8] = b"2026-11-23T04:05:06.123456Z ";
/// How a line of json begins.
const JSON_FORM: &[u8] = b"{\"ts\":\"";

/// What becomes of a line.
///
/// - Timestamped: `2026-11-23T04:05:06.123456Z ` and the line, whatever its bytes are. A part of a line that is too long
///   ends with `…`, unless it is the last one.
/// - Json: `{"ts":"2026-11-23T04:05:06.123456Z","stream":"stdout","line":"…"}`. A part that is not the last one has
///   `"partial":true` besides. A line that is no UTF-8 has `"escaped":true`: in it a byte that belongs to no character is the
///   four characters `\xff`, and a backslash is two. So every parser takes it, people can read it, and nothing is lost. (Lone
///   surrogates would be shorter; jq makes a replacement character of them, and strict parsers refuse them.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A time before each line.
    Timestamped,
    /// One object a line.
    Json(Stream),
}

/// What is known about the bytes after the ones that are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// More may come: a last line without a newline stays where it is.
    Open,
    /// Nothing more can come before these are taken, since the pipe is full: a last line without a newline is taken as a
    /// part of one.
    Full,
    /// Nothing more will come: whoever wrote is gone. A last line without a newline is taken as a whole one.
    Over,
}

/// How much may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Lines that make so many bytes at most.
    Bytes(usize),
    /// One line, however many bytes it makes.
    OneLine,
}

/// What was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// How many bytes of what was seen that is.
    pub(crate) used: usize,
    /// Whether there was a line more, for which there is no room.
    pub(crate) full: bool,
}

/// A time as it is written: RFC 3339 in UTC with microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(String);

impl Stamp {
    /// The time that is so long after 1970.
    pub(crate) fn at(since_epoch: Duration) -> Self {
        let Civil { year, month, day, hour, minute, second, micros } = Civil::of(since_epoch);
        Self(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"))
    }
}

/// Appends to `out` what the first lines of `seen` become, at this time, as many as there is room for. A line may make up to
/// six times its own bytes, where it consists of control characters and goes to json.
pub(crate) fn take(form: Form, stamp: &Stamp, seen: &[u8], ending: Ending, room: Room, out: &mut Vec<u8>) -> Taken {
    let head = match form {
        Form::Timestamped => format!("{} ", stamp.0),
        Form::Json(stream) => format!("{{\"ts\":\"{}\",\"stream\":\"{}\",\"line\":\"", stamp.0, stream.name()),
    };
    let begin = out.len();
    let mut used = 0;
    while let Some(piece) = first_piece(&seen[used..], ending) {
        let before = out.len();
        out.extend_from_slice(head.as_bytes());
        match form {
            Form::Timestamped => {
                out.extend_from_slice(piece.text);
                out.extend_from_slice(if piece.goes_on { GOES_ON } else { b"" });
                out.push(b'\n');
            }
            Form::Json(_) => finish_object(&piece, out),
        }
        if matches!(room, Room::Bytes(room) if out.len() - begin > room) {
            out.truncate(before);
            return Taken { used, full: true };
        }
        used += piece.used;
        if room == Room::OneLine {
            break;
        }
    }
    Taken { used, full: false }
}

/// Whether the end of a file that does not end with a newline, from its last newline on, is the beginning of a stamped line:
/// one that was torn in the middle of a write, and whose bytes still wait in the pipe. Anything else was written as it is,
/// in the time of another format, and waits nowhere.
pub(crate) fn may_be_torn(end: &[u8]) -> bool {
    let alike = |(a, b): (&u8, &u8)| if b.is_ascii_digit() { a.is_ascii_digit() } else { a == b };
    [STAMP_FORM, JSON_FORM].into_iter().any(|form| end.iter().zip(form).all(alike))
}

/// A line, or a part of one.
struct Piece<'s> {
    /// Its bytes, without the newline.
    text: &'s [u8],
    /// How many bytes it is with its newline, where it has one.
    used: usize,
    /// Whether another part follows.
    goes_on: bool,
}

fn first_piece(seen: &[u8], ending: Ending) -> Option<Piece<'_>> {
    let longest = &seen[..seen.len().min(LONGEST)];
    if let Some(end) = memchr(b'\n', longest) {
        return Some(Piece { text: &longest[..end], used: end + 1, goes_on: false });
    }
    let part = |text: &'_ [u8]| whole_characters(text).len();
    match ending {
        _ if longest.len() == LONGEST => {
            let used = part(longest);
            Some(Piece { text: &longest[..used], used, goes_on: true })
        }
        _ if seen.is_empty() => None,
        Ending::Open => None,
        Ending::Full => {
            let used = part(seen);
            Some(Piece { text: &seen[..used], used, goes_on: true })
        }
        Ending::Over => Some(Piece { text: seen, used: seen.len(), goes_on: false }),
    }
}

/// The text without the first bytes of a character whose last ones are missing; never nothing.
fn whole_characters(text: &[u8]) -> &[u8] {
    for behind in 1..=3.min(text.len().saturating_sub(1)) {
        let begin = text.len() - behind;
        let length = match text[begin] {
            // Goes on with a character that began before.
            0x80..0xC0 => continue,
            0xC0..0xE0 => 2,
            0xE0..0xF0 => 3,
            0xF0..=0xFF => 4,
            0..0x80 => 1,
        };
        return if length > behind { &text[..begin] } else { text };
    }
    text
}

/// What follows after `"line":"`.
fn finish_object(piece: &Piece<'_>, out: &mut Vec<u8>) {
    let valid = std::str::from_utf8(piece.text).is_ok();
    if valid {
        escape(piece.text, b"\\\\", out);
    } else {
        for chunk in piece.text.utf8_chunks() {
            escape(chunk.valid().as_bytes(), b"\\\\\\\\", out);
            for byte in chunk.invalid() {
                out.extend_from_slice(&[b'\\', b'\\', b'x', hex(byte >> 4), hex(byte & 15)]);
            }
        }
    }
    out.push(b'"');
    out.extend_from_slice(if piece.goes_on { b",\"partial\":true" } else { b"" });
    out.extend_from_slice(if valid { b"" } else { b",\"escaped\":true" });
    out.extend_from_slice(b"}\n");
}

/// Appends a text as json has it inside of quotes (RFC 8259, 7).
fn escape(text: &[u8], backslash: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\\' => out.extend_from_slice(backslash),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            byte => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn hex(digit: u8) -> u8 {
    b"0123456789abcdef"[usize::from(digit & 15)]
}

#[cfg(test)]
mod tests;
