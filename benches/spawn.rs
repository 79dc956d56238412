//! How fast processes are made and replaced, beside `std::process` and a loop of vfork(2) in C.
//!
//! `cargo bench --bench spawn [-- COUNT]`. It needs a C compiler, and prints medians and 99th percentiles.
//!
//! - *start*: all are launched one after another, until the last program runs.
//! - *call*: how long one launch keeps the caller, with all others alive.
//! - *restart*: one is killed and replaced, until its program runs, with all others alive and idle.
//! - *reaction*: of that, from the report of the end until the call that replaces it has returned.
//! - *storm*: all are killed at once and replaced, until the last program runs.

use std::collections::BTreeMap;
use std::env;
use std::ffi::CString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemonherder::model::{RunId, Signal, StopScope};
use daemonherder::process::{DirectSpawner, Launch, Output, Report, Reports, Sink, Spawner, Whom};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const SINGLE: usize = 500;

/// A program that sleeps, with as little of its own start as there can be.
const SLEEPER: &str = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";

/// The same work in C: vfork, exec, waitpid. One line of microseconds a figure.
const VFORK: &str = r#"
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static char *args[2], *env[1];
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}
static pid_t make(void) {
    pid_t pid = vfork();
    if (pid == 0) {
        execve(args[0], args, env);
        _exit(127);
    }
    return pid;
}
static int compare(const void *a, const void *b) {
    return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b);
}
int main(int argc, char **argv) {
    int count = atoi(argv[2]), single = atoi(argv[3]);
    pid_t *pids = calloc(count, sizeof *pids);
    double *times = calloc(single, sizeof *times), before = now();
    args[0] = argv[1];
    for (int i = 0; i < count; i++) pids[i] = make();
    printf("start %.0f\n", now() - before);
    for (int i = 0; i < single; i++) {
        double at = now();
        kill(pids[i % count], SIGKILL);
        waitpid(pids[i % count], NULL, 0);
        pids[i % count] = make();
        times[i] = now() - at;
    }
    qsort(times, single, sizeof *times, compare);
    printf("restart %.0f %.0f\n", times[single / 2], times[single * 99 / 100]);
    before = now();
    for (int i = 0; i < count; i++) kill(pids[i], SIGKILL);
    for (int i = 0; i < count; i++) {
        waitpid(-1, NULL, 0);
        pids[i] = make();
    }
    printf("storm %.0f\n", now() - before);
    for (int i = 0; i < count; i++) kill(pids[i], SIGKILL);
}
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let count = env::args().find_map(|arg| arg.parse().ok()).unwrap_or(1000);
    let dir = tempfile::tempdir().expect("a directory for programs");
    let sleeper = compile(&dir, "sleeper", SLEEPER, "-static");
    let vfork = compile(&dir, "vfork", VFORK, "-O2");
    println!("{count} processes, microseconds");
    for round in 1..=3 {
        println!("round {round}");
        let arguments = [count.to_string(), SINGLE.to_string()];
        let output = Command::new(&vfork).arg(&sleeper).args(arguments).output().expect("the C program");
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            println!("  vfork          {line}");
        }
        of_std(&sleeper, count);
        tokio::task::LocalSet::new().run_until(of_spawner(&sleeper, count)).await;
    }
}

fn compile(dir: &TempDir, name: &str, source: &str, flag: &str) -> PathBuf {
    let (text, program) = (dir.path().join(format!("{name}.c")), dir.path().join(name));
    std::fs::write(&text, source).expect("room for a source file");
    let status = Command::new("cc").arg(flag).arg("-o").arg(&program).arg(text).status();
    assert!(status.is_ok_and(|status| status.success()), "a C compiler with static libraries");
    program
}

fn print(who: &str, what: &str, times: &mut [Duration]) {
    times.sort();
    let nth = |percent: usize| times.get(times.len() * percent / 100).map_or(0, Duration::as_micros);
    match times.len() {
        1 => println!("  {who:14} {what} {}", nth(50)),
        _ => println!("  {who:14} {what} {} {}", nth(50), nth(99)),
    }
}

fn of_std(program: &Path, count: usize) {
    let make = || {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env_clear();
        command.spawn().expect("a process")
    };
    let kill = |child: &mut Child| {
        child.kill().expect("a living child");
        assert_eq!(child.wait().expect("our child").signal(), Some(9));
    };
    let begin = Instant::now();
    let mut children: Vec<_> = (0..count).map(|_| make()).collect();
    print("std::process", "start", &mut [begin.elapsed()]);
    let mut single = Vec::new();
    for index in (0..count).cycle().take(SINGLE) {
        let child = children.get_mut(index).expect("the index is within the children");
        let begin = Instant::now();
        kill(child);
        *child = make();
        single.push(begin.elapsed());
    }
    print("std::process", "restart", &mut single);
    children.iter_mut().for_each(kill);
}

struct Herd {
    spawner: DirectSpawner,
    program: CString,
    tell: UnboundedSender<(RunId, Report)>,
    told: UnboundedReceiver<(RunId, Report)>,
    runs: u64,
}

impl Herd {
    fn launch(&mut self) -> RunId {
        self.runs += 1;
        let run = RunId { herd: 0, number: self.runs };
        let tell = self.tell.clone();
        let reports: Reports = Arc::new(move |run, report| _ = tell.send((run, report)));
        let launch = Launch {
            service: "bench".parse().expect("an id"),
            run,
            programs: vec![self.program.clone()],
            argv: vec![self.program.clone()],
            env: Vec::new(),
            cwd: c"/".into(),
            credentials: None,
            umask: None,
            limits: BTreeMap::new(),
            output: Output { stdout: Sink::Null, stderr: None },
            cgroup: false,
            scope: StopScope::Tree,
        };
        self.spawner.launch(launch, reports);
        run
    }

    async fn told(&mut self) -> (RunId, Report) {
        self.told.recv().await.expect("the herd holds a sender itself")
    }

    /// Waits for so many programs to run; whatever ends meanwhile is replaced.
    async fn until_launched(&mut self, mut left: usize) -> Vec<RunId> {
        let mut launched = Vec::new();
        while left > 0 {
            match self.told().await {
                (run, Report::Launched { .. }) => {
                    launched.push(run);
                    left -= 1;
                }
                (run, Report::Ended(_)) => {
                    self.spawner.acknowledge(run);
                    self.launch();
                }
                (run, report) => panic!("{run:?} {report:?}"),
            }
        }
        launched
    }
}

async fn of_spawner(program: &Path, count: usize) {
    const WHO: &str = "DirectSpawner";
    let (tell, told) = unbounded_channel();
    let program = CString::new(program.to_str().expect("a plain path")).expect("a plain path");
    let spawner = DirectSpawner::new().expect("descriptors");
    let mut herd = Herd { spawner, program, tell, told, runs: 0 };

    let begin = Instant::now();
    (0..count).for_each(|_| _ = herd.launch());
    let mut runs = herd.until_launched(count).await;
    print(WHO, "start", &mut [begin.elapsed()]);

    let (mut single, mut reaction, mut call) = (Vec::new(), Vec::new(), Vec::new());
    for index in (0..count).cycle().take(SINGLE) {
        let slot = runs.get_mut(index).expect("the index is within the runs");
        let begin = Instant::now();
        herd.spawner.signal(*slot, Signal::KILL, Whom::Main);
        let (ended, Report::Ended(_)) = herd.told().await else { panic!("only an end can be told") };
        let told = Instant::now();
        herd.spawner.acknowledge(ended);
        let before = Instant::now();
        let run = herd.launch();
        call.push(before.elapsed());
        reaction.push(told.elapsed());
        assert!(matches!(herd.told().await, (_, Report::Launched { .. })));
        single.push(begin.elapsed());
        *slot = run;
    }
    print(WHO, "restart", &mut single);
    print(WHO, "reaction", &mut reaction);
    print(WHO, "call", &mut call);

    let begin = Instant::now();
    for run in runs {
        herd.spawner.signal(run, Signal::KILL, Whom::Main);
    }
    let runs = herd.until_launched(count).await;
    print(WHO, "storm", &mut [begin.elapsed()]);

    for run in runs {
        herd.spawner.signal(run, Signal::KILL, Whom::Main);
    }
    for _ in 0..count {
        herd.told().await;
    }
}
