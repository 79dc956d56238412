//! What the end of a run means.

use super::note::Rung;
use crate::model::{Cause, Ending, RestartPolicy, RestartSpec};

/// The word for an end; `asked` is how far a stop had gone, where one was under way.
pub(super) fn cause(ending: Ending, asked: Option<Rung>, spec: &RestartSpec) -> Cause {
    match (ending, asked) {
        (Ending::Lost, _) => Cause::Lost,
        // Whatever was asked for, this is what happened.
        (Ending::OomKilled, _) => Cause::OomKill,
        (Ending::NotLaunched(error), None) if error.is_resources() => Cause::Resources,
        (Ending::NotLaunched(_), None) => Cause::ExecFailed,
        (Ending::Exited(_) | Ending::Killed { .. } | Ending::NotLaunched(_), Some(Rung::Asked { .. })) => Cause::Stop,
        (
            Ending::Exited(_) | Ending::Killed { .. } | Ending::NotLaunched(_),
            Some(Rung::Killed { .. } | Rung::Stuck { .. }),
        ) => Cause::StopTimeout,
        (Ending::Exited(code), None) if spec.success_codes.contains(&code) => Cause::Success,
        (Ending::Exited(_), None) => Cause::ExitCode,
        (Ending::Killed { core: true, .. }, None) => Cause::CoreDump,
        (Ending::Killed { core: false, .. }, None) => Cause::Signal,
    }
}

/// Whether an end is a failure. OTP: anything but `normal` and `shutdown`, the latter being our own stop.
pub(super) fn is_failure(cause: Cause) -> bool {
    match cause {
        Cause::Success | Cause::Stop | Cause::StopTimeout => false,
        Cause::ExitCode
        | Cause::Signal
        | Cause::CoreDump
        | Cause::OomKill
        | Cause::ExecFailed
        | Cause::Resources
        | Cause::Lost => true,
    }
}

/// Whether a run that ended of itself is followed by another. OTP's permanent, transient and temporary.
pub(super) fn is_followed(policy: RestartPolicy, cause: Cause) -> bool {
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => is_failure(cause),
        RestartPolicy::Never => false,
    }
}
