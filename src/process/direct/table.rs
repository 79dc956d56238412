//! The runs that are not acknowledged, and what the kernel is asked about them.

use std::collections::{HashMap, VecDeque};
use std::ffi::CString;
use std::mem;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::run::{Life, Run};
use super::slots::{Slots, Token};
use crate::model::{Ending, LaunchError, RunId, Signal, Stage, StopScope};
use crate::os::{self, Epoll, Flight, Ids, Landing, NotSent, Order, OutputTo, Process, Stacks};
use crate::process::{Credentials, Launch, Output, Report, Reports, SignalError, Sink, Whom};

/// How long until the kernel is asked again to watch a process that it had no memory to watch.
const WATCH_AGAIN: Duration = Duration::from_secs(1);

/// All runs that are not acknowledged.
///
/// In epoll a run has one entry at a time: the pipe of its launch, then its process.
pub(super) struct Table {
    epoll: Rc<Epoll>,
    stacks: Stacks,
    launch_limit: Duration,
    runs: Slots<Run>,
    by_id: HashMap<RunId, Token>,
    /// Launches by their time limits, which are all of one length; done ones are dropped when they come to the front.
    deadlines: VecDeque<(Instant, Token)>,
    /// Runs of which something may be untold.
    untold: Vec<Token>,
    /// Processes that are not watched, and when that is tried again.
    unwatched: Vec<Token>,
    watch_again: Option<Instant>,
}

impl Table {
    pub(super) fn new(epoll: Rc<Epoll>, launch_limit: Duration) -> Self {
        Self {
            epoll,
            stacks: Stacks::default(),
            launch_limit,
            runs: Slots::new(),
            by_id: HashMap::new(),
            deadlines: VecDeque::new(),
            untold: Vec::new(),
            unwatched: Vec::new(),
            watch_again: None,
        }
    }

    /// Begins a launch. True if the task has to be woken: it has something to tell, or no timer yet.
    pub(super) fn launch(&mut self, launch: Launch, reports: Reports) -> bool {
        let (id, scope) = (launch.run, launch.scope);
        if self.by_id.contains_key(&id) {
            log::error!("{id:?} of {} was launched before; it is not launched again", launch.service);
            return false;
        }
        let Self { epoll, stacks, runs, .. } = self;
        let token = runs.insert_with(|token| {
            let life = match begin(launch, stacks, epoll, token) {
                Ok(flight) => Life::InFlight(Box::new(flight)),
                Err(error) => Life::Ended(Ending::NotLaunched(error)),
            };
            Run::new(id, scope, reports, life)
        });
        self.by_id.insert(id, token);
        if !self.flies(token) {
            self.untold.push(token);
            return true;
        }
        self.deadlines.push_back((Instant::now() + self.launch_limit, token));
        self.deadlines.len() == 1
    }

    /// Sends a signal to a run.
    pub(super) fn signal(&self, run: RunId, signal: Signal, whom: Whom) -> Result<(), SignalError> {
        let process = self.process(run).ok_or(SignalError::Gone)?;
        let signal = match self.in_flight(run) {
            // There is no program yet that could take a signal its own way, and before exec the child shares our memory: a
            // signal that dumps core took all who share it along, before Linux 5.16.
            true if signal != Signal::CONT => Signal::KILL,
            true | false => signal,
        };
        let sent = match whom {
            Whom::Main => process.signal(signal),
            Whom::Tree => process.signal_group(signal),
        };
        sent.map_err(|not_sent| match not_sent {
            NotSent::Gone => SignalError::Gone,
            NotSent::NotPermitted(uid) => SignalError::NotPermitted { uid },
        })
    }

    /// From now on this is what ends with a run's main process.
    pub(super) fn rescope(&mut self, run: RunId, scope: StopScope) {
        if let Some(run) = self.by_id.get(&run).and_then(|token| self.runs.get_mut(*token)) {
            run.scope = scope;
        }
    }

    /// Gives a run another listener, who will be told everything from the beginning. False if the run is not known.
    pub(super) fn adopt(&mut self, run: RunId, reports: Reports) -> bool {
        let Some(&token) = self.by_id.get(&run) else { return false };
        if let Some(run) = self.runs.get_mut(token) {
            run.adopt(reports);
            self.untold.push(token);
        }
        true
    }

    /// Forgets a run that has ended. One that has not is kept, or nobody would reap it.
    pub(super) fn acknowledge(&mut self, run: RunId) {
        let Some(&token) = self.by_id.get(&run) else { return };
        if self.runs.get(token).is_some_and(|run| matches!(run.life, Life::Ended(_))) {
            self.by_id.remove(&run);
            self.runs.remove(token);
        }
    }

    /// The state letter of a run's process.
    pub(super) fn examine(&self, run: RunId) -> Option<char> {
        self.process(run)?.state()
    }

    /// Epoll says of this number that a launch is done, or that a process has ended.
    pub(super) fn happened(&mut self, number: u64) {
        let token = Token::from(number);
        // No entry: the event was taken in one batch with one that ended its run.
        let Some(run) = self.runs.get_mut(token) else { return };
        match mem::replace(&mut run.life, Life::Changing) {
            Life::InFlight(flight) => self.landed(token, *flight),
            Life::Alive(process) => self.ended(token, process),
            life @ (Life::Ended(_) | Life::Changing) => run.life = life,
        }
    }

    /// When [`Table::expire`] has something to do next.
    pub(super) fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(&(_, token)) = self.deadlines.front()
            && !self.flies(token)
        {
            self.deadlines.pop_front();
        }
        let launch = self.deadlines.front().map(|&(deadline, _)| deadline);
        launch.into_iter().chain(self.watch_again).min()
    }

    /// Gives up launches that are not done in time, and tries again to watch what could not be watched.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(&(deadline, token)) = self.deadlines.front()
            && deadline <= now
        {
            self.deadlines.pop_front();
            self.give_up(token);
        }
        if self.watch_again.is_some_and(|at| at <= now) {
            self.watch_again = None;
            for token in mem::take(&mut self.unwatched) {
                self.watch(token);
            }
        }
    }

    /// What is to be told now, each report once.
    pub(super) fn take_outbox(&mut self) -> Vec<(Reports, RunId, Report)> {
        let mut outbox = Vec::new();
        for token in mem::take(&mut self.untold) {
            let Some(run) = self.runs.get_mut(token) else { continue };
            while let Some(report) = run.next_untold() {
                outbox.push((Reports::clone(&run.reports), run.id, report));
            }
        }
        outbox
    }

    /// The child is done with its launch: its program runs, or it has ended or is about to.
    fn landed(&mut self, token: Token, (process, flight): (Process, Flight)) {
        self.epoll.remove(flight.as_fd());
        let landing = flight.land(&mut self.stacks);
        let Some(run) = self.runs.get_mut(token) else { return };
        match (run.overdue, landing) {
            (Some(stage), _) => run.failed = Some(LaunchError { stage, errno: libc::ETIMEDOUT }),
            (None, Landing::Failed(error)) => run.failed = Some(error),
            (None, Landing::Executing) => run.launched = Some(process.pid()),
            // A signal ended it, as the process will tell.
            (None, Landing::Cut) => {}
        }
        run.life = Life::Alive(process);
        self.untold.push(token);
        self.watch(token);
    }

    /// A process has ended: reaps it and what is left of its group.
    fn ended(&mut self, token: Token, process: Process) {
        let Some(run) = self.runs.get_mut(token) else { return };
        self.epoll.remove(process.as_fd());
        match process.reap(run.scope) {
            Ok(ending) => {
                run.life = Life::Ended(run.failed.map_or(ending, Ending::NotLaunched));
                self.untold.push(token);
            }
            // A pidfd is never readable before the end, but to wait once more costs nothing.
            Err(process) => {
                run.life = Life::Alive(process);
                self.watch(token);
            }
        }
    }

    /// Waits for the end of a process. Where the kernel has no memory for that, it is asked again later: the process is
    /// as good as any other, and its end is not lost.
    fn watch(&mut self, token: Token) {
        let Some(Life::Alive(process)) = self.runs.get(token).map(|run| &run.life) else { return };
        if let Err(error) = self.epoll.add_readable(process.as_fd(), token.into()) {
            log::warn!("cannot wait for process {} yet: {error}", process.pid());
            self.unwatched.push(token);
            self.watch_again = Some(Instant::now() + WATCH_AGAIN);
        }
    }

    /// Ends a launch that takes too long.
    fn give_up(&mut self, token: Token) {
        let Some(run) = self.runs.get_mut(token) else { return };
        let Life::InFlight(flight) = &run.life else { return };
        let (process, flight) = &**flight;
        run.overdue = Some(flight.stage());
        if let Err(error) = process.signal(Signal::KILL) {
            log::error!("cannot kill process {} whose launch takes too long: {error:?}", process.pid());
        }
        self.untold.push(token);
    }

    fn flies(&self, token: Token) -> bool {
        // One that was given up waits for its death, which has no time limit.
        self.runs.get(token).is_some_and(|run| matches!(run.life, Life::InFlight(_)) && run.overdue.is_none())
    }

    fn in_flight(&self, run: RunId) -> bool {
        let run = self.by_id.get(&run).and_then(|token| self.runs.get(*token));
        run.is_some_and(|run| matches!(run.life, Life::InFlight(_)))
    }

    fn process(&self, run: RunId) -> Option<&Process> {
        self.runs.get(*self.by_id.get(&run)?)?.process()
    }
}

fn begin(launch: Launch, stacks: &mut Stacks, epoll: &Epoll, token: Token) -> Result<(Process, Flight), LaunchError> {
    let order = order(launch)?;
    os::launch(&order, None, stacks, |pipe| epoll.add_hangup(pipe, token.into()))
        .map_err(|error| LaunchError { stage: Stage::Fork, errno: error.raw_os_error().unwrap_or(libc::EIO) })
}

/// A launch in the terms of the system.
fn order(launch: Launch) -> Result<Order, LaunchError> {
    let Launch { programs, argv, env, cwd, credentials, umask, limits, output, .. } = launch;
    let Output { stdout, stderr } = output;
    Ok(Order {
        limits: limits.into_iter().collect(),
        stdout: output_to(stdout)?,
        stderr: stderr.map(output_to).transpose()?,
        umask,
        ids: credentials.map(|Credentials { uid, gid, groups }| Ids { uid, gid, groups }),
        cwd,
        programs,
        argv,
        env,
    })
}

fn output_to(sink: Sink) -> Result<OutputTo, LaunchError> {
    let path = |path: PathBuf| CString::new(path.into_os_string().into_vec());
    match sink {
        Sink::Null => Ok(OutputTo::Null),
        Sink::File(file) => match path(file) {
            Ok(file) => Ok(OutputTo::File(file)),
            Err(_) => Err(LaunchError { stage: Stage::Stdio, errno: libc::EINVAL }),
        },
    }
}
