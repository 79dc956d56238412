//! The program: a daemon, or a verb.

use std::process::ExitCode;

use daemonherder::cli::{self, Daemon, Exit, Role, RunArguments, Style, Terminal};
use daemonherder::conf::{Overrides, Places, Surroundings};
use daemonherder::daemon;

fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut terminal = Terminal { out: &mut out, err: &mut err, style: Style::of_stdout() };
    let role = match cli::parse(std::env::args_os(), &mut terminal) {
        Ok(role) => role,
        Err(exit) => return exit.into(),
    };
    match role {
        Role::Daemon(_, arguments) if arguments.detach => daemon::detach(std::env::args_os().skip(1)),
        Role::Daemon(places, arguments) => {
            let RunArguments { detached, herder, successor, ending, preflight, upgraded, returned, .. } = arguments;
            let upgraded = upgraded.map(|state| daemon::Upgraded { state, returned });
            let options = daemon::Options { places, detached, herder, successor, ending, preflight, upgraded };
            daemon::run(&options)
        }
        Role::Schema => cli::run_schema(&mut terminal).into(),
        Role::Check(overrides, arguments) => {
            at_places(&overrides, &mut terminal, |places, terminal| cli::run_check(&arguments, &places, terminal))
        }
        Role::Client(overrides, verb) => at_places(&overrides, &mut terminal, |places, terminal| {
            cli::run(&verb, &Daemon { socket: places.socket, confs: places.config_dir }, terminal)
        }),
    }
}

/// Does something where things are; wrong usage where nobody knows.
fn at_places(
    overrides: &Overrides,
    terminal: &mut Terminal<'_>,
    act: impl FnOnce(Places, &mut Terminal<'_>) -> Exit,
) -> ExitCode {
    let exit = match Surroundings::of_this_process().and_then(|around| Places::find(overrides, &around)) {
        Ok(places) => act(places, terminal),
        Err(error) => {
            // A stream that can't be written to can't be told so either.
            let _ = writeln!(terminal.err, "daemonherder: {error}");
            Exit::Usage
        }
    };
    exit.into()
}
