//! The direct spawner with real processes: what they are given, what is told of them, what is left behind.

#![expect(clippy::unwrap_used, reason = "a test whose circumstances can't be made fails")]

mod support;

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use daemonherder::model::{Bound, Ending, LaunchError, Limit, Resource, RunId, Signal, Stage, StopScope};
use daemonherder::process::{Credentials, DirectSpawner, Launch, Output, Report, SignalError, Sink, Spawner, Whom};
use nix::sys::resource::{Resource as Number, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{close, dup, dup2_stderr, dup2_stdin, dup2_stdout};
use support::{Herd, Lines, children, descriptors, fixture, is_root, within};

const OK: (bool, Ending) = (true, Ending::Exited(0));

fn failed(stage: Stage, errno: i32) -> (bool, Ending) {
    (false, Ending::NotLaunched(LaunchError { stage, errno }))
}

fn killed(signal: Signal) -> Ending {
    Ending::Killed { signal, core: false }
}

fn signal(number: i64) -> Signal {
    Signal::from_number(number).unwrap()
}

fn c(path: impl AsRef<Path>) -> std::ffi::CString {
    std::ffi::CString::new(path.as_ref().to_str().unwrap()).unwrap()
}

/// The values of one key in what the fixture reports.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    assert!(text.ends_with("end\n"), "{text}");
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).collect()
}

async fn reported(herd: &Herd, change: impl FnOnce(&mut Launch)) -> String {
    let mut launch = herd.order(&["report"]);
    change(&mut launch);
    let (run, log) = (launch.run, herd.log(launch.run));
    herd.spawner.launch(launch, herd.reports());
    assert_eq!(herd.end(run).await, OK);
    fs::read_to_string(log).unwrap()
}

// How it ends.

#[actix::test]
async fn an_end_is_told_as_it_was() {
    let herd = Herd::new();
    for code in [0, 1, 77, 255] {
        assert_eq!(herd.run(&["exit", &code.to_string()], |_| {}).await, (true, Ending::Exited(code)));
    }
    for number in [1, 9, 13, 15, 34, 64] {
        let end = herd.run(&["die", &number.to_string()], |_| {}).await;
        assert_eq!(end, (true, killed(signal(number))));
    }
}

#[actix::test]
async fn a_core_dump_is_told() {
    if fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap().starts_with(['|', '@', '/']) {
        return eprintln!("skipped: core dumps of this machine go elsewhere");
    }
    let herd = Herd::new();
    let unlimited = Limit { soft: Bound::Unlimited, hard: Bound::Unlimited };
    let end = herd.run(&["die", "6"], |launch| _ = launch.limits.insert(Resource::Core, unlimited)).await;
    assert_eq!(end, (true, Ending::Killed { signal: signal(6), core: true }));
}

// What stops a launch.

#[actix::test]
async fn a_failed_step_is_told_by_its_stage_and_error() {
    let herd = Herd::new();
    let dir = herd.dir.path();
    fs::write(dir.join("file"), "text without a first line for the kernel\n").unwrap();
    fs::write(dir.join("script"), "#!/no/such/interpreter\n").unwrap();
    fs::write(dir.join("denied"), "").unwrap();
    fs::create_dir(dir.join("directory")).unwrap();
    symlink(dir.join("file"), dir.join("link")).unwrap();
    for program in ["file", "script"] {
        fs::set_permissions(dir.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let programs = |launch: &mut Launch, names: &[&str]| {
        launch.programs = names.iter().map(|name| c(Path::new(".").join(name))).collect();
    };
    let stdout = |launch: &mut Launch, name: &str| launch.output.stdout = Sink::File(dir.join(name));
    let above = Limit { soft: Bound::At(2), hard: Bound::At(1) };

    type Change<'a> = &'a dyn Fn(&mut Launch);
    let table: [(Change<'_>, Stage, i32); 14] = [
        (&|launch| _ = launch.limits.insert(Resource::Core, above), Stage::Limits, libc::EINVAL),
        (&|launch| stdout(launch, "link"), Stage::Stdio, libc::ELOOP),
        (&|launch| stdout(launch, "directory"), Stage::Stdio, libc::EISDIR),
        (&|launch| stdout(launch, "file/log"), Stage::Stdio, libc::ENOTDIR),
        (&|launch| launch.output.stderr = Some(Sink::File(dir.join("link"))), Stage::Stdio, libc::ELOOP),
        (&|launch| launch.output.stdout = Sink::File("/proc/no/such/log".into()), Stage::Stdio, libc::ENOENT),
        (&|launch| launch.cwd = c("/no/such/directory"), Stage::Cwd, libc::ENOENT),
        (&|launch| launch.cwd = c(dir.join("file")), Stage::Cwd, libc::ENOTDIR),
        (&|launch| programs(launch, &["missing", "file/missing"]), Stage::Exec, libc::ENOTDIR),
        (&|launch| programs(launch, &["denied", "missing"]), Stage::Exec, libc::EACCES),
        (&|launch| programs(launch, &["directory"]), Stage::Exec, libc::EACCES),
        (&|launch| programs(launch, &["script"]), Stage::Exec, libc::ENOENT),
        (&|launch| programs(launch, &["file", "missing"]), Stage::Exec, libc::ENOEXEC),
        (&|launch| launch.programs.clear(), Stage::Exec, libc::ENOENT),
    ];
    for (index, (change, stage, errno)) in table.into_iter().enumerate() {
        assert_eq!(herd.run(&["exit", "0"], change).await, failed(stage, errno), "case {index}");
    }
    let found = |launch: &mut Launch| {
        programs(launch, &["missing", "denied"]);
        launch.programs.push(c(fixture()));
    };
    assert_eq!(herd.run(&["exit", "0"], found).await, OK, "the first that can be executed is taken");
}

#[actix::test]
async fn only_root_gives_a_process_another_user() {
    let root = nix::unistd::Uid::effective().is_root();
    if root && !within("only_root_gives_a_process_another_user", &["uid", "65534"]) {
        return;
    }
    let herd = Herd::new();
    let credentials = Some(Credentials { uid: 1, gid: 1, groups: vec![1] });
    let end = herd.run(&["exit", "0"], |launch| launch.credentials = credentials).await;
    assert_eq!(end, failed(Stage::Groups, libc::EPERM));
}

#[actix::test]
async fn no_user_and_group_means_to_stay_root() {
    if !is_root() {
        return;
    }
    let herd = Herd::new();
    let run = async |uid, gid| {
        let credentials = Some(Credentials { uid, gid, groups: Vec::new() });
        herd.run(&["exit", "0"], |launch| launch.credentials = credentials).await
    };
    assert_eq!(run(u32::MAX, 1).await, failed(Stage::Uid, libc::EINVAL));
    assert_eq!(run(1, u32::MAX).await, failed(Stage::Gid, libc::EINVAL));
}

#[actix::test]
async fn a_machine_without_descriptors_is_told_later_and_leaves_nothing_behind() {
    if !within("a_machine_without_descriptors_is_told_later_and_leaves_nothing_behind", &[]) {
        return;
    }
    let herd = Herd::new();
    assert_eq!(herd.run(&["exit", "0"], |_| {}).await, OK);
    let (_, hard) = getrlimit(Number::RLIMIT_NOFILE).unwrap();
    // The limit is one of numbers, so that holes among those in use would be spare ones.
    let _plugs: Vec<_> = (0..32).map(|_| fs::File::open("/dev/null").unwrap()).collect();
    let free = fs::File::open("/dev/null").unwrap().as_raw_fd() as u64;
    let before = descriptors();
    let mut seen = Vec::new();
    for spare in 0..5 {
        setrlimit(Number::RLIMIT_NOFILE, free + spare, hard).unwrap();
        let limit = Limit { soft: Bound::At(64), hard: Bound::At(hard) };
        let run = herd.launch_with(&["exit", "0"], |launch| _ = launch.limits.insert(Resource::Nofile, limit));
        assert_eq!(herd.told_so_far(), [], "nothing is told from within a call");
        let end = herd.end(run).await;
        setrlimit(Number::RLIMIT_NOFILE, free + 64, hard).unwrap();
        assert_eq!(descriptors(), before, "{spare} spare ones");
        seen.push(end);
    }
    let none = failed(Stage::Fork, libc::EMFILE);
    assert_eq!(seen, [none, none, none, OK, OK]);
    assert_eq!(children(), Vec::<String>::new());
}

#[actix::test]
async fn a_machine_without_processes_is_told_as_such() {
    let root = nix::unistd::Uid::effective().is_root();
    let uid: &[&str] = if root { &["uid", "65533"] } else { &[] };
    if !within("a_machine_without_processes_is_told_as_such", uid) {
        return;
    }
    let herd = Herd::new();
    let (soft, hard) = getrlimit(Number::RLIMIT_NPROC).unwrap();
    setrlimit(Number::RLIMIT_NPROC, 1, hard).unwrap();
    let end = herd.run(&["exit", "0"], |_| {}).await;
    setrlimit(Number::RLIMIT_NPROC, soft, hard).unwrap();
    assert_eq!(end, failed(Stage::Fork, libc::EAGAIN));
    assert_eq!(herd.run(&["exit", "0"], |_| {}).await, OK);
}

#[actix::test]
async fn a_launch_that_hangs_is_given_up_and_tells_its_stage() {
    let herd = Herd::of(DirectSpawner::with_launch_limit(Duration::from_millis(50)).unwrap());
    assert_eq!(herd.run(&["exit", "0"], |_| {}).await, OK);
    // Turns enough for the spawner's task to have gone to sleep: it has to be woken to have a timer.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    // Opening a named pipe for writing waits for a reader.
    let path = herd.dir.path().join("no-reader");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    let hanging = herd.launch_with(&["exit", "0"], |launch| launch.output.stdout = Sink::File(path));
    assert_eq!(herd.told().await, (hanging, Report::Overdue { stage: Stage::Stdio }));
    assert_eq!(herd.end(hanging).await, failed(Stage::Stdio, libc::ETIMEDOUT));
    let quick = herd.run(&["exit", "3"], |_| {}).await;
    assert_eq!(quick, (true, Ending::Exited(3)));
}

#[actix::test]
async fn a_hanging_launch_holds_up_nobody_and_can_be_killed() {
    let herd = Herd::new();
    let path = herd.dir.path().join("no-reader");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    let hanging = herd.launch_with(&["exit", "0"], |launch| launch.output.stdout = Sink::File(path));
    for _ in 0..20 {
        assert_eq!(herd.run(&["exit", "0"], |_| {}).await, OK);
    }
    herd.spawner.signal(hanging, Signal::KILL, Whom::Tree).unwrap();
    assert_eq!(herd.end(hanging).await, (false, killed(Signal::KILL)));
}

#[actix::test]
async fn a_launch_goes_on_when_the_spawner_is_gone() {
    if !within("a_launch_goes_on_when_the_spawner_is_gone", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let before = descriptors();
    let spawner = DirectSpawner::new().unwrap();
    let path = dir.path().join("late-reader");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    let launch = Launch {
        programs: vec![c(fixture())],
        argv: vec![c"fixture".into(), c"exit".into()],
        cwd: c"/".into(),
        output: Output { stdout: Sink::File(path.clone()), stderr: None },
        ..daemonherder::testing::FakeSpawner::launch_of("web".parse().unwrap(), RunId { herd: 0, number: 0 })
    };
    let report = Launch { argv: vec![c"fixture".into(), c"report".into()], ..launch };
    spawner.launch(report, std::sync::Arc::new(|_, _| {}));
    drop(spawner);
    while descriptors() > before {
        tokio::task::yield_now().await;
    }
    // Now the child can go on, in memory that the spawner must not have freed.
    let mut lines = Lines::open_and_hold(&path);
    while lines.next().await.unwrap() != "end" {}
}

// What it is given.

#[actix::test]
async fn a_process_has_nothing_of_its_parent() {
    const NAME: &str = "a_process_has_nothing_of_its_parent";
    // HUP, USR1, PIPE and two real-time signals, the second of them blocked too.
    let ignored = ["ignore", "1", "ignore", "10", "ignore", "13", "ignore", "40", "ignore", "64"];
    let blocked = ["block", "12", "block", "15", "block", "64", "open", "77", "open", "5000"];
    if !within(NAME, &[ignored, blocked].concat()) {
        return;
    }
    let herd = Herd::new();
    let text = reported(&herd, |launch| launch.env = vec![c"A=1".into(), c"B=".into(), c"C=x y".into()]).await;
    for key in ["SigBlk", "SigIgn", "SigCgt", "SigPnd"] {
        assert_eq!(values(&text, key), ["0"], "{key}");
    }
    let log = herd.log(RunId { herd: 7, number: 1 });
    let appended = libc::O_WRONLY | libc::O_APPEND;
    let fds = ["0 /dev/null flags 0".to_owned()].into_iter();
    let fds = fds.chain([1, 2].map(|fd| format!("{fd} {} flags {appended:o}", log.display())));
    assert_eq!(values(&text, "fd"), fds.collect::<Vec<_>>());
    assert_eq!(values(&text, "env"), ["A=1", "B=", "C=x y"]);
    assert_eq!(values(&text, "leader"), ["1 1"]);
    assert_eq!(values(&text, "cwd"), [herd.dir.path().to_str().unwrap()]);
}

#[actix::test]
async fn a_process_has_the_user_and_groups_it_was_given_and_no_capability() {
    if !is_root() {
        return;
    }
    let herd = Herd::new();
    // Only for root, so that it shows who opens the log and who enters the directory.
    let credentials = || Some(Credentials { uid: 1234, gid: 2345, groups: vec![2345, 3456] });
    let text = reported(&herd, |launch| (launch.credentials, launch.cwd) = (credentials(), c"/".into())).await;
    assert_eq!(values(&text, "uids"), ["1234 1234 1234"]);
    assert_eq!(values(&text, "gids"), ["2345 2345 2345"]);
    assert_eq!(values(&text, "groups"), ["2345 3456"]);
    assert_eq!(values(&text, "CapEff"), ["0"]);

    let closed = herd.dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let end = herd.run(&["exit", "0"], |launch| (launch.credentials, launch.cwd) = (credentials(), c(closed))).await;
    assert_eq!(end, failed(Stage::Cwd, libc::EACCES), "cwd is entered as the service's user");
}

#[actix::test]
async fn umask_and_limits_are_the_services_and_the_logs_are_not() {
    const NAME: &str = "umask_and_limits_are_the_services_and_the_logs_are_not";
    if !within(NAME, &[]) {
        return;
    }
    let herd = Herd::new();
    umask(Mode::from_bits_truncate(0o750));
    let limit = Limit { soft: Bound::At(33), hard: Bound::At(44) };
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for (number, mask, shown) in [(1, Some(0), "000"), (2, Some(0o777), "777"), (3, None, "750")] {
        let text = reported(&herd, |launch| {
            launch.umask = mask;
            launch.limits.insert(Resource::Nofile, limit);
        });
        let text = text.await;
        assert_eq!(values(&text, "umask"), [shown]);
        assert_eq!(values(&text, "nofile"), ["33 44"]);
        let log = herd.log(RunId { herd: 7, number });
        assert_eq!((mode(&log), mode(log.parent().unwrap())), (0o600, 0o700), "with {mask:?}");
    }
    assert_eq!(umask(Mode::empty()), Mode::from_bits_truncate(0o750), "the parent's own is untouched");
}

#[actix::test]
async fn a_parent_may_have_more_files_open_than_a_service_may() {
    let herd = Herd::new();
    let files: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
    let limit = Limit { soft: Bound::At(20), hard: Bound::At(20) };
    let text = reported(&herd, |launch| _ = launch.limits.insert(Resource::Nofile, limit)).await;
    assert_eq!((values(&text, "fd").len(), values(&text, "nofile")), (3, vec!["20 20"]));
    drop(files);
}

#[actix::test]
async fn output_is_appended_merged_or_apart() {
    let herd = Herd::new();
    let log = herd.dir.path().join("log");
    fs::write(&log, "before\n").unwrap();
    let stderr = herd.dir.path().join("deep/er/stderr");
    let sinks = [None, Some(Sink::Null), Some(Sink::File(stderr.clone()))];
    for stderr in sinks {
        let output = Output { stdout: Sink::File(log.clone()), stderr };
        assert_eq!(herd.run(&["stderr"], |launch| launch.output = output).await, OK);
    }
    assert_eq!(fs::read_to_string(log).unwrap(), "before\nout\nerr\nout\nout\n");
    assert_eq!(fs::read_to_string(stderr).unwrap(), "err\n");
    let null = Output { stdout: Sink::Null, stderr: None };
    assert_eq!(herd.run(&["flood", "1000000"], |launch| launch.output = null).await, OK);
}

#[actix::test]
async fn a_parent_with_closed_standard_streams_gives_its_children_theirs() {
    if !within("a_parent_with_closed_standard_streams_gives_its_children_theirs", &[]) {
        return;
    }
    let herd = Herd::new();
    let saved = (dup(std::io::stdin()).unwrap(), dup(std::io::stdout()).unwrap(), dup(std::io::stderr()).unwrap());
    for fd in [0, 1, 2] {
        close(fd).unwrap();
    }
    let text = reported(&herd, |_| {}).await;
    let apart = herd.dir.path().join("apart");
    let separate = Some(Sink::File(apart.clone()));
    let end = herd.run(&["stderr"], |launch| launch.output.stderr = separate).await;
    let log = fs::read_to_string(herd.log(RunId { herd: 7, number: 2 }));
    dup2_stdin(saved.0).unwrap();
    dup2_stdout(saved.1).unwrap();
    dup2_stderr(saved.2).unwrap();
    assert_eq!(values(&text, "fd").len(), 3);
    assert_eq!(end, OK);
    assert_eq!((log.unwrap().as_str(), fs::read_to_string(apart).unwrap().as_str()), ("out\n", "err\n"));
}

// Signals and trees.

#[actix::test]
async fn what_is_left_of_a_tree_is_killed_with_its_main_process() {
    let herd = Herd::new();
    let (sink, mut lines) = herd.pipe();
    let run = herd.launch_with(&["fork", "group", "exit"], |launch| launch.output.stdout = sink);
    assert_eq!(herd.end(run).await, OK);
    assert!(lines.next().await.unwrap().starts_with("grandchild "));
    assert_eq!(lines.next().await, None, "nobody who could write is left");
}

#[actix::test]
async fn what_is_left_under_scope_main_lives_on() {
    let herd = Herd::new();
    let (sink, mut lines) = herd.pipe();
    let run = herd.launch_with(&["fork", "group", "exit"], |launch| {
        launch.output.stdout = sink;
        launch.scope = StopScope::Main;
    });
    assert_eq!(herd.end(run).await, OK);
    let grandchild = nix::unistd::Pid::from_raw(lines.pid("grandchild").await);
    nix::sys::signal::kill(grandchild, nix::sys::signal::Signal::SIGUSR1).unwrap();
    assert_eq!(lines.pid("alive").await, grandchild.as_raw());
    assert_eq!(lines.next().await, None);
}

#[actix::test]
async fn a_signal_reaches_the_main_process_or_the_whole_group() {
    let herd = Herd::new();
    let usr1 = signal(10);
    for (whom, answers) in [(Whom::Main, false), (Whom::Tree, true)] {
        let (sink, mut lines) = herd.pipe();
        // Under scope main, so that the grandchild is not killed before it has answered.
        let run = herd.launch_with(&["fork", "group"], |launch| {
            launch.output.stdout = sink;
            launch.scope = StopScope::Main;
        });
        assert!(matches!(herd.told().await, (_, Report::Launched { .. })));
        let grandchild = lines.pid("grandchild").await;
        assert!(lines.next().await.unwrap().starts_with("ready"));
        assert!(herd.spawner.examine(run).is_some_and(|state| "RS".contains(state)));

        herd.spawner.signal(run, usr1, whom).unwrap();
        assert_eq!(herd.end(run).await, (false, killed(usr1)));
        if !answers {
            let grandchild = nix::unistd::Pid::from_raw(grandchild);
            nix::sys::signal::kill(grandchild, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        assert_eq!(lines.next().await.is_some(), answers, "{whom:?}");
        assert_eq!(herd.spawner.signal(run, usr1, whom), Err(SignalError::Gone));
        assert_eq!(herd.spawner.examine(run), None);
    }
}

#[actix::test]
async fn term_that_is_ignored_is_followed_by_kill() {
    let herd = Herd::new();
    let (sink, mut lines) = herd.pipe();
    let run = herd.launch_with(&["ignore", "15"], |launch| launch.output.stdout = sink);
    assert!(matches!(herd.told().await, (_, Report::Launched { .. })));
    assert!(lines.next().await.unwrap().starts_with("ready"));
    herd.spawner.signal(run, Signal::TERM, Whom::Main).unwrap();
    herd.spawner.signal(run, Signal::KILL, Whom::Tree).unwrap();
    assert_eq!(herd.end(run).await, (false, killed(Signal::KILL)));
}

#[actix::test]
async fn who_may_not_be_signalled_is_told() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("herd-become-root");
    if !support::is_inner() {
        if !is_root() {
            return;
        }
        fs::copy(fixture(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    }
    if !within("who_may_not_be_signalled_is_told", &["uid", "65534"]) {
        return;
    }
    let herd = Herd::new();
    let (sink, mut lines) = herd.pipe();
    let run = herd.launch_with(&["become-root"], |launch| {
        launch.programs = vec![c(program)];
        launch.output.stdout = sink;
    });
    assert!(matches!(herd.told().await, (_, Report::Launched { .. })));
    assert!(lines.next().await.unwrap().starts_with("ready"));
    for whom in [Whom::Main, Whom::Tree] {
        let sent = herd.spawner.signal(run, Signal::TERM, whom);
        assert_eq!(sent, Err(SignalError::NotPermitted { uid: 0 }));
    }
    // Its reader's end is what ends it.
    drop(lines);
    assert_eq!(herd.end(run).await, (false, killed(signal(13))));
}

#[actix::test]
async fn an_unknown_run_is_gone() {
    let herd = Herd::new();
    let unknown = RunId { herd: 7, number: 99 };
    assert_eq!(herd.spawner.signal(unknown, Signal::KILL, Whom::Tree), Err(SignalError::Gone));
    assert_eq!(herd.spawner.examine(unknown), None);
    assert!(!herd.spawner.adopt(unknown, herd.reports()));
    herd.spawner.acknowledge(unknown);
}

// Reports.

#[actix::test]
async fn an_end_is_kept_until_it_is_acknowledged() {
    let (herd, heir) = (Herd::new(), Herd::new());
    let run = herd.launch(&["exit", "5"]);
    let Report::Launched { pid } = herd.told().await.1 else { panic!("it is launched first") };
    assert_eq!(herd.told().await.1, Report::Ended(Ending::Exited(5)));

    for _ in 0..2 {
        assert!(herd.spawner.adopt(run, heir.reports()));
        assert_eq!(heir.told_so_far(), [], "nothing is told from within a call");
        assert_eq!(heir.told().await, (run, Report::Launched { pid }));
        assert_eq!(heir.told().await, (run, Report::Ended(Ending::Exited(5))));
    }
    herd.spawner.acknowledge(run);
    assert!(!herd.spawner.adopt(run, heir.reports()));
    assert_eq!(herd.told_so_far(), [], "the first listener is told nothing twice");
}

#[actix::test]
async fn a_living_run_changes_its_listener_and_is_not_forgotten() {
    let (herd, heir) = (Herd::new(), Herd::new());
    let run = herd.launch(&["wait"]);
    let launched = herd.told().await;
    assert!(herd.spawner.adopt(run, heir.reports()));
    assert_eq!(heir.told().await, launched);
    herd.spawner.acknowledge(run);
    herd.spawner.signal(run, Signal::TERM, Whom::Main).unwrap();
    assert_eq!(heir.told().await, (run, Report::Ended(killed(Signal::TERM))));
    assert_eq!(herd.told_so_far(), []);
}

#[actix::test]
async fn two_hundred_that_die_at_once_are_told_once_each() {
    const MANY: usize = 200;
    let herd = Herd::new();
    let runs: Vec<_> = (0..MANY).map(|_| herd.launch(&["wait"])).collect();
    for _ in &runs {
        assert!(matches!(herd.told().await, (_, Report::Launched { .. })));
    }
    for run in &runs {
        herd.spawner.signal(*run, Signal::KILL, Whom::Main).unwrap();
    }
    let mut ended = Vec::new();
    while ended.len() < MANY {
        let (run, report) = herd.told().await;
        assert_eq!(report, Report::Ended(killed(Signal::KILL)));
        ended.push(run);
    }
    ended.sort();
    assert_eq!(ended, runs);
}

#[actix::test]
async fn two_thousand_launches_leave_nothing_behind() {
    if !within("two_thousand_launches_leave_nothing_behind", &[]) {
        return;
    }
    let herd = Herd::new();
    assert_eq!(herd.run(&["exit", "0"], |_| {}).await, OK);
    let before = descriptors();
    for _ in 0..100 {
        let mut left = 20;
        (0..left).for_each(|_| _ = herd.launch_with(&["exit", "0"], |launch| launch.output.stdout = Sink::Null));
        while left > 0 {
            if let (run, Report::Ended(ending)) = herd.told().await {
                assert_eq!(ending, Ending::Exited(0));
                herd.spawner.acknowledge(run);
                left -= 1;
            }
        }
    }
    assert_eq!(descriptors(), before);
    assert_eq!(children(), Vec::<String>::new());
}
