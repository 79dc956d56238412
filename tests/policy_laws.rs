//! The laws of the policy over random histories.

use std::time::Duration;

use daemonherder::model::{
    Ending, Exceeded, LaunchError, Moment, RestartPolicy, RestartSpec, RunId, Signal, Stage, State, StopScope, StopSpec,
};
use daemonherder::policy::{Because, Effect, Input, Lifecycle, Note, Rules, verdict};
use proptest::prelude::*;

/// Something that the world does to a service.
#[derive(Clone, Debug)]
enum Step {
    /// The present run goes one step further: it is launched, or it ends.
    Ends(Ending),
    Launched,
    Overdue,
    Refused,
    Start,
    Stop,
    Restart,
    Kill,
    NewRules(Rules),
    NewProcess,
    Stale(Ending),
    Passes(Duration),
    /// The clock goes exactly to the deadline.
    Due,
}

/// The world: which runs live, what was launched when.
struct World {
    life: Lifecycle,
    now: Moment,
    runs: u64,
    living: Option<RunId>,
    /// Counted restarts since the last fresh window.
    restarts: Vec<Moment>,
    chance: u8,
    gone: bool,
}

impl World {
    fn new(rules: Rules) -> Self {
        let now = Moment::after_boot(Duration::from_secs(77));
        let life = Lifecycle::of(Note::new(now), rules);
        Self { life, now, runs: 0, living: None, restarts: Vec::new(), chance: 0, gone: false }
    }

    fn fresh(&self) -> RunId {
        RunId { herd: 1, number: self.runs + 1 }
    }

    fn on(&mut self, input: Input) {
        // The law of notes: what is rebuilt from bytes behaves as what wrote them.
        let bytes = self.life.note().to_bytes();
        let mut twin = Lifecycle::of(Note::from_bytes(&bytes).expect("a note"), Rules::clone(self.life.rules()));
        let before = self.life.note().restarts;
        let effects = self.life.on(input, self.now, self.fresh());
        // A restart is counted before it is tried.
        if self.life.note().restarts > before {
            self.count_restart();
        }
        assert_eq!(twin.on(input, self.now, self.fresh()), effects);
        assert_eq!(twin, self.life);
        if matches!(input, Input::Start(_) | Input::Restart(_)) {
            self.restarts.clear();
        }
        self.perform(&effects);
        self.check();
    }

    fn perform(&mut self, effects: &[Effect]) {
        for effect in effects {
            match *effect {
                Effect::Launch { run } => {
                    assert_eq!(self.living, None, "two living runs");
                    assert_eq!(run, self.fresh());
                    self.runs += 1;
                    self.living = Some(run);
                    if self.life.note().because == Because::CooledDown {
                        self.restarts.clear();
                    }
                }
                Effect::Signal { run, .. } | Effect::Examine { run } => assert_eq!(self.living, Some(run)),
                Effect::Acknowledge { run } => assert_ne!(self.living, Some(run)),
                Effect::Escalate { wait } => {
                    let answer = verdict(self.life.rules().restart.exceeded, wait, self.chance);
                    self.on(Input::Verdict(answer));
                }
                Effect::Gone => self.gone = true,
            }
        }
    }

    /// The law of intensity, by an oracle that knows no window: all restarts are looked at.
    fn count_restart(&mut self) {
        self.restarts.push(self.now);
        let rules = &self.life.rules().restart;
        let length = rules.period + rules.delay * rules.intensity;
        let recent = self.restarts.iter().filter(|at| self.now - **at < length).count();
        assert!(recent <= rules.intensity as usize, "{recent} restarts in {length:?}, {rules:?}");
    }

    fn check(&self) {
        let (state, note) = (self.life.state(), self.life.note());
        assert!(!self.life.reason(self.now).is_empty());
        assert!(note.deaths.len() <= 5);
        assert_eq!(note.phase.run(), self.living, "the run of the note is the run that lives");
        match state {
            State::Stopped | State::Exited | State::Failed | State::Starting | State::Running => {
                assert_eq!(note.phase.deadline(), None, "{state}: a timer left behind");
            }
            State::Backoff | State::Cooldown => {
                assert!(note.phase.deadline().is_some(), "{state}: waits for nothing");
            }
            State::Stopping | State::Skipped | State::Invalid => {}
        }
        self.check_the_end();
    }

    /// What a stop asks for is known before it, and after it nothing begins of itself.
    fn check_the_end(&self) {
        let mut stopped = self.life.clone();
        let effects = stopped.on(Input::Stop(Because::Shutdown), self.now, self.fresh());
        let asked = effects.iter().find_map(|effect| match effect {
            Effect::Signal { run, signal, scope: StopScope::Main } => Some((*run, *signal)),
            _ => None,
        });
        assert_eq!(self.life.stop_signal(), asked);
        assert!(stopped.is_bound_to_end());
        // Where the stop comes only when something happens, nothing begins either, and what lives is not asked by that.
        let ends = self.living.map(|run| Input::Ended { run, ending: Ending::Exited(1) });
        let others =
            [Input::Tick, Input::Leave, Input::Kill, Input::Verdict(verdict(Exceeded::Cooldown, Duration::ZERO, 0))];
        for input in others.into_iter().chain(ends) {
            let mut life = self.life.clone();
            let is_end = matches!(input, Input::Ended { .. });
            if life.stops_before(input) {
                let effects = life.on(Input::Stop(Because::Shutdown), self.now, self.fresh());
                assert!(is_end || effects.is_empty(), "{input:?}: {effects:?}");
            }
            let later = life.note().phase.deadline().map_or(self.now, |due| due.max(self.now));
            let effects = life.on(input, later, self.fresh());
            assert!(!effects.iter().any(|effect| matches!(effect, Effect::Launch { .. })), "{input:?}");
        }
        if self.life.is_bound_to_end() {
            let mut bound = self.life.clone();
            let ends = self.living.map(|run| Input::Ended { run, ending: Ending::Exited(1) });
            for input in [Input::Tick].into_iter().chain(ends) {
                let later = bound.note().phase.deadline().map_or(self.now, |due| due.max(self.now));
                let effects = bound.on(input, later, self.fresh());
                assert!(!effects.iter().any(|effect| matches!(effect, Effect::Launch { .. })), "{input:?}");
                assert!(bound.is_bound_to_end());
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Start => self.on(Input::Start(Because::Operator)),
            Step::Stop => self.on(Input::Stop(Because::Operator)),
            Step::Restart => self.on(Input::Restart(Because::Operator)),
            Step::NewProcess => self.on(Input::Restart(Because::Changed)),
            Step::Kill => self.on(Input::Kill),
            Step::NewRules(rules) => {
                self.restarts.clear();
                let fresh = self.fresh();
                let effects = self.life.adjust(rules, self.now, fresh);
                self.perform(&effects);
                self.check();
            }
            Step::Stale(ending) => self.on(Input::Ended { run: RunId { herd: 2, number: 1 }, ending }),
            Step::Passes(time) => {
                self.now = self.now + time;
                self.on(Input::Tick);
            }
            Step::Due => {
                if let Some(due) = self.life.note().phase.deadline() {
                    self.now = self.now.max(due);
                    self.on(Input::Tick);
                }
            }
            Step::Ends(ending) => {
                if let Some(run) = self.living.take() {
                    self.on(Input::Ended { run, ending });
                }
            }
            Step::Launched => {
                if let Some(run) = self.living {
                    self.on(Input::Launched { run, pid: 5 });
                }
            }
            Step::Overdue => {
                if let Some(run) = self.living {
                    self.on(Input::Overdue { run, stage: Stage::Cwd });
                }
            }
            Step::Refused => {
                if let Some(run) = self.living {
                    self.on(Input::Refused { run, uid: 3 });
                }
            }
        }
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    let policy = prop_oneof![
        4 => Just(RestartPolicy::Always),
        1 => Just(RestartPolicy::OnFailure),
        1 => Just(RestartPolicy::Never),
    ];
    let exceeded = prop_oneof![3 => Just(Exceeded::Cooldown), 1 => Just(Exceeded::Fail)];
    let scope = prop_oneof![Just(StopScope::Tree), Just(StopScope::Main)];
    (policy, exceeded, scope, 0..4u64, 0..7u32, 1..20_000u64, 1..40u64).prop_map(
        |(policy, exceeded, scope, delay, intensity, period, cooldown)| Rules {
            restart: RestartSpec {
                policy,
                success_codes: vec![0],
                delay: Duration::from_secs(delay),
                intensity,
                period: Duration::from_millis(period),
                exceeded,
                cooldown: Duration::from_secs(cooldown),
                max_cooldown: Duration::from_secs(60),
            }
            .into(),
            stop: StopSpec { signal: Signal::TERM, timeout: Duration::from_secs(5), scope },
        },
    )
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        (0..4u8).prop_map(Ending::Exited),
        any::<bool>().prop_map(|core| Ending::Killed { signal: Signal::KILL, core }),
        prop_oneof![Just(libc::ENOENT), Just(libc::EAGAIN)]
            .prop_map(|errno| Ending::NotLaunched(LaunchError { stage: Stage::Exec, errno })),
        Just(Ending::Lost),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => ending().prop_map(Step::Ends),
        8 => Just(Step::Launched),
        6 => (0..30_000u64).prop_map(|ms| Step::Passes(Duration::from_millis(ms))),
        6 => Just(Step::Due),
        1 => (0..400u64).prop_map(|s| Step::Passes(Duration::from_secs(s))),
        1 => Just(Step::Overdue),
        1 => Just(Step::Refused),
        1 => Just(Step::Start),
        1 => Just(Step::Stop),
        1 => Just(Step::Restart),
        1 => Just(Step::NewProcess),
        1 => Just(Step::Kill),
        1 => rules().prop_map(Step::NewRules),
        1 => ending().prop_map(Step::Stale),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// At most `intensity` restarts in any window that holds no cool-down, operator's command or changed conf; never two
    /// living runs; no timer left behind; every state has a reason; a lifecycle rebuilt from its note behaves as before.
    #[test]
    fn the_laws_hold_over_random_histories(
        rules in rules(),
        chance in any::<u8>(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(rules);
        world.chance = chance;
        world.on(Input::Start(Because::Loaded));
        for step in steps {
            world.step(step);
        }
        // Whatever happened, a stop ends it, and nothing comes after it.
        world.step(Step::Stop);
        world.step(Step::Due);
        world.step(Step::Ends(Ending::Exited(0)));
        assert_eq!(world.life.state(), State::Stopped);
        assert_eq!(world.living, None);
        world.step(Step::Passes(Duration::from_secs(100_000)));
        assert_eq!(world.living, None);
        world.on(Input::Leave);
        assert!(world.gone);
    }
}
