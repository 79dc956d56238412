//! The herder's end of the line: a spawner whose processes are the keeper's.

mod desk;
mod output;
#[cfg(test)]
mod tests;
mod upgrade;

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc};

use super::frames;
use super::heritage;
use super::inherit::{Inheritance, Inherited, Line};
use super::notes::Notes;
use super::wire::{self, Act, Incoming, Outgoing, Request, Tell};
use desk::{Desk, Known, Listener, Sent};
use output::Outlets;

use crate::bus::Happening;
use crate::logs::{Pump, Word};
use crate::model::{Ending, LaunchError, Net, Origin, RunId, ServiceId, ServiceSpec, Signal, Stage, StopScope};
use crate::os::{FIRST_GIVEN, Witness};
use crate::process::{Kept, Launch, Logged, Memo, Report, Reports, Spawner, Whom};

/// How long is waited for the journal of notes.
const PATIENCE: Duration = Duration::from_secs(2);
/// How old what the journal tells may be while a herd ends: a thousand processes that are to end need the processors, and once
/// they have there is nothing left to be written.
const NOTES_REST: Duration = Duration::from_millis(200);
/// How much is said at once where there is more to say.
const PACKET: usize = 8 << 10;
/// Where a herder finds the control listener among its descriptors.
pub(crate) const LISTENER: i32 = FIRST_GIVEN + 1;
/// Where it finds the lock.
pub(crate) const LOCK: i32 = FIRST_GIVEN + 2;
/// Where it finds both ends of the shelf.
pub(crate) const SHELF: [i32; 2] = [FIRST_GIVEN + 3, FIRST_GIVEN + 4];
/// From this number on it holds processes, when it becomes a keeper.
pub(crate) const WITNESSES: i32 = FIRST_GIVEN + 5;

/// What somebody asked of the daemon by a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Read the confs.
    Reload,
    /// There is no keeper any more.
    KeeperGone,
    /// Something has happened to the output of a service, which its watchers should know.
    Log(ServiceId, Happening),
}

/// A spawner whose processes are the keeper's.
#[derive(Clone)]
pub(crate) struct Client {
    desk: Rc<RefCell<Desk>>,
    stream: Rc<UnixStream>,
    wake: Rc<Notify>,
    /// Everything has been said, or nobody hears any more.
    said: Rc<Notify>,
    net: Rc<Cell<Net>>,
    outlets: Rc<RefCell<Outlets>>,
    /// Called as soon as it is heard that the herd shall end.
    on_end: Rc<OnceCell<Box<dyn Fn()>>>,
}

impl Client {
    /// A spawner on the current thread, and what is asked of the daemon by way of its keeper.
    ///
    /// # Errors
    /// The runtime can't watch the line.
    ///
    /// # Panics
    /// Outside a tokio `LocalSet`.
    pub(crate) fn start(
        line: Line,
        inheritance: &Inheritance,
        notes: Option<Notes>,
        output: Option<(Pump, mpsc::UnboundedReceiver<Word>)>,
    ) -> io::Result<(Self, mpsc::UnboundedReceiver<Wish>)> {
        let Line { stream, incoming, heard } = line;
        stream.set_nonblocking(true)?;
        let stream = Rc::new(UnixStream::from_std(stream)?);
        let known = |service: &Inherited| {
            let service = service.service.clone();
            move |run: &RunId| (*run, Known::new(service.clone(), Listener::Nobody(Vec::new())))
        };
        let services = &inheritance.services;
        let desk = Desk {
            outgoing: Outgoing::default(),
            step: None,
            heard,
            said_heard: 0,
            runs: services.iter().flat_map(|service| service.runs.iter().map(known(service))).collect(),
            notes,
            unwritten: Vec::new(),
            spent: Vec::new(),
            ending: false,
            postpones: false,
            answers: false,
            upgraded: inheritance.upgraded.clone(),
            upgrading: None,
        };
        let (pump, words) = output.unzip();
        let client = Self {
            desk: Rc::new(RefCell::new(desk)),
            stream,
            wake: Rc::new(Notify::new()),
            said: Rc::default(),
            net: Rc::new(Cell::new(Net::Subreaper)),
            outlets: Rc::new(RefCell::new(Outlets::new(pump))),
            on_end: Rc::default(),
        };
        let (wish, wishes) = mpsc::unbounded_channel();
        if let Some(words) = words {
            let wish = wish.clone();
            // Whoever listened has gone with the daemon.
            let tell = move |service, what| _ = wish.send(Wish::Log(service, what));
            tokio::task::spawn_local(client.clone().hear_of_output(words, tell));
        }
        tokio::task::spawn_local(client.clone().converse(incoming, wish));
        client.wake.notify_one();
        Ok((client, wishes))
    }

    /// Says what is to be done as soon as it is heard that the herd shall end, before anything is told that may have come of it.
    /// The first one to say so is heard, and nothing is before the caller waits for something.
    pub(crate) fn on_end(&self, act: impl Fn() + 'static) {
        _ = self.on_end.set(Box::new(act));
    }

    /// The herder has taken over what runs, and answers.
    pub(crate) fn ready(&self) {
        self.say(&Request::Ready);
        self.desk.borrow_mut().hold_all();
    }

    /// Writes no more for a next life to find: the herd has ended as it should.
    pub(crate) fn close_notes(&self) {
        drop(self.desk.borrow_mut().notes.take());
    }

    /// Writes all that services have written, for a process that is about to end.
    pub(crate) fn finish_output(&self) {
        self.outlets.borrow().finish();
    }

    /// Writes what is to be found by a next life, for a process that is about to become another one.
    pub(crate) fn flush(&self) {
        self.finish_output();
        self.desk.borrow_mut().write_down();
        if let Some(notes) = &self.desk.borrow().notes
            && let Err(error) = notes.flush_blocking(PATIENCE)
        {
            log::error!("what the services do is not all written: {error}");
        }
    }

    /// The descriptors by which the next keeper can tell how runs ended that nobody has heard of. To be left open over the exec
    /// that makes a keeper of this process.
    pub(crate) fn witnesses(&self) -> Vec<RawFd> {
        self.desk.borrow().runs.values().filter_map(|known| known.witness.as_ref()).map(Witness::number).collect()
    }

    /// The herd has ended, and so shall the keeper. Comes back once that is said.
    pub(crate) async fn over(&self, left: bool) {
        self.say(&Request::Over { left });
        self.said.notified().await;
    }

    fn say(&self, request: &Request) {
        let mut desk = self.desk.borrow_mut();
        desk.close();
        desk.outgoing.push(request);
        self.wake.notify_one();
    }

    /// Something is done in the step of a run's service.
    fn act(&self, run: RunId, act: Act) {
        let mut desk = self.desk.borrow_mut();
        let Some(service) = desk.runs.get(&run).map(|known| known.service.clone()) else { return };
        desk.step(&service).acts.push(act);
        self.wake.notify_one();
    }

    /// Says what there is to say and hears what there is to hear, until the keeper has gone.
    async fn converse(self, mut incoming: Incoming, wish: mpsc::UnboundedSender<Wish>) {
        // What came with the beginning.
        let mut there = self.hear_all(&mut incoming, &wish);
        while there {
            let unsent = !self.desk.borrow().outgoing.unsent().is_empty();
            tokio::select! {
                ready = self.stream.readable() => {
                    there = ready.is_ok() && self.hear(&self.stream, &mut incoming, &wish);
                    // What the services make of it is said together with its having been heard: the keeper wakes up once.
                    after_others().await;
                }
                () = self.wake.notified() => {}
                // An error is told by reading, too.
                _ = self.stream.writable(), if unsent => {}
            }
            self.speak(&self.stream);
        }
        self.said.notify_one();
        // Whoever listened has gone with the daemon.
        let _ = wish.send(Wish::KeeperGone);
    }

    /// Hears what is there; false once the keeper has gone.
    fn hear(&self, stream: &UnixStream, incoming: &mut Incoming, wish: &mpsc::UnboundedSender<Wish>) -> bool {
        match incoming.read(&mut TryRead(stream)) {
            Ok(0) => false,
            Ok(_) => self.hear_all(incoming, wish),
            Err(error) => error.kind() == io::ErrorKind::WouldBlock || error.kind() == io::ErrorKind::Interrupted,
        }
    }

    /// Hears all that is whole; false if it is not from a keeper.
    fn hear_all(&self, incoming: &mut Incoming, wish: &mpsc::UnboundedSender<Wish>) -> bool {
        loop {
            match incoming.next() {
                Ok(Some(tell)) => self.take(tell, wish),
                Ok(None) => break,
                Err(error) => {
                    log::error!("the keeper says what it can't say: {error}");
                    return false;
                }
            }
        }
        incoming.rest();
        true
    }

    fn take(&self, tell: Tell, wish: &mpsc::UnboundedSender<Wish>) {
        self.desk.borrow_mut().heard += 1;
        match tell {
            Tell::Report(run, report) => match report.try_into() {
                Ok(report) => self.report(run.into(), report),
                Err(error) => log::error!("of {:?} the keeper says what it can't say: {error}", RunId::from(run)),
            },
            // Whoever listened has gone with the daemon.
            Tell::Leaves(leaves) => self.net.set(if leaves { Net::Cgroup } else { Net::Subreaper }),
            Tell::Shutdown => {
                // All that is heard from here on may come of it: the keeper asks services itself.
                self.desk.borrow_mut().ending = true;
                self.on_end.get().into_iter().for_each(|on_end| on_end());
            }
            Tell::Reload => _ = wish.send(Wish::Reload),
            Tell::Upgraded(outcome) => self.hear_of_upgrade(outcome),
            Tell::Line { error: true, text } => log::error!("{text}"),
            Tell::Line { error: false, text } => log::info!("{text}"),
            Tell::Ping | Tell::Slot(_) | Tell::Welcome(_) => {}
        }
    }

    /// Has the keeper make a launch of which all is known.
    fn hand_over(&self, launch: Launch) {
        let run = launch.run;
        // What was sent before now has reached nobody.
        self.desk.borrow_mut().runs.get_mut(&run).into_iter().for_each(|known| known.sent = Sent::Nothing);
        match frames::launch(launch) {
            Ok(launch) => self.act(run, Act::Launch(Box::new(launch))),
            Err(error) => self.later(run, Report::Ended(Ending::NotLaunched(error))),
        }
    }

    /// Reports what the keeper will not report, but not from within the present call.
    fn later(&self, run: RunId, report: Report) {
        let this = self.clone();
        tokio::task::spawn_local(async move { this.report(run, report) });
    }

    fn report(&self, run: RunId, report: Report) {
        if let Report::Ended(ending) = report
            && let Some(service) = self.desk.borrow().runs.get(&run).map(|known| known.service.clone())
        {
            let is_farewell = self.desk.borrow().ending;
            self.outlets.borrow_mut().ended(&service, ending, is_farewell);
        }
        let mut desk = self.desk.borrow_mut();
        let answers = desk.answers;
        let listener = match desk.runs.get_mut(&run) {
            Some(known) => {
                if let Report::Launched { pid } = report {
                    known.hold(pid, answers);
                }
                match &mut known.listener {
                    Listener::Somebody(listener) => Reports::clone(listener),
                    Listener::Nobody(reports) => return reports.push(report),
                }
            }
            None => return,
        };
        drop(desk);
        // It may call back, so nothing is borrowed here.
        listener(run, report);
    }

    /// Writes as much as there is room for.
    fn speak(&self, stream: &UnixStream) {
        let mut desk = self.desk.borrow_mut();
        desk.close();
        if desk.heard != desk.said_heard {
            desk.said_heard = desk.heard;
            let heard = Request::Heard(desk.heard);
            desk.outgoing.push(&heard);
        }
        let said = !desk.outgoing.unsent().is_empty();
        desk.send(stream);
        if said {
            // The keeper was woken on this processor, since whoever says something is about to wait as a rule. It is waited
            // for, and what is still to be done here is not.
            std::thread::yield_now();
        }
        if !desk.postpones {
            desk.write_down();
        }
        desk.dismiss();
        if desk.outgoing.unsent().is_empty() {
            self.said.notify_waiters();
        }
    }
}

impl Spawner for Client {
    fn keep(&self, service: &ServiceId, memo: Memo<'_>) {
        let mut desk = self.desk.borrow_mut();
        let Origin { conf, settings } = memo.origin;
        let texts = (!memo.same_origin).then(|| (conf.to_string(), settings.to_string()));
        let note = (memo.note)();
        desk.unwritten.push((service.clone(), note.clone(), heritage::texts(memo.origin)));
        let (stop, restarts, unasked) = (memo.stop.into(), memo.restarts, memo.unasked);
        desk.open(service).memo = Some(wire::Memo { stop, note, restarts, unasked, texts });
        if desk.outgoing.unsent().len() >= PACKET {
            // Of a thousand steps in one turn the first ones are done while the last ones are still thought about.
            desk.send(&self.stream);
        }
        self.wake.notify_one();
    }

    fn forget(&self, service: &ServiceId) {
        let mut desk = self.desk.borrow_mut();
        desk.write_down();
        if let Some(notes) = &desk.notes {
            notes.remove(service);
        }
        drop(desk);
        self.outlets.borrow_mut().forget(service);
        self.say(&Request::Forget(service.to_string()));
    }

    fn ending(&self) {
        let mut desk = self.desk.borrow_mut();
        (desk.ending, desk.postpones) = (true, true);
        drop(desk);
        self.say(&Request::Ending);
        let desk = Rc::downgrade(&self.desk);
        tokio::task::spawn_local(async move {
            tokio::time::sleep_until(tokio::time::Instant::now() + NOTES_REST).await;
            if let Some(desk) = desk.upgrade() {
                let mut desk = desk.borrow_mut();
                desk.postpones = false;
                desk.write_down();
            }
        });
    }

    fn leaving(&self) {
        self.say(&Request::Leaving);
    }

    fn kept(&self) -> Kept {
        let mut desk = self.desk.borrow_mut();
        desk.write_down();
        let written = desk.notes.as_ref().map(Notes::written);
        Box::pin(async move {
            let Some(written) = written else { return };
            match tokio::time::timeout(PATIENCE, written).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::warn!("what was asked for holds while a process of this daemon lives: {error}"),
                Err(_) => log::warn!("what was asked for holds while a process of this daemon lives: the disk hangs"),
            }
        })
    }

    fn launch(&self, launch: Launch, reports: Reports) {
        let (run, service) = (launch.run, launch.service.clone());
        let known = Known::new(service.clone(), Listener::Somebody(Reports::clone(&reports)));
        self.desk.borrow_mut().runs.insert(run, known);
        let launch = self.outlets.borrow_mut().direct(launch);
        match launch {
            Some(launch) => self.hand_over(launch),
            None => self.give_up_later(service, run),
        }
    }

    fn log(&self, spec: &ServiceSpec) {
        self.outlets.borrow_mut().log(spec);
    }

    fn logged(&self, service: &ServiceId) -> Option<Logged> {
        self.outlets.borrow().logged(service)
    }

    fn settled(&self, service: &ServiceId) -> Kept {
        self.outlets.borrow().settled(service)
    }

    fn signal_together(&self, signals: &[(RunId, Signal)]) -> bool {
        let mut desk = self.desk.borrow_mut();
        let mut told = Vec::with_capacity(signals.len());
        for (run, signal) in signals {
            // One that has it already is known to have it here before it is known to whoever asks.
            if let Some(known) = desk.runs.get_mut(run).filter(|known| known.sent != Sent::ByItself(*signal)) {
                known.sent = Sent::Together(*signal);
                told.push(((*run).into(), frames::signal_number(*signal)));
            }
        }
        drop(desk);
        self.say(&Request::Signals(told));
        true
    }

    fn signal(&self, run: RunId, signal: Signal, whom: Whom) {
        let (mut service, mut is_sent) = (None, false);
        if let Some(known) = self.desk.borrow_mut().runs.get_mut(&run) {
            service = Some(known.service.clone());
            is_sent = whom == Whom::Main && known.sent.settle(signal);
        }
        if service.is_some_and(|service| self.outlets.borrow_mut().cancel(&service, run)) {
            // There is no process yet, and now there will be none.
            let cancelled = LaunchError { stage: Stage::Fork, errno: libc::ECANCELED };
            return self.later(run, Report::Ended(Ending::NotLaunched(cancelled)));
        }
        if is_sent {
            return;
        }
        let tree = matches!(whom, Whom::Tree);
        self.act(run, Act::Signal { run: run.into(), signal: frames::signal_number(signal), tree });
    }

    fn rescope(&self, run: RunId, scope: StopScope) {
        self.act(run, Act::Rescope { run: run.into(), tree: frames::is_tree(scope) });
    }

    fn adopt(&self, run: RunId, reports: Reports) -> bool {
        let mut desk = self.desk.borrow_mut();
        let Some(known) = desk.runs.get_mut(&run) else { return false };
        let told = std::mem::replace(&mut known.listener, Listener::Somebody(Reports::clone(&reports)));
        if let Listener::Nobody(told) = told {
            drop(desk);
            // The listener only passes them on: this is not from within its own call.
            told.into_iter().for_each(|report| reports(run, report));
        }
        true
    }

    fn acknowledge(&self, run: RunId) {
        self.act(run, Act::Acknowledge(run.into()));
        self.desk.borrow_mut().forget(run);
    }

    fn net(&self) -> Net {
        self.net.get()
    }

    fn examine(&self, run: RunId) {
        self.act(run, Act::Examine(run.into()));
    }
}

/// Comes back once every task that is ready now has had its turn.
async fn after_others() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Reads without waiting.
struct TryRead<'a>(&'a UnixStream);

impl Read for TryRead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}
