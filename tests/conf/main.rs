//! The conf room from outside: what a text, a directory and a check say.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod check;
mod directory;
mod property;
mod settings;
mod values;

use daemonherder::conf::{AccountError, Accounts, Problem, Settings, lower};
use daemonherder::model::ServiceSpec;

/// Knows the user `app` (1000), the group `apps` (2000), and a name service that fails for `broken`.
struct Known {
    /// Whom the daemon runs as.
    own: (u32, u32),
}

const ROOT: Known = Known { own: (0, 0) };
const APP: Known = Known { own: (1000, 2000) };

impl Known {
    fn find(what: &'static str, name: &str, known: &[(&str, u32)]) -> Result<u32, AccountError> {
        match known.iter().find(|(known, _)| *known == name) {
            Some((_, number)) => Ok(*number),
            None if name == "broken" => {
                Err(AccountError::Failed { what, whom: name.into(), source: nix::errno::Errno::EIO })
            }
            None => Err(AccountError::Unknown { what, whom: name.into() }),
        }
    }
}

impl Accounts for Known {
    fn own(&self) -> (u32, u32) {
        self.own
    }
    fn user(&self, name: &str) -> Result<u32, AccountError> {
        Self::find("user", name, &[("app", 1000), ("root", 0)])
    }
    fn group(&self, name: &str) -> Result<u32, AccountError> {
        Self::find("group", name, &[("apps", 2000), ("root", 0)])
    }
}

fn lowered(text: &str) -> Result<ServiceSpec, Vec<Problem>> {
    lower(&"web".parse().unwrap(), text, &Settings::default(), &ROOT)
}

/// The spec of a good conf.
#[track_caller]
fn good(text: &str) -> ServiceSpec {
    lowered(text).unwrap_or_else(|problems| panic!("{text}: {}", lines(&problems)))
}

/// The problems of a broken one, one a line.
#[track_caller]
fn problems(text: &str) -> String {
    match lowered(text) {
        Ok(spec) => panic!("{text} is good: {spec:?}"),
        Err(problems) => lines(&problems),
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
