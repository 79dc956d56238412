//! A thousand services in one daemon.

use serde_json::json;

use crate::herd::{Herd, sleeper};

#[test]
fn a_thousand_services_start_answer_and_stop() {
    let mut herd = Herd::new();
    for number in 0..1000 {
        herd.conf(&format!("s{number:03}"), &sleeper());
    }
    herd.start();
    herd.done("start --all --settle 1ms");
    let document = herd.document();
    let services = document["services"].as_array().unwrap();
    assert_eq!(services.len(), 1000);
    assert!(services.iter().all(|service| service["state"] == "running" && service["restarts"] == json!(0)));
    assert_eq!(herd.done("status").out.lines().count(), 1001);
    assert_eq!(herd.done("reload").out, "unchanged  1000\n");
    herd.done("stop s00*");
    assert_eq!(herd.service("s007")["state"], "stopped");
    assert_eq!(herd.end(), Some(0));
}
