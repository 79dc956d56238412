//! `stop`: how a run is ended.

use std::time::Duration;

use jsonc_parser::ast::{Object, Value};

use crate::conf::problem::Problems;
use crate::conf::reader::{Field, fields, whole};
use crate::conf::schema::STOP;
use crate::model::{Signal, StopScope, StopSpec};

/// What is written of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StopDraft {
    signal: Option<Signal>,
    timeout: Option<Duration>,
    scope: Option<StopScope>,
}

impl StopDraft {
    pub(super) fn read(&mut self, object: &Object<'_>, problems: &mut Problems<'_>) {
        for field in fields(object, STOP, "stop", problems) {
            match field.key.name {
                "signal" => self.signal = signal(field, problems),
                "timeout" => self.timeout = field.duration(problems),
                "scope" => {
                    self.scope = field.parsed(
                        |text| match text {
                            "tree" => Some(StopScope::Tree),
                            "main" => Some(StopScope::Main),
                            _ => None,
                        },
                        problems,
                    );
                }
                _ => field.refuse(problems),
            }
        }
    }

    pub(super) fn over(self, below: &Self) -> Self {
        Self {
            signal: self.signal.or(below.signal),
            timeout: self.timeout.or(below.timeout),
            scope: self.scope.or(below.scope),
        }
    }

    /// What is written; what is not is as in `plain`.
    pub(super) fn finish(self, plain: StopSpec) -> StopSpec {
        StopSpec {
            signal: self.signal.unwrap_or(plain.signal),
            timeout: self.timeout.unwrap_or(plain.timeout),
            scope: self.scope.unwrap_or(plain.scope),
        }
    }
}

fn signal(field: Field<'_, '_>, problems: &mut Problems<'_>) -> Option<Signal> {
    let signal = match field.value {
        Value::StringLit(text) => text.value.parse().ok(),
        value => whole(value).and_then(|number| Signal::from_number(number).ok()),
    };
    if signal.is_none() {
        field.refuse(problems);
    }
    signal
}
