//! Confs are read again when they change, however they do, and only what changed is touched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::herd::{Herd, sleeper, with};

/// A conf whose process shows which one it is.
fn numbered(number: u32) -> Value {
    json!({"cmd": "sleep", "args": [number.to_string()]})
}

/// The number that a service's process shows.
fn number(service: &Value) -> Option<u32> {
    let pid = service["pid"].as_i64().filter(|_| service["state"] == "running")?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    str::from_utf8(line.split(|byte| *byte == 0).nth(1)?).ok()?.parse().ok()
}

fn until_number(herd: &Herd, id: &str, expected: u32) -> Value {
    herd.until(id, "runs with its new conf", |service| number(service) == Some(expected))
}

fn replace(herd: &Herd, name: &str, text: &str) {
    fs::write(herd.path().join("new"), text).unwrap();
    fs::rename(herd.path().join("new"), herd.confs().join(name)).unwrap();
}

#[test]
fn a_file_is_followed_however_it_is_written() {
    let herd = Herd::of([("web", numbered(100_001)), ("calm", sleeper())]);
    let calm = herd.until_state("calm", "running")["pid"].clone();
    until_number(&herd, "web", 100_001);
    // Written over, replaced, a link to what another one replaces, and back to a file.
    fs::write(herd.confs().join("web.conf"), numbered(100_002).to_string()).unwrap();
    until_number(&herd, "web", 100_002);
    replace(&herd, "web.conf", &numbered(100_003).to_string());
    until_number(&herd, "web", 100_003);
    let versions = herd.confs().join("..versions");
    for number in [4, 5] {
        fs::create_dir_all(versions.join(number.to_string())).unwrap();
        let conf = numbered(100_000 + number).to_string();
        fs::write(versions.join(number.to_string()).join("web.conf"), conf).unwrap();
    }
    symlink("..versions/4", herd.confs().join("..data")).unwrap();
    symlink("..data/web.conf", herd.confs().join("link")).unwrap();
    fs::rename(herd.confs().join("link"), herd.confs().join("web.conf")).unwrap();
    until_number(&herd, "web", 100_004);
    symlink("..versions/5", herd.confs().join("..next")).unwrap();
    fs::rename(herd.confs().join("..next"), herd.confs().join("..data")).unwrap();
    until_number(&herd, "web", 100_005);
    fs::write(versions.join("5/web.conf"), numbered(100_006).to_string()).unwrap();
    until_number(&herd, "web", 100_006);
    // New ones come, and go.
    replace(&herd, "new.conf", &numbered(100_007).to_string());
    until_number(&herd, "new", 100_007);
    herd.remove("new");
    herd.until("new", "went", Value::is_null);
    assert_eq!(herd.service("calm")["pid"], calm);
}

#[test]
fn a_broken_file_changes_nothing_until_it_is_mended() {
    let mut herd = Herd::new();
    herd.file("web.conf", &numbered(100_001).to_string());
    herd.start();
    let pid = until_number(&herd, "web", 100_001)["pid"].clone();
    herd.file("web.conf", "{\n  \"cmd\": 7\n}");
    let web = herd.until("web", "shows the problem", |web| web["conf_problems"] != json!([]));
    assert_eq!((&web["pid"], &web["conf_problems"][0]["line"]), (&pid, &json!(2)));
    replace(&herd, "web.conf", &numbered(100_001).to_string());
    let web = herd.until("web", "is mended", |web| web["conf_problems"] == json!([]));
    assert_eq!(web["pid"], pid);
}

#[test]
fn settings_and_the_directory_itself_are_followed() {
    let herd = Herd::of([("web", numbered(100_001)), ("other", sleeper())]);
    until_number(&herd, "web", 100_001);
    herd.file("herder.json", "{\"defaults\": {\"restart\": {\"intensity\": 9}}}");
    herd.until("web", "follows the settings", |web| web["window"]["intensity"] == 9);
    // Another directory in its place, as a deployment makes it.
    let next = herd.path().join("next");
    fs::create_dir(&next).unwrap();
    fs::write(next.join("web.conf"), numbered(100_002).to_string()).unwrap();
    fs::rename(herd.confs(), herd.path().join("old")).unwrap();
    fs::rename(&next, herd.confs()).unwrap();
    until_number(&herd, "web", 100_002);
    herd.until("other", "went", Value::is_null);
    // And what happens in that one is told.
    replace(&herd, "web.conf", &numbered(100_003).to_string());
    until_number(&herd, "web", 100_003);
}

#[test]
fn changes_that_follow_each_other_are_one() {
    let herd = Herd::of([("web", sleeper())]);
    herd.until_state("web", "running");
    for number in 0..200 {
        replace(&herd, &format!("s{number:03}.conf"), &with(sleeper(), json!({"enabled": false})).to_string());
        replace(&herd, "web.conf", &numbered(100_000 + number).to_string());
    }
    until_number(&herd, "web", 100_199);
    // Each of them by itself would have been a run of its own.
    let run = herd.service("web")["run"].as_str().unwrap().rsplit('-').next().unwrap().parse::<u32>().unwrap();
    assert!(run < 100, "{run} runs for 200 changes");
}

/// What should run of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    /// The number of its last good conf. Of several edits in a row the daemon may have seen each or none, so that a broken file
    /// may leave the one or the other, or none.
    good: Vec<Option<u32>>,
    broken: bool,
}

type Model = BTreeMap<String, Wanted>;

/// One edit. `gone` is what those that are removed meanwhile may still run.
fn edit(
    random: &mut fastrand::Rng,
    herd: &Herd,
    model: &mut Model,
    gone: &mut BTreeMap<String, Vec<Option<u32>>>,
    numbers: &mut u32,
) {
    let id = format!("s{}", random.u32(0..12));
    let path = herd.confs().join(format!("{id}.conf"));
    *numbers += 1;
    let known = model.get(&id).cloned();
    let ever = known.iter().flat_map(|known| known.good.clone()).chain(known.is_none().then_some(None));
    let ever: Vec<_> = ever.chain(gone.get(&id).into_iter().flatten().copied()).collect();
    let write = |random: &mut fastrand::Rng, text: &str| match random.u32(0..3) {
        0 => fs::write(&path, text).unwrap(),
        1 => replace(herd, &format!("{id}.conf"), text),
        _ => {
            let aside = herd.confs().join(".edited");
            fs::write(&aside, text).unwrap();
            let _ = fs::remove_file(&path);
            fs::hard_link(&aside, &path).unwrap();
            fs::remove_file(aside).unwrap();
        }
    };
    match random.u32(0..10) {
        0..5 => {
            write(random, &numbered(*numbers).to_string());
            gone.entry(id.clone()).or_default().extend(ever);
            model.insert(id, Wanted { good: vec![Some(*numbers)], broken: false });
        }
        5 => {
            // The same in other words.
            if let Some(Wanted { good, broken: false }) = known {
                write(random, &format!("// {numbers}\n{:#}", numbered(good[0].unwrap())));
            }
        }
        6 => {
            write(random, "{\"cmd\": ");
            model.insert(id, Wanted { good: ever, broken: true });
        }
        7 => {
            let _ = fs::remove_file(&path);
            gone.entry(id.clone()).or_default().extend(ever);
            model.remove(&id);
        }
        8 => {
            // A copy of all in the place of the directory.
            let (next, old) = (herd.path().join("next"), herd.path().join(format!("old-{numbers}")));
            fs::create_dir(&next).unwrap();
            for entry in fs::read_dir(herd.confs()).unwrap() {
                let from = entry.unwrap().path();
                fs::copy(&from, next.join(from.file_name().unwrap())).unwrap();
            }
            fs::rename(herd.confs(), &old).unwrap();
            fs::rename(next, herd.confs()).unwrap();
        }
        _ => {
            let now = fs::FileTimes::new().set_modified(std::time::SystemTime::now());
            fs::File::options().append(true).open(herd.confs().join("anchor.conf")).unwrap().set_times(now).unwrap();
        }
    }
}

/// Whether the herd is as the model wants it; the pid of each that runs, and its number.
fn agrees(herd: &Herd, model: &Model) -> Result<BTreeMap<String, (Value, Option<u32>)>, String> {
    let document = herd.document();
    let services = document["services"].as_array().unwrap();
    let mut pids = BTreeMap::new();
    if services.len() != model.len() + 1 {
        return Err(format!("{} services", services.len()));
    }
    for service in services {
        let id = service["id"].as_str().unwrap();
        if id == "anchor" {
            pids.insert(id.to_owned(), (service["pid"].clone(), None));
            continue;
        }
        let wanted = model.get(id).ok_or_else(|| id.to_owned())?;
        let (is_broken, number) = (service["conf_problems"] != json!([]), number(service));
        if is_broken != wanted.broken || !wanted.good.contains(&number) {
            return Err(format!("{id} is {service}, and not {wanted:?}"));
        }
        pids.insert(id.to_owned(), (service["pid"].clone(), number));
    }
    Ok(pids)
}

fn settled(herd: &Herd, model: &Model) -> BTreeMap<String, (Value, Option<u32>)> {
    let deadline = std::time::Instant::now() + crate::waiting::WATCHDOG;
    loop {
        match agrees(herd, model) {
            Ok(pids) => return pids,
            Err(why) => assert!(std::time::Instant::now() < deadline, "{why}\n{model:#?}\n{}", herd.log()),
        }
    }
}

#[test]
fn five_hundred_random_edits_end_where_a_model_says() {
    let seed = std::env::var("LIVE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("LIVE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let herd = Herd::of([("anchor", sleeper())]);
    let (mut model, mut numbers, mut edits) = (Model::new(), 100_000, 0);
    let mut before = settled(&herd, &model);
    while edits < 500 {
        let (old, mut gone) = (model.clone(), BTreeMap::new());
        let more = random.u32(1..12);
        (0..more).for_each(|_| edit(&mut random, &herd, &mut model, &mut gone, &mut numbers));
        edits += more;
        let now = settled(&herd, &model);
        for (id, (pid, number)) in &now {
            // Nothing was written of it but the same in other words.
            let same = id == "anchor" || !gone.contains_key(id) && old.get(id) == model.get(id);
            if let (true, Some((earlier, _))) = (same, before.get(id)) {
                assert_eq!(pid, earlier, "{id} was not touched: {}", herd.log());
            }
            model.entry(id.clone()).and_modify(|wanted| wanted.good = vec![*number]);
        }
        before = now;
    }
    assert!(herd.confs().join("anchor.conf").exists());
    assert_eq!(herd.service("anchor")["restarts"], 0);
}
