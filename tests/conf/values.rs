//! Every key of a conf: what it takes, what it refuses, what it means.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use daemonherder::conf::{CONF_KEYS, Kind, Settings, lower};
use daemonherder::model::{
    Bound, EnvChange, Exceeded, Limit, LogFormat, LogTarget, LogsSpec, OnFull, Origin, ProcessSpec, Resource,
    RestartPolicy, RestartSpec, ServiceSpec, Signal, StderrTo, StopScope, StopSpec,
};

use super::{APP, ROOT, good, lines, lowered, problems};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What `{"cmd": "x"}` means.
fn plain() -> ServiceSpec {
    ServiceSpec {
        id: "web".parse().unwrap(),
        name: None,
        enabled: true,
        process: ProcessSpec {
            cmd: "x".into(),
            args: vec![],
            cwd: None,
            env: EnvChange::default(),
            env_file: None,
            user: None,
            group: None,
            umask: None,
            limits: BTreeMap::new(),
            stderr: StderrTo::Merge,
            output: LogTarget::File,
            cgroup: true,
        },
        restart: RestartSpec {
            policy: RestartPolicy::Always,
            success_codes: vec![0],
            delay: Duration::ZERO,
            intensity: 5,
            period: seconds(10),
            exceeded: Exceeded::Cooldown,
            cooldown: seconds(10),
            max_cooldown: seconds(300),
        }
        .into(),
        stop: StopSpec { signal: Signal::TERM, timeout: seconds(10), scope: StopScope::Tree },
        logs: LogsSpec {
            format: LogFormat::Raw,
            max_size: 10 << 20,
            keep: 10,
            max_age: None,
            compress: false,
            on_full: OnFull::Drop,
        }
        .into(),
        origin: Origin::default(),
    }
}

#[test]
fn only_a_command_is_required_and_the_rest_has_the_documented_defaults() {
    assert_eq!(good(r#"{"cmd":"x"}"#), plain());
    // What a program begins with that makes its specs without a conf.
    assert_eq!(ServiceSpec::new("web".parse().unwrap(), "x"), plain());
}

#[test]
fn the_original_format_is_valid_as_it_stands() {
    let text = r#"{ "name": "Descriptive name of service", "cwd": "/working/path/of/service", "cmd": "command_to_run",
  "args": ["--argument_to_your_service", "--argument_with_value", "2", "-v"] }"#;
    let mut expected = plain();
    expected.name = Some("Descriptive name of service".to_owned());
    expected.process.cwd = Some("/working/path/of/service".into());
    expected.process.cmd = "command_to_run".into();
    expected.process.args =
        ["--argument_to_your_service", "--argument_with_value", "2", "-v"].map(String::from).to_vec();
    assert_eq!(good(text), expected);
}

/// A conf with one more key differs from the plain one by just that.
#[track_caller]
fn check(key: &str, change: impl FnOnce(&mut ServiceSpec)) {
    let mut expected = plain();
    change(&mut expected);
    assert_ne!(expected, plain(), "{key}: the test asserts nothing");
    assert_eq!(good(&format!("{{\"cmd\":\"x\",{key}}}")), expected, "{key}");
}

#[test]
fn process_keys() {
    check(r#""name":"Wéb server""#, |s| s.name = Some("Wéb server".to_owned()));
    check(r#""enabled":false"#, |s| s.enabled = false);
    check(r#""args":["", "a b", "$HOME"]"#, |s| s.process.args = vec!["".into(), "a b".into(), "$HOME".into()]);
    check(r#""cwd":"/srv""#, |s| s.process.cwd = Some("/srv".into()));
    check(r#""env_file":"/etc/x.env""#, |s| s.process.env_file = Some("/etc/x.env".into()));
    check(r#""env_file":"x.env""#, |s| s.process.env_file = Some("x.env".into()));
    check(r#""env":{"A":"b","C":null,"ä b":""}"#, |s| {
        let pair = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        s.process.env.service = [pair("A", Some("b")), pair("C", None), pair("ä b", Some(""))].into();
    });
    check(r#""user":"app""#, |s| s.process.user = Some("app".into()));
    check(r#""group":"apps""#, |s| s.process.group = Some("apps".into()));
    check(r#""umask":"022""#, |s| s.process.umask = Some(0o22));
    check(r#""umask":"0""#, |s| s.process.umask = Some(0));
    check(r#""umask":"0777""#, |s| s.process.umask = Some(0o777));
}

#[test]
fn limits() {
    let limit = |resource, soft, hard| {
        move |s: &mut ServiceSpec| {
            s.process.limits.insert(resource, Limit { soft, hard });
        }
    };
    use Bound::{At, Unlimited};
    check(r#""limits":{"nofile":"1024:4096"}"#, limit(Resource::Nofile, At(1024), At(4096)));
    check(r#""limits":{"nofile":"1024:unlimited"}"#, limit(Resource::Nofile, At(1024), Unlimited));
    check(r#""limits":{"core":"unlimited"}"#, limit(Resource::Core, Unlimited, Unlimited));
    check(r#""limits":{"core":"0"}"#, limit(Resource::Core, At(0), At(0)));
    check(r#""limits":{"nproc":100}"#, limit(Resource::Nproc, At(100), At(100)));
    check(r#""limits":{"as":18446744073709551615}"#, limit(Resource::As, Unlimited, Unlimited));
    for (resource, name) in Resource::ALL {
        check(&format!(r#""limits":{{"{name}":"1:2"}}"#), limit(resource, At(1), At(2)));
    }
}

#[test]
fn restart_keys() {
    for (text, policy) in [("on-failure", RestartPolicy::OnFailure), ("never", RestartPolicy::Never)] {
        check(&format!(r#""restart":"{text}""#), |s| Arc::make_mut(&mut s.restart).policy = policy);
        check(&format!(r#""restart":{{"policy":"{text}"}}"#), |s| Arc::make_mut(&mut s.restart).policy = policy);
    }
    check(r#""restart":{"success_codes":[143, 0, 0, 255]}"#, |s| {
        Arc::make_mut(&mut s.restart).success_codes = vec![0, 143, 255]
    });
    check(r#""restart":{"success_codes":[]}"#, |s| Arc::make_mut(&mut s.restart).success_codes = vec![]);
    check(r#""restart":{"delay":"250ms"}"#, |s| Arc::make_mut(&mut s.restart).delay = Duration::from_millis(250));
    check(r#""restart":{"intensity":0}"#, |s| Arc::make_mut(&mut s.restart).intensity = 0);
    check(r#""restart":{"intensity":4294967295}"#, |s| Arc::make_mut(&mut s.restart).intensity = u32::MAX);
    check(r#""restart":{"period":"1h"}"#, |s| Arc::make_mut(&mut s.restart).period = seconds(3600));
    check(r#""restart":{"exceeded":"fail"}"#, |s| Arc::make_mut(&mut s.restart).exceeded = Exceeded::Fail);
    check(r#""restart":{"cooldown":"1m"}"#, |s| Arc::make_mut(&mut s.restart).cooldown = seconds(60));
    check(r#""restart":{"max_cooldown":"1h"}"#, |s| Arc::make_mut(&mut s.restart).max_cooldown = seconds(3600));
}

#[test]
fn of_two_cooldowns_a_written_one_moves_the_default_of_the_other() {
    let both = |cooldown, max_cooldown| {
        move |s: &mut ServiceSpec| {
            let restart = Arc::make_mut(&mut s.restart);
            (restart.cooldown, restart.max_cooldown) = (seconds(cooldown), seconds(max_cooldown));
        }
    };
    check(r#""restart":{"cooldown":"10m"}"#, both(600, 600));
    check(r#""restart":{"max_cooldown":"5s"}"#, both(5, 5));
    check(r#""restart":{"cooldown":"7s","max_cooldown":"7s"}"#, both(7, 7));
}

#[test]
fn stop_keys() {
    for text in [r#""INT""#, r#""SIGINT""#, r#""int""#, r#""2""#, "2"] {
        check(&format!(r#""stop":{{"signal":{text}}}"#), |s| s.stop.signal = Signal::from_number(2).unwrap());
    }
    check(r#""stop":{"signal":64}"#, |s| s.stop.signal = Signal::from_number(64).unwrap());
    check(r#""stop":{"timeout":"0s"}"#, |s| s.stop.timeout = Duration::ZERO);
    check(r#""stop":{"scope":"main"}"#, |s| s.stop.scope = StopScope::Main);
}

#[test]
fn logs_keys() {
    check(r#""logs":{"stderr":"separate"}"#, |s| s.process.stderr = StderrTo::Separate);
    check(r#""logs":{"stderr":"discard"}"#, |s| s.process.stderr = StderrTo::Discard);
    check(r#""logs":{"to":"null"}"#, |s| s.process.output = LogTarget::Null);
    check(r#""logs":{"format":"timestamped"}"#, |s| Arc::make_mut(&mut s.logs).format = LogFormat::Timestamped);
    check(r#""logs":{"format":"json"}"#, |s| Arc::make_mut(&mut s.logs).format = LogFormat::Json);
    check(r#""logs":{"max_size":"512k"}"#, |s| Arc::make_mut(&mut s.logs).max_size = 512 << 10);
    check(r#""logs":{"max_size":1048576}"#, |s| Arc::make_mut(&mut s.logs).max_size = 1 << 20);
    check(r#""logs":{"max_size":"1B"}"#, |s| Arc::make_mut(&mut s.logs).max_size = 1);
    check(r#""logs":{"keep":0}"#, |s| Arc::make_mut(&mut s.logs).keep = 0);
    check(r#""logs":{"max_age":"24h"}"#, |s| Arc::make_mut(&mut s.logs).max_age = Some(seconds(86_400)));
    check(r#""logs":{"compress":true}"#, |s| Arc::make_mut(&mut s.logs).compress = true);
    check(r#""logs":{"on_full":"block"}"#, |s| Arc::make_mut(&mut s.logs).on_full = OnFull::Block);
}

#[test]
fn every_choice_of_the_schema_is_taken() {
    each_key(|path, kind| {
        let choices = match kind {
            Kind::Choice(choices) => *choices,
            Kind::Short(short, _) => match short.kind {
                Kind::Choice(choices) => choices,
                other => panic!("{other:?}"),
            },
            _ => return,
        };
        for choice in choices {
            good(&conf_with(path, &format!("{choice:?}")));
        }
    });
}

#[test]
fn every_default_of_the_schema_is_the_one_that_holds() {
    fn walk(keys: &[daemonherder::conf::Key], within: Option<&str>) {
        for key in keys {
            let path: Vec<&str> = within.into_iter().chain([key.name]).collect();
            if !key.default.is_empty() {
                assert_eq!(good(&conf_with(&path, key.default)), plain(), "{path:?}");
            }
            if let Kind::Object(inner) | Kind::Short(_, inner) = key.kind {
                walk(inner, Some(key.name));
            }
        }
    }
    walk(CONF_KEYS, None);
}

#[test]
fn no_key_takes_what_it_is_not_for() {
    each_key(|path, kind| {
        let wrong: &[&str] = match kind {
            Kind::Flag => &["0", "\"true\"", "null", "{}", "[]"],
            Kind::Text => &["0", "null", "true", "{}", "[]", "\"a\\u0000b\""],
            Kind::FilledText => &["0", "null", "true", "{}", "[]", "\"\"", "\"a\\u0000b\""],
            Kind::AbsolutePath => &["0", "null", "\"\"", "\"a\"", "\"./a\"", "\"~/a\"", "\"/a\\u0000b\""],
            Kind::Texts => &["0", "null", "\"a\"", "{}", "[1]", "[null]", "[\"a\\u0000b\"]", "[[\"a\"]]"],
            Kind::Choice(_) | Kind::Short(..) => &["0", "null", "true", "[]", "\"\"", "\"permanent\"", "\"Always\""],
            Kind::Duration { zero: true } => {
                &["0", "10", "null", "\"\"", "\"10\"", "\"1d\"", "\"-1s\"", "\"1.5s\"", "\"99999999h\""]
            }
            Kind::Duration { zero: false } => &["0", "\"10\"", "\"0s\"", "\"0ms\""],
            Kind::Size => &["0", "-1", "1.5", "null", "\"\"", "\"10\"", "\"0k\"", "\"10mb\"", "\"9999999999G\""],
            Kind::Count => &["-1", "1.5", "1e2", "-0", "4294967296", "\"5\"", "null", "true"],
            Kind::ExitCodes => &["0", "null", "[256]", "[-1]", "[\"0\"]", "[1.0]", "{}"],
            Kind::Signal => &["0", "65", "-1", "1.5", "\"\"", "\"TERMINATE\"", "\"0\"", "\"65\"", "null", "true"],
            Kind::Umask => {
                &["22", "18", "\"\"", "\"8\"", "\"1000\"", "\"0o22\"", "\"00022\"", "\"-22\"", "\"+22\"", "null"]
            }
            Kind::Limits => &[
                "0",
                "null",
                "[]",
                "{\"nofiles\":1}",
                "{\"nofile\":-1}",
                "{\"nofile\":\"4096:1024\"}",
                "{\"nofile\":\"\"}",
                "{\"nofile\":\"1:\"}",
                "{\"nofile\":\":1\"}",
                "{\"nofile\":\"1:2:3\"}",
                "{\"nofile\":\"unlimited:1\"}",
                "{\"nofile\":\"1k\"}",
                "{\"nofile\":null}",
                "{\"nofile\":\"99999999999999999999\"}",
                "{\"core\":1,\"core\":1}",
            ],
            Kind::Variables => &[
                "0",
                "null",
                "[]",
                "\"A=b\"",
                "{\"\":\"a\"}",
                "{\"A=\":\"a\"}",
                "{\"A\\u0000\":\"a\"}",
                "{\"A\":1}",
                "{\"A\":\"\\u0000\"}",
                "{\"A\":\"1\",\"A\":\"2\"}",
                "{\"A\":{}}",
            ],
            Kind::Object(_) => &["0", "null", "[]", "\"\"", "{\"unknown\":1}"],
            Kind::VariableNames | Kind::Defaults => panic!("{path:?} is no key of a conf"),
        };
        for value in wrong {
            let text = conf_with(path, value);
            let found = problems(&text);
            assert_eq!(found.lines().count(), 1, "{text}: {found}");
            assert!(found.contains(path.last().unwrap()), "{text}: {found}");
            assert!(
                found.contains("must be") || found.contains("expected") || found.contains("did you mean"),
                "{text}: {found}"
            );
        }
    });
}

fn each_key(mut visit: impl FnMut(&[&str], &Kind)) {
    for key in CONF_KEYS {
        visit(&[key.name], &key.kind);
        if let Kind::Object(inner) | Kind::Short(_, inner) = key.kind {
            inner.iter().for_each(|inner| visit(&[key.name, inner.name], &inner.kind));
        }
    }
}

/// A conf with this key.
fn conf_with(path: &[&str], value: &str) -> String {
    match path {
        ["cmd"] => format!(r#"{{"cmd":{value}}}"#),
        [key] => format!(r#"{{"cmd":"x","{key}":{value}}}"#),
        [object, key] => format!(r#"{{"cmd":"x","{object}":{{"{key}":{value}}}}}"#),
        _ => panic!("{path:?}"),
    }
}

#[test]
fn all_problems_of_a_text_are_told_in_its_order() {
    let text = r#"{
  // What runs.
  "cmdd": "x", "args": ["a", 1, null],
  "args": [],
  "restart": { "delay": 5, "intensity": -1, "polciy": "never", "cooldown": "1m", "max_cooldown": "30s" },
  "stop": { "signal": "SIGFOO", "sig": 1 },
  "logs": { "max_size": "0k" },
  "limits": { "nofiles": 5, "core": "2:1" },
  "env": { "A=B": "x", "C": 5 }, "period": "1s",
  "umask": 22
}"#;
    insta::assert_snapshot!(problems(text), @r##"
    1:1: cmd is missing, expected the program to run: "cmd": "…"
    3:3: unknown key "cmdd", did you mean "cmd"?
    3:30: args[1] must be a text, found a number
    3:33: args[2] must be a text, found null
    4:3: doubled key "args", expected it once
    5:25: restart.delay must be a duration such as "250ms", "10s", "5m" or "1h", found 5
    5:41: restart.intensity must be a whole number from 0 to 4294967295, found -1
    5:45: unknown key "polciy" in "restart", did you mean "policy"?
    5:98: restart.max_cooldown (30s) is below restart.cooldown (60s), expected at least as much
    6:23: stop.signal must be a signal such as "TERM", "SIGTERM" or 15 (1 to 64), found "SIGFOO"
    6:33: unknown key "sig" in "stop", did you mean "signal"?
    7:25: logs.max_size must be a size above zero such as "512k" or "10MiB" (B, k, KiB, M, MiB, G, GiB), or a number of bytes, found "0k"
    8:15: unknown limit "nofiles" in "limits", did you mean "nofile"?
    8:37: limits.core has the soft limit 2 above the hard limit 1, expected at most as much
    9:12: env has the variable "A=B", expected a name without '='
    9:29: "C" of env must be a text or null, found a number
    9:34: unknown key "period", expected it in "restart" (restart.period)
    10:12: umask must be an octal text such as "022", at most "0777", found 22
    "##);
}

#[test]
fn a_syntax_error_is_the_only_problem() {
    insta::assert_snapshot!(problems("{ \"cmd\": 5,\n  \"args\": [1 2]\n}"), @r##"
    2:13: expected ',' or the closing bracket after this value
    "##);
    insta::assert_snapshot!(problems(""), @r##"
    1:1: expected an object: { … }, found nothing
    "##);
    insta::assert_snapshot!(problems("{}"), @r##"
    1:1: cmd is missing, expected the program to run: "cmd": "…"
    "##);
}

#[test]
fn an_unknown_key_comes_with_the_nearest_known_one() {
    let hint = |key: &str| problems(&format!(r#"{{"cmd":"x","{key}":1}}"#));
    insta::assert_snapshot!(
        ["comand", "command", "directory", "environment", "policy", "autostart", "limit"].map(hint).join("\n"),
        @r##"
    1:12: unknown key "comand", did you mean "cmd"?
    1:12: unknown key "command", did you mean "cmd"?
    1:12: unknown key "directory", expected one of name, cwd, cmd, args, enabled, env, env_file, user, group, umask, limits, restart, stop, logs
    1:12: unknown key "environment", did you mean "env"?
    1:12: unknown key "policy", expected it in "restart" (restart.policy)
    1:12: unknown key "autostart", expected one of name, cwd, cmd, args, enabled, env, env_file, user, group, umask, limits, restart, stop, logs
    1:12: unknown key "limit", did you mean "limits"?
    "##
    );
}

#[test]
fn the_value_of_a_variable_is_in_no_message() {
    for value in [r#""se\u0000cret""#, "11223344", r#"["secret"]"#, r#"{"secret":"secret"}"#, "true"] {
        let found = problems(&format!(r#"{{"cmd":"x","env":{{"A":{value}}}}}"#));
        assert!(!found.contains("cret") && !found.contains("1122"), "{found}");
    }
    assert!(!problems(r#"{"cmd":"x","env":"A=secret"}"#).contains("secret"));
}

#[test]
fn users_are_checked_against_the_host_and_the_own_user() {
    let check = |accounts: &super::Known, key: &str, expected: &str, passing: bool| {
        let text = format!(r#"{{"cmd":"x",{key}}}"#);
        match lower(&"web".parse().unwrap(), &text, &Settings::default(), accounts) {
            Ok(_) => assert_eq!("", expected, "{key}"),
            Err(problems) => {
                assert_eq!(lines(&problems), expected, "{key}");
                assert_eq!(problems[0].passing, passing, "{key}");
            }
        }
    };
    check(&ROOT, r#""user":"app","group":"root""#, "", false);
    check(&APP, r#""user":"app","group":"apps""#, "", false);
    let only = "expected none: only root may choose one, and the daemon runs as uid 1000";
    check(&APP, r#""user":"root""#, &format!("1:19: user is \"root\", {only}"), false);
    check(&APP, r#""group":"root""#, &format!("1:20: group is \"root\", {only}"), false);
    for accounts in [&ROOT, &APP] {
        check(accounts, r#""user":"0day""#, "1:19: user is \"0day\", expected one that this host knows", true);
        check(accounts, r#""user":"0""#, "1:19: user is \"0\", expected one that this host knows", true);
        check(accounts, r#""group":"x""#, "1:20: group is \"x\", expected one that this host knows", true);
        check(accounts, r#""user":"broken""#, "1:19: cannot look up user \"broken\": I/O error", true);
    }
}

#[test]
fn form_changes_nothing() {
    let one = good(r#"{"cmd":"x","env":{"A":"1","B":"2"},"stop":{"signal":"TERM"},"restart":"never"}"#);
    let other = good(
        "\u{feff}// note\n{ \"restart\": {\"policy\": \"never\"}, /* x */ \"env\": {\"B\":\"2\", \"A\":\"\\u0031\"},\r\n\t\"cmd\": \"\\u0078\", \"stop\": {\"signal\": 15} }\n",
    );
    assert_eq!(one, other);
}

#[test]
fn a_mark_at_the_beginning_moves_no_column() {
    assert_eq!(lines(&lowered("\u{feff}{\"cmd\":1}").unwrap_err()), lines(&lowered("{\"cmd\":1}").unwrap_err()));
}
