//! The environment of a service: the same whoever started the daemon.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::model::{EnvChange, Limit, RunId, ServiceId};
use crate::os;
use crate::os::account::{self, Account, AccountError};

/// Where programs are looked for, unless a conf says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LANG: &str = "C.UTF-8";

/// What services have from the daemon: taken once, when it starts, and the same for every launch.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// Whose process the daemon is.
    pub(super) account: Account,
    /// RLIMIT_NOFILE as it was then, whatever the daemon raises its own to.
    pub(super) open_files: Option<Limit>,
    /// The daemon's own environment, from which `inherit_env` picks.
    pub(super) environment: BTreeMap<OsString, OsString>,
}

/// A service's variables while they are put together.
pub(super) struct Environment(BTreeMap<OsString, OsString>);

impl Baseline {
    /// As this one, with another number of open files: that which the daemon was started with.
    pub(crate) fn with_open_files(self, open_files: Option<Limit>) -> Self {
        Self { open_files, ..self }
    }

    /// What this process has now. It asks the name service who it is; a user that this does not know has the number as
    /// name and HOME from the environment.
    pub fn of_this_process() -> Self {
        let uid = nix::unistd::Uid::effective().as_raw();
        let account = account::by_uid(uid).unwrap_or_else(|error| {
            if let AccountError::Failed { .. } = error {
                log::warn!("{error}; services get HOME from the daemon's environment");
            }
            let home = env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
            let gid = nix::unistd::Gid::effective().as_raw();
            Account { uid, gid, name: uid.to_string(), home, shell: PathBuf::from("/bin/sh") }
        });
        Self { account, open_files: os::open_files(), environment: env::vars_os().collect() }
    }
}

impl Environment {
    /// The variables that a service of this user has before any conf adds to them.
    pub(super) fn of(account: &Account, baseline: &Baseline) -> Self {
        let mut variables = Self(BTreeMap::new());
        variables.set("HOME", &account.home);
        variables.set("USER", &account.name);
        variables.set("LOGNAME", &account.name);
        variables.set("SHELL", &account.shell);
        variables.set("PATH", PATH);
        variables.set("LANG", LANG);
        variables.inherit("TZ", baseline);
        variables
    }

    /// Adds what confs say, in their order, with `file` being what `env_file` holds.
    pub(super) fn change(&mut self, change: &EnvChange, file: Vec<(OsString, OsString)>, baseline: &Baseline) {
        for name in &change.herd.inherit {
            self.inherit(name, baseline);
        }
        self.apply(&change.herd.variables);
        self.0.extend(file);
        self.apply(&change.service);
    }

    /// The directories in which the service's programs are looked for. A service without PATH has the usual one.
    pub(super) fn path(&self) -> &OsStr {
        self.0.get(OsStr::new("PATH")).map_or(OsStr::new(PATH), OsString::as_os_str)
    }

    /// All variables, the run's mark last, which nothing overrides. `None` where one holds a NUL.
    pub(super) fn finish(mut self, service: &ServiceId, run: RunId) -> Option<Vec<CString>> {
        const MARKS: [&str; 2] = ["DHERDER_SERVICE", "DHERDER_RUN"];
        let [service, run] = [service.to_string(), run.to_string()].map(OsString::from);
        for mark in MARKS {
            self.0.remove(OsStr::new(mark));
        }
        let marks = MARKS.map(OsString::from).into_iter().zip([service, run]);
        self.0.into_iter().chain(marks).map(|(name, value)| variable(name, &value)).collect()
    }

    fn apply(&mut self, changes: &BTreeMap<String, Option<String>>) {
        for (name, value) in changes {
            match value {
                Some(value) => self.set(name, value),
                None => _ = self.0.remove(OsStr::new(name)),
            }
        }
    }

    fn inherit(&mut self, name: &str, baseline: &Baseline) {
        if let Some(value) = baseline.environment.get(OsStr::new(name)) {
            self.set(name, value);
        }
    }

    fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.0.insert(name.into(), value.as_ref().to_owned());
    }
}

/// Reads the lines of an `env_file`: `NAME=value`, empty ones and those that begin with `#` aside. `export ` before the
/// name is allowed, and a value in single or double quotes is what is between them; nothing else is interpreted. `None`
/// where a line is no such line.
pub(super) fn parse_file(text: &[u8]) -> Option<Vec<(OsString, OsString)>> {
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<(OsString, OsString)> {
    let line = line.strip_prefix(b"export ").unwrap_or(line);
    let equals = line.iter().position(|&byte| byte == b'=')?;
    let (name, value) = (line.get(..equals)?.trim_ascii(), line.get(equals + 1..)?.trim_ascii());
    let value = match value {
        [open @ (b'\'' | b'"'), inner @ .., close] if open == close => inner,
        bare => bare,
    };
    let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_owned());
    (!name.is_empty() && !line.contains(&0)).then(|| (owned(name), owned(value)))
}

fn variable(name: OsString, value: &OsStr) -> Option<CString> {
    let mut text = name.into_vec();
    text.push(b'=');
    text.extend_from_slice(value.as_bytes());
    CString::new(text).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::HerdEnv;

    const RUN: RunId = RunId { herd: 0xab, number: 3 };

    fn baseline(environment: &[(&str, &str)]) -> Baseline {
        let environment = environment.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        let account =
            Account { uid: 7, gid: 8, name: "someone".into(), home: "/home/someone".into(), shell: "/bin/zsh".into() };
        Baseline { account, open_files: None, environment }
    }

    fn of(change: &EnvChange, file: &[u8], environment: &[(&str, &str)]) -> Vec<String> {
        let baseline = baseline(environment);
        let mut variables = Environment::of(&baseline.account, &baseline);
        variables.change(change, parse_file(file).unwrap(), &baseline);
        let variables = variables.finish(&"web".parse().unwrap(), RUN).unwrap();
        variables.into_iter().map(|variable| variable.into_string().unwrap()).collect()
    }

    #[test]
    fn a_service_has_the_same_variables_whoever_started_the_daemon() {
        let expected = [
            "HOME=/home/someone",
            "LANG=C.UTF-8",
            "LOGNAME=someone",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SHELL=/bin/zsh",
            "USER=someone",
            "DHERDER_SERVICE=web",
            "DHERDER_RUN=00000000000000ab-3",
        ];
        assert_eq!(of(&EnvChange::default(), b"", &[]), expected);
        let others = [("HOME", "/tmp"), ("PATH", "/evil"), ("LD_PRELOAD", "x"), ("SECRET", "y")];
        assert_eq!(of(&EnvChange::default(), b"", &others), expected);
    }

    #[test]
    fn later_layers_win_and_null_removes() {
        let some = |names: &[(&str, Option<&str>)]| {
            names.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
        };
        let change = EnvChange {
            herd: Arc::new(HerdEnv {
                inherit: ["A", "B", "C", "D", "ABSENT"].map(str::to_owned).to_vec(),
                variables: some(&[("B", Some("herd")), ("C", Some("herd")), ("D", Some("herd")), ("LANG", None)]),
            }),
            service: some(&[("D", Some("conf")), ("SHELL", None), ("DHERDER_RUN", Some("forged"))]),
        };
        let daemon = [("A", "own"), ("B", "own"), ("C", "own"), ("D", "own"), ("TZ", "Europe/Berlin")];
        let expected = [
            "A=own",
            "B=herd",
            "C=file",
            "D=conf",
            "HOME=/home/someone",
            "LOGNAME=someone",
            "PATH=/bin",
            "TZ=Europe/Berlin",
            "USER=someone",
            "DHERDER_SERVICE=web",
            "DHERDER_RUN=00000000000000ab-3",
        ];
        assert_eq!(of(&change, b"C=file\nD=file\nPATH=/bin\n", &daemon), expected);
    }

    #[test]
    fn a_file_of_variables_is_read_as_it_is_written() {
        let text =
            b"# a comment\n\n  A=1\r\nexport B = two words \nC='#x \"y\"'\nD=\"z\"\nE=\nF=a=b\nG='\nH=\"x'\nI=\xff\nA=2";
        let expected: [(&str, &[u8]); 10] = [
            ("A", b"1"),
            ("B", b"two words"),
            ("C", b"#x \"y\""),
            ("D", b"z"),
            ("E", b""),
            ("F", b"a=b"),
            ("G", b"'"),
            ("H", b"\"x'"),
            ("I", b"\xff"),
            ("A", b"2"),
        ];
        let expected = expected.map(|(name, value)| (name.into(), OsString::from_vec(value.to_owned())));
        assert_eq!(parse_file(text).unwrap(), expected);
        for bad in [&b"A"[..], b"=x", b"export =x", b"A=1\nB", b"A=x\0y", b"A\0=x"] {
            assert_eq!(parse_file(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_nul_in_a_variable_is_no_shorter_variable() {
        let baseline = baseline(&[("TZ", "a\0b")]);
        assert_eq!(Environment::of(&baseline.account, &baseline).finish(&"web".parse().unwrap(), RUN), None);
    }
}
