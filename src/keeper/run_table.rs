//! The slots of the keeper, in a file that outlives it.
//!
//! The file is memory ([`SharedFile`]): what has been stored when the keeper is killed is what the next one reads, in the
//! order of the program. So every record is stored to in an order of which each beginning is harmless, and no call but
//! [`RunTable::open`] and [`RunTable::grow_ahead`] has to do with the disk, unless more services come at once than there is
//! room for ahead.
//!
//! It begins with a header; records follow one after the other, each of as many cells of 64 bytes as its service's id
//! needs, up to a cell that begins with 0. A record is taken by one store of its first word, which says so and how long
//! it is, after all else is in place; and a run begins with one store of the word `BEGUN`, which is taken back before
//! anything of the next run is written. A table of a boot that is over says nothing, and is begun anew.

mod layout;

use std::io;
use std::path::{Path, PathBuf};

use self::layout::{CELL, Cells, Damaged, Head, Run};
use crate::model::{Ending, RunId, ServiceId, StopScope};
use crate::os::{GRAIN, Identity, PidWord, SharedFile};

/// The run table, open. Of one file there is one at a time: the lock of the state directory sees to that.
#[derive(Debug)]
pub(crate) struct RunTable {
    cells: Cells,
    path: PathBuf,
    /// Where the next record goes that no free one is large enough for.
    end: usize,
    /// Records that belong to no service.
    free: Vec<Place>,
}

/// A service's record in the table that gave it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where its first cell begins.
    at: usize,
    /// How many cells it has.
    cells: usize,
}

/// A run as it was found: begun, and not yet acknowledged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Where it stands, for what becomes of it.
    pub(crate) place: Place,
    /// Whose run it is.
    pub(crate) service: ServiceId,
    /// Which one.
    pub(crate) run: RunId,
    /// The user that it was to be launched as.
    pub(crate) uid: u32,
    /// The number of its process; `None` if none had been made.
    pub(crate) pid: Option<i32>,
    /// Which process that number meant; `None` if the keeper was killed before it could say.
    pub(crate) identity: Option<Identity>,
    /// How it ended, if that was known.
    pub(crate) ended: Option<Ending>,
    /// What ends with its main process.
    pub(crate) scope: StopScope,
    /// Restarts of the service when it was launched, where that was said.
    pub(crate) restarts: Option<u64>,
}

/// What was in a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The runs in it.
    pub(crate) records: Vec<Record>,
    /// Why what it said was not trusted; `None` also of a table that had not been made.
    pub(crate) distrusted: Option<Distrust>,
    /// Runs of this boot may live of which it says nothing. Until whoever looks for them has come to an end, and said so by
    /// [`RunTable::vouch`], it counts as one that had not been made.
    pub(crate) lost: bool,
}

/// Why a table is begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Distrust {
    /// It is of an earlier boot, or of another machine: none of its processes is left.
    #[error("it is of another boot")]
    OtherBoot,
    /// Another version of the program wrote it.
    #[error("it is of version {0}")]
    OtherVersion(u32),
    /// It was never one.
    #[error("it is no run table")]
    Foreign,
    /// Some of it is missing, or makes no sense.
    #[error("it is damaged")]
    Damaged,
}

/// Why there is no table, or no record in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    /// The table can't be used at all.
    #[error("cannot open the run table {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It has no free record, and can't be made larger. What is in it stays.
    #[error("cannot make the run table {} larger", path.display())]
    Grow {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No file name is so long, so no conf is named so.
    #[error("the id {0} is longer than {max} bytes", max = layout::LONGEST_ID)]
    IdTooLong(ServiceId),
}

impl TableError {
    /// The system's number for it.
    pub(crate) fn errno(&self) -> i32 {
        match self {
            Self::Open { source, .. } | Self::Grow { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
            Self::IdTooLong(_) => libc::ENAMETOOLONG,
        }
    }
}

/// How large a table can become: a million services.
const ROOM: usize = 1 << 26;
/// How much room there is for further records, a thousand services with short ids, whenever the keeper has nothing to do.
const AHEAD: usize = GRAIN;

impl RunTable {
    /// Opens the table of this boot and says what is in it; makes it, or begins it anew, where there is none to trust.
    ///
    /// # Errors
    /// The file can't be opened, or is no plain file of this user, or there is no room on the disk.
    pub(crate) fn open(path: &Path, boot_id: [u8; 16]) -> Result<(Self, Found), TableError> {
        let failed = |source| TableError::Open { path: path.to_owned(), source };
        let file = SharedFile::open(path, ROOM).map_err(failed)?;
        let mut table = Self { cells: Cells::new(file), path: path.to_owned(), end: CELL, free: Vec::new() };
        let distrusted = match table.cells.trusted_size(boot_id) {
            Ok(size) => {
                // Blocks for all of it, and nothing of what a growth that was cut short had added.
                table.cells.resize(size).map_err(failed)?;
                match table.walk() {
                    Ok(records) => {
                        table.grow_ahead();
                        return Ok((table, Found { records, ..Found::default() }));
                    }
                    Err(Damaged) => Some(Distrust::Damaged),
                }
            }
            Err(why) => why,
        };
        (table.end, table.free) = (CELL, Vec::new());
        table.cells.begin_anew(boot_id).map_err(failed)?;
        table.grow_ahead();
        let lost = distrusted != Some(Distrust::OtherBoot);
        if !lost {
            table.vouch();
        }
        Ok((table, Found { records: Vec::new(), distrusted, lost }))
    }

    /// All that lives has its record: from now on this is a table.
    pub(crate) fn vouch(&self) {
        self.cells.finish();
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes room for records to come. To be called when nobody waits: the disk may take its time. Where that has none, what
    /// there is will do until [`Self::claim`] finds that it does not.
    pub(crate) fn grow_ahead(&mut self) {
        let end = self.end + AHEAD;
        if end > self.cells.size() {
            let _ = self.cells.resize(end.next_multiple_of(GRAIN));
        }
    }

    /// A record for a service that has none: a free one of the right size, or a new one, without a run.
    ///
    /// # Errors
    /// There was no room ahead, and the disk is full. Nothing has changed then, and a later call may succeed.
    pub(crate) fn claim(&mut self, service: &ServiceId) -> Result<Place, TableError> {
        let cells = layout::cells_for(service).ok_or_else(|| TableError::IdTooLong(service.clone()))?;
        let place = match self.free.iter().position(|free| free.cells == cells) {
            Some(fitting) => self.free.swap_remove(fitting),
            None => self.append(cells)?,
        };
        self.cells.take(place.at, cells, service);
        Ok(place)
    }

    /// A run begins: the record is its own before there is a process. The word takes the number of the process, before
    /// that runs. What ends with it is its whole tree, until [`Self::rescope`] says otherwise.
    pub(crate) fn begin(&self, place: &Place, run: RunId, uid: u32) -> PidWord {
        self.cells.begin(place.at, run, uid)
    }

    /// This is what ends with the main process of a run. Of a run that is not in this record any more nothing is said.
    pub(crate) fn rescope(&self, place: &Place, run: RunId, scope: StopScope) {
        self.cells.rescope(place.at, run, scope);
    }

    /// So many restarts were counted when a run was launched: the journal of notes may not say so yet when both processes are
    /// killed.
    pub(crate) fn count(&self, place: &Place, run: RunId, restarts: u64) {
        self.cells.count(place.at, run, restarts);
    }

    /// The user that the run of a record was to be launched as.
    pub(crate) fn uid(&self, place: &Place, run: RunId) -> Option<u32> {
        self.cells.run(place.at).filter(|known| known.run == run).map(|known| known.uid)
    }

    /// The process has been made.
    pub(crate) fn made(&self, place: &Place, pid: i32, identity: Identity) {
        self.cells.made(place.at, pid, identity);
    }

    /// The run has ended. To be said before the process is reaped (waitid(2) with `WNOWAIT`): of one that is gone nobody
    /// could learn how it ended.
    pub(crate) fn ended(&self, place: &Place, ending: Ending) {
        self.cells.ended(place.at, ending);
    }

    /// The end has been acknowledged: there is no run.
    pub(crate) fn clear(&self, place: &Place) {
        self.cells.clear(place.at);
    }

    /// The service has left the herd; another one may have the record.
    pub(crate) fn release(&mut self, place: Place) {
        self.cells.set_free(place.at, place.cells);
        self.free.push(place);
    }

    /// A new record behind the last one.
    fn append(&mut self, cells: usize) -> Result<Place, TableError> {
        let place = Place { at: self.end, cells };
        let end = self.end + cells * CELL;
        if end > self.cells.size() {
            let grown = self.cells.resize(end.next_multiple_of(GRAIN));
            grown.map_err(|source| TableError::Grow { path: self.path.clone(), source })?;
        }
        self.end = end;
        Ok(place)
    }

    /// Goes from record to record.
    fn walk(&mut self) -> Result<Vec<Record>, Damaged> {
        let mut records = Vec::new();
        while self.end < self.cells.size() {
            let (cells, service) = match self.cells.head(self.end)? {
                Head::End => break,
                Head::Free { cells } => (cells, None),
                Head::Taken { cells, service } => (cells, Some(service)),
            };
            let place = Place { at: self.end, cells };
            self.end += cells * CELL;
            match service.and_then(|service| Some((service, self.cells.run(place.at)?))) {
                Some((service, Run { run, uid, pid, identity, ended, scope, restarts })) => {
                    records.push(Record { place, service, run, uid, pid, identity, ended, scope, restarts });
                }
                // Nobody remembers a record without a run: whoever needs one claims it.
                None => self.release(place),
            }
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests;
