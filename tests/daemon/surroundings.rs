//! What a service finds around itself, whoever started the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;

use nix::unistd::Pid;
use serde_json::json;

use crate::herd::{Herd, is_root, with};

fn env() -> serde_json::Value {
    json!({"cmd": "/usr/bin/env", "restart": "never"})
}

/// The variables that `env` has printed.
fn variables(herd: &Herd, id: &str) -> BTreeMap<String, String> {
    herd.until_state(id, "exited");
    let output = herd.output(id);
    output.lines().map(|line| line.split_once('=').unwrap()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

fn expected(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_environment_is_exactly_what_is_written() {
    if !is_root("the environment of root") {
        return;
    }
    let mut herd = Herd::new();
    herd.file(
        "herder.json",
        r#"{ "env": {"HERD": "herd", "LAYER": "herd"}, "inherit_env": ["PASSED", "ABSENT"], // as it is written
             "defaults": {"env": {"DEFAULT": "yes"}} }"#,
    );
    fs::write(herd.work("web.env"), "# of the service\nFILE=file\nLAYER=file\nexport OTHER='two words'\n").unwrap();
    herd.conf("plain", &env());
    herd.conf(
        "layers",
        &with(env(), json!({"env_file": "web.env", "env": {"OWN": "own", "LAYER": "own", "LANG": null, "HERD": null}})),
    );
    herd.conf("other", &with(env(), json!({"user": "nobody"})));
    let mut command = herd.command();
    command.envs([("PASSED", "1"), ("SECRET", "2"), ("LD_LIBRARY_PATH", "/evil"), ("TZ", "Europe/Berlin")]);
    command.env("PATH", "/evil:/usr/bin:/bin");
    herd.launch(command);

    let runs: Vec<_> = ["plain", "layers", "other"].map(|id| variables(&herd, id)["DHERDER_RUN"].clone()).into();
    let herd_of =
        |run: &str| run.split_once('-').map(|(herd, number)| (herd.to_owned(), number.parse::<u64>().is_ok()));
    assert_eq!(herd_of(&runs[0]), herd_of(&runs[1]));
    assert!(herd_of(&runs[0]).is_some_and(|(herd, number)| herd.len() == 16 && number), "{runs:?}");
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(
        variables(&herd, "plain"),
        expected(&[
            ("HOME", "/root"),
            ("USER", "root"),
            ("LOGNAME", "root"),
            ("SHELL", "/bin/bash"),
            ("PATH", path),
            ("LANG", "C.UTF-8"),
            ("TZ", "Europe/Berlin"),
            ("HERD", "herd"),
            ("LAYER", "herd"),
            ("PASSED", "1"),
            ("DEFAULT", "yes"),
            ("DHERDER_SERVICE", "plain"),
            ("DHERDER_RUN", &runs[0]),
        ])
    );
    assert_eq!(
        variables(&herd, "layers"),
        expected(&[
            ("HOME", "/root"),
            ("USER", "root"),
            ("LOGNAME", "root"),
            ("SHELL", "/bin/bash"),
            ("PATH", path),
            ("TZ", "Europe/Berlin"),
            ("LAYER", "own"),
            ("FILE", "file"),
            ("OTHER", "two words"),
            ("OWN", "own"),
            ("PASSED", "1"),
            ("DEFAULT", "yes"),
            ("DHERDER_SERVICE", "layers"),
            ("DHERDER_RUN", &runs[1]),
        ])
    );
    // What the daemon was given, or a conf says, is in no output of the daemon.
    for line in ["status --json", "status plain", "status layers"] {
        let done = herd.run(line);
        assert!(!done.out.split("last lines").next().unwrap().contains("/evil"), "{done:?}");
    }
}

#[test]
fn another_user_has_that_users_variables() {
    if !is_root("another user") {
        return;
    }
    let mut herd = Herd::new();
    herd.conf("other", &with(env(), json!({"user": "nobody", "cwd": "/"})));
    herd.start();
    let variables = variables(&herd, "other");
    let account = fs::read_to_string("/etc/passwd").unwrap();
    let nobody: Vec<_> = account.lines().find(|line| line.starts_with("nobody:")).unwrap().split(':').collect();
    for (name, value) in [("USER", "nobody"), ("LOGNAME", "nobody"), ("HOME", nobody[5]), ("SHELL", nobody[6])] {
        assert_eq!(variables[name], value, "{name}");
    }
}

#[test]
fn a_process_begins_clean_whatever_the_daemon_began_with() {
    let mut herd = Herd::new();
    let look = |files: [&str; 3]| json!({"cmd": "/bin/cat", "args": files, "restart": "never"});
    let files = ["/proc/self/status", "/proc/self/stat", "/proc/self/limits"];
    herd.conf("plain", &look(files));
    herd.conf("set", &with(look(files), json!({"umask": "027", "limits": {"nofile": "64:128", "core": "0"}})));
    herd.conf("descriptors", &json!({"cmd": "/bin/ls", "args": ["-l", "/proc/self/fd"], "restart": "never"}));
    herd.start_through("trap '' USR1 HUP PIPE; umask 022; ulimit -S -n 500; exec 7</dev/null 9>&1; exec \"$@\"");

    herd.until_state("plain", "exited");
    let plain = herd.output("plain");
    for line in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "Umask:\t0022"] {
        assert!(plain.contains(line), "{line}: {plain}");
    }
    // proc_pid_stat(5): pid, comm, state, parent, group, session.
    let stat = plain.lines().find(|line| line.contains("(cat)")).unwrap();
    let fields: Vec<_> = stat.split(' ').collect();
    assert_eq!((fields[4], fields[5]), (fields[0], fields[0]), "{stat}");
    assert_eq!(fields[6], "0", "it has no terminal: {stat}");
    let limit = |output: &str, name: &str| {
        let line = output.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    // The daemon has raised its own.
    assert_eq!(limit(&plain, "Max open files")[0], "500");

    herd.until_state("set", "exited");
    let set = herd.output("set");
    assert!(set.contains("Umask:\t0027"), "{set}");
    assert_eq!(limit(&set, "Max open files"), ["64", "128"]);
    assert_eq!(limit(&set, "Max core file size"), ["0", "0"]);

    herd.until_state("descriptors", "exited");
    let descriptors = herd.output("descriptors");
    let open: Vec<_> = descriptors.lines().filter_map(|line| line.split_once(" -> ")).collect();
    // The last one is the directory that ls looks at.
    assert_eq!(open.len(), 4, "{descriptors}");
    let log = herd.state().join("pipes/descriptors.stdout");
    let log = log.canonicalize().unwrap();
    for ((before, target), (number, file)) in
        open.iter().zip([("0", "/dev/null"), ("1", log.to_str().unwrap()), ("2", log.to_str().unwrap())])
    {
        assert!(before.ends_with(&format!(" {number}")) && *target == file, "{descriptors}");
    }
}

#[test]
fn a_herder_is_given_what_it_needs_and_nothing_else() {
    let herd = Herd::of([]);
    let nulls = |pid: Pid| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|fd| fd.unwrap().path());
        let nulls = fds.filter(|fd| fs::read_link(fd).is_ok_and(|to| to.ends_with("dev/null")));
        nulls.map(|fd| fd.file_name().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    // What the daemon was started with may be anything.
    let before = nulls(herd.pid());
    let new: Vec<_> = nulls(herd.herder()).into_iter().filter(|number| !before.contains(number)).collect();
    // What it has opened itself is for writing only: where bytes go that were written.
    let own = |number: &&OsString| {
        let info = fs::read_to_string(format!("/proc/{}/fdinfo/{}", herd.herder(), number.display())).unwrap();
        info.lines().any(|line| line.strip_prefix("flags:").is_some_and(|flags| flags.trim().ends_with("2100001")))
    };
    let given: Vec<_> = new.iter().filter(|number| !own(number)).collect();
    assert_eq!(given, ["1"], "what was there to make that of it is gone: {new:?}");
}
