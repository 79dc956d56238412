//! A spawner without processes, for tests.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::{Launch, Output, Report, Reports, Sink, Spawner, Whom};
use crate::model::{Ending, LaunchError, RunId, ServiceId, Signal, Stage, StopScope};

/// What a process does not survive unless it has arranged for that; `awkward` ones have.
const OBEYED: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGKILL];

/// A spawner whose processes exist only in its books.
///
/// Left alone, each launch works at once and each run lives until it is sent TERM, INT, QUIT or KILL, or until the test
/// ends it ([`FakeSpawner::exit`]). Reports are made in order by a task of their own, never from within a call: a test sees
/// them after it has awaited something ([`FakeSpawner::settle`]). It has no clock, so that of the test may be paused. All
/// clones are the same spawner: one goes to the code under test, another stays with the test.
///
/// It watches over what every caller owes a [`Spawner`]: a second run of a service that has a living one, a run id that is
/// used twice and an acknowledgement of a living run panic. An actor's panic ends only that actor, so the test's own clone
/// panics once more when it is dropped.
///
/// ```
/// use std::sync::{Arc, mpsc};
///
/// use daemonherder::model::{Ending, RunId, Signal};
/// use daemonherder::process::{Report, Spawner, Whom};
/// use daemonherder::testing::FakeSpawner;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let spawner = FakeSpawner::new();
/// let run = RunId { herd: 1, number: 1 };
/// let (tell, told) = mpsc::channel();
/// let launch = FakeSpawner::launch_of("web".parse().unwrap(), run);
/// spawner.launch(launch, Arc::new(move |_, report| tell.send(report).unwrap()));
/// spawner.signal(run, Signal::TERM, Whom::Main);
/// spawner.settle().await;
///
/// assert!(matches!(told.recv(), Ok(Report::Launched { .. })));
/// assert_eq!(told.recv(), Ok(Report::Ended(Ending::Killed { signal: Signal::TERM, core: false })));
/// assert_eq!(spawner.unacknowledged(), [run]);
/// spawner.acknowledge(run);
/// # }
/// ```
#[derive(Clone)]
pub struct FakeSpawner(Rc<RefCell<Books>>);

/// Whose process a test means.
#[derive(Clone, Debug)]
pub enum Whose {
    /// That of this run.
    Run(RunId),
    /// That of the living run of this service.
    Service(ServiceId),
}

/// A signal that was sent to a living run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentSignal {
    /// The service.
    pub service: ServiceId,
    /// Its run.
    pub run: RunId,
    /// What was sent.
    pub signal: Signal,
    /// To whom.
    pub whom: Whom,
}

/// How the processes of a service differ from well-behaved ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awkward {
    /// They ignore every signal but KILL.
    IgnoresSignals,
    /// They hang in the kernel (state `D`), where KILL does not reach them either.
    Unkillable,
    /// They belong to this user, whom the spawner may not signal.
    BelongsTo(u32),
}

struct Books {
    mail: mpsc::UnboundedSender<Mail>,
    runs: BTreeMap<RunId, Run>,
    living: BTreeMap<ServiceId, RunId>,
    launches: Vec<Launch>,
    /// How many there were.
    launched: u32,
    signals: Vec<SentSignal>,
    failing: BTreeMap<ServiceId, LaunchError>,
    held: BTreeSet<ServiceId>,
    awkward: BTreeMap<ServiceId, Awkward>,
    /// What the caller did that no caller may do.
    offence: Option<String>,
}

struct Run {
    service: ServiceId,
    reports: Reports,
    /// All reports of it so far.
    told: Vec<Report>,
    acknowledged: bool,
}

enum Mail {
    Report(Reports, RunId, Report),
    Barrier(oneshot::Sender<()>),
}

impl FakeSpawner {
    /// A spawner without runs.
    ///
    /// # Panics
    /// Outside a tokio runtime, which an actix `System` has.
    #[expect(clippy::new_without_default, reason = "it starts a task and may panic, which nobody expects of a default")]
    pub fn new() -> Self {
        let (mail, mut letters) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(mail) = letters.recv().await {
                match mail {
                    Mail::Report(reports, run, report) => reports(run, report),
                    Mail::Barrier(reached) => _ = reached.send(()),
                }
            }
        });
        Self(Rc::new(RefCell::new(Books {
            mail,
            runs: BTreeMap::new(),
            living: BTreeMap::new(),
            launches: Vec::new(),
            launched: 0,
            signals: Vec::new(),
            failing: BTreeMap::new(),
            held: BTreeSet::new(),
            awkward: BTreeMap::new(),
            offence: None,
        })))
    }

    /// A launch for tests that do not care what is launched.
    pub fn launch_of(service: ServiceId, run: RunId) -> Launch {
        Launch {
            service,
            run,
            programs: vec![c"/bin/true".into()],
            argv: vec![c"true".into()],
            env: Vec::new(),
            cwd: c"/".into(),
            credentials: None,
            umask: None,
            limits: BTreeMap::new(),
            output: Output { stdout: Sink::Null, stderr: None },
            cgroup: false,
            scope: StopScope::Tree,
        }
    }

    /// Ends a living run, launched or not, in this way.
    ///
    /// # Panics
    /// There is no such living run.
    pub fn exit(&self, whose: impl Into<Whose>, ending: Ending) {
        let mut books = self.books();
        let run = books.living_run(&whose.into());
        books.tell(run, Report::Ended(ending));
    }

    /// Later launches of this service fail, until [`FakeSpawner::mend_launches`].
    pub fn fail_launches(&self, service: &ServiceId, error: LaunchError) {
        self.books().failing.insert(service.clone(), error);
    }

    /// Later launches of this service work again, and are no longer held either.
    pub fn mend_launches(&self, service: &ServiceId) {
        let mut books = self.books();
        books.failing.remove(service);
        books.held.remove(service);
    }

    /// Later launches of this service stay under way, until [`FakeSpawner::land`], [`FakeSpawner::overdue`] or
    /// [`FakeSpawner::exit`].
    pub fn hold_launches(&self, service: &ServiceId) {
        self.books().held.insert(service.clone());
    }

    /// A held launch works after all.
    ///
    /// # Panics
    /// There is no such living run, or its program runs already.
    pub fn land(&self, whose: impl Into<Whose>) {
        let mut books = self.books();
        let run = books.living_run(&whose.into());
        books.land(run);
    }

    /// A held launch takes too long. Its end is the test's to tell ([`FakeSpawner::exit`]), as that of a process which
    /// hangs in the kernel may come late.
    ///
    /// # Panics
    /// There is no such living run.
    pub fn overdue(&self, whose: impl Into<Whose>, stage: Stage) {
        let mut books = self.books();
        let run = books.living_run(&whose.into());
        books.tell(run, Report::Overdue { stage });
    }

    /// From now on the processes of this service ignore every signal but KILL.
    pub fn ignore_signals(&self, service: &ServiceId) {
        self.make_awkward(service, Some(Awkward::IgnoresSignals));
    }

    /// From now on the processes of this service are so, or well-behaved again.
    pub fn make_awkward(&self, service: &ServiceId, how: Option<Awkward>) {
        let mut books = self.books();
        match how {
            Some(how) => _ = books.awkward.insert(service.clone(), how),
            None => _ = books.awkward.remove(service),
        }
    }

    /// All launches so far, in order, failed ones too.
    pub fn launches(&self) -> Vec<Launch> {
        self.books().launches.clone()
    }

    /// All launches of one service so far, in order.
    pub fn launches_of_service(&self, service: &ServiceId) -> Vec<Launch> {
        self.books().launches.iter().filter(|launch| launch.service == *service).cloned().collect()
    }

    /// All runs that have not ended, with their services.
    pub fn living(&self) -> BTreeMap<RunId, ServiceId> {
        let books = self.books();
        books.runs.iter().filter(|(_, run)| run.lives()).map(|(id, run)| (*id, run.service.clone())).collect()
    }

    /// The living run of a service.
    pub fn living_run(&self, service: &ServiceId) -> Option<RunId> {
        self.books().find(service)
    }

    /// All signals so far that a living run was sent, in order.
    pub fn signals(&self) -> Vec<SentSignal> {
        self.books().signals.clone()
    }

    /// Runs that have ended and whose end nobody has acknowledged. A herd at rest has none.
    pub fn unacknowledged(&self) -> Vec<RunId> {
        let books = self.books();
        books.runs.iter().filter(|(_, run)| !run.lives() && !run.acknowledged).map(|(id, _)| *id).collect()
    }

    /// Forgets what is over: signals, and all of a run whose end was acknowledged, so that a second use of its id is not
    /// noticed either. For tests that go on for so long that these books would outgrow their herd.
    pub fn forget(&self) {
        let mut books = self.books();
        let Books { runs, launches, signals, .. } = &mut *books;
        runs.retain(|_, run| !run.acknowledged);
        launches.retain(|launch| runs.contains_key(&launch.run));
        launches.shrink_to_fit();
        *signals = Vec::new();
    }

    /// Waits until everything that has happened so far has been reported.
    pub async fn settle(&self) {
        let (reach, reached) = oneshot::channel();
        // Both fail only when the runtime is shutting down, and then nothing is reported any more.
        let _ = self.books().mail.send(Mail::Barrier(reach));
        let _ = reached.await;
    }

    fn books(&self) -> RefMut<'_, Books> {
        self.0.borrow_mut()
    }
}

impl Spawner for FakeSpawner {
    fn launch(&self, launch: Launch, reports: Reports) {
        let mut books = self.books();
        let (id, service) = (launch.run, launch.service.clone());
        if books.runs.contains_key(&id) {
            books.offend(format!("{id:?} of {service} was launched before"));
        }
        if let Some(living) = books.find(&service) {
            books.offend(format!("{id:?} of {service} was launched while {living:?} lives"));
        }
        books.launches.push(launch);
        books.launched += 1;
        books.living.insert(service.clone(), id);
        books.runs.insert(id, Run { service: service.clone(), reports, told: Vec::new(), acknowledged: false });
        if let Some(&error) = books.failing.get(&service) {
            books.tell(id, Report::Ended(Ending::NotLaunched(error)));
        } else if !books.held.contains(&service) {
            books.land(id);
        }
    }

    fn signal(&self, run: RunId, signal: Signal, whom: Whom) {
        let mut books = self.books();
        let service = match books.runs.get(&run) {
            Some(known) if known.lives() => known.service.clone(),
            _ => return,
        };
        let awkward = books.awkward.get(&service).copied();
        if let Some(Awkward::BelongsTo(uid)) = awkward {
            return books.say(run, Report::Refused { uid });
        }
        books.signals.push(SentSignal { service, run, signal, whom });
        let ends = match awkward {
            None => OBEYED.contains(&signal.number()),
            Some(Awkward::IgnoresSignals) => signal == Signal::KILL,
            Some(Awkward::Unkillable | Awkward::BelongsTo(_)) => false,
        };
        if ends {
            books.tell(run, Report::Ended(Ending::Killed { signal, core: false }));
        }
    }

    fn rescope(&self, run: RunId, scope: StopScope) {
        let mut books = self.books();
        if let Some(launch) = books.launches.iter_mut().find(|launch| launch.run == run) {
            launch.scope = scope;
        }
    }

    fn adopt(&self, run: RunId, reports: Reports) -> bool {
        let mut books = self.books();
        let Books { runs, mail, .. } = &mut *books;
        let Some(known) = runs.get_mut(&run).filter(|run| !run.acknowledged) else { return false };
        known.reports = reports;
        for report in &known.told {
            let _ = mail.send(Mail::Report(Reports::clone(&known.reports), run, *report));
        }
        true
    }

    fn acknowledge(&self, run: RunId) {
        let mut books = self.books();
        if books.runs.get(&run).is_some_and(Run::lives) {
            books.offend(format!("the end of {run:?} was acknowledged while it lives"));
        }
        if let Some(known) = books.runs.get_mut(&run) {
            known.acknowledged = true;
        }
    }

    fn examine(&self, run: RunId) {
        let books = self.books();
        let known = books.runs.get(&run).filter(|run| run.lives());
        let state =
            known.map(|run| if books.awkward.get(&run.service) == Some(&Awkward::Unkillable) { 'D' } else { 'S' });
        books.say(run, Report::Examined { state });
    }
}

impl Books {
    fn tell(&mut self, id: RunId, report: Report) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.told.push(report);
        if !run.lives() {
            self.living.remove(&run.service);
        }
        self.say(id, report);
    }

    /// Reports what belongs to the moment: nobody who adopts the run later hears of it.
    fn say(&self, id: RunId, report: Report) {
        let Some(run) = self.runs.get(&id) else { return };
        // It fails only when the runtime is shutting down, and then nobody listens.
        let _ = self.mail.send(Mail::Report(Reports::clone(&run.reports), id, report));
    }

    fn land(&mut self, id: RunId) {
        let launched = |report: &Report| matches!(report, Report::Launched { .. });
        let landed = self.runs.get(&id).is_some_and(|run| run.told.iter().any(launched));
        assert!(!landed, "the program of {id:?} runs already");
        // Numbers that no process has (pid_max is at most 2^22), so that no mistake can hit one.
        let pid = (1 << 22) + self.launched;
        self.tell(id, Report::Launched { pid });
    }

    fn find(&self, service: &ServiceId) -> Option<RunId> {
        self.living.get(service).copied()
    }

    #[track_caller]
    fn living_run(&self, whose: &Whose) -> RunId {
        let found = match whose {
            Whose::Run(id) => self.runs.get(id).filter(|run| run.lives()).map(|_| *id),
            Whose::Service(service) => self.find(service),
        };
        found.unwrap_or_else(|| panic!("no living run: {whose:?}"))
    }

    fn offend(&mut self, offence: String) -> ! {
        self.offence = Some(offence.clone());
        panic!("{offence}");
    }
}

impl Run {
    fn lives(&self) -> bool {
        !matches!(self.told.last(), Some(Report::Ended(_)))
    }
}

impl Drop for FakeSpawner {
    fn drop(&mut self) {
        let offence = self.0.try_borrow().ok().and_then(|books| books.offence.clone());
        if let (Some(offence), false) = (offence, thread::panicking()) {
            panic!("{offence}");
        }
    }
}

impl fmt::Debug for FakeSpawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeSpawner").finish_non_exhaustive()
    }
}

impl From<RunId> for Whose {
    fn from(run: RunId) -> Self {
        Self::Run(run)
    }
}

impl From<&ServiceId> for Whose {
    fn from(service: &ServiceId) -> Self {
        Self::Service(service.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Arc, Mutex};

    use super::*;

    const FAILED: LaunchError = LaunchError { stage: Stage::Cwd, errno: libc::ENOENT };

    fn web() -> ServiceId {
        "web".parse().unwrap()
    }

    fn run(number: u64) -> RunId {
        RunId { herd: 0, number }
    }

    #[derive(Clone, Default)]
    struct Listener(Arc<Mutex<Vec<(u64, Report)>>>);

    impl Listener {
        fn reports(&self) -> Reports {
            let heard = Arc::clone(&self.0);
            Arc::new(move |run, report| heard.lock().unwrap().push((run.number, report)))
        }

        async fn heard(&self, spawner: &FakeSpawner) -> Vec<(u64, Report)> {
            spawner.settle().await;
            self.0.lock().unwrap().drain(..).collect()
        }
    }

    fn launched(nth: u32) -> Report {
        Report::Launched { pid: (1 << 22) + nth }
    }

    fn killed(signal: Signal) -> Report {
        Report::Ended(Ending::Killed { signal, core: false })
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_is_told_in_order_and_never_from_within_a_call() {
        let (spawner, listener) = (FakeSpawner::new(), Listener::default());
        spawner.launch(FakeSpawner::launch_of(web(), run(1)), listener.reports());
        spawner.exit(&web(), Ending::Exited(3));
        assert!(listener.0.lock().unwrap().is_empty());
        assert_eq!(listener.heard(&spawner).await, [(1, launched(1)), (1, Report::Ended(Ending::Exited(3)))]);
        assert_eq!((spawner.unacknowledged(), spawner.living().len()), (vec![run(1)], 0));
        spawner.acknowledge(run(1));
        assert_eq!(spawner.unacknowledged(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn signals_are_recorded_and_obeyed_unless_a_service_is_awkward() {
        let (spawner, listener) = (FakeSpawner::new(), Listener::default());
        let hup = Signal::from_number(1).unwrap();
        for (number, how) in [(1, None), (2, Some(Awkward::IgnoresSignals)), (3, Some(Awkward::Unkillable))] {
            let id: ServiceId = format!("s{number}").parse().unwrap();
            spawner.make_awkward(&id, how);
            spawner.launch(FakeSpawner::launch_of(id, run(number)), listener.reports());
            for signal in [hup, Signal::TERM, Signal::KILL] {
                spawner.signal(run(number), signal, Whom::Main);
            }
        }
        let sent: Vec<_> = spawner.signals().iter().map(|sent| (sent.run.number, sent.signal)).collect();
        let (term, kill) = (Signal::TERM, Signal::KILL);
        let expected = [(1, hup), (1, term), (2, hup), (2, term), (2, kill), (3, hup), (3, term), (3, kill)];
        assert_eq!(sent, expected);
        let ends: Vec<_> =
            listener.heard(&spawner).await.into_iter().filter(|(_, told)| *told != launched(1)).collect();
        assert_eq!(ends, [(1, killed(term)), (2, launched(2)), (2, killed(kill)), (3, launched(3))]);
        spawner.examine(run(3));
        spawner.examine(run(1));
        let looked = [(3, Report::Examined { state: Some('D') }), (1, Report::Examined { state: None })];
        assert_eq!(listener.heard(&spawner).await, looked);

        let foreign: ServiceId = "foreign".parse().unwrap();
        spawner.make_awkward(&foreign, Some(Awkward::BelongsTo(5)));
        spawner.launch(FakeSpawner::launch_of(foreign, run(4)), listener.reports());
        spawner.signal(run(4), kill, Whom::Tree);
        spawner.signal(run(1), kill, Whom::Tree);
        let heard = listener.heard(&spawner).await;
        assert_eq!(heard.last(), Some(&(4, Report::Refused { uid: 5 })), "and of the dead one nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn launches_fail_or_hang_as_the_test_wishes() {
        let (spawner, listener) = (FakeSpawner::new(), Listener::default());
        spawner.fail_launches(&web(), FAILED);
        spawner.launch(FakeSpawner::launch_of(web(), run(1)), listener.reports());
        assert_eq!(listener.heard(&spawner).await, [(1, Report::Ended(Ending::NotLaunched(FAILED)))]);

        spawner.mend_launches(&web());
        spawner.hold_launches(&web());
        spawner.launch(FakeSpawner::launch_of(web(), run(2)), listener.reports());
        assert_eq!(listener.heard(&spawner).await, []);
        assert_eq!(spawner.living_run(&web()), Some(run(2)));
        spawner.overdue(&web(), Stage::Stdio);
        spawner.exit(run(2), Ending::NotLaunched(FAILED));
        let overdue = Report::Overdue { stage: Stage::Stdio };
        assert_eq!(listener.heard(&spawner).await, [(2, overdue), (2, Report::Ended(Ending::NotLaunched(FAILED)))]);

        spawner.launch(FakeSpawner::launch_of(web(), run(3)), listener.reports());
        spawner.land(&web());
        assert_eq!(listener.heard(&spawner).await, [(3, launched(3))]);
        assert_eq!(spawner.launches_of_service(&web()), spawner.launches());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_adopts_a_run_hears_everything_until_it_is_acknowledged() {
        let (spawner, first, second) = (FakeSpawner::new(), Listener::default(), Listener::default());
        spawner.launch(FakeSpawner::launch_of(web(), run(1)), first.reports());
        assert_eq!(first.heard(&spawner).await, [(1, launched(1))]);
        assert!(spawner.adopt(run(1), second.reports()));
        spawner.exit(&web(), Ending::Lost);
        assert_eq!(second.heard(&spawner).await, [(1, launched(1)), (1, Report::Ended(Ending::Lost))]);
        assert_eq!(first.heard(&spawner).await, []);
        spawner.acknowledge(run(1));
        assert!(!spawner.adopt(run(1), first.reports()));
        assert!(!spawner.adopt(run(9), first.reports()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_forgotten_and_nothing_else() {
        let (spawner, listener) = (FakeSpawner::new(), Listener::default());
        let other: ServiceId = "other".parse().unwrap();
        spawner.launch(FakeSpawner::launch_of(web(), run(1)), listener.reports());
        spawner.exit(&web(), Ending::Exited(0));
        spawner.acknowledge(run(1));
        spawner.launch(FakeSpawner::launch_of(web(), run(2)), listener.reports());
        spawner.launch(FakeSpawner::launch_of(other.clone(), run(3)), listener.reports());
        spawner.signal(run(3), Signal::TERM, Whom::Main);
        assert_eq!(listener.heard(&spawner).await.len(), 5);
        spawner.forget();
        let launches: Vec<_> = spawner.launches().iter().map(|launch| launch.run.number).collect();
        assert_eq!((launches, spawner.signals()), (vec![2, 3], vec![]));
        assert_eq!((spawner.living_run(&web()), spawner.unacknowledged()), (Some(run(2)), vec![run(3)]));
        assert!(!spawner.adopt(run(1), listener.reports()));
        spawner.launch(FakeSpawner::launch_of(other, run(4)), listener.reports());
        assert_eq!(listener.heard(&spawner).await, [(4, launched(4))], "no process has the number of another");
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_caller_may_do_panics_there_and_when_the_test_ends() {
        type Offence = fn(&FakeSpawner);
        let nobody = || -> Reports { Arc::new(|_, _| {}) };
        let offences: [Offence; 3] = [
            |spawner| spawner.launch(FakeSpawner::launch_of(web(), run(2)), Arc::new(|_, _| {})),
            |spawner| spawner.launch(FakeSpawner::launch_of("other".parse().unwrap(), run(1)), Arc::new(|_, _| {})),
            |spawner| spawner.acknowledge(run(1)),
        ];
        for offence in offences {
            let spawner = FakeSpawner::new();
            spawner.launch(FakeSpawner::launch_of(web(), run(1)), nobody());
            assert!(catch_unwind(AssertUnwindSafe(|| offence(&spawner))).is_err());
            assert!(catch_unwind(AssertUnwindSafe(|| drop(spawner))).is_err());
        }
    }
}
