//! What holds for any text.

use daemonherder::conf::{Settings, lower};
use proptest::prelude::*;
use serde_json::Value;

use super::ROOT;

/// JSON that is nearly a conf: known keys with values that often fit.
fn nearly_conf() -> impl Strategy<Value = Value> {
    let text = |choices: &'static [&'static str]| prop::sample::select(choices).prop_map(Value::from).boxed();
    let duration = || text(&["0s", "1ms", "5s", "10m", "1h", "1d", "10"]);
    let key =
        |name: &'static str, value: BoxedStrategy<Value>| prop::option::of(value).prop_map(move |v| (name, v)).boxed();
    let object = |keys: Vec<BoxedStrategy<(&'static str, Option<Value>)>>| {
        keys.prop_map(|keys| {
            keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect::<Value>()
        })
        .boxed()
    };
    let restart = object(vec![
        key("policy", text(&["always", "on-failure", "never"])),
        key("delay", duration()),
        key("intensity", (0u32..9).prop_map(Value::from).boxed()),
        key("cooldown", duration()),
        key("max_cooldown", duration()),
        key("success_codes", prop::collection::vec(0u16..300, 0..3).prop_map(Value::from).boxed()),
    ]);
    let env = prop::collection::btree_map("[A-Z]{1,3}", prop::option::of(".{0,9}"), 0..4)
        .prop_map(|env| serde_json::to_value(env).unwrap())
        .boxed();
    object(vec![
        Just(("cmd", Some(Value::from("x")))).boxed(),
        key("name", any::<String>().prop_map(Value::from).boxed()),
        key("args", prop::collection::vec("\\PC{0,9}", 0..4).prop_map(Value::from).boxed()),
        key("env", env),
        key("restart", prop_oneof![restart, text(&["always", "never"])].boxed()),
        key("stop", object(vec![key("signal", text(&["TERM", "9", "HUP"])), key("timeout", duration())])),
        key("logs", object(vec![key("max_size", text(&["1k", "5MiB", "0B"])), key("max_age", duration())])),
        key("umask", text(&["022", "0", "8"])),
    ])
}

/// Writes the same value in another form: other order, blanks, comments and escapes.
fn rewritten(value: &Value, seed: &mut u64) -> String {
    let mut next = |below: u64| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % below
    };
    let blank = [" ", "\n", "\t", "/* \" { */", "// }\n", "\r\n"][next(6) as usize];
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            for at in (1..entries.len()).rev() {
                entries.swap(at, next(at as u64 + 1) as usize);
            }
            let entries: Vec<String> = entries
                .into_iter()
                .map(|(key, value)| format!("{blank}{}{blank}:{}", escaped(key), rewritten(value, seed)))
                .collect();
            format!("{{{}{blank}}}", entries.join(","))
        }
        Value::Array(list) => {
            let list: Vec<String> = list.iter().map(|value| rewritten(value, seed)).collect();
            format!("[{blank}{}{blank}]", list.join(","))
        }
        Value::String(text) => format!("{blank}{}", escaped(text)),
        other => format!("{blank}{other}{blank}"),
    }
}

fn escaped(text: &str) -> String {
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

proptest! {
    #[test]
    fn any_text_is_a_spec_or_has_problems(text in any::<String>()) {
        let id = "web".parse().unwrap();
        if let Err(problems) = lower(&id, &text, &Settings::default(), &ROOT) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.is_sorted());
        }
        let _ = Settings::read(&text, &ROOT);
    }

    #[test]
    fn torn_and_bitten_confs_are_specs_or_have_problems(conf in nearly_conf(), cut in any::<prop::sample::Index>(), bite in "[\\[\\]{},:\"'/*\\\\0-9a-z\n]{0,3}") {
        let text = conf.to_string();
        let mut at = cut.index(text.len() + 1);
        while !text.is_char_boundary(at) { at -= 1; }
        let bitten = format!("{}{bite}{}", &text[..at], &text[at..]);
        for text in [&bitten, &text[..at], &text[at..]] {
            if let Err(problems) = lower(&"web".parse().unwrap(), text, &Settings::default(), &ROOT) {
                prop_assert!(!problems.is_empty());
            }
        }
    }

    #[test]
    fn order_blanks_comments_and_escapes_change_nothing(conf in nearly_conf(), mut seed in any::<u64>()) {
        let id = "web".parse().unwrap();
        let messages = |text: &str| lower(&id, text, &Settings::default(), &ROOT).map_err(|problems| {
            let mut messages: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
            messages.sort();
            messages
        });
        let text = conf.to_string();
        prop_assert_eq!(messages(&text), messages(&rewritten(&conf, &mut seed)));
    }
}
