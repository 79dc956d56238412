//! The real binary from outside: a daemon with confs, a state directory and a home of its own, and its verbs.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

mod herd;
mod settled;
mod waiting;

mod background;
mod clock;
mod confs;
mod crowd;
mod door;
mod events;
mod exits;
mod following;
mod hanging;
mod help;
mod installs;
mod keeper;
mod launches;
mod leftovers;
mod live;
mod logs;
mod output;
mod places;
mod reloads;
mod restarts;
mod setting_up;
mod shortage;
mod shutdowns;
mod stops;
mod surroundings;
mod tables;
mod transcript;
mod trees;
mod two_paths;
mod upgrade;
mod verbs;
mod words;
