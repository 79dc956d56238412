//! What is shown to people is true: the examples run, their confs are good, and the README says what the program does.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use daemonherder::conf::{AnyAccounts, CONF_KEYS, Key, Kind, SETTINGS_KEYS, Settings, lower};
use daemonherder::model::{ServiceSpec, State};

const README: &str = include_str!("../README.md");

/// A file of this repository.
fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// An example program, which a plain `cargo test` builds beside the tests; with `--test` it is the one that was built last.
/// One that does not end has failed.
fn program(name: &str) -> assert_cmd::Command {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is missing: cargo build --examples", program.display());
    let mut command = assert_cmd::Command::new(program);
    command.timeout(Duration::from_secs(60));
    command
}

/// Runs an example program; it must succeed. Gives what it printed.
fn example(name: &str, arguments: &[&OsStr]) -> String {
    let output = program(name).args(arguments).assert().success().get_output().clone();
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program itself; it must succeed. Gives what it printed.
fn daemonherder(line: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_daemonherder")).args(line).env("HOME", "/").output().unwrap();
    assert!(output.status.success(), "{line:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_embedded_herd_does_what_its_confs_say_and_ends() {
    let said = example("embed", &[]);
    for told in
        ["worker   running", "flaky    cooldown", "once     exited", "worker   stopped", "once said: hello, herd"]
    {
        assert!(said.contains(told), "{told} is not in\n{said}");
    }
}

#[test]
fn an_alert_actor_runs_its_command_once_for_each_alert() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("alerts");
    let script = r#"printf '%s %s: %s\n' "$ALERT_SERVICE" "$ALERT_STATE" "$1" >> "$0""#;
    example("alert_actor", &["sh".as_ref(), "-c".as_ref(), script.as_ref(), file.as_ref()]);
    let alerts = std::fs::read_to_string(file).unwrap();
    let mut lines: Vec<&str> = alerts.lines().collect();
    lines.sort_unstable();
    let [loops, missing] = lines[..] else { panic!("{alerts}") };
    assert!(
        loops.starts_with("loops cooldown: loops: cooldown: more than 2 restarts in 10s; cools down for "),
        "{loops}"
    );
    assert!(missing.starts_with("missing failed: missing: failed: given up: more than 0 restarts"), "{missing}");
}

#[test]
fn an_alert_whose_command_fails_is_counted_as_such() {
    program("alert_actor").arg("false").assert().code(1).stdout("0 told, 2 failed, 0 events missed\n");
}

#[test]
fn a_custom_spawner_has_its_hands_on_every_launch() {
    let said = example("custom_spawner", &[]);
    assert_eq!(said.lines().filter(|line| line.contains("ran with niceness ")).count(), 3, "{said}");
    assert!(said.contains("\n3 launches, "), "{said}");
}

#[test]
fn a_mock_spawner_needs_no_process_and_no_time() {
    let said = example("mock_spawner", &[]);
    assert!(said.ends_with("paged for [\"web\"]\n12 launches, and no process was made\n"), "{said}");
}

/// The confs of the README's first command, by file name.
fn confs() -> BTreeMap<String, ServiceSpec> {
    let settings = std::fs::read_to_string(at("examples/herd/herder.json")).unwrap();
    let settings = Settings::read(&settings, &AnyAccounts).unwrap();
    let files = std::fs::read_dir(at("examples/herd")).unwrap().map(|entry| entry.unwrap());
    let confs = files.filter(|file| file.path().extension() == Some("conf".as_ref()));
    confs
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            let id = name.split(['.', '@']).next().unwrap().parse().unwrap();
            let text = std::fs::read_to_string(file.path()).unwrap();
            (name, lower(&id, &text, &settings, &AnyAccounts).unwrap())
        })
        .collect()
}

#[test]
fn the_first_command_has_five_good_confs_one_of_them_for_another_host() {
    let names: Vec<String> = confs().into_keys().collect();
    assert_eq!(names, ["backup@somewhere-else.conf", "crasher.conf", "hello.conf", "ticker.conf", "web.conf"]);
    let said = daemonherder(&["check", at("examples/herd").to_str().unwrap()]);
    assert!(said.contains("6 files, 4 confs for ") && said.ends_with(", 0 problems\n"), "{said}");
}

#[test]
fn the_web_server_compiles_without_a_warning() {
    let confs = confs();
    let [dash_c, script, name, lines @ ..] = &confs["web.conf"].process.args[..] else { panic!("no script") };
    assert_eq!((dash_c.as_str(), name.as_str()), ("-c", "web"));
    assert!(script.contains("cc -x c "), "{script}");
    let mut cc = Command::new("cc");
    cc.args(["-x", "c", "-Wall", "-Werror", "-fsyntax-only", "-"]).stdin(Stdio::piped());
    let mut cc = cc.spawn().unwrap();
    cc.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    assert!(cc.wait().unwrap().success());
}

/// The texts between fences of these languages, without their indentation.
fn blocks(languages: &[&str]) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut open = None;
    for line in README.lines() {
        match (line.trim().strip_prefix("```"), open) {
            (Some(language), None) => {
                open = Some(languages.contains(&language));
                if open == Some(true) {
                    blocks.push(String::new());
                }
            }
            (Some(_), Some(_)) => open = None,
            (None, Some(true)) => blocks.last_mut().unwrap().extend([line, "\n"]),
            (None, _) => {}
        }
    }
    blocks
}

#[test]
fn every_json_of_the_readme_is_good() {
    let blocks = blocks(&["json", "jsonc"]);
    assert!(blocks.len() >= 3, "{blocks:?}");
    for block in blocks {
        let problems = match block.contains("\"cmd\"") {
            true => lower(&"readme".parse().unwrap(), &block, &Settings::default(), &AnyAccounts).err(),
            false => Settings::read(&block, &AnyAccounts).err(),
        };
        assert_eq!(problems, None, "{block}");
    }
}

/// The first and the second cell of each row that begins with a key, from one heading to another.
fn rows(from: &str, to: &str) -> BTreeMap<String, String> {
    let (_, part) = README.split_once(from).unwrap();
    let (part, _) = part.split_once(to).unwrap();
    let cells = part.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    cells.map(|(key, rest)| (key.to_owned(), rest.split(" | ").next().unwrap().to_owned())).collect()
}

/// Every key with its default, those of objects after a dot.
fn keys(table: &[Key], prefix: &str, found: &mut BTreeMap<String, String>) {
    for key in table {
        let name = format!("{prefix}{}", key.name);
        if let Kind::Object(inner) | Kind::Short(_, inner) = key.kind {
            keys(inner, &format!("{name}."), found);
        }
        found.insert(name, key.default.to_owned());
    }
}

#[track_caller]
fn check_reference(table: &[Key], from: &str, to: &str) {
    let mut expected = BTreeMap::new();
    keys(table, "", &mut expected);
    let written = rows(from, to);
    assert_eq!(written.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (key, default) in expected {
        // Where the schema has none, the README says in words what holds.
        if !default.is_empty() {
            assert_eq!(written[&key], format!("`{default}`"), "{key}");
        } else {
            assert!(!written[&key].starts_with('`'), "{key}: {}", written[&key]);
        }
    }
}

#[test]
fn the_reference_has_exactly_the_keys_that_there_are_with_their_defaults() {
    check_reference(CONF_KEYS, "### Keys of a conf", "### `herder.json`");
    check_reference(SETTINGS_KEYS, "### `herder.json`", "### The environment");
}

#[test]
fn the_readme_names_every_verb_every_state_and_every_exit_code() {
    let help = daemonherder(&["--help"]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let verbs: Vec<&str> = commands.lines().map_while(|line| line.split_whitespace().next()).collect();
    assert!(verbs.contains(&"status") && verbs.contains(&"schema"), "{help}");
    let commands = rows("## Commands", "## Where things are");
    let mut named: Vec<&str> = commands.keys().map(|usage| usage.split(' ').next().unwrap()).collect();
    for verb in verbs {
        assert!(named.contains(&verb), "{verb} is not in the README");
        named.retain(|name| *name != verb);
    }

    let states: Vec<&str> = State::ALL.iter().map(|(_, name)| *name).collect();
    let stranger = |name: &&str| !states.contains(&name.trim_matches(['`', ',']));
    assert_eq!(
        named.iter().filter(|name| stranger(name)).collect::<Vec<_>>(),
        [] as [&&str; 0],
        "no such verb or state"
    );
    let (_, part) = README.split_once("| state | means |").unwrap();
    for state in states {
        assert!(part.contains(&format!("`{state}`")), "{state} is not in the README");
    }
    for code in 0..=4 {
        assert!(README.contains(&format!("\n| {code} | ")), "exit code {code} is not in the README");
    }
}

#[test]
fn the_readme_leads_to_files_that_exist() {
    let mut links = 0;
    for (_, rest) in README.match_indices("](").map(|(at, _)| README.split_at(at + 2)) {
        let target = rest.split(')').next().unwrap();
        if !target.contains("://") {
            assert!(at(target).exists(), "{target}");
            links += 1;
        }
    }
    assert!(links >= 7, "{links} links");
}
