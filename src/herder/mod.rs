//! The root actor.

mod messages;

pub use messages::{
    Applied, Command, Order, Overview, Reload, ReloadError, ServiceStatus, Shutdown, Subscribe, Survey, UnknownServices,
};
