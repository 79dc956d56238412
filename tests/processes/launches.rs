//! What stops a launch, and what a launch that fails or hangs leaves behind.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use daemonherder::model::{Bound, Ending, Limit, Resource, RunId, Signal, Stage};
use daemonherder::process::{Credentials, DirectSpawner, Launch, Output, Report, Sink, Spawner, Whom};
use nix::sys::resource::{Resource as Number, getrlimit, setrlimit};
use nix::sys::stat::Mode;

use crate::support::{Herd, Lines, children, descriptors, fixture, is_root, within};
use crate::{OK, c, failed, killed};

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
    if root && !within("launches::only_root_gives_a_process_another_user", &["uid", "65534"]) {
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
    if !within("launches::a_machine_without_descriptors_is_told_later_and_leaves_nothing_behind", &[]) {
        return;
    }
    let herd = Herd::new();
    // What every launch needs but the process itself is there from the last one.
    assert_eq!(herd.run(&["exit", "0"], |_| {}).await, OK);
    let (_, hard) = getrlimit(Number::RLIMIT_NOFILE).unwrap();
    // The limit is one of numbers, so that holes among those in use would be spare ones.
    let _plugs: Vec<_> = (0..32).map(|_| fs::File::open("/dev/null").unwrap()).collect();
    let free = fs::File::open("/dev/null").unwrap().as_raw_fd() as u64;
    let before = descriptors();
    let mut seen = Vec::new();
    for spare in 0..3 {
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
    assert_eq!(seen, [none, OK, OK]);
    assert_eq!(children(), Vec::<String>::new());
}

#[actix::test]
async fn a_machine_without_processes_is_told_as_such() {
    let root = nix::unistd::Uid::effective().is_root();
    let uid: &[&str] = if root { &["uid", "65533"] } else { &[] };
    if !within("launches::a_machine_without_processes_is_told_as_such", uid) {
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
    herd.spawner.signal(hanging, Signal::KILL, Whom::Tree);
    assert_eq!(herd.end(hanging).await, (false, killed(Signal::KILL)));
}

#[actix::test]
async fn a_launch_goes_on_when_the_spawner_is_gone() {
    if !within("launches::a_launch_goes_on_when_the_spawner_is_gone", &[]) {
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
