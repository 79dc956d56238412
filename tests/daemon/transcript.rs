//! What the verbs say, one after the other at one daemon.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::herd::{BINARY, Herd, copy_of, sh, sleeper, with};
use crate::settled::{Transcript, on_a_host};

#[test]
fn what_the_verbs_say() {
    let mut herd = Herd::new();
    herd.conf("web", &sleeper());
    let talks = sh("echo hello; echo there >&2; exec sleep 100000");
    herd.conf("talks", &talks);
    herd.conf(
        "dies",
        &with(sh("echo the last word; exit 3"), json!({"restart": {"intensity": 0, "exceeded": "fail"}})),
    );
    herd.conf("job", &with(sh("exit 0"), json!({"restart": "never"})));
    herd.file("broken.conf", "{\n  \"cmd\": \"sleep\",\n  \"arg\": [\"1\"]\n}\n");
    // Else it depends on who comes first what is said of a change: the daemon by itself, or the verb.
    herd.file("herder.json", "{\"live_reload\": false, \"cgroup\": \"off\"}");
    herd.file("far@elsewhere.conf", "{\"cmd\": \"sleep\"}");
    let mut transcript = Transcript::of(&herd);
    transcript.run(&herd, "status");
    herd.launch(on_a_host(&herd));
    for (id, state) in [("web", "running"), ("talks", "running"), ("dies", "failed"), ("job", "exited")] {
        herd.until_state(id, state);
    }
    // What it shows of a service is that of one that has come to rest.
    let comm = format!("/proc/{}/comm", herd.pid_of("talks"));
    while herd.output("talks") != "hello\nthere\n" || fs::read_to_string(&comm).unwrap() != "sleep\n" {
        thread::yield_now();
    }
    let next = copy_of(BINARY.as_ref(), herd.path().join("next"));
    for line in [
        "run",
        "run --detach",
        "check",
        "check --json",
        "status",
        "status talks",
        "status talks --json",
        "status broken",
        "stop web",
        "stop web",
        "start web --settle 1ms",
        "restart web --settle 1ms",
        "stop web talks --no-wait",
    ] {
        transcript.run(&herd, line);
    }
    ["web", "talks"].iter().for_each(|id| drop(herd.until_state(id, "stopped")));
    for line in ["stop --all", "start web talks --no-wait"] {
        transcript.run(&herd, line);
    }
    ["web", "talks"].iter().for_each(|id| drop(herd.until_state(id, "running")));
    for line in [
        "start dies",
        "start wbe",
        "start broken",
        "start far",
        "start web --settle soon",
        "signal CONT web",
        "signal CONT web talks --tree",
        "signal NOISE web",
        "logs dies -n 1",
        "logs dies web",
        "logs talks --stderr",
        "logs nobody",
        "logs",
        "add web -- sleep 1",
        "add new --cwd / -- sleep 100000",
        "remove new",
        "remove nobody",
        "reload",
        "reload --dry-run --json",
    ] {
        transcript.run(&herd, line);
    }
    // One of each kind that a plan has.
    herd.conf("web", &with(sleeper(), json!({"env": {"A": "1"}})));
    herd.conf("talks", &with(talks, json!({"name": "It talks"})));
    herd.conf("late", &sleeper());
    herd.remove("job");
    for line in ["reload --dry-run", "reload"] {
        transcript.run(&herd, line);
    }
    herd.until_state("late", "running");
    herd.until("web", "runs anew", |web| {
        web["state"] == "running" && web["reason"] == "started anew, its conf changed"
    });
    herd.until("job", "went", Value::is_null);
    for line in ["upgrade /bin/false".to_owned(), format!("upgrade {}", next.display()), "explode".to_owned()] {
        transcript.run(&herd, &line);
    }
    transcript.run(&herd, "shutdown --leave-services");
    assert_eq!(herd.ended(), Some(0));
    transcript.run(&herd, "status");
    herd.launch(on_a_host(&herd));
    for line in ["status", "shutdown"] {
        transcript.run(&herd, line);
    }
    assert_eq!(herd.ended(), Some(0));
    transcript.run(&herd, "status");
    insta::assert_snapshot!(transcript.into_text(), @r###"
    $ daemonherder status
    daemonherder: no daemon is running for the confs in HERE/confs (no answer at HERE/state/control.sock): start one with `daemonherder`
    exit 3
    $ daemonherder run
    daemonherder: already running (pid PID)
    exit 1
    $ daemonherder run --detach
    exit 0
    $ daemonherder check
    HERE/confs/broken.conf:3:3: unknown key "arg", did you mean "args"?
    HERE/confs/dies.conf: good, runs on meadow
    HERE/confs/far@elsewhere.conf: good, for other hosts
    HERE/confs/herder.json: good, holds for all services
    HERE/confs/job.conf: good, runs on meadow
    HERE/confs/talks.conf: good, runs on meadow
    HERE/confs/web.conf: good, runs on meadow
    7 files, 5 confs for meadow, 1 problem
    exit 1
    $ daemonherder check --json
    {
      "version": 1,
      "host": "meadow",
      "files": [
        {
          "path": "HERE/confs/broken.conf",
          "id": "broken",
          "standing": "here",
          "problems": [
            {
              "line": 3,
              "column": 3,
              "message": "unknown key \"arg\", did you mean \"args\"?"
            }
          ],
          "warnings": []
        },
        {
          "path": "HERE/confs/dies.conf",
          "id": "dies",
          "standing": "here",
          "problems": [],
          "warnings": []
        },
        {
          "path": "HERE/confs/far@elsewhere.conf",
          "id": "far",
          "standing": "other-host",
          "problems": [],
          "warnings": []
        },
        {
          "path": "HERE/confs/herder.json",
          "id": null,
          "standing": "settings",
          "problems": [],
          "warnings": []
        },
        {
          "path": "HERE/confs/job.conf",
          "id": "job",
          "standing": "here",
          "problems": [],
          "warnings": []
        },
        {
          "path": "HERE/confs/talks.conf",
          "id": "talks",
          "standing": "here",
          "problems": [],
          "warnings": []
        },
        {
          "path": "HERE/confs/web.conf",
          "id": "web",
          "standing": "here",
          "problems": [],
          "warnings": []
        }
      ]
    }
    exit 1
    $ daemonherder status
    ID      STATE    PID  UPTIME  RESTARTS  REASON
    broken  invalid    -  -              0  its conf has a problem: 3:3: unknown key "arg", did you mean "args"?
    dies    failed     -  -              0  given up: more than 0 restarts in 10s; last: exited with code 3
    job     exited     -  -              0  exited with code 0; restart policy never
    talks   running  PID  SPAN           0  started with its conf
    web     running  PID  SPAN           0  started with its conf
    far     skipped    -  -              0  runs on elsewhere only
    HERE/confs/broken.conf:3:3: unknown key "arg", did you mean "args"?
    exit 0
    $ daemonherder status talks
    id:        talks
    name:      talks
    state:     running since MOMENT
    reason:    started with its conf
    wanted:    up
    pid:       PID
    run:       HERD-3
    uptime:    SPAN
    restarts:  0, 0 of at most 5 within the last 10s
    conf:      HERE/confs/talks.conf (for every host)
    logs:      12 bytes, through a pipe of 16 KiB
    processes:
               PID sleep, SIZE KiB, SPAN of processor time

    hello
    there
    exit 0
    $ daemonherder status talks --json
    {
      "version": 1,
      "host": "meadow",
      "daemon": {
        "version": "VERSION",
        "pid": "PID",
        "since": "MOMENT"
      },
      "services": [
        {
          "id": "talks",
          "name": "talks",
          "state": "running",
          "wanted": "up",
          "reason": "started with its conf",
          "since": "MOMENT",
          "pid": "PID",
          "run": "HERD-3",
          "uptime_ms": "SPAN",
          "restarts": 0,
          "window": {
            "count": 0,
            "intensity": 5,
            "period_ms": 10000
          },
          "next_start_ms": null,
          "last_exit": null,
          "conf": "HERE/confs/talks.conf",
          "conf_problems": [],
          "tree": "subreaper",
          "logs": {
            "bytes": 12,
            "dropped": 0
          }
        }
      ]
    }
    exit 0
    $ daemonherder status broken
    id:        broken
    name:      broken
    state:     invalid since MOMENT
    reason:    its conf has a problem: 3:3: unknown key "arg", did you mean "args"?
    wanted:    down
    restarts:  0
    conf:      HERE/confs/broken.conf (for every host)
    logs:      0 bytes
    HERE/confs/broken.conf:3:3: unknown key "arg", did you mean "args"?
    exit 1
    $ daemonherder stop web
    web: stopped
    exit 0
    $ daemonherder stop web
    web: does not run (stopped)
    exit 0
    $ daemonherder start web --settle 1ms
    web: started
    exit 0
    $ daemonherder restart web --settle 1ms
    web: restarted
    exit 0
    $ daemonherder stop web talks --no-wait
    web: ordered
    talks: ordered
    exit 0
    $ daemonherder stop --all
    broken: does not run (invalid)
    dies: does not run (failed)
    job: does not run (exited)
    talks: does not run (stopped)
    web: does not run (stopped)
    exit 0
    $ daemonherder start web talks --no-wait
    web: ordered
    talks: ordered
    exit 0
    $ daemonherder start dies
    daemonherder: cannot start dies: given up: more than 0 restarts in 10s; last: exited with code 3 (exit-code); now failed
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
    daemonherder: invalid value 'soon' for '--settle <DURATION>': expected a duration such as 250ms, 10s, 5m or 1h

    For more information, try '--help'.
    exit 2
    $ daemonherder signal CONT web
    web: sent CONT
    exit 0
    $ daemonherder signal CONT web talks --tree
    web: sent CONT
    talks: sent CONT
    exit 0
    $ daemonherder signal NOISE web
    daemonherder: invalid value 'NOISE' for '<SIG>': NOISE is no signal: a name such as TERM or SIGTERM, or 1 to 64

    For more information, try '--help'.
    exit 2
    $ daemonherder logs dies -n 1
    the last word
    exit 0
    $ daemonherder logs dies web
    dies | the last word
    dies | the last word
    daemonherder: web: nothing is in its log here: it has written nothing, or its output is not kept
    exit 0
    $ daemonherder logs talks --stderr
    daemonherder: talks: nothing of its standard error is kept apart here; without --stderr its log is shown
    exit 0
    $ daemonherder logs nobody
    daemonherder: no such service: nobody
    exit 4
    $ daemonherder logs
    daemonherder: the following required arguments were not provided:
      <ID>...

    Usage: daemonherder logs <ID>...

    For more information, try '--help'.
    exit 2
    $ daemonherder add web -- sleep 1
    daemonherder: cannot add web: HERE/confs/web.conf is there already and says something else: edit it, or `daemonherder remove` it first
    exit 1
    $ daemonherder add new --cwd / -- sleep 100000
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
    $ daemonherder reload --dry-run --json
    {
      "version": 1,
      "start": [],
      "stop": [],
      "restart": [],
      "adjust": [],
      "unchanged": [
        "broken",
        "dies",
        "job",
        "talks",
        "web"
      ],
      "problems": [
        {
          "path": "HERE/confs/broken.conf",
          "line": 3,
          "column": 3,
          "message": "unknown key \"arg\", did you mean \"args\"?"
        }
      ]
    }
    exit 0
    $ daemonherder reload --dry-run
    start      late
    stop       job
    restart    web
    adjust     talks
    unchanged  2
    daemonherder: HERE/confs/broken.conf:3:3: unknown key "arg", did you mean "args"?
    exit 0
    $ daemonherder reload
    start      late
    stop       job
    restart    web
    adjust     talks
    unchanged  2
    daemonherder: HERE/confs/broken.conf:3:3: unknown key "arg", did you mean "args"?
    exit 0
    $ daemonherder upgrade /bin/false
    daemonherder: /bin/false: its look at the present state exited with code 1
    exit 1
    $ daemonherder upgrade HERE/next
    upgraded from VERSION to VERSION: HERE/next
    exit 0
    $ daemonherder explode
    daemonherder: unrecognized subcommand 'explode'

      tip: a similar subcommand exists: 'reload'

    Usage: daemonherder [OPTIONS] [COMMAND]

    For more information, try '--help'.
    exit 2
    $ daemonherder shutdown --leave-services
    exit 0
    $ daemonherder status
    daemonherder: no daemon is running for the confs in HERE/confs (no answer at HERE/state/control.sock): start one with `daemonherder`
    exit 3
    $ daemonherder status
    ID      STATE    PID  UPTIME  RESTARTS  REASON
    broken  invalid    -  -              0  its conf has a problem: 3:3: unknown key "arg", did you mean "args"?
    dies    failed     -  -              0  given up: more than 0 restarts in 10s; last: exited with code 3
    late    running  PID  SPAN           0  started with its conf
    talks   running  PID  SPAN           0  started by an operator
    web     running  PID  SPAN           0  started anew, its conf changed
    far     skipped    -  -              0  runs on elsewhere only
    HERE/confs/broken.conf:3:3: unknown key "arg", did you mean "args"?
    exit 0
    $ daemonherder shutdown
    exit 0
    $ daemonherder status
    daemonherder: no daemon is running for the confs in HERE/confs (no answer at HERE/state/control.sock): start one with `daemonherder`
    exit 3
    "###);
}
