//! The policy as tables, named as those of OTP's supervisor_SUITE.

use std::sync::Arc;
use std::time::Duration;

use daemonherder::model::{
    Cause, Ending, Exceeded, LaunchError, Moment, RestartPolicy, RestartSpec, RunId, Signal, Stage, State, StopScope,
    StopSpec, Wanted,
};
use daemonherder::policy::{
    Because, Effect, Input, KILL_PATIENCE, Lifecycle, Note, Rules, Verdict, next_wait, verdict,
};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn rules() -> Rules {
    Rules {
        restart: RestartSpec {
            policy: RestartPolicy::Always,
            success_codes: vec![0],
            delay: Duration::ZERO,
            intensity: 5,
            period: seconds(10),
            exceeded: Exceeded::Cooldown,
            cooldown: seconds(10),
            max_cooldown: seconds(300),
        }
        .into(),
        stop: StopSpec { signal: Signal::TERM, timeout: seconds(10), scope: StopScope::Tree },
    }
}

/// A lifecycle with a clock that only the test moves, and a parent that answers at once.
struct Scene {
    life: Lifecycle,
    now: Moment,
    runs: u64,
}

impl Scene {
    fn new(rules: Rules) -> Self {
        let now = Moment::after_boot(seconds(1000));
        let mut stage = Self { life: Lifecycle::of(Note::new(now), rules), now, runs: 0 };
        stage.on(Input::Start(Because::Loaded));
        stage
    }

    fn running(rules: Rules) -> Self {
        let mut stage = Self::new(rules);
        stage.launched();
        stage
    }

    fn on(&mut self, input: Input) -> Vec<Effect> {
        let fresh = RunId { herd: 7, number: self.runs + 1 };
        let mut effects = self.life.on(input, self.now, fresh).to_vec();
        if effects.contains(&Effect::Launch { run: fresh }) {
            self.runs += 1;
        }
        if let Some(Effect::Escalate { wait }) = effects.iter().find(|e| matches!(e, Effect::Escalate { .. })) {
            let answer = verdict(self.life.rules().restart.exceeded, *wait, 0);
            effects.extend(self.on(Input::Verdict(answer)));
        }
        effects
    }

    fn run(&self) -> RunId {
        self.life.note().phase.run().expect("a run")
    }

    fn launched(&mut self) {
        self.on(Input::Launched { run: self.run(), pid: 100 });
    }

    fn pass(&mut self, time: Duration) -> Vec<Effect> {
        self.now = self.now + time;
        self.on(Input::Tick)
    }

    fn ends(&mut self, ending: Ending) -> Vec<Effect> {
        self.on(Input::Ended { run: self.run(), ending })
    }

    /// Launches and dies at once, until nothing is launched any more; how many runs that made.
    fn crash_loop(&mut self) -> u64 {
        let before = self.runs;
        loop {
            self.launched();
            self.ends(Ending::Exited(1));
            match self.life.state() {
                State::Starting => {}
                State::Backoff => {
                    let delay = self.life.rules().restart.delay;
                    self.pass(delay);
                }
                _ => return self.runs - before + 1,
            }
        }
    }

    fn state(&self) -> State {
        self.life.state()
    }
}

const NORMAL: Ending = Ending::Exited(0);
const ABNORMAL: Ending = Ending::Exited(1);
const KILLED: Ending = Ending::Killed { signal: Signal::KILL, core: false };
const DUMPED: Ending = Ending::Killed { signal: Signal::TERM, core: true };
const NOT_LAUNCHED: Ending = Ending::NotLaunched(LaunchError { stage: Stage::Exec, errno: 2 });

/// {permanent, transient, temporary} × {normal, abnormal, killed, not launched, lost}.
#[test]
fn restart_policies() {
    use RestartPolicy::{Always, Never, OnFailure};
    for (policy, ending, state, cause) in [
        (Always, NORMAL, State::Starting, Cause::Success),
        (Always, ABNORMAL, State::Starting, Cause::ExitCode),
        (Always, KILLED, State::Starting, Cause::Signal),
        (Always, DUMPED, State::Starting, Cause::CoreDump),
        (Always, NOT_LAUNCHED, State::Starting, Cause::ExecFailed),
        (Always, Ending::Lost, State::Starting, Cause::Lost),
        (OnFailure, NORMAL, State::Exited, Cause::Success),
        (OnFailure, ABNORMAL, State::Starting, Cause::ExitCode),
        (OnFailure, KILLED, State::Starting, Cause::Signal),
        (OnFailure, DUMPED, State::Starting, Cause::CoreDump),
        (OnFailure, NOT_LAUNCHED, State::Starting, Cause::ExecFailed),
        (OnFailure, Ending::Lost, State::Starting, Cause::Lost),
        (Never, NORMAL, State::Exited, Cause::Success),
        (Never, ABNORMAL, State::Exited, Cause::ExitCode),
        (Never, KILLED, State::Exited, Cause::Signal),
        (Never, DUMPED, State::Exited, Cause::CoreDump),
        (Never, NOT_LAUNCHED, State::Failed, Cause::ExecFailed),
        (Never, Ending::Lost, State::Exited, Cause::Lost),
    ] {
        let mut rules = rules();
        Arc::make_mut(&mut rules.restart).policy = policy;
        let mut stage = Scene::running(rules);
        stage.ends(ending);
        assert_eq!(stage.state(), state, "{policy:?} {ending:?}");
        let death = stage.life.note().deaths[0];
        assert_eq!(death.cause, cause, "{policy:?} {ending:?}");
        assert_eq!(stage.life.note().restarts, u64::from(state == State::Starting), "{policy:?} {ending:?}");
    }
}

#[test]
fn success_codes_are_what_the_conf_says() {
    let mut rules = rules();
    Arc::make_mut(&mut rules.restart).policy = RestartPolicy::OnFailure;
    Arc::make_mut(&mut rules.restart).success_codes = vec![3];
    let mut stage = Scene::running(rules.clone());
    stage.ends(Ending::Exited(3));
    assert_eq!(stage.state(), State::Exited);
    let mut stage = Scene::running(rules);
    stage.ends(Ending::Exited(0));
    assert_eq!(stage.state(), State::Starting);
}

#[test]
fn want_of_resources_is_its_own_cause() {
    for errno in [libc::EAGAIN, libc::ENOMEM, libc::EMFILE, libc::ENFILE] {
        let mut stage = Scene::new(rules());
        stage.ends(Ending::NotLaunched(LaunchError { stage: Stage::Fork, errno }));
        assert_eq!(stage.life.note().deaths[0].cause, Cause::Resources);
        assert_eq!(stage.state(), State::Starting, "it is tried again");
    }
}

#[test]
fn a_crash_loop_makes_exactly_one_run_and_intensity_restarts() {
    for intensity in [0, 1, 5, 17] {
        let mut rules = rules();
        Arc::make_mut(&mut rules.restart).intensity = intensity;
        let mut stage = Scene::new(rules);
        assert_eq!(stage.crash_loop(), 1 + u64::from(intensity));
        assert_eq!(stage.state(), State::Cooldown);
        assert_eq!(stage.life.note().restarts, u64::from(intensity));
    }
}

#[test]
fn failed_launches_count_as_restarts() {
    let mut stage = Scene::new(rules());
    let mut launches = 1;
    while stage.state() == State::Starting {
        if stage.ends(NOT_LAUNCHED).iter().any(|e| matches!(e, Effect::Launch { .. })) {
            launches += 1;
        }
    }
    assert_eq!((launches, stage.state()), (6, State::Cooldown));
}

#[test]
fn the_window_slides() {
    let mut stage = Scene::running(rules());
    // One restart every 2.5 s: at any moment five are in the window of 10 s, the oldest exactly 10 s ago.
    for _ in 0..4 {
        stage.pass(Duration::from_millis(2500));
        stage.ends(ABNORMAL);
        assert_eq!(stage.state(), State::Starting);
        stage.launched();
    }
    stage.pass(Duration::from_millis(2500));
    stage.ends(ABNORMAL);
    assert_eq!(stage.state(), State::Starting, "the fifth is allowed");
    stage.launched();
    stage.pass(Duration::ZERO);
    stage.ends(ABNORMAL);
    assert_eq!(stage.state(), State::Cooldown, "the sixth within 10 s is not");
}

#[test]
fn a_restart_exactly_one_period_ago_still_counts() {
    let mut rules = rules();
    Arc::make_mut(&mut rules.restart).intensity = 1;
    for (millis, state) in [(10_000, State::Cooldown), (10_001, State::Starting)] {
        let mut stage = Scene::running(rules.clone());
        stage.ends(ABNORMAL);
        stage.launched();
        stage.pass(Duration::from_millis(millis));
        stage.ends(ABNORMAL);
        assert_eq!(stage.state(), state, "{millis}");
    }
}

#[test]
fn a_delay_does_not_hide_a_loop() {
    let mut rules = rules();
    Arc::make_mut(&mut rules.restart).delay = seconds(3);
    let mut stage = Scene::new(rules);
    assert_eq!(stage.crash_loop(), 6);
    assert_eq!(stage.state(), State::Cooldown);
}

#[test]
fn cool_downs_double_up_to_the_cap_and_begin_anew_after_a_stable_run() {
    let mut stage = Scene::new(rules());
    let mut waits = Vec::new();
    for _ in 0..7 {
        assert_eq!(stage.crash_loop(), 6, "the first start after a cool-down is not counted");
        let due = stage.life.note().phase.next_start().expect("a planned start");
        waits.push((due - stage.now).as_secs());
        stage.now = due;
        stage.on(Input::Tick);
        assert_eq!(stage.state(), State::Starting);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    // Longer than the period, but not longer than the last wait: that is no recovery.
    stage.launched();
    stage.pass(seconds(300));
    stage.ends(ABNORMAL);
    stage.crash_loop();
    assert_eq!(stage.life.note().phase.next_start().expect("a start") - stage.now, seconds(300));
    stage.pass(seconds(300));
    stage.launched();
    stage.pass(seconds(301));
    stage.ends(ABNORMAL);
    stage.crash_loop();
    assert_eq!(stage.life.note().phase.next_start().expect("a start") - stage.now, seconds(10));
}

#[test]
fn jitter_only_lengthens_and_by_a_fifth_at_most() {
    assert_eq!(verdict(Exceeded::Cooldown, seconds(10), 0), Verdict::CoolDown { wait: seconds(10) });
    assert_eq!(verdict(Exceeded::Cooldown, seconds(10), 255), Verdict::CoolDown { wait: seconds(12) });
    assert_eq!(verdict(Exceeded::Fail, seconds(10), 9), Verdict::GiveUp);
}

#[test]
fn the_cap_never_shortens_a_first_wait_that_was_written() {
    let mut spec = RestartSpec::clone(&rules().restart);
    spec.cooldown = seconds(600);
    assert_eq!(next_wait(None, &spec), seconds(600));
    assert_eq!(next_wait(Some(seconds(600)), &spec), seconds(600));
}

#[test]
fn exceeded_fail_stays_failed_until_told_otherwise() {
    let mut rules = rules();
    Arc::make_mut(&mut rules.restart).exceeded = Exceeded::Fail;
    let mut stage = Scene::new(rules);
    stage.crash_loop();
    assert_eq!(stage.state(), State::Failed);
    assert_eq!(stage.life.note().phase.deadline(), None, "a failed service has no timer");
    stage.pass(seconds(100_000));
    assert_eq!(stage.state(), State::Failed);
    stage.on(Input::Start(Because::Operator));
    assert_eq!(stage.state(), State::Starting);
    assert_eq!(stage.crash_loop(), 6, "with a fresh window");
}

#[test]
fn a_stop_climbs_the_ladder() {
    let mut stage = Scene::running(rules());
    let run = stage.run();
    let main = |signal| Effect::Signal { run, signal, scope: StopScope::Main };
    assert_eq!(stage.on(Input::Stop(Because::Operator)), [main(Signal::TERM), main(Signal::CONT)]);
    assert_eq!(stage.pass(Duration::from_millis(9999)), []);
    let kill = Effect::Signal { run, signal: Signal::KILL, scope: StopScope::Tree };
    assert_eq!(stage.pass(Duration::from_millis(1)), [kill]);
    assert_eq!(stage.pass(KILL_PATIENCE), [Effect::Examine { run }]);
    stage.on(Input::Examined { run, state: Some('D') });
    assert_eq!(stage.life.reason(stage.now), "does not end after KILL (state D)");
    assert_eq!(stage.life.note().phase.deadline(), None);
    assert_eq!(stage.on(Input::Start(Because::Operator)), [], "nothing is started in its place");
    assert_eq!(stage.state(), State::Stopping);
    stage.on(Input::Stop(Because::Operator));
    assert_eq!(stage.ends(KILLED), [Effect::Acknowledge { run }]);
    assert_eq!(stage.state(), State::Stopped);
    assert_eq!(stage.life.note().deaths[0].cause, Cause::StopTimeout);
    assert_eq!(stage.life.note().wanted, Wanted::Down);
}

#[test]
fn what_ends_while_asked_to_stop_ended_by_the_stop() {
    for ending in [NORMAL, ABNORMAL, KILLED, DUMPED] {
        let mut stage = Scene::running(rules());
        stage.on(Input::Stop(Because::Operator));
        stage.ends(ending);
        assert_eq!((stage.state(), stage.life.note().deaths[0].cause), (State::Stopped, Cause::Stop), "{ending:?}");
        assert_eq!(stage.life.note().restarts, 0);
    }
}

#[test]
fn a_process_that_may_not_be_signalled_says_so() {
    let mut stage = Scene::running(rules());
    stage.on(Input::Stop(Because::Operator));
    stage.on(Input::Refused { run: stage.run(), uid: 0 });
    assert_eq!(stage.life.reason(stage.now), "may not signal uid 0");
    assert_eq!(stage.state(), State::Stopping);
}

#[test]
fn a_stop_in_any_waiting_state_is_immediate() {
    let mut delayed = rules();
    Arc::make_mut(&mut delayed.restart).delay = seconds(3);
    let mut backoff = Scene::running(delayed);
    backoff.ends(ABNORMAL);
    assert_eq!(backoff.state(), State::Backoff);
    let mut cooldown = Scene::new(rules());
    cooldown.crash_loop();
    for mut stage in [backoff, cooldown] {
        assert_eq!(stage.on(Input::Stop(Because::Operator)), []);
        assert_eq!(stage.state(), State::Stopped);
        assert_eq!(stage.life.note().phase.deadline(), None);
        stage.pass(seconds(10_000));
        assert_eq!(stage.state(), State::Stopped);
    }
}

#[test]
fn an_operators_command_ends_a_wait_with_a_fresh_window() {
    for command in [Input::Start(Because::Operator), Input::Restart(Because::Operator)] {
        let mut stage = Scene::new(rules());
        stage.crash_loop();
        assert!(stage.on(command).iter().any(|e| matches!(e, Effect::Launch { .. })));
        assert_eq!(stage.crash_loop(), 6);
        let wait = stage.life.note().phase.next_start().expect("a start") - stage.now;
        assert_eq!(wait, seconds(10), "and the first cool-down");
    }
}

#[test]
fn new_rules_end_a_cool_down_and_a_failure_and_nothing_else() {
    let mut cooldown = Scene::new(rules());
    cooldown.crash_loop();
    let mut failing = rules();
    Arc::make_mut(&mut failing.restart).exceeded = Exceeded::Fail;
    let mut failed = Scene::new(failing);
    failed.crash_loop();
    for mut stage in [cooldown, failed] {
        let fresh = RunId { herd: 7, number: 99 };
        let effects = stage.life.adjust(rules(), stage.now, fresh);
        assert_eq!(effects.to_vec(), [Effect::Launch { run: fresh }]);
    }
    let mut running = Scene::running(rules());
    assert!(running.life.adjust(rules(), running.now, RunId { herd: 7, number: 99 }).is_empty());
    running.on(Input::Stop(Because::Operator));
    running.ends(NORMAL);
    assert!(running.life.adjust(rules(), running.now, RunId { herd: 7, number: 99 }).is_empty());
    assert_eq!(running.state(), State::Stopped, "a stop holds");
}

#[test]
fn restart_replaces_the_process_once() {
    let mut stage = Scene::running(rules());
    let old = stage.run();
    stage.on(Input::Restart(Because::Operator));
    assert_eq!(stage.state(), State::Stopping);
    stage.on(Input::Restart(Because::Operator));
    let effects = stage.ends(NORMAL);
    let new = stage.run();
    assert_eq!(effects, [Effect::Acknowledge { run: old }, Effect::Launch { run: new }]);
    assert_ne!(old, new);
    assert_eq!(stage.life.note().restarts, 0, "only restarts that the daemon decides count");
}

#[test]
fn a_conf_that_comes_back_while_its_service_leaves_starts_it_again() {
    let mut stage = Scene::running(rules());
    stage.on(Input::Leave);
    stage.on(Input::Start(Because::Loaded));
    assert!(stage.ends(NORMAL).iter().any(|e| matches!(e, Effect::Launch { .. })));
}

#[test]
fn a_service_without_a_conf_leaves_once_it_has_ended() {
    let mut stage = Scene::running(rules());
    let run = stage.run();
    stage.on(Input::Leave);
    assert_eq!(stage.state(), State::Stopping);
    assert_eq!(stage.life.reason(stage.now), "its conf is gone; sent TERM, KILL follows after 10s");
    assert_eq!(stage.ends(NORMAL), [Effect::Acknowledge { run }, Effect::Gone]);
    let mut waiting = Scene::new(rules());
    waiting.crash_loop();
    assert_eq!(waiting.on(Input::Leave), [Effect::Gone]);
}

#[test]
fn a_shutdown_stops_but_forgets_nothing_that_was_wanted() {
    let mut stage = Scene::running(rules());
    stage.on(Input::Stop(Because::Shutdown));
    assert_eq!(stage.life.note().wanted, Wanted::Up);
    let run = stage.run();
    assert_eq!(
        stage.on(Input::Kill),
        [Effect::Signal { run, signal: Signal::KILL, scope: StopScope::Tree }],
        "the second request kills"
    );
    assert_eq!(stage.on(Input::Kill), []);
}

#[test]
fn a_launch_that_is_killed_for_its_time_is_a_failed_launch() {
    let mut stage = Scene::new(rules());
    let run = stage.run();
    stage.on(Input::Overdue { run, stage: Stage::Cwd });
    assert_eq!(stage.state(), State::Stopping);
    let effects = stage.ends(KILLED);
    let death = stage.life.note().deaths[0];
    let error = LaunchError { stage: Stage::Cwd, errno: libc::ETIMEDOUT };
    assert_eq!((death.ending, death.cause), (Ending::NotLaunched(error), Cause::ExecFailed));
    assert!(effects.iter().any(|e| matches!(e, Effect::Launch { .. })), "and is tried again");
}

#[test]
fn what_belongs_to_another_run_is_dropped() {
    let mut stage = Scene::running(rules());
    let before = stage.life.clone();
    let stranger = RunId { herd: 7, number: 1000 };
    for input in [
        Input::Launched { run: stranger, pid: 1 },
        Input::Overdue { run: stranger, stage: Stage::Exec },
        Input::Refused { run: stranger, uid: 0 },
        Input::Examined { run: stranger, state: None },
    ] {
        assert_eq!(stage.on(input), []);
    }
    assert_eq!(
        stage.on(Input::Ended { run: stranger, ending: KILLED }),
        [Effect::Acknowledge { run: stranger }],
        "its end need not be kept"
    );
    assert_eq!(stage.life, before);
}

#[test]
fn reasons_name_the_cause() {
    let mut stage = Scene::running(rules());
    let reason = |stage: &Scene| stage.life.reason(stage.now);
    assert_eq!(reason(&stage), "started with its conf");
    stage.pass(Duration::from_millis(3200));
    stage.ends(ABNORMAL);
    assert_eq!(reason(&stage), "restarted (1 of 5 in 10s) after: exited with code 1 after 3.2s");
    stage.crash_loop();
    assert_eq!(reason(&stage), "more than 5 restarts in 10s; cools down for 10s; last: exited with code 1");
    stage.on(Input::Start(Because::Operator));
    assert_eq!(reason(&stage), "started by an operator");
    stage.ends(NOT_LAUNCHED);
    assert_eq!(reason(&stage), "restarted (1 of 5 in 10s) after: cannot execute cmd: No such file or directory");
}
