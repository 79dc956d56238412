//! The output of services in the daemon: their processes write to FIFOs, which a thread of the herder empties into files.
//!
//! A service is launched once its FIFOs are there; then they stay, and no later launch waits.

use std::collections::HashMap;
use std::sync::Arc;

use super::Client;
use crate::bus::Happening;
use crate::logs::{Outputs, Pipes, Pump, Tally, Told, Word};
use crate::model::{Ending, LaunchError, LogFormat, LogTarget, RunId, ServiceId, ServiceSpec, Stage, StderrTo};
use crate::process::{Kept, LAUNCH_LIMIT, Launch, Logged, Report, Sink};

/// What there is to know of the services' output. Without a thread their processes write files themselves.
pub(super) struct Outlets {
    pump: Option<Pump>,
    services: HashMap<ServiceId, Outlet>,
}

struct Outlet {
    outputs: Outputs,
    tally: Arc<Tally>,
    pipes: State,
    /// A launch that waits for them.
    waiting: Option<Box<Launch>>,
    /// The next run has none. The present one still writes to them.
    leaving: bool,
}

enum State {
    Opening,
    Open(Pipes),
    /// They could not be made, or a process did not find them: the next launch has them made.
    Missing,
}

impl Outlets {
    pub(super) fn new(pump: Option<Pump>) -> Self {
        Self { pump, services: HashMap::new() }
    }

    /// What a conf says of a service's output.
    pub(super) fn log(&mut self, spec: &ServiceSpec) {
        let Some(pump) = &self.pump else { return };
        if spec.process.output == LogTarget::Null {
            self.services.get_mut(&spec.id).into_iter().for_each(|outlet| outlet.leaving = true);
            return;
        }
        let separate = spec.process.stderr == StderrTo::Separate;
        let outputs = Outputs { separate, spec: Arc::clone(&spec.logs) };
        let outlet = self.services.entry(spec.id.clone()).or_insert_with(|| Outlet {
            outputs: outputs.clone(),
            tally: Arc::default(),
            pipes: State::Missing,
            waiting: None,
            leaving: false,
        });
        outlet.leaving = false;
        if outlet.outputs != outputs || matches!(outlet.pipes, State::Missing) {
            outlet.outputs = outputs;
            open(pump, &spec.id, outlet);
        }
    }

    pub(super) fn forget(&mut self, service: &ServiceId) {
        if let (Some(pump), Some(_)) = (&self.pump, self.services.remove(service)) {
            pump.forget(service.clone());
        }
    }

    /// The launch, as it is to be made now; none while it waits.
    pub(super) fn direct(&mut self, mut launch: Launch) -> Option<Launch> {
        let Some(pump) = &self.pump else { return Some(launch) };
        if self.services.get(&launch.service).is_some_and(|outlet| outlet.leaving) {
            self.forget(&launch.service);
            return Some(launch);
        }
        let Some(outlet) = self.services.get_mut(&launch.service) else { return Some(launch) };
        match &outlet.pipes {
            State::Open(pipes) => {
                redirect(&mut launch, pipes);
                return Some(launch);
            }
            State::Opening => {}
            State::Missing => open(pump, &launch.service, outlet),
        }
        outlet.waiting = Some(Box::new(launch));
        None
    }

    /// Takes back a launch that waits: there will be none.
    pub(super) fn cancel(&mut self, service: &ServiceId, run: RunId) -> bool {
        let waiting = self.services.get_mut(service).map(|outlet| &mut outlet.waiting);
        waiting.is_some_and(|waiting| waiting.take_if(|launch| launch.run == run).is_some())
    }

    /// A run has ended, unless that is the end of all of them of the kind that nobody looks back at.
    pub(super) fn ended(&mut self, service: &ServiceId, ending: Ending, is_farewell: bool) {
        let Some(pump) = &self.pump else { return };
        let Some(outlet) = self.services.get_mut(service) else { return };
        if let Ending::NotLaunched(LaunchError { stage: Stage::Stdio, .. }) = ending {
            // Somebody has removed a FIFO.
            outlet.pipes = State::Missing;
        } else if !is_farewell || outlet.outputs.spec.format != LogFormat::Raw {
            pump.ended(service.clone());
        }
    }

    /// A service's FIFOs are there or not: the launch that waited for them, or what is to be told of it.
    fn opened(&mut self, service: &ServiceId, result: Result<Pipes, i32>) -> Option<(Launch, Result<(), LaunchError>)> {
        let outlet = self.services.get_mut(service)?;
        let waiting = outlet.waiting.take().map(|launch| *launch);
        match result {
            Ok(pipes) => {
                let launch = waiting.map(|mut launch| {
                    redirect(&mut launch, &pipes);
                    (launch, Ok(()))
                });
                outlet.pipes = State::Open(pipes);
                launch
            }
            Err(errno) => {
                outlet.pipes = State::Missing;
                waiting.map(|launch| (launch, Err(LaunchError { stage: Stage::Stdio, errno })))
            }
        }
    }

    pub(super) fn logged(&self, service: &ServiceId) -> Option<Logged> {
        let tally = &self.services.get(service)?.tally;
        let (bytes, dropped, pipe) = (tally.bytes(), tally.dropped(), tally.pipe());
        Some(Logged { bytes, dropped, pipe, last_words: tally.last_words(), trouble: tally.trouble() })
    }

    pub(super) fn settled(&self, service: &ServiceId) -> Kept {
        let settled = self.pump.as_ref().map(|pump| pump.settled(service.clone()));
        Box::pin(async move {
            if let Some(settled) = settled {
                // A disk that hangs keeps nobody from an answer.
                let _ = tokio::time::timeout(super::PATIENCE, settled).await;
            }
        })
    }

    /// Writes what is left, for a process that is about to end or to become another one.
    pub(super) fn finish(&self) {
        if let Some(pump) = &self.pump {
            pump.finish();
        }
    }
}

fn open(pump: &Pump, service: &ServiceId, outlet: &mut Outlet) {
    outlet.pipes = State::Opening;
    pump.follow(service.clone(), outlet.outputs.clone(), Arc::clone(&outlet.tally));
}

fn redirect(launch: &mut Launch, pipes: &Pipes) {
    if let Sink::File(_) = launch.output.stdout {
        launch.output.stdout = Sink::Fifo(pipes.output.clone());
    }
    if let (Some(Sink::File(_)), Some(errors)) = (&launch.output.stderr, &pipes.errors) {
        launch.output.stderr = Some(Sink::Fifo(errors.clone()));
    }
}

impl Client {
    /// Hears what the thread of the streams has to say; what people should know goes to `tell`.
    pub(super) async fn hear_of_output(
        self,
        mut words: tokio::sync::mpsc::UnboundedReceiver<Word>,
        tell: impl Fn(ServiceId, Happening),
    ) {
        while let Some(word) = words.recv().await {
            match word {
                Word::Opened(service, result) => {
                    let opened = self.outlets.borrow_mut().opened(&service, result);
                    match opened {
                        Some((launch, Ok(()))) => self.hand_over(launch),
                        Some((launch, Err(error))) => {
                            self.report(launch.run, Report::Ended(Ending::NotLaunched(error)));
                        }
                        None => {}
                    }
                }
                Word::Told(service, Told::Trouble(why)) => tell(service, Happening::OutputStuck { why }),
                Word::Told(service, Told::Over { dropped }) => tell(service, Happening::OutputGoesOn { dropped }),
            }
        }
    }

    /// Gives up a launch whose FIFOs are not there after a launch's time: the disk hangs.
    pub(super) fn give_up_later(&self, service: ServiceId, run: RunId) {
        let this = self.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep_until(tokio::time::Instant::now() + LAUNCH_LIMIT).await;
            if this.outlets.borrow_mut().cancel(&service, run) {
                let error = LaunchError { stage: Stage::Stdio, errno: libc::ETIMEDOUT };
                this.report(run, Report::Ended(Ending::NotLaunched(error)));
            }
        });
    }
}
