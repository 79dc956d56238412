//! The daemon: the one place that knows every room and puts them together.
//!
//! `main` calls [`run`] for both of its processes. The keeper's takes the state directory, makes the control socket, and
//! keeps (`keep`); the herder's takes over what runs, points the journal at its file, starts the Herder with the keeper as
//! its spawner, answers on the socket, and waits for the end of the herd (`serve`).
//!
//! An upgrade is two more roles of the same program (`arrive`), and a way to ask for it (`upgrade`).
//!
//! What never happens here: a decision about a service.

mod arrive;
mod detach;
mod journal;
mod keep;
mod serve;
mod state;
mod succeed;
mod upgrade;

use std::error::Error;
use std::process::ExitCode;

pub use detach::detach;
pub use state::{StateDir, StateError};

use crate::conf::{Overrides, Places, PlacesError, Surroundings};
use crate::front::BindError;
use crate::keeper::{BadHandover, LineError, TableError};
use crate::os;

/// What the command line says of a daemon.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where things are.
    pub places: Overrides,
    /// Started by [`detach()`]: tells on standard output when it answers, and then lets go of the terminal.
    pub detached: bool,
    /// Started by a keeper: to decide what it keeps.
    pub herder: bool,
    /// A herder whose keeper has gone, and which is the keeper now.
    pub successor: bool,
    /// The herd was being stopped when the keeper went.
    pub ending: bool,
    /// A program that a keeper lets look at what it would leave to it.
    pub preflight: bool,
    /// A program that has taken the place of another one in the keeper's process.
    pub upgraded: Option<Upgraded>,
}

/// What one program tells the next one in the same process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgraded {
    /// The descriptor of what it left.
    pub state: i32,
    /// The next one gave the place back: why, in a word.
    pub returned: Option<String>,
}

/// Why a daemon did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The places.
    #[error(transparent)]
    Places(#[from] PlacesError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The line to the keeper.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The run table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The control socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// What another program left.
    #[error(transparent)]
    Handover(#[from] BadHandover),
    /// A service that another program left.
    #[error("{why}")]
    NotUnderstood {
        /// Which one, and why not.
        why: String,
    },
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
            Self::State(StateError::Running { .. } | StateError::Io { .. })
            | Self::Line(_)
            | Self::Table(_)
            | Self::Bind(_)
            | Self::Handover(_)
            | Self::NotUnderstood { .. }
            | Self::Io { .. } => 1,
        }
    }
}

/// Runs the daemon until its herd has ended.
pub fn run(options: &Options) -> ExitCode {
    let places = Surroundings::of_this_process().and_then(|around| Places::find(&options.places, &around));
    let result = places.map_err(StartError::from).and_then(|places| {
        if options.herder {
            return serve::serve(&places, options.detached).map(|()| ExitCode::SUCCESS);
        }
        if options.preflight {
            return arrive::preflight(&places);
        }
        if let Some(upgraded) = &options.upgraded {
            return keep::on_second_thread(|| arrive::arrive(&places, options, upgraded));
        }
        if options.detached {
            os::leave_terminal().map_err(|source| StartError::Io { what: "enter /".to_owned(), source })?;
        }
        keep::on_second_thread(|| keep::keep(&places, options))
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

fn end(result: Result<ExitCode, StartError>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    let mut text = format!("daemonherder: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    eprintln!("{text}");
    ExitCode::from(error.exit_code())
}
