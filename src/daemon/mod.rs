//! The daemon: the one place that knows every room and puts them together.
//!
//! `main` calls [`run`] where somebody wants a daemon, which turns into a keeper, and [`play`] for both of the daemon's
//! processes. The keeper's takes the state directory, makes the control socket, and keeps (`keep`); the herder's takes
//! over what runs, points the journal at its file, starts the Herder with the keeper as its spawner, answers on the socket,
//! and waits for the end of the herd (`serve`).
//!
//! An upgrade is two more roles of the same program (`arrive`), and a way to ask for it (`upgrade`).
//!
//! What never happens here: a decision about a service.

mod arrive;
mod detach;
mod journal;
mod keep;
mod role;
mod serve;
mod state;
mod succeed;
mod upgrade;

use std::error::Error;
use std::process::ExitCode;

pub use detach::detach;
pub use role::Role;
pub use state::{StateDir, StateError};

use crate::conf::{Overrides, Places, PlacesError, Surroundings};
use crate::front::BindError;
use crate::keeper::{BadHandover, LineError, TableError};
use crate::os::{self, Executable};
use role::Part;
use succeed::{environment, texts};

/// The word of the first role.
const KEEPER: &str = "--keeper";

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
    /// The herder's process was made, and not the program in it.
    #[error("cannot execute its own program for its herder (code {code})")]
    NotExecuted {
        /// What the process ended with.
        code: u8,
    },
    /// The first herder ended before it could say what is wrong.
    #[error("its herder ended before it answered (code {code})")]
    NeverBegan {
        /// What it ended with.
        code: u8,
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
    /// The error and what led to it, in one line.
    fn with_causes(&self) -> String {
        let (mut text, mut source) = (self.to_string(), self.source());
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    }

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
            | Self::NotExecuted { .. }
            | Self::NeverBegan { .. }
            | Self::Io { .. } => 1,
        }
    }
}

/// Turns this process into a daemon: the keeper's part is played by a program that has not read a command line.
pub fn run(places: &Overrides) -> ExitCode {
    let become_keeper = |places: &Places| match Executable::own() {
        Ok(own) => os::become_role(&own, &texts(role::words(KEEPER, places, false)), &environment(), &[]),
        Err(error) => error,
    };
    let found = find(places).map(|places| become_keeper(&places));
    end(found.map_err(StartError::from).and_then(|error| Err(keep::cannot("become the keeper")(error))))
}

/// Lives one of the daemon's processes, to the end of its herd.
pub fn play(Role { part, places, detached }: &Role) -> ExitCode {
    let detached = *detached;
    if let Part::Herder | Part::Successor { .. } = part {
        os::make_room_for_descriptors();
    }
    let result = find(places).map_err(StartError::from).and_then(|places| match part {
        Part::Herder => serve::serve(&places, detached).map(|()| ExitCode::SUCCESS),
        Part::Preflight => arrive::preflight(&places),
        Part::Upgraded { state, returned } => {
            keep::on_second_thread(|| arrive::arrive(&places, detached, *state, returned.as_deref()))
        }
        Part::Keeper => {
            if detached {
                os::leave_terminal().map_err(keep::cannot("enter /"))?;
            }
            keep::on_second_thread(|| keep::keep(&places, detached, keep::Start::Fresh))
        }
        Part::Successor { ending } => {
            keep::on_second_thread(|| keep::keep(&places, detached, keep::Start::Successor { ending: *ending }))
        }
    });
    match result {
        // Whoever wants a daemon in the background has one.
        Err(StartError::State(StateError::Running { .. })) if detached => {
            detach::tell_running();
            ExitCode::SUCCESS
        }
        other => end(other),
    }
}

fn find(places: &Overrides) -> Result<Places, PlacesError> {
    Surroundings::of_this_process().and_then(|around| Places::find(places, &around))
}

fn end(result: Result<ExitCode, StartError>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    eprintln!("daemonherder: {}", error.with_causes());
    ExitCode::from(error.exit_code())
}
