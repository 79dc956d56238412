//! `restart`: what happens when a run ends.

use std::time::Duration;

use jsonc_parser::ast::Object;

use crate::conf::problem::Problems;
use crate::conf::reader::{Field, fields};
use crate::conf::schema::RESTART;
use crate::model::{Exceeded, RestartPolicy, RestartSpec};

/// What is written of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RestartDraft {
    policy: Option<RestartPolicy>,
    success_codes: Option<Vec<u8>>,
    delay: Option<Duration>,
    intensity: Option<u32>,
    period: Option<Duration>,
    exceeded: Option<Exceeded>,
    cooldown: Option<Written>,
    max_cooldown: Option<Written>,
}

/// A duration and the byte where this text writes it; `None` where another one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    duration: Duration,
    at: Option<usize>,
}

impl RestartDraft {
    pub(super) fn read(&mut self, object: &Object<'_>, problems: &mut Problems<'_>) {
        for field in fields(object, RESTART, "restart", problems) {
            match field.key.name {
                "policy" => self.policy = field.parsed(policy, problems),
                "success_codes" => self.success_codes = field.exit_codes(problems),
                "delay" => self.delay = field.duration(problems),
                "intensity" => self.intensity = field.count(problems),
                "period" => self.period = field.duration(problems),
                "exceeded" => self.exceeded = field.parsed(exceeded, problems),
                "cooldown" => self.cooldown = written(field, problems),
                "max_cooldown" => self.max_cooldown = written(field, problems),
                _ => field.refuse(problems),
            }
        }
    }

    /// `"restart": "always"`.
    pub(super) fn read_short(&mut self, field: Field<'_, '_>, problems: &mut Problems<'_>) {
        self.policy = field.parsed(policy, problems);
    }

    pub(super) fn over(self, below: &Self) -> Self {
        let elsewhere = |written: &Option<Written>| written.map(|written| Written { at: None, ..written });
        Self {
            policy: self.policy.or(below.policy),
            success_codes: self.success_codes.or_else(|| below.success_codes.clone()),
            delay: self.delay.or(below.delay),
            intensity: self.intensity.or(below.intensity),
            period: self.period.or(below.period),
            exceeded: self.exceeded.or(below.exceeded),
            cooldown: self.cooldown.or(elsewhere(&below.cooldown)),
            max_cooldown: self.max_cooldown.or(elsewhere(&below.max_cooldown)),
        }
    }

    /// Tells what is wrong between keys: a written cap below a written first wait.
    pub(super) fn check(&self, problems: &mut Problems<'_>) {
        if let (Some(first), Some(cap)) = (self.cooldown, self.max_cooldown)
            && cap.duration < first.duration
            && let Some(at) = cap.at.or(first.at)
        {
            let message = format!(
                "restart.max_cooldown ({:?}) is below restart.cooldown ({:?}), expected at least as much",
                cap.duration, first.duration
            );
            problems.add(at, message);
        }
    }

    /// What is written; what is not is as in `plain`.
    pub(super) fn finish(self, plain: RestartSpec) -> RestartSpec {
        let written = |written: Option<Written>| written.map(|written| written.duration);
        // Of the two waits, one that is written moves the default of the other out of its way.
        let (cooldown, max_cooldown) = match (written(self.cooldown), written(self.max_cooldown)) {
            (Some(first), Some(cap)) => (first, cap),
            (Some(first), None) => (first, plain.max_cooldown.max(first)),
            (None, Some(cap)) => (plain.cooldown.min(cap), cap),
            (None, None) => (plain.cooldown, plain.max_cooldown),
        };
        RestartSpec {
            policy: self.policy.unwrap_or(plain.policy),
            success_codes: self.success_codes.unwrap_or(plain.success_codes),
            delay: self.delay.unwrap_or(plain.delay),
            intensity: self.intensity.unwrap_or(plain.intensity),
            period: self.period.unwrap_or(plain.period),
            exceeded: self.exceeded.unwrap_or(plain.exceeded),
            cooldown,
            max_cooldown,
        }
    }
}

fn written(field: Field<'_, '_>, problems: &mut Problems<'_>) -> Option<Written> {
    field.duration(problems).map(|duration| Written { duration, at: Some(field.at()) })
}

fn policy(text: &str) -> Option<RestartPolicy> {
    match text {
        "always" => Some(RestartPolicy::Always),
        "on-failure" => Some(RestartPolicy::OnFailure),
        "never" => Some(RestartPolicy::Never),
        _ => None,
    }
}

fn exceeded(text: &str) -> Option<Exceeded> {
    match text {
        "cooldown" => Some(Exceeded::Cooldown),
        "fail" => Some(Exceeded::Fail),
        _ => None,
    }
}
