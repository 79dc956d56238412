//! From a spec to a launch: everything looked up that has to be looked up.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::iter;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::environment::{self, Baseline, Environment};
use super::{Credentials, Launch, Output, Sink};
use crate::model::{
    LaunchError, Limit, LogTarget, ProcessSpec, Resource, RunId, ServiceId, ServiceSpec, Stage, StderrTo,
};
use crate::os::account::{self, Account, AccountError};

/// An `env_file` is not read beyond this: a device has no end.
const MAX_ENV_FILE: u64 = 1024 * 1024;

/// Where a herd keeps what it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    state: PathBuf,
}

impl Place {
    /// The place of the herd with this state directory.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self { state: state.into() }
    }

    /// Where a service's standard output is kept: `logs/<id>/current.log`.
    pub fn log(&self, service: &ServiceId) -> PathBuf {
        self.logs(service).join("current.log")
    }

    /// Where a service's standard error is kept when it has a file of its own: `logs/<id>/stderr.log`.
    pub fn stderr_log(&self, service: &ServiceId) -> PathBuf {
        self.logs(service).join("stderr.log")
    }

    fn logs(&self, service: &ServiceId) -> PathBuf {
        self.state.join("logs").join(service.as_str())
    }
}

/// Whether [`prepare()`] reads files or asks the name service for this one, so that it belongs on a thread that may wait.
/// Otherwise it only computes.
pub fn takes_time(process: &ProcessSpec) -> bool {
    process.user.is_some() || process.group.is_some() || process.env_file.is_some()
}

/// The launch of a run of this service. Users, groups and `env_file` are looked up anew each time.
///
/// # Errors
/// [`Stage::User`]: the user or group is unknown (ENOENT) or the name service failed. [`Stage::EnvFile`]: it can't be
/// read, is longer than 1 MiB (EFBIG), or has a line that is no `NAME=value` (EINVAL). EINVAL of other stages: a NUL in a
/// text that the system would cut there.
pub fn prepare(spec: &ServiceSpec, run: RunId, place: &Place, baseline: &Baseline) -> Result<Launch, LaunchError> {
    let process = &spec.process;
    let (account, credentials) = identity(process, baseline).map_err(|errno| at(Stage::User, errno))?;
    // A relative directory is one below the home, and a relative file one in the directory.
    let cwd = process.cwd.as_ref().map_or_else(|| account.home.clone(), |cwd| account.home.join(&**cwd));

    let file = match &process.env_file {
        Some(file) => read_env_file(&cwd.join(&**file)).map_err(|errno| at(Stage::EnvFile, errno))?,
        None => Vec::new(),
    };
    let mut env = Environment::of(&account, baseline);
    env.change(&process.env, file, baseline);

    let programs = programs(&process.cmd, env.path()).ok_or(at(Stage::Exec, libc::EINVAL))?;
    let arguments = process.args.iter().map(String::as_str);
    let argv = iter::once(&*process.cmd).chain(arguments).map(CString::new);
    Ok(Launch {
        service: spec.id.clone(),
        run,
        programs,
        argv: argv.collect::<Result<_, _>>().map_err(|_| at(Stage::Exec, libc::EINVAL))?,
        env: env.finish(&spec.id, run).ok_or(at(Stage::Exec, libc::EINVAL))?,
        cwd: CString::new(cwd.into_os_string().into_vec()).map_err(|_| at(Stage::Cwd, libc::EINVAL))?,
        credentials,
        umask: process.umask,
        limits: limits(&process.limits, baseline),
        output: output(process, &spec.id, place),
        cgroup: process.cgroup,
        scope: spec.stop.scope,
    })
}

fn at(stage: Stage, errno: i32) -> LaunchError {
    LaunchError { stage, errno }
}

/// Whose process it will be, and as which numbers where those are not the daemon's own.
fn identity(process: &ProcessSpec, baseline: &Baseline) -> Result<(Account, Option<Credentials>), i32> {
    let account = match &process.user {
        Some(user) => account::by_name(user).map_err(errno)?,
        None => baseline.account.clone(),
    };
    if process.user.is_none() && process.group.is_none() {
        return Ok((account, None));
    }
    let gid = match &process.group {
        Some(group) => account::group_by_name(group).map_err(errno)?,
        None => account.gid,
    };
    let groups = account::groups_of(&account.name, gid).map_err(errno)?;
    let credentials = Credentials { uid: account.uid, gid, groups };
    Ok((account, Some(credentials)))
}

fn errno(error: AccountError) -> i32 {
    match error {
        AccountError::Unknown { .. } => libc::ENOENT,
        AccountError::Failed { source, .. } => source as i32,
    }
}

fn read_env_file(path: &Path) -> Result<Vec<(OsString, OsString)>, i32> {
    let number = |error: io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    let mut text = Vec::new();
    // A pipe or a device would keep whoever reads it waiting; opened like this it does not, and is then refused.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(number)?;
    match file.metadata().map_err(number)?.file_type() {
        kind if kind.is_file() => {}
        kind if kind.is_dir() => return Err(libc::EISDIR),
        _ => return Err(libc::EINVAL),
    }
    file.take(MAX_ENV_FILE + 1).read_to_end(&mut text).map_err(number)?;
    if text.len() as u64 > MAX_ENV_FILE {
        return Err(libc::EFBIG);
    }
    environment::parse_file(&text).ok_or(libc::EINVAL)
}

/// The paths to try, as execvp(3) makes them: an empty directory in PATH is the working directory. `None` where there is
/// a NUL in one.
fn programs(cmd: &str, path: &OsStr) -> Option<Vec<CString>> {
    if cmd.contains('/') {
        return Some(vec![CString::new(cmd).ok()?]);
    }
    let candidate = |directory: &[u8]| {
        let directory = if directory.is_empty() { b"." } else { directory };
        CString::new([directory, b"/", cmd.as_bytes()].concat()).ok()
    };
    path.as_bytes().split(|&byte| byte == b':').map(candidate).collect()
}

/// The conf's limits, and the number of open files that the daemon was started with: it may have raised its own since.
fn limits(limits: &BTreeMap<Resource, Limit>, baseline: &Baseline) -> BTreeMap<Resource, Limit> {
    let mut limits = limits.clone();
    if let Some(open_files) = baseline.open_files {
        limits.entry(Resource::Nofile).or_insert(open_files);
    }
    limits
}

fn output(process: &ProcessSpec, service: &ServiceId, place: &Place) -> Output {
    if process.output == LogTarget::Null {
        return Output { stdout: Sink::Null, stderr: None };
    }
    let stderr = match process.stderr {
        StderrTo::Merge => None,
        StderrTo::Separate => Some(Sink::File(place.stderr_log(service))),
        StderrTo::Discard => Some(Sink::Null),
    };
    Output { stdout: Sink::File(place.log(service)), stderr }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::{Bound, EnvChange};

    const RUN: RunId = RunId { herd: 1, number: 2 };

    fn spec(change: impl FnOnce(&mut ProcessSpec)) -> ServiceSpec {
        let mut spec = ServiceSpec::new("web".parse().unwrap(), "sleep");
        spec.process.args = vec!["60".into()];
        change(&mut spec.process);
        spec
    }

    fn baseline() -> Baseline {
        let account =
            Account { uid: 7, gid: 8, name: "someone".into(), home: "/home/someone".into(), shell: "/bin/sh".into() };
        let open_files = Some(Limit { soft: Bound::At(1024), hard: Bound::At(4096) });
        Baseline { account, open_files, environment: BTreeMap::new() }
    }

    fn prepared(change: impl FnOnce(&mut ProcessSpec)) -> Result<Launch, LaunchError> {
        prepare(&spec(change), RUN, &Place::new("/state"), &baseline())
    }

    fn text(strings: &[CString]) -> Vec<&str> {
        strings.iter().map(|string| string.to_str().unwrap()).collect()
    }

    #[test]
    fn without_wishes_it_is_a_process_of_the_daemons_user_at_home() {
        let launch = prepared(|_| {}).unwrap();
        assert_eq!(text(&launch.argv), ["sleep", "60"]);
        assert_eq!(launch.cwd.to_str(), Ok("/home/someone"));
        assert_eq!((launch.credentials, launch.umask), (None, None));
        assert_eq!(launch.limits, BTreeMap::from([(Resource::Nofile, baseline().open_files.unwrap())]));
        assert_eq!(launch.output, Output { stdout: Sink::File("/state/logs/web/current.log".into()), stderr: None });
        assert_eq!(
            text(&launch.programs),
            ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
                .map(|dir| format!("{dir}/sleep"))
        );
    }

    #[test]
    fn a_command_is_looked_up_in_the_services_own_path() {
        let path = |value: Option<&str>| EnvChange {
            service: BTreeMap::from([("PATH".to_owned(), value.map(str::to_owned))]),
            ..EnvChange::default()
        };
        let programs = |cmd: &str, value| {
            let launch = prepared(|process| (process.cmd, process.env) = (cmd.into(), path(value))).unwrap();
            text(&launch.programs).join(" ")
        };
        assert_eq!(programs("x", Some("/a:rel::/b:")), "/a/x rel/x ./x /b/x ./x");
        assert_eq!(programs("./x", Some("/a")), "./x");
        assert_eq!(programs("bin/x", Some("/a")), "bin/x");
        assert!(programs("x", None).ends_with(" /sbin/x /bin/x"));
    }

    #[test]
    fn a_user_brings_groups_and_home() {
        let root = |process: &mut ProcessSpec| process.user = Some("root".into());
        assert!(takes_time(&spec(root).process));
        assert!(!takes_time(&spec(|_| {}).process));
        let launch = prepared(root).unwrap();
        let Some(Credentials { uid: 0, gid: 0, groups }) = launch.credentials else { panic!("{launch:?}") };
        assert!(groups.contains(&0));
        assert!(text(&launch.env).contains(&"USER=root"));
        assert_ne!(launch.cwd.to_str(), Ok("/home/someone"));

        let group = |process: &mut ProcessSpec| {
            process.user = Some("root".into());
            process.group = Some("daemon".into());
        };
        let daemon = account::group_by_name("daemon").unwrap();
        let credentials = prepared(group).unwrap().credentials.unwrap();
        assert_eq!((credentials.uid, credentials.gid), (0, daemon));
        assert!(credentials.groups.contains(&daemon));
    }

    #[test]
    fn what_is_unknown_is_an_error_of_its_stage() {
        let unknown = Err(at(Stage::User, libc::ENOENT));
        assert_eq!(prepared(|process| process.user = Some("no such user".into())), unknown);
        assert_eq!(prepared(|process| process.group = Some("no such group".into())), unknown);
        assert_eq!(prepared(|process| process.user = Some("0day".into())), unknown);
        assert_eq!(prepared(|process| process.cmd = "a\0b".into()), Err(at(Stage::Exec, libc::EINVAL)));
        assert_eq!(prepared(|process| process.args = vec!["\0".into()]), Err(at(Stage::Exec, libc::EINVAL)));
        assert_eq!(prepared(|process| process.cwd = Some("/a\0b".into())), Err(at(Stage::Cwd, libc::EINVAL)));
    }

    #[test]
    fn variables_from_a_file_are_found_beside_the_service() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("good"), "A=1\n").unwrap();
        fs::write(dir.path().join("bad"), "A\n").unwrap();
        let with = |file: &str| {
            prepared(|process| {
                process.cwd = dir.path().to_str().map(Into::into);
                process.env_file = Some(file.into());
            })
        };
        assert!(takes_time(&spec(|process| process.env_file = Some("good".into())).process));
        assert!(text(&with("good").unwrap().env).contains(&"A=1"));
        assert_eq!(with("missing"), Err(at(Stage::EnvFile, libc::ENOENT)));
        assert_eq!(with("bad"), Err(at(Stage::EnvFile, libc::EINVAL)));
        assert_eq!(with("/dev/zero"), Err(at(Stage::EnvFile, libc::EINVAL)));
        fs::write(dir.path().join("large"), vec![b'\n'; MAX_ENV_FILE as usize + 1]).unwrap();
        assert_eq!(with("large"), Err(at(Stage::EnvFile, libc::EFBIG)));
        assert_eq!(with("."), Err(at(Stage::EnvFile, libc::EISDIR)));
    }

    #[test]
    fn output_goes_where_the_conf_says() {
        let output = |stderr, output| prepared(|process| (process.stderr, process.output) = (stderr, output));
        let stdout = Sink::File("/state/logs/web/current.log".into());
        let table = [
            (StderrTo::Separate, Some(Sink::File("/state/logs/web/stderr.log".into()))),
            (StderrTo::Discard, Some(Sink::Null)),
            (StderrTo::Merge, None),
        ];
        for (to, stderr) in table {
            let expected = Output { stdout: stdout.clone(), stderr };
            assert_eq!(output(to, LogTarget::File).unwrap().output, expected, "{to:?}");
            let null = Output { stdout: Sink::Null, stderr: None };
            assert_eq!(output(to, LogTarget::Null).unwrap().output, null, "{to:?}");
        }
    }

    #[test]
    fn a_conf_may_set_the_number_of_open_files() {
        let own = Limit { soft: Bound::At(10), hard: Bound::Unlimited };
        let launch = prepared(|process| _ = process.limits.insert(Resource::Nofile, own)).unwrap();
        assert_eq!(launch.limits, BTreeMap::from([(Resource::Nofile, own)]));
    }
}
