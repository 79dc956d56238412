//! What a keeper makes of what an earlier one left in the run table.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::evidence::{Evidence, Look, examine};
use super::recover::{self, Lost};
use super::run_table::{Distrust, Found, Record};
use super::slots::Slots;
use crate::model::Signal;
use crate::os::{Process, Witnesses};

/// The number of the first run of a herd: as long as that is free, none has been.
const FIRST_RUN: u64 = 1;
/// How long processes may take to be executed before nothing more is made of them.
const EXEC_PATIENCE: Duration = Duration::from_secs(1);

/// Takes over what an earlier keeper of the herd left. The lock is that of the state directory; the witnesses are of those
/// that lived when it went.
pub(super) fn take_over(
    found: Found,
    slots: &mut Slots,
    herd: u64,
    lock: BorrowedFd<'_>,
    witnesses: &Witnesses,
) -> io::Result<()> {
    match found.distrusted {
        // As after every start of the machine: nothing of it can be left.
        Some(why @ Distrust::OtherBoot) => log::info!("nothing is left of an earlier daemon's run table: {why}"),
        Some(why) => log::warn!("the run table does not tell what an earlier daemon left: {why}"),
        None => {}
    }
    if found.lost && slots.next_run() > FIRST_RUN {
        for lost in recover::look(herd, &slots.journal())? {
            let Lost { service, run, pid, main, .. } = &lost;
            match main {
                Some(_) => log::warn!("{service}: {run:?} lives on, pid {pid}, as its mark says"),
                None => log::warn!("{service}: {run:?} has ended unseen; what it left is ended, too"),
            }
            slots.recover(lost).map_err(io::Error::other)?;
        }
    }
    let until = Instant::now() + EXEC_PATIENCE;
    for record in found.records {
        let mut evidence = settled(&record, lock, until)?;
        if let (Evidence::Gone, Some(ending)) = (&evidence, record.identity.and_then(|id| witnesses.ending(id))) {
            evidence = Evidence::Ended(ending);
        }
        if let Evidence::Alive(_) = evidence {
            log::info!("{}: {:?} lives on, pid {}", record.service, record.run, record.pid.unwrap_or_default());
        }
        slots.adopt(record, evidence);
    }
    slots.vouch();
    Ok(())
}

/// Looks until there is something to see: at the moment when it is executed a process has no environment. That moment is
/// over soon, or the process hangs. Then it is killed: it must never come to its end beside the run that follows.
fn settled(record: &Record, lock: BorrowedFd<'_>, until: Instant) -> io::Result<Evidence> {
    loop {
        match examine(record, lock)? {
            Look::Settled(evidence) => return Ok(evidence),
            Look::NotYet(_) if Instant::now() < until => std::thread::yield_now(),
            Look::NotYet(hanging) => {
                if let (Some(pid), Some(hanging)) = (record.pid, hanging) {
                    log::error!("{}: process {pid} hangs where it executes its program: it is killed", record.service);
                    // An error says that it has ended.
                    let _ = Process::foreign(pid, hanging).signal(Signal::KILL);
                }
                return Ok(Evidence::Gone);
            }
        }
    }
}
