//! Notes as bytes: JSON with names of its own, so that neither a renamed variant nor a later field breaks a note that an
//! older or newer version wrote.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Window;
use super::note::{Because, Note, Obstacle, Phase, Rung, Then};
use crate::model::{Cause, Death, Ending, LaunchError, Moment, RunId, Signal, Stage, Wanted};

/// Bytes that are no note.
#[derive(Debug, thiserror::Error)]
pub enum BadNote {
    /// They are not JSON of the right shape.
    #[error("not a note")]
    Shape(#[from] serde_json::Error),
    /// A name or number in them has no meaning.
    #[error("{0:?} has no meaning in a note")]
    Meaning(String),
}

impl Note {
    /// The note as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let written = Written::from(self);
        serde_json::to_vec(&written).expect("a value of plain fields has no map with other keys than strings")
    }

    /// The note that [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// The bytes are torn, or of a version that says what this one can't understand.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadNote> {
        serde_json::from_slice::<Written>(bytes)?.read()
    }
}

/// Nanoseconds after boot or of a span.
type Nanos = u64;

#[derive(Serialize, Deserialize)]
struct Written {
    up: bool,
    phase: WrittenPhase,
    because: String,
    since: Nanos,
    window: Vec<Nanos>,
    last_wait: Option<Nanos>,
    restarts: u64,
    deaths: Vec<WrittenDeath>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
enum WrittenPhase {
    Stopped,
    Starting { run: String },
    Running { run: String, pid: u32, began: Nanos },
    Stopping { run: String, alive: Option<(u32, Nanos)>, rung: WrittenRung, then: String, uid: Option<u32> },
    Backoff { until: Nanos },
    Exceeded,
    Cooldown { until: Nanos, wait: Nanos },
    Exited,
    Failed,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
enum WrittenRung {
    Asked { signal: i64, until: Nanos },
    Killed { until: Nanos },
    Stuck { state: Option<char> },
}

#[derive(Serialize, Deserialize)]
struct WrittenDeath {
    at: Nanos,
    run: String,
    lived: Nanos,
    cause: String,
    ending: WrittenEnding,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
enum WrittenEnding {
    Exited { code: u8 },
    Killed { signal: i64, core: bool },
    NotLaunched { stage: String, errno: i32 },
    Lost,
}

const BECAUSE: [(Because, &str); 8] = [
    (Because::Loaded, "loaded"),
    (Because::Changed, "changed"),
    (Because::Disabled, "disabled"),
    (Because::Unwanted, "unwanted"),
    (Because::Operator, "operator"),
    (Because::Shutdown, "shutdown"),
    (Because::Death, "death"),
    (Because::CooledDown, "cooled-down"),
];

const OVERDUE: &str = "overdue:";

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

fn run(text: &str) -> Result<RunId, BadNote> {
    text.parse().map_err(|_| BadNote::Meaning(text.to_owned()))
}

fn signal(number: i64) -> Result<Signal, BadNote> {
    Signal::from_number(number).map_err(|_| BadNote::Meaning(number.to_string()))
}

fn stage(name: &str) -> Result<Stage, BadNote> {
    Stage::from_name(name).ok_or_else(|| BadNote::Meaning(name.to_owned()))
}

impl From<&Note> for Written {
    fn from(note: &Note) -> Self {
        let because = BECAUSE.iter().find(|(because, _)| *because == note.because).map_or("", |(_, name)| name);
        Self {
            up: note.wanted == Wanted::Up,
            phase: (&note.phase).into(),
            because: because.to_owned(),
            since: stamp(note.since),
            window: note.window.restarts().map(stamp).collect(),
            last_wait: note.last_wait.map(nanos),
            restarts: note.restarts,
            deaths: note.deaths.iter().map(WrittenDeath::from).collect(),
        }
    }
}

impl Written {
    fn read(self) -> Result<Note, BadNote> {
        let because = BECAUSE.iter().find(|(_, name)| *name == self.because).map(|(because, _)| *because);
        Ok(Note {
            wanted: if self.up { Wanted::Up } else { Wanted::Down },
            phase: self.phase.read()?,
            because: because.ok_or(BadNote::Meaning(self.because))?,
            since: moment(self.since),
            window: Window::of(self.window.into_iter().map(moment)),
            last_wait: self.last_wait.map(span),
            restarts: self.restarts,
            deaths: self.deaths.into_iter().map(WrittenDeath::read).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Phase> for WrittenPhase {
    fn from(phase: &Phase) -> Self {
        match *phase {
            Phase::Stopped => Self::Stopped,
            Phase::Starting { run } => Self::Starting { run: run.to_string() },
            Phase::Running { run, pid, began } => Self::Running { run: run.to_string(), pid, began: stamp(began) },
            Phase::Stopping { run, alive, rung, then, obstacle } => Self::Stopping {
                run: run.to_string(),
                alive: alive.map(|(pid, began)| (pid, stamp(began))),
                rung: match rung {
                    Rung::Asked { signal, until } => {
                        WrittenRung::Asked { signal: signal.number().into(), until: stamp(until) }
                    }
                    Rung::Killed { until } => WrittenRung::Killed { until: stamp(until) },
                    Rung::Stuck { state } => WrittenRung::Stuck { state },
                },
                then: match then {
                    Then::Stay => "stay".to_owned(),
                    Then::Start => "start".to_owned(),
                    Then::Leave => "leave".to_owned(),
                    Then::Overdue(stage) => format!("{OVERDUE}{}", stage.name()),
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
}

impl WrittenPhase {
    fn read(self) -> Result<Phase, BadNote> {
        Ok(match self {
            Self::Stopped => Phase::Stopped,
            Self::Starting { run: id } => Phase::Starting { run: run(&id)? },
            Self::Running { run: id, pid, began } => Phase::Running { run: run(&id)?, pid, began: moment(began) },
            Self::Stopping { run: id, alive, rung, then, uid } => Phase::Stopping {
                run: run(&id)?,
                alive: alive.map(|(pid, began)| (pid, moment(began))),
                rung: match rung {
                    WrittenRung::Asked { signal: number, until } => {
                        Rung::Asked { signal: signal(number)?, until: moment(until) }
                    }
                    WrittenRung::Killed { until } => Rung::Killed { until: moment(until) },
                    WrittenRung::Stuck { state } => Rung::Stuck { state },
                },
                then: match (then.as_str(), then.strip_prefix(OVERDUE)) {
                    ("stay", _) => Then::Stay,
                    ("start", _) => Then::Start,
                    ("leave", _) => Then::Leave,
                    (_, Some(name)) => Then::Overdue(stage(name)?),
                    (_, None) => return Err(BadNote::Meaning(then)),
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

impl From<&Death> for WrittenDeath {
    fn from(death: &Death) -> Self {
        Self {
            at: stamp(death.at),
            run: death.run.to_string(),
            lived: nanos(death.lived),
            cause: death.cause.name().to_owned(),
            ending: match death.ending {
                Ending::Exited(code) => WrittenEnding::Exited { code },
                Ending::Killed { signal, core } => WrittenEnding::Killed { signal: signal.number().into(), core },
                Ending::NotLaunched(LaunchError { stage, errno }) => {
                    WrittenEnding::NotLaunched { stage: stage.name().to_owned(), errno }
                }
                Ending::Lost => WrittenEnding::Lost,
            },
        }
    }
}

impl WrittenDeath {
    fn read(self) -> Result<Death, BadNote> {
        Ok(Death {
            at: moment(self.at),
            run: run(&self.run)?,
            lived: span(self.lived),
            cause: Cause::from_name(&self.cause).ok_or(BadNote::Meaning(self.cause))?,
            ending: match self.ending {
                WrittenEnding::Exited { code } => Ending::Exited(code),
                WrittenEnding::Killed { signal: number, core } => Ending::Killed { signal: signal(number)?, core },
                WrittenEnding::NotLaunched { stage: name, errno } => {
                    Ending::NotLaunched(LaunchError { stage: stage(&name)?, errno })
                }
                WrittenEnding::Lost => Ending::Lost,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_or_foreign_bytes_are_no_note() {
        let bytes = Note::new(Moment::BOOT).to_bytes();
        for end in 0..bytes.len() {
            assert!(Note::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
        }
        let foreign = String::from_utf8(bytes).unwrap().replace("disabled", "from the future");
        assert!(matches!(Note::from_bytes(foreign.as_bytes()), Err(BadNote::Meaning(_))));
    }

    #[test]
    fn a_note_with_fields_of_a_later_version_is_read() {
        let text = String::from_utf8(Note::new(Moment::BOOT).to_bytes()).unwrap();
        let later = text.replacen('{', r#"{"from_the_future":[1],"#, 1);
        assert_eq!(Note::from_bytes(later.as_bytes()).unwrap(), Note::new(Moment::BOOT));
    }
}
