//! The laws, as `/proc` shows whether they hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::expected::{Kind, Service, word};
use crate::processes::{self, Process};

/// The processes of a service.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) mains: Vec<Process>,
    pub(crate) kids: Vec<Process>,
}

/// The processes of all services that have any.
pub(crate) type Families = BTreeMap<String, Family>;

/// Every process of every service.
pub(crate) fn families(mark: &str, services: &[Service]) -> Families {
    let mut families = Families::new();
    for process in processes::named(&format!("{mark}:")) {
        let of = |service: &&Service| process.words.contains(&word(mark, &service.id));
        let Some(service) = services.iter().find(of) else { panic!("whose is {process:?}?") };
        let family = families.entry(service.id.clone()).or_default();
        if process.words.iter().any(|word| word == "kid") {
            family.kids.push(process)
        } else {
            family.mains.push(process)
        }
    }
    // The list is not made in a moment: who has ended meanwhile was perhaps over before another began.
    for family in families.values_mut().filter(|family| family.mains.len() > 1) {
        family.mains.retain(Process::lives);
    }
    families
}

/// What holds at every moment.
pub(crate) fn always(mark: &str, services: &[Service]) -> Result<(), String> {
    let families = families(mark, services);
    for service in services {
        let mains = families.get(&service.id).map(|family| family.mains.as_slice()).unwrap_or_default();
        if let [one, another, ..] = mains {
            return Err(format!("{} has two main processes: {one:?} and {another:?}", service.id));
        }
        let pid = mains.first().map(|main| main.pid);
        if service.pid.is_some() && pid != service.pid {
            return Err(format!("{} was left alone, and is not what it was: {pid:?}, {service:?}", service.id));
        }
    }
    Ok(())
}

/// What the daemon tells at any moment.
pub(crate) fn told(document: &Value, services: &mut [Service]) -> Result<(), String> {
    for service in services {
        let Some(told) = of(document, &service.id) else { continue };
        let restarts = told["restarts"].as_u64().unwrap();
        let most = service.restarts + service.kills + service.doubtful;
        if restarts < service.told || service.kind != Kind::Crashing && restarts > most {
            return Err(format!("restarts of {}: {restarts}, and not {}..={most}", service.id, service.told));
        }
        service.told = restarts;
    }
    Ok(())
}

/// A service in the document.
pub(crate) fn of<'d>(document: &'d Value, id: &str) -> Option<&'d Value> {
    document["services"].as_array()?.iter().find(|service| service["id"] == id)
}

/// Why a service has not come to rest yet.
pub(crate) fn unrest(document: &Value, families: &Families, service: &Service) -> Option<String> {
    if service.kind == Kind::Crashing {
        return None;
    }
    let Some(told) = of(document, &service.id) else { return Some(format!("{} is not there", service.id)) };
    let (least, restarts) = (service.restarts + service.kills, told["restarts"].as_u64().unwrap());
    let state = if service.up { "running" } else { "stopped" };
    // That of which the daemon has yet to hear is no rest.
    let mains = families.get(&service.id).map(|family| family.mains.as_slice()).unwrap_or_default();
    let known = mains.iter().map(|main| i64::from(main.pid)).eq(told["pid"].as_i64());
    let rests = told["state"] == state && restarts >= least && known;
    (!rests).then(|| format!("{} is not {state} with at least {least} restarts: {told}", service.id))
}

/// What holds at rest.
pub(crate) fn at_rest(document: &Value, mark: &str, services: &[Service]) -> Result<(), String> {
    for (id, family) in families(mark, services) {
        let told = of(document, &id).unwrap();
        let crashes = services.iter().any(|service| service.id == id && service.kind == Kind::Crashing);
        for process in family.mains.iter().chain(&family.kids).filter(|_| !crashes) {
            // None: it has just ended.
            let Some(run) = process.run() else { continue };
            // What KILL was sent to may need a moment to be gone.
            if told["run"] != run && !process.ends() {
                return Err(format!("{process:?} is of {run}, which is over: {told}"));
            }
        }
        if let (false, Some(main)) = (crashes, family.mains.first())
            && told["pid"] != main.pid
        {
            return Err(format!("the main process of {id} is {main:?}, and not {told}"));
        }
    }
    Ok(())
}

/// No run began twice, and each restart made one.
pub(crate) fn runs(document: &Value, work: &Path, id: &str) -> Result<(), String> {
    let text = fs::read_to_string(work.join(format!("{id}.runs"))).unwrap_or_default();
    let mut runs: Vec<_> = text.lines().collect();
    let count = runs.len();
    runs.sort_unstable();
    runs.dedup();
    let restarts = of(document, id).unwrap()["restarts"].as_u64().unwrap();
    if runs.len() != count || restarts > u64::try_from(count).unwrap() {
        return Err(format!("{id}: {restarts} restarts, {count} runs, {} of them by another id", runs.len()));
    }
    Ok(())
}
