//! The systemd unit: its text, its place, and the commands that make systemd know it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::super::Failure;
use crate::os::cgroup::SUBGROUP;

/// Where systemd says that it runs (sd_booted(3)).
const SYSTEMD_RUNS: &str = "/run/systemd/system";

/// A unit for one daemon.
pub(super) struct Unit {
    /// For the machine, or for this user.
    pub(super) system: bool,
    /// Its name without the ending.
    pub(super) name: String,
    /// The directory of all units of its kind.
    pub(super) directory: PathBuf,
}

impl Unit {
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(self.service())
    }

    pub(super) fn service(&self) -> String {
        format!("{}.service", self.name)
    }

    /// The words of a `systemctl` command for it.
    pub(super) fn systemctl(&self, words: &[&str]) -> Vec<String> {
        let user = (!self.system).then_some("--user");
        ["systemctl"].into_iter().chain(user).chain(words.iter().copied()).map(str::to_owned).collect()
    }

    /// The text of the unit: the program, the words of its places, and the directories that have to be mounted.
    ///
    /// # Errors
    /// A word that no unit can hold.
    pub(super) fn text(&self, exe: &str, places: &[String], mounts: &[&str], revive: bool) -> Result<String, String> {
        let command = |verb: &str| {
            let words = [exe, verb].into_iter().chain(places.iter().map(String::as_str));
            Ok::<_, String>(words.map(quoted).collect::<Result<Vec<_>, _>>()?.join(" "))
        };
        let mounts = mounts.iter().map(|path| quoted(path)).collect::<Result<Vec<_>, _>>()?.join(" ");
        let (run, reload) = (command("run")?, command("reload")?);
        let (restart, why) = match revive {
            true => ("always", "# Whatever ends it, it comes back; only `systemctl stop` is meant."),
            false => (
                "on-abnormal",
                "# Installed with --no-revive: what has ended stays so until somebody starts it; what was killed comes back.",
            ),
        };
        let target = if self.system { "multi-user.target" } else { "default.target" };
        Ok(format!(
            "\
# Written by `daemonherder install --systemd`; `daemonherder uninstall` takes it away.
[Unit]
Description=daemonherder keeps a folder of services running
# The confs and the state may be on disks of their own.
RequiresMountsFor={mounts}
# It is never given up, however often it fails.
StartLimitIntervalSec=0

[Service]
# It says nothing when it is ready; started is when it could be executed.
Type=exec
ExecStart={run}
ExecReload={reload}
{why}
Restart={restart}
RestartSec=1s
# Its end is not the end of its services: the next one takes them over. It stops them itself when it is stopped.
KillMode=process
# Each service has its own time to end (stop.timeout), and is killed after that; this is longer than any of them.
TimeoutStopSec=10min
# Each service has a cgroup below this unit's; no process is in that itself, so that controllers can be given on.
Delegate=yes
DelegateSubgroup={SUBGROUP}
# A service that is killed for want of memory is restarted; the others go on.
OOMPolicy=continue
# All services count as this unit's tasks.
TasksMax=infinity
# The soft limit is what services get, the hard one is for the daemon's pipes and sockets.
LimitNOFILE=1024:524288

[Install]
WantedBy={target}
"
        ))
    }
}

/// A word as systemd reads it back (systemd.service(5), "Command Lines"; systemd.unit(5), "Specifiers").
fn quoted(word: &str) -> Result<String, String> {
    if word.contains(|c: char| c.is_control() || matches!(c, '\\' | '"' | '\'' | '$')) {
        return Err(format!("{word:?} has a character that is not written into a unit: choose another path"));
    }
    let escaped = word.replace('%', "%%");
    Ok(if word.contains(char::is_whitespace) || word.is_empty() { format!("\"{escaped}\"") } else { escaped })
}

/// Whether there is a systemd to be told anything.
pub(super) fn systemd_runs() -> bool {
    std::path::Path::new(SYSTEMD_RUNS).is_dir()
}

/// Runs a command.
///
/// # Errors
/// It fails.
pub(super) fn perform(words: &[String]) -> Result<(), Failure> {
    let failed =
        |why: String| Failure::Program { what: "tell systemd", program: words.join(" "), why: why.trim().to_owned() };
    let [program, arguments @ ..] = words else { return Ok(()) };
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(system: bool) -> Unit {
        Unit { system, name: "daemonherder-12345678".into(), directory: "/units".into() }
    }

    #[test]
    fn a_unit_says_what_is_run_and_why_so() {
        let places = ["--config-dir", "/srv/my confs"].map(str::to_owned);
        let text = unit(true).text("/usr/bin/daemonherder", &places, &["/srv/my confs", "/var/50%"], true).unwrap();
        insta::assert_snapshot!(text, @r#"
        # Written by `daemonherder install --systemd`; `daemonherder uninstall` takes it away.
        [Unit]
        Description=daemonherder keeps a folder of services running
        # The confs and the state may be on disks of their own.
        RequiresMountsFor="/srv/my confs" /var/50%%
        # It is never given up, however often it fails.
        StartLimitIntervalSec=0

        [Service]
        # It says nothing when it is ready; started is when it could be executed.
        Type=exec
        ExecStart=/usr/bin/daemonherder run --config-dir "/srv/my confs"
        ExecReload=/usr/bin/daemonherder reload --config-dir "/srv/my confs"
        # Whatever ends it, it comes back; only `systemctl stop` is meant.
        Restart=always
        RestartSec=1s
        # Its end is not the end of its services: the next one takes them over. It stops them itself when it is stopped.
        KillMode=process
        # Each service has its own time to end (stop.timeout), and is killed after that; this is longer than any of them.
        TimeoutStopSec=10min
        # Each service has a cgroup below this unit's; no process is in that itself, so that controllers can be given on.
        Delegate=yes
        DelegateSubgroup=daemon
        # A service that is killed for want of memory is restarted; the others go on.
        OOMPolicy=continue
        # All services count as this unit's tasks.
        TasksMax=infinity
        # The soft limit is what services get, the hard one is for the daemon's pipes and sockets.
        LimitNOFILE=1024:524288

        [Install]
        WantedBy=multi-user.target
        "#);
        let text = unit(false).text("/d", &[], &["/c"], false).unwrap();
        assert!(text.contains("\nExecStart=/d run\n") && text.contains("\nRestart=on-abnormal\n"), "{text}");
        assert!(text.ends_with("WantedBy=default.target\n"), "{text}");
    }

    #[test]
    fn what_means_something_to_systemd_is_refused_or_written_as_itself() {
        assert_eq!(quoted("/a/50%"), Ok("/a/50%%".into()));
        assert_eq!(quoted("/a b"), Ok("\"/a b\"".into()));
        for bad in ["a\nb", "a\\b", "$HOME", "it's", "a\"b"] {
            assert!(quoted(bad).unwrap_err().contains("not written into a unit"), "{bad:?}");
        }
    }

    #[test]
    fn a_user_has_a_systemd_of_their_own() {
        assert_eq!(unit(true).systemctl(&["daemon-reload"]).join(" "), "systemctl daemon-reload");
        let enable = unit(false).systemctl(&["enable", &unit(false).service()]).join(" ");
        assert_eq!(enable, "systemctl --user enable daemonherder-12345678.service");
        assert_eq!(unit(true).path(), PathBuf::from("/units/daemonherder-12345678.service"));
    }

    #[test]
    fn a_command_that_fails_says_why() {
        let words = ["sh", "-c", "echo no bus >&2; exit 1"].map(str::to_owned);
        let failure = perform(&words).unwrap_err();
        assert_eq!(failure.to_string(), "cannot tell systemd: sh -c echo no bus >&2; exit 1: no bus");
        assert!(perform(&["true".to_owned()]).is_ok());
        assert!(perform(&["/no/such/program".to_owned()]).is_err());
    }
}
