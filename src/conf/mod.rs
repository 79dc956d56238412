//! From the text of confs to resolved specs, with every problem of every file.
//!
//! The Herder loads the conf directory through here ([`load()`]) and lowers texts that it remembers ([`lower()`]); the
//! terminal checks confs ([`examine()`]) and finds its places ([`Places`]). Which file is whose is decided by names alone;
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

mod addition;
mod ahead;
mod directory;
mod examine;
mod folder;
mod host;
mod inventory;
mod known;
mod loaded;
mod name;
mod pool;
mod remembered;

mod bare;
mod command;
mod places;
mod watch;

pub use accounts::{AccountError, Accounts, AnyAccounts, SystemAccounts};
pub use addition::{Addition, NoAddition, propose};
pub use bare::Bare;
pub use command::{SERVICE_PATH, path_hint};
pub(crate) use directory::load_changes;
pub use directory::{load, load_with};
pub use examine::{Examined, Role, examine};
pub use folder::{DirectoryError, Identity, create_directory};
pub use host::{HostName, InvalidHost};
pub use known::{FilesOf, files_of, has_confs, known};
pub use loaded::{Found, Loaded, Skipped, Source};
pub use lower::lower;
pub use name::why_here;
pub use places::{Overrides, Places, PlacesError, Surroundings};
pub(crate) use pool::Pool;
pub use problem::Problem;
pub(crate) use remembered::Remembered;
pub use schema::{CONF_KEYS, Key, Kind, SETTINGS_KEYS};
pub use settings::{Cgroup, Settings};
pub(crate) use watch::{Changes, Watch, WatchList, watch};
