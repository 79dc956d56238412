//! What a keeper makes of what an earlier one left in the run table.

use std::io;
use std::time::{Duration, Instant};

use super::evidence::{self, Evidence};
use super::run_table::{Distrust, Found, Record};
use super::slots::Slots;

/// How long a process may take to be executed before nothing more is made of it.
const EXEC_PATIENCE: Duration = Duration::from_secs(1);

/// Takes over what an earlier keeper left.
pub(super) fn take_over(found: Found, slots: &mut Slots) -> io::Result<()> {
    match found.distrusted {
        // As after every start of the machine: nothing of it can be left.
        Some(why @ Distrust::OtherBoot) => log::info!("nothing is left of an earlier daemon's run table: {why}"),
        Some(why) => log::warn!("what an earlier daemon left is not looked at: {why}"),
        None => {}
    }
    for record in found.records {
        let evidence = settled(&record)?;
        if let Evidence::Alive(_) = evidence {
            log::info!("{}: {:?} lives on, pid {}", record.service, record.run, record.pid.unwrap_or_default());
        }
        slots.adopt(record, evidence);
    }
    Ok(())
}

/// Looks until there is something to see: at the moment when it is executed a process has no environment. That moment is
/// over soon, or the process hangs, and then it is as good as one that never came to it.
fn settled(record: &Record) -> io::Result<Evidence> {
    let begun = Instant::now();
    loop {
        match evidence::examine(record)? {
            Evidence::NotYet if begun.elapsed() < EXEC_PATIENCE => std::thread::yield_now(),
            evidence => return Ok(evidence),
        }
    }
}
