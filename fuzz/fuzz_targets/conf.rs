//! Any bytes as a conf and as a `herder.json`: a spec or problems, never a panic.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run conf -s none -- -max_total_time=60 fuzz/corpus/conf fuzz/seeds/conf`

#![no_main]

use std::sync::LazyLock;

use daemonherder::conf::{AnyAccounts, Settings, lower};
use daemonherder::model::ServiceId;
use libfuzzer_sys::fuzz_target;

static ID: LazyLock<ServiceId> = LazyLock::new(|| "fuzz".parse().expect("letters are an id"));

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let settings = Settings::read(text, &AnyAccounts);
    let alone = lower(&ID, text, &Settings::default(), &AnyAccounts);
    for problems in [settings.as_ref().err(), alone.as_ref().err()].into_iter().flatten() {
        assert!(!problems.is_empty(), "refused without a problem");
        assert!(problems.iter().all(|problem| problem.line > 0 && problem.column > 0));
    }
    // The same text between settings and conf: one half each, so that defaults meet a conf.
    let half = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    if let Ok(settings) = Settings::read(&text[..half], &AnyAccounts) {
        let _ = lower(&ID, &text[half..], &settings, &AnyAccounts);
    }
});
