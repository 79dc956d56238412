//! The only types that go over the wire: what `front/` answers and `cli/` reads.
//!
//! Names and shapes are a contract with scripts: a field is never renamed or removed, and a client ignores the ones that
//! it does not know. What never happens here: I/O, an actor, a decision.

mod command;
mod event;
mod line;
mod problem;
mod selection;
mod status;
mod upgrade;

pub use command::{
    Accepted, CommandResult, CommandResults, FileProblem, PlanDocument, ReloadOptions, ShutdownOptions, SignalOptions,
    StartOptions,
};
pub use event::{EventDocument, MissedDocument};
pub use line::{ExitLine, ServiceLine};
pub use problem::{NO_SUCH_SERVICE, PROBLEM_JSON, ProblemDocument};
pub use selection::{Candidate, UnknownName, select};
pub use status::{
    ConfProblem, DaemonDocument, DetailsDocument, ExitDocument, HerdDocument, LogsDocument, ProcessDocument,
    ServiceDocument, TreeLevel, WindowDocument,
};
pub use upgrade::{UpgradeDocument, UpgradeOptions, UpgradeResult};
