//! Whether a service will find its command.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::model::{EnvChange, ServiceSpec};

/// The PATH of every service, whoever started the daemon.
pub const SERVICE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where execvp(3) looks when there is no PATH at all.
const NO_PATH: &str = "/bin:/usr/bin";

/// A hint for people where a command without a slash is not in the service's PATH: whether it is in the caller's. `None`
/// where the command is found, or nobody can tell (PATH may come from `env_file` or from the daemon).
pub fn path_hint(spec: &ServiceSpec, caller_path: &OsStr) -> Option<String> {
    let cmd = &spec.process.cmd;
    if cmd.contains('/') {
        return None;
    }
    let path = service_path(spec)?;
    if search(cmd, OsStr::new(path)).is_some() {
        return None;
    }
    Some(match search(cmd, caller_path) {
        Some(found) => format!(
            "cmd {cmd:?} is in your PATH ({}) but not in the service's ({path}): write the whole path, or set PATH in env",
            found.display()
        ),
        None => format!("cmd {cmd:?} is not in the service's PATH ({path})"),
    })
}

/// The PATH that a service will have, where its conf and `herder.json` alone decide.
fn service_path(spec: &ServiceSpec) -> Option<&str> {
    let EnvChange { herd, service } = &spec.process.env;
    let decided = match (service.get("PATH"), herd.variables.get("PATH")) {
        (Some(own), _) => own,
        (None, _) if spec.process.env_file.is_some() => return None,
        (None, Some(herd)) => herd,
        (None, None) if herd.inherit.iter().any(|name| name == "PATH") => return None,
        (None, None) => return Some(SERVICE_PATH),
    };
    Some(decided.as_deref().unwrap_or(NO_PATH))
}

/// The first executable of this name in the directories of a PATH (execvp(3)).
fn search(cmd: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|directory| directory.join(cmd)).find(|file| executable(file))
}

fn executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{AnyAccounts, Settings, lower};

    #[track_caller]
    fn check(conf: &str, settings: &str, caller: &str, expected: Option<&str>) {
        let settings = Settings::read(settings, &AnyAccounts).unwrap();
        let spec = lower(&"a".parse().unwrap(), conf, &settings, &AnyAccounts).unwrap();
        assert_eq!(path_hint(&spec, OsStr::new(caller)).as_deref(), expected, "{conf} {settings:?}");
    }

    #[test]
    fn a_command_that_only_the_caller_finds_is_told() {
        let own = tempfile::tempdir().unwrap();
        let program = own.path().join("own-program");
        std::fs::write(&program, "").unwrap();
        let own = own.path().to_str().unwrap();
        let missing = format!("cmd \"own-program\" is not in the service's PATH ({SERVICE_PATH})");
        check(r#"{"cmd":"own-program"}"#, "{}", own, Some(&missing));

        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let elsewhere = format!(
            "cmd \"own-program\" is in your PATH ({}) but not in the service's ({SERVICE_PATH}): write the whole path, or set PATH in env",
            program.display()
        );
        check(r#"{"cmd":"own-program"}"#, "{}", own, Some(&elsewhere));
        check(r#"{"cmd":"own-program"}"#, "{}", "/nowhere", Some(&missing));
        check(r#"{"cmd":"sh"}"#, "{}", "", None);
        check(r#"{"cmd":"./own-program"}"#, "{}", own, None);
        check(&format!(r#"{{"cmd":"own-program","env":{{"PATH":"{own}"}}}}"#), "{}", "", None);
        check(r#"{"cmd":"own-program"}"#, &format!(r#"{{"env":{{"PATH":"{own}"}}}}"#), "", None);
        check(
            r#"{"cmd":"own-program","env":{"PATH":null}}"#,
            "{}",
            "",
            Some("cmd \"own-program\" is not in the service's PATH (/bin:/usr/bin)"),
        );
    }

    #[test]
    fn nothing_is_said_where_nobody_can_tell() {
        check(r#"{"cmd":"own-program","env_file":"x"}"#, "{}", "", None);
        check(r#"{"cmd":"own-program"}"#, r#"{"inherit_env":["PATH"]}"#, "", None);
    }
}
