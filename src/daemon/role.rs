//! The words by which this program tells another process of its own what it is to be.
//!
//! They are for itself alone, and read without the command line's parser: most of that is text for people, and what a
//! process has once touched it keeps in memory. They are a contract between all versions, as what a keeper leaves is
//! (`keeper/handover`): `run --preflight`, `run --upgraded FD` and `run --upgraded FD --returned WORD`, each with
//! `--config-dir`, `--state-dir`, `--host` and perhaps `--detached`.

use std::ffi::{OsStr, OsString};

use crate::conf::{Overrides, Places};

/// A process of the daemon, as its words say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// What it is to be.
    pub(super) part: Part,
    /// Where things are.
    pub(super) places: Overrides,
    /// Started by [`detach()`](super::detach()): tells on standard output when it answers, and then lets go of the terminal.
    pub(super) detached: bool,
}

/// What a process of the daemon can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The first process, which keeps.
    Keeper,
    /// Started by a keeper: to decide what it keeps.
    Herder,
    /// A herder whose keeper has gone, and which is the keeper now.
    Successor {
        /// The herd was being stopped when the keeper went.
        ending: bool,
    },
    /// A program that a keeper lets look at what it would leave to it.
    Preflight,
    /// A program that has taken the place of another one in the keeper's process.
    Upgraded {
        /// The descriptor of what that one left.
        state: i32,
        /// The next one gave the place back: why, in a word.
        returned: Option<String>,
    },
}

impl Role {
    /// What these words, the program's own name first, make of a process; none where they are for the command line.
    pub fn of(words: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut words = words.into_iter().skip(1);
        words.next().filter(|verb| verb == "run")?;
        let (mut part, mut ending, mut word_back, mut detached) = (None, false, None, false);
        let mut places = Overrides::default();
        while let Some(word) = words.next() {
            let mut text = || words.next()?.into_string().ok();
            match word.to_str()? {
                "--keeper" => part = Some(Part::Keeper),
                "--herder" => part = Some(Part::Herder),
                "--successor" => part = Some(Part::Successor { ending: false }),
                "--preflight" => part = Some(Part::Preflight),
                "--upgraded" => part = Some(Part::Upgraded { state: text()?.parse().ok()?, returned: None }),
                "--ending" => ending = true,
                "--returned" => word_back = Some(text()?),
                "--detached" => detached = true,
                "--config-dir" => places.config_dir = Some(words.next()?.into()),
                "--state-dir" => places.state_dir = Some(words.next()?.into()),
                "--host" => places.host = Some(text()?),
                _ => return None,
            }
        }
        let part = match (part?, ending, word_back) {
            (Part::Successor { .. }, ending, None) => Part::Successor { ending },
            (Part::Upgraded { state, .. }, false, returned) => Part::Upgraded { state, returned },
            (part, false, None) => part,
            (..) => return None,
        };
        Some(Self { part, places, detached })
    }
}

/// The words of a role at these places, whatever becomes of the variables that they came from.
pub(super) fn words(role: &str, places: &Places, detached: bool) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["daemonherder", "run", role].map(OsString::from).into();
    let values: [(&str, &OsStr); 3] = [
        ("--config-dir", places.config_dir.as_os_str()),
        ("--state-dir", places.state_dir.as_os_str()),
        ("--host", places.host.as_str().as_ref()),
    ];
    words.extend(values.into_iter().flat_map(|(name, value)| [name.into(), value.to_owned()]));
    words.extend(detached.then(|| "--detached".into()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Part> {
        Role::of(["daemonherder"].into_iter().chain(line.split_whitespace()).map(OsString::from)).map(|role| role.part)
    }

    #[test]
    fn the_words_of_every_role_are_read() {
        let places = "--config-dir /c --state-dir /s --host h";
        let returned = Some("silent".to_owned());
        for (line, part) in [
            (format!("run --keeper {places}"), Part::Keeper),
            (format!("run --herder {places} --detached"), Part::Herder),
            (format!("run --successor {places}"), Part::Successor { ending: false }),
            (format!("run --successor {places} --detached --ending"), Part::Successor { ending: true }),
            (format!("run --preflight {places}"), Part::Preflight),
            (format!("run --upgraded 7 {places}"), Part::Upgraded { state: 7, returned: None }),
            (format!("run --upgraded 7 --returned silent {places}"), Part::Upgraded { state: 7, returned }),
        ] {
            assert_eq!(read(&line), Some(part), "{line}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let places = Places {
            config_dir: "/a b/c".into(),
            state_dir: "/s".into(),
            host: "h1".parse().unwrap(),
            socket: "/s/control.sock".into(),
        };
        let role = Role::of(words("--herder", &places, true)).unwrap();
        let overrides =
            Overrides { config_dir: Some("/a b/c".into()), state_dir: Some("/s".into()), host: Some("h1".to_owned()) };
        assert_eq!(role, Role { part: Part::Herder, places: overrides, detached: true });
    }

    #[test]
    fn what_people_say_is_left_to_the_command_line() {
        for line in [
            "",
            "run",
            "status",
            "run --detach",
            "--config-dir /c",
            "run --config-dir /c",
            "run --herder --wrong",
            "run --herder --ending",
            "run --keeper --returned silent",
            "run --upgraded",
            "run --upgraded x",
            "run --herder --host",
            "start --herder",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
