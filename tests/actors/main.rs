//! The actors on a paused clock, with a spawner that makes no processes.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod panics;
mod together;

use std::collections::BTreeMap;
use std::time::Duration;

use actix::{Actor, Addr};
use daemonherder::bus::{Happening, Subscription};
use daemonherder::conf::{Settings, SystemAccounts, lower};
use daemonherder::herder::{
    AwaitEnd, Command, Dismiss, Herder, Order, ServiceStatus, Shutdown, Subscribe, Supervise, Survey,
};
use daemonherder::model::{Ending, LaunchError, ServiceId, ServiceSpec, Signal, Stage, State, StopScope, Wanted};
use daemonherder::process::{Spawner, Whom};
use daemonherder::service::Herd;
use daemonherder::testing::{Awkward, FakeSpawner};

fn id(text: &str) -> ServiceId {
    text.parse().unwrap()
}

fn spec(name: &str, conf: &str) -> ServiceSpec {
    lower(&id(name), conf, &Settings::default(), &SystemAccounts::new()).expect("a good conf")
}

/// A herd on a fake spawner, and what a test asks of it.
struct Scene {
    herder: Addr<Herder>,
    spawner: FakeSpawner,
}

impl Scene {
    fn new() -> Self {
        let spawner = FakeSpawner::new();
        Self::with(spawner.clone(), spawner)
    }

    fn with(under_test: impl Spawner + 'static, spawner: FakeSpawner) -> Self {
        let herd = Herd::new(under_test, "/nonexistent");
        Self { herder: Herder::new(herd, None).start(), spawner }
    }

    async fn supervise(&self, name: &str, conf: &str) {
        self.herder.send(Supervise(spec(name, conf))).await.unwrap().unwrap();
        self.rest().await;
    }

    /// Until every message that is on its way has arrived and had its effects: each round may cause another.
    async fn rest(&self) {
        for _ in 0..4 {
            self.spawner.settle().await;
            self.herder.send(Survey).await.unwrap();
        }
    }

    async fn statuses(&self) -> BTreeMap<ServiceId, ServiceStatus> {
        let overview = self.herder.send(Survey).await.unwrap();
        overview.services.into_iter().map(|status| (status.id.clone(), status)).collect()
    }

    async fn status(&self, name: &str) -> ServiceStatus {
        self.rest().await;
        self.statuses().await.remove(name).expect("a service")
    }

    async fn order(&self, name: &str, order: Order) {
        self.herder.send(Command { ids: vec![id(name)], order }).await.unwrap().unwrap();
        self.rest().await;
    }

    async fn exit(&self, name: &str, ending: Ending) {
        self.spawner.exit(&id(name), ending);
        self.rest().await;
    }

    /// Lets time pass; timers have a grain of a millisecond.
    async fn pass(&self, time: Duration) {
        self.rest().await;
        tokio::time::advance(time + Duration::from_millis(1)).await;
        self.rest().await;
    }

    fn runs(&self, name: &str) -> usize {
        self.spawner.launches_of_service(&id(name)).len()
    }
}

async fn states(events: &mut Subscription, n: usize) -> Vec<State> {
    let mut states = Vec::new();
    while states.len() < n {
        let event = events.next().await.expect("a herd").expect("no missed event");
        if let Happening::Entered { state, .. } = &event.what {
            states.push(*state);
        }
    }
    states
}

const CRASH: Ending = Ending::Exited(1);

#[actix::test]
async fn a_crashed_service_is_back_at_once_with_another_run() {
    tokio::time::pause();
    let scene = Scene::new();
    scene.supervise("web", r#"{"cmd": "x"}"#).await;
    let before = scene.status("web").await;
    assert_eq!((before.state, before.wanted), (State::Running, Wanted::Up));
    scene.exit("web", CRASH).await;
    let after = scene.status("web").await;
    assert_eq!(after.state, State::Running);
    assert_ne!(after.run, before.run);
    assert_eq!((after.restarts, after.window_count), (1, 1));
    assert_eq!(scene.spawner.unacknowledged(), []);
}

#[actix::test]
async fn a_crash_loop_cools_down_doubling_and_comes_back() {
    tokio::time::pause();
    let scene = Scene::new();
    scene.supervise("web", r#"{"cmd": "x"}"#).await;
    let mut longest = Duration::ZERO;
    for wait in [10, 20, 40, 80, 160, 300, 300].map(Duration::from_secs) {
        let before = scene.runs("web");
        while scene.status("web").await.state == State::Running {
            scene.exit("web", CRASH).await;
        }
        assert_eq!(scene.runs("web") - before, 5, "five restarts");
        assert_eq!(scene.status("web").await.state, State::Cooldown);
        // The jitter is 0 to 20 %.
        scene.pass(wait - Duration::from_millis(10)).await;
        assert_eq!(scene.status("web").await.state, State::Cooldown, "{wait:?}");
        scene.pass(wait / 5 + Duration::from_millis(10)).await;
        assert_eq!(scene.status("web").await.state, State::Running, "{wait:?}");
        longest = wait;
    }
    scene.pass(longest + Duration::from_secs(1)).await;
    while scene.status("web").await.state == State::Running {
        scene.exit("web", CRASH).await;
    }
    let status = scene.status("web").await;
    let overview = scene.herder.send(Survey).await.unwrap();
    let wait = status.next_start.expect("a planned start") - overview.at;
    assert!(wait <= Duration::from_secs(12), "the first wait again after a stable run: {wait:?}");
}

#[actix::test]
async fn a_thousand_services_crash_a_hundred_times_each() {
    tokio::time::pause();
    const SERVICES: usize = 1000;
    const CRASHES: usize = 100;
    let scene = Scene::new();
    let names: Vec<_> = (0..SERVICES).map(|n| id(&format!("s{n}"))).collect();
    for name in &names {
        let spec = spec(name.as_str(), r#"{"cmd": "x", "restart": {"intensity": 9, "period": "1s"}}"#);
        scene.herder.send(Supervise(spec)).await.unwrap().unwrap();
    }
    let mut crashes: BTreeMap<&ServiceId, usize> = BTreeMap::new();
    scene.rest().await;
    loop {
        let mut crashed = false;
        for name in &names {
            let count = crashes.entry(name).or_default();
            if *count < CRASHES && scene.spawner.living_run(name).is_some() {
                scene.spawner.exit(name, CRASH);
                *count += 1;
                crashed = true;
            }
        }
        if crashes.values().all(|count| *count == CRASHES) {
            break;
        }
        scene.rest().await;
        if !crashed {
            // All of them cool down; the longest wait with its jitter brings them back.
            tokio::time::advance(Duration::from_secs(360)).await;
        }
    }
    scene.rest().await;
    let statuses = scene.statuses().await;
    assert_eq!(statuses.len(), SERVICES);
    for status in statuses.values() {
        // Of ten crashes nine are restarted, the tenth leads to a cool-down, after which the first start does not count.
        assert_eq!((status.restarts, status.state), (90, State::Cooldown), "{}: {}", status.id, status.reason);
        assert_eq!(status.deaths.len(), 5);
    }
    assert_eq!(scene.spawner.launches().len(), SERVICES * CRASHES);
    assert_eq!(scene.spawner.unacknowledged(), []);
    scene.herder.send(Shutdown::default()).await.unwrap();
}

#[actix::test]
async fn failed_launches_have_a_reason_and_are_tried_again() {
    tokio::time::pause();
    let scene = Scene::new();
    let web = id("web");
    scene.spawner.fail_launches(&web, LaunchError { stage: Stage::Fork, errno: libc::EAGAIN });
    scene.supervise("web", r#"{"cmd": "x"}"#).await;
    let status = scene.status("web").await;
    assert_eq!(status.state, State::Cooldown);
    assert!(status.reason.contains("cannot make a process: Resource temporarily unavailable"), "{}", status.reason);
    scene.spawner.mend_launches(&web);
    scene.pass(Duration::from_secs(13)).await;
    assert_eq!(scene.status("web").await.state, State::Running);
}

#[actix::test]
async fn a_launch_that_hangs_is_ended_and_tried_again() {
    tokio::time::pause();
    let scene = Scene::new();
    let web = id("web");
    scene.spawner.hold_launches(&web);
    scene.supervise("web", r#"{"cmd": "x"}"#).await;
    assert_eq!(scene.status("web").await.state, State::Starting);
    scene.spawner.overdue(&web, Stage::Cwd);
    let status = scene.status("web").await;
    assert_eq!(
        (status.state, status.reason.as_str()),
        (State::Stopping, "launch took too long (cannot enter cwd); sent KILL")
    );
    scene.spawner.mend_launches(&web);
    scene.exit("web", Ending::Killed { signal: Signal::KILL, core: false }).await;
    assert_eq!(scene.status("web").await.state, State::Running);
}

#[actix::test]
async fn an_order_to_stop_is_obeyed_and_holds() {
    tokio::time::pause();
    let scene = Scene::new();
    scene.supervise("web", r#"{"cmd": "x"}"#).await;
    scene.order("web", Order::Stop).await;
    let status = scene.status("web").await;
    assert_eq!((status.state, status.wanted), (State::Stopped, Wanted::Down));
    scene.pass(Duration::from_secs(1000)).await;
    assert_eq!(scene.runs("web"), 1);
    scene.order("web", Order::Start).await;
    assert_eq!(scene.status("web").await.state, State::Running);
    scene.order("web", Order::Restart).await;
    assert_eq!((scene.status("web").await.state, scene.runs("web")), (State::Running, 3));
    assert_eq!(scene.status("web").await.restarts, 0, "an operator's restart is not counted");
}

#[actix::test]
async fn a_deaf_service_is_killed_after_its_timeout() {
    tokio::time::pause();
    let scene = Scene::new();
    let web = id("web");
    scene.supervise("web", r#"{"cmd": "x", "stop": {"signal": "HUP", "timeout": "3s"}}"#).await;
    scene.spawner.ignore_signals(&web);
    scene.order("web", Order::Stop).await;
    scene.pass(Duration::from_millis(2990)).await;
    assert_eq!(scene.status("web").await.state, State::Stopping);
    scene.pass(Duration::from_millis(10)).await;
    assert_eq!(scene.status("web").await.state, State::Stopped);
    let sent: Vec<_> = scene.spawner.signals().iter().map(|sent| (sent.signal.to_string(), sent.whom)).collect();
    assert_eq!(
        sent,
        [("HUP".to_owned(), Whom::Main), ("CONT".to_owned(), Whom::Main), ("KILL".to_owned(), Whom::Tree)]
    );
}

#[actix::test]
async fn what_kill_does_not_end_says_so_and_nothing_takes_its_place() {
    tokio::time::pause();
    let scene = Scene::new();
    let web = id("web");
    scene.supervise("web", r#"{"cmd": "x", "stop": {"timeout": "1s"}}"#).await;
    scene.spawner.make_awkward(&web, Some(Awkward::Unkillable));
    scene.order("web", Order::Restart).await;
    scene.pass(Duration::from_secs(1)).await;
    scene.pass(Duration::from_secs(5)).await;
    assert_eq!(scene.status("web").await.reason, "does not end after KILL (state D)");
    assert_eq!(scene.runs("web"), 1);
    // A herd that ends does not wait for it.
    scene.herder.send(Shutdown::default()).await.unwrap();
}

#[actix::test]
async fn a_shutdown_ends_all_and_the_second_request_kills() {
    tokio::time::pause();
    let scene = Scene::new();
    for name in ["a", "b", "deaf"] {
        scene.supervise(name, r#"{"cmd": "x"}"#).await;
    }
    scene.spawner.ignore_signals(&id("deaf"));
    scene.herder.do_send(Shutdown::default());
    scene.rest().await;
    assert_eq!(scene.spawner.living().len(), 1);
    scene.herder.do_send(Shutdown::default());
    scene.rest().await;
    assert_eq!(scene.spawner.living().len(), 1, "a repeat within a second is the same request");
    assert!(scene.herder.send(Supervise(spec("late", r#"{"cmd": "x"}"#))).await.unwrap().is_err());
    scene.pass(Duration::from_secs(1)).await;
    scene.herder.send(Shutdown::default()).await.unwrap();
    scene.herder.send(AwaitEnd).await.unwrap();
    assert_eq!(scene.spawner.living().len(), 0);
    assert_eq!(scene.spawner.launches().len(), 3, "nothing was restarted");
}

#[actix::test]
async fn a_new_spec_touches_only_its_own_service_and_only_as_needed() {
    tokio::time::pause();
    let scene = Scene::new();
    scene.supervise("a", r#"{"cmd": "x"}"#).await;
    scene.supervise("b", r#"{"cmd": "x"}"#).await;
    let run = scene.status("a").await.run;
    scene.supervise("a", r#"{"cmd": "x", "name": "A", "restart": {"intensity": 1}}"#).await;
    let status = scene.status("a").await;
    assert_eq!((status.run, status.name.as_str(), status.intensity), (run, "A", 1), "rules alone replace no process");
    scene.supervise("a", r#"{"cmd": "y"}"#).await;
    let status = scene.status("a").await;
    assert_ne!(status.run, run);
    assert_eq!((status.reason.as_str(), scene.runs("a"), scene.runs("b")), ("started anew, its conf changed", 2, 1));
}

#[actix::test]
async fn a_dismissed_service_is_ended_and_gone() {
    tokio::time::pause();
    let scene = Scene::new();
    scene.supervise("web", r#"{"cmd": "x"}"#).await;
    scene.herder.send(Dismiss(id("web"))).await.unwrap().unwrap();
    scene.rest().await;
    assert!(scene.statuses().await.is_empty());
    assert!(scene.spawner.living().is_empty());
    assert!(scene.herder.send(Dismiss(id("web"))).await.unwrap().is_err());
}

#[actix::test]
async fn a_service_that_is_wanted_again_while_it_leaves_is_never_lost() {
    tokio::time::pause();
    // The wish may arrive before, between and after the messages with which the service leaves.
    for turns in 0..12 {
        let scene = Scene::new();
        scene.supervise("web", r#"{"cmd": "x"}"#).await;
        scene.spawner.ignore_signals(&id("web"));
        scene.herder.send(Dismiss(id("web"))).await.unwrap().unwrap();
        scene.rest().await;
        scene.spawner.exit(&id("web"), Ending::Exited(0));
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        scene.herder.do_send(Supervise(spec("web", r#"{"cmd": "x", "name": "again"}"#)));
        let status = scene.status("web").await;
        assert_eq!((status.state, status.name.as_str()), (State::Running, "again"), "after {turns} turns");
        assert_eq!(scene.spawner.living().len(), 1);
    }
}

#[actix::test]
async fn events_tell_what_happened_in_order() {
    tokio::time::pause();
    let scene = Scene::new();
    let mut events = scene.herder.send(Subscribe).await.unwrap();
    scene.supervise("web", r#"{"cmd": "x", "restart": {"delay": "1s", "intensity": 1}}"#).await;
    scene.exit("web", CRASH).await;
    scene.pass(Duration::from_secs(1)).await;
    scene.exit("web", CRASH).await;
    let seen = states(&mut events, 6).await;
    assert_eq!(
        seen,
        [State::Starting, State::Running, State::Backoff, State::Starting, State::Running, State::Cooldown]
    );
}

#[actix::test]
async fn a_service_whose_conf_is_gone_can_only_be_stopped() {
    tokio::time::pause();
    let scene = Scene::new();
    scene.supervise("web", r#"{"cmd": "x"}"#).await;
    scene.spawner.ignore_signals(&id("web"));
    scene.herder.send(Dismiss(id("web"))).await.unwrap().unwrap();
    scene.rest().await;
    for order in [Order::Start, Order::Restart] {
        assert!(scene.herder.send(Command { ids: vec![id("web")], order }).await.unwrap().is_err());
    }
    scene.order("web", Order::Stop).await;
    scene.pass(Duration::from_secs(10)).await;
    assert!(scene.statuses().await.is_empty());
}

#[actix::test]
async fn to_disable_a_service_starts_nothing() {
    tokio::time::pause();
    let scene = Scene::new();
    scene.supervise("web", r#"{"cmd": "x", "restart": {"intensity": 0}}"#).await;
    scene.exit("web", CRASH).await;
    assert_eq!(scene.status("web").await.state, State::Cooldown);
    scene.supervise("web", r#"{"cmd": "x", "restart": {"intensity": 0}, "enabled": false}"#).await;
    let status = scene.status("web").await;
    assert_eq!((status.state, status.reason.as_str()), (State::Stopped, "disabled in its conf"));
    assert_eq!(scene.runs("web"), 1);
}

#[actix::test]
async fn what_belongs_to_a_service_changes_under_the_living_process() {
    tokio::time::pause();
    let scene = Scene::new();
    scene.supervise("web", r#"{"cmd": "x"}"#).await;
    scene.supervise("web", r#"{"cmd": "x", "stop": {"scope": "main"}}"#).await;
    let launches = scene.spawner.launches_of_service(&id("web"));
    assert_eq!(launches.iter().map(|launch| launch.scope).collect::<Vec<_>>(), [StopScope::Main]);
}
