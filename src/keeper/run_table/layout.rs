//! What each byte of the run table means, and in which order they are stored.
//!
//! Every store of a word is a release: none is moved before an earlier one, by the compiler or the processor. So at each
//! moment the file is what the program has done so far, and a kill -9 only chooses the moment. Words are of this
//! machine's byte order: the table is of use to one boot only.
//!
//! A header, one cell: 0 `MAGIC`, 8 `VERSION`, 16 the size of the table (u64), 24 and 32 the boot id.
//!
//! A record, at offsets from its first cell: 0 the head (kind, cells, length of the id), 4 pid, 8 the run's number (u64),
//! 16 its herd (u64), 24 identity (u64), 32 ending, 36 begun (1, or 2 where its main process only ends with it; from the third
//! bit on one more than the restarts counted by then, or 0 where that was not said), 40 kind of the identity, 44 user, 48 the id, as many bytes as it has.

use std::io;
use std::sync::atomic::Ordering;

use super::Distrust;
use crate::keeper::ending_word;
use crate::model::{Ending, RunId, ServiceId, StopScope};
use crate::os::{GRAIN, Identity, PidWord, SharedFile};

/// The size of a cell: a line of the processor's cache.
pub(super) const CELL: usize = 64;
/// The longest id in bytes: a file name has no more (NAME_MAX).
pub(super) const LONGEST_ID: usize = 255;

/// "dherdrun".
const MAGIC: u64 = u64::from_le_bytes(*b"dherdrun");
const VERSION: u32 = 2;

const HEADER_MAGIC: usize = 0;
const HEADER_VERSION: usize = 8;
const HEADER_SIZE: usize = 16;
const HEADER_BOOT: [usize; 2] = [24, 32];

const HEAD: usize = 0;
const PID: usize = 4;
const NUMBER: usize = 8;
const HERD: usize = 16;
const IDENTITY: usize = 24;
const ENDING: usize = 32;
const BEGUN: usize = 36;
const IDENTITY_KIND: usize = 40;
const UID: usize = 44;
const ID: usize = 48;

/// That a run has begun, and what ends with it.
const BEGUN_TREE: u32 = 1;
const BEGUN_MAIN: u32 = 2;
/// Behind that, in the same word, so that what is said of one run is never taken for another's: the restarts.
const SCOPE_BITS: u32 = 2;
const SCOPE: u32 = (1 << SCOPE_BITS) - 1;

/// The first half of a head.
const TAKEN: u16 = 0x5441;
const FREE: u16 = 0x4652;

/// The table as cells.
#[derive(Debug)]
pub(super) struct Cells(SharedFile);

/// What is at the beginning of a cell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// No record, and none behind it.
    End,
    /// A record that nobody has.
    Free {
        /// How many cells it has.
        cells: usize,
    },
    /// A service's record.
    Taken {
        /// How many cells it has.
        cells: usize,
        /// Whose it is.
        service: ServiceId,
    },
}

/// The run of a record.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) run: RunId,
    pub(super) uid: u32,
    pub(super) pid: Option<i32>,
    pub(super) identity: Option<Identity>,
    pub(super) ended: Option<Ending>,
    pub(super) scope: StopScope,
    pub(super) restarts: Option<u64>,
}

/// There is something that nobody stores there.
#[derive(Debug)]
pub(super) struct Damaged;

/// How many cells the record of a service has; `None` if its id is too long.
pub(super) fn cells_for(service: &ServiceId) -> Option<usize> {
    let length = service.as_str().len();
    (length <= LONGEST_ID).then(|| (ID + length).div_ceil(CELL))
}

impl Cells {
    pub(super) fn new(file: SharedFile) -> Self {
        Self(file)
    }

    /// How large a table is whose header can be trusted; otherwise why not, or nothing if no table has been made.
    pub(super) fn trusted_size(&self, boot_id: [u8; 16]) -> Result<usize, Option<Distrust>> {
        let length = self.0.len();
        if length < CELL {
            return Err((length > 0).then_some(Distrust::Foreign));
        }
        match self.double(HEADER_MAGIC) {
            MAGIC => {}
            // It is stored last: one that was never finished.
            0 => return Err(None),
            _ => return Err(Some(Distrust::Foreign)),
        }
        let version = self.word(HEADER_VERSION);
        if version != VERSION {
            return Err(Some(Distrust::OtherVersion(version)));
        }
        if HEADER_BOOT.map(|at| self.double(at)) != boot_words(boot_id) {
            return Err(Some(Distrust::OtherBoot));
        }
        let size = usize::try_from(self.double(HEADER_SIZE)).unwrap_or(usize::MAX);
        let whole = size > 0 && size.is_multiple_of(GRAIN) && size <= length;
        if whole { Ok(size) } else { Err(Some(Distrust::Damaged)) }
    }

    /// An empty table, which is none yet.
    pub(super) fn begin_anew(&mut self, boot_id: [u8; 16]) -> io::Result<()> {
        self.0.resize(0)?;
        self.resize(GRAIN)?;
        for (at, word) in HEADER_BOOT.into_iter().zip(boot_words(boot_id)) {
            self.set_double(at, word);
        }
        self.set_word(HEADER_VERSION, VERSION);
        Ok(())
    }

    /// The header is whole, and what follows can be trusted.
    pub(super) fn finish(&self) {
        self.set_double(HEADER_MAGIC, MAGIC);
    }

    /// Makes the table as large as this. The header says so once it is true.
    pub(super) fn resize(&mut self, size: usize) -> io::Result<()> {
        self.0.resize(size)?;
        self.set_double(HEADER_SIZE, size as u64);
        Ok(())
    }

    pub(super) fn size(&self) -> usize {
        self.0.len()
    }

    /// What begins here.
    pub(super) fn head(&self, at: usize) -> Result<Head, Damaged> {
        let word = self.word(at + HEAD);
        if word == 0 {
            return Ok(Head::End);
        }
        let [high, low, cells, length] = word.to_be_bytes();
        let (cells, length) = (usize::from(cells), usize::from(length));
        if cells == 0 || at + cells * CELL > self.size() {
            return Err(Damaged);
        }
        match u16::from_be_bytes([high, low]) {
            FREE => Ok(Head::Free { cells }),
            TAKEN if ID + length <= cells * CELL => {
                let id = String::from_utf8(self.0.bytes(at + ID, length)).map_err(|_| Damaged)?;
                let service = id.parse().map_err(|_| Damaged)?;
                if cells_for(&service) == Some(cells) { Ok(Head::Taken { cells, service }) } else { Err(Damaged) }
            }
            _ => Err(Damaged),
        }
    }

    /// Makes so many cells the record of a service, without a run.
    pub(super) fn take(&self, at: usize, cells: usize, service: &ServiceId) {
        let id = service.as_str().as_bytes();
        // Behind the last record may lie the id of one that was never finished, and was longer: the end has to be there
        // before this record leads to it. Behind any other record lies a head, which stays.
        let next = at + cells * CELL;
        if self.word(at + HEAD) == 0 && next < self.size() {
            self.set_word(next + HEAD, 0);
        }
        self.clear(at);
        self.0.put(at + ID, id);
        self.set_word(at + HEAD, head_word(TAKEN, cells, id.len()));
    }

    /// Makes so many cells a record that nobody has.
    pub(super) fn set_free(&self, at: usize, cells: usize) {
        self.clear(at);
        self.set_word(at + HEAD, head_word(FREE, cells, 0));
    }

    pub(super) fn begin(&self, at: usize, run: RunId, uid: u32) -> PidWord {
        // From here on there is no run, until all of the next one is there.
        self.clear(at);
        self.set_word(at + PID, 0);
        self.set_word(at + IDENTITY_KIND, 0);
        self.set_word(at + ENDING, 0);
        self.set_word(at + UID, uid);
        self.set_double(at + HERD, run.herd);
        self.set_double(at + NUMBER, run.number);
        self.set_word(at + BEGUN, BEGUN_TREE);
        self.0.pid_word(at + PID)
    }

    /// Says what ends with a run, if it is still this record's.
    pub(super) fn rescope(&self, at: usize, run: RunId, scope: StopScope) {
        if self.run(at).is_some_and(|known| known.run == run) {
            let counted = self.word(at + BEGUN) & !SCOPE;
            self.set_word(at + BEGUN, counted | if scope == StopScope::Tree { BEGUN_TREE } else { BEGUN_MAIN });
        }
    }

    /// Says how many restarts were counted when a run was launched, if it is still this record's. Of a thousand million
    /// nothing is said.
    pub(super) fn count(&self, at: usize, run: RunId, restarts: u64) {
        if self.run(at).is_some_and(|known| known.run == run) {
            let counted =
                u32::try_from(restarts.saturating_add(1)).ok().filter(|counted| *counted <= u32::MAX >> SCOPE_BITS);
            let scope = self.word(at + BEGUN) & SCOPE;
            self.set_word(at + BEGUN, counted.unwrap_or(0) << SCOPE_BITS | scope);
        }
    }

    pub(super) fn made(&self, at: usize, pid: i32, identity: Identity) {
        let (kind, value) = identity.to_words();
        self.set_word(at + PID, pid.cast_unsigned());
        self.set_double(at + IDENTITY, value);
        // The kind says that the value is there.
        self.set_word(at + IDENTITY_KIND, kind);
    }

    pub(super) fn ended(&self, at: usize, ending: Ending) {
        self.set_word(at + ENDING, ending_word::to_word(ending));
    }

    pub(super) fn clear(&self, at: usize) {
        self.set_word(at + BEGUN, 0);
    }

    /// The run of a record, if one has begun.
    pub(super) fn run(&self, at: usize) -> Option<Run> {
        let begun = self.word(at + BEGUN);
        let scope = match begun & SCOPE {
            BEGUN_TREE => StopScope::Tree,
            BEGUN_MAIN => StopScope::Main,
            _ => return None,
        };
        Some(Run {
            run: RunId { herd: self.double(at + HERD), number: self.double(at + NUMBER) },
            uid: self.word(at + UID),
            pid: i32::try_from(self.word(at + PID)).ok().filter(|pid| *pid > 0),
            identity: Identity::from_words(self.word(at + IDENTITY_KIND), self.double(at + IDENTITY)),
            ended: ending_word::from_word(self.word(at + ENDING)),
            scope,
            restarts: (begun >> SCOPE_BITS).checked_sub(1).map(u64::from),
        })
    }

    fn word(&self, at: usize) -> u32 {
        self.0.word32(at).load(Ordering::Acquire)
    }

    fn double(&self, at: usize) -> u64 {
        self.0.word64(at).load(Ordering::Acquire)
    }

    fn set_word(&self, at: usize, word: u32) {
        self.0.word32(at).store(word, Ordering::Release);
    }

    fn set_double(&self, at: usize, word: u64) {
        self.0.word64(at).store(word, Ordering::Release);
    }
}

fn boot_words(boot_id: [u8; 16]) -> [u64; 2] {
    let number = u128::from_be_bytes(boot_id);
    [(number >> 64) as u64, number as u64]
}

fn head_word(kind: u16, cells: usize, length: usize) -> u32 {
    // Both fit a byte: an id has at most 255 bytes, and so a record at most 5 cells.
    let byte = |number| u8::try_from(number).unwrap_or_default();
    let [high, low] = kind.to_be_bytes();
    u32::from_be_bytes([high, low, byte(cells), byte(length)])
}
