//! A test of an actor of one's own, without a process and without waiting: a fake spawner and a paused clock.
//!
//! ```text
//! cargo run --example mock_spawner
//! ```
//!
//! The actor under test is a pager: it wakes somebody up when a service has not come out of its cool-down within a minute.
//! Real crashes would take minutes to get there. Here they are told to the herd, the clock is told to go on, and all of
//! it is over in a moment. In a crate of one's own [`a_pager_pages_once_a_cool_down_lasts_a_minute`] is an
//! `#[actix::test]`; to be run by itself, this program calls it from `main`.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, SpawnHandle};
use daemonherder::bus::{Event, Happening, Subscription};
use daemonherder::conf::{Settings, SystemAccounts, lower};
use daemonherder::herder::{Herder, Subscribe, Supervise, Survey};
use daemonherder::model::{Ending, ServiceId, State};
use daemonherder::service::Herd;
use daemonherder::testing::FakeSpawner;

/// How long a cool-down may last before somebody is woken up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Wakes somebody up.
#[derive(Default)]
struct PagerActor {
    /// The alarm of each service that cools down.
    alarms: HashMap<ServiceId, SpawnHandle>,
    /// Whom it has paged for.
    paged: Vec<ServiceId>,
}

/// What came from the bus.
#[derive(Message)]
#[rtype(result = "()")]
struct Heard(Arc<Event>);

/// Whom was paged for so far?
#[derive(Message)]
#[rtype(result = "Vec<ServiceId>")]
struct Paged;

impl Actor for PagerActor {
    type Context = Context<Self>;
}

impl Handler<Heard> for PagerActor {
    type Result = ();

    fn handle(&mut self, Heard(event): Heard, ctx: &mut Self::Context) {
        let Happening::Entered { state, .. } = &event.what else { return };
        let id = event.service.clone();
        if *state == State::Cooldown {
            self.alarms.entry(id.clone()).or_insert_with(|| {
                ctx.run_later(PATIENCE, |pager, _| {
                    pager.alarms.remove(&id);
                    pager.paged.push(id);
                })
            });
        } else if let Some(alarm) = self.alarms.remove(&id) {
            ctx.cancel_future(alarm);
        }
    }
}

impl Handler<Paged> for PagerActor {
    type Result = Vec<ServiceId>;

    fn handle(&mut self, _: Paged, _: &mut Self::Context) -> Self::Result {
        self.paged.clone()
    }
}

async fn pass_on(mut events: Subscription, pager: Addr<PagerActor>) {
    while let Some(event) = events.next().await {
        // A test has so few events that none is missed.
        let Ok(event) = event else { continue };
        if pager.send(Heard(event)).await.is_err() {
            return;
        }
    }
}

/// A herd without processes, and the actor under test.
struct Scene {
    herder: Addr<Herder>,
    pager: Addr<PagerActor>,
    spawner: FakeSpawner,
}

impl Scene {
    async fn begin(id: &ServiceId, conf: &str) -> Result<Self, Box<dyn Error>> {
        let spawner = FakeSpawner::new();
        // All clones are one spawner: one goes into the herd, another stays with the test. No file is written.
        let herder = Herder::new(Herd::new(spawner.clone(), "/nonexistent"), None).start();
        let pager = PagerActor::default().start();
        actix::spawn(pass_on(herder.send(Subscribe).await?, pager.clone()));
        let spec = lower(id, conf, &Settings::default(), &SystemAccounts::new());
        herder.send(Supervise(spec.map_err(|problems| format!("{problems:?}"))?)).await??;
        Ok(Self { herder, pager, spawner })
    }

    /// Until every message that is on its way has arrived: each round of reports and answers may cause another.
    async fn rest(&self) -> Result<(), Box<dyn Error>> {
        for _ in 0..4 {
            self.spawner.settle().await;
            self.herder.send(Survey).await?;
            self.pager.send(Paged).await?;
        }
        Ok(())
    }

    /// Crashes the service until it cools down, and says for how long.
    async fn crash(&self, id: &ServiceId) -> Result<Duration, Box<dyn Error>> {
        loop {
            self.rest().await?;
            let overview = self.herder.send(Survey).await?;
            let status = overview.services.first().ok_or("a service")?;
            match status.next_start {
                Some(next) if status.state == State::Cooldown => return Ok(next - overview.at),
                _ => self.spawner.exit(id, Ending::Exited(1)),
            }
        }
    }

    /// Lets time pass, at once; a little more of it, since tokio's timers have a grain of a millisecond.
    async fn pass(&self, time: Duration) -> Result<(), Box<dyn Error>> {
        self.rest().await?;
        tokio::time::advance(time + Duration::from_millis(1)).await;
        self.rest().await
    }
}

async fn a_pager_pages_once_a_cool_down_lasts_a_minute() -> Result<(), Box<dyn Error>> {
    // From here on time stands still but for `advance`. It needs tokio's feature `test-util`.
    tokio::time::pause();
    let id: ServiceId = "web".parse()?;
    let scene = Scene::begin(&id, r#"{ "cmd": "anything", "restart": { "cooldown": "40s" } }"#).await?;

    let wait = scene.crash(&id).await?;
    scene.pass(wait).await?;
    println!("cooled down for {wait:?}: paged for {:?}", scene.pager.send(Paged).await?);
    assert!(wait < PATIENCE && scene.pager.send(Paged).await?.is_empty(), "the alarm was called off");
    // A call-off that did not work would show up when that minute is over. The service runs well meanwhile, but not for so
    // long that its next cool-down would be the first again.
    scene.pass(PATIENCE - wait).await?;
    assert!(scene.pager.send(Paged).await?.is_empty(), "the alarm was called off");

    let wait = scene.crash(&id).await?;
    scene.pass(PATIENCE - Duration::from_secs(1)).await?;
    assert!(scene.pager.send(Paged).await?.is_empty(), "not before the minute is over");
    scene.pass(Duration::from_secs(1)).await?;
    println!("cools down for {wait:?}: paged for {:?}", scene.pager.send(Paged).await?);
    assert_eq!(scene.pager.send(Paged).await?, [id], "the doubled cool-down is longer than a minute");

    // The fake keeps books of what it was asked for: 1 + 5 runs, twice.
    assert_eq!(scene.spawner.launches().len(), 12);
    println!("{} launches, and no process was made", scene.spawner.launches().len());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    actix::System::new().block_on(a_pager_pages_once_a_cool_down_lasts_a_minute())
}
