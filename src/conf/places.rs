//! Where the daemon and every verb find things: the conf directory, the state directory, the socket, the host's name.
//!
//! The same whoever asks from wherever: cron and a login shell must find the same daemon, so that no XDG variable is read.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{AccountError, HostName, InvalidHost};
use crate::os::account;

/// What a command line says about places, each above its variable (`DHERDER_CONFIG_DIR`, `DHERDER_STATE_DIR`,
/// `DHERDER_HOST`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--config-dir`.
    pub config_dir: Option<PathBuf>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `--host`.
    pub host: Option<String>,
}

/// What a process knows of where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `HOME`, or the home directory of the passwd entry where that is not set.
    pub home: PathBuf,
    /// The kernel's name of the host.
    pub kernel_host: String,
    /// `DHERDER_CONFIG_DIR`, `DHERDER_STATE_DIR` and `DHERDER_HOST`, where they are set and not empty.
    pub variables: Overrides,
}

/// Where everything is; all paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The confs.
    pub config_dir: PathBuf,
    /// What the daemon keeps.
    pub state_dir: PathBuf,
    /// The name of this host.
    pub host: HostName,
    /// The control socket, in the state directory.
    pub socket: PathBuf,
}

/// Why nobody knows where things are.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    /// `HOME` is not set, and the user has no passwd entry to take it from.
    #[error(
        "HOME is not set, and the home directory is not known: set HOME, or name both --config-dir and --state-dir"
    )]
    NoHome(#[source] AccountError),
    /// The host's name can't be used.
    #[error("the host's name can't be used: set one with --host or DHERDER_HOST")]
    Host(#[from] InvalidHost),
    /// The path of the control socket is too long for the system (unix(7)).
    #[error(
        "{} is {} bytes long, and a unix socket's path has at most {LONGEST_SOCKET}: choose a shorter --state-dir",
        path.display(),
        path.as_os_str().len()
    )]
    SocketTooLong {
        /// The path.
        path: PathBuf,
    },
    /// The current directory, which a relative path begins in, is not known.
    #[error("cannot tell where {} is", path.display())]
    Relative {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What `sun_path` holds without its NUL (unix(7)).
const LONGEST_SOCKET: usize = 107;
const CONFIG: &str = ".dherder";
const STATE: &str = ".local/state/dherder";

impl Surroundings {
    /// Those of this process. Without `HOME` the name service is asked.
    ///
    /// # Errors
    /// There is no `HOME` and no passwd entry.
    pub fn of_this_process() -> Result<Self, PlacesError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = match set("HOME").map(PathBuf::from).filter(|home| home.is_absolute()) {
            Some(home) => home,
            None => home_of_user()?,
        };
        Ok(Self {
            home,
            kernel_host: kernel_host(),
            variables: Overrides {
                config_dir: set("DHERDER_CONFIG_DIR").map(PathBuf::from),
                state_dir: set("DHERDER_STATE_DIR").map(PathBuf::from),
                host: set("DHERDER_HOST").map(text),
            },
        })
    }

    /// Those of a process of this user that nobody gives a variable: what cron and systemd start.
    ///
    /// # Errors
    /// There is no passwd entry.
    pub fn without_variables() -> Result<Self, PlacesError> {
        Ok(Self { home: home_of_user()?, kernel_host: kernel_host(), variables: Overrides::default() })
    }
}

fn home_of_user() -> Result<PathBuf, PlacesError> {
    Ok(account::by_uid(nix::unistd::geteuid().as_raw()).map_err(PlacesError::NoHome)?.home)
}

fn kernel_host() -> String {
    hostname::get().map(text).unwrap_or_default()
}

fn text(value: OsString) -> String {
    value.to_string_lossy().into_owned()
}

impl Places {
    /// Finds everything; the only thing asked of the system is what the conf directory's path really is.
    ///
    /// # Errors
    /// A name or path that can't be used.
    pub fn find(flags: &Overrides, around: &Surroundings) -> Result<Self, PlacesError> {
        let variables = &around.variables;
        let host: HostName = flags.host.as_ref().or(variables.host.as_ref()).unwrap_or(&around.kernel_host).parse()?;
        let default = around.home.join(CONFIG);
        let config_dir = match flags.config_dir.as_ref().or(variables.config_dir.as_ref()) {
            Some(path) => absolute(path)?,
            None => default.clone(),
        };
        let state_dir = match flags.state_dir.as_ref().or(variables.state_dir.as_ref()) {
            Some(path) => absolute(path)?,
            None => around.home.join(STATE).join(state_name(&config_dir, &default, &host)),
        };
        let socket = state_dir.join("control.sock");
        if socket.as_os_str().len() > LONGEST_SOCKET {
            return Err(PlacesError::SocketTooLong { path: socket });
        }
        Ok(Self { config_dir, state_dir, host, socket })
    }

    /// What the conf directory is read from.
    pub fn source(&self) -> super::Source {
        super::Source { directory: self.config_dir.clone(), host: self.host.clone() }
    }
}

/// The last part of the state directory's path: the host, and what tells another conf directory from the default one.
fn state_name(config_dir: &Path, default: &Path, host: &HostName) -> String {
    let real = real(config_dir);
    let mut name = host.short().to_owned();
    if real != self::real(default) {
        name.push('-');
        for byte in &Sha256::digest(real.as_os_str().as_bytes())[..4] {
            let _ = write!(name, "{byte:02x}");
        }
    }
    name
}

/// A path without symlinks, `.` and `..`; what does not exist yet is taken as it is written.
pub(super) fn real(path: &Path) -> PathBuf {
    for existing in path.ancestors() {
        if let (Ok(real), Ok(missing)) = (existing.canonicalize(), path.strip_prefix(existing)) {
            // Joining nothing would add a slash.
            return if missing.as_os_str().is_empty() { real } else { real.join(missing) };
        }
    }
    path.to_owned()
}

fn absolute(path: &Path) -> Result<PathBuf, PlacesError> {
    std::path::absolute(path).map_err(|source| PlacesError::Relative { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Surroundings) {
        let home = tempfile::tempdir().unwrap();
        let around =
            Surroundings { home: home.path().to_owned(), kernel_host: "web1.example.org".into(), ..Default::default() };
        (home, around)
    }

    fn flags(config_dir: Option<&Path>, state_dir: Option<&str>, host: Option<&str>) -> Overrides {
        Overrides {
            config_dir: config_dir.map(Into::into),
            state_dir: state_dir.map(Into::into),
            host: host.map(Into::into),
        }
    }

    #[test]
    fn without_a_word_everything_is_below_home() {
        let (home, around) = home();
        let places = Places::find(&Overrides::default(), &around).unwrap();
        assert_eq!(places.config_dir, home.path().join(".dherder"));
        assert_eq!(places.state_dir, home.path().join(".local/state/dherder/web1"));
        assert_eq!(places.socket, places.state_dir.join("control.sock"));
        assert_eq!(places.host.as_str(), "web1.example.org");
    }

    #[test]
    fn a_flag_is_above_its_variable_and_that_above_the_default() {
        let (_home, mut around) = home();
        around.variables = flags(Some(Path::new("/variable")), Some("/state-v"), Some("host-v.org"));
        let places = Places::find(&Overrides::default(), &around).unwrap();
        assert_eq!(places.config_dir, Path::new("/variable"));
        assert_eq!((places.state_dir.to_str(), places.host.short()), (Some("/state-v"), "host-v"));
        let places = Places::find(&flags(Some(Path::new("/flag")), Some("/state-f"), Some("f")), &around).unwrap();
        assert_eq!(places.config_dir, Path::new("/flag"));
        assert_eq!((places.state_dir.to_str(), places.host.as_str()), (Some("/state-f"), "f"));
    }

    #[test]
    fn another_conf_directory_has_another_state_by_its_real_path() {
        let (home, around) = home();
        let state = |config: &Path| Places::find(&flags(Some(config), None, None), &around).unwrap().state_dir;
        let other = home.path().join("other");
        std::fs::create_dir(&other).unwrap();
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&other, &link).unwrap();

        let digest = Sha256::digest(other.canonicalize().unwrap().as_os_str().as_bytes());
        let hex: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(state(&other), home.path().join(".local/state/dherder").join(format!("web1-{hex}")));
        assert_eq!(state(&link), state(&other));
        assert_eq!(state(&home.path().join("link/../other/.")), state(&other));
        assert_ne!(state(&home.path().join("missing")), state(&other));

        let plain = home.path().join(".local/state/dherder/web1");
        assert_eq!(state(&home.path().join(".dherder")), plain);
        std::fs::create_dir(home.path().join(".dherder")).unwrap();
        assert_eq!(state(&home.path().join("other/../.dherder")), plain);
    }

    #[test]
    fn a_relative_directory_begins_where_the_process_is() {
        let (_home, around) = home();
        let places = Places::find(&flags(Some(Path::new("confs")), Some("state"), None), &around).unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!((places.config_dir, places.state_dir), (here.join("confs"), here.join("state")));
    }

    #[test]
    fn a_socket_path_that_no_socket_can_have_is_refused() {
        let (_home, around) = home();
        let find = |length: usize| {
            let state = format!("/{}", "x".repeat(length - "/control.sock".len() - 1));
            Places::find(&flags(None, Some(&state), None), &around)
        };
        assert_eq!(find(107).unwrap().socket.as_os_str().len(), 107);
        let error = find(108).unwrap_err();
        assert!(matches!(error, PlacesError::SocketTooLong { .. }));
        assert!(error.to_string().contains("is 108 bytes long, and a unix socket's path has at most 107"), "{error}");
    }

    #[test]
    fn a_host_that_can_be_no_part_of_a_path_is_refused() {
        let (_home, around) = home();
        for bad in ["", "../x", ".x"] {
            let found = Places::find(&flags(None, None, Some(bad)), &around);
            assert!(matches!(found, Err(PlacesError::Host(_))), "{bad:?}");
        }
    }

    #[test]
    fn this_process_has_a_home_and_a_host() {
        let around = Surroundings::of_this_process().unwrap();
        assert!(around.home.is_absolute());
        assert!(around.kernel_host.parse::<HostName>().is_ok());
    }
}
