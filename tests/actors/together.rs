//! The end of a herd whose spawner asks all at once, before any of them is told.

use std::cell::RefCell;
use std::rc::Rc;

use actix::Actor;
use daemonherder::model::{Cause, RunId};
use daemonherder::process::{Launch, Reports};

use super::*;

/// Sends signals together.
#[derive(Clone)]
struct Together {
    spawner: FakeSpawner,
    sent: Rc<RefCell<Vec<(RunId, Signal)>>>,
}

impl Spawner for Together {
    fn signal_together(&self, signals: &[(RunId, Signal)]) -> bool {
        for (run, signal) in signals {
            self.spawner.signal(*run, *signal, Whom::Main);
        }
        self.sent.borrow_mut().extend(signals);
        true
    }

    fn launch(&self, launch: Launch, reports: Reports) {
        self.spawner.launch(launch, reports);
    }

    fn signal(&self, run: RunId, signal: Signal, whom: Whom) {
        let mut sent = self.sent.borrow_mut();
        match sent.iter().position(|known| *known == (run, signal)) {
            Some(at) => _ = sent.remove(at),
            None => self.spawner.signal(run, signal, whom),
        }
    }

    fn rescope(&self, run: RunId, scope: StopScope) {
        self.spawner.rescope(run, scope);
    }

    fn adopt(&self, run: RunId, reports: Reports) -> bool {
        self.spawner.adopt(run, reports)
    }

    fn acknowledge(&self, run: RunId) {
        self.spawner.acknowledge(run);
    }

    fn examine(&self, run: RunId) {
        self.spawner.examine(run);
    }
}

fn scene() -> (Scene, Together) {
    tokio::time::pause();
    let spawner = FakeSpawner::new();
    let together = Together { spawner: spawner.clone(), sent: Rc::default() };
    let herd = Herd::new(together.clone(), "/nonexistent");
    (Scene { herder: Herder::new(herd, None).start(), spawner }, together)
}

#[actix::test]
async fn what_has_ended_before_it_was_told_was_asked_to() {
    let (scene, together) = scene();
    for name in ["a", "b"] {
        scene.supervise(name, r#"{"cmd": "x"}"#).await;
    }
    scene.supervise("waits", r#"{"cmd": "x", "restart": {"delay": "1h"}}"#).await;
    scene.exit("waits", CRASH).await;
    // It ends in its own way, and before it is told.
    scene.supervise("crashes", r#"{"cmd": "x"}"#).await;
    scene.spawner.ignore_signals(&id("crashes"));
    let mut events = scene.herder.send(Subscribe).await.unwrap();
    scene.herder.do_send(Shutdown::default());
    scene.rest().await;
    assert_eq!(scene.status("crashes").await.state, State::Running, "it is not told yet");
    scene.exit("crashes", CRASH).await;
    // Whoever wants it to run again comes too late.
    scene.herder.send(AwaitEnd).await.unwrap();
    assert_eq!(scene.spawner.launches().len(), 4, "nothing was restarted");
    let mut told = Vec::new();
    while let Some(Ok(event)) = events.next().await {
        if let Happening::Entered { state, death, .. } = &event.what {
            told.push((event.service.to_string(), *state, death.map(|death| death.cause)));
        }
    }
    told.sort_by(|a, b| a.0.cmp(&b.0));
    let of = |name: &str| (name.to_owned(), State::Stopping, None);
    let ended = |name: &str| (name.to_owned(), State::Stopped, Some(Cause::Stop));
    let waits = ("waits".to_owned(), State::Stopped, None);
    assert_eq!(told, [of("a"), ended("a"), of("b"), ended("b"), of("crashes"), ended("crashes"), waits]);
    let terms = scene.spawner.signals().iter().filter(|sent| sent.signal == Signal::TERM).count();
    assert_eq!(terms, 3, "each was asked once");
    assert!(together.sent.borrow().is_empty(), "and each was told");
}

#[actix::test]
async fn what_does_not_end_is_told_and_killed_in_its_time() {
    let (scene, _) = scene();
    scene.supervise("deaf", r#"{"cmd": "x", "stop": {"timeout": "3s"}}"#).await;
    scene.spawner.ignore_signals(&id("deaf"));
    scene.herder.do_send(Shutdown::default());
    scene.pass(Duration::from_millis(1)).await;
    assert_eq!(scene.status("deaf").await.state, State::Stopping);
    scene.pass(Duration::from_millis(2990)).await;
    assert_eq!(scene.spawner.living().len(), 1);
    scene.pass(Duration::from_millis(10)).await;
    assert_eq!(scene.spawner.living().len(), 0);
    scene.herder.send(AwaitEnd).await.unwrap();
}

#[actix::test]
async fn a_herd_of_none_ends() {
    let (scene, _) = scene();
    scene.herder.send(Shutdown::default()).await.unwrap();
    scene.herder.send(AwaitEnd).await.unwrap();
}
