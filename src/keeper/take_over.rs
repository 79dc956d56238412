//! What a keeper makes of what an earlier one left in the run table.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::evidence::{Evidence, Look, examine};
use super::run_table::{Found, Record};
use super::slots::Slots;
use crate::model::Signal;
use crate::os::Process;

/// How long processes may take to be executed before nothing more is made of them.
const EXEC_PATIENCE: Duration = Duration::from_secs(1);

/// Takes over what an earlier keeper left. The lock is that of the state directory.
pub(super) fn take_over(found: Found, slots: &mut Slots, lock: BorrowedFd<'_>) -> io::Result<()> {
    if let Some(why) = found.distrusted {
        log::warn!("what an earlier daemon left is not looked at: {why}");
    }
    let until = Instant::now() + EXEC_PATIENCE;
    for record in found.records {
        let evidence = settled(&record, lock, until)?;
        if let Evidence::Alive(_) = evidence {
            log::info!("{}: {:?} lives on, pid {}", record.service, record.run, record.pid.unwrap_or_default());
        }
        slots.adopt(record, evidence);
    }
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
