//! What concerns the process itself: directory, environment, user, limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonc_parser::ast::Value;

use super::logs::LogsDraft;
use crate::conf::json::{kind, start};
use crate::conf::problem::{Problems, quoted};
use crate::conf::reader::{Field, Reading, distinct, unknown_name, whole};
use crate::conf::schema::resources;
use crate::conf::{AccountError, Cgroup, Settings};
use crate::model::{Bound, EnvChange, Limit, ProcessSpec, Resource};

/// What is written of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessDraft {
    cwd: Option<String>,
    env: BTreeMap<String, Option<String>>,
    env_file: Option<String>,
    user: Option<String>,
    group: Option<String>,
    umask: Option<u32>,
    limits: BTreeMap<Resource, Limit>,
}

impl ProcessDraft {
    pub(super) fn take(&mut self, field: Field<'_, '_>, reading: &mut Reading<'_, '_>) {
        let problems = &mut reading.problems;
        match field.key.name {
            "cwd" => self.cwd = field.text(problems),
            "env" => self.env = field.variables(problems).unwrap_or_default(),
            "env_file" => self.env_file = field.text(problems),
            "user" => self.user = user(field, reading),
            "group" => self.group = group(field, reading),
            "umask" => self.umask = field.parsed(umask, problems),
            "limits" => self.limits = limits(field, problems),
            _ => field.refuse(problems),
        }
    }

    pub(super) fn over(self, below: &Self) -> Self {
        let (mut env, mut limits) = (below.env.clone(), below.limits.clone());
        env.extend(self.env);
        limits.extend(self.limits);
        Self {
            cwd: self.cwd.or_else(|| below.cwd.clone()),
            env,
            env_file: self.env_file.or_else(|| below.env_file.clone()),
            user: self.user.or_else(|| below.user.clone()),
            group: self.group.or_else(|| below.group.clone()),
            umask: self.umask.or(below.umask),
            limits,
        }
    }

    /// What is written; what is not is as in `plain`.
    pub(super) fn finish(
        self,
        plain: ProcessSpec,
        args: Option<Vec<String>>,
        logs: &LogsDraft,
        settings: &Settings,
    ) -> ProcessSpec {
        let (stderr, output) = logs.streams();
        ProcessSpec {
            cmd: plain.cmd,
            args: args.unwrap_or(plain.args),
            cwd: self.cwd.map(Arc::from).or(plain.cwd),
            env: EnvChange { herd: Arc::clone(&settings.env), service: self.env },
            env_file: self.env_file.map(Arc::from).or(plain.env_file),
            user: self.user.map(Arc::from).or(plain.user),
            group: self.group.map(Arc::from).or(plain.group),
            umask: self.umask.or(plain.umask),
            limits: self.limits,
            stderr: stderr.unwrap_or(plain.stderr),
            output: output.unwrap_or(plain.output),
            cgroup: settings.cgroup == Cgroup::Auto,
        }
    }
}

fn user(field: Field<'_, '_>, reading: &mut Reading<'_, '_>) -> Option<String> {
    let name = field.text(&mut reading.problems)?;
    let (own, _) = reading.accounts.own();
    let found = reading.accounts.user(&name);
    permitted(field, &name, found, own, own, &mut reading.problems).then_some(name)
}

fn group(field: Field<'_, '_>, reading: &mut Reading<'_, '_>) -> Option<String> {
    let name = field.text(&mut reading.problems)?;
    let (uid, own) = reading.accounts.own();
    let found = reading.accounts.group(&name);
    permitted(field, &name, found, own, uid, &mut reading.problems).then_some(name)
}

/// Whether a daemon of this user may take on what was found: root anything, others only what they are.
fn permitted(
    field: Field<'_, '_>,
    name: &str,
    found: Result<u32, AccountError>,
    own: u32,
    euid: u32,
    problems: &mut Problems<'_>,
) -> bool {
    let (path, name) = (field.path(), quoted(name));
    match found {
        Ok(number) if euid == 0 || number == own => return true,
        Ok(_) => problems.add(
            field.at(),
            format!("{path} is {name}, expected none: only root may choose one, and the daemon runs as uid {euid}"),
        ),
        Err(AccountError::Unknown { .. }) => {
            problems.add_passing(field.at(), format!("{path} is {name}, expected one that this host knows"));
        }
        Err(AccountError::Failed { source, .. }) => {
            problems.add_passing(field.at(), format!("cannot look up {path} {name}: {}", source.desc()));
        }
    }
    false
}

fn umask(text: &str) -> Option<u32> {
    let octal = !text.is_empty() && text.len() <= 4 && text.bytes().all(|c| matches!(c, b'0'..=b'7'));
    if !octal {
        return None;
    }
    u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777)
}

fn limits(field: Field<'_, '_>, problems: &mut Problems<'_>) -> BTreeMap<Resource, Limit> {
    let mut limits = BTreeMap::new();
    let Value::Object(object) = field.value else {
        field.refuse(problems);
        return limits;
    };
    for (name, at, value) in distinct(object, &field.path(), problems) {
        let Some((resource, _)) = Resource::ALL.iter().find(|(_, known)| *known == name) else {
            problems.add(at, unknown_name("limit", name, &resources(), &field.path()));
            continue;
        };
        match limit(value) {
            Ok(limit) => drop(limits.insert(*resource, limit)),
            Err(why) => problems.add(start(value), format!("{}.{name} {why}", field.path())),
        }
    }
    limits
}

fn limit(value: &Value<'_>) -> Result<Limit, String> {
    let expected = "must be \"soft:hard\" or one value for both, each a whole number or \"unlimited\"";
    let both = |bound| Limit { soft: bound, hard: bound };
    let (parsed, found) = match value {
        Value::StringLit(text) => {
            let parsed = match text.value.split_once(':') {
                Some((soft, hard)) => bound(soft).and_then(|soft| Some(Limit { soft, hard: bound(hard)? })),
                None => bound(&text.value).map(both),
            };
            (parsed, quoted(&text.value))
        }
        Value::NumberLit(number) => (whole(value).map(bound_at).map(both), number.value.to_owned()),
        other => (None, kind(other).to_owned()),
    };
    match parsed {
        Some(limit) if limit.soft > limit.hard => Err(format!(
            "has the soft limit {} above the hard limit {}, expected at most as much",
            limit.soft, limit.hard
        )),
        Some(limit) => Ok(limit),
        None => Err(format!("{expected}, found {found}")),
    }
}

fn bound(text: &str) -> Option<Bound> {
    match text {
        "unlimited" => Some(Bound::Unlimited),
        digits if digits.bytes().all(|c| c.is_ascii_digit()) => digits.parse().ok().map(bound_at),
        _ => None,
    }
}

/// The kernel's word for "no limit" is the greatest number (RLIM_INFINITY, getrlimit(2)).
fn bound_at(value: u64) -> Bound {
    if value == u64::MAX { Bound::Unlimited } else { Bound::At(value) }
}
