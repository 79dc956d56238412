//! `install` and `uninstall`: the daemon comes back with the machine, by the user's crontab or by systemd.
//!
//! What is installed runs without a variable of whoever installs it, so that its command line says what it would not find
//! by itself. It has a name of its own among the daemons of a user, by which it is found again.

mod crontab;
mod unit;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use super::client::{Daemon, Question};
use super::{Exit, Failure, Terminal};
use crate::conf::{Bare, Places, Surroundings};
use crate::os::Executable;
use unit::{Unit, perform, systemd_runs};

/// How to install.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstallArguments {
    /// By a systemd unit: the machine's as root, else the user's own
    #[arg(long)]
    pub systemd: bool,
    /// Start it with the machine only, and not again when it has gone (systemd: unless it was killed)
    #[arg(long)]
    pub no_revive: bool,
}

/// All that cron gives a command besides HOME and the user's name (crontab(5)).
const PATH: &str = "/usr/bin:/bin";
const UNITS: &str = "/etc/systemd/system";
const USER_UNITS: &str = ".config/systemd/user";

pub(super) fn run(
    arguments: InstallArguments,
    places: &Places,
    daemon: &Daemon,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let installed = Installed::at(places)?;
    let exe = own_program()?;
    match arguments.systemd {
        true => installed.by_systemd(&exe, arguments, places, daemon, terminal)?,
        false => {
            installed.by_cron(&exe, arguments, terminal)?;
            let runs = answers(daemon);
            installed.start(&exe)?;
            let what = if runs { "a daemon runs already" } else { "the daemon is started" };
            writeln!(terminal.out, "{what}: `daemonherder status` shows its services")?;
        }
    }
    Ok(Exit::Done)
}

pub(super) fn undo(places: &Places, daemon: &Daemon, terminal: &mut Terminal<'_>) -> Result<Exit, Failure> {
    let installed = Installed::at(places)?;
    let unit = &installed.unit;
    let (lines, active) = (installed.leave_cron(terminal)?, is_active(unit));
    if !installed.leave_systemd(active, terminal)? && !lines {
        writeln!(terminal.out, "nothing is installed: neither crontab lines nor a unit")?;
    }
    if answers(daemon) {
        // What has gone from the disk is still known to systemd, which would start it again.
        let stop = unit.systemctl(&["stop", &unit.service()]).join(" ");
        let end = if active { &stop } else { "daemonherder shutdown" };
        writeln!(terminal.out, "the daemon runs on: `{end}` ends it and its services")?;
    }
    Ok(Exit::Done)
}

/// What is installed for one daemon, or will be.
struct Installed {
    bare: Bare,
    /// Where a process without variables is at home.
    home: PathBuf,
    /// The words of `bare`, as text.
    words: Vec<String>,
    unit: Unit,
}

impl Installed {
    fn at(places: &Places) -> Result<Self, Failure> {
        let around = Surroundings::without_variables()?;
        let bare = Bare::of(places, &around);
        let words = bare.words.iter().map(|word| text(Path::new(word))).collect::<Result<_, _>>()?;
        let system = nix::unistd::geteuid().is_root();
        let directory = match system {
            true => PathBuf::from(UNITS),
            false => Surroundings::of_this_process()?.home.join(USER_UNITS),
        };
        let unit = Unit { system, name: bare.name.clone(), directory };
        Ok(Self { bare, home: around.home, words, unit })
    }

    // --- cron

    fn by_cron(&self, exe: &str, arguments: InstallArguments, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
        let unit = self.unit.path();
        if unit.exists() {
            let unit = unit.display();
            let why = format!("{unit} keeps this daemon running already: `daemonherder uninstall` takes it away");
            return Err(Failure::NotInstalled(why));
        }
        let command: Vec<String> =
            [exe, "run", "--detach"].map(str::to_owned).into_iter().chain(self.words.iter().cloned()).collect();
        let wanted = crontab::lines(&command, &self.bare.name, !arguments.no_revive).map_err(Failure::NotInstalled)?;
        let table = crontab::read()?.ok_or_else(|| {
            Failure::NotInstalled(
                "there is no `crontab` program: install cron, or use `daemonherder install --systemd`".into(),
            )
        })?;
        let before = crontab::ours(&table, &self.bare.name);
        if before != wanted {
            crontab::write(&crontab::with(&table, &self.bare.name, &wanted))?;
        }
        let purposes = ["to start the daemon with the machine", "to start it again within a minute when it has gone"];
        for (line, purpose) in wanted.iter().zip(purposes) {
            let added = if before.contains(line) { "in your crontab already" } else { "added to your crontab" };
            writeln!(terminal.out, "{added}, {purpose}:\n  {line}")?;
        }
        for line in before.iter().filter(|line| !wanted.contains(line)) {
            writeln!(terminal.out, "taken out of your crontab:\n  {line}")?;
        }
        Ok(())
    }

    /// Takes our lines out of the crontab; whether there were any.
    fn leave_cron(&self, terminal: &mut Terminal<'_>) -> Result<bool, Failure> {
        let table = crontab::read()?.unwrap_or_default();
        let before = crontab::ours(&table, &self.bare.name);
        if before.is_empty() {
            return Ok(false);
        }
        crontab::write(&crontab::with(&table, &self.bare.name, &[]))?;
        for line in before {
            writeln!(terminal.out, "taken out of your crontab:\n  {line}")?;
        }
        Ok(true)
    }

    /// Starts the daemon as cron does.
    fn start(&self, exe: &str) -> Result<(), Failure> {
        let mut command = Command::new(exe);
        command.args(["run", "--detach"]).args(&self.words).stdin(Stdio::null()).current_dir("/");
        command.env_clear().env("HOME", &self.home).env("PATH", PATH);
        let failed = |why: String| Failure::Program { what: "start the daemon", program: exe.to_owned(), why };
        let output = command.output().map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failed(said.trim().trim_start_matches("daemonherder: ").to_owned()))
    }

    // --- systemd

    fn by_systemd(
        &self,
        exe: &str,
        arguments: InstallArguments,
        places: &Places,
        daemon: &Daemon,
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        let mounts = [text(&places.config_dir)?, text(&places.state_dir)?];
        let mounts = [mounts[0].as_str(), mounts[1].as_str()];
        let unit = &self.unit;
        let text = unit.text(exe, &self.words, &mounts, !arguments.no_revive).map_err(Failure::NotInstalled)?;
        let path = unit.path();
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            writeln!(terminal.out, "{} is there already", path.display())?;
        } else {
            fs::create_dir_all(&unit.directory).map_err(Failure::file("make", &unit.directory))?;
            fs::write(&path, text).map_err(Failure::file("write", &path))?;
            writeln!(terminal.out, "{} is written: a unit that starts the daemon with the machine", path.display())?;
        }
        // Both would start one each, and after `systemctl stop` cron would have it back within a minute.
        self.leave_cron(terminal)?;
        let service = unit.service();
        // Beside another one than its own it could not come up, and would be tried again and again.
        let runs = !is_active(unit) && answers(daemon);
        let enable: &[&str] = if runs { &["enable", &service] } else { &["enable", "--now", &service] };
        let commands = [unit.systemctl(&["daemon-reload"]), unit.systemctl(enable)];
        for line in steps(unit, &commands, systemd_runs(), runs)? {
            writeln!(terminal.out, "{line}")?;
        }
        Ok(())
    }

    /// Takes our unit away; whether there was one. Of a unit that is active systemd is to keep what it has read: if it read
    /// all anew, it would know only that the unit has gone, and kill the services with the keeper.
    fn leave_systemd(&self, active: bool, terminal: &mut Terminal<'_>) -> Result<bool, Failure> {
        let path = self.unit.path();
        if !path.exists() {
            return Ok(false);
        }
        if systemd_runs() {
            perform(&self.unit.systemctl(&["disable", "--no-reload", &self.unit.service()]))?;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(Failure::file("remove", &path))?,
        }
        if systemd_runs() && !active {
            perform(&self.unit.systemctl(&["daemon-reload"]))?;
        }
        writeln!(terminal.out, "{} is taken away", path.display())?;
        Ok(true)
    }
}

/// Whether systemd has started it.
fn is_active(unit: &Unit) -> bool {
    systemd_runs() && perform(&unit.systemctl(&["is-active", "--quiet", &unit.service()])).is_ok()
}

/// Performs what makes a unit known, or says what would; and what is left for people to do.
fn steps(unit: &Unit, commands: &[Vec<String>], systemd_runs: bool, daemon_runs: bool) -> Result<Vec<String>, Failure> {
    let mut said = Vec::new();
    let joined: Vec<String> = commands.iter().map(|words| words.join(" ")).collect();
    if systemd_runs {
        commands.iter().try_for_each(|words| perform(words))?;
        said.extend(joined.into_iter().map(|command| format!("done: {command}")));
    } else {
        said.push("systemd does not run here; where it does, these make it known:".to_owned());
        said.extend(joined.into_iter().map(|command| format!("  {command}")));
    }
    if daemon_runs {
        let start = unit.systemctl(&["start", &unit.service()]).join(" ");
        said.push("a daemon runs already; this has the unit take its services over, and none is restarted:".to_owned());
        said.push(format!("  daemonherder shutdown --leave-services && {start}"));
    }
    if !unit.system {
        said.push("without a login of yours it runs only after this:\n  loginctl enable-linger".to_owned());
    }
    Ok(said)
}

/// Whether a daemon answers, even if with a refusal.
fn answers(daemon: &Daemon) -> bool {
    !matches!(daemon.ask(&Question::get("/healthz")), Err(Failure::NoDaemon { .. }))
}

/// The path of this program, if others may start it from there as this user.
fn own_program() -> Result<String, Failure> {
    let path = std::env::current_exe().map_err(|error| Failure::NotInstalled(error.to_string()))?;
    // What the kernel says behind the path of a file that is not there any more (proc_pid_exe(5)).
    let gone = path.to_str().is_some_and(|path| path.ends_with(" (deleted)")) && !path.exists();
    let wrong =
        |why: &str| Failure::NotInstalled(format!("{}: {why}; run the program that is to stay", path.display()));
    if gone {
        return Err(wrong("it is not there any more"));
    }
    // Confs are code, and whoever may write to the program needs none.
    Executable::trusted(&path).map_err(|unfit| wrong(&unfit.to_string()))?;
    text(&path)
}

fn text(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::NotInstalled(format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_with_a_unit_and_what_is_left_is_said() {
        let unit = |system| Unit { system, name: "daemonherder".into(), directory: "/units".into() };
        let done = [vec!["true".to_owned(), "enable".to_owned()]];
        let said = |system, systemd, daemon| steps(&unit(system), &done, systemd, daemon).unwrap().join("\n");
        assert_eq!(said(true, true, false), "done: true enable");
        insta::assert_snapshot!(said(false, false, true), @r"
        systemd does not run here; where it does, these make it known:
          true enable
        a daemon runs already; this has the unit take its services over, and none is restarted:
          daemonherder shutdown --leave-services && systemctl --user start daemonherder.service
        without a login of yours it runs only after this:
          loginctl enable-linger
        ");
        let fails = [vec!["false".to_owned()]];
        assert!(steps(&unit(true), &fails, true, false).is_err());
        assert!(steps(&unit(true), &fails, false, false).is_ok());
    }
}
