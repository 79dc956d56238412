//! An actor of one's own that watches a herd: it runs a command when a service cools down or is given up.
//!
//! ```text
//! cargo run --example alert_actor -- echo ALERT
//! cargo run --example alert_actor -- sh -c 'mail -s "$ALERT_SERVICE is $ALERT_STATE" root < /dev/null'
//! ```
//!
//! The command gets the message as its last argument, and `ALERT_SERVICE` and `ALERT_STATE` in its environment. Commands
//! run one after another, on a thread that may wait. Meanwhile events wait on the bus, which is bounded: the herd never
//! waits for an observer, and one that was too slow is told how many events it missed.

use std::error::Error;
use std::ffi::OsString;
use std::process::Command;
use std::sync::Arc;

use actix::{Actor, ActorFutureExt, Addr, Context, Handler, Message, MessageResult, ResponseActFuture, WrapFuture};
use daemonherder::bus::{Event, Happening, Missed, Subscription};
use daemonherder::conf::{Settings, SystemAccounts, lower};
use daemonherder::herder::{Herder, Shutdown, Subscribe, Supervise};
use daemonherder::model::State;
use daemonherder::process::DirectSpawner;
use daemonherder::service::Herd;

/// Runs a command for each alert.
struct AlertActor {
    /// The command and its first arguments.
    command: Vec<OsString>,
    tally: Tally,
}

/// What an [`AlertActor`] has done so far.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Commands that succeeded.
    told: u64,
    /// Commands that failed or could not be run.
    failed: u64,
    /// Events that were missed.
    missed: u64,
}

/// What came from the bus.
#[derive(Message)]
#[rtype(result = "()")]
struct Heard(Result<Arc<Event>, Missed>);

/// Asks for the [`Tally`].
#[derive(Message)]
#[rtype(result = "Tally")]
struct GetTally;

/// Something that people should know.
#[derive(Debug)]
struct Alert {
    service: String,
    state: String,
    message: String,
}

impl Actor for AlertActor {
    type Context = Context<Self>;
}

impl Handler<Heard> for AlertActor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Heard(event): Heard, _: &mut Self::Context) -> Self::Result {
        if let Err(Missed(events)) = &event {
            self.tally.missed += events;
        }
        let command = self.command.clone();
        let run = async move {
            match alert(&event) {
                Some(alert) => Some(tokio::task::spawn_blocking(move || run(&command, &alert)).await.unwrap_or(false)),
                None => None,
            }
        };
        Box::pin(run.into_actor(self).map(|told, actor, _| match told {
            Some(true) => actor.tally.told += 1,
            Some(false) => actor.tally.failed += 1,
            None => {}
        }))
    }
}

impl Handler<GetTally> for AlertActor {
    type Result = MessageResult<GetTally>;

    fn handle(&mut self, _: GetTally, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.tally)
    }
}

/// Decides what is worth an alert. One that was missed may have been worth one, and so is an alert itself.
fn alert(event: &Result<Arc<Event>, Missed>) -> Option<Alert> {
    match event {
        Ok(event) => match &event.what {
            Happening::Entered { state: state @ (State::Cooldown | State::Failed), reason, .. } => {
                let (service, state) = (event.service.to_string(), state.to_string());
                let message = format!("{service}: {state}: {reason}");
                Some(Alert { service, state, message })
            }
            _ => None,
        },
        Err(missed) => {
            Some(Alert { service: String::new(), state: String::new(), message: format!("{missed}: see the status") })
        }
    }
}

/// Runs the command to its end, and says whether it succeeded.
fn run(command: &[OsString], alert: &Alert) -> bool {
    let Some((program, arguments)) = command.split_first() else { return false };
    let status = Command::new(program)
        .args(arguments)
        .arg(&alert.message)
        .env("ALERT_SERVICE", &alert.service)
        .env("ALERT_STATE", &alert.state)
        .status();
    match status {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cannot run {}: {error}", program.display());
            false
        }
    }
}

/// Passes on what the bus has until the herd ends. Each event is sent and waited for: `do_send` would move them into a
/// mailbox that has no bound.
async fn pass_on(mut events: Subscription, alerts: Addr<AlertActor>) {
    while let Some(event) = events.next().await {
        if alerts.send(Heard(event)).await.is_err() {
            return;
        }
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut command: Vec<OsString> = std::env::args_os().skip(1).collect();
    if command.is_empty() {
        command = vec!["echo".into(), "ALERT".into()];
    }
    let state = tempfile::tempdir()?;
    let herder = Herder::new(Herd::new(DirectSpawner::new()?, state.path()), None).start();
    let alerts = AlertActor { command, tally: Tally::default() }.start();
    let watching = actix::spawn(pass_on(herder.send(Subscribe).await?, alerts.clone()));

    // A second pair of eyes, to know when there is nothing more to see.
    let mut events = herder.send(Subscribe).await?;
    for (id, conf) in [
        ("steady", r#"{ "cmd": "sleep", "args": ["600"] }"#),
        ("loops", r#"{ "cmd": "false", "restart": { "intensity": 2 } }"#),
        ("missing", r#"{ "cmd": "no-such-program", "restart": { "intensity": 0, "exceeded": "fail" } }"#),
    ] {
        let spec = lower(&id.parse()?, conf, &Settings::default(), &SystemAccounts::new());
        herder.send(Supervise(spec.map_err(|problems| format!("{id}: {problems:?}"))?)).await??;
    }
    let (mut cools, mut failed) = (false, false);
    while !(cools && failed) {
        if let Happening::Entered { state, .. } = &events.next().await.ok_or("the herd has ended")??.what {
            cools |= *state == State::Cooldown;
            failed |= *state == State::Failed;
        }
    }

    // The bus ends with the herd, `pass_on` with the bus: by then every alert has been run.
    herder.send(Shutdown::default()).await?;
    watching.await?;
    let tally = alerts.send(GetTally).await?;
    println!("{} told, {} failed, {} events missed", tally.told, tally.failed, tally.missed);
    if tally.failed == 0 && tally.told == 2 { Ok(()) } else { Err("not every alert was told".into()) }
}
