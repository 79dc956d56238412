//! A herd of calm, crashing, flooding, tree-forking and stop-deaf services on a real daemon, whose processes are killed and
//! stopped by a seeded schedule while orders and changes of confs go on. After every step the laws of the house are
//! checked from `/proc` alone.
//!
//! `CHAOS_STEPS=5000 CHAOS_SEED=7 cargo test --release --test chaos -- --nocapture` is a longer one by hand. The seed makes
//! the same schedule; what the kernel makes of it is another one each time.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

mod daemon;
mod expected;
mod laws;
mod processes;
mod schedule;

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the tests of processes use more of it")]
mod support;
#[path = "../daemon/waiting.rs"]
#[expect(dead_code, reason = "the scenarios of one daemon use more of it")]
mod waiting;

use schedule::Schedule;

/// Steps where nobody says how many.
const STEPS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn the_laws_hold_whatever_dies_when() {
    let seed = number("CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let steps = number("CHAOS_STEPS").unwrap_or(STEPS);
    eprintln!("CHAOS_SEED={seed} CHAOS_STEPS={steps}");
    Schedule::new(seed).run(steps);
}
