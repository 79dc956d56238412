//! Values of known keys: every value is taken as its key's kind wants it, or its problem is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jsonc_parser::ast::{Object, Value};

use super::json::{kind, start};
use super::nearest::nearest;
use super::problem::{Problems, quoted};
use super::schema::{Key, Kind};
use super::{Accounts, units};

/// What reading goes along with: where problems are told and who knows users and groups.
pub(super) struct Reading<'r, 't> {
    pub(super) problems: Problems<'t>,
    pub(super) accounts: &'r dyn Accounts,
}

/// A key with the value that a text gives it.
#[derive(Clone, Copy)]
pub(super) struct Field<'v, 't> {
    /// The key as the schema knows it.
    pub(super) key: &'static Key,
    /// The value.
    pub(super) value: &'v Value<'t>,
    /// The key as a message calls it, with the object that it is in.
    within: &'static str,
}

/// The known keys of an object, each once; unknown and doubled ones are told. `within` names the object in messages,
/// and is empty for the outermost one.
pub(super) fn fields<'v, 't>(
    object: &'v Object<'t>,
    keys: &'static [Key],
    within: &'static str,
    problems: &mut Problems<'_>,
) -> Vec<Field<'v, 't>> {
    let mut fields = Vec::with_capacity(object.properties.len().min(keys.len()));
    for (name, at, value) in distinct(object, within, problems) {
        match keys.iter().find(|key| key.name == name) {
            Some(key) => fields.push(Field { key, value, within }),
            None => problems.add(at, unknown(name, keys, within)),
        }
    }
    fields
}

/// The entries of an object with the byte where each key stands; of a doubled key only the first, the others are told.
pub(super) fn distinct<'v, 't>(
    object: &'v Object<'t>,
    within: &str,
    problems: &mut Problems<'_>,
) -> Vec<(&'v str, usize, &'v Value<'t>)> {
    let mut seen = BTreeSet::new();
    let mut entries = Vec::with_capacity(object.properties.len());
    for property in &object.properties {
        let (name, at) = (property.name.as_str(), property.range.start);
        if seen.insert(name) {
            entries.push((name, at, &property.value));
        } else {
            problems.add(at, format!("doubled key {}{}, expected it once", quoted(name), inside(within)));
        }
    }
    entries
}

/// The message for a key that `within` does not know.
fn unknown(name: &str, keys: &'static [Key], within: &str) -> String {
    let known: Vec<&'static str> = keys.iter().map(|key| key.name).collect();
    let elsewhere = keys.iter().find_map(|key| match key.kind {
        Kind::Object(inner) | Kind::Short(_, inner) if inner.iter().any(|key| key.name == name) => Some(key.name),
        _ => None,
    });
    match elsewhere {
        Some(object) if within.is_empty() => {
            format!("unknown key {}, expected it in {object:?} ({object}.{name})", quoted(name))
        }
        _ => unknown_name("key", name, &known, within),
    }
}

/// The message for a name that is none of the known ones.
pub(super) fn unknown_name(what: &str, name: &str, known: &[&'static str], within: &str) -> String {
    let hint = match nearest(name, known) {
        Some(key) => format!("did you mean {key:?}?"),
        None => format!("expected one of {}", known.join(", ")),
    };
    format!("unknown {what} {}{}, {hint}", quoted(name), inside(within))
}

fn inside(within: &str) -> String {
    if within.is_empty() { String::new() } else { format!(" in {within:?}") }
}

impl<'v, 't> Field<'v, 't> {
    /// Where its value stands.
    pub(super) fn at(&self) -> usize {
        start(self.value)
    }

    /// The key as a message calls it: `restart.delay`.
    pub(super) fn path(&self) -> String {
        match self.within {
            "" => self.key.name.to_owned(),
            within => format!("{within}.{}", self.key.name),
        }
    }

    /// Tells that the value is not what the key takes.
    pub(super) fn refuse(&self, problems: &mut Problems<'_>) {
        self.refuse_at(self.value, problems);
    }

    fn refuse_at(&self, value: &Value<'_>, problems: &mut Problems<'_>) {
        let found = match (value, self.key.kind) {
            // Values of variables are secrets.
            (_, Kind::Variables) => kind(value).to_owned(),
            (Value::StringLit(text), _) => quoted(&text.value),
            (Value::NumberLit(number), _) => quoted(number.value).replace('"', ""),
            (Value::BooleanLit(flag), _) => flag.value.to_string(),
            _ => kind(value).to_owned(),
        };
        problems.add(start(value), format!("{} must be {}, found {found}", self.path(), self.key.kind.expected()));
    }

    fn required<T>(&self, value: Option<T>, problems: &mut Problems<'_>) -> Option<T> {
        if value.is_none() {
            self.refuse(problems);
        }
        value
    }

    /// A text as it is written, whatever its kind; anything else is told.
    pub(super) fn text(&self, problems: &mut Problems<'_>) -> Option<String> {
        let Value::StringLit(text) = self.value else { return self.required(None, problems) };
        if nul(&text.value, self.at(), &self.path(), problems) {
            return None;
        }
        let empty = matches!(self.key.kind, Kind::FilledText) && text.value.is_empty();
        let relative = matches!(self.key.kind, Kind::AbsolutePath) && !text.value.starts_with('/');
        self.required((!empty && !relative).then(|| text.value.clone().into_owned()), problems)
    }

    /// A list of texts.
    pub(super) fn texts(&self, problems: &mut Problems<'_>) -> Option<Vec<String>> {
        let Value::Array(list) = self.value else { return self.required(None, problems) };
        let mut texts = Vec::with_capacity(list.elements.len());
        for (place, element) in list.elements.iter().enumerate() {
            match element {
                Value::StringLit(text) => {
                    if !nul(&text.value, start(element), &self.path(), problems) {
                        texts.push(text.value.clone().into_owned());
                    }
                }
                other => problems
                    .add(start(other), format!("{}[{place}] must be a text, found {}", self.path(), kind(other))),
            }
        }
        Some(texts)
    }

    /// A flag.
    pub(super) fn flag(&self, problems: &mut Problems<'_>) -> Option<bool> {
        let flag = if let Value::BooleanLit(flag) = self.value { Some(flag.value) } else { None };
        self.required(flag, problems)
    }

    /// A text that a function turns into a value.
    pub(super) fn parsed<T>(&self, parse: impl Fn(&str) -> Option<T>, problems: &mut Problems<'_>) -> Option<T> {
        let parsed = if let Value::StringLit(text) = self.value { parse(&text.value) } else { None };
        self.required(parsed, problems)
    }

    /// A duration.
    pub(super) fn duration(&self, problems: &mut Problems<'_>) -> Option<Duration> {
        let zero = matches!(self.key.kind, Kind::Duration { zero: true });
        self.parsed(|text| units::duration(text).filter(|duration| zero || !duration.is_zero()), problems)
    }

    /// A number of bytes, with a unit or without.
    pub(super) fn size(&self, problems: &mut Problems<'_>) -> Option<u64> {
        let size = match self.value {
            Value::StringLit(text) => units::size(&text.value),
            bytes => whole(bytes),
        };
        self.required(size.filter(|bytes| *bytes > 0), problems)
    }

    /// A whole number in the range of its type.
    pub(super) fn count(&self, problems: &mut Problems<'_>) -> Option<u32> {
        self.required(whole(self.value), problems)
    }

    /// A list of exit codes, sorted, each once.
    pub(super) fn exit_codes(&self, problems: &mut Problems<'_>) -> Option<Vec<u8>> {
        let Value::Array(list) = self.value else { return self.required(None, problems) };
        let mut codes = BTreeSet::new();
        for element in &list.elements {
            match whole(element) {
                Some(code) => drop(codes.insert(code)),
                None => self.refuse_at(element, problems),
            }
        }
        Some(codes.into_iter().collect())
    }

    /// Variables by name; values never come into a message.
    pub(super) fn variables(&self, problems: &mut Problems<'_>) -> Option<BTreeMap<String, Option<String>>> {
        let Value::Object(object) = self.value else { return self.required(None, problems) };
        let mut variables = BTreeMap::new();
        for (name, at, value) in distinct(object, &self.path(), problems) {
            if let Some(why) = wrong_variable(name) {
                problems.add(at, format!("{} has the variable {}, {why}", self.path(), quoted(name)));
                continue;
            }
            let path = || format!("{} of {}", quoted(name), self.path());
            match value {
                Value::NullKeyword(_) => drop(variables.insert(name.to_owned(), None)),
                Value::StringLit(text) => {
                    if !nul(&text.value, start(value), &path(), problems) {
                        variables.insert(name.to_owned(), Some(text.value.clone().into_owned()));
                    }
                }
                other => {
                    problems.add(start(other), format!("{} must be a text or null, found {}", path(), kind(other)))
                }
            }
        }
        Some(variables)
    }

    /// Names of variables, each once, in order.
    pub(super) fn variable_names(&self, problems: &mut Problems<'_>) -> Option<Vec<String>> {
        let Value::Array(list) = self.value else { return self.required(None, problems) };
        let mut names: Vec<String> = Vec::new();
        for (place, element) in list.elements.iter().enumerate() {
            match element {
                Value::StringLit(text) => match wrong_variable(&text.value) {
                    Some(why) => {
                        problems.add(start(element), format!("{} has {}, {why}", self.path(), quoted(&text.value)));
                    }
                    None => names.push(text.value.clone().into_owned()),
                },
                other => problems
                    .add(start(other), format!("{}[{place}] must be a text, found {}", self.path(), kind(other))),
            }
        }
        names.sort();
        names.dedup();
        Some(names)
    }
}

/// A whole number written as such, in the range of the type.
pub(super) fn whole<T: std::str::FromStr>(value: &Value<'_>) -> Option<T> {
    match value {
        // A sign would make "-0" a number.
        Value::NumberLit(number) if number.value.bytes().all(|c| c.is_ascii_digit()) => number.value.parse().ok(),
        _ => None,
    }
}

/// Tells of a NUL, which no argument, path or variable of a process can hold (execve(2)).
pub(super) fn nul(text: &str, at: usize, path: &str, problems: &mut Problems<'_>) -> bool {
    let found = text.contains('\0');
    if found {
        problems.add(at, format!("{path} holds a NUL (\\u0000), expected none"));
    }
    found
}

fn wrong_variable(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("expected a name that is not empty")
    } else if name.contains('=') {
        Some("expected a name without '='")
    } else if name.contains('\0') {
        Some("expected a name without NUL")
    } else {
        None
    }
}
