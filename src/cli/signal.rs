//! `signal`: any signal to services' processes.

use clap::Args;

use super::client::{Daemon, Question, segment};
use super::order::show;
use super::{Exit, Failure, Terminal};
use crate::api::{CommandResults, SignalOptions};
use crate::model::Signal;

/// Which signal, and to whom.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct SignalArguments {
    /// The signal: HUP, SIGHUP or 1
    #[arg(value_name = "SIG")]
    pub signal: Signal,
    /// Services, by id or glob
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
    /// To all processes of the service, and not only to its main one
    #[arg(long)]
    pub tree: bool,
}

pub(super) fn run(
    SignalArguments { signal, ids, tree }: &SignalArguments,
    daemon: &Daemon,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let options = SignalOptions { signal: Some(signal.to_string()), tree: tree.then_some(true) };
    let question = Question::post(format!("/v1/services/{}/signal", segment(&ids.join(",")))).with(&options);
    // Two signals are not one.
    let answer: CommandResults = daemon.ask_for(&question.once())?;
    show("signal", &answer.results, terminal)
}
