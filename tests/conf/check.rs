//! The verb `check`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use daemonherder::cli::{CheckReport, Standing, check};
use daemonherder::conf::Places;
use tempfile::TempDir;

const GOOD: &str = r#"{"cmd":"/x"}"#;

/// A conf directory below a temporary one, and the places of a daemon that uses it.
fn herd(files: &[(&str, &str)]) -> (TempDir, Places) {
    let top = tempfile::tempdir().unwrap();
    let confs = top.path().join("confs");
    fs::create_dir(&confs).unwrap();
    fs::set_permissions(&confs, fs::Permissions::from_mode(0o700)).unwrap();
    for (name, text) in files {
        write(&confs.join(name), text, 0o600);
    }
    let places = Places {
        config_dir: confs,
        state_dir: top.path().join("state"),
        host: "web1".parse().unwrap(),
        socket: top.path().join("state/control.sock"),
    };
    (top, places)
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn run(places: &Places, paths: &[PathBuf]) -> CheckReport {
    check(paths, places, OsStr::new(""))
}

fn shown(top: &TempDir, report: &CheckReport) -> String {
    report.to_string().replace(&top.path().display().to_string(), "TOP")
}

#[test]
fn the_conf_directory_is_checked_where_nothing_is_named() {
    let (top, places) = herd(&[
        ("a.conf", GOOD),
        ("a@web1.conf", GOOD),
        ("b.conf", "{\n  \"cmdd\": \"x\",\n  \"args\": 5\n}"),
        ("c@web2.conf", "{ \"cmd\": \"x\", \"user\": \"of-web2\" }"),
        ("d@web2.conf", "{}"),
        ("e@web1.conf", GOOD),
        ("e@WEB1.conf", GOOD),
        ("f.conf", r#"{"cmd":"no-such-program-anywhere"}"#),
        ("herder.json", "{ \"inherit_env\": 1 }"),
        ("herder@web2.json", "{ \"x\": 1 }"),
        ("-g.conf", GOOD),
        ("notes.txt", ""),
    ]);
    let report = run(&places, &[]);
    assert!(!report.is_good());
    insta::assert_snapshot!(shown(&top, &report), @r##"
    TOP/confs/-g.conf:1:1: the file's name is wrong: "-g" is no service id: letters, digits, '.', '_' and '-', beginning with a letter or digit
    TOP/confs/a.conf: good, overridden by TOP/confs/a@web1.conf
    TOP/confs/a@web1.conf: good, runs on web1
    TOP/confs/b.conf:1:1: cmd is missing, expected the program to run: "cmd": "…"
    TOP/confs/b.conf:2:3: unknown key "cmdd", did you mean "cmd"?
    TOP/confs/b.conf:3:11: args must be a list of texts, found 5
    TOP/confs/c@web2.conf: good, for other hosts
    TOP/confs/d@web2.conf:1:1: cmd is missing, expected the program to run: "cmd": "…"
    TOP/confs/e@WEB1.conf:1:1: e@web1.conf means this host as closely, expected one file that wins
    TOP/confs/e@web1.conf:1:1: e@WEB1.conf means this host as closely, expected one file that wins
    TOP/confs/f.conf: warning: cmd "no-such-program-anywhere" is not in the service's PATH (/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
    TOP/confs/f.conf: good, runs on web1
    TOP/confs/herder.json:1:18: inherit_env must be a list of names of variables, found 1
    TOP/confs/herder@web2.json:1:3: unknown key "x", expected one of defaults, env, inherit_env, control, cgroup, live_reload
    11 files, 5 confs for web1, 9 problems
    "##);
}

#[test]
fn a_good_directory_is_good_and_its_json_says_the_same() {
    let (top, places) = herd(&[("a.conf", GOOD), ("a@web1.conf", GOOD), ("herder.json", "{}")]);
    let report = run(&places, &[]);
    assert!(report.is_good());
    let json = serde_json::to_string_pretty(&report).unwrap().replace(&top.path().display().to_string(), "TOP");
    insta::assert_snapshot!(json, @r##"
    {
      "version": 1,
      "host": "web1",
      "files": [
        {
          "path": "TOP/confs/a.conf",
          "id": "a",
          "standing": "overridden",
          "overridden_by": "TOP/confs/a@web1.conf",
          "problems": [],
          "warnings": []
        },
        {
          "path": "TOP/confs/a@web1.conf",
          "id": "a",
          "standing": "here",
          "problems": [],
          "warnings": []
        },
        {
          "path": "TOP/confs/herder.json",
          "id": null,
          "standing": "settings",
          "problems": [],
          "warnings": []
        }
      ]
    }
    "##);
}

#[test]
fn files_and_directories_can_be_named() {
    let (top, places) = herd(&[("a.conf", GOOD), ("b.conf", "{}")]);
    let file = |name: &str| places.config_dir.join(name);
    let report = run(&places, &[file("a.conf")]);
    assert!(report.is_good());
    assert_eq!(report.files.len(), 1);
    assert_eq!(run(&places, &[file("b.conf"), places.config_dir.clone(), file("a.conf")]).files.len(), 2);
    write(&top.path().join("other.txt"), GOOD, 0o600);
    insta::assert_snapshot!(shown(&top, &run(&places, &[file("missing.conf"), top.path().join("other.txt"), top.path().join("nowhere/x.conf")])), @r##"
    TOP/confs/missing.conf:1:1: cannot read the file: No such file or directory (os error 2)
    TOP/nowhere/x.conf:1:1: cannot open the conf directory TOP/nowhere: No such file or directory (os error 2)
    TOP/other.txt:1:1: the file's name is that of no conf, expected <id>.conf, <id>@<host>.conf or herder.json
    3 files, 0 confs for web1, 3 problems
    "##);
}

#[test]
fn defaults_beside_a_named_file_hold_for_it() {
    let (_top, places) = herd(&[
        ("a.conf", r#"{"cmd":"/x","restart":{"cooldown":"2m"}}"#),
        ("herder.json", r#"{"defaults":{"restart":{"max_cooldown":"1m"}}}"#),
    ]);
    assert!(!run(&places, &[places.config_dir.join("a.conf")]).is_good());
}

#[test]
fn who_may_write_is_a_problem_in_the_conf_directory_and_a_warning_elsewhere() {
    let (top, places) = herd(&[]);
    let elsewhere = top.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for directory in [&places.config_dir, &elsewhere] {
        write(&directory.join("a.conf"), GOOD, 0o666);
    }
    let live = run(&places, &[]);
    assert_eq!((live.files[0].problems.len(), live.files[0].warnings.len()), (1, 0));
    let draft = run(&places, &[elsewhere]);
    assert_eq!((draft.files[0].problems.len(), draft.files[0].warnings.len()), (0, 1));
    assert!(draft.files[0].warnings[0].contains("is writable for"), "{draft:?}");
}

#[test]
fn a_command_that_only_the_caller_would_find_is_a_warning() {
    let (top, places) = herd(&[("a.conf", r#"{"cmd":"own-program"}"#), ("b@web2.conf", r#"{"cmd":"own-program"}"#)]);
    write(&top.path().join("own-program"), "", 0o755);
    let report = check(&[], &places, top.path().as_os_str());
    assert!(report.is_good());
    assert_eq!(report.files[0].warnings.len(), 1);
    assert!(report.files[0].warnings[0].contains("is in your PATH"), "{report:?}");
    assert_eq!((report.files[1].standing, report.files[1].warnings.len()), (Standing::OtherHost, 0));
}
