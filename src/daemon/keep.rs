//! The daemon's first process: what a keeper is made of.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use super::state::StateDir;
use super::succeed::{environment, texts};
use super::{StartError, detach, role};
use crate::conf::{Places, create_directory};
use crate::front::{self, Access};
use crate::keeper::{self, Ended, HerderProgram, Keeper, Parts, RunTable};
use crate::os::{self, Clock, Executable, Shelf, Witnesses};

/// A launch puts other descriptors below.
pub(super) const LOWEST: i32 = 5;

/// A keeper's life on a thread that is not the first: orphans are handed to the first one, which has no other children, and so they
/// are found without a look at every service. A process bears the name of its first thread, and children begin with that of the
/// thread that makes them: who ends all that is called as the daemon spares those that are about to be services.
pub(super) fn on_second_thread(
    live: impl FnOnce() -> Result<ExitCode, StartError> + Send,
) -> Result<ExitCode, StartError> {
    os::keep_small();
    os::name_process(c"daemonherder");
    // Or the first thread would take signals that the other one waits for.
    os::hold_signals().map_err(cannot("hold signals back"))?;
    thread::scope(|scope| {
        let keeper = thread::Builder::new().name("keeper".to_owned()).spawn_scoped(scope, live);
        let ended = keeper.map_err(cannot("make a thread"))?.join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// How a keeper comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Somebody wants a daemon.
    Fresh,
    /// The one before has gone, and its herder has become this one.
    Successor {
        /// The herd was being stopped.
        ending: bool,
    },
}

pub(super) fn keep(places: &Places, detached: bool, start: Start) -> Result<ExitCode, StartError> {
    let since_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let witnesses = match start {
        Start::Successor { .. } => Witnesses::inherited(keeper::WITNESSES),
        Start::Fresh => Witnesses::default(),
    };
    let confs = places.config_dir.display();
    let made = create_directory(&places.config_dir)
        .map_err(|source| StartError::Io { what: format!("make {confs}"), source })?;
    let mut state = match start {
        Start::Successor { .. } => {
            StateDir::inherit(places, File::from(os::given(keeper::LOCK).map_err(cannot("find the lock"))?))?
        }
        Start::Fresh => StateDir::open(places)?,
    };
    let next_run = state.take_runs()?;
    // What services get is what the daemon was started with, so this is looked at before anything is changed.
    let open_files = os::open_files();
    os::raise_open_files();
    let boot_id = os::boot_id().map_err(cannot("read the boot id"))?;
    let listener = match start {
        // Who waits there now is answered by the next herder.
        Start::Successor { .. } => os::given(keeper::LISTENER)
            .and_then(|listener| os::peer::listen_again(listener.as_fd()).map(|()| listener))
            .map_err(cannot("find the control socket"))?,
        Start::Fresh => front::bind(&places.socket, &Access::of_this_process(None))?.into(),
    };
    let shelf = match start {
        Start::Successor { .. } => {
            let [into, out] = keeper::SHELF;
            os::given(into).and_then(|into| Ok(Shelf::of(into, os::given(out)?)))
        }
        Start::Fresh => Shelf::new(),
    };
    let keeper = Parts {
        program: program(places, detached)?,
        listener,
        lock: os::raised(state.lock().as_fd(), LOWEST).map_err(cannot("hold the lock"))?,
        shelf: shelf.map_err(cannot("keep services' pipes"))?,
        records: RunTable::open(&places.state_dir.join("runs").join("table"), boot_id)?,
        herd: state.herd(),
        next_run,
        since_ns,
        open_files,
        ending: start == Start::Successor { ending: true },
        on_ready: Box::new(move || {
            if detached {
                detach::tell_ready();
            }
        }),
        arrival: None,
        witnesses,
    };
    let keeper = Keeper::new(keeper, || Clock::of_boot().now()).map_err(cannot("begin to keep"))?;
    if made {
        log::info!("made {confs}: a file NAME.conf in it with {{\"cmd\": \"…\"}}, and NAME is a service");
    }
    end_with(keeper, state, places)
}

/// Keeps until the herd has ended.
pub(super) fn end_with(mut keeper: Keeper, mut state: StateDir, places: &Places) -> Result<ExitCode, StartError> {
    let ended = keeper.run().map_err(cannot("wait"))?;
    // The herder removed it, unless there was none.
    let _ = std::fs::remove_file(&places.socket);
    // An error leaves a gap in the numbers, and nothing else.
    let _ = state.give_back_runs(keeper.next_run());
    if ended == Ended::Done {
        // Nor is there anything that the next daemon should go on with.
        let _ = std::fs::remove_file(notes(places));
    }
    match ended {
        Ended::Done | Ended::Left => Ok(ExitCode::SUCCESS),
        Ended::NeverBegan(code) => never_began(code),
    }
}

/// What becomes of a daemon whose first herder ended with this code. One of a herder's own says that it has told why, and
/// means the same to whoever started the daemon.
fn never_began(code: u8) -> Result<ExitCode, StartError> {
    match code {
        1 | 2 => Ok(ExitCode::from(code)),
        os::NOT_EXECUTED => Err(StartError::NotExecuted { code }),
        code => Err(StartError::NeverBegan { code }),
    }
}

/// The journal of notes.
pub(super) fn notes(places: &Places) -> PathBuf {
    places.state_dir.join("runs").join("notes")
}

/// This very program as a herder at the same places.
pub(super) fn program(places: &Places, detached: bool) -> Result<HerderProgram, StartError> {
    let executable = Executable::own().map_err(cannot("open this program's own file"))?;
    Ok(HerderProgram { executable, argv: texts(role::words("--herder", places, detached)), env: environment() })
}

pub(super) fn cannot(what: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Io { what: what.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_never_began_ends_with_a_code_of_the_interface() {
        for code in [1, 2] {
            assert_eq!(never_began(code).unwrap(), ExitCode::from(code));
        }
        // A panic, a program that could not be executed, and an end that nobody understands.
        for code in [101, 127, 0] {
            let error = never_began(code).unwrap_err();
            assert_eq!(error.exit_code(), 1);
            assert!(error.to_string().contains(&format!("code {code}")), "{error}");
        }
    }
}
