//! One line of the journal: eight hexadecimal digits, the CRC-32 of the rest, a space, and a JSON object.
//!
//! ```text
//! 5e0a1c44 {"notes":1,"boot":"f3f2…","herd":"00c0ffee00c0ffee"}
//! 0c8d2b17 {"service":"web","note":{"hex":"0107…"},"conf":"{ \"cmd\": \"…\" }"}
//! 91c3aa02 {"service":"web","note":{"hex":"0107…"},"conf_crc":1893648123}
//! 77f00d31 {"service":"web","gone":true}
//! ```
//!
//! JSON has no newline inside, so that reading goes on at the next line whatever has become of one. Fields that are not
//! known are ignored, and so is a line with none that is: a later version may add both. Bytes that are no UTF-8 are written
//! as `{"hex":"…"}`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::keeper::hex;
use crate::model::ServiceId;

/// The version of the format. A later one still has to be read by this one, or else has a file of its own.
const VERSION: u32 = 1;
/// The check and the space.
const CHECK: usize = 9;

/// Under what circumstances notes were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The boot that their moments count from, as the kernel names it.
    pub(crate) boot: String,
    /// The number of the state directory, the first part of its run ids.
    pub(crate) herd: u64,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The lines that follow were written under these circumstances.
    Header(Header),
    /// The state of a service.
    State {
        /// Whose.
        service: ServiceId,
        /// Its note.
        note: Vec<u8>,
        /// Its conf.
        conf: Conf,
        /// Under what circumstances the note was written, where the header does not say it.
        of: Option<Header>,
    },
    /// A service that has left the herd.
    Gone(ServiceId),
    /// Something that only a later version understands.
    Foreign,
}

/// The conf of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Conf {
    /// There is none.
    None,
    /// The one of the service's line before, whose CRC-32 this is: were that line damaged, the note would otherwise be read
    /// with a conf that it never had.
    Same(u32),
    /// This one.
    Text(Vec<u8>),
}

/// A line as it is written: all that any of them may have.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<u32>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    boot: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    herd: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    service: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    note: Option<Bytes<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    conf: Option<Bytes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conf_crc: Option<u32>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    of: Option<WrittenHeader<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

#[derive(Serialize, Deserialize)]
struct WrittenHeader<'a> {
    #[serde(borrow)]
    boot: Cow<'a, str>,
    #[serde(borrow)]
    herd: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Hex {
        #[serde(borrow)]
        hex: Cow<'a, str>,
    },
}

/// Appends the line that begins a file.
pub(super) fn write_header(to: &mut Vec<u8>, header: &Header) {
    let WrittenHeader { boot, herd } = header.into();
    write(to, &Written { notes: Some(VERSION), boot: Some(boot), herd: Some(herd), ..Written::default() });
}

/// Appends the state of a service. `conf` is the conf and whether its text is left out, since it has not changed; `of` is
/// what the note was written under, where that is not what the file's header says.
pub(super) fn write_state(
    to: &mut Vec<u8>,
    service: &ServiceId,
    note: &[u8],
    conf: Option<(&[u8], bool)>,
    of: Option<&Header>,
) {
    let mut line = Written { service: Some(service.as_str().into()), note: Some(note.into()), ..Written::default() };
    match conf {
        None => {}
        Some((conf, true)) => line.conf_crc = Some(crc32fast::hash(conf)),
        Some((conf, false)) => line.conf = Some(conf.into()),
    }
    line.of = of.map(WrittenHeader::from);
    write(to, &line);
}

/// Appends that a service has left the herd.
pub(super) fn write_gone(to: &mut Vec<u8>, service: &ServiceId) {
    write(to, &Written { service: Some(service.as_str().into()), gone: true, ..Written::default() });
}

fn write(to: &mut Vec<u8>, line: &Written<'_>) {
    let start = to.len();
    to.extend_from_slice(&[b' '; CHECK]);
    serde_json::to_writer(&mut *to, line).expect("a Vec takes everything, and fields of a struct are named by strings");
    let check = check_of(&to[start + CHECK..]);
    to[start..start + CHECK].copy_from_slice(&check);
    to.push(b'\n');
}

/// The check and the space before a JSON text.
fn check_of(json: &[u8]) -> [u8; CHECK] {
    let mut digits = crc32fast::hash(json);
    let mut check = [b' '; CHECK];
    for place in check[..CHECK - 1].iter_mut().rev() {
        *place = b"0123456789abcdef"[(digits & 15) as usize];
        digits >>= 4;
    }
    check
}

impl Line {
    /// Reads a line without its newline; none if it is damaged.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let (check, json) = line.split_at_checked(CHECK)?;
        if *check != check_of(json) {
            return None;
        }
        serde_json::from_slice::<Written<'_>>(json).ok()?.read()
    }
}

impl Written<'_> {
    fn read(self) -> Option<Line> {
        if let (Some(_), Some(boot), Some(herd)) = (self.notes, self.boot, self.herd) {
            return Some(Line::Header(WrittenHeader { boot, herd }.read()?));
        }
        let Some(service) = self.service else { return Some(Line::Foreign) };
        let service = service.parse().ok()?;
        if self.gone {
            return Some(Line::Gone(service));
        }
        let Some(note) = self.note else { return Some(Line::Foreign) };
        let conf = match (self.conf, self.conf_crc) {
            (Some(text), _) => Conf::Text(text.read()?),
            (None, Some(check)) => Conf::Same(check),
            (None, None) => Conf::None,
        };
        let of = match self.of {
            Some(header) => Some(header.read()?),
            None => None,
        };
        Some(Line::State { service, note: note.read()?, conf, of })
    }
}

impl<'a> From<&'a Header> for WrittenHeader<'a> {
    fn from(header: &'a Header) -> Self {
        Self { boot: header.boot.as_str().into(), herd: format!("{:016x}", header.herd).into() }
    }
}

impl WrittenHeader<'_> {
    fn read(self) -> Option<Header> {
        Some(Header { boot: self.boot.into_owned(), herd: u64::from_str_radix(&self.herd, 16).ok()? })
    }
}

impl<'a> From<&'a [u8]> for Bytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.into()),
            Err(_) => Self::Hex { hex: hex::to_text(bytes).into() },
        }
    }
}

impl Bytes<'_> {
    fn read(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.into_owned().into_bytes()),
            Self::Hex { hex } => hex::from_text(&hex),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(id: &str) -> ServiceId {
        id.parse().unwrap()
    }

    /// The line of a JSON text, as a later version might write it.
    fn line(json: &str) -> Vec<u8> {
        format!("{:08x} {json}", crc32fast::hash(json.as_bytes())).into_bytes()
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let header = Header { boot: "b-1".into(), herd: 0x00c0_ffee };
        let of = Header { boot: "b-0".into(), herd: u64::MAX };
        let (text, binary) = ("{\"a\": \"ä\\n\"}\n".as_bytes(), [0, 10, 13, 255, 195].as_slice());
        let web = || service("web");
        let state = |note: &[u8], conf, of| Line::State { service: web(), note: note.to_vec(), conf, of };
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut line = Vec::new();
            write(&mut line);
            assert_eq!(line.pop(), Some(b'\n'));
            assert!(!line.contains(&b'\n'), "{}", line.escape_ascii());
            Line::read(&line)
        };
        assert_eq!(written(&|to| write_header(to, &header)), Some(Line::Header(header.clone())));
        assert_eq!(written(&|to| write_gone(to, &web())), Some(Line::Gone(web())));
        for (note, conf, expected, of) in [
            (text, None, Conf::None, None),
            (binary, None, Conf::None, Some(&of)),
            (b"", Some((binary, false)), Conf::Text(binary.to_vec()), None),
            (b"", Some((text, true)), Conf::Same(crc32fast::hash(text)), None),
        ] {
            let read = written(&|to| write_state(to, &web(), note, conf, of));
            assert_eq!(read, Some(state(note, expected, of.cloned())));
        }
    }

    #[test]
    fn what_a_later_version_adds_is_ignored() {
        let state = Line::State { service: service("web"), note: b"n".to_vec(), conf: Conf::None, of: None };
        assert_eq!(Line::read(&line(r#"{"service":"web","pinned":[1],"note":"n"}"#)), Some(state));
        assert_eq!(Line::read(&line(r#"{"service":"web","pinned":true}"#)), Some(Line::Foreign));
        assert_eq!(Line::read(&line(r#"{"weather":"fine"}"#)), Some(Line::Foreign));
        let header = Header { boot: "b".into(), herd: 10 };
        assert_eq!(Line::read(&line(r#"{"notes":7,"boot":"b","herd":"a","mood":1}"#)), Some(Line::Header(header)));
    }

    #[test]
    fn what_is_no_line_is_none() {
        let whole = line(r#"{"service":"web","note":"n"}"#);
        assert!(Line::read(&whole).is_some());
        for at in 0..whole.len() {
            assert_eq!(Line::read(&whole[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(Line::read(&flipped), None, "{}", flipped.escape_ascii());
            }
        }
        for text in [r#"{"service":"../web","note":"n"}"#, r#"{"service":"web","note":{"hex":"0g"}}"#, "7", "{}}"] {
            assert_eq!(Line::read(&line(text)), None, "{text}");
        }
    }
}
