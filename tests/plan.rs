//! What a set of confs changes in what runs, as a table.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use daemonherder::model::{ServiceId, ServiceSpec, StderrTo};
use daemonherder::policy::{Action, Present, may_remove, plan};

fn spec() -> ServiceSpec {
    ServiceSpec::new("a".parse().unwrap(), "true")
}

fn with(change: impl Fn(&mut ServiceSpec)) -> ServiceSpec {
    let mut spec = spec();
    change(&mut spec);
    spec
}

/// The action for one service: present with a spec (and whether it is up), wanted with a spec.
fn act(present: Option<(Option<&ServiceSpec>, bool)>, wanted: Option<Option<&ServiceSpec>>, remove: bool) -> Action {
    let id: ServiceId = "a".parse().unwrap();
    let wanted = wanted.map(|spec| (id.clone(), spec)).into_iter().collect();
    let present = present.map(|(spec, up)| (id.clone(), Present { spec, leaving: false, up })).into_iter().collect();
    plan(&wanted, &present, remove)[&id]
}

#[test]
fn a_changed_conf_does_what_it_needs_and_no_more() {
    let old = spec();
    let disabled = with(|s| s.enabled = false);
    let named = with(|s| s.name = Some("b".to_owned()));
    let slower = with(|s| Arc::make_mut(&mut s.restart).intensity = 1);
    let patient = with(|s| s.stop.timeout = Duration::from_secs(1));
    let louder = with(|s| Arc::make_mut(&mut s.logs).keep = 3);
    let other = with(|s| s.process.args = vec!["x".to_owned()]);
    let other_disabled = with(|s| {
        s.process.args = vec!["x".to_owned()];
        s.enabled = false;
    });
    let stderr = with(|s| s.process.stderr = StderrTo::Separate);
    for (old, up, new, action) in [
        (&old, true, &old, Action::Keep),
        (&old, true, &named, Action::Adjust),
        (&old, true, &slower, Action::Adjust),
        (&old, true, &patient, Action::Adjust),
        (&old, true, &louder, Action::Adjust),
        (&old, true, &other, Action::Restart),
        (&old, true, &stderr, Action::Restart),
        (&old, false, &other, Action::Start),
        (&old, true, &disabled, Action::Stop),
        (&old, true, &other_disabled, Action::Stop),
        (&disabled, false, &old, Action::Start),
        (&disabled, false, &other, Action::Start),
        (&disabled, true, &old, Action::Adjust),
        (&disabled, true, &other, Action::Restart),
        (&disabled, false, &other_disabled, Action::Adjust),
        (&disabled, true, &other_disabled, Action::Restart),
    ] {
        assert_eq!(act(Some((Some(old), up)), Some(Some(new)), true), action, "{old:?} {up} {new:?}");
    }
}

#[test]
fn new_broken_and_lost_confs() {
    let (good, disabled) = (spec(), with(|s| s.enabled = false));
    let lives = Some((Some(&good), true));
    for (present, wanted, remove, action) in [
        (None, Some(Some(&good)), true, Action::Start),
        (None, Some(Some(&disabled)), true, Action::Hold),
        (None, Some(None), true, Action::Doubt),
        (Some((None, false)), Some(Some(&good)), true, Action::Start),
        (lives, Some(None), true, Action::Doubt),
        (lives, None, true, Action::Remove),
        (lives, None, false, Action::Spare),
        (Some((None, false)), None, false, Action::Remove),
    ] {
        assert_eq!(act(present, wanted, remove), action, "{present:?} {wanted:?} {remove}");
    }
}

#[test]
fn a_service_on_its_way_out_comes_back_with_its_conf() {
    let (id, good): (ServiceId, _) = ("a".parse().unwrap(), spec());
    let leaving = Present { spec: Some(&good), leaving: true, up: false };
    let present = BTreeMap::from([(id.clone(), leaving)]);
    assert_eq!(plan(&BTreeMap::from([(id.clone(), Some(&good))]), &present, true)[&id], Action::Start);
    assert_eq!(plan(&BTreeMap::new(), &present, true)[&id], Action::Leave);
}

#[test]
fn a_directory_that_looks_empty_stops_nothing() {
    assert!(may_remove(true, 1, false));
    assert!(!may_remove(true, 0, false), "an empty mount point");
    assert!(may_remove(true, 0, true), "confirmed by reload --prune");
    assert!(!may_remove(false, 9, true), "not read whole");
}
