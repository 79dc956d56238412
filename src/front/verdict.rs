//! Whether a service has become what a command asked for: a decision over what was seen of it, with time as an argument.
//!
//! A start is a success when its run has lived for the settle time, or has ended by success under a policy that leaves it.
//! It has failed as soon as the run has died or could not be launched; that the herd tries again does not undo it. A
//! restart is the same for any run but the one that was there before. A stop is a success when nothing runs, and has
//! failed five seconds after the service's own stop timeout.

use std::time::Duration;

use crate::bus::Happening;
use crate::herder::{Order, ServiceStatus};
use crate::model::{Cause, Death, Moment, RunId, State};

/// How long after its stop timeout a service may take to be stopped: KILL needs a moment, too.
const AFTER_STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a launch may take: a spawner ends an overdue one after 30 seconds.
const LAUNCH: Duration = Duration::from_secs(35);

/// What is known of a command's effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing yet: ask again at this moment if nothing is seen until then.
    Pending { due: Moment },
    /// The service is as it should be.
    Done(String),
    /// It is not, and waiting longer would not help.
    Failed(String),
}

/// One service that is waited for.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    order: Order,
    settle: Duration,
    /// The run whose end is no failure: the one that the command itself ends.
    old: Option<RunId>,
    /// The run that has to settle, and since when it lives.
    alive: Option<(RunId, Moment)>,
    /// When a verdict is due even if nothing more is seen.
    deadline: Moment,
    ordered: Moment,
    state: State,
    reason: String,
}

/// Something that was seen of a service: an event, or its status in a survey.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    since: Moment,
    state: State,
    reason: &'a str,
    run: Option<RunId>,
    death: Option<&'a Death>,
}

impl Watch {
    /// Begins to watch: `status` is what was known at the moment `now`, before the command was given.
    pub(super) fn begin(order: Order, settle: Duration, status: &ServiceStatus, now: Moment) -> (Self, Verdict) {
        let stops_first = match order {
            Order::Start => status.state == State::Stopping,
            Order::Stop | Order::Restart => true,
        };
        let old = status.run.filter(|_| stops_first);
        let ends = if old.is_some() { status.stop_timeout + AFTER_STOP_TIMEOUT } else { Duration::ZERO };
        let deadline = match order {
            Order::Start | Order::Restart => now + ends + LAUNCH,
            Order::Stop => now + status.stop_timeout + AFTER_STOP_TIMEOUT,
        };
        let mut watch = Self {
            order,
            settle,
            old,
            alive: None,
            deadline,
            ordered: now,
            state: status.state,
            reason: status.reason.clone(),
        };
        let verdict = match order {
            Order::Stop => watch.at_first_to_stop(),
            Order::Start | Order::Restart => watch.at_first_to_start(status, now),
        };
        (watch, verdict)
    }

    fn at_first_to_stop(&self) -> Verdict {
        match self.state {
            State::Stopped | State::Exited | State::Failed | State::Skipped | State::Invalid => {
                Verdict::Done(format!("does not run ({})", self.state))
            }
            State::Starting | State::Running | State::Stopping | State::Backoff | State::Cooldown => self.pending(),
        }
    }

    fn at_first_to_start(&mut self, status: &ServiceStatus, now: Moment) -> Verdict {
        match status.state {
            State::Skipped => Verdict::Failed(format!("belongs to another host: {}", status.reason)),
            State::Invalid => Verdict::Failed(problems(status)),
            State::Running if self.old.is_none() => {
                self.alive = status.run.zip(status.running_since);
                match self.at(now) {
                    Verdict::Done(_) => Verdict::Done("already running".to_owned()),
                    pending => pending,
                }
            }
            State::Stopped
            | State::Starting
            | State::Running
            | State::Stopping
            | State::Backoff
            | State::Cooldown
            | State::Exited
            | State::Failed => self.pending(),
        }
    }

    /// Takes note of an event.
    pub(super) fn happened(&mut self, at: Moment, what: &Happening) -> Verdict {
        match what {
            Happening::Entered { state, reason, run, death, .. } => {
                self.see(Seen { since: at, state: *state, reason, run: *run, death: death.as_ref() })
            }
            Happening::Adjusted
            | Happening::OutputStuck { .. }
            | Happening::OutputGoesOn { .. }
            | Happening::ActorReplaced => self.pending(),
            Happening::Removed => match self.order {
                Order::Stop => Verdict::Done("stopped; its conf is gone".to_owned()),
                Order::Start | Order::Restart => Verdict::Failed("its conf is gone".to_owned()),
            },
        }
    }

    /// Takes note of a status, where events were missed. Of several deaths meanwhile the last one stands for all.
    pub(super) fn surveyed(&mut self, status: &ServiceStatus) -> Verdict {
        let death = status.deaths.first().filter(|death| death.at > self.ordered);
        let since = status.running_since.unwrap_or(status.since);
        self.see(Seen { since, state: status.state, reason: &status.reason, run: status.run, death })
    }

    /// What is to be said at the moment `now` if nothing more was seen until then.
    pub(super) fn at(&self, now: Moment) -> Verdict {
        match (self.order, self.alive) {
            (Order::Start | Order::Restart, Some((_, since))) if now >= since + self.settle => {
                Verdict::Done(if self.order == Order::Restart { "restarted" } else { "started" }.to_owned())
            }
            (Order::Stop, _) | (Order::Start | Order::Restart, None) if now >= self.deadline => {
                Verdict::Failed(format!("is still {}: {}", self.state, self.reason))
            }
            _ => self.pending(),
        }
    }

    fn see(&mut self, seen: Seen<'_>) -> Verdict {
        self.state = seen.state;
        seen.reason.clone_into(&mut self.reason);
        match self.order {
            Order::Stop => self.see_to_stop(seen),
            Order::Start | Order::Restart => self.see_to_start(seen),
        }
    }

    fn see_to_stop(&mut self, seen: Seen<'_>) -> Verdict {
        match seen.state {
            State::Stopped | State::Exited | State::Failed | State::Skipped | State::Invalid => {
                let killed = seen.death.is_some_and(|death| death.cause == Cause::StopTimeout);
                let how = if killed { " by KILL, after its stop timeout" } else { "" };
                Verdict::Done(format!("stopped{how}"))
            }
            State::Starting | State::Running | State::Stopping | State::Backoff | State::Cooldown => self.pending(),
        }
    }

    fn see_to_start(&mut self, seen: Seen<'_>) -> Verdict {
        // A restart ends whatever run it finds, which may be a later one than the survey saw.
        let by_us = |death: &Death| {
            let stopped = matches!(death.cause, Cause::Stop | Cause::StopTimeout);
            stopped && self.order == Order::Restart && seen.state == State::Starting
        };
        let death = seen.death.filter(|death| Some(death.run) != self.old && !by_us(death));
        match (death, seen.state) {
            (Some(death), State::Exited) if death.cause == Cause::Success => {
                Verdict::Done(format!("ran and ended: {}", death.ending))
            }
            (Some(death), _) => Verdict::Failed(died(death, seen)),
            (None, State::Running) => self.lives(seen),
            // What is told of the old run's end, or of a state that the command is about to end.
            (None, State::Starting | State::Stopping | State::Stopped | State::Exited) => {
                self.alive = None;
                self.pending()
            }
            (None, State::Backoff | State::Cooldown | State::Failed) if seen.death.is_some() => self.pending(),
            (None, State::Backoff | State::Cooldown | State::Failed | State::Skipped | State::Invalid) => {
                Verdict::Failed(format!("{}: {}", seen.state, seen.reason))
            }
        }
    }

    fn lives(&mut self, seen: Seen<'_>) -> Verdict {
        let known = self.alive.map(|(run, _)| run);
        if let Some(run) = seen.run.filter(|run| Some(*run) != self.old && Some(*run) != known) {
            self.alive = Some((run, seen.since));
        }
        // Without a settle time the first sight of it is enough.
        if self.settle.is_zero() && self.alive.is_some() { self.at(seen.since) } else { self.pending() }
    }

    fn pending(&self) -> Verdict {
        let due =
            self.alive.filter(|_| self.order != Order::Stop).map_or(self.deadline, |(_, since)| since + self.settle);
        Verdict::Pending { due }
    }
}

/// How a run died, its cause, and what the service does now. The reason of the state names the death as a rule.
fn died(death: &Death, seen: Seen<'_>) -> String {
    let (ending, cause, state, reason) = (death.ending.to_string(), death.cause, seen.state, seen.reason);
    if reason.contains(&ending) {
        format!("{reason} ({cause}); now {state}")
    } else {
        format!("{ending} ({cause}); now {state}: {reason}")
    }
}

fn problems(status: &ServiceStatus) -> String {
    let path = status.conf.display();
    let all: Vec<String> = status.conf_problems.iter().map(|problem| format!("{path}:{problem}")).collect();
    if all.is_empty() { status.reason.clone() } else { all.join("; ") }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::model::{Ending, LaunchError, Net, Signal, Stage, Wanted};

    const HOUR: Duration = Duration::from_secs(3600);
    const SETTLE: Duration = Duration::from_secs(1);

    /// Milliseconds after the command was given.
    fn at(millis: u64) -> Moment {
        Moment::after_boot(HOUR + Duration::from_millis(millis))
    }

    fn run(number: u64) -> RunId {
        RunId { herd: 1, number }
    }

    fn status(state: State, run: Option<RunId>, lived: Duration) -> ServiceStatus {
        let since = Moment::after_boot(HOUR - lived);
        ServiceStatus {
            id: "web".parse().unwrap(),
            name: "web".into(),
            state,
            wanted: Wanted::Up,
            reason: "as it was".into(),
            since,
            run,
            pid: run.map(|_| 7),
            running_since: run.map(|_| since),
            restarts: 0,
            window_count: 0,
            intensity: 5,
            period: Duration::from_secs(10),
            next_start: None,
            stop_timeout: Duration::from_secs(10),
            deaths: vec![],
            net: Net::Group,
            logged: None,
            conf: PathBuf::from("/c/web.conf"),
            conf_problems: vec![],
        }
    }

    fn death(number: u64, ending: Ending, cause: Cause) -> Option<Death> {
        Some(Death { at: at(5), run: run(number), lived: Duration::from_millis(3), ending, cause })
    }

    fn entered(state: State, number: Option<u64>, death: Option<Death>) -> Happening {
        Happening::Entered { from: None, state, reason: "because".into(), run: number.map(run), pid: None, death }
    }

    /// What a verdict is, without its words.
    #[derive(Debug, PartialEq, Eq)]
    enum Is {
        Pending(u64),
        Done,
        Failed,
    }

    fn is(verdict: &Verdict) -> Is {
        match verdict {
            Verdict::Pending { due } => Is::Pending(u64::try_from((*due - at(0)).as_millis()).unwrap()),
            Verdict::Done(_) => Is::Done,
            Verdict::Failed(_) => Is::Failed,
        }
    }

    #[test]
    fn at_first_it_depends_on_the_state() {
        use Order::{Restart, Start, Stop};
        let minute = Duration::from_secs(60);
        let young = Duration::from_millis(400);
        for (order, state, lived, expected) in [
            (Start, State::Running, minute, Is::Done),
            (Start, State::Running, young, Is::Pending(600)),
            (Start, State::Starting, Duration::ZERO, Is::Pending(35_000)),
            (Start, State::Stopping, minute, Is::Pending(50_000)),
            (Start, State::Stopped, minute, Is::Pending(35_000)),
            (Start, State::Backoff, minute, Is::Pending(35_000)),
            (Start, State::Cooldown, minute, Is::Pending(35_000)),
            (Start, State::Exited, minute, Is::Pending(35_000)),
            (Start, State::Failed, minute, Is::Pending(35_000)),
            (Start, State::Skipped, minute, Is::Failed),
            (Start, State::Invalid, minute, Is::Failed),
            (Restart, State::Running, minute, Is::Pending(50_000)),
            (Restart, State::Stopped, minute, Is::Pending(35_000)),
            (Restart, State::Skipped, minute, Is::Failed),
            (Restart, State::Invalid, minute, Is::Failed),
            (Stop, State::Running, minute, Is::Pending(15_000)),
            (Stop, State::Starting, minute, Is::Pending(15_000)),
            (Stop, State::Stopping, minute, Is::Pending(15_000)),
            (Stop, State::Backoff, minute, Is::Pending(15_000)),
            (Stop, State::Cooldown, minute, Is::Pending(15_000)),
            (Stop, State::Stopped, minute, Is::Done),
            (Stop, State::Exited, minute, Is::Done),
            (Stop, State::Failed, minute, Is::Done),
            (Stop, State::Skipped, minute, Is::Done),
            (Stop, State::Invalid, minute, Is::Done),
        ] {
            let run = matches!(state, State::Running | State::Starting | State::Stopping).then(|| run(1));
            let (_, verdict) = Watch::begin(order, SETTLE, &status(state, run, lived), at(0));
            assert_eq!(is(&verdict), expected, "{order:?} of a {state} service");
        }
    }

    /// Begins at a state with run 1 (if it has one), shows the events 10 ms apart, and gives the last verdict.
    fn story(order: Order, begins: State, events: &[Happening]) -> Verdict {
        let first = matches!(begins, State::Running | State::Starting | State::Stopping).then(|| run(1));
        let (mut watch, mut verdict) =
            Watch::begin(order, SETTLE, &status(begins, first, Duration::from_millis(400)), at(0));
        for (event, millis) in events.iter().zip((10..).step_by(10)) {
            assert!(matches!(verdict, Verdict::Pending { .. }), "{verdict:?} before {event:?}");
            verdict = watch.happened(at(millis), event);
        }
        verdict
    }

    #[test]
    fn a_start_succeeds_when_its_run_settles() {
        let (starting, running) = (entered(State::Starting, Some(1), None), entered(State::Running, Some(1), None));
        assert_eq!(is(&story(Order::Start, State::Stopped, std::slice::from_ref(&starting))), Is::Pending(35_000));
        assert_eq!(is(&story(Order::Start, State::Stopped, &[starting, running.clone()])), Is::Pending(1_020));

        let (mut watch, _) = Watch::begin(Order::Start, SETTLE, &status(State::Stopped, None, HOUR), at(0));
        watch.happened(at(10), &running);
        // Another event of the same run does not begin the settle time anew.
        assert_eq!(is(&watch.happened(at(500), &running)), Is::Pending(1_010));
        assert_eq!(is(&watch.at(at(1_009))), Is::Pending(1_010));
        assert_eq!(watch.at(at(1_010)), Verdict::Done("started".into()));
    }

    #[test]
    fn a_start_fails_with_the_first_death_even_if_the_herd_tries_again() {
        let exited = |number| death(number, Ending::Exited(3), Cause::ExitCode);
        let missing = Ending::NotLaunched(LaunchError { stage: Stage::Exec, errno: libc::ENOENT });
        for last in [
            entered(State::Backoff, None, exited(2)),
            entered(State::Cooldown, None, exited(2)),
            entered(State::Failed, None, exited(2)),
            entered(State::Exited, None, exited(2)),
            entered(State::Starting, Some(3), exited(2)),
            entered(State::Stopped, None, death(2, Ending::Exited(0), Cause::Stop)),
            // Under a policy that restarts it, even a success is an end within the settle time.
            entered(State::Starting, Some(3), death(2, Ending::Exited(0), Cause::Success)),
            entered(State::Backoff, None, death(2, missing, Cause::ExecFailed)),
            entered(State::Cooldown, None, None),
            entered(State::Invalid, None, None),
            Happening::Removed,
        ] {
            let events = [entered(State::Starting, Some(2), None), entered(State::Running, Some(2), None), last];
            assert_eq!(is(&story(Order::Start, State::Stopped, &events)), Is::Failed, "{:?}", events[2]);
            assert_eq!(is(&story(Order::Restart, State::Running, &events)), Is::Failed, "{:?}", events[2]);
        }
        let verdict = story(Order::Start, State::Stopped, &[entered(State::Backoff, None, exited(2))]);
        assert_eq!(verdict, Verdict::Failed("exited with code 3 (exit-code); now backoff: because".into()));
    }

    #[test]
    fn a_restart_that_ended_a_later_run_than_was_surveyed_goes_on() {
        let ours = entered(State::Starting, Some(3), death(2, Ending::Exited(0), Cause::Stop));
        let verdict = story(Order::Restart, State::Running, &[ours]);
        assert!(matches!(is(&verdict), Is::Pending(_)), "{verdict:?}");
    }

    #[test]
    fn a_start_that_ends_by_success_and_is_left_is_a_success() {
        let ended = entered(State::Exited, None, death(1, Ending::Exited(0), Cause::Success));
        assert_eq!(is(&story(Order::Start, State::Stopped, &[ended])), Is::Done);
    }

    #[test]
    fn an_unsettled_run_that_dies_fails_its_second_start() {
        let killed = death(1, Ending::Killed { signal: Signal::KILL, core: false }, Cause::Signal);
        assert_eq!(is(&story(Order::Start, State::Running, &[entered(State::Starting, Some(2), killed)])), Is::Failed);
    }

    #[test]
    fn a_run_that_somebody_stops_is_not_counted_as_settled() {
        let (mut watch, _) = Watch::begin(Order::Start, SETTLE, &status(State::Stopped, None, HOUR), at(0));
        watch.happened(at(10), &entered(State::Running, Some(1), None));
        watch.happened(at(20), &entered(State::Stopping, Some(1), None));
        assert_eq!(is(&watch.at(at(2_000))), Is::Pending(35_000));
    }

    #[test]
    fn a_restart_waits_for_another_run() {
        let old = death(1, Ending::Exited(0), Cause::Stop);
        let stopping = entered(State::Stopping, Some(1), None);
        for replaced in [
            entered(State::Starting, Some(2), old),
            entered(State::Stopped, None, old),
            entered(State::Backoff, None, old),
        ] {
            let mut events = vec![stopping.clone(), replaced];
            assert_eq!(is(&story(Order::Restart, State::Running, &events)), Is::Pending(50_000), "{:?}", events[1]);
            events.push(entered(State::Running, Some(2), None));
            assert_eq!(is(&story(Order::Restart, State::Running, &events)), Is::Pending(1_030), "{:?}", events[1]);
        }
        // The old run is seen once more, with another reason: it is not the one that has to settle.
        assert_eq!(
            is(&story(Order::Restart, State::Running, &[entered(State::Running, Some(1), None)])),
            Is::Pending(50_000)
        );
    }

    #[test]
    fn a_start_of_a_stopping_service_waits_for_its_end_first() {
        let old = death(1, Ending::Exited(0), Cause::Stop);
        let events = [entered(State::Starting, Some(2), old), entered(State::Running, Some(2), None)];
        assert_eq!(is(&story(Order::Start, State::Stopping, &events)), Is::Pending(1_020));
    }

    #[test]
    fn a_stop_is_done_when_nothing_runs() {
        let ended = death(1, Ending::Exited(0), Cause::Stop);
        for last in [
            entered(State::Stopped, None, ended),
            entered(State::Stopped, None, None),
            entered(State::Exited, None, ended),
            entered(State::Failed, None, ended),
            Happening::Removed,
        ] {
            let events = [entered(State::Stopping, Some(1), None), last];
            assert_eq!(is(&story(Order::Stop, State::Running, &events)), Is::Done, "{:?}", events[1]);
        }
    }

    #[test]
    fn nothing_is_waited_for_without_end() {
        let (mut stop, _) = Watch::begin(Order::Stop, SETTLE, &status(State::Running, Some(run(1)), HOUR), at(0));
        stop.happened(at(10), &entered(State::Stopping, Some(1), None));
        assert_eq!(is(&stop.at(at(14_999))), Is::Pending(15_000));
        assert_eq!(stop.at(at(15_000)), Verdict::Failed("is still stopping: because".into()));
        let (start, _) = Watch::begin(Order::Start, SETTLE, &status(State::Stopped, None, HOUR), at(0));
        assert_eq!(start.at(at(35_000)), Verdict::Failed("is still stopped: as it was".into()));
    }

    #[test]
    fn a_survey_stands_for_the_events_that_were_missed() {
        let begin = || Watch::begin(Order::Start, SETTLE, &status(State::Stopped, None, HOUR), at(0)).0;
        let mut runs = status(State::Running, Some(run(2)), Duration::ZERO);
        runs.running_since = Some(at(300));
        assert_eq!(is(&begin().surveyed(&runs)), Is::Pending(1_300));

        let mut died = status(State::Cooldown, None, Duration::ZERO);
        died.deaths.extend(death(2, Ending::Exited(1), Cause::ExitCode));
        assert_eq!(is(&begin().surveyed(&died)), Is::Failed);

        let mut died_before = status(State::Starting, Some(run(3)), Duration::ZERO);
        died_before.deaths.extend(death(2, Ending::Exited(1), Cause::ExitCode));
        died_before.deaths[0].at = Moment::BOOT;
        assert_eq!(is(&begin().surveyed(&died_before)), Is::Pending(35_000));
    }

    #[test]
    fn without_a_settle_time_the_first_sight_is_enough() {
        let (mut watch, _) = Watch::begin(Order::Start, Duration::ZERO, &status(State::Stopped, None, HOUR), at(0));
        assert_eq!(is(&watch.happened(at(10), &entered(State::Running, Some(1), None))), Is::Done);
    }

    #[test]
    fn an_invalid_service_fails_with_its_problems() {
        let mut invalid = status(State::Invalid, None, HOUR);
        let problem =
            |line, message: &str| crate::conf::Problem { line, column: 2, message: message.into(), passing: false };
        invalid.conf_problems = vec![problem(1, "cmd is missing"), problem(3, "unknown key")];
        let (_, verdict) = Watch::begin(Order::Start, SETTLE, &invalid, at(0));
        let expected = "/c/web.conf:1:2: cmd is missing; /c/web.conf:3:2: unknown key";
        assert_eq!(verdict, Verdict::Failed(expected.into()));
    }
}
