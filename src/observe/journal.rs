//! Events as lines for people: one line an event, the service's id in it, the cause in words.

use log::Level;

use crate::bus::{Event, Happening};
use crate::model::{Cause, Death, State};

/// Writes the line of an event through `log`.
pub(crate) fn write(event: &Event) {
    let id = &event.service;
    match &event.what {
        Happening::Entered { state, reason, pid, death, .. } => {
            let level = level(*state, *death);
            match pid {
                Some(pid) => log::log!(level, "{id}: {state}, pid {pid}: {reason}"),
                None => log::log!(level, "{id}: {state}: {reason}"),
            }
        }
        Happening::Adjusted => log::info!("{id}: adjusted to its changed conf, without a new process"),
        Happening::OutputStuck { why } => log::error!("{id}: {why}"),
        Happening::OutputGoesOn { dropped: 0 } => log::info!("{id}: its output is written again"),
        Happening::OutputGoesOn { dropped } => {
            log::warn!("{id}: its output is written again; {dropped} lines were dropped");
        }
        Happening::ActorReplaced => log::error!("{id}: its actor panicked and was replaced; its process goes on"),
        Happening::Removed => log::info!("{id}: removed, its conf is gone"),
    }
}

fn level(state: State, death: Option<Death>) -> Level {
    let failed = death.is_some_and(|death| match death.cause {
        Cause::Success | Cause::Stop => false,
        Cause::ExitCode
        | Cause::Signal
        | Cause::CoreDump
        | Cause::OomKill
        | Cause::StopTimeout
        | Cause::ExecFailed
        | Cause::Resources
        | Cause::Lost => true,
    });
    match state {
        State::Failed | State::Cooldown | State::Invalid => Level::Error,
        _ if failed => Level::Warn,
        // A launch that works says so when the program runs, and a stop when it is done.
        State::Starting | State::Stopping => Level::Debug,
        State::Stopped | State::Running | State::Backoff | State::Exited | State::Skipped => Level::Info,
    }
}
