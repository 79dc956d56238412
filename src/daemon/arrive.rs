//! An upgrade from the side of the new program: first it looks at what it would take over, then it does.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::rc::Rc;

use super::StartError;
use super::keep::{LOWEST, cannot, end_with, program};
use super::state::StateDir;
use crate::conf::Places;
use crate::herder;
use crate::keeper::{self, Answer, Arrival, Handover, Keeper, Parts, RunTable};
use crate::model::{Bound, Limit};
use crate::os::{self, Clock, Witnesses};

/// Looks at a copy of all that the present keeper knows, and says that it would do.
pub(super) fn preflight(places: &Places) -> Result<ExitCode, StartError> {
    let state = os::given(keeper::STATE).map_err(cannot("find what the present keeper leaves"))?;
    let bytes = os::unseal(state.as_fd()).map_err(cannot("read what the present keeper leaves"))?;
    let handover = Handover::from_bytes(&bytes)?;
    for inherited in handover.inherited()? {
        herder::understand(&inherited).map_err(|why| StartError::NotUnderstood { why })?;
    }
    StateDir::examine(places)?;
    let answer = serde_json::to_string(&Answer::to(&handover)).map_err(|error| cannot("answer")(error.into()))?;
    println!("{answer}");
    Ok(ExitCode::SUCCESS)
}

/// Goes on in the place of another program, or gives it back.
pub(super) fn arrive(
    places: &Places,
    detached: bool,
    state: i32,
    returned: Option<&str>,
) -> Result<ExitCode, StartError> {
    let arrival = Rc::new(Arrival::take(state, returned)?);
    let (keeper, state) = begin(places, detached, &arrival).inspect_err(|_| {
        if let Ok(program) = program(places, detached) {
            arrival.give_up(&program);
        }
    })?;
    // The way back is the keeper's from here on, for as long as it needs it.
    drop(arrival);
    end_with(keeper, state, places)
}

fn begin(places: &Places, detached: bool, arrival: &Rc<Arrival>) -> Result<(Keeper, StateDir), StartError> {
    let lock = arrival.lock().map_err(cannot("find the lock"))?;
    let state = StateDir::inherit(places, File::from(lock))?;
    let boot_id = os::boot_id().map_err(cannot("read the boot id"))?;
    let unbound = |at: Option<u64>| at.map_or(Bound::Unlimited, Bound::At);
    let parts = Parts {
        program: program(places, detached)?,
        listener: arrival.listener().map_err(cannot("find the control socket"))?,
        lock: os::raised(state.lock().as_fd(), LOWEST).map_err(cannot("hold the lock"))?,
        shelf: arrival.shelf().map_err(cannot("keep services' pipes"))?,
        records: RunTable::open(&places.state_dir.join("runs").join("table"), boot_id)?,
        herd: arrival.herd(),
        next_run: arrival.next_run(),
        since_ns: arrival.since_ns(),
        open_files: arrival.open_files().map(|(soft, hard)| Limit { soft: unbound(soft), hard: unbound(hard) }),
        ending: false,
        // Whoever waited for the daemon to answer was told so by the program before.
        on_ready: Box::new(|| ()),
        arrival: Some(Rc::clone(arrival)),
        // Its children are its own.
        witnesses: Witnesses::default(),
    };
    let keeper = Keeper::new(parts, || Clock::of_boot().now()).map_err(cannot("begin to keep"))?;
    Ok((keeper, state))
}
