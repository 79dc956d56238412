//! Runs that were found without a record.

use std::os::fd::AsFd;
use std::path::PathBuf;

use super::Slots;
use crate::keeper::evidence::Evidence;
use crate::keeper::recover::Lost;
use crate::keeper::run_table::{Record, TableError};
use crate::model::StopScope;
use crate::os::Identity;

impl Slots {
    /// Takes over a run that was found without a record, and gives it one.
    ///
    /// # Errors
    /// The run table has no room: then nothing may be launched in its place.
    pub(in crate::keeper) fn recover(&mut self, lost: Lost) -> Result<(), TableError> {
        let Lost { service, run, uid, pid, main } = lost;
        let pid = pid.cast_signed();
        let place = self.records.claim(&service)?;
        self.records.begin(&place, run, uid).store(pid);
        let identity = main.as_ref().and_then(|main| Identity::of(pid, main.as_fd()).ok());
        if let Some(identity) = identity {
            self.records.made(&place, pid, identity);
        }
        // What ends with it the herder knows.
        let scope = StopScope::Tree;
        let record = Record { place, service, run, uid, pid: Some(pid), identity, ended: None, scope, restarts: None };
        self.adopt(record, main.map_or(Evidence::Gone, Evidence::Alive));
        Ok(())
    }

    /// All that lives has its record.
    pub(in crate::keeper) fn vouch(&self) {
        self.records.vouch();
    }

    /// The journal of notes, which lies beside the run table.
    pub(in crate::keeper) fn journal(&self) -> PathBuf {
        self.records.path().with_file_name("notes")
    }
}
