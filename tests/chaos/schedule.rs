//! What is done, when, and to whom.

use std::fs;
use std::thread::{self, JoinHandle};

use fastrand::Rng;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::daemon::{Daemon, ask};
use crate::expected::{Kind, Service};
use crate::laws;
use crate::support::fixture;

/// Everything comes to rest after so many steps.
const REST: u64 = 20;
/// So often a herder is stopped, which takes ten seconds to be noticed.
const STILLNESS: u64 = 100;
/// The herd.
const HERD: [(Kind, usize); 6] =
    [(Kind::Calm, 6), (Kind::Plain, 6), (Kind::Deaf, 3), (Kind::Flooding, 2), (Kind::Tree, 4), (Kind::Crashing, 2)];

/// A schedule under way.
pub(crate) struct Schedule {
    random: Rng,
    daemon: Daemon,
    services: Vec<Service>,
    /// What was asked, of which service, and perhaps is not answered yet.
    asked: Vec<(usize, JoinHandle<()>)>,
    /// What was done since the last rest, for people whose test has failed.
    done: Vec<String>,
}

impl Schedule {
    pub(crate) fn new(seed: u64) -> Self {
        let services = HERD.iter().flat_map(|(kind, count)| (0..*count).map(|number| Service::new(*kind, number)));
        let mut random = Rng::with_seed(seed);
        let daemon = Daemon::new();
        // Trees are found by their cgroups, where there are any, or by who descends from whom.
        let cgroup = random.choice(["auto", "off"]).unwrap();
        fs::write(daemon.settings(), json!({ "cgroup": cgroup }).to_string()).unwrap();
        let schedule = Self { random, daemon, services: services.collect(), asked: Vec::new(), done: Vec::new() };
        schedule.services.iter().for_each(|service| schedule.write(service));
        schedule.daemon.start();
        schedule
    }

    pub(crate) fn run(&mut self, steps: u64) {
        self.rest();
        for step in 1..=steps {
            if step % STILLNESS == STILLNESS / 2 {
                self.still_herder()
            } else {
                self.step()
            }
            let document = self.daemon.document();
            self.hold(laws::always(self.daemon.mark(), &self.services));
            let told = laws::told(&document, &mut self.services);
            self.hold(told);
            if step % REST == 0 || step == steps {
                self.rest();
            }
        }
    }

    /// Fails where a law does not hold.
    fn hold(&self, law: Result<(), String>) {
        if let Err(broken) = law {
            panic!("{broken}\nsince the last rest: {}\n{}", self.done.join(", "), self.daemon.story());
        }
    }

    fn step(&mut self) {
        match self.random.u32(..100) {
            0..20 => self.kill_herder(),
            20..32 => self.kill_keeper(),
            32..39 => self.kill_both(),
            39..44 => self.pause_keeper(),
            44..68 => self.kill_service(),
            68..85 => self.order(),
            _ => self.change(),
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        let what = what.into();
        eprintln!("{what}");
        self.done.push(what);
    }

    // --- the daemon

    fn kill_herder(&mut self) {
        self.note("kill herder");
        if let Some(herder) = self.daemon.herder() {
            herder.kill();
            self.revive();
        }
    }

    fn kill_keeper(&mut self) {
        self.note("kill keeper");
        if let Some(keeper) = self.daemon.keeper() {
            keeper.kill();
            self.revive();
        }
    }

    /// Starts a daemon where it was the only process of the last one that was killed: one that took the place of a keeper,
    /// and had made no herder yet.
    fn revive(&mut self) {
        if self.daemon.is_gone() {
            self.note("that was the only one");
            self.daemon.start();
        }
    }

    /// Services may die, too, before there is a daemon again.
    fn kill_both(&mut self) {
        self.note("kill both");
        // Before it was answered no later daemon has to know of it: the process that it was about to end has died then.
        let open = self.asked.iter().filter(|(_, asked)| !asked.is_finished());
        open.for_each(|(index, _)| self.services[*index].doubtful += 1);
        self.daemon.kill_all();
        if self.random.bool() {
            self.kill_service();
        }
        self.daemon.start();
    }

    /// The herder and a service die while the keeper hears of nothing.
    fn pause_keeper(&mut self) {
        let Some(keeper) = self.daemon.keeper() else { return };
        self.note("pause keeper");
        keeper.send(Signal::SIGSTOP);
        keeper.stops();
        self.kill_service();
        self.kill_herder();
        keeper.send(Signal::SIGCONT);
    }

    /// A herder that neither works nor ends.
    fn still_herder(&mut self) {
        let (Some(keeper), Some(herder)) = (self.daemon.keeper(), self.daemon.herder()) else { return };
        if herder.parent != keeper.pid {
            // It is about to be the keeper, and there is none who could replace it.
            return;
        }
        self.note("stop herder");
        herder.send(Signal::SIGSTOP);
        herder.stops();
        self.kill_service();
    }

    // --- the services

    /// One of those that may be meddled with; of those only that are not busy, where that is asked.
    fn victim(&mut self, idle: bool) -> Option<usize> {
        let fair = |index: &usize| self.services[*index].is_fair_game() && !(idle && self.services[*index].busy);
        let victims: Vec<_> = (0..self.services.len()).filter(fair).collect();
        self.random.choice(victims)
    }

    fn kill_service(&mut self) {
        let Some(index) = self.victim(false) else { return };
        let id = self.services[index].id.clone();
        let families = laws::families(self.daemon.mark(), &self.services);
        // It may be down, or its process about to be made.
        let Some(main) = families.get(&id).and_then(|family| family.mains.first()) else { return };
        self.note(format!("kill {id} {}", main.pid));
        main.kill();
        self.services[index].killed();
    }

    /// Start, stop or restart, of which nobody waits for the result.
    fn order(&mut self) {
        let Some(index) = self.victim(true) else { return };
        let verb = self.random.choice(["start", "stop", "stop", "restart"]).unwrap();
        let service = &mut self.services[index];
        service.begun();
        service.up = verb != "stop";
        let path = format!("/v1/services/{}/{verb}", service.id);
        self.ask(index, path);
    }

    /// Another conf, which is read now, or by the next herder if the present one dies first.
    fn change(&mut self) {
        let Some(index) = self.victim(true) else { return };
        let service = &mut self.services[index];
        let id = service.id.clone();
        match self.random.u32(..4) {
            // Another process.
            0 => {
                service.version += 1;
                service.begun();
                service.up = true;
                self.note(format!("change {id}"));
                self.write(&self.services[index]);
            }
            // The same process, by another name.
            1 => {
                service.name += 1;
                self.note(format!("rename {id}"));
                self.write(&self.services[index]);
            }
            2 => {
                self.note(format!("touch {id}"));
                self.write(&self.services[index]);
            }
            _ => {
                self.note(format!("break {id}"));
                fs::write(self.daemon.conf(&id), "{\"cmd\": ").unwrap();
            }
        }
        self.ask(index, "/v1/reload".to_owned());
    }

    fn write(&self, service: &Service) {
        let conf = service.conf(fixture(), self.daemon.mark(), &self.daemon.work());
        let path = self.daemon.conf(&service.id);
        // By a rename, so that no herder reads half of it.
        let new = path.with_extension("new");
        fs::write(&new, conf.to_string()).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn ask(&mut self, index: usize, path: String) {
        self.note(path.clone());
        let socket = self.daemon.socket();
        // Who was asked may be killed before the answer; what became of it is seen at the next rest.
        self.asked.push((index, thread::spawn(move || drop(ask(&socket, "POST", &path, "")))));
    }

    // --- rest

    /// Waits until everything that was begun is over, and everything is as it shall be.
    fn rest(&mut self) {
        self.asked.drain(..).for_each(|(_, asked)| asked.join().unwrap());
        self.services.iter().for_each(|service| self.write(service));
        self.daemon.answer("POST", "/v1/reload", "");
        for service in self.services.iter().filter(|service| service.busy) {
            let verb = if service.up { "start" } else { "stop" };
            let path = format!("/v1/services/{}/{verb}", service.id);
            self.daemon.answer("POST", &path, "{\"wait\": false}");
        }
        let mut unrest = None;
        let document = self.daemon.until(|document| {
            let families = laws::families(self.daemon.mark(), &self.services);
            unrest = self.services.iter().find_map(|service| laws::unrest(document, &families, service));
            unrest.is_none().then(|| document.clone())
        });
        let document = document.ok_or_else(|| format!("there is no rest: {unrest:?}"));
        self.hold(document.as_ref().map(|_| ()).map_err(String::clone));
        let document = document.unwrap();
        let told = laws::told(&document, &mut self.services);
        self.hold(told);
        self.hold(laws::at_rest(&document, self.daemon.mark(), &self.services));
        for service in self.services.iter().filter(|service| service.kind == Kind::Crashing) {
            self.hold(laws::runs(&document, &self.daemon.work(), &service.id));
        }
        self.settle(&document);
    }

    fn settle(&mut self, document: &Value) {
        self.done.clear();
        for service in self.services.iter_mut().filter(|service| service.kind != Kind::Crashing) {
            let told = laws::of(document, &service.id).unwrap();
            service.pid = told["pid"].as_i64().map(|pid| pid.try_into().unwrap());
            service.restarts = told["restarts"].as_u64().unwrap();
            (service.kills, service.doubtful, service.busy) = (0, 0, false);
        }
    }
}
