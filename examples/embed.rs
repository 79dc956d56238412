//! A herd in a program of one's own: three services, what happens to them, and an ordered end.
//!
//! ```text
//! cargo run --example embed
//! ```
//!
//! It needs an actix `System` (`#[actix::main]` makes one) and a directory for the logs; no conf file, no socket, no
//! daemon. The services are children of this program, and a herd that is shut down has ended them all.

use std::error::Error;
use std::time::Duration;

use actix::{Actor, Addr};
use daemonherder::bus::{Event, Happening, Subscription};
use daemonherder::conf::{Settings, SystemAccounts, lower};
use daemonherder::herder::{Herder, Shutdown, Subscribe, Supervise, Survey};
use daemonherder::model::{ServiceId, ServiceSpec, State};
use daemonherder::process::DirectSpawner;
use daemonherder::service::Herd;

/// Services by id, each a conf as it might stand in a file.
const CONFS: [(&str, &str); 3] = [
    ("worker", r#"{ "cmd": "sleep", "args": ["600"] }"#),
    ("once", r#"{ "cmd": "echo", "args": ["hello, herd"], "restart": "never" }"#),
    // Restarted twice, then left to cool down.
    ("flaky", r#"{ "cmd": "sh", "args": ["-c", "exit 1"], "restart": { "intensity": 2 } }"#),
];

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let state = tempfile::tempdir()?;
    let herd = Herd::new(DirectSpawner::new()?, state.path());
    // The place of the files is asked for now: the Herder takes the herd.
    let log = herd.place.log(&"once".parse()?);
    let herder = Herder::new(herd, None).start();

    // Whoever subscribes before the first service misses nothing.
    let mut events = herder.send(Subscribe).await?;
    for (id, conf) in CONFS {
        herder.send(Supervise(spec(id, conf)?)).await??;
    }

    tokio::time::timeout(Duration::from_secs(10), watch(&mut events)).await??;
    show(&herder).await?;

    // It returns when nothing is left: TERM first, KILL for whoever does not end within its `stop.timeout`.
    herder.send(Shutdown::default()).await?;
    let left = show(&herder).await?;

    // The stream of events ends with the herd.
    while let Some(event) = events.next().await.transpose()? {
        tell(&event);
    }
    let said = std::fs::read_to_string(log)?;
    println!("once said: {}", said.trim());
    if left == 0 && said == "hello, herd\n" { Ok(()) } else { Err("this is not what it should have come to".into()) }
}

/// Makes a spec of the text of a conf. A program may also begin with [`ServiceSpec::new`] and change what it likes: a spec
/// is a plain value.
fn spec(id: &str, conf: &str) -> Result<ServiceSpec, Box<dyn Error>> {
    let id: ServiceId = id.parse()?;
    lower(&id, conf, &Settings::default(), &SystemAccounts::new()).map_err(|problems| {
        // All of them at once, each with its line and column.
        problems.iter().map(|problem| format!("{id}.conf:{problem}\n")).collect::<String>().into()
    })
}

/// Tells every event until all services are where their confs lead them.
async fn watch(events: &mut Subscription) -> Result<(), Box<dyn Error>> {
    let mut awaited = vec![("worker", State::Running), ("once", State::Exited), ("flaky", State::Cooldown)];
    while !awaited.is_empty() {
        // An error says how many events were missed, which can't be with so few.
        let event = events.next().await.ok_or("the herd has ended")??;
        tell(&event);
        if let Happening::Entered { state, .. } = event.what {
            awaited.retain(|awaited| *awaited != (event.service.as_str(), state));
        }
    }
    Ok(())
}

fn tell(event: &Event) {
    match &event.what {
        Happening::Entered { state, reason, .. } => {
            println!("{:>3}  {:<8} {state:<9} {reason}", event.number, event.service);
        }
        other => println!("{:>3}  {:<8} {other:?}", event.number, event.service),
    }
}

/// Prints what `status` would show, and counts the processes.
async fn show(herder: &Addr<Herder>) -> Result<usize, Box<dyn Error>> {
    let overview = herder.send(Survey).await?;
    println!();
    for service in &overview.services {
        println!("{:<8} {:<9} {:>7}  {}", service.id, service.state, service.restarts, service.reason);
    }
    println!();
    Ok(overview.services.iter().filter(|service| service.pid.is_some()).count())
}
