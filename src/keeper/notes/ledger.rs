//! The newest state of every service, and how much of it is on the disk.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use super::file::Disk;
use super::line::{Header, write_gone, write_header, write_state};
use super::queue::{Newest, State};
use super::{NotesError, Recalled, Text};
use crate::model::ServiceId;

/// The file is made anew when it has grown to this many times its size when it was new …
const GROWTH: u64 = 4;
/// … but not before it has this size: up to it, reading it is quick.
const SMALL: u64 = 1 << 20;
/// How many bytes are written at a time, or a line more.
const BATCH: usize = 32 << 10;
/// How many services are behind when nothing special happens.
const FEW: usize = 64;

/// Everything that the journal shall say. It is kept in memory, too, so that a file that is damaged or deleted under our
/// hands is made again from what is true, not from what is left of it.
pub(super) struct Ledger {
    header: Arc<Header>,
    entries: BTreeMap<ServiceId, Entry>,
    /// Whose line is still to be written, each once.
    behind: Vec<ServiceId>,
    /// The size at which the file is made anew.
    compact_at: u64,
}

struct Entry {
    /// None of a service that is gone, until a line says so.
    state: Option<State>,
    header: Arc<Header>,
    /// Whether the last line of this service in the file means this conf.
    conf_written: bool,
    behind: bool,
}

impl Ledger {
    /// What was recalled goes on under the header that it had.
    pub(super) fn new(header: Header, recalled: &Recalled) -> Self {
        let entries = recalled.services.iter().map(|(service, kept)| {
            let state = State { note: kept.note.clone(), conf: kept.conf.clone().map(Text::from) };
            let entry =
                Entry { state: Some(state), header: Arc::clone(&kept.header), conf_written: false, behind: false };
            (service.clone(), entry)
        });
        Self { header: Arc::new(header), entries: entries.collect(), behind: Vec::new(), compact_at: SMALL }
    }

    /// Takes what has changed.
    pub(super) fn take(&mut self, newest: Newest) {
        for (service, state) in newest {
            match state {
                Some(state) => self.put(service, state),
                None => self.remove(service),
            }
        }
    }

    fn put(&mut self, service: ServiceId, state: State) {
        let entry = self.entries.entry(service.clone()).or_insert_with(|| Entry {
            state: None,
            header: Arc::clone(&self.header),
            conf_written: false,
            behind: false,
        });
        let before = entry.state.as_ref().and_then(|state| state.conf.as_ref());
        entry.conf_written &= before == state.conf.as_ref();
        entry.state = Some(state);
        entry.header = Arc::clone(&self.header);
        if !std::mem::replace(&mut entry.behind, true) {
            self.behind.push(service);
        }
    }

    fn remove(&mut self, service: ServiceId) {
        let Some(entry) = self.entries.get_mut(&service) else { return };
        entry.state = None;
        if !std::mem::replace(&mut entry.behind, true) {
            self.behind.push(service);
        }
    }

    /// Writes what is behind.
    pub(super) fn write(&mut self, disk: &mut impl Disk) -> Result<(), NotesError> {
        if disk.size().is_none() {
            return self.compact(disk);
        }
        let mut lines = Vec::new();
        while !self.behind.is_empty() {
            lines.clear();
            let mut first = self.behind.len();
            while first > 0 && lines.len() < BATCH {
                first -= 1;
                let service = &self.behind[first];
                if let Some(entry) = self.entries.get(service) {
                    entry.write(service, &self.header, &mut lines);
                }
            }
            disk.append(&lines)?;
            for service in self.behind.split_off(first) {
                settle(&mut self.entries, &service);
            }
        }
        if self.behind.capacity() > FEW {
            // After a storm: what is left of it would be there for ever. A map that is made from what is sorted has full nodes.
            self.behind.shrink_to(FEW);
            self.entries = std::mem::take(&mut self.entries).into_iter().collect();
        }
        Ok(())
    }

    /// Whether the file is mostly history.
    pub(super) fn has_grown(&self, disk: &mut impl Disk) -> bool {
        disk.size().is_some_and(|size| size >= self.compact_at)
    }

    /// Makes the file anew. After an error the old one goes on, and grows a while before the next try.
    pub(super) fn compact(&mut self, disk: &mut impl Disk) -> Result<(), NotesError> {
        let replaced = disk.replace(&mut |file| self.fill(file));
        if let Err(error) = replaced {
            self.compact_at = disk.size().unwrap_or_default() + SMALL;
            return Err(error);
        }
        self.behind.clear();
        self.entries.retain(|_, entry| entry.state.is_some());
        for entry in self.entries.values_mut() {
            (entry.behind, entry.conf_written) = (false, true);
        }
        self.compact_at = SMALL.max(GROWTH * disk.size().unwrap_or_default());
        Ok(())
    }

    fn fill(&self, file: &mut dyn Write) -> io::Result<()> {
        let mut line = Vec::new();
        write_header(&mut line, &self.header);
        file.write_all(&line)?;
        for (service, entry) in &self.entries {
            line.clear();
            if let Some(state) = &entry.state {
                state.write(service, false, entry.of(&self.header), &mut line);
            }
            file.write_all(&line)?;
        }
        Ok(())
    }
}

impl Entry {
    fn write(&self, service: &ServiceId, header: &Header, to: &mut Vec<u8>) {
        match &self.state {
            Some(state) => state.write(service, self.conf_written, self.of(header), to),
            None => write_gone(to, service),
        }
    }

    /// What its note was written under, where that is not what the file's header says.
    fn of(&self, header: &Header) -> Option<&Header> {
        (*self.header != *header).then_some(&self.header)
    }
}

impl State {
    fn write(&self, service: &ServiceId, conf_written: bool, of: Option<&Header>, to: &mut Vec<u8>) {
        let conf = self.conf.as_ref().map(Text::joined);
        write_state(to, service, &self.note, conf.as_deref().map(|conf| (conf, conf_written)), of);
    }
}

/// The line of a service is in the file.
fn settle(entries: &mut BTreeMap<ServiceId, Entry>, service: &ServiceId) {
    let Some(entry) = entries.get_mut(service) else { return };
    (entry.behind, entry.conf_written) = (false, true);
    if entry.state.is_none() {
        entries.remove(service);
    }
}

#[cfg(test)]
mod tests {
    use super::super::disks::Memory;
    use super::*;

    fn header(boot: &str) -> Header {
        Header { boot: boot.to_owned(), herd: 7 }
    }

    fn id(text: &str) -> ServiceId {
        text.parse().unwrap()
    }

    fn put(ledger: &mut Ledger, service: &str, note: &str, conf: Option<&str>) {
        let state = State { note: note.into(), conf: conf.map(|conf| Text::from(Arc::from(conf.as_bytes()))) };
        ledger.take(Newest::from([(id(service), Some(state))]));
    }

    fn lines(disk: &Memory) -> Vec<String> {
        String::from_utf8(disk.bytes()).unwrap().lines().map(|line| line[9..].to_owned()).collect()
    }

    #[test]
    fn a_conf_is_written_when_it_has_changed() {
        let (mut ledger, mut disk) = (Ledger::new(header("b"), &Recalled::nothing()), Memory::new());
        ledger.write(&mut disk).unwrap();
        for (note, conf) in [("1", Some("a")), ("2", Some("a")), ("3", Some("b")), ("4", None), ("5", Some("b"))] {
            put(&mut ledger, "web", note, conf);
            ledger.write(&mut disk).unwrap();
        }
        ledger.take(Newest::from([(id("web"), None), (id("never"), None)]));
        ledger.write(&mut disk).unwrap();
        put(&mut ledger, "web", "6", Some("b"));
        ledger.write(&mut disk).unwrap();
        let expected = [
            r#"{"notes":1,"boot":"b","herd":"0000000000000007"}"#,
            r#"{"service":"web","note":"1","conf":"a"}"#,
            r#"{"service":"web","note":"2","conf_crc":3904355907}"#,
            r#"{"service":"web","note":"3","conf":"b"}"#,
            r#"{"service":"web","note":"4"}"#,
            r#"{"service":"web","note":"5","conf":"b"}"#,
            r#"{"service":"web","gone":true}"#,
            r#"{"service":"web","note":"6","conf":"b"}"#,
        ];
        assert_eq!(lines(&disk), expected);
    }

    #[test]
    fn what_a_full_disk_refuses_is_one_line_a_service_later() {
        let (mut ledger, mut disk) = (Ledger::new(header("b"), &Recalled::nothing()), Memory::new());
        put(&mut ledger, "web", "0", Some("a"));
        put(&mut ledger, "old", "0", None);
        ledger.write(&mut disk).unwrap();
        let before = disk.bytes();
        disk.with(|content| content.room = before.len());
        for note in 1..100 {
            put(&mut ledger, "web", &note.to_string(), Some("b"));
            ledger.take(Newest::from([(id("old"), None)]));
            assert!(ledger.write(&mut disk).is_err());
        }
        assert_eq!(disk.bytes(), before);
        disk.with(|content| content.room = usize::MAX);
        ledger.write(&mut disk).unwrap();
        ledger.write(&mut disk).unwrap();
        let mut later = lines(&disk).split_off(3);
        later.sort();
        assert_eq!(later, [r#"{"service":"old","gone":true}"#, r#"{"service":"web","note":"99","conf":"b"}"#]);
    }

    #[test]
    fn a_file_that_is_mostly_history_is_made_anew() {
        let (mut ledger, mut disk) = (Ledger::new(header("b"), &Recalled::nothing()), Memory::new());
        ledger.write(&mut disk).unwrap();
        let mut note = 0;
        let mut grow = |ledger: &mut Ledger, disk: &mut Memory| {
            while !ledger.has_grown(disk) {
                note += 1;
                put(ledger, "web", &format!("{note:0>10000}"), Some("a"));
                ledger.write(disk).unwrap();
            }
            note
        };
        grow(&mut ledger, &mut disk);
        // There is no room for it: the old file goes on, and the next try comes later.
        disk.with(|content| content.room = content.bytes.as_ref().map_or(0, Vec::len) + 5000);
        assert!(ledger.compact(&mut disk).is_err());
        assert!(!ledger.has_grown(&mut disk));
        disk.with(|content| content.room = usize::MAX);
        let newest = grow(&mut ledger, &mut disk);
        ledger.compact(&mut disk).unwrap();
        assert_eq!(lines(&disk).len(), 2);
        assert!(!ledger.has_grown(&mut disk));
        put(&mut ledger, "db", "1", None);
        ledger.write(&mut disk).unwrap();
        let recalled = disk.recalled();
        assert_eq!(recalled.services[&id("web")].note, format!("{newest:0>10000}").into_bytes());
        assert_eq!(recalled.services[&id("web")].conf.as_deref(), Some(b"a".as_slice()));
        assert_eq!(recalled.services[&id("db")].note, b"1");
    }

    #[test]
    fn a_note_of_another_boot_says_so_until_it_is_renewed() {
        let (mut ledger, mut disk) = (Ledger::new(header("old"), &Recalled::nothing()), Memory::new());
        put(&mut ledger, "db", "d", Some("a"));
        put(&mut ledger, "web", "w", None);
        ledger.write(&mut disk).unwrap();
        for _ in 0..2 {
            ledger = Ledger::new(header("new"), &disk.recalled());
            ledger.compact(&mut disk).unwrap();
        }
        put(&mut ledger, "web", "w", None);
        ledger.write(&mut disk).unwrap();
        let recalled = disk.recalled();
        assert_eq!(recalled.header.as_deref(), Some(&header("new")));
        assert_eq!(*recalled.services[&id("db")].header, header("old"));
        assert_eq!(*recalled.services[&id("web")].header, header("new"));
    }
}
