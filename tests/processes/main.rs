//! The direct spawner with real processes: what they are given, what is told of them, what is left behind.

#![expect(clippy::unwrap_used, reason = "a test whose circumstances can't be made fails")]

#[path = "../support/mod.rs"]
mod support;

mod crowds;
mod ends;
mod launches;
mod output;
mod surroundings;
mod trees;

use std::fs;
use std::path::Path;

use daemonherder::model::{Ending, LaunchError, Signal, Stage};
use daemonherder::process::{Launch, Spawner};
use support::Herd;

const OK: (bool, Ending) = (true, Ending::Exited(0));

fn failed(stage: Stage, errno: i32) -> (bool, Ending) {
    (false, Ending::NotLaunched(LaunchError { stage, errno }))
}

fn killed(signal: Signal) -> Ending {
    Ending::Killed { signal, core: false }
}

fn signal(number: i64) -> Signal {
    Signal::from_number(number).unwrap()
}

fn c(path: impl AsRef<Path>) -> std::ffi::CString {
    std::ffi::CString::new(path.as_ref().to_str().unwrap()).unwrap()
}

/// The values of one key in what the fixture reports.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    assert!(text.ends_with("end\n"), "{text}");
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).collect()
}

async fn reported(herd: &Herd, change: impl FnOnce(&mut Launch)) -> String {
    let mut launch = herd.order(&["report"]);
    change(&mut launch);
    let (run, log) = (launch.run, herd.log(launch.run));
    herd.spawner.launch(launch, herd.reports());
    assert_eq!(herd.end(run).await, OK);
    fs::read_to_string(log).unwrap()
}
