//! The daemon: the one place that knows every room and puts them together.
//!
//! `main` calls [`run`]. It finds the places, takes the state directory, points the journal at its file, starts the Herder
//! with a spawner, opens the control socket, passes signals on, and waits for the end of the herd.
//!
//! What never happens here: a decision about a service.

mod detach;
mod journal;
mod serve;
mod state;

use std::error::Error;
use std::process::ExitCode;

pub use detach::detach;
pub use state::{StateDir, StateError};

use crate::conf::{Overrides, Places, PlacesError, Surroundings};
use crate::os;

/// What the command line says of a daemon.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where things are.
    pub places: Overrides,
    /// Started by [`detach()`]: tells on standard output when it answers, and then lets go of the terminal.
    pub detached: bool,
}

/// Why a daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The places.
    #[error(transparent)]
    Places(#[from] PlacesError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system says no.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl StartError {
    /// 2 where the command or its surroundings are wrong, else 1.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Places(_) | Self::State(StateError::Refused { .. }) => 2,
            Self::State(StateError::Running { .. } | StateError::Io { .. }) | Self::Io { .. } => 1,
        }
    }
}

/// Runs the daemon until its herd has ended.
pub fn run(options: &Options) -> ExitCode {
    let places = Surroundings::of_this_process().and_then(|around| Places::find(&options.places, &around));
    let result = places.map_err(StartError::from).and_then(|places| {
        if options.detached {
            os::leave_terminal().map_err(|source| StartError::Io { what: "enter /".to_owned(), source })?;
        }
        serve::serve(&places, options.detached)
    });
    match result {
        // Whoever wants a daemon in the background has one.
        Err(StartError::State(StateError::Running { .. })) if options.detached => {
            detach::tell_running();
            ExitCode::SUCCESS
        }
        other => end(other),
    }
}

fn end(result: Result<(), StartError>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let mut text = format!("daemonherder: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    eprintln!("{text}");
    ExitCode::from(error.exit_code())
}
