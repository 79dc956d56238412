//! From what the herd knows to the documents of `api/`.

use serde::{Serialize, Serializer};

use crate::api::{
    CommandResult, ConfProblem, DaemonDocument, DetailsDocument, EventDocument, ExitDocument, ExitLine, FileProblem,
    HerdDocument, LogsDocument, PlanDocument, ProcessDocument, ServiceDocument, ServiceLine, TreeLevel, WindowDocument,
};
use crate::bus::{Event, Happening};
use crate::conf::Problem;
use crate::herder::{Applied, Overview, ServiceStatus};
use crate::model::{Death, Ending, Moment, Net, ServiceId, Signal};

use crate::os::tree::Member;

use super::Identity;
use super::wall_clock::{self, WallClock};

/// The version of every document.
pub(super) const VERSION: u32 = 1;

/// The services of a [`HerdDocument`], each made when it is written down: of thousands, all at once take more memory than the
/// text has.
pub(super) struct Services<'a> {
    overview: &'a Overview,
    clock: WallClock,
    sizes: &'a [u64],
}

impl Serialize for Services<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { overview: Overview { services, at, .. }, clock, sizes } = self;
        let sizes = sizes.iter().copied().chain(std::iter::repeat(0));
        serializer.collect_seq(services.iter().zip(sizes).map(|(status, bytes)| service(status, *at, *clock, bytes)))
    }
}

/// The same in brief.
pub(super) struct Lines<'a>(&'a Overview);

impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Overview { services, at, .. } = self.0;
        serializer.collect_seq(services.iter().map(|status| line(status, *at)))
    }
}

fn line(status: &ServiceStatus, now: Moment) -> ServiceLine<'_> {
    ServiceLine {
        id: status.id.as_str().into(),
        state: status.state.name().into(),
        reason: status.reason.as_str().into(),
        pid: status.pid,
        uptime_ms: status.running_since.map(|since| millis(now - since)),
        restarts: status.restarts,
        next_start_ms: status.next_start.map(|next| millis(next - now)),
        last_exit: status.deaths.first().map(|death| ExitLine { cause: death.cause.name().into() }),
        conf: status.conf.to_string_lossy(),
        conf_problems: status.conf_problems.iter().map(problem).collect(),
    }
}

/// The document of `GET /v1/services`. `sizes` has the bytes of each service's log, in the order of the overview.
pub(super) fn herd<'a>(
    identity: &Identity,
    overview: &'a Overview,
    clock: WallClock,
    sizes: &'a [u64],
) -> HerdDocument<Services<'a>> {
    herd_of(identity, overview, Services { overview, clock, sizes })
}

/// The document of `GET /v1/services` for whom less is enough.
pub(super) fn lines<'a>(identity: &Identity, overview: &'a Overview) -> HerdDocument<Lines<'a>> {
    herd_of(identity, overview, Lines(overview))
}

fn herd_of<S>(identity: &Identity, overview: &Overview, services: S) -> HerdDocument<S> {
    HerdDocument {
        version: VERSION,
        host: identity.host.clone(),
        daemon: DaemonDocument {
            version: identity.version.clone(),
            pid: identity.pid,
            since: wall_clock::show(identity.since),
        },
        services,
        problems: overview.problems.clone(),
    }
}

/// One service of it, as it was at the moment `now`.
pub(super) fn service(status: &ServiceStatus, now: Moment, clock: WallClock, bytes: u64) -> ServiceDocument {
    ServiceDocument {
        id: status.id.to_string(),
        name: status.name.clone(),
        state: status.state.to_string(),
        wanted: status.wanted.to_string(),
        reason: status.reason.clone(),
        since: clock.show(status.since),
        pid: status.pid,
        run: status.run.map(|run| run.to_string()),
        uptime_ms: status.running_since.map(|since| millis(now - since)),
        restarts: status.restarts,
        window: WindowDocument {
            count: status.window_count,
            intensity: status.intensity,
            period_ms: millis(status.period),
        },
        next_start_ms: status.next_start.map(|next| millis(next - now)),
        last_exit: status.deaths.first().map(|death| exit(death, clock)),
        conf: status.conf.to_string_lossy().into_owned(),
        conf_problems: status.conf_problems.iter().map(problem).collect(),
        tree: match status.net {
            Net::Group => TreeLevel::Group,
            Net::Subreaper => TreeLevel::Subreaper,
            Net::Cgroup => TreeLevel::Cgroup,
        },
        logs: LogsDocument { bytes, dropped: status.logged.as_ref().map_or(0, |logged| logged.dropped) },
        details: None,
    }
}

/// What is told of one service alone.
pub(super) fn details(status: &ServiceStatus, clock: WallClock, members: Vec<Member>) -> DetailsDocument {
    let process = |Member { pid, depth, usage }| ProcessDocument {
        pid,
        depth,
        name: usage.name,
        memory_bytes: usage.memory,
        cpu_ms: millis(usage.processor),
    };
    let logged = status.logged.clone().unwrap_or_default();
    DetailsDocument {
        exits: status.deaths.iter().map(|death| exit(death, clock)).collect(),
        last_words: logged.last_words,
        pipe_bytes: logged.pipe,
        processes: members.into_iter().map(process).collect(),
    }
}

/// An event.
pub(super) fn event(event: &Event, clock: WallClock, id: String) -> EventDocument {
    let common = |kind: &str| EventDocument {
        id,
        at: clock.show(event.at),
        service: event.service.to_string(),
        event: kind.to_owned(),
        message: event.what.to_string(),
        ..EventDocument::default()
    };
    match &event.what {
        Happening::Entered { from, state, run, pid, death, .. } => EventDocument {
            from: from.map(|from| from.to_string()),
            state: Some(state.to_string()),
            run: run.map(|run| run.to_string()),
            pid: *pid,
            exit: death.as_ref().map(|death| exit(death, clock)),
            ..common("state")
        },
        Happening::Adjusted => common("adjusted"),
        Happening::OutputStuck { .. } => common("output-stuck"),
        Happening::OutputGoesOn { .. } => common("output-goes-on"),
        Happening::ActorReplaced => common("actor-replaced"),
        Happening::Removed => common("removed"),
    }
}

fn exit(death: &Death, clock: WallClock) -> ExitDocument {
    let (mut code, mut signal, mut core, mut stage, mut errno) = (None, None, false, None, None);
    match death.ending {
        Ending::Exited(exited) => code = Some(exited),
        Ending::Killed { signal: by, core: dumped } => (signal, core) = (Some(by.to_string()), dumped),
        Ending::NotLaunched(error) => (stage, errno) = (Some(error.stage.name().to_owned()), Some(error.errno)),
        Ending::OomKilled => signal = Some(Signal::KILL.to_string()),
        Ending::Lost => {}
    }
    ExitDocument { at: clock.show(death.at), code, signal, core, cause: death.cause.to_string(), stage, errno }
}

fn problem(problem: &Problem) -> ConfProblem {
    ConfProblem { line: problem.line, column: problem.column, message: problem.message.clone() }
}

/// The document of `POST /v1/reload`.
pub(super) fn plan(applied: &Applied) -> PlanDocument {
    let ids = |ids: &[ServiceId]| ids.iter().map(ToString::to_string).collect();
    PlanDocument {
        version: VERSION,
        start: ids(&applied.start),
        stop: ids(&applied.stop),
        restart: ids(&applied.restart),
        adjust: ids(&applied.adjust),
        unchanged: ids(&applied.unchanged),
        problems: applied
            .problems
            .iter()
            .map(|(path, of_file)| FileProblem { path: path.to_string_lossy().into_owned(), problem: problem(of_file) })
            .collect(),
    }
}

/// What a command did to one service.
pub(super) fn result(id: &ServiceId, done: Result<String, String>, service: Option<ServiceDocument>) -> CommandResult {
    let ok = done.is_ok();
    let (Ok(message) | Err(message)) = done;
    CommandResult { id: id.to_string(), ok, message, service, last_lines: Vec::new() }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
