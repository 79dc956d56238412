//! Real processes for tests: a fixture program, a spawner whose reports can be awaited, awkward circumstances.
//!
//! Tests synchronise on reports and on bytes. A deadline is a watchdog only: it makes a hanging test fail.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::env;
use std::ffi::CString;
use std::fs;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use daemonherder::model::{Ending, RunId, StopScope};
use daemonherder::process::{DirectSpawner, Launch, Output, Report, Reports, Sink, Spawner};
use nix::sys::stat::Mode;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const WATCHDOG: Duration = Duration::from_secs(30);
/// Set in a test that runs once more, in a process of its own.
const INNER: &str = "HERD_TEST_INNER";

/// The fixture program, compiled when it is first needed.
pub(crate) fn fixture() -> &'static Path {
    static FIXTURE: OnceLock<PathBuf> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        const SOURCE: &str = include_str!("fixture.c");
        let mut hasher = DefaultHasher::new();
        SOURCE.hash(&mut hasher);
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("herd-fixture-{:016x}", hasher.finish()));
        if !program.exists() {
            // Under a name of its own until it is complete, since other test processes look for it too.
            let unfinished = program.with_extension(std::process::id().to_string());
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/fixture.c");
            let cc = env::var_os("CC").unwrap_or_else(|| "cc".into());
            let compiled = Command::new(cc).args(["-O1", "-Wall", "-o"]).arg(&unfinished).arg(source).status();
            assert!(compiled.expect("a C compiler, which Rust links with").success());
            fs::rename(&unfinished, &program).unwrap();
        }
        program
    })
}

/// A spawner and everything that it has told.
pub(crate) struct Herd {
    pub(crate) spawner: DirectSpawner,
    pub(crate) dir: TempDir,
    tell: UnboundedSender<(RunId, Report)>,
    told: Mutex<UnboundedReceiver<(RunId, Report)>>,
    launches: Cell<u64>,
}

impl Herd {
    pub(crate) fn new() -> Self {
        Self::of(DirectSpawner::new().unwrap())
    }

    pub(crate) fn of(spawner: DirectSpawner) -> Self {
        let (tell, told) = unbounded_channel();
        let dir = tempfile::tempdir().unwrap();
        Self { spawner, dir, tell, told: Mutex::new(told), launches: Cell::new(0) }
    }

    /// What reports to this herd's channel.
    pub(crate) fn reports(&self) -> Reports {
        let tell = self.tell.clone();
        Arc::new(move |run, report| _ = tell.send((run, report)))
    }

    /// A launch of the fixture with these arguments.
    pub(crate) fn order(&self, args: &[&str]) -> Launch {
        self.launches.set(self.launches.get() + 1);
        let run = RunId { herd: 7, number: self.launches.get() };
        let program = CString::new(fixture().to_str().unwrap()).unwrap();
        let args = args.iter().map(|arg| CString::new(*arg).unwrap());
        Launch {
            service: format!("service-{}", run.number).parse().unwrap(),
            run,
            programs: vec![program.clone()],
            argv: [program].into_iter().chain(args).collect(),
            env: vec![c"PATH=/usr/bin:/bin".into()],
            cwd: CString::new(self.dir.path().to_str().unwrap()).unwrap(),
            credentials: None,
            umask: None,
            limits: BTreeMap::new(),
            output: Output { stdout: Sink::File(self.log(run)), stderr: None },
            cgroup: false,
            scope: StopScope::Tree,
        }
    }

    pub(crate) fn log(&self, run: RunId) -> PathBuf {
        self.dir.path().join("logs").join(run.number.to_string()).join("current.log")
    }

    pub(crate) fn launch(&self, args: &[&str]) -> RunId {
        self.launch_with(args, |_| {})
    }

    pub(crate) fn launch_with(&self, args: &[&str], change: impl FnOnce(&mut Launch)) -> RunId {
        let mut launch = self.order(args);
        change(&mut launch);
        let run = launch.run;
        self.spawner.launch(launch, self.reports());
        run
    }

    /// The next report.
    pub(crate) async fn told(&self) -> (RunId, Report) {
        watched(async { self.told.lock().await.recv().await.unwrap() }).await
    }

    /// What has been told and not been looked at.
    pub(crate) fn told_so_far(&self) -> Vec<(RunId, Report)> {
        let mut told = self.told.try_lock().unwrap();
        std::iter::from_fn(|| told.try_recv().ok()).collect()
    }

    /// How the only run that is under way ends; it is acknowledged. Says whether its program had run.
    pub(crate) async fn end(&self, run: RunId) -> (bool, Ending) {
        let mut launched = false;
        loop {
            match self.told().await {
                (of, Report::Launched { pid }) if of == run => launched = pid > 0,
                (of, Report::Ended(ending)) if of == run => {
                    self.spawner.acknowledge(run);
                    return (launched, ending);
                }
                other => panic!("{other:?} while waiting for the end of {run:?}"),
            }
        }
    }

    /// Launches it, waits for its end, and gives that.
    pub(crate) async fn run(&self, args: &[&str], change: impl FnOnce(&mut Launch)) -> (bool, Ending) {
        let run = self.launch_with(args, change);
        self.end(run).await
    }

    /// A named pipe, to be a launch's output, and its lines. They are there to be read once the launch is reported: a pipe
    /// without a writer reads as ended.
    pub(crate) fn pipe(&self) -> (Sink, Lines) {
        let path = self.dir.path().join(format!("pipe-{}", self.launches.get()));
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let lines = Lines::open(&path);
        (Sink::File(path), lines)
    }
}

/// What is written into a named pipe.
pub(crate) struct Lines(tokio::io::Lines<BufReader<pipe::Receiver>>);

impl Lines {
    pub(crate) fn open(path: &Path) -> Self {
        Self(BufReader::new(pipe::OpenOptions::new().open_receiver(path).unwrap()).lines())
    }

    /// The same for one that nobody has opened for writing yet; its end can't be seen.
    pub(crate) fn open_and_hold(path: &Path) -> Self {
        Self(BufReader::new(pipe::OpenOptions::new().read_write(true).open_receiver(path).unwrap()).lines())
    }

    /// The next line, `None` once nobody can write any more.
    pub(crate) async fn next(&mut self) -> Option<String> {
        watched(self.0.next_line()).await.unwrap()
    }

    /// The process number in the next line, which begins with `word`.
    pub(crate) async fn pid(&mut self, word: &str) -> i32 {
        let line = self.next().await.unwrap();
        line.strip_prefix(word).unwrap_or_else(|| panic!("{line:?} is not {word}")).trim().parse().unwrap()
    }
}

/// Fails instead of waiting for ever.
pub(crate) async fn watched<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WATCHDOG, future).await.expect("nothing has happened for half a minute")
}

/// Runs the test of this name once more in a process of its own, under circumstances that `fixture.c` knows. True within
/// that process; false outside, when it is over, and then the test is done.
pub(crate) fn within(test: &str, circumstances: &[&str]) -> bool {
    if is_inner() {
        return true;
    }
    let mut command = Command::new(fixture());
    command.arg("under").args(circumstances).arg("--").arg(env::current_exe().unwrap());
    let output = command.args(["--exact", test, "--nocapture"]).env(INNER, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
    assert!(text.contains("1 passed"), "{test} is not the name of the test: {text}");
    false
}

/// Whether this is the process of its own that [`within`] makes.
pub(crate) fn is_inner() -> bool {
    env::var_os(INNER).is_some()
}

/// Whether the tests run as root. Says so where a test can't do its work.
pub(crate) fn is_root() -> bool {
    let root = nix::unistd::Uid::effective().is_root();
    if !root {
        eprintln!("skipped: this test needs root");
    }
    root
}

/// This process's open descriptors.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// This process's children, zombies too.
pub(crate) fn children() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let lists = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}
