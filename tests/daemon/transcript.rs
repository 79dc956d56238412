//! What the verbs say, one after the other at one daemon.

use serde_json::json;

use crate::herd::{Herd, sh, sleeper, with};

/// A verb as somebody types it, and all that it says. What is another one every time is replaced: places, times, pids.
fn said(herd: &Herd, line: &str) -> String {
    let done = herd.run(line);
    let text = format!("$ daemonherder {line}\n{}{}exit {}\n", done.out, done.err, done.code);
    let host = hostname::get().unwrap().into_string().unwrap();
    let host = host.split('.').next().unwrap();
    let text = text.replace(herd.path().to_str().unwrap(), "HERE");
    settled(&text.replace(&format!(" {host}\n"), " HOST\n").replace(&format!(" {host},"), " HOST,"))
}

/// Numbers of more than one digit are N, spans of time T, moments MOMENT, and a gap between columns is two spaces.
fn settled(text: &str) -> String {
    let mut settled = String::new();
    for line in text.lines() {
        let words: Vec<String> = line.trim_end().split("  ").filter(|part| !part.is_empty()).map(words).collect();
        let indent = line.len() - line.trim_start().len();
        settled.extend(std::iter::repeat_n(' ', indent));
        settled.push_str(&words.join("  "));
        settled.push('\n');
    }
    settled
}

fn words(part: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_matches([';', ',', ':', '(', ')', '.']);
        let digits = bare.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = bare.split_at(digits);
        let stands_for = match rest {
            _ if bare.len() == 24 && bare.ends_with('Z') => "MOMENT",
            "" if number.len() > 1 => "N",
            "ms" | "s" | "m" if digits > 0 => "T",
            _ => return word.to_owned(),
        };
        word.replacen(bare, stands_for, 1)
    };
    // How long a run lived is told where it was a millisecond or more.
    part.trim().split(' ').map(word).collect::<Vec<_>>().join(" ").replace(" after T", "")
}

#[test]
fn what_the_verbs_say() {
    let mut herd = Herd::new();
    herd.conf("web", &sleeper());
    herd.conf("talks", &sh("echo hello; echo there >&2; exec sleep 100000"));
    herd.conf(
        "dies",
        &with(sh("echo the last word; exit 3"), json!({"restart": {"intensity": 0, "exceeded": "fail"}})),
    );
    herd.conf("job", &with(sh("exit 0"), json!({"restart": "never"})));
    herd.file("broken.conf", "{\n  \"cmd\": \"sleep\",\n  \"arg\": [\"1\"]\n}\n");
    // Else it depends on who comes first what is said of a change: the daemon by itself, or the verb.
    herd.file("herder.json", "{\"live_reload\": false}");
    herd.file("far@elsewhere.conf", "{\"cmd\": \"sleep\"}");
    let mut text = said(&herd, "status");
    herd.start();
    for (id, state) in [("web", "running"), ("talks", "running"), ("dies", "failed"), ("job", "exited")] {
        herd.until_state(id, state);
    }
    for line in [
        "check",
        "status",
        "stop web",
        "stop web",
        "start web --settle 1ms",
        "restart web --settle 1ms",
        "start dies",
        "start wbe",
        "start broken",
        "start far",
        "start web --settle soon",
        "signal CONT web",
        "signal NOISE web",
        "logs talks",
        "logs dies talks",
        "logs nobody",
        "add web -- sleep 1",
        "add new --cwd / -- sleep 100000",
        "remove new",
        "remove nobody",
        "reload",
        "upgrade /bin/false",
        "explode",
        "shutdown",
        "status",
    ] {
        text.push_str(&said(&herd, line));
    }
    insta::assert_snapshot!(text, @r###"
    $ daemonherder status
    daemonherder: no daemon is running for the confs in HERE/confs (no answer at HERE/state/control.sock): start one with `daemonherder`
    exit 3
    $ daemonherder check
    HERE/confs/broken.conf:3:3: unknown key "arg", did you mean "args"?
    HERE/confs/dies.conf: good, runs on HOST
    HERE/confs/far@elsewhere.conf: good, for other hosts
    HERE/confs/herder.json: good, holds for all services
    HERE/confs/job.conf: good, runs on HOST
    HERE/confs/talks.conf: good, runs on HOST
    HERE/confs/web.conf: good, runs on HOST
    7 files, 5 confs for HOST, 1 problem
    exit 1
    $ daemonherder status
    ID  STATE  PID  UPTIME  RESTARTS  REASON
    broken  invalid  -  -  0  its conf has a problem: 3:3: unknown key "arg", did you mean "args"?
    dies  failed  -  -  0  given up: more than 0 restarts in T; last: exited with code 3
    job  exited  -  -  0  exited with code 0; restart policy never
    talks  running  N  T  0  started with its conf
    web  running  N  T  0  started with its conf
    far  skipped  -  -  0  runs on elsewhere only
    HERE/confs/broken.conf:3:3: unknown key "arg", did you mean "args"?
    exit 0
    $ daemonherder stop web
    web: stopped
    exit 0
    $ daemonherder stop web
    web: does not run (stopped)
    exit 0
    $ daemonherder start web --settle T
    web: started
    exit 0
    $ daemonherder restart web --settle T
    web: restarted
    exit 0
    $ daemonherder start dies
    daemonherder: cannot start dies: given up: more than 0 restarts in T; last: exited with code 3 (exit-code); now failed
        dies | the last word
        dies | the last word
    exit 1
    $ daemonherder start wbe
    daemonherder: no such service: wbe (did you mean web?)
    exit 4
    $ daemonherder start broken
    daemonherder: cannot start broken: HERE/confs/broken.conf:3:3: unknown key "arg", did you mean "args"?
    exit 1
    $ daemonherder start far
    daemonherder: cannot start far: belongs to another host: runs on elsewhere only
    exit 1
    $ daemonherder start web --settle soon
    daemonherder: invalid value 'soon' for '--settle <DURATION>': expected a duration such as T, T, T or 1h

    For more information, try '--help'.
    exit 2
    $ daemonherder signal CONT web
    web: sent CONT
    exit 0
    $ daemonherder signal NOISE web
    daemonherder: invalid value 'NOISE' for '<SIG>': NOISE is no signal: a name such as TERM or SIGTERM, or 1 to N

    For more information, try '--help'.
    exit 2
    $ daemonherder logs talks
    hello
    there
    exit 0
    $ daemonherder logs dies talks
    dies  | the last word
    dies  | the last word
    talks | hello
    talks | there
    exit 0
    $ daemonherder logs nobody
    daemonherder: no such service: nobody
    exit 4
    $ daemonherder add web -- sleep 1
    daemonherder: cannot add web: HERE/confs/web.conf is there already and says something else: edit it, or `daemonherder remove` it first
    exit 1
    $ daemonherder add new --cwd / -- sleep N
    new: added and started
    exit 0
    $ daemonherder remove new
    new: removed, and its service is being stopped
    exit 0
    $ daemonherder remove nobody
    daemonherder: no such service: nobody
    exit 4
    $ daemonherder reload
    unchanged  5
    daemonherder: HERE/confs/broken.conf:3:3: unknown key "arg", did you mean "args"?
    exit 0
    $ daemonherder upgrade /bin/false
    daemonherder: /bin/false: its look at the present state exited with code 1
    exit 1
    $ daemonherder explode
    daemonherder: unrecognized subcommand 'explode'

      tip: a similar subcommand exists: 'reload'

    Usage: daemonherder [OPTIONS] [COMMAND]

    For more information, try '--help'.
    exit 2
    $ daemonherder shutdown
    exit 0
    $ daemonherder status
    daemonherder: no daemon is running for the confs in HERE/confs (no answer at HERE/state/control.sock): start one with `daemonherder`
    exit 3
    "###);
}
