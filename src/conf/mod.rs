//! From the text of confs to resolved specs, with every problem of every file.
//!
//! The Herder loads the conf directory through here ([`load`]) and lowers texts that it remembers ([`lower`]); the
//! terminal checks confs ([`survey`]) and finds its places ([`Places`]). Which file is whose is decided by names alone;
//! what a text says, by the schema's one table of keys.
//!
//! What never happens here: a conf that is half right (any problem refuses the whole service), a field that is ignored,
//! a file that is trusted though others may write to it, a value of a variable in a message, a process or a clock.

mod problem;
mod schema;

mod accounts;
mod json;
mod lower;
mod nearest;
mod reader;
mod settings;
mod units;

mod directory;
mod folder;
mod host;
mod name;
mod survey;

mod command;
mod places;

pub use accounts::{AccountError, Accounts, AnyAccounts, SystemAccounts};
pub use command::{SERVICE_PATH, path_hint};
pub use directory::{Found, Loaded, Skipped, Source, load, load_with};
pub use folder::{DirectoryError, Identity, create_directory};
pub use host::{HostName, InvalidHost};
pub use lower::lower;
pub use places::{Overrides, Places, PlacesError, Surroundings};
pub use problem::Problem;
pub use schema::{CONF_KEYS, Key, Kind, SETTINGS_KEYS};
pub use settings::{Cgroup, Settings};
pub use survey::{Role, Surveyed, survey};
