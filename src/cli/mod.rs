//! The terminal: what is typed, what is asked of the daemon, what is shown.
//!
//! `main` parses the command line ([`parse`]) into a [`Role`]; the daemon's role goes to the daemon, a verb that speaks
//! to a daemon to [`run`]. A verb is one file with its arguments, its rendering and its tests; all of them speak through
//! `client` and in the types of `api/`.
//!
//! What never happens here: a word on stdout beside the one document of `--json`, an escape sequence without a terminal,
//! an exit code that is not in [`Exit`].

mod add;
mod arguments;
mod check;
mod client;
mod completions;
mod events;
mod exit;
mod install;
mod logs;
mod man;
mod order;
mod problem;
mod progress;
mod reload;
mod remove;
mod schema;
mod shutdown;
mod signal;
mod status;
mod stream;
mod style;
mod table;
mod terminal;
mod text;
mod upgrade;
mod watching;

pub use add::AddArguments;
pub use arguments::{CheckArguments, PlaceArguments, Role, RunArguments, Setup, Verb, parse};
pub use check::{CheckReport, CheckedFile, Standing, check};
pub use client::Daemon;
pub use events::EventsArguments;
pub use exit::Exit;
pub use install::InstallArguments;
pub use logs::{Lines, LogsArguments};
pub use order::OrderArguments;
pub use problem::Failure;
pub use reload::ReloadArguments;
pub use remove::RemoveArguments;
pub use schema::schema;
pub use shutdown::ShutdownArguments;
pub use signal::SignalArguments;
pub use status::StatusArguments;
pub use style::Style;
pub use terminal::Terminal;
pub use upgrade::UpgradeArguments;

use clap_complete::Shell;

use crate::conf::Places;

/// Performs a verb that looks at confs and speaks to no daemon.
pub fn run_check(arguments: &CheckArguments, places: &Places, terminal: &mut Terminal<'_>) -> Exit {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let report = check(&arguments.paths, places, &path);
    let written = if arguments.json {
        // The report is made of strings and numbers: writing it can only fail where the stream does.
        serde_json::to_writer(&mut *terminal.out, &report).map_err(Into::into).and_then(|()| writeln!(terminal.out))
    } else {
        write!(terminal.out, "{report}")
    };
    if written.is_ok() && report.is_good() { Exit::Done } else { Exit::Failed }
}

/// Prints the JSON Schema of a conf.
pub fn run_schema(terminal: &mut Terminal<'_>) -> Exit {
    if writeln!(terminal.out, "{:#}", schema()).is_ok() { Exit::Done } else { Exit::Failed }
}

/// Prints what a shell has to know of the command line.
pub fn run_completions(shell: Shell, terminal: &mut Terminal<'_>) -> Exit {
    let written = terminal.out.write_all(&completions::completions(shell));
    tell(written.map(|()| Exit::Done).map_err(Failure::from), terminal)
}

/// Prints the manual page.
pub fn run_man(terminal: &mut Terminal<'_>) -> Exit {
    let written = man::man().and_then(|page| terminal.out.write_all(page.as_bytes()));
    tell(written.map(|()| Exit::Done).map_err(Failure::from), terminal)
}

/// Performs a verb that writes files, and then tells a daemon, if one runs.
pub fn run_setup(setup: &Setup, places: &Places, terminal: &mut Terminal<'_>) -> Exit {
    let daemon = Daemon { socket: places.socket.clone(), confs: places.config_dir.clone() };
    let done = match setup {
        Setup::Add(arguments) => add::run(arguments, places, &daemon, terminal),
        Setup::Remove(arguments) => remove::run(arguments, places, &daemon, terminal),
        Setup::Install(arguments) => install::run(*arguments, places, &daemon, terminal),
        Setup::Uninstall => install::undo(places, &daemon, terminal),
    };
    tell(done, terminal)
}

/// Shows logs, from their files; from the daemon only where those may not be read.
pub fn run_logs(arguments: &LogsArguments, places: &Places, terminal: &mut Terminal<'_>) -> Exit {
    tell(logs::run(arguments, places, terminal), terminal)
}

/// Performs a verb that speaks to the daemon. Everything that goes wrong is told on the terminal's error stream.
pub fn run(verb: &Verb, daemon: &Daemon, terminal: &mut Terminal<'_>) -> Exit {
    let done = match verb {
        Verb::Status(arguments) => status::run(arguments, daemon, terminal),
        Verb::Start(arguments) => order::run("start", arguments, daemon, terminal),
        Verb::Stop(arguments) => order::run("stop", arguments, daemon, terminal),
        Verb::Restart(arguments) => order::run("restart", arguments, daemon, terminal),
        Verb::Signal(arguments) => signal::run(arguments, daemon, terminal),
        Verb::Events(arguments) => events::run(*arguments, daemon, terminal),
        Verb::Reload(arguments) => reload::run(arguments, daemon, terminal),
        Verb::Upgrade(arguments) => upgrade::run(arguments, daemon, terminal),
        Verb::Shutdown(arguments) => shutdown::run(*arguments, daemon),
    };
    tell(done, terminal)
}

fn tell(done: Result<Exit, Failure>, terminal: &mut Terminal<'_>) -> Exit {
    done.unwrap_or_else(|failure| {
        failure.tell(terminal);
        failure.exit()
    })
}
