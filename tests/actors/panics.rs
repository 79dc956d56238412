//! Actors that panic.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use daemonherder::bus::{Event, Happening, Subscription};
use daemonherder::herder::{AwaitEnd, Command, Dismiss, Order, Shutdown, Subscribe, Supervise};
use daemonherder::model::{RunId, Signal, State, StopScope};
use daemonherder::process::{Launch, Reports, Spawner, Whom};
use daemonherder::testing::FakeSpawner;

use super::{CRASH, Scene, id, spec};

/// A spawner that panics as often as it is `armed` for, when it is told to launch or to signal.
struct Fragile {
    inner: FakeSpawner,
    armed: Rc<Cell<u32>>,
}

impl Fragile {
    fn panic_if_armed(&self) {
        let left = self.armed.get();
        self.armed.set(left.saturating_sub(1));
        assert_eq!(left, 0, "the spawner fails in the middle of an actor's work");
    }
}

impl Spawner for Fragile {
    fn launch(&self, launch: Launch, reports: Reports) {
        self.panic_if_armed();
        self.inner.launch(launch, reports);
    }
    fn signal(&self, run: RunId, signal: Signal, whom: Whom) {
        self.panic_if_armed();
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

fn fragile() -> (Scene, Rc<Cell<u32>>) {
    let (inner, armed) = (FakeSpawner::new(), Rc::new(Cell::new(0)));
    (Scene::with(Fragile { inner: inner.clone(), armed: Rc::clone(&armed) }, inner), armed)
}

async fn until_replaced(events: &mut Subscription) -> Arc<Event> {
    loop {
        let event = events.next().await.expect("a herd").expect("no missed event");
        if event.what == Happening::ActorReplaced {
            return event;
        }
    }
}

#[actix::test]
async fn an_actor_that_panics_is_replaced_and_its_process_goes_on() {
    tokio::time::pause();
    let (scene, armed) = fragile();
    scene.supervise("web", r#"{"cmd": "x"}"#).await;
    scene.supervise("other", r#"{"cmd": "x"}"#).await;
    let run = scene.status("web").await.run;
    let mut events = scene.herder.send(Subscribe).await.unwrap();
    armed.set(1);
    scene.herder.send(Command { ids: vec![id("web")], order: Order::Stop }).await.unwrap().unwrap();
    until_replaced(&mut events).await;
    let status = scene.status("web").await;
    assert_eq!(status.run, run, "the process was not touched");
    assert_eq!(status.state, State::Stopping, "the new actor goes on where the note says");
    assert_eq!(scene.status("other").await.state, State::Running);
    // The ladder goes on, too: the stop signal got lost in the panic, KILL does not.
    scene.pass(Duration::from_secs(10)).await;
    assert_eq!(scene.status("web").await.state, State::Stopped);
    assert_eq!(scene.spawner.unacknowledged(), []);
}

#[actix::test]
async fn a_kill_that_was_lost_is_sent_again() {
    tokio::time::pause();
    let (scene, armed) = fragile();
    scene.supervise("web", r#"{"cmd": "x"}"#).await;
    scene.spawner.ignore_signals(&id("web"));
    scene.herder.send(Command { ids: vec![id("web")], order: Order::Stop }).await.unwrap().unwrap();
    // Its note says that it was sent by the time that nobody sends it.
    armed.set(1);
    scene.pass(Duration::from_secs(10)).await;
    assert_eq!(armed.get(), 0);
    assert_eq!(scene.status("web").await.state, State::Stopped);
    assert_eq!(scene.spawner.unacknowledged(), []);
}

#[actix::test]
async fn what_is_owed_to_an_actor_that_panicked_is_told_to_the_next() {
    tokio::time::pause();
    for (owed, launches, state) in [("replace", 2, Some(State::Running)), ("leave", 1, None)] {
        let (scene, armed) = fragile();
        scene.supervise("web", r#"{"cmd": "x"}"#).await;
        let mut events = scene.herder.send(Subscribe).await.unwrap();
        armed.set(1);
        // The wish panics its actor half way, or waits behind an order that does.
        scene.herder.do_send(Command { ids: vec![id("web")], order: Order::Restart });
        match owed {
            "replace" => scene.herder.do_send(Supervise(spec("web", r#"{"cmd": "y"}"#))),
            _ => scene.herder.do_send(Dismiss(id("web"))),
        }
        until_replaced(&mut events).await;
        scene.pass(Duration::from_secs(10)).await;
        let last = scene.spawner.launches_of_service(&id("web")).pop().unwrap();
        let program = if owed == "replace" { "y" } else { "x" };
        assert_eq!((last.argv[0].to_str().unwrap(), scene.runs("web")), (program, launches), "{owed}");
        assert_eq!(scene.statuses().await.get("web").map(|status| status.state), state, "{owed}");
    }
}

#[actix::test]
async fn a_farewell_is_not_forgotten_over_a_panic() {
    tokio::time::pause();
    let (scene, armed) = fragile();
    scene.supervise("web", r#"{"cmd": "x"}"#).await;
    // The second panic follows the first at once, and the third actor waits a second.
    armed.set(2);
    scene.spawner.exit(&id("web"), CRASH);
    scene.rest().await;
    assert_eq!(armed.get(), 0);
    scene.herder.do_send(Shutdown::default());
    scene.rest().await;
    scene.pass(Duration::from_secs(1)).await;
    scene.pass(Duration::from_secs(10)).await;
    scene.herder.send(AwaitEnd).await.unwrap();
    assert_eq!(scene.spawner.living().len(), 0);
    assert_eq!(scene.status("web").await.state, State::Stopped);
}

#[actix::test]
async fn a_launch_lost_in_a_panic_is_made_good() {
    tokio::time::pause();
    let (scene, armed) = fragile();
    scene.supervise("web", r#"{"cmd": "x"}"#).await;
    let mut events = scene.herder.send(Subscribe).await.unwrap();
    armed.set(1);
    scene.spawner.exit(&id("web"), CRASH);
    until_replaced(&mut events).await;
    let status = scene.status("web").await;
    assert_eq!((status.state, status.restarts), (State::Running, 1), "the launch was counted when it was decided");
    assert_eq!(scene.runs("web"), 2);
}

#[actix::test]
async fn an_end_that_is_asked_for_while_services_begin_waits_for_them() {
    tokio::time::pause();
    let scene = Scene::new();
    scene.spawner.ignore_signals(&id("deaf"));
    // In one go: no actor has had its turn yet when the herd is to end.
    scene.herder.do_send(Supervise(spec("web", r#"{"cmd": "x"}"#)));
    scene.herder.do_send(Supervise(spec("deaf", r#"{"cmd": "x"}"#)));
    scene.herder.send(Shutdown::default()).await.unwrap();
    assert!(scene.spawner.living().is_empty(), "{:?}", scene.spawner.living());
}
