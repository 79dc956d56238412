//! The door: HTTP/1.1 with JSON on the control socket.
//!
//! [`bind`] makes the socket and [`serve`] answers on it until it is closed; the daemon calls both once. A request becomes
//! a `Route`, a route a message to the Herder (through [`Herd`]), its answer a document of `api/`. Waiting for the
//! result of a command is a pure decision (`verdict`) over the events of the bus.
//!
//! What never happens here: a decision about a service, a blocking read on the actors' thread, a timer or a wake-up while
//! nobody is connected, a request that is acted upon in part.

mod access;
mod answer;
mod body;
mod document;
mod events;
mod herd;
mod identity;
mod listener;
mod logs;
mod order;
mod refusal;
mod route;
mod server;
mod upgrade;
mod verdict;
mod wall_clock;

pub use access::Access;
pub use herd::Herd;
pub use identity::Identity;
pub use listener::{BindError, admit, bind};
pub use server::{Server, serve};
pub use upgrade::{NotUpgraded, Upgrades};
