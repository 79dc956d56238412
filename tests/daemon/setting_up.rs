//! `add` and `remove`, `install` and `uninstall`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::herd::{BINARY, Done, Herd, copy_of, finish, is_root, open_to_others, sleeper};

/// Runs a verb whose words may have blanks.
fn verb(herd: &Herd, words: &[&str]) -> Done {
    finish(herd.command().args(words))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

// --- add, remove

#[test]
fn what_is_added_runs_and_what_is_removed_does_not() {
    let herd = Herd::of([("old", sleeper())]);
    herd.until_state("old", "running");
    let old = herd.pid_of("old");
    let work = herd.path().join("work");
    let script = "echo \"$A $1\" > value; exec sleep 100000";
    let words = ["add", "web", "--cwd", text(&work), "--env", "A=b=c", "--", "sh", "-c", script, "sh", "x y"];
    let done = verb(&herd, &words);
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (0, "web: added and started\n", ""));
    assert_eq!(herd.lines("value", 1), ["b=c x y"]);
    let web = herd.until_state("web", "running");

    let path = herd.confs().join("web.conf");
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
    let conf: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let args = ["-c", script, "sh", "x y"];
    assert_eq!(conf, json!({"cwd": work, "cmd": "sh", "args": args, "env": {"A": "b=c"}}));
    assert_eq!(fs::read_dir(herd.confs()).unwrap().count(), 2);

    // Once more it is nothing to do, whoever wrote it how; and no file is replaced.
    herd.file("web.conf", &format!("// mine\n{conf}"));
    let again = verb(&herd, &words);
    assert_eq!((again.code, again.out), (0, format!("web: is there already ({})\n", path.display())), "{}", again.err);
    let other = verb(&herd, &["add", "web", "--", "sleep", "1"]);
    assert_eq!((other.code, other.out.as_str()), (1, ""));
    assert!(other.err.contains(text(&path)) && other.err.contains("`daemonherder remove`"), "{other:?}");
    assert!(fs::read_to_string(&path).unwrap().starts_with("// mine"));
    assert_eq!(herd.service("web")["pid"], web["pid"]);

    let removed = herd.done("remove web");
    assert_eq!(removed.out, "web: removed, and its service is being stopped\n");
    herd.logged("web: removed", 1);
    assert!(herd.service("web").is_null());
    let again = herd.run("remove web");
    assert_eq!((again.code, again.err.as_str()), (4, "daemonherder: no such service: web\n"));
    assert_eq!(herd.pid_of("old"), old, "nobody else has noticed");
}

#[test]
fn the_last_conf_may_be_removed_and_takes_nobody_along() {
    let herd = Herd::of([("a", sleeper()), ("b", sleeper())]);
    herd.until_state("a", "running");
    herd.until_state("b", "running");
    // Somebody else's confs are gone all at once, and perhaps by accident.
    herd.remove("b");
    let removed = herd.done("remove a");
    assert!(removed.out.starts_with("a: removed; the confs of other services are gone, too"), "{removed:?}");
    for id in ["a", "b"] {
        assert_eq!(herd.service(id)["state"], "running");
    }
    assert_eq!(herd.done("add a -- sleep 100000").code, 0);
    herd.logged("b: removed", 1);
    assert_eq!(herd.done("remove a").out, "a: removed, and its service is being stopped\n");
    herd.logged("a: removed", 1);
    assert_eq!(herd.document()["services"], json!([]));
}

#[test]
fn files_of_other_hosts_are_written_and_left_alone() {
    let herd = Herd::new();
    let here = |words: &[&str]| finish(herd.command().env("DHERDER_HOST", "web1.example.org").args(words));
    let added = here(&["add", "web", "--host", "db*", "--", "no-such-program"]);
    assert_eq!((added.code, added.err.as_str()), (0, ""));
    assert_eq!(added.out, "web: added, for other hosts than this one\n");
    let added = here(&["add", "web", "--host", "WEB1", "--", "sleep", "1"]);
    assert_eq!(added.out, "web: added; starts with the next reload or daemon\n");
    let overridden = here(&["add", "web", "--", "sleep", "2"]);
    assert_eq!(overridden.code, 1);
    assert!(
        overridden.err.contains("this host would use") && overridden.err.contains("web@WEB1.conf"),
        "{overridden:?}"
    );

    herd.file("web.conf", "{}");
    let removed = here(&["remove", "web"]);
    let confs = herd.confs();
    let expected = format!(
        "web: removed; no daemon is running\nweb: {0}/web.conf is used here now\n\
         web: {0}/web@db*.conf stays, for other hosts\n",
        confs.display()
    );
    assert_eq!((removed.code, removed.out), (0, expected));
    assert!(!confs.join("web@WEB1.conf").exists() && confs.join("web.conf").exists());
    assert_eq!(here(&["remove", "web"]).code, 0);
    let none = here(&["remove", "web"]);
    assert!(none.code == 0 && none.out.starts_with("web: has no conf for this host\n"), "{none:?}");
    assert!(confs.join("web@db*.conf").exists());
}

#[test]
fn what_could_not_run_is_not_written_or_told() {
    let herd = Herd::new();
    fs::remove_dir(herd.confs()).unwrap();
    for words in [
        &["add", "web", "--host", "a/b", "--", "sleep"][..],
        &["add", "web", "--env", "=1", "--", "sleep"],
        &["add", "web", "--env", "A=1", "--env", "A=2", "--", "sleep"],
        &["add", "web", "--", ""],
    ] {
        let done = verb(&herd, words);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{words:?}: {done:?}");
        assert!(done.err.starts_with("daemonherder: cannot add web: "), "{}", done.err);
    }
    assert_eq!(fs::read_dir(herd.confs()).unwrap().count(), 0);

    let bin = herd.path().join("bin");
    fs::create_dir(&bin).unwrap();
    copy_of(Path::new("/bin/true"), bin.join("own-program"));
    let mut command = herd.command();
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).current_dir(&bin);
    let done = finish(command.args(["add", "web", "--", "own-program"]));
    assert_eq!((done.code, done.out.as_str()), (0, "web: added; starts with the next reload or daemon\n"));
    assert!(done.err.contains("is in your PATH") && done.err.contains("not in the service's"), "{done:?}");
    let mut command = herd.command();
    let done = finish(command.current_dir(&bin).args(["add", "here", "--", "./own-program"]));
    assert!(done.code == 0 && done.err.contains("where the service runs"), "{done:?}");

    herd.file("herder.json", "{\"no\": 1}");
    let done = herd.run("add other -- sleep 1");
    assert_eq!(done.code, 1);
    assert!(done.err.contains("herder.json has problems") && done.err.contains("`daemonherder check`"), "{done:?}");
    assert!(!herd.confs().join("other.conf").exists());
}

// --- install, uninstall

/// A directory for PATH with programs that do as if: `crontab` keeps its table in a file beside it.
pub(crate) struct Bin(pub(crate) PathBuf);

impl Bin {
    pub(crate) fn of(herd: &Herd) -> Self {
        let bin = Self(herd.path().join("bin"));
        fs::create_dir(&bin.0).unwrap();
        bin.program(
            "crontab",
            "case $1 in\n-) exec cat > \"${0%/*}/table\" ;;\n-l) test ! -e \"${0%/*}/table\" || exec cat \"${0%/*}/table\" ;;\n\
             esac\necho no crontab for somebody >&2\nexit 1\n",
        );
        bin.program("systemctl", "echo \"$@\" >> \"${0%/*}/told\"\n");
        bin
    }

    pub(crate) fn program(&self, name: &str, script: &str) {
        let plain = self.0.join("script");
        fs::write(&plain, format!("#!/bin/sh\n{script}")).unwrap();
        copy_of(&plain, self.0.join(name));
    }

    /// What finds these before the machine's own, which no scenario may touch.
    pub(crate) fn path(&self) -> String {
        format!("{}:/usr/bin:/bin", self.0.display())
    }

    pub(crate) fn table(&self) -> Vec<u8> {
        fs::read(self.0.join("table")).unwrap_or_default()
    }

    /// Its table's commands as cron hands them to a shell.
    fn commands(&self) -> Vec<String> {
        let table = String::from_utf8_lossy(&self.table()).into_owned();
        let ours = table.lines().filter(|line| line.contains("# daemonherder-"));
        let command = |line: &str| {
            let schedule = if line.starts_with("@reboot ") { 1 } else { 5 };
            line.splitn(schedule + 1, ' ').last().unwrap().replace("\\%", "%")
        };
        ours.map(command).collect()
    }

    fn run(&self, herd: &Herd, line: &str) -> Done {
        let mut command = herd.command();
        command.env("PATH", self.path());
        command.env("DHERDER_CONFIG_DIR", strange(herd));
        finish(command.args(line.split_whitespace()))
    }
}

/// A conf directory whose name means a lot to shells and crons.
fn strange(herd: &Herd) -> PathBuf {
    herd.path().join("50% o'clock")
}

/// Ends a daemon in the background, whatever became of the scenario.
struct Ends<'h>(&'h Herd, &'h Bin);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.1.run(self.0, "shutdown");
    }
}

#[test]
fn lines_are_installed_once_start_the_daemon_and_leave_the_others_alone() {
    let herd = Herd::new();
    let bin = Bin::of(&herd);
    let others = b"# mine\nMAILTO=\xe4\n\n*/5 * * * * true # daemonherder\n";
    fs::write(bin.0.join("table"), others).unwrap();
    let added = bin.run(&herd, "add web -- sleep 100000");
    assert_eq!(added.out, "web: added; starts with the next reload or daemon\n");
    let ends = Ends(&herd, &bin);
    let installed = bin.run(&herd, "install");
    assert_eq!((installed.code, installed.err.as_str()), (0, ""));
    for words in ["with the machine:\n  @reboot ", "within a minute when it has gone:\n  * * * * * ", "is started"] {
        assert!(installed.out.contains(words), "{words}: {}", installed.out);
    }
    let table = bin.table();
    assert!(table.starts_with(others) && bin.commands().len() == 2, "{}", String::from_utf8_lossy(&table));
    let pids = |herd: &Herd| {
        let document = bin.run(herd, "status --json").json();
        (document["daemon"]["pid"].clone(), document["services"][0]["pid"].clone())
    };
    // The daemon answers as soon as it can, and its launches may still be under way.
    assert_eq!(bin.run(&herd, "start web").code, 0);
    let before = pids(&herd);
    assert!(before.0.is_u64() && before.1.is_u64(), "{before:?}");

    // What cron will run finds this very daemon, with nothing but what cron gives it; in that home none could be.
    for command in bin.commands() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &command]).current_dir("/").env_clear().env("HOME", "/dev/null").env("PATH", "/usr/bin:/bin");
        let done = finish(&mut shell);
        assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (0, "", ""), "{command}");
    }
    assert_eq!(pids(&herd), before);
    let again = bin.run(&herd, "install");
    assert!(again.out.starts_with("in your crontab already") && again.out.contains("runs already"), "{again:?}");
    assert_eq!(bin.table(), table);

    let less = bin.run(&herd, "install --no-revive");
    assert!(less.out.contains("taken out of your crontab:\n  * * * * * "), "{less:?}");
    assert!(bin.table().len() < table.len() && bin.commands().len() == 1);
    bin.run(&herd, "install");
    assert_eq!(bin.table(), table);

    let gone = bin.run(&herd, "uninstall");
    assert!(gone.out.contains("@reboot") && gone.out.contains("the daemon runs on"), "{gone:?}");
    assert_eq!(bin.table(), others);
    assert_eq!(pids(&herd), before);
    drop(ends);
    let nothing = bin.run(&herd, "uninstall");
    assert_eq!((nothing.code, nothing.err.as_str()), (0, ""));
    assert_eq!(nothing.out, "nothing is installed: neither crontab lines nor a unit\n");
}

#[test]
fn an_install_that_cannot_be_says_what_to_do() {
    let herd = Herd::new();
    let bin = Bin::of(&herd);
    let refused = |words: &str| {
        let done = bin.run(&herd, "install");
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{done:?}");
        assert!(done.err.starts_with("daemonherder: cannot ") && done.err.contains(words), "{words}: {done:?}");
        assert_eq!(bin.run(&herd, "status").code, 3, "and nothing is started");
    };
    bin.program("crontab", "echo You are not allowed to use this program >&2; exit 1\n");
    refused("read your crontab: crontab: You are not allowed");
    bin.program("crontab", "case $1 in -l) ;; *) echo bad minute >&2; exit 1 ;; esac\n");
    refused("write your crontab: crontab: bad minute");
    let mut command = herd.command();
    let done = finish(command.env("PATH", herd.path()).arg("install"));
    assert_eq!(done.code, 1);
    assert!(done.err.contains("install cron, or use `daemonherder install --systemd`"), "{done:?}");

    // A program that will not be there, and one that others may replace.
    let program = copy_of(Path::new(BINARY), herd.path().join("program"));
    let mut gone = Command::new("/bin/sh");
    herd.place(&mut gone);
    gone.env("PATH", bin.path());
    let script = "exec 3< \"$0\"; rm \"$0\"; exec /proc/self/fd/3 install";
    let done = finish(gone.args(["-c", script]).arg(&program));
    assert!(done.code == 1 && done.err.contains("not there any more"), "{done:?}");
    let program = copy_of(Path::new(BINARY), program);
    open_to_others(&program, 0o777);
    let mut open = Command::new(program);
    herd.place(&mut open);
    let done = finish(open.env("PATH", bin.path()).arg("install"));
    assert!(done.code == 1 && done.err.contains("is writable"), "{done:?}");
}

#[test]
fn a_unit_of_ones_own_is_written_and_taken_away() {
    let herd = Herd::new();
    let bin = Bin::of(&herd);
    let binary = herd.public_binary();
    open_to_others(&herd.path().join("home"), 0o777);
    open_to_others(&bin.0, 0o777);
    // As root it would be the machine's.
    let mut prefix = vec![binary.clone()];
    if is_root("a unit as another user") {
        let words = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
        prefix = words.iter().map(PathBuf::from).chain(prefix).collect();
    }
    let run = |line: &str| {
        let mut command = Command::new(&prefix[0]);
        herd.place(&mut command);
        command.env("PATH", bin.path());
        finish(command.args(&prefix[1..]).args(line.split_whitespace()))
    };
    let installed = run("install --systemd");
    assert_eq!((installed.code, installed.err.as_str()), (0, ""));
    assert!(installed.out.contains("loginctl enable-linger"), "{}", installed.out);
    let units = herd.path().join("home/.config/systemd/user");
    let names: Vec<_> = fs::read_dir(&units).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let [name] = &names[..] else { panic!("{names:?}") };
    let name = name.to_str().unwrap();
    let unit = fs::read_to_string(units.join(name)).unwrap();
    let (confs, state) = (herd.confs(), herd.state());
    let places = format!("--config-dir {} --state-dir {}", confs.display(), state.display());
    for line in [
        format!("ExecStart={} run {places}", binary.display()),
        format!("ExecReload={} reload {places}", binary.display()),
        "KillMode=process".into(),
        "Restart=always".into(),
    ] {
        assert!(unit.lines().any(|one| one == line), "{line} in\n{unit}");
    }
    let enable = format!("--user enable --now {name}");
    let told = fs::read_to_string(bin.0.join("told")).unwrap_or_default() + &installed.out;
    assert!(told.contains("--user daemon-reload") && told.contains(&enable), "{told}");

    let again = run("install --systemd");
    assert!(again.out.contains("is there already"), "{again:?}");
    let cron = run("install");
    assert!(cron.code == 1 && cron.err.contains("`daemonherder uninstall`"), "{cron:?}");
    assert!(run("uninstall").out.contains(" is taken away\n"));
    assert_eq!(fs::read_dir(&units).unwrap().count(), 0);
    assert_eq!(run("uninstall").out, "nothing is installed: neither crontab lines nor a unit\n");
}
