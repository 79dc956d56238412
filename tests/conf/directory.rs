//! One pass over a conf directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use daemonherder::conf::{AccountError, Accounts, Found, Loaded, Source, load, load_with};
use tempfile::TempDir;

/// The accounts of whoever runs the tests, so that files made here are trusted.
struct Own;

impl Accounts for Own {
    fn own(&self) -> (u32, u32) {
        (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
    }
    fn user(&self, _: &str) -> Result<u32, AccountError> {
        Ok(self.own().0)
    }
    fn group(&self, _: &str) -> Result<u32, AccountError> {
        Ok(self.own().1)
    }
}

/// Another user than the one who runs the tests.
struct Other;

impl Accounts for Other {
    fn own(&self) -> (u32, u32) {
        (4242, 4242)
    }
    fn user(&self, _: &str) -> Result<u32, AccountError> {
        Ok(4242)
    }
    fn group(&self, _: &str) -> Result<u32, AccountError> {
        Ok(4242)
    }
}

const GOOD: &str = r#"{"cmd":"x"}"#;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn source(directory: &Path) -> Source {
    Source { directory: directory.to_owned(), host: "web1.example.org".parse().unwrap() }
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(&directory.path().join(name), text);
    }
    directory
}

/// Writes a file that is trusted, whatever umask the tests run with.
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    mode(path, 0o644);
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What a directory says, a line for each file.
fn show(directory: &Path, loaded: &Loaded) -> String {
    let name = |path: &Path| match path.strip_prefix(directory) {
        Ok(name) if !name.as_os_str().is_empty() => name.display().to_string(),
        _ => ".".to_owned(),
    };
    let mut lines = Vec::new();
    for (id, found) in &loaded.services {
        match found {
            Found::Good { path, spec, .. } => {
                assert_eq!(spec.id, *id);
                lines.push(format!("{id}: good {}", name(path)));
            }
            Found::Broken { path, problems, text } => {
                assert!(!problems.is_empty());
                for problem in problems {
                    let (passing, text) =
                        (if problem.passing { " passing" } else { "" }, if text.is_some() { " with text" } else { "" });
                    lines.push(format!("{id}: broken{passing}{text} {}:{problem}", name(path)));
                }
            }
        }
    }
    lines.extend(loaded.skipped.iter().map(|skipped| format!("{}: skipped {}", skipped.id, name(&skipped.path))));
    for (path, problems) in &loaded.strays {
        lines.extend(problems.iter().map(|problem| format!("stray {}:{problem}", name(path))));
    }
    let settings = if loaded.settings.is_some() { "" } else { ", settings broken" };
    let whole = if loaded.whole { "" } else { ", not whole" };
    lines.push(format!("{} confs{settings}{whole}", loaded.conf_count));
    lines.join("\n").replace(&directory.display().to_string(), "DIR")
}

fn shown(files: &[(&str, &str)]) -> String {
    let directory = directory(files);
    show(directory.path(), &load_with(&source(directory.path()), &Own).unwrap())
}

#[test]
fn files_are_told_apart_by_their_names() {
    insta::assert_snapshot!(shown(&[
        ("a.conf", GOOD),
        ("b.conf", "{}"),
        ("b@web1.conf", GOOD),
        ("c@web1.conf", "{ \"cmd\": 1 }"),
        ("c.conf", GOOD),
        ("d@web2.conf", "not even JSON"),
        ("e@web1.conf", GOOD),
        ("e@web1.example.org.conf", GOOD),
        (".f.conf", "x"),
        ("g.conf~", "x"),
        ("h.txt", "x"),
        ("-i.conf", GOOD),
    ]), @r##"
    a: good a.conf
    b: good b@web1.conf
    c: broken with text c@web1.conf:1:10: cmd must be a text that is not empty, found 1
    e: broken e@web1.conf:1:1: e@web1.example.org.conf means this host as closely, expected one file that wins
    d: skipped d@web2.conf
    stray -i.conf:1:1: the file's name is wrong: "-i" is no service id: letters, digits, '.', '_' and '-', beginning with a letter or digit
    stray e@web1.example.org.conf:1:1: e@web1.conf means this host as closely, expected one file that wins
    9 confs
    "##);
}

#[test]
fn an_empty_directory_is_whole() {
    assert_eq!(shown(&[]), "0 confs");
    assert_eq!(shown(&[("herder.json", "{}"), ("x.txt", "")]), "0 confs");
}

#[test]
fn settings_hold_for_all_confs_by_the_same_precedence() {
    let limited = |files: &[(&str, &str)]| {
        let directory = directory(files);
        let loaded = load_with(&source(directory.path()), &Own).unwrap();
        match &loaded.services["a"] {
            Found::Good { spec, .. } => spec.process.umask,
            broken => panic!("{broken:?}"),
        }
    };
    let (one, two) = (r#"{"defaults":{"umask":"01"}}"#, r#"{"defaults":{"umask":"02"}}"#);
    assert_eq!(limited(&[("a.conf", GOOD)]), None);
    assert_eq!(limited(&[("a.conf", GOOD), ("herder.json", one)]), Some(1));
    assert_eq!(limited(&[("a.conf", GOOD), ("herder.json", one), ("herder@web1.json", two)]), Some(2));
    assert_eq!(limited(&[("a.conf", GOOD), ("herder.json", one), ("herder@web2.json", two)]), Some(1));
    assert_eq!(limited(&[("a.conf", GOOD), ("herder@*.json", one), ("herder@web1.json", two)]), Some(2));
}

#[test]
fn with_broken_settings_no_conf_is_good() {
    insta::assert_snapshot!(shown(&[("a.conf", GOOD), ("b.conf", "{}"), ("herder.json", "{ \"cgruop\": \"off\" }")]), @r##"
    a: broken with text a.conf:1:1: herder.json has problems, and nothing is started without its settings
    b: broken with text b.conf:1:1: herder.json has problems, and nothing is started without its settings
    b: broken with text b.conf:1:1: cmd is missing, expected the program to run: "cmd": "…"
    stray herder.json:1:3: unknown key "cgruop", did you mean "cgroup"?
    2 confs, settings broken
    "##);
    insta::assert_snapshot!(shown(&[("a.conf", GOOD), ("herder@web1.json", "{}"), ("herder@WEB1.json", "{}")]), @r##"
    a: broken with text a.conf:1:1: several herder.json are as specific, expected one that wins
    stray herder@WEB1.json:1:1: herder@web1.json means this host as closely, expected one file that wins
    stray herder@web1.json:1:1: herder@WEB1.json means this host as closely, expected one file that wins
    1 confs, settings broken
    "##);
}

#[test]
fn a_file_that_is_no_text_or_no_file_is_told() {
    let directory = directory(&[
        ("long.conf", &" ".repeat((1 << 20) + 1)),
        ("most.conf", &format!("{GOOD}{}", " ".repeat((1 << 20) - GOOD.len()))),
    ]);
    let path = |name: &str| directory.path().join(name);
    fs::write(path("binary.conf"), b"{\n\xff").unwrap();
    mode(&path("binary.conf"), 0o600);
    fs::create_dir(path("folder.conf")).unwrap();
    nix::unistd::mkfifo(&path("pipe.conf"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("missing", path("dangling.conf")).unwrap();
    symlink("pipe.conf", path("to-pipe.conf")).unwrap();
    write(&path("target"), GOOD);
    symlink("target", path("link.conf")).unwrap();
    write(&path("mark.conf"), &format!("\u{feff}{GOOD}"));
    insta::assert_snapshot!(show(directory.path(), &load_with(&source(directory.path()), &Own).unwrap()), @r##"
    binary: broken binary.conf:2:1: not UTF-8, expected every character in that encoding
    dangling: broken passing dangling.conf:1:1: cannot read the file: No such file or directory (os error 2)
    folder: broken passing folder.conf:1:1: not a regular file, expected one
    link: good link.conf
    long: broken long.conf:1:1: the file is longer than 1048576 bytes, expected a conf
    mark: good mark.conf
    most: good most.conf
    pipe: broken passing pipe.conf:1:1: not a regular file, expected one
    to-pipe: broken passing to-pipe.conf:1:1: not a regular file, expected one
    9 confs
    "##);
}

#[test]
fn a_file_that_others_may_write_to_is_not_run() {
    let directory = directory(&[("a.conf", GOOD), ("b.conf", GOOD), ("c.conf", GOOD), ("t", GOOD)]);
    mode(&directory.path().join("b.conf"), 0o646);
    mode(&directory.path().join("c.conf"), 0o664);
    mode(&directory.path().join("t"), 0o666);
    symlink("t", directory.path().join("d.conf")).unwrap();
    let shown = show(directory.path(), &load_with(&source(directory.path()), &Own).unwrap());
    let (what, group) = if is_root() {
        (
            "group or others",
            "c: broken passing c.conf:1:1: the file is writable for group or others (mode 664), expected none of it: chmod go-w",
        )
    } else {
        ("others", "c: good c.conf")
    };
    let how = if is_root() { "go-w" } else { "o-w" };
    assert_eq!(
        shown,
        format!(
            "a: good a.conf\n\
             b: broken passing b.conf:1:1: the file is writable for {what} (mode 646), expected none of it: chmod {how}\n\
             {group}\n\
             d: broken passing d.conf:1:1: the file is writable for {what} (mode 666), expected none of it: chmod {how}\n\
             4 confs"
        )
    );
}

#[test]
fn a_directory_that_others_may_write_to_makes_all_its_confs_problems() {
    let directory = directory(&[("a.conf", GOOD), ("herder.json", "{}")]);
    mode(directory.path(), 0o777);
    let loaded = load_with(&source(directory.path()), &Own).unwrap();
    assert!(
        matches!(&loaded.services["a"], Found::Broken { problems, .. } if problems[0].message.starts_with("the conf directory") && problems[0].passing)
    );
    assert!(loaded.strays.contains_key(directory.path()));
    mode(directory.path(), 0o700);
    assert_eq!(show(directory.path(), &load_with(&source(directory.path()), &Own).unwrap()), "a: good a.conf\n1 confs");
}

#[test]
fn a_file_of_another_user_is_not_run() {
    let directory = directory(&[("a.conf", GOOD)]);
    let loaded = load_with(&source(directory.path()), &Other).unwrap();
    if is_root() {
        // What is root's is trusted by everybody; somebody else's is not, by root neither.
        assert!(matches!(loaded.services["a"], Found::Good { .. }));
        std::os::unix::fs::chown(directory.path().join("a.conf"), Some(1234), None).unwrap();
        for accounts in [&Own as &dyn Accounts, &Other] {
            let loaded = load_with(&source(directory.path()), accounts).unwrap();
            assert!(
                matches!(&loaded.services["a"], Found::Broken { problems, .. } if problems[0].message.starts_with("the file belongs to uid 1234"))
            );
        }
    } else {
        assert!(matches!(&loaded.services["a"], Found::Broken { .. }));
    }
}

#[test]
fn an_unreadable_file_may_become_readable() {
    if is_root() {
        // Root reads everything.
        return;
    }
    let directory = directory(&[("a.conf", GOOD)]);
    mode(&directory.path().join("a.conf"), 0o000);
    let loaded = load_with(&source(directory.path()), &Own).unwrap();
    assert!(matches!(&loaded.services["a"], Found::Broken { problems, text: None, .. } if problems[0].passing));
    assert!(loaded.has_passing_problem());
}

#[test]
fn a_missing_directory_is_an_error_and_another_one_has_another_identity() {
    let one = directory(&[("a.conf", GOOD)]);
    let missing = one.path().join("missing");
    let error = load(&source(&missing)).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot open the conf directory {}", missing.display()));
    assert!(load(&source(&one.path().join("a.conf"))).is_err());

    let identity = |directory: &Path| load_with(&source(directory), &Own).unwrap().identity;
    let link = one.path().join("link");
    symlink(one.path(), &link).unwrap();
    assert_eq!(identity(one.path()), identity(&link));
    assert_ne!(identity(one.path()), identity(directory(&[]).path()));
}

#[test]
fn the_systems_own_users_are_asked() {
    let text = r#"{"cmd":"x","user":"no-such-user-here"}"#;
    let directory = directory(&[("a.conf", text), ("b@other.conf", text)]);
    let loaded = load(&source(directory.path())).unwrap();
    let Found::Broken { problems, text: Some(kept), .. } = &loaded.services["a"] else { panic!("{loaded:?}") };
    assert_eq!((problems.len(), problems[0].passing, kept.as_str()), (1, true, text));
    assert_eq!(loaded.problems().len(), 1);
}
