//! `herder.json`: defaults below each conf, and problems at their own place.

use daemonherder::conf::{Cgroup, Settings, lower};
use daemonherder::model::{Bound, Limit, Resource, RestartPolicy, ServiceSpec};

use super::{ROOT, good, lines};

fn read(text: &str) -> Settings {
    Settings::read(text, &ROOT).unwrap_or_else(|problems| panic!("{text}: {}", lines(&problems)))
}

fn with(settings: &str, conf: &str) -> ServiceSpec {
    lower(&"web".parse().unwrap(), conf, &read(settings), &ROOT)
        .unwrap_or_else(|problems| panic!("{}", lines(&problems)))
}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(read("{}"), Settings::default());
    assert_eq!(read(r#"{"defaults":{},"env":{},"inherit_env":[],"control":{},"cgroup":"auto"}"#), Settings::default());
}

#[test]
fn settings_of_the_herd() {
    let settings = read(
        r#"{"env":{"A":"1","B":null},"inherit_env":["LANG","A","LANG"],"control":{"group":"apps"},"cgroup":"off"}"#,
    );
    assert_eq!(settings.control_group.as_deref(), Some("apps"));
    assert_eq!(settings.cgroup, Cgroup::Off);
    assert_eq!(settings.env.inherit, ["A", "LANG"]);
    assert_eq!(settings.env.variables, [("A".to_owned(), Some("1".to_owned())), ("B".to_owned(), None)].into());
    let spec = lower(&"web".parse().unwrap(), r#"{"cmd":"x","env":{"A":"2"}}"#, &settings, &ROOT).unwrap();
    assert_eq!(spec.process.env.herd, settings.env);
    assert_eq!(spec.process.env.service, [("A".to_owned(), Some("2".to_owned()))].into());
}

/// A conf below defaults means the same as another one without.
#[track_caller]
fn same(defaults: &str, conf: &str, alone: &str) {
    assert_eq!(with(&format!(r#"{{"defaults":{defaults}}}"#), conf), good(alone), "{defaults} {conf}");
}

#[test]
fn defaults_are_below_a_conf_key_by_key() {
    same(r#"{"umask":"027"}"#, r#"{"cmd":"x"}"#, r#"{"cmd":"x","umask":"027"}"#);
    same(r#"{"umask":"027"}"#, r#"{"cmd":"x","umask":"022"}"#, r#"{"cmd":"x","umask":"022"}"#);
    same(r#"{"enabled":false}"#, r#"{"cmd":"x","enabled":true}"#, r#"{"cmd":"x"}"#);
    same(
        r#"{"restart":{"policy":"never","delay":"1s","intensity":7}}"#,
        r#"{"cmd":"x","restart":{"delay":"2s"}}"#,
        r#"{"cmd":"x","restart":{"policy":"never","delay":"2s","intensity":7}}"#,
    );
    same(
        r#"{"restart":{"delay":"1s"}}"#,
        r#"{"cmd":"x","restart":"never"}"#,
        r#"{"cmd":"x","restart":{"policy":"never","delay":"1s"}}"#,
    );
    same(r#"{"restart":"never"}"#, r#"{"cmd":"x","restart":{}}"#, r#"{"cmd":"x","restart":"never"}"#);
    same(
        r#"{"stop":{"timeout":"1s","scope":"main"},"logs":{"keep":1,"to":"null"}}"#,
        r#"{"cmd":"x","stop":{"timeout":"2s"},"logs":{"to":"file"}}"#,
        r#"{"cmd":"x","stop":{"timeout":"2s","scope":"main"},"logs":{"keep":1}}"#,
    );
    same(
        r#"{"env":{"A":"1","B":"2"},"user":"app","group":"apps","cwd":"/a","env_file":"b"}"#,
        r#"{"cmd":"x","env":{"B":null,"C":"3"},"cwd":"/c"}"#,
        r#"{"cmd":"x","env":{"A":"1","B":null,"C":"3"},"user":"app","group":"apps","cwd":"/c","env_file":"b"}"#,
    );
    let limits =
        with(r#"{"defaults":{"limits":{"core":0,"nproc":1}}}"#, r#"{"cmd":"x","limits":{"nproc":2}}"#).process.limits;
    let both = |value| Limit { soft: Bound::At(value), hard: Bound::At(value) };
    assert_eq!(limits, [(Resource::Core, both(0)), (Resource::Nproc, both(2))].into());
    assert_eq!(with(r#"{"defaults":{"restart":"never"}}"#, r#"{"cmd":"x"}"#).restart.policy, RestartPolicy::Never);
}

#[test]
fn a_conf_that_contradicts_the_defaults_has_the_problem() {
    let check = |defaults: &str, conf: &str, expected: &str| {
        let settings = read(&format!(r#"{{"defaults":{{"restart":{defaults}}}}}"#));
        let text = format!(r#"{{"cmd":"x","restart":{conf}}}"#);
        let found = lower(&"web".parse().unwrap(), &text, &settings, &ROOT);
        assert_eq!(found.map_err(|problems| lines(&problems)).err().unwrap_or_default(), expected);
    };
    let below = |a: &str, b: &str| {
        format!("restart.max_cooldown ({a}) is below restart.cooldown ({b}), expected at least as much")
    };
    check(r#"{"cooldown":"1m"}"#, r#"{"max_cooldown":"30s"}"#, &format!("1:38: {}", below("30s", "60s")));
    check(r#"{"max_cooldown":"1m"}"#, r#"{"cooldown":"2m"}"#, &format!("1:34: {}", below("60s", "120s")));
    check(r#"{"max_cooldown":"1m"}"#, r#"{"cooldown":"2m","max_cooldown":"3m"}"#, "");
}

#[test]
fn problems_of_settings_are_told_where_they_stand() {
    let text = r#"{
  "defaults": { "cmd": "x", "name": "n", "args": [], "umask": 5, "usr": "x", "restart": { "cooldown": "2m", "max_cooldown": "1m" } },
  "inherit_env": ["A=", 5, ""],
  "env": [],
  "control": { "group": "", "grp": "x" },
  "cgroup": "on",
  "default": {}
}"#;
    insta::assert_snapshot!(lines(&Settings::read(text, &ROOT).unwrap_err()), @r##"
    2:24: defaults.cmd is a service's own, expected it in each conf only
    2:37: defaults.name is a service's own, expected it in each conf only
    2:50: defaults.args is a service's own, expected it in each conf only
    2:63: defaults.umask must be an octal text such as "022", at most "0777", found 5
    2:66: unknown key "usr" in "defaults", did you mean "user"?
    2:125: restart.max_cooldown (60s) is below restart.cooldown (120s), expected at least as much
    3:19: inherit_env has "A=", expected a name without '='
    3:25: inherit_env[1] must be a text, found a number
    3:28: inherit_env has "", expected a name that is not empty
    4:10: env must be an object of variables, each a text or null, found a list
    5:25: control.group must be a text that is not empty, found ""
    5:29: unknown key "grp" in "control", did you mean "group"?
    6:13: cgroup must be "auto" or "off", found "on"
    7:3: unknown key "default", did you mean "defaults"?
    "##);
    insta::assert_snapshot!(lines(&Settings::read("[]", &ROOT).unwrap_err()), @r##"
    1:1: expected an object: { … }, found a list
    "##);
    for wrong in [r#"{"defaults":[]}"#, r#"{"control":"apps"}"#, r#"{"inherit_env":"A"}"#, r#"{"cgroup":null}"#] {
        assert_eq!(Settings::read(wrong, &ROOT).unwrap_err().len(), 1, "{wrong}");
    }
}

#[test]
fn an_unknown_user_of_the_defaults_may_pass() {
    let problems = Settings::read(r#"{"defaults":{"user":"nobody-here"}}"#, &ROOT).unwrap_err();
    assert!(problems[0].passing);
}
