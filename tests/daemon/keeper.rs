//! Nothing dies with the daemon: its herder, its keeper, or both are killed or stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::exits::pause;
use crate::herd::{Herd, finish, gone, is_there, lives, sh, sleeper, with};

/// Whose death is survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dead {
    Herder,
    Keeper,
    Both,
}

const ALL: [Dead; 3] = [Dead::Herder, Dead::Keeper, Dead::Both];

/// What is said of a service, without the times, whose milliseconds are each herder's own.
fn timeless(mut service: Value) -> Value {
    service["since"] = Value::Null;
    service["last_exit"]["at"] = Value::Null;
    service["logs"] = Value::Null;
    service["uptime_ms"] = Value::Null;
    service["details"] = Value::Null;
    service
}

/// Kills it, and waits until there is a daemon again that answers.
fn survive(herd: &mut Herd, dead: Dead) {
    match dead {
        Dead::Herder => herd.kill_herder(),
        Dead::Keeper => herd.kill_keeper(),
        Dead::Both => {
            herd.kill_all();
            herd.start();
            herd.document();
        }
    }
}

fn kill_service(herd: &Herd, id: &str) {
    kill(herd.pid_of(id), Signal::SIGKILL).unwrap();
}

#[test]
fn services_live_on_and_are_not_made_twice() {
    for dead in ALL {
        let mut herd = Herd::of([("web", sh("echo run >> runs; exec sleep 100000"))]);
        let before = herd.until_state("web", "running");
        survive(&mut herd, dead);
        let after = herd.service("web");
        for key in ["pid", "run", "state", "restarts"] {
            assert_eq!(before[key], after[key], "{dead:?}: {key}");
        }
        assert_eq!(herd.lines_now("runs").len(), 1, "{dead:?}");
        assert!(lives(herd.pid_of("web")));
        // And it is not only a picture of a service.
        kill_service(&herd, "web");
        herd.until("web", "came back", |web| web["state"] == "running" && web["restarts"] == 1);
        herd.done("stop web");
        assert_eq!(herd.end(), Some(0), "{dead:?}");
    }
}

/// `killall -9` goes by the names of processes, and a child has that of the thread that made it until it executes its program:
/// by the daemon's name a service that is about to begin would be killed as well.
#[test]
fn only_the_daemons_own_processes_are_called_as_it_is() {
    let mut herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    for dead in [None, Some(Dead::Both), Some(Dead::Keeper)] {
        dead.into_iter().for_each(|dead| survive(&mut herd, dead));
        let keeper = PathBuf::from(format!("/proc/{}", herd.pid()));
        let name = |of: &Path| fs::read_to_string(of.join("comm")).unwrap();
        assert_eq!(name(&keeper), "daemonherder\n", "{dead:?}");
        let others = fs::read_dir(keeper.join("task")).unwrap().map(|task| task.unwrap().path());
        let others = others.filter(|task| !task.ends_with(herd.pid().to_string()));
        let others: Vec<_> = others.map(|task| name(&task)).collect();
        assert_eq!(others, ["keeper\n"], "{dead:?}: the thread that makes services");
    }
}

/// The journal of notes is written a few milliseconds after a death. Here it is as old as can be.
#[test]
fn restarts_that_the_journal_does_not_know_of_yet_are_counted_exactly() {
    for deaths in [0, 2] {
        let mut herd = Herd::of([("web", sleeper())]);
        herd.until_state("web", "running");
        let journal = herd.state().join("runs/notes");
        // Answered once all is written.
        herd.done("start web");
        let old = fs::read(&journal).unwrap();
        herd.done("restart web");
        for death in 1..=deaths {
            kill_service(&herd, "web");
            herd.until("web", "came back", |web| web["state"] == "running" && web["restarts"] == death);
        }
        let pid = herd.pid_of("web");
        herd.kill_all();
        fs::write(&journal, &old).unwrap();
        herd.start();
        let web = herd.until_state("web", "running");
        assert_eq!((&web["restarts"], herd.pid_of("web")), (&json!(deaths), pid), "{deaths} deaths");
    }
}

#[test]
fn a_reload_is_answered_once_it_is_written_whose_process_is_ended() {
    let herd = Herd::of([("web", sh("trap '' TERM; while :; do sleep 100000; done"))]);
    herd.until_state("web", "running");
    herd.done("start web");
    let journal = herd.state().join("runs/notes");
    let old = fs::read(&journal).unwrap();
    herd.conf("web", &sleeper());
    assert_eq!(herd.ask("POST", "/v1/reload", "").0, 200);
    assert!(fs::read(&journal).unwrap() != old, "the note that says so is on its way still");
}

#[test]
fn an_operators_stop_holds() {
    for dead in ALL {
        let mut herd = Herd::of([("web", sh("echo run >> runs; exec sleep 100000")), ("other", sleeper())]);
        herd.until_state("web", "running");
        herd.done("stop web");
        let before = herd.service("web");
        survive(&mut herd, dead);
        herd.until_state("other", "running");
        assert_eq!(timeless(herd.service("web")), timeless(before), "{dead:?}");
        assert_eq!(herd.lines_now("runs").len(), 1, "{dead:?}");
        herd.done("reload");
        assert_eq!(herd.service("web")["state"], "stopped", "{dead:?}");
    }
}

#[test]
fn a_shutdown_forgets_stops() {
    let mut herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    herd.done("stop web");
    herd.done("shutdown");
    assert_eq!(herd.ended(), Some(0));
    herd.start();
    herd.until_state("web", "running");
}

#[test]
fn counters_and_the_window_hold() {
    for dead in ALL {
        let conf = with(
            sleeper(),
            json!({"restart": {"intensity": 2, "period": "10m", "cooldown": "10m", "max_cooldown": "10m"}}),
        );
        let mut herd = Herd::of([("web", conf)]);
        herd.until_state("web", "running");
        kill_service(&herd, "web");
        herd.until("web", "came back", |web| web["restarts"] == 1 && web["state"] == "running");
        // An order is answered when all that is known is written: what the journal has is no matter of luck.
        herd.done("start web --no-wait");
        kill_service(&herd, "web");
        let before = herd.until("web", "came back", |web| web["restarts"] == 2 && web["state"] == "running");
        survive(&mut herd, dead);
        let (before, after) = (timeless(before), timeless(herd.service("web")));
        assert_eq!(after["restarts"], before["restarts"], "{dead:?}");
        assert_eq!(after["window"], before["window"], "{dead:?}");
        assert_eq!(after["last_exit"], before["last_exit"], "{dead:?}");
    }
}

#[test]
fn a_cool_down_goes_on() {
    for dead in ALL {
        let restart = json!({"intensity": 1, "cooldown": "10m", "max_cooldown": "10m"});
        let mut herd = Herd::of([
            ("loop", with(sh("echo run >> runs; exit 7"), json!({ "restart": restart }))),
            ("other", sleeper()),
        ]);
        let before = herd.until("loop", "cools down", |service| service["next_start_ms"].is_u64());
        let wait = before["next_start_ms"].as_u64().unwrap();
        // Answered once it is written.
        herd.done("stop other");
        survive(&mut herd, dead);
        let (before, after) = (timeless(before), timeless(herd.service("loop")));
        for key in ["state", "reason", "restarts", "window", "last_exit"] {
            assert_eq!(before[key], after[key], "{dead:?}: {key}");
        }
        let left = after["next_start_ms"].as_u64().unwrap();
        assert!(left <= wait && left > wait - 60_000, "{dead:?}: {left} of {wait}");
        assert_eq!(herd.lines_now("runs").len(), 2, "{dead:?}");
    }
}

#[test]
fn a_service_with_a_broken_conf_comes_back_from_its_last_good_text() {
    for dead in ALL {
        let mut herd = Herd::of([("web", sh("echo run >> runs; exec sleep 100000"))]);
        herd.until_state("web", "running");
        herd.file("web.conf", "{\"cmd\": ");
        herd.done("reload");
        survive(&mut herd, dead);
        assert_eq!(herd.service("web")["state"], "running");
        kill_service(&herd, "web");
        let back = herd.until("web", "came back", |web| web["restarts"] == 1 && web["state"] == "running");
        assert!(!back["conf_problems"].as_array().unwrap().is_empty(), "{dead:?}: {back}");
        // Over another death, too: whoever took over once has told it on.
        survive(&mut herd, Dead::Herder);
        kill_service(&herd, "web");
        herd.until("web", "came back", |web| web["restarts"] == 2 && web["state"] == "running");
        assert_eq!(herd.lines("runs", 3).len(), 3);
    }
}

#[test]
fn no_line_of_output_is_lost() {
    const LINES: usize = 30_000;
    let script = format!(
        "n=0; while [ $n -lt {LINES} ]; do n=$((n+1)); echo line $n; [ $n = 2000 ] && echo >> begun; done; \
                          echo >> ended; exec sleep 100000"
    );
    for dead in ALL {
        let mut herd = Herd::of([("chatty", sh(&script))]);
        herd.lines("begun", 1);
        survive(&mut herd, dead);
        herd.lines("ended", 1);
        let output = herd.output("chatty");
        let expected = (1..=LINES).map(|n| format!("line {n}"));
        assert!(output.lines().eq(expected), "{dead:?}: {} lines", output.lines().count());
    }
}

#[test]
fn a_stopped_herder_is_replaced() {
    let herd = Herd::of([("web", sleeper())]);
    let before = herd.until_state("web", "running");
    let herder = herd.herder();
    let begun = Instant::now();
    kill(herder, Signal::SIGSTOP).unwrap();
    herd.until_replaced(herder);
    let waited = begun.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(20)).contains(&waited), "{waited:?}");
    assert!(!lives(herder));
    assert_eq!(herd.service("web")["pid"], before["pid"]);
    herd.logged("the herder has not listened", 1);
}

#[test]
fn without_any_herder_sigterm_ends_the_services() {
    if !is_there("prlimit", "a keeper that can make no herder") {
        return;
    }
    let polite = sh("trap 'echo bye >> got; exit 0' TERM; echo up >> up; while :; do sleep 100000 & wait; done");
    let deaf = sh("trap '' TERM; echo up >> up; while :; do sleep 100000; done");
    let mut herd = Herd::new();
    // Whether something is left can't be seen without a descriptor, and then it is waited for.
    herd.conf("polite", &with(polite, json!({"stop": {"timeout": "500ms"}})));
    herd.conf("deaf", &with(deaf, json!({"stop": {"timeout": "300ms"}})));
    herd.start();
    herd.lines("up", 2);
    let pids = ["polite", "deaf"].map(|id| {
        herd.until_state(id, "running");
        herd.pid_of(id)
    });
    let herder = herd.herder();
    // No descriptor can be opened any more.
    let limited = finish(Command::new("prlimit").args(["--pid", &herd.pid().to_string(), "--nofile=3:3"]));
    assert_eq!(limited.code, 0, "{limited:?}");
    kill(herder, Signal::SIGKILL).unwrap();
    gone(herder);
    let begun = Instant::now();
    herd.signal(Signal::SIGTERM);
    herd.ended();
    let waited = begun.elapsed();
    // Two seconds for a herder to take it over, the stop timeout, and five seconds for KILL.
    assert!((Duration::from_secs(2)..Duration::from_secs(10)).contains(&waited), "{waited:?}");
    assert_eq!(herd.lines_now("got"), ["bye"]);
    assert!(pids.iter().all(|pid| !lives(*pid)));
}

#[test]
fn while_the_herder_is_dead_a_second_daemon_is_still_the_second() {
    let herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    let (keeper, herder) = (herd.document()["daemon"]["pid"].clone(), herd.herder());
    pause(&herd);
    kill(herder, Signal::SIGKILL).unwrap();
    gone(herder);
    let second = herd.run("run --detach");
    assert_eq!((second.code, second.out.as_str(), second.err.as_str()), (0, "", ""));
    let refused = herd.run("run");
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("already running"), "{refused:?}");
    herd.signal(Signal::SIGCONT);
    herd.until_replaced(herder);
    assert_eq!(herd.document()["daemon"]["pid"], keeper);
}

/// A number that a stranger has by now: what the table says of it is not believed.
#[test]
fn a_stranger_with_the_number_of_a_run_is_left_alone() {
    let mut herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    let pid = herd.pid_of("web");
    herd.kill_all();
    kill(pid, Signal::SIGKILL).unwrap();
    gone(pid);
    let mut stranger = Command::new("sleep").arg("100000").spawn().unwrap();
    let number = stranger.id();
    // In the whole table there is one number like it.
    let path = herd.state().join("runs").join("table");
    let mut table = fs::read(&path).unwrap();
    let was = u32::try_from(pid.as_raw()).unwrap().to_le_bytes();
    let places: Vec<_> = (0..table.len() - 3).step_by(4).filter(|at| table[*at..*at + 4] == was).collect();
    assert_eq!(places.len(), 1, "where the number is: {places:?}");
    table[places[0]..places[0] + 4].copy_from_slice(&number.to_le_bytes());
    fs::write(&path, table).unwrap();
    herd.start();
    let web = herd.until("web", "came back", |web| web["state"] == "running" && web["restarts"] == 1);
    assert_ne!(web["pid"], json!(number));
    assert_eq!(web["last_exit"]["cause"], "lost");
    herd.done("stop web");
    assert_eq!(herd.end(), Some(0));
    assert_eq!(stranger.try_wait().unwrap(), None, "it was nobody's to end");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn what_ends_with_a_service_is_the_same_for_whoever_takes_over() {
    let script = "sleep 100000 & echo $! >> child; exec sleep 100000";
    for dead in ALL {
        let mut herd = Herd::of([("main", with(sh(script), json!({"stop": {"scope": "main"}})))]);
        let child = Pid::from_raw(herd.lines("child", 1)[0].parse().unwrap());
        herd.until_state("main", "running");
        survive(&mut herd, dead);
        herd.done("stop main");
        assert!(lives(child), "{dead:?}");
        kill(child, Signal::SIGKILL).unwrap();
    }
}

#[test]
fn a_stop_goes_on_where_it_was() {
    let deaf = sh("trap '' TERM; echo up >> up; while :; do sleep 100000; done");
    for dead in ALL {
        let mut herd = Herd::of([("deaf", with(deaf.clone(), json!({"stop": {"timeout": "700ms"}})))]);
        herd.lines("up", 1);
        herd.until_state("deaf", "running");
        let pid = herd.pid_of("deaf");
        herd.done("stop deaf --no-wait");
        survive(&mut herd, dead);
        let stopped = herd.until_state("deaf", "stopped");
        assert_eq!(stopped["wanted"], "down", "{dead:?}");
        assert_eq!(stopped["pid"], Value::Null);
        assert!(!lives(pid), "{dead:?}");
        assert_eq!(herd.lines_now("up").len(), 1, "{dead:?}");
    }
}

#[test]
fn a_herder_that_does_not_become_the_keeper_says_so_before_it_ends() {
    let mut herd = Herd::new();
    herd.conf("web", &sleeper());
    // Where systemd made the keeper, it makes the next one.
    herd.start_through("SYSTEMD_EXEC_PID=$$ exec \"$@\"");
    herd.until_state("web", "running");
    let (web, herder) = (herd.pid_of("web"), herd.herder());
    herd.signal(Signal::SIGKILL);
    assert_eq!(herd.ended(), None);
    gone(herder);
    let why = "cannot become the keeper; the next daemon finds what lives: systemd starts the next one";
    assert_eq!(herd.log().matches(why).count(), 1, "{}", herd.log());
    assert!(!herd.log().contains("becomes the keeper"), "{}", herd.log());
    assert!(lives(web));
    kill(web, Signal::SIGKILL).unwrap();
}

#[test]
fn what_systemd_stops_is_stopped_even_if_its_keeper_dies_meanwhile() {
    let deaf = sh("trap '' TERM; echo up >> up; while :; do sleep 100000; done");
    let mut herd = Herd::new();
    herd.conf("deaf", &with(deaf, json!({"stop": {"timeout": "2s"}})));
    // It is not followed by another one where systemd has stopped it.
    herd.start_through("SYSTEMD_EXEC_PID=$$ exec \"$@\"");
    herd.lines("up", 1);
    let (deaf, herder) = (herd.pid_of("deaf"), herd.herder());
    herd.signal(Signal::SIGTERM);
    herd.until_state("deaf", "stopping");
    herd.signal(Signal::SIGKILL);
    assert_eq!(herd.ended(), None);
    gone(herder);
    assert!(!lives(deaf), "{}", herd.log());
}

#[test]
fn the_next_boot_is_no_error() {
    let mut herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    assert_eq!(herd.end(), Some(0));
    // The boot id is in the header of the table; any other one is another boot's.
    let path = herd.state().join("runs").join("table");
    let mut table = fs::read(&path).unwrap();
    table[24] ^= 1;
    fs::write(&path, table).unwrap();
    let before = herd.log().lines().count();
    herd.start();
    herd.until_state("web", "running");
    // The log is written a little later than it is known what it says.
    herd.logged("of another boot", 1);
    let said: Vec<_> = herd.log().lines().skip(before).map(str::to_owned).collect();
    assert!(said.iter().all(|line| line.contains(" INFO ")), "{said:#?}");
}
