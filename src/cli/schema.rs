//! `schema`: the JSON Schema of a conf, for editors.

use serde_json::{Map, Value, json};

use crate::conf::{CONF_KEYS, Key, Kind};
use crate::model::Resource;

/// The JSON Schema (draft 2020-12) of a conf. What a schema can't say (a signal's name, a soft limit above its hard one)
/// is left to `check`.
pub fn schema() -> Value {
    let mut schema = object(CONF_KEYS);
    let mut document = Map::new();
    document.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    document.insert("title".into(), json!("A daemonherder conf"));
    document.insert("description".into(), json!("One service: <id>.conf or <id>@<host>.conf"));
    document.append(&mut schema);
    document.insert("required".into(), json!(["cmd"]));
    Value::Object(document)
}

fn object(keys: &[Key]) -> Map<String, Value> {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let mut object = Map::new();
    object.insert("type".into(), json!("object"));
    object.insert("additionalProperties".into(), json!(false));
    object.insert("properties".into(), Value::Object(properties));
    object
}

fn property(key: &Key) -> Value {
    let mut property = Map::new();
    property.insert("description".into(), json!(key.doc));
    property.append(&mut of_kind(&key.kind));
    if let Ok(default) = serde_json::from_str::<Value>(key.default) {
        property.insert("default".into(), default);
    }
    Value::Object(property)
}

/// A text without NUL.
const TEXT: &str = "^[^\\u0000]*$";

fn of_kind(kind: &Kind) -> Map<String, Value> {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let value = match kind {
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Text => text(TEXT),
        Kind::FilledText => text("^[^\\u0000]+$"),
        Kind::AbsolutePath => text("^/[^\\u0000]*$"),
        Kind::Texts => json!({ "type": "array", "items": text(TEXT) }),
        Kind::Choice(choices) => json!({ "type": "string", "enum": choices }),
        Kind::Duration { zero: true } => text("^[0-9]+(ms|s|m|h)$"),
        Kind::Duration { zero: false } => text("^0*[1-9][0-9]*(ms|s|m|h)$"),
        Kind::Size => {
            json!({ "anyOf": [text("^0*[1-9][0-9]*(B|k|K|KiB|M|MiB|G|GiB)$"), { "type": "integer", "minimum": 1 }] })
        }
        Kind::Count => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        Kind::ExitCodes => json!({ "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 255 } }),
        Kind::Signal => json!({ "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 1, "maximum": 64 }] }),
        Kind::Umask => text("^(0?[0-7]{1,3})$"),
        Kind::Limits => limits(),
        Kind::Variables => json!({
            "type": "object",
            "propertyNames": text("^[^=\\u0000]+$"),
            "additionalProperties": { "type": ["string", "null"], "pattern": TEXT },
        }),
        Kind::VariableNames => json!({ "type": "array", "items": text("^[^=\\u0000]+$") }),
        Kind::Object(keys) => return object(keys),
        Kind::Short(short, keys) => json!({ "anyOf": [of_kind(&short.kind), object(keys)] }),
        Kind::Defaults => {
            let own = ["name", "cmd", "args"];
            let keys: Vec<Key> = CONF_KEYS.iter().filter(|key| !own.contains(&key.name)).copied().collect();
            return object(&keys);
        }
    };
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn limits() -> Value {
    let bound = "(unlimited|[0-9]+)";
    let limit = json!({ "anyOf": [
        { "type": "string", "pattern": format!("^{bound}(:{bound})?$") },
        { "type": "integer", "minimum": 0 },
    ] });
    let names: Map<String, Value> = Resource::ALL.iter().map(|(_, name)| ((*name).to_owned(), limit.clone())).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": names })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_closed_and_knows_every_key() {
        let schema = schema();
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["required"], json!(["cmd"]));
        for key in CONF_KEYS {
            assert_eq!(schema["properties"][key.name]["description"], json!(key.doc), "{}", key.name);
        }
        assert_eq!(schema["properties"]["restart"]["default"], json!("always"));
        let restart = &schema["properties"]["restart"]["anyOf"];
        assert_eq!(restart[0]["enum"], json!(["always", "on-failure", "never"]));
        assert_eq!(restart[1]["properties"]["intensity"]["maximum"], json!(u32::MAX));
        assert_eq!(schema["properties"]["stop"]["properties"]["scope"]["enum"], json!(["tree", "main"]));
        assert_eq!(schema["properties"]["limits"]["properties"].as_object().unwrap().len(), Resource::ALL.len());
    }
}
