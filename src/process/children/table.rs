//! The runs that are not acknowledged, and what the kernel is asked about them.

mod carried;
mod ends;

pub(crate) use carried::{Carried, CarriedLife};
use ends::reap_all;

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::run::{Life, Run};
use super::slots::{Slots, Token};
use crate::model::{Ending, LaunchError, RunId, Signal, Stage, StopScope};
use crate::os::{self, Epoll, Flight, Identity, Ignored, Landing, NotSent, Order, Process, Remains, Stock, Trace};
use crate::process::{Report, Whom};

/// How long until the kernel is asked again to watch a process that it had no memory to watch.
const WATCH_AGAIN: Duration = Duration::from_secs(1);
/// How long the parent of somebody else's child may take to ask how that ended. A restart waits for it.
const FADING: Duration = Duration::from_millis(20);
/// How many processes that have ended may wait to be reaped: they count against limits on processes.
const REMAINS: usize = 32;
/// How many runs are under way at a time when nothing special happens.
const FEW: usize = 16;

/// All runs that are not acknowledged.
///
/// In epoll a run has one entry at a time: the pipe of its launch, then its process where that has a descriptor.
pub(crate) struct Table {
    epoll: Rc<Epoll>,
    end_by: EndBy,
    stock: Stock,
    ignored: Ignored,
    launch_limit: Duration,
    runs: Slots<Run>,
    by_id: HashMap<RunId, Token>,
    /// The processes whose ends are learnt by SIGCHLD.
    by_pid: HashMap<i32, Token>,
    /// Launches by their time limits, which are all of one length; done ones are dropped when they come to the front.
    deadlines: VecDeque<(Instant, Token)>,
    /// Runs of which something may be untold.
    untold: VecDeque<Token>,
    /// Processes that are not watched, and when that is tried again.
    unwatched: Vec<Token>,
    watch_again: Option<Instant>,
    /// Processes that have ended and are not reaped, where ends are learnt by SIGCHLD: their numbers are in `by_pid` still.
    remains: Vec<Remains>,
    /// Runs whose main processes have ended since they were last asked for.
    ended: VecDeque<RunId>,
    /// Processes of others that have ended, and until when it is waited for how.
    fading: Vec<(Instant, Token)>,
}

/// How the ends of one's own children are learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndBy {
    /// By a descriptor of each.
    Pidfd,
    /// By SIGCHLD, in a program that is alone with its children: every open descriptor makes each later launch slower.
    Sigchld,
}

impl Table {
    pub(crate) fn new(epoll: Rc<Epoll>, end_by: EndBy, launch_limit: Duration) -> Self {
        Self {
            epoll,
            end_by,
            stock: Stock::default(),
            ignored: match end_by {
                // A process of others may change what it ignores at any time.
                EndBy::Pidfd => Ignored::default(),
                EndBy::Sigchld => Ignored::now(),
            },
            launch_limit,
            runs: Slots::new(),
            by_id: HashMap::new(),
            by_pid: HashMap::new(),
            deadlines: VecDeque::new(),
            untold: VecDeque::new(),
            unwatched: Vec::new(),
            watch_again: None,
            remains: Vec::new(),
            ended: VecDeque::new(),
            fading: Vec::new(),
        }
    }

    /// Begins a launch; an order that could not be made is one that failed. `made` is told which process it is and whether
    /// that is in its leaf, where ends are learnt by SIGCHLD. True if whoever waits has to look again: there is something to tell, or a deadline where
    /// there was none.
    pub(crate) fn launch(
        &mut self,
        id: RunId,
        scope: StopScope,
        order: Result<Order, LaunchError>,
        trace: Trace<'_>,
        made: impl FnOnce(i32, Option<Identity>, bool),
    ) -> bool {
        if self.by_id.contains_key(&id) {
            log::error!("{id:?} was launched before; it is not launched again");
            return false;
        }
        let Self { epoll, stock, runs, by_pid, end_by, ignored, remains, .. } = self;
        let trace = Trace { ignored: *ignored, ..trace };
        let token = runs.insert_with(|token| {
            let mut begin = |order: &Order| begin(order, stock, trace.clone(), epoll, token);
            let flight = order.and_then(|order| match begin(&order) {
                Err(LaunchError { errno: libc::EAGAIN, .. }) if reap_all(remains, by_pid) => begin(&order),
                begun => begun,
            });
            let life = match flight {
                Ok((mut process, flight)) => {
                    if *end_by == EndBy::Sigchld {
                        made(process.number(), process.identity(), flight.is_in_leaf());
                        process.let_go();
                        by_pid.insert(process.number(), token);
                    }
                    Life::InFlight(Box::new((process, flight)))
                }
                Err(error) => {
                    stock.refill();
                    Life::Ended(Ending::NotLaunched(error))
                }
            };
            Run::new(id, scope, life)
        });
        self.by_id.insert(id, token);
        if !self.flies(token) {
            self.untold.push_back(token);
            return true;
        }
        self.deadlines.push_back((Instant::now() + self.launch_limit, token));
        self.deadlines.len() == 1
    }

    /// Takes over a run whose process others made and reap.
    pub(crate) fn adopt(&mut self, id: RunId, scope: StopScope, process: Process) {
        let pid = process.pid();
        let token = self.insert(id, scope, Life::Alive(process));
        if let Some(run) = self.runs.get_mut(token) {
            run.launched = Some(pid);
        }
        self.watch(token);
    }

    /// Takes over a run that has ended.
    pub(crate) fn bury(&mut self, id: RunId, scope: StopScope, ending: Ending) {
        self.insert(id, scope, Life::Ended(ending));
    }

    fn insert(&mut self, id: RunId, scope: StopScope, life: Life) -> Token {
        let token = self.runs.insert_with(|_| Run::new(id, scope, life));
        self.by_id.insert(id, token);
        self.untold.push_back(token);
        token
    }

    /// Sends a signal to a run. True if there is something to tell: it was not permitted.
    pub(crate) fn signal(&mut self, run: RunId, signal: Signal, whom: Whom) -> bool {
        let Some(&token) = self.by_id.get(&run) else { return false };
        let Some(run) = self.runs.get_mut(token) else { return false };
        let Some(process) = run.process() else { return false };
        let signal = match run.life {
            // There is no program yet that could take a signal its own way, and before exec the child shares our memory: a
            // signal that dumps core took all who share it along, before Linux 5.16.
            Life::InFlight(_) if signal != Signal::CONT => Signal::KILL,
            Life::InFlight(_) | Life::Alive(_) | Life::Ended(_) | Life::Changing => signal,
        };
        let sent = match whom {
            Whom::Main => process.signal(signal),
            Whom::Tree => process.signal_group(signal),
        };
        match sent {
            // Gone: its end is on its way.
            Ok(()) | Err(NotSent::Gone) => return false,
            Err(NotSent::NotPermitted(uid)) => run.remark(Report::Refused { uid }),
        }
        self.untold.push_back(token);
        true
    }

    /// From now on this is what ends with a run's main process.
    pub(crate) fn rescope(&mut self, run: RunId, scope: StopScope) {
        if let Some(run) = self.by_id.get(&run).and_then(|token| self.runs.get_mut(*token)) {
            run.scope = scope;
        }
    }

    /// Everything about this run will be told once more, from the beginning. False if the run is not known.
    pub(crate) fn retell(&mut self, run: RunId) -> bool {
        let Some(&token) = self.by_id.get(&run) else { return false };
        if let Some(run) = self.runs.get_mut(token) {
            run.retell();
            self.untold.push_back(token);
        }
        true
    }

    /// Whether this run is known and has not ended.
    pub(crate) fn lives(&self, run: RunId) -> bool {
        self.run(run).is_some_and(|run| run.process().is_some() || run.held)
    }

    /// How many main processes of runs SIGCHLD has told of no end yet.
    pub(crate) fn children(&self) -> usize {
        self.by_pid.len().saturating_sub(self.remains.len())
    }

    /// Some of those, whichever they are.
    pub(crate) fn some_children(&self, count: usize) -> Vec<RunId> {
        let runs = self.by_pid.values().filter_map(|token| self.runs.get(*token));
        runs.filter(|run| run.process().is_some()).map(|run| run.id).take(count).collect()
    }

    /// Whether the main process of this run has ended, as far as the kernel knows.
    pub(crate) fn has_ended(&self, run: RunId) -> bool {
        self.process(run).is_none_or(Process::has_ended)
    }

    /// The number that a run's main process has, or had.
    pub(crate) fn number(&self, run: RunId) -> Option<u32> {
        self.process(run).map(Process::pid).or(self.run(run)?.launched)
    }

    /// A run's main process as long as that is not reaped.
    pub(crate) fn process(&self, run: RunId) -> Option<&Process> {
        self.run(run)?.process()
    }

    /// Whether this is the number of a run's main process that is not reaped.
    pub(crate) fn knows(&self, pid: u32) -> bool {
        i32::try_from(pid).is_ok_and(|pid| self.by_pid.contains_key(&pid))
    }

    /// A run whose main process has ended since the last call. Only where ends are learnt by SIGCHLD.
    pub(crate) fn next_ended(&mut self) -> Option<RunId> {
        self.ended.pop_front()
    }

    /// A run that has ended, if it has, is held and given by [`Self::next_ended`] once more.
    pub(crate) fn end_again(&mut self, run: RunId) {
        if let Some(known @ Run { life: Life::Ended(_), .. }) = self.run_mut(run) {
            known.held = true;
            self.ended.push_back(run);
        }
    }

    /// What belongs to a run.
    pub(crate) fn scope(&self, run: RunId) -> Option<StopScope> {
        Some(self.run(run)?.scope)
    }

    /// More is known of how a run ended than what its process told.
    pub(crate) fn amend(&mut self, run: RunId, ending: Ending) {
        if let Some(Run { life: Life::Ended(known), .. }) = self.run_mut(run) {
            *known = ending;
        }
    }

    /// How a run's main process ended, once it has.
    pub(crate) fn ending(&self, run: RunId) -> Option<Ending> {
        match self.run(run)?.life {
            Life::Ended(ending) => Some(ending),
            Life::InFlight(_) | Life::Alive(_) | Life::Changing => None,
        }
    }

    /// A run counts as living, though its main process has ended.
    pub(crate) fn hold(&mut self, run: RunId) {
        if let Some(run) = self.run_mut(run) {
            run.held = true;
        }
    }

    /// Nothing is left of a run, which may have been held.
    pub(crate) fn release(&mut self, run: RunId) {
        let Some(&token) = self.by_id.get(&run) else { return };
        if let Some(run) = self.runs.get_mut(token).filter(|run| run.held) {
            run.held = false;
            self.untold.push_back(token);
        }
    }

    fn run(&self, run: RunId) -> Option<&Run> {
        self.runs.get(*self.by_id.get(&run)?)
    }

    fn run_mut(&mut self, run: RunId) -> Option<&mut Run> {
        self.runs.get_mut(*self.by_id.get(&run)?)
    }

    /// Forgets a run that has ended; true if it did. One that has not is kept, or nobody would reap it, and so is one of
    /// which something is still ending.
    pub(crate) fn acknowledge(&mut self, run: RunId) -> bool {
        let Some(&token) = self.by_id.get(&run) else { return false };
        let ended = self.runs.get(token).is_some_and(|run| matches!(run.life, Life::Ended(_)) && !run.held);
        if ended {
            self.by_id.remove(&run);
            self.runs.remove(token);
        }
        ended
    }

    /// Looks at the process of a run. True if there is something to tell: the run is known.
    pub(crate) fn examine(&mut self, run: RunId) -> bool {
        let Some(&token) = self.by_id.get(&run) else { return false };
        let Some(run) = self.runs.get_mut(token) else { return false };
        let state = run.process().and_then(Process::state);
        run.remark(Report::Examined { state });
        self.untold.push_back(token);
        true
    }

    /// When [`Table::expire`] has something to do next.
    pub(crate) fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(&(_, token)) = self.deadlines.front()
            && !self.flies(token)
        {
            self.deadlines.pop_front();
        }
        let launch = self.deadlines.front().map(|&(deadline, _)| deadline);
        let fading = self.fading.iter().map(|(deadline, _)| *deadline).min();
        launch.into_iter().chain(self.watch_again).chain(fading).min()
    }

    /// Gives up launches that are not done in time, and tries again to watch what could not be watched. `noted` is told of
    /// the ends that nobody will tell more of.
    pub(crate) fn expire(&mut self, now: Instant, mut noted: impl FnMut(RunId, Ending)) {
        while let Some(&(deadline, token)) = self.deadlines.front()
            && deadline <= now
        {
            self.deadlines.pop_front();
            self.give_up(token);
        }
        let faded: Vec<_> = self.fading.iter().filter(|(at, _)| *at <= now).map(|(_, token)| *token).collect();
        for token in faded {
            self.happened(token.into(), &mut noted);
        }
        if self.watch_again.is_some_and(|at| at <= now) {
            self.watch_again = None;
            for token in mem::take(&mut self.unwatched) {
                self.watch(token);
            }
        }
    }

    /// Gives back what only a burst needs.
    pub(crate) fn rest(&mut self) {
        self.stock.rest();
        self.deadlines.shrink_to(FEW);
        self.untold.shrink_to(FEW);
        self.remains.shrink_to(FEW);
    }

    /// The next thing that is to be told; each is told once.
    pub(crate) fn tell(&mut self) -> Option<(RunId, Report)> {
        while let Some(&token) = self.untold.front() {
            if let Some(run) = self.runs.get_mut(token)
                && let Some(report) = run.next_untold()
            {
                return Some((run.id, report));
            }
            self.untold.pop_front();
        }
        None
    }

    /// The child is done with its launch: its program runs, or it has ended or is about to.
    fn landed(&mut self, token: Token, (process, flight): (Process, Flight)) {
        self.epoll.remove(flight.as_fd());
        let landing = flight.land(&mut self.stock);
        self.stock.refill();
        let Some(run) = self.runs.get_mut(token) else { return };
        match (run.overdue, landing) {
            (Some(stage), _) => run.failed = Some(LaunchError { stage, errno: libc::ETIMEDOUT }),
            (None, Landing::Failed(error)) => run.failed = Some(error),
            (None, Landing::Executing) => run.launched = Some(process.pid()),
            // A signal ended it, as the process will tell.
            (None, Landing::Cut) => {}
        }
        run.life = Life::Alive(process);
        self.untold.push_back(token);
        self.watch(token);
    }

    /// Waits for the end of a process. Where the kernel has no memory for that, it is asked again later: the process is
    /// as good as any other, and its end is not lost.
    fn watch(&mut self, token: Token) {
        let Some(Life::Alive(process)) = self.runs.get(token).map(|run| &run.life) else { return };
        let Some(fd) = process.fd() else { return };
        if let Err(error) = self.epoll.add_readable(fd, token.into()) {
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
        self.untold.push_back(token);
    }

    fn flies(&self, token: Token) -> bool {
        // One that was given up waits for its death, which has no time limit.
        self.runs.get(token).is_some_and(|run| matches!(run.life, Life::InFlight(_)) && run.overdue.is_none())
    }
}

fn begin(
    order: &Order,
    stock: &mut Stock,
    trace: Trace<'_>,
    epoll: &Epoll,
    token: Token,
) -> Result<(Process, Flight), LaunchError> {
    os::launch(order, stock, trace, |pipe| epoll.add_hangup(pipe, token.into()))
        .map_err(|error| LaunchError { stage: Stage::Fork, errno: error.raw_os_error().unwrap_or(libc::EIO) })
}

#[cfg(test)]
mod tests;
