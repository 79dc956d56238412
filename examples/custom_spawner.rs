//! A spawner of one's own around each launch: here every program runs under `nice`, and launches are counted and timed.
//!
//! ```text
//! cargo run --example custom_spawner
//! ```
//!
//! A [`Launch`] is complete: nothing of it is looked up later, so whatever a spawner changes is what will be executed. The
//! same way leads to `systemd-run`, `bwrap`, `strace`, a container, or another machine. What a spawner owes its callers
//! stands with [`Spawner`]; one that only wraps another owes it to that one.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::Actor;
use daemonherder::bus::Happening;
use daemonherder::herder::{Herder, Shutdown, Subscribe, Supervise};
use daemonherder::model::{Net, RestartPolicy, RestartSpec, RunId, ServiceId, ServiceSpec, Signal, State, StopScope};
use daemonherder::process::{DirectSpawner, Kept, Launch, Logged, Memo, Report, Reports, Spawner, Whom};
use daemonherder::service::Herd;

/// Launches everything through `nice -n 10`.
struct NiceSpawner<S> {
    inner: S,
    times: Times,
}

/// How long launches took, from the call to the first instruction of the program. Reports may come from any thread.
#[derive(Clone, Default)]
struct Times(Arc<Mutex<Vec<Duration>>>);

impl Times {
    fn note(&self, time: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(time);
    }

    fn all(&self) -> Vec<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S: Spawner> Spawner for NiceSpawner<S> {
    fn launch(&self, mut launch: Launch, reports: Reports) {
        // The paths to try, in order. `nice` looks for the service's program itself, in the same PATH.
        launch.programs = vec![c"/usr/bin/nice".into(), c"/bin/nice".into()];
        launch.argv.splice(0..0, [c"nice".into(), c"-n".into(), c"10".into()]);

        let (begun, times) = (Instant::now(), self.times.clone());
        let timed: Reports = Arc::new(move |run, report| {
            if let Report::Launched { .. } = report {
                times.note(begun.elapsed());
            }
            reports(run, report);
        });
        self.inner.launch(launch, timed);
    }

    // Where the other spawner outlives this program, it has to be given what is to be known then.
    fn keep(&self, service: &ServiceId, memo: Memo<'_>) {
        self.inner.keep(service, memo);
    }

    fn forget(&self, service: &ServiceId) {
        self.inner.forget(service);
    }

    fn ending(&self) {
        self.inner.ending();
    }

    fn signal_together(&self, signals: &[(RunId, Signal)]) -> bool {
        self.inner.signal_together(signals)
    }

    fn log(&self, spec: &ServiceSpec) {
        self.inner.log(spec);
    }

    fn logged(&self, service: &ServiceId) -> Option<Logged> {
        self.inner.logged(service)
    }

    fn settled(&self, service: &ServiceId) -> Kept {
        self.inner.settled(service)
    }

    fn kept(&self) -> Kept {
        self.inner.kept()
    }

    fn net(&self) -> Net {
        self.inner.net()
    }

    fn signal(&self, run: RunId, signal: Signal, whom: Whom) {
        self.inner.signal(run, signal, whom);
    }

    fn rescope(&self, run: RunId, scope: StopScope) {
        self.inner.rescope(run, scope);
    }

    fn adopt(&self, run: RunId, reports: Reports) -> bool {
        self.inner.adopt(run, reports)
    }

    fn acknowledge(&self, run: RunId) {
        self.inner.acknowledge(run);
    }

    fn examine(&self, run: RunId) {
        self.inner.examine(run);
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let state = tempfile::tempdir()?;
    let times = Times::default();
    let spawner = NiceSpawner { inner: DirectSpawner::new()?, times: times.clone() };
    let herd = Herd::new(spawner, state.path());
    let place = Arc::clone(&herd.place);
    let mut left: Vec<ServiceId> = vec!["one".parse()?, "two".parse()?, "three".parse()?];
    let herder = Herder::new(herd, None).start();
    let mut events = herder.send(Subscribe).await?;
    let services = left.clone();
    for id in &services {
        // Without arguments `nice` prints the niceness that it runs with.
        let mut spec = ServiceSpec::new(id.clone(), "nice");
        spec.restart = RestartSpec { policy: RestartPolicy::Never, ..RestartSpec::default() }.into();
        herder.send(Supervise(spec)).await??;
    }
    while !left.is_empty() {
        let event = events.next().await.ok_or("the herd has ended")??;
        if let Happening::Entered { state: State::Exited | State::Failed, .. } = event.what {
            left.retain(|id| *id != event.service);
        }
    }
    herder.send(Shutdown::default()).await?;

    // 19 is the highest there is.
    let expected = (own_niceness()? + 10).min(19);
    for id in &services {
        let niceness: i32 = std::fs::read_to_string(place.log(id))?.trim().parse()?;
        println!("{id} ran with niceness {niceness}");
        if niceness != expected {
            return Err(format!("{id} should have run with niceness {expected}").into());
        }
    }
    let times = times.all();
    println!("{} launches, the slowest took {:?}", times.len(), times.iter().max().unwrap_or(&Duration::ZERO));
    if times.len() == services.len() { Ok(()) } else { Err("a launch was not counted".into()) }
}

fn own_niceness() -> Result<i32, Box<dyn Error>> {
    Ok(String::from_utf8(std::process::Command::new("nice").output()?.stdout)?.trim().parse()?)
}
