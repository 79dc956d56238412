//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use super::{
    AddArguments, EventsArguments, Exit, InstallArguments, LogsArguments, OrderArguments, ReloadArguments,
    RemoveArguments, ShutdownArguments, SignalArguments, StatusArguments, Terminal, UpgradeArguments,
};
use crate::conf::Overrides;

const CONFIG_DIR_HELP: &str = "The directory of the conf files [env: DHERDER_CONFIG_DIR; default: ~/.dherder]";
const STATE_DIR_HELP: &str = "The directory of lock, control socket and logs [env: DHERDER_STATE_DIR; \
                              default: ~/.local/state/dherder/<host>]";
const HOST_HELP: &str = "The name of this host, which <id>@<host>.conf is matched with [env: DHERDER_HOST; \
                         default: the kernel's]";
const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  failed, or a named service is not up
  2  wrong usage
  3  no daemon is running
  4  no such service

A service is a file DIR/<id>.conf, or DIR/<id>@<host>.conf for one host only:
  { \"name\": \"My web server\", \"cwd\": \"/srv/web\", \"cmd\": \"./serve\", \"args\": [\"--port\", \"8080\"] }
An ID may be a glob: daemonherder restart 'web-*'";

/// What the process is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The daemon.
    Daemon(Overrides, RunArguments),
    /// A verb that speaks to the daemon.
    Client(Overrides, Verb),
    /// A verb that needs no daemon, mostly: show logs.
    Logs(Overrides, LogsArguments),
    /// A verb that needs no daemon: look at confs.
    Check(Overrides, CheckArguments),
    /// A verb that needs no daemon, and tells one that runs: write confs, or what starts a daemon.
    Setup(Overrides, Setup),
    /// A verb that needs no daemon: print the JSON Schema of a conf.
    Schema,
    /// A verb that needs no daemon: print completions.
    Completions(Shell),
    /// A verb that needs no daemon: print the manual page.
    Man,
}

/// Where things are, as far as the command line says so; whoever finds them looks at the variables, too.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceArguments {
    /// The conf directory.
    #[arg(long, global = true, value_name = "DIR", help = CONFIG_DIR_HELP)]
    config_dir: Option<PathBuf>,
    /// The state directory.
    #[arg(long, global = true, value_name = "DIR", help = STATE_DIR_HELP)]
    state_dir: Option<PathBuf>,
    /// The name of this host.
    #[arg(long, global = true, value_name = "NAME", help = HOST_HELP)]
    host: Option<String>,
}

impl From<PlaceArguments> for Overrides {
    fn from(PlaceArguments { config_dir, state_dir, host }: PlaceArguments) -> Self {
        Self { config_dir, state_dir, host }
    }
}

/// How to be the daemon.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct RunArguments {
    /// Go into the background, and return when the daemon answers; done where one runs already
    #[arg(long)]
    pub detach: bool,
}

/// A verb that speaks to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Show what runs.
    Status(StatusArguments),
    /// Start services.
    Start(OrderArguments),
    /// Stop services.
    Stop(OrderArguments),
    /// Stop services, then start them.
    Restart(OrderArguments),
    /// Send them a signal.
    Signal(SignalArguments),
    /// Show what happened.
    Events(EventsArguments),
    /// Read the confs again.
    Reload(ReloadArguments),
    /// Put another program in the place of the daemon's.
    Upgrade(UpgradeArguments),
    /// End the daemon.
    Shutdown(ShutdownArguments),
}

/// A verb that sets something up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Write the conf of a service.
    Add(AddArguments),
    /// Take it away.
    Remove(RemoveArguments),
    /// Have the daemon come back with the machine.
    Install(InstallArguments),
    /// Have it do so no more.
    Uninstall,
}

/// What `check` looks at.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CheckArguments {
    /// Conf files or directories; without any, those that the daemon would read
    pub paths: Vec<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Keeps every program of a folder of small conf files running, for ever, on the host it belongs to
#[derive(Parser, Debug)]
#[command(name = "daemonherder", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
struct CommandLine {
    #[command(flatten)]
    places: PlaceArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Be the daemon, in the foreground; the same as no command at all
    ///
    /// SIGTERM or SIGINT stops all services in order and ends; a second one, a second or more later, kills them at once.
    /// SIGHUP reads the confs again.
    Run(RunArguments),
    /// Show what runs, and why what does not run does not
    ///
    /// With one ID: everything known of it, and the last lines of its log. Exit code 1 if a named service is not up: up is
    /// running, or exited by success.
    Status(StatusArguments),
    /// Start services, and wait until each has lived for a second
    ///
    /// Ends a cool-down or a failure at once. A service that dies meanwhile is a failure, told with its cause and its last
    /// lines. A service that runs already is a success.
    Start(OrderArguments),
    /// Stop services and whatever they started, and wait until they have ended
    ///
    /// They stay stopped until `start`, a changed conf, or the next boot. Fails when one has not ended 5 seconds after its
    /// stop timeout.
    Stop(StopArguments),
    /// Stop services, then start them, and wait until each has lived for a second
    Restart(OrderArguments),
    /// Send a signal to services' main processes, or with --tree to all of theirs
    ///
    /// What it does is theirs to decide; one that ends a process is an end like any other, which the restart policy answers.
    Signal(SignalArguments),
    /// Show what happened, newest last
    ///
    /// The daemon remembers the last 256 events of its present process; its log has more. With -f it goes on over the
    /// end of such a process, and says where events are missing.
    Events(EventsArguments),
    /// Read the confs again now, and print what that changed
    ///
    /// Only what changed is touched. Exit code 0 also if files have problems, which are shown; `check` is
    /// the command that fails on them.
    Reload(ReloadArguments),
    /// Replace the daemon's program in place; no service notices
    ///
    /// The new program first has to understand all that the present one knows. It then takes its place in the same process,
    /// and gives it back if it does not answer within 10 seconds.
    Upgrade(UpgradeArguments),
    /// Stop all services, end the daemon, and wait until it has gone
    Shutdown(ShutdownArguments),
    /// Show the last lines of what services wrote, and with -f what they write from then on
    ///
    /// Reads the files below the state directory, whether a daemon runs or not: the current one, and as far as more lines are
    /// wanted the old ones, compressed or not. Who may not read them gets the last lines (at most 1 MiB of each service, and
    /// without -f) from the daemon. A service that has no conf any more is found by its id as long as its logs are there.
    ///
    /// One service is shown exactly as it wrote, several with their ids in front of each line: first the last lines of one
    /// after the other, then with -f whole lines as they come; a beginning of a line is shown when a second has brought no
    /// more of it. A terminal gets the services' colours, unless NO_COLOR is set, and everything else that would control it
    /// in a form that can be read.
    Logs(LogsArguments),
    /// Look for problems in conf files; needs no daemon
    Check(CheckArguments),
    /// Write the conf of a service; a daemon that runs starts it
    ///
    /// Writes DIR/ID.conf, or DIR/ID@HOST.conf with --host, with nothing in it but what is given here. No file is ever
    /// replaced; where one is there that says the same, there is nothing to do. What follows -- is the command, word by word,
    /// as in: daemonherder add web --cwd /srv/web -- python3 -m http.server 8080
    ///
    /// --host is about the file here, wherever it stands; DHERDER_HOST still says what this host is called.
    Add(AddArguments),
    /// Delete the conf of a service; a daemon that runs stops it
    ///
    /// Deletes the file that this host uses. Files of the same id for other hosts stay, and are named.
    Remove(RemoveArguments),
    /// Have the daemon start with the machine, and start it now
    ///
    /// Puts two lines into your crontab, or with --systemd a unit in its place: as root /etc/systemd/system/daemonherder.service,
    /// else ~/.config/systemd/user/daemonherder.service. A daemon with places of its own has lines and a unit of its own. Doing
    /// it again changes nothing but what has to be changed.
    Install(InstallArguments),
    /// Take away what `install` has made; a daemon that runs goes on
    Uninstall,
    /// Print the JSON Schema of a conf file; needs no daemon
    Schema,
    /// Print completions for a shell; needs no daemon
    ///
    /// For bash: daemonherder completions bash > ~/.local/share/bash-completion/completions/daemonherder
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page; needs no daemon
    ///
    /// To read it: daemonherder man | man -l -
    Man,
}

/// Whom to stop.
#[derive(Args, Clone, Debug)]
struct StopArguments {
    /// Services, by id or glob
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All services of this host
    #[arg(long)]
    all: bool,
    /// Do not wait for the result
    #[arg(long)]
    no_wait: bool,
}

impl From<StopArguments> for OrderArguments {
    fn from(StopArguments { ids, all, no_wait }: StopArguments) -> Self {
        Self { ids, all, no_wait, settle: None }
    }
}

/// Reads the command line, the program's own name first.
///
/// # Errors
/// It is wrong, or asks for nothing but help or the version; what is to be said then has been said.
pub fn parse(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    terminal: &mut Terminal<'_>,
) -> Result<Role, Exit> {
    let CommandLine { places, command } = CommandLine::try_parse_from(words).map_err(|error| tell(&error, terminal))?;
    let mut overrides = Overrides::from(places);
    Ok(match command {
        None => Role::Daemon(overrides, RunArguments::default()),
        Some(Command::Run(arguments)) => Role::Daemon(overrides, arguments),
        Some(Command::Status(arguments)) => Role::Client(overrides, Verb::Status(arguments)),
        Some(Command::Start(arguments)) => Role::Client(overrides, Verb::Start(arguments)),
        Some(Command::Stop(arguments)) => Role::Client(overrides, Verb::Stop(arguments.into())),
        Some(Command::Restart(arguments)) => Role::Client(overrides, Verb::Restart(arguments)),
        Some(Command::Signal(arguments)) => Role::Client(overrides, Verb::Signal(arguments)),
        Some(Command::Events(arguments)) => Role::Client(overrides, Verb::Events(arguments)),
        Some(Command::Reload(arguments)) => Role::Client(overrides, Verb::Reload(arguments)),
        Some(Command::Upgrade(arguments)) => Role::Client(overrides, Verb::Upgrade(arguments)),
        Some(Command::Shutdown(arguments)) => Role::Client(overrides, Verb::Shutdown(arguments)),
        Some(Command::Logs(arguments)) => Role::Logs(overrides, arguments),
        Some(Command::Check(arguments)) => Role::Check(overrides, arguments),
        Some(Command::Add(arguments)) => {
            // The same flag to clap, and here it is the file's.
            overrides.host = None;
            Role::Setup(overrides, Setup::Add(arguments))
        }
        Some(Command::Remove(arguments)) => Role::Setup(overrides, Setup::Remove(arguments)),
        Some(Command::Install(arguments)) => Role::Setup(overrides, Setup::Install(arguments)),
        Some(Command::Uninstall) => Role::Setup(overrides, Setup::Uninstall),
        Some(Command::Schema) => Role::Schema,
        Some(Command::Completions { shell }) => Role::Completions(shell),
        Some(Command::Man) => Role::Man,
    })
}

/// The command line, for what is made of it besides the parser.
pub(super) fn command() -> clap::Command {
    CommandLine::command()
}

fn tell(error: &clap::Error, terminal: &mut Terminal<'_>) -> Exit {
    let text = error.to_string();
    // A terminal that can't be written to can't be told so either.
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = terminal.out.write_all(text.as_bytes());
            Exit::Done
        }
        _ => {
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let _ = write!(terminal.err, "daemonherder: {text}");
            Exit::Usage
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::{Lines, Style};

    fn read(line: &str) -> (Result<Role, Exit>, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal { out: &mut out, err: &mut err, style: Style::PLAIN };
        let role = parse(std::iter::once("daemonherder").chain(line.split_whitespace()), &mut terminal);
        (role, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_is_read() {
        let order = |ids: &[&str]| OrderArguments {
            ids: ids.iter().map(ToString::to_string).collect(),
            all: ids.is_empty(),
            no_wait: false,
            settle: None,
        };
        let client = |verb| Ok(Role::Client(Overrides::default(), verb));
        let logs = |arguments| Ok(Role::Logs(Overrides::default(), arguments));
        let setup = |setup| Ok(Role::Setup(Overrides::default(), setup));
        let added = AddArguments {
            id: "a".parse().unwrap(),
            cwd: Some(".".into()),
            env: vec![("A".into(), "b=c".into()), ("D".into(), String::new())],
            hosts: Some("h".into()),
            command: ["x", "-y", "--host", "z"].map(str::to_owned).into(),
        };
        let ten = LogsArguments { ids: vec!["a".into()], follow: false, lines: Lines::Last(10), stderr: false };
        for (line, expected) in [
            ("", Ok(Role::Daemon(Overrides::default(), RunArguments::default()))),
            ("run", Ok(Role::Daemon(Overrides::default(), RunArguments::default()))),
            (
                "status a b",
                client(Verb::Status(StatusArguments { ids: vec!["a".into(), "b".into()], json: false, watch: false })),
            ),
            ("start a", client(Verb::Start(order(&["a"])))),
            ("stop a", client(Verb::Stop(order(&["a"])))),
            ("stop --all --no-wait", client(Verb::Stop(OrderArguments { no_wait: true, ..order(&[]) }))),
            (
                "restart --settle 250ms a*",
                client(Verb::Restart(OrderArguments { settle: Some(Duration::from_millis(250)), ..order(&["a*"]) })),
            ),
            (
                "signal hup a --tree",
                client(Verb::Signal(SignalArguments {
                    signal: "HUP".parse().unwrap(),
                    ids: vec!["a".into()],
                    tree: true,
                })),
            ),
            ("events -f", client(Verb::Events(EventsArguments { follow: true, json: false }))),
            ("reload --prune", client(Verb::Reload(ReloadArguments { dry_run: false, prune: true, json: false }))),
            ("upgrade", client(Verb::Upgrade(UpgradeArguments { path: None }))),
            ("upgrade /x", client(Verb::Upgrade(UpgradeArguments { path: Some("/x".into()) }))),
            ("shutdown", client(Verb::Shutdown(ShutdownArguments::default()))),
            ("shutdown --leave-services", client(Verb::Shutdown(ShutdownArguments { leave_services: true }))),
            ("logs a b*", logs(LogsArguments { ids: vec!["a".into(), "b*".into()], ..ten.clone() })),
            ("logs a -fn0", logs(LogsArguments { follow: true, lines: Lines::Last(0), ..ten.clone() })),
            ("logs a -n all --stderr", logs(LogsArguments { lines: Lines::All, stderr: true, ..ten.clone() })),
            ("schema", Ok(Role::Schema)),
            ("completions zsh", Ok(Role::Completions(Shell::Zsh))),
            ("man", Ok(Role::Man)),
            ("add a --host h --cwd . --env A=b=c --env D= -- x -y --host z", setup(Setup::Add(added.clone()))),
            ("--host h add a --cwd . --env A=b=c --env D= -- x -y --host z", setup(Setup::Add(added))),
            ("remove a", setup(Setup::Remove(RemoveArguments { id: "a".parse().unwrap() }))),
            ("install", setup(Setup::Install(InstallArguments::default()))),
            (
                "install --systemd --no-revive",
                setup(Setup::Install(InstallArguments { systemd: true, no_revive: true })),
            ),
            ("uninstall", setup(Setup::Uninstall)),
            (
                "check x.conf --json --host h",
                Ok(Role::Check(
                    Overrides { host: Some("h".into()), ..Overrides::default() },
                    CheckArguments { paths: vec!["x.conf".into()], json: true },
                )),
            ),
        ] {
            assert_eq!(read(line).0, expected, "{line:?}");
        }
    }

    #[test]
    fn wrong_usage_is_told_on_stderr_and_is_exit_2() {
        for line in [
            "explode",
            "start",
            "stop",
            "restart --all a",
            "start --settle fast a",
            "stop --settle 1s a",
            "status --jsno",
            "signal NONE a",
            "signal HUP",
            "shutdown now",
            "add",
            "add a",
            "add a x",
            "add a@b -- x",
            "add a --env A -- x",
            "remove",
            "remove a*",
            "completions tcsh",
        ] {
            let (role, out, err) = read(line);
            assert_eq!(role, Err(Exit::Usage), "{line}");
            assert!(err.starts_with("daemonherder: ") && !err.contains("error:"), "{err}");
            assert_eq!(out, "", "{line}");
        }
    }

    #[test]
    fn help_and_version_are_told_on_stdout_and_are_exit_0() {
        let (role, out, err) = read("--version");
        assert_eq!((role, err.as_str()), (Err(Exit::Done), ""));
        assert_eq!(out, format!("daemonherder {}\n", env!("CARGO_PKG_VERSION")));
        for line in ["--help", "start --help", "run -h"] {
            let (role, out, err) = read(line);
            assert_eq!((role, err.as_str()), (Err(Exit::Done), ""), "{line}");
            assert!(out.contains("Usage: daemonherder"), "{out}");
        }
        let help = read("--help").1;
        for taught in ["3  no daemon is running", "\"cmd\"", "DHERDER_CONFIG_DIR", "shutdown"] {
            assert!(help.contains(taught), "{taught} is not in\n{help}");
        }
    }
}
