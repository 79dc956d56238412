//! Where the daemon's own lines go.

use std::io::IsTerminal;

use env_logger::{Builder, Env};
use log::LevelFilter;

use super::StartError;
use crate::observe::{LineWriter, Target};

/// Points `log` at standard error where that is a terminal, else at `daemon.log` in the state directory. The lines that were
/// taken are written when the value is dropped.
pub(super) fn open(state: &std::path::Path) -> Result<LineWriter, StartError> {
    let terminal = std::io::stderr().is_terminal();
    let target = if terminal { Target::Stderr } else { Target::File(state.join("daemon.log")) };
    let writer = LineWriter::start(target)
        .map_err(|source| StartError::Io { what: "start the thread that writes daemon.log".to_owned(), source })?;
    let mut builder = Builder::new();
    builder.filter_level(LevelFilter::Info).parse_env(Env::new().filter("DHERDER_LOG"));
    builder.format_timestamp_millis().format_target(false);
    builder.target(env_logger::Target::Pipe(Box::new(writer.handle())));
    // An error says that a program which embeds this has a logger of its own, and that is as good.
    let _ = builder.try_init();
    Ok(writer)
}
