//! The program: a daemon, or a verb.

use std::process::ExitCode;

use daemonherder::cli::{self, Daemon, Exit, Role, Style, Terminal};
use daemonherder::conf::{Overrides, Places, Surroundings};
use daemonherder::daemon;

fn main() -> ExitCode {
    if let Some(role) = daemon::Role::of(std::env::args_os()) {
        return daemon::play(&role);
    }
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut terminal = Terminal { out: &mut out, err: &mut err, style: Style::of_stdout() };
    let role = match cli::parse(std::env::args_os(), &mut terminal) {
        Ok(role) => role,
        Err(exit) => return exit.into(),
    };
    match role {
        Role::Daemon(places, arguments) if arguments.detach => daemon::detach(&places),
        Role::Daemon(places, _) => daemon::run(&places),
        Role::Schema => cli::run_schema(&mut terminal).into(),
        Role::Completions(shell) => cli::run_completions(shell, &mut terminal).into(),
        Role::Man => cli::run_man(&mut terminal).into(),
        Role::Setup(overrides, setup) => {
            at_places(&overrides, &mut terminal, |places, terminal| cli::run_setup(&setup, &places, terminal))
        }
        Role::Check(overrides, arguments) => {
            at_places(&overrides, &mut terminal, |places, terminal| cli::run_check(&arguments, &places, terminal))
        }
        Role::Logs(overrides, arguments) => {
            at_places(&overrides, &mut terminal, |places, terminal| cli::run_logs(&arguments, &places, terminal))
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
