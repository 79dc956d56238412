//! Events as lines for people: one line an event, the service's id in it, the cause in words.

use log::Level;

use crate::bus::{Event, Happening};
use crate::model::{Cause, Death, State};

/// Writes the line of an event through `log`.
pub(crate) fn write(event: &Event) {
    let level = match &event.what {
        Happening::Entered { state, death, .. } => level(*state, *death),
        Happening::OutputStuck { .. } | Happening::ActorReplaced => Level::Error,
        Happening::OutputGoesOn { dropped } if *dropped > 0 => Level::Warn,
        Happening::OutputGoesOn { .. } | Happening::Adjusted | Happening::Removed => Level::Info,
    };
    log::log!(level, "{}: {}", event.service, event.what);
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
