//! Notes as bytes: a byte that says the form, then the fields one after the other, small numbers short (postcard's form).
//!
//! A note is written at every step of every service and kept in memory by keeper and herder, so it is short: some 40 bytes,
//! and 20 for each death. What is written here has names and numbers of its own, so that neither a renamed variant nor
//! another order of steps changes the form. A later version may append fields (an older one leaves what it does not know,
//! a newer one takes the end of the bytes for the default) and variants; whatever else changes is another form.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Window;
use super::note::{Because, Note, Obstacle, Phase, Rung, Then};
use crate::model::{Cause, Death, Ending, LaunchError, Moment, RunId, Signal, Stage, Wanted};

/// The first byte of every note.
const FORM: u8 = 1;

/// Bytes that are no note.
#[derive(Debug, thiserror::Error)]
pub enum BadNote {
    /// They are of another form, which another version wrote.
    #[error("not a note of this form")]
    Form,
    /// They are torn.
    #[error("not a whole note")]
    Shape(#[from] postcard::Error),
    /// A number in them has no meaning.
    #[error("{number} is no {what} in a note")]
    Meaning {
        /// What it should be.
        what: &'static str,
        /// What is there.
        number: u8,
    },
}

impl Note {
    /// The note as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(&Written::from(self), vec![FORM])
            .expect("a note is made of plain values, and memory grows as it needs")
    }

    /// The note that [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// The bytes are torn, or of a version that says what this one can't understand.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadNote> {
        let Some((&FORM, fields)) = bytes.split_first() else { return Err(BadNote::Form) };
        let (written, _later) = postcard::take_from_bytes::<Written>(fields)?;
        written.read()
    }
}

/// Nanoseconds after boot or of a span.
type Nanos = u64;

#[derive(Serialize, Deserialize)]
struct Written {
    /// The herd of all runs that do not name another one.
    herd: u64,
    up: bool,
    phase: WrittenPhase,
    because: u8,
    since: Nanos,
    window: Vec<Nanos>,
    last_wait: Option<Nanos>,
    restarts: u64,
    deaths: Vec<WrittenDeath>,
}

#[derive(Serialize, Deserialize)]
struct WrittenRun {
    herd: Option<u64>,
    number: u64,
}

#[derive(Serialize, Deserialize)]
enum WrittenPhase {
    Stopped,
    Starting { run: WrittenRun },
    Running { run: WrittenRun, pid: u32, began: Nanos },
    Stopping { run: WrittenRun, alive: Option<(u32, Nanos)>, rung: WrittenRung, then: WrittenThen, uid: Option<u32> },
    Backoff { until: Nanos },
    Exceeded,
    Cooldown { until: Nanos, wait: Nanos },
    Exited,
    Failed,
}

#[derive(Serialize, Deserialize)]
enum WrittenRung {
    Asked { signal: u8, until: Nanos },
    Killed { until: Nanos },
    Stuck { state: Option<char> },
}

#[derive(Serialize, Deserialize)]
enum WrittenThen {
    Stay,
    Start,
    Leave,
    Overdue { stage: u8 },
}

#[derive(Serialize, Deserialize)]
struct WrittenDeath {
    at: Nanos,
    run: WrittenRun,
    lived: Nanos,
    cause: u8,
    ending: WrittenEnding,
}

#[derive(Serialize, Deserialize)]
enum WrittenEnding {
    Exited { code: u8 },
    Killed { signal: u8, core: bool },
    NotLaunched { stage: u8, errno: i32 },
    Lost,
    OomKilled,
}

/// By their numbers in notes, from 0: later ones are appended.
const BECAUSE: [Because; 8] = [
    Because::Loaded,
    Because::Changed,
    Because::Disabled,
    Because::Unwanted,
    Because::Operator,
    Because::Shutdown,
    Because::Death,
    Because::CooledDown,
];

/// As above.
const CAUSES: [Cause; 10] = [
    Cause::Success,
    Cause::ExitCode,
    Cause::Signal,
    Cause::CoreDump,
    Cause::OomKill,
    Cause::Stop,
    Cause::StopTimeout,
    Cause::ExecFailed,
    Cause::Resources,
    Cause::Lost,
];

/// As above.
const STAGES: [Stage; 12] = [
    Stage::EnvFile,
    Stage::User,
    Stage::Fork,
    Stage::Session,
    Stage::Limits,
    Stage::Stdio,
    Stage::Groups,
    Stage::Gid,
    Stage::Uid,
    Stage::Cwd,
    Stage::Signals,
    Stage::Exec,
];

/// The number of one of a few; one that is not in the list has the number of none.
fn number<T: PartialEq>(list: &[T], of: T) -> u8 {
    list.iter().position(|known| *known == of).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
}

fn numbered<T: Copy>(list: &[T], what: &'static str, number: u8) -> Result<T, BadNote> {
    list.get(usize::from(number)).copied().ok_or(BadNote::Meaning { what, number })
}

fn nanos(span: Duration) -> Nanos {
    u64::try_from(span.as_nanos()).unwrap_or(Nanos::MAX)
}

fn stamp(moment: Moment) -> Nanos {
    nanos(moment.since_boot())
}

fn span(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos)
}

fn moment(nanos: Nanos) -> Moment {
    Moment::after_boot(span(nanos))
}

fn signal_number(signal: Signal) -> u8 {
    u8::try_from(signal.number()).expect("signals are 1 to 64")
}

fn signal(number: u8) -> Result<Signal, BadNote> {
    Signal::from_number(number.into()).map_err(|_| BadNote::Meaning { what: "signal", number })
}

fn stage(number: u8) -> Result<Stage, BadNote> {
    numbered(&STAGES, "stage", number)
}

impl From<&Note> for Written {
    fn from(note: &Note) -> Self {
        let newest = note.phase.run().or_else(|| note.deaths.front().map(|death| death.run));
        let herd = newest.map_or(0, |run| run.herd);
        Self {
            herd,
            up: note.wanted == Wanted::Up,
            phase: WrittenPhase::of(&note.phase, herd),
            because: number(&BECAUSE, note.because),
            since: stamp(note.since),
            window: note.window.restarts().map(stamp).collect(),
            last_wait: note.last_wait.map(nanos),
            restarts: note.restarts,
            deaths: note.deaths.iter().map(|death| WrittenDeath::of(death, herd)).collect(),
        }
    }
}

impl Written {
    fn read(self) -> Result<Note, BadNote> {
        let herd = self.herd;
        Ok(Note {
            wanted: if self.up { Wanted::Up } else { Wanted::Down },
            phase: self.phase.read(herd)?,
            because: numbered(&BECAUSE, "reason", self.because)?,
            since: moment(self.since),
            window: Window::of(self.window.into_iter().map(moment)),
            last_wait: self.last_wait.map(span),
            restarts: self.restarts,
            deaths: self.deaths.into_iter().map(|death| death.read(herd)).collect::<Result<_, _>>()?,
        })
    }
}

impl WrittenRun {
    fn of(run: RunId, herd: u64) -> Self {
        Self { herd: Some(run.herd).filter(|other| *other != herd), number: run.number }
    }

    fn read(self, herd: u64) -> RunId {
        RunId { herd: self.herd.unwrap_or(herd), number: self.number }
    }
}

impl WrittenPhase {
    fn of(phase: &Phase, herd: u64) -> Self {
        let written = |run| WrittenRun::of(run, herd);
        match *phase {
            Phase::Stopped => Self::Stopped,
            Phase::Starting { run } => Self::Starting { run: written(run) },
            Phase::Running { run, pid, began } => Self::Running { run: written(run), pid, began: stamp(began) },
            Phase::Stopping { run, alive, rung, then, obstacle } => Self::Stopping {
                run: written(run),
                alive: alive.map(|(pid, began)| (pid, stamp(began))),
                rung: match rung {
                    Rung::Asked { signal, until } => {
                        WrittenRung::Asked { signal: signal_number(signal), until: stamp(until) }
                    }
                    Rung::Killed { until } => WrittenRung::Killed { until: stamp(until) },
                    Rung::Stuck { state } => WrittenRung::Stuck { state },
                },
                then: match then {
                    Then::Stay => WrittenThen::Stay,
                    Then::Start => WrittenThen::Start,
                    Then::Leave => WrittenThen::Leave,
                    Then::Overdue(stage) => WrittenThen::Overdue { stage: number(&STAGES, stage) },
                },
                uid: obstacle.map(|Obstacle::Uid(uid)| uid),
            },
            Phase::Backoff { until } => Self::Backoff { until: stamp(until) },
            Phase::Exceeded => Self::Exceeded,
            Phase::Cooldown { until, wait } => Self::Cooldown { until: stamp(until), wait: nanos(wait) },
            Phase::Exited => Self::Exited,
            Phase::Failed => Self::Failed,
        }
    }

    fn read(self, herd: u64) -> Result<Phase, BadNote> {
        Ok(match self {
            Self::Stopped => Phase::Stopped,
            Self::Starting { run } => Phase::Starting { run: run.read(herd) },
            Self::Running { run, pid, began } => Phase::Running { run: run.read(herd), pid, began: moment(began) },
            Self::Stopping { run, alive, rung, then, uid } => Phase::Stopping {
                run: run.read(herd),
                alive: alive.map(|(pid, began)| (pid, moment(began))),
                rung: match rung {
                    WrittenRung::Asked { signal: number, until } => {
                        Rung::Asked { signal: signal(number)?, until: moment(until) }
                    }
                    WrittenRung::Killed { until } => Rung::Killed { until: moment(until) },
                    WrittenRung::Stuck { state } => Rung::Stuck { state },
                },
                then: match then {
                    WrittenThen::Stay => Then::Stay,
                    WrittenThen::Start => Then::Start,
                    WrittenThen::Leave => Then::Leave,
                    WrittenThen::Overdue { stage: number } => Then::Overdue(stage(number)?),
                },
                obstacle: uid.map(Obstacle::Uid),
            },
            Self::Backoff { until } => Phase::Backoff { until: moment(until) },
            Self::Exceeded => Phase::Exceeded,
            Self::Cooldown { until, wait } => Phase::Cooldown { until: moment(until), wait: span(wait) },
            Self::Exited => Phase::Exited,
            Self::Failed => Phase::Failed,
        })
    }
}

impl WrittenDeath {
    fn of(death: &Death, herd: u64) -> Self {
        Self {
            at: stamp(death.at),
            run: WrittenRun::of(death.run, herd),
            lived: nanos(death.lived),
            cause: number(&CAUSES, death.cause),
            ending: match death.ending {
                Ending::Exited(code) => WrittenEnding::Exited { code },
                Ending::Killed { signal, core } => WrittenEnding::Killed { signal: signal_number(signal), core },
                Ending::NotLaunched(LaunchError { stage, errno }) => {
                    WrittenEnding::NotLaunched { stage: number(&STAGES, stage), errno }
                }
                Ending::Lost => WrittenEnding::Lost,
                Ending::OomKilled => WrittenEnding::OomKilled,
            },
        }
    }

    fn read(self, herd: u64) -> Result<Death, BadNote> {
        Ok(Death {
            at: moment(self.at),
            run: self.run.read(herd),
            lived: span(self.lived),
            cause: numbered(&CAUSES, "cause", self.cause)?,
            ending: match self.ending {
                WrittenEnding::Exited { code } => Ending::Exited(code),
                WrittenEnding::Killed { signal: number, core } => Ending::Killed { signal: signal(number)?, core },
                WrittenEnding::NotLaunched { stage: number, errno } => {
                    Ending::NotLaunched(LaunchError { stage: stage(number)?, errno })
                }
                WrittenEnding::Lost => Ending::Lost,
                WrittenEnding::OomKilled => Ending::OomKilled,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A note with everything in it that has a number of its own.
    fn eventful() -> Note {
        let run = |herd, number| RunId { herd, number };
        let death = |number, cause, ending| Death { at: moment(3), run: run(7, number), lived: span(2), ending, cause };
        let launch = |stage| Ending::NotLaunched(LaunchError { stage, errno: libc::ENOENT });
        let causes = CAUSES.iter().enumerate().map(|(at, cause)| death(at as u64, *cause, Ending::Exited(at as u8)));
        let stages = STAGES.iter().map(|stage| death(1, Cause::ExecFailed, launch(*stage)));
        Note {
            wanted: Wanted::Up,
            phase: Phase::Running { run: run(7, 300), pid: 300, began: moment(9) },
            window: Window::of([moment(1), moment(2)]),
            last_wait: Some(span(5)),
            restarts: 3,
            deaths: causes
                .chain(stages)
                .chain([Death { run: run(8, 1), ..death(1, Cause::Lost, Ending::Lost) }])
                .collect(),
            ..Note::new(Moment::BOOT)
        }
    }

    #[test]
    fn what_is_written_is_read_and_the_form_stays() {
        for note in [Note::new(Moment::BOOT), eventful()] {
            assert_eq!(Note::from_bytes(&note.to_bytes()).unwrap(), note);
        }
        // Notes of an earlier build are read as they were meant. Whoever has to change this needs another form.
        assert_eq!(Note::new(moment(300)).to_bytes(), [1, 0, 0, 0, 2, 0xac, 2, 0, 0, 0, 0]);
        let eventful = eventful();
        let short = Note { deaths: eventful.deaths.iter().rev().take(2).copied().collect(), ..eventful };
        let (head, deaths) = ([1, 7, 1, 2, 0, 0xac, 2, 0xac, 2, 9, 2, 0, 2, 1, 2, 1, 5, 3, 2], [3, 1, 8, 1, 2, 9, 3]);
        let more_deaths = [3, 0, 1, 2, 7, 2, 11, 4];
        assert_eq!(short.to_bytes(), [&head[..], &deaths, &more_deaths].concat());
    }

    #[test]
    fn every_reason_has_a_number() {
        for (at, because) in BECAUSE.into_iter().enumerate() {
            assert_eq!(usize::from(number(&BECAUSE, because)), at);
        }
        assert!(Cause::ALL.iter().all(|(cause, _)| CAUSES.contains(cause)));
        assert!(Stage::ALL.iter().all(|(stage, _)| STAGES.contains(stage)));
    }

    #[test]
    fn torn_or_foreign_bytes_are_no_note() {
        let bytes = eventful().to_bytes();
        for end in 0..bytes.len() {
            assert!(Note::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
        }
        let mut foreign = Note::new(Moment::BOOT).to_bytes();
        foreign[4] = 200;
        assert!(matches!(Note::from_bytes(&foreign), Err(BadNote::Meaning { what: "reason", number: 200 })));
        foreign[0] = b'{';
        assert!(matches!(Note::from_bytes(&foreign), Err(BadNote::Form)));
    }

    #[test]
    fn a_note_with_fields_of_a_later_version_is_read() {
        let mut later = eventful().to_bytes();
        later.extend(*b"later");
        assert_eq!(Note::from_bytes(&later).unwrap(), eventful());
    }
}
