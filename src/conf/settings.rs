//! `herder.json`: what holds for all services.

use std::sync::Arc;

use jsonc_parser::ast::Value;

use super::json;
use super::lower::{Draft, read_defaults};
use super::problem::Problems;
use super::reader::{Reading, fields};
use super::schema::SETTINGS_KEYS;
use super::{Accounts, Problem};
use crate::model::{HerdEnv, Origin};

/// The settings of the herd; its default is what holds without a `herder.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What confs take where they say nothing.
    pub(super) defaults: Draft,
    /// What every service is given, `env` and `inherit_env`.
    pub env: Arc<HerdEnv>,
    /// A group that may use the control socket besides the owner.
    pub control_group: Option<String>,
    /// Whether services get cgroups.
    pub cgroup: Cgroup,
    /// Whether confs are read again when they change.
    pub live_reload: LiveReload,
    /// What they were read from.
    pub(super) origin: Origin,
}

/// Whether services get cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cgroup {
    /// Where that is usable.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// Whether confs are read again when they change, or only when that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LiveReload(pub bool);

impl Default for LiveReload {
    fn default() -> Self {
        Self(true)
    }
}

impl Settings {
    /// Reads the text of a `herder.json`.
    ///
    /// # Errors
    /// Every problem of the text, in its order.
    pub fn read(text: &str, accounts: &dyn Accounts) -> Result<Self, Vec<Problem>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reading = Reading { problems: Problems::of(text), accounts };
        let mut env = HerdEnv::default();
        let mut settings = Self { origin: Origin { settings: text.into(), ..Origin::default() }, ..Self::default() };
        if let Some(object) = json::parse(text, &mut reading.problems) {
            for field in fields(&object, SETTINGS_KEYS, "", &mut reading.problems) {
                match (field.key.name, field.value) {
                    ("defaults", Value::Object(object)) => settings.defaults = read_defaults(object, &mut reading),
                    ("control", Value::Object(object)) => settings.read_control(object, &mut reading),
                    ("env", _) => env.variables = field.variables(&mut reading.problems).unwrap_or_default(),
                    ("inherit_env", _) => {
                        env.inherit = field.variable_names(&mut reading.problems).unwrap_or_default();
                    }
                    ("cgroup", _) => {
                        settings.cgroup = field.parsed(cgroup, &mut reading.problems).unwrap_or_default();
                    }
                    ("live_reload", _) => {
                        settings.live_reload = field.flag(&mut reading.problems).map(LiveReload).unwrap_or_default();
                    }
                    _ => field.refuse(&mut reading.problems),
                }
            }
        }
        settings.env = env.into();
        if reading.problems.is_empty() { Ok(settings) } else { Err(reading.problems.into_sorted()) }
    }

    fn read_control(&mut self, object: &jsonc_parser::ast::Object<'_>, reading: &mut Reading<'_, '_>) {
        for field in fields(object, super::schema::CONTROL, "control", &mut reading.problems) {
            match field.key.name {
                "group" => self.control_group = field.text(&mut reading.problems),
                _ => field.refuse(&mut reading.problems),
            }
        }
    }
}

fn cgroup(text: &str) -> Option<Cgroup> {
    match text {
        "auto" => Some(Cgroup::Auto),
        "off" => Some(Cgroup::Off),
        _ => None,
    }
}
