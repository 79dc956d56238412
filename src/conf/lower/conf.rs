//! A conf as a whole.

use jsonc_parser::ast::{Object, Value};

use super::logs::LogsDraft;
use super::process::ProcessDraft;
use super::restart::RestartDraft;
use super::stop::StopDraft;
use crate::conf::json;
use crate::conf::problem::Problems;
use crate::conf::reader::{Field, Reading, fields};
use crate::conf::schema::{CONF_KEYS, OWN};
use crate::conf::{Accounts, Problem, Settings};
use crate::model::{LogsSpec, Origin, RestartSpec, ServiceId, ServiceSpec};

/// What the text of a conf says, as long as nothing is wrong with it; read with the settings of the herd.
///
/// # Errors
/// Every problem of the text, in its order.
pub fn lower(
    id: &ServiceId,
    text: &str,
    settings: &Settings,
    accounts: &dyn Accounts,
) -> Result<ServiceSpec, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reading = Reading { problems: Problems::of(text), accounts };
    let spec = json::parse(text, &mut reading.problems).and_then(|object| {
        let own = read(&object, &mut reading);
        let draft = own.over(&settings.defaults);
        draft.restart.check(&mut reading.problems);
        let written = object.properties.iter().any(|property| property.name.as_str() == "cmd");
        if !written {
            reading.problems.add(object.range.start, "cmd is missing, expected the program to run: \"cmd\": \"…\"");
        }
        draft.finish(id, settings, Origin { conf: text.into(), ..settings.origin.clone() })
    });
    match spec {
        Some(spec) if reading.problems.is_empty() => Ok(spec),
        _ => Err(reading.problems.into_sorted()),
    }
}

/// What is written in a conf, or in `defaults`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::conf) struct Draft {
    name: Option<String>,
    cmd: Option<String>,
    args: Option<Vec<String>>,
    enabled: Option<bool>,
    process: ProcessDraft,
    restart: RestartDraft,
    stop: StopDraft,
    logs: LogsDraft,
}

fn read(object: &Object<'_>, reading: &mut Reading<'_, '_>) -> Draft {
    let mut draft = Draft::default();
    for field in fields(object, CONF_KEYS, "", &mut reading.problems) {
        draft.take(field, reading);
    }
    draft
}

/// The draft of `defaults`, which may not have what is a service's own.
pub(in crate::conf) fn read_defaults(object: &Object<'_>, reading: &mut Reading<'_, '_>) -> Draft {
    let mut draft = Draft::default();
    for field in fields(object, CONF_KEYS, "defaults", &mut reading.problems) {
        if OWN.contains(&field.key.name) {
            let message = format!("{} is a service's own, expected it in each conf only", field.path());
            reading.problems.add(field.at(), message);
        } else {
            draft.take(field, reading);
        }
    }
    draft.restart.check(&mut reading.problems);
    draft
}

impl Draft {
    fn take(&mut self, field: Field<'_, '_>, reading: &mut Reading<'_, '_>) {
        let problems = &mut reading.problems;
        match field.key.name {
            "name" => self.name = field.text(problems),
            "cmd" => self.cmd = field.text(problems),
            "args" => self.args = field.texts(problems),
            "enabled" => self.enabled = field.flag(problems),
            "restart" => match field.value {
                Value::Object(object) => self.restart.read(object, problems),
                _ => self.restart.read_short(field, problems),
            },
            "stop" => match field.value {
                Value::Object(object) => self.stop.read(object, problems),
                _ => field.refuse(problems),
            },
            "logs" => match field.value {
                Value::Object(object) => self.logs.read(object, problems),
                _ => field.refuse(problems),
            },
            _ => self.process.take(field, reading),
        }
    }

    fn over(self, below: &Self) -> Self {
        Self {
            name: self.name,
            cmd: self.cmd,
            args: self.args,
            enabled: self.enabled.or(below.enabled),
            process: self.process.over(&below.process),
            restart: self.restart.over(&below.restart),
            stop: self.stop.over(&below.stop),
            logs: self.logs.over(&below.logs),
        }
    }

    /// The spec, with the defaults of [`ServiceSpec::new`]; `None` where there is no command.
    fn finish(self, id: &ServiceId, settings: &Settings, origin: Origin) -> Option<ServiceSpec> {
        let plain = ServiceSpec::new(id.clone(), self.cmd?);
        Some(ServiceSpec {
            name: self.name.filter(|name| name != id.as_str()),
            id: plain.id,
            enabled: self.enabled.unwrap_or(plain.enabled),
            process: self.process.finish(plain.process, self.args, &self.logs, settings),
            restart: self.restart.finish(RestartSpec::default()).into(),
            stop: self.stop.finish(plain.stop),
            logs: self.logs.finish(LogsSpec::default()).into(),
            origin,
        })
    }
}
