//! What must be said on a command line so that a process without a single variable finds the places of this one.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use sha2::{Digest, Sha256};

use super::places::real;
use super::{Overrides, Places, Surroundings};

/// The words for a bare process, and what tells its daemon from the user's others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bare {
    /// `--config-dir`, `--state-dir` and `--host`, as far as such a process would not come to the same by itself.
    pub words: Vec<OsString>,
    /// `daemonherder`; where words are needed, with eight hexadecimal digits that stand for them.
    pub name: String,
}

impl Bare {
    /// Compares these places with what a process with these surroundings would find.
    pub fn of(places: &Places, around: &Surroundings) -> Self {
        let mut said = Overrides::default();
        // One after the other: what the host and the confs are decides where the state is.
        let found = |said: &Overrides| Places::find(said, around).ok();
        if found(&said).is_none_or(|found| found.host != places.host) {
            said.host = Some(places.host.to_string());
        }
        if found(&said).is_none_or(|found| found.config_dir != places.config_dir) {
            said.config_dir = Some(places.config_dir.clone());
        }
        if found(&said).is_none_or(|found| found.state_dir != places.state_dir) {
            said.state_dir = Some(places.state_dir.clone());
        }
        let mut name = "daemonherder".to_owned();
        if said != Overrides::default() {
            name.push('-');
            // By another name of the same directory it is the same daemon.
            let really = Overrides { config_dir: said.config_dir.as_deref().map(real), ..said.clone() };
            let mut digest = Sha256::new();
            for word in words(really) {
                digest.update(word.as_bytes());
                digest.update([0]);
            }
            for byte in &digest.finalize()[..4] {
                let _ = write!(name, "{byte:02x}");
            }
        }
        Self { words: words(said), name }
    }
}

fn words(said: Overrides) -> Vec<OsString> {
    let Overrides { config_dir, state_dir, host } = said;
    let pairs = [
        ("--config-dir", config_dir.map(OsString::from)),
        ("--state-dir", state_dir.map(OsString::from)),
        ("--host", host.map(OsString::from)),
    ];
    pairs.into_iter().filter_map(|(flag, value)| Some([flag.into(), value?])).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words for what these flags mean to a process whose HOME is `/root`, where cron's is `/home/u`.
    fn said(line: &str, home: &str) -> (String, String) {
        let mut flags = Overrides::default();
        let mut words = line.split_whitespace().map(str::to_owned);
        while let (Some(flag), Some(value)) = (words.next(), words.next()) {
            match flag.as_str() {
                "--config-dir" => flags.config_dir = Some(value.into()),
                "--state-dir" => flags.state_dir = Some(value.into()),
                _ => flags.host = Some(value),
            }
        }
        let around =
            |home: &str| Surroundings { home: home.into(), kernel_host: "web1".into(), ..Surroundings::default() };
        let Bare { words, name } = Bare::of(&Places::find(&flags, &around(home)).unwrap(), &around("/home/u"));
        (words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" "), name)
    }

    #[test]
    fn only_what_a_bare_process_would_not_find_is_said() {
        let alone = |line| said(line, "/home/u").0;
        assert_eq!(said("", "/home/u"), (String::new(), "daemonherder".into()));
        assert_eq!(alone("--config-dir /home/u/.dherder --host web1"), "");
        assert_eq!(alone("--config-dir /srv/confs"), "--config-dir /srv/confs");
        assert_eq!(alone("--host web2"), "--host web2");
        assert_eq!(alone("--state-dir /run/x --host web2"), "--state-dir /run/x --host web2");
        // A HOME that is another than that of the passwd entry.
        let elsewhere = "--config-dir /tmp/h/.dherder --state-dir /tmp/h/.local/state/dherder/web1";
        assert_eq!(said("", "/tmp/h").0, elsewhere);
    }

    #[test]
    fn each_daemon_of_a_user_has_a_name_of_its_own() {
        let name = |line: &str| said(line, "/home/u").1;
        let directory = tempfile::tempdir().unwrap();
        let (at, link) = (directory.path().join("at"), directory.path().join("link"));
        std::fs::create_dir(&at).unwrap();
        std::os::unix::fs::symlink(&at, &link).unwrap();
        assert_eq!(name(&format!("--config-dir {}", at.display())), name(&format!("--config-dir {}", link.display())));
        let names = ["", "--config-dir /srv/a", "--config-dir /srv/b", "--state-dir /srv/a", "--host a"].map(name);
        assert!(names[1..].iter().all(|name| name.len() == "daemonherder-".len() + 8), "{names:?}");
        assert_eq!(std::collections::BTreeSet::from(names).len(), 5);
    }
}
