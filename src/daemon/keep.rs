//! The daemon's first process: what a keeper is made of.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use super::state::StateDir;
use super::{StartError, detach};
use crate::conf::{Places, create_directory};
use crate::front::{self, Access};
use crate::keeper::{Ended, HerderProgram, Keeper, Parts};
use crate::os::{self, Clock, Executable};

pub(super) fn keep(places: &Places, detached: bool) -> Result<ExitCode, StartError> {
    os::keep_small();
    let since_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let confs = places.config_dir.display();
    let made = create_directory(&places.config_dir)
        .map_err(|source| StartError::Io { what: format!("make {confs}"), source })?;
    let mut state = StateDir::open(places)?;
    let next_run = state.take_runs()?;
    // What services get is what the daemon was started with, so this is looked at before anything is changed.
    let open_files = os::open_files();
    os::raise_open_files();
    let listener = front::bind(&places.socket, &Access::of_this_process(None))?;
    let keeper = Parts {
        program: program(places, detached)?,
        listener: listener.into(),
        lock: OwnedFd::from(state.lock().try_clone().map_err(cannot("hold the lock"))?),
        herd: state.herd(),
        next_run,
        since_ns,
        open_files,
        on_ready: Box::new(move || {
            if detached {
                detach::tell_ready();
            }
        }),
    };
    let mut keeper = Keeper::new(keeper, || Clock::of_boot().now()).map_err(cannot("begin to keep"))?;
    if made {
        log::info!("made {confs}: a file NAME.conf in it with {{\"cmd\": \"…\"}}, and NAME is a service");
    }
    let ended = keeper.run().map_err(cannot("wait"))?;
    // The herder removed it, unless there was none.
    let _ = std::fs::remove_file(&places.socket);
    // An error leaves a gap in the numbers, and nothing else.
    let _ = state.give_back_runs(keeper.next_run());
    Ok(match ended {
        Ended::Done => ExitCode::SUCCESS,
        Ended::NeverBegan(code) => ExitCode::from(code),
    })
}

/// This very program as a herder, at the same places whatever becomes of the variables that they came from.
fn program(places: &Places, detached: bool) -> Result<HerderProgram, StartError> {
    let executable = Executable::own().map_err(cannot("open this program's own file"))?;
    let mut argv: Vec<OsString> = ["daemonherder", "run", "--herder", "--config-dir"].map(OsString::from).into();
    argv.push(places.config_dir.clone().into());
    argv.extend(["--state-dir".into(), places.state_dir.clone().into()]);
    argv.extend(["--host".into(), OsString::from(places.host.to_string())]);
    argv.extend(detached.then(|| "--detached".into()));
    let env = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    });
    Ok(HerderProgram { executable, argv: texts(argv), env: texts(env) })
}

fn texts(words: impl IntoIterator<Item = OsString>) -> Vec<CString> {
    // What came from the system has no NUL in it.
    words.into_iter().filter_map(|word| CString::new(word.into_vec()).ok()).collect()
}

fn cannot(what: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Io { what: what.to_owned(), source }
}
