//! `logs`: how the output is kept.

use std::time::Duration;

use jsonc_parser::ast::Object;

use crate::conf::problem::Problems;
use crate::conf::reader::fields;
use crate::conf::schema::LOGS;
use crate::model::{LogFormat, LogTarget, LogsSpec, OnFull, StderrTo};

/// What is written of it. `stderr` and `to` belong to the process, which gets its streams at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogsDraft {
    stderr: Option<StderrTo>,
    format: Option<LogFormat>,
    max_size: Option<u64>,
    keep: Option<u32>,
    max_age: Option<Duration>,
    compress: Option<bool>,
    on_full: Option<OnFull>,
    to: Option<LogTarget>,
}

impl LogsDraft {
    pub(super) fn read(&mut self, object: &Object<'_>, problems: &mut Problems<'_>) {
        for field in fields(object, LOGS, "logs", problems) {
            match field.key.name {
                "stderr" => self.stderr = field.parsed(stderr, problems),
                "format" => self.format = field.parsed(format, problems),
                "max_size" => {
                    self.max_size = field.size(problems);
                }
                "keep" => self.keep = field.count(problems),
                "max_age" => self.max_age = field.duration(problems),
                "compress" => self.compress = field.flag(problems),
                "on_full" => self.on_full = field.parsed(on_full, problems),
                "to" => self.to = field.parsed(to, problems),
                _ => field.refuse(problems),
            }
        }
    }

    pub(super) fn over(self, below: &Self) -> Self {
        Self {
            stderr: self.stderr.or(below.stderr),
            format: self.format.or(below.format),
            max_size: self.max_size.or(below.max_size),
            keep: self.keep.or(below.keep),
            max_age: self.max_age.or(below.max_age),
            compress: self.compress.or(below.compress),
            on_full: self.on_full.or(below.on_full),
            to: self.to.or(below.to),
        }
    }

    /// Where the streams of a process go, as far as that is written.
    pub(super) fn streams(&self) -> (Option<StderrTo>, Option<LogTarget>) {
        (self.stderr, self.to)
    }

    /// What is written; what is not is as in `plain`.
    pub(super) fn finish(self, plain: LogsSpec) -> LogsSpec {
        LogsSpec {
            format: self.format.unwrap_or(plain.format),
            max_size: self.max_size.unwrap_or(plain.max_size),
            keep: self.keep.unwrap_or(plain.keep),
            max_age: self.max_age.or(plain.max_age),
            compress: self.compress.unwrap_or(plain.compress),
            on_full: self.on_full.unwrap_or(plain.on_full),
        }
    }
}

fn stderr(text: &str) -> Option<StderrTo> {
    match text {
        "merge" => Some(StderrTo::Merge),
        "separate" => Some(StderrTo::Separate),
        "discard" => Some(StderrTo::Discard),
        _ => None,
    }
}

fn format(text: &str) -> Option<LogFormat> {
    match text {
        "raw" => Some(LogFormat::Raw),
        "timestamped" => Some(LogFormat::Timestamped),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

fn on_full(text: &str) -> Option<OnFull> {
    match text {
        "drop" => Some(OnFull::Drop),
        "block" => Some(OnFull::Block),
        _ => None,
    }
}

fn to(text: &str) -> Option<LogTarget> {
    match text {
        "file" => Some(LogTarget::File),
        "null" => Some(LogTarget::Null),
        _ => None,
    }
}
