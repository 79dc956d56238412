//! What the door answers: documents, results, plans, problems.

use std::io::Write;

use serde_json::{Value, json};

use crate::fake_herder::Door;
use crate::{Answer, ask, connect, read_answer};

#[test]
fn what_is_told_to_whom_less_is_enough_is_a_part_of_all() {
    let door = Door::open(&["running-web", "dies", "idle"]);
    // One that has an end behind it.
    ask(&door, "POST", "/v1/services/dies/start", r#"{"settle_ms": 60000}"#);
    let all = ask(&door, "GET", "/v1/services", "").json();
    let mut stream = connect(&door.socket());
    let wish = "prefer: respond-async, return=minimal\r\n";
    write!(stream, "GET /v1/services HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{wish}\r\n").unwrap();
    let some = read_answer(&mut stream).json();

    let (all, some) = (all["services"].as_array().unwrap(), some["services"].as_array().unwrap());
    assert_eq!((all.len(), some.len()), (3, 3));
    for (all, some) in all.iter().zip(some) {
        assert!(some.as_object().unwrap().len() < all.as_object().unwrap().len());
        for (key, value) in some.as_object().unwrap() {
            match key.as_str() {
                // Time goes on.
                "uptime_ms" | "next_start_ms" => assert_eq!(value.is_null(), all[key].is_null(), "{key}"),
                "last_exit" => assert_eq!(value["cause"], all[key]["cause"]),
                _ => assert_eq!(value, &all[key], "{key}"),
            }
        }
    }
    assert!(all.iter().any(|service| service["last_exit"].is_object()), "{all:?}");
}

#[test]
fn the_herd_is_told_in_one_document() {
    let door = Door::open(&["running-web"]);
    door.log("running-web", "12345");
    let answer = ask(&door, "GET", "/v1/services", "");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    insta::assert_snapshot!(answer.golden(), @r#"
    {
      "version": 1,
      "host": "here",
      "daemon": {
        "version": "1.2.3",
        "pid": 42,
        "since": "TIME"
      },
      "services": [
        {
          "id": "running-web",
          "name": "The running-web",
          "state": "running",
          "wanted": "up",
          "reason": "it was running from the beginning",
          "since": "TIME",
          "pid": 4711,
          "run": "00000000000000ff-1",
          "uptime_ms": "MILLISECONDS",
          "restarts": 2,
          "window": {
            "count": 1,
            "intensity": 5,
            "period_ms": 10000
          },
          "next_start_ms": null,
          "last_exit": null,
          "conf": "/confs/running-web.conf",
          "conf_problems": [],
          "tree": "group",
          "logs": {
            "bytes": 5,
            "dropped": 0
          }
        }
      ]
    }
    "#);
    assert_eq!(answer.json()["daemon"]["since"], "2023-11-14T22:13:20.123Z");
    let one = ask(&door, "GET", "/v1/services/running-web", "");
    let mut one = parse_golden(&one);
    let details = one.as_object_mut().unwrap().remove("details").unwrap();
    assert_eq!(one, parse_golden(&answer)["services"][0]);
    assert_eq!(details, json!({"exits": [], "last_words": [], "pipe_bytes": 0, "processes": []}));
}

fn parse_golden(answer: &Answer) -> Value {
    serde_json::from_str(&answer.golden()).unwrap()
}

#[test]
fn an_unchanged_moment_is_told_in_the_same_words_every_time() {
    let door = Door::open(&["running-web"]);
    let since = || ask(&door, "GET", "/v1/services/running-web", "").json()["since"].clone();
    let first = since();
    assert!((0..50).all(|_| since() == first));
}

#[test]
fn a_start_that_fails_is_told_with_its_cause_and_last_lines() {
    let door = Door::open(&["dies", "good"]);
    door.log("dies", "one\ntwo\n");
    let answer = ask(&door, "POST", "/v1/services/dies,good/start", r#"{"settle_ms": 0}"#);
    assert_eq!(answer.status, 200);
    let results = &answer.json()["results"];
    // Without a settle time, to have run is enough.
    assert_eq!((&results[0]["id"], &results[0]["ok"]), (&"dies".into(), &true.into()));

    ask(&door, "POST", "/v1/services/*/stop", "");
    let mut answer = ask(&door, "POST", "/v1/services/dies/start", r#"{"settle_ms": 60000}"#);
    let mut document = answer.json();
    let service = document["results"][0]["service"].take();
    answer.body = document.to_string();
    insta::assert_snapshot!(answer.golden(), @r#"
    {
      "version": 1,
      "results": [
        {
          "id": "dies",
          "ok": false,
          "message": "exited with code 3, waits (exit-code); now backoff",
          "service": null,
          "last_lines": [
            "one",
            "two"
          ]
        }
      ]
    }
    "#);
    assert_eq!((&service["state"], &service["last_exit"]["code"]), (&"backoff".into(), &3.into()));
}

#[test]
fn commands_wait_for_their_result() {
    let door = Door::open(&["good", "once", "running-a", "invalid-b", "skipped-c"]);
    for (path, body, ok, message) in [
        ("/v1/services/good/start", r#"{"settle_ms":50}"#, true, "started"),
        ("/v1/services/good/restart", r#"{"settle_ms":50}"#, true, "restarted"),
        ("/v1/services/once/start", "", true, "ran and ended: exited with code 0"),
        ("/v1/services/running-a/start", "", true, "already running"),
        ("/v1/services/running-a/stop", "", true, "stopped"),
        ("/v1/services/running-a/stop", "{}", true, "does not run (stopped)"),
        ("/v1/services/good/stop", r#"{"wait":false}"#, true, "ordered"),
        ("/v1/services/invalid-b/start", "", false, "/confs/invalid-b.conf:1:2: cmd is missing"),
        ("/v1/services/skipped-c/start", "", false, "belongs to another host: it was skipped from the beginning"),
    ] {
        let answer = ask(&door, "POST", path, body);
        let result = &answer.json()["results"][0];
        assert_eq!((answer.status, &result["ok"], &result["message"]), (200, &ok.into(), &message.into()), "{path}");
    }
    // What belongs to another host can't be told anything, and is not.
    assert!(!door.told().iter().any(|told| told.contains("skipped")), "{:?}", door.told());
}

#[test]
fn a_thousand_services_are_one_request_even_when_events_are_missed() {
    let ids: Vec<String> = (0..1200).map(|number| format!("s{number:04}")).collect();
    let door = Door::open(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    // The fake herd publishes 2,400 events in one turn, more than the bus holds.
    let answer = ask(&door, "POST", "/v1/services/%2A/start", r#"{"settle_ms": 10}"#);
    let results = answer.json()["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), 1200);
    assert!(results.iter().all(|result| result["ok"] == true && result["service"]["state"] == "running"));
    assert_eq!(door.told().len(), 1);
}

#[test]
fn of_names_that_are_not_all_known_nothing_is_done() {
    let door = Door::open(&["web", "db"]);
    let answer = ask(&door, "POST", "/v1/services/web,dbx,zzz/stop", "");
    assert_eq!(answer.status, 404);
    assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
    insta::assert_snapshot!(answer.golden(), @r#"
    {
      "status": 404,
      "title": "no such service",
      "detail": "no such service: dbx (did you mean db?); no such service: zzz"
    }
    "#);
    assert_eq!(door.told(), Vec::<String>::new());
}

#[test]
fn a_reload_is_told_as_a_plan() {
    let door = Door::open(&["web"]);
    let answer = ask(&door, "POST", "/v1/reload", "");
    insta::assert_snapshot!(answer.golden(), @r#"
    {
      "version": 1,
      "start": [
        "new"
      ],
      "stop": [],
      "restart": [],
      "adjust": [],
      "unchanged": [
        "web"
      ],
      "problems": [
        {
          "path": "/confs/db.conf",
          "line": 3,
          "column": 5,
          "message": "unknown key"
        }
      ]
    }
    "#);
    ask(&door, "POST", "/v1/reload", r#"{"dry_run": true, "prune": true}"#);
    assert_eq!(door.told(), ["Reload { dry_run: false, prune: false }", "Reload { dry_run: true, prune: true }"]);
}

#[test]
fn the_last_lines_of_a_log_are_plain_text() {
    let door = Door::open(&["web"]);
    door.log("web", "1\n2\n3\n");
    let answer = ask(&door, "GET", "/v1/services/web/logs?lines=2", "");
    assert_eq!((answer.status, answer.body.as_str()), (200, "2\n3\n"));
    assert!(answer.head.contains("content-type: text/plain"), "{answer:?}");
    std::fs::write(door.state.path().join("logs/web/stderr.log"), "error\n").unwrap();
    assert_eq!(ask(&door, "GET", "/v1/services/web/logs?stream=stderr", "").body, "error\n");
    // However many lines are asked for, an answer has an end.
    door.log("web", &"0123456789\n".repeat(200_000));
    assert_eq!(ask(&door, "GET", "/v1/services/web/logs?lines=1000000", "").body.len(), 1 << 20);
    // Nobody leaves the directory of logs by a clever id.
    std::fs::create_dir_all(door.state.path().join("secret")).unwrap();
    std::fs::write(door.state.path().join("secret/current.log"), "secret").unwrap();
    assert_eq!(ask(&door, "GET", "/v1/services/..%2Fsecret/logs", "").status, 404);
}

#[test]
fn what_can_not_be_done_is_refused_as_a_problem() {
    let door = Door::open(&["web"]);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let post = |path: &str, length: usize, body: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let start = |body: &str| post("/v1/services/web/start", body.len(), body);
    for (request, status, title) in [
        (get("/nowhere"), 404, "no such path"),
        (get("/v1/services/nobody"), 404, "no such service"),
        ("PUT /v1/services HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 405, "wrong method"),
        (start(r#"{"x": 1}"#), 400, "bad request"),
        (start("{]}}"), 400, "bad request"),
        (start(r#"{"settle_ms": "long"}"#), 400, "bad request"),
        (start(r#"{"settle_ms": 999999999999}"#), 400, "bad request"),
        // Announced, and never sent: the answer does not wait for it.
        (post("/v1/services/web/start", (1 << 20) + 1, ""), 413, "body too large"),
        (post("/v1/shutdown", 7, r#"{"a":1}"#), 400, "bad request"),
    ] {
        let mut stream = connect(&door.socket());
        stream.write_all(request.as_bytes()).unwrap();
        // `nc -N` does the same: nothing more to say, but an answer is wanted.
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!((answer.status, answer.json()["title"].as_str()), (status, Some(title)), "{request}");
        assert_eq!(answer.json()["status"], status);
        assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
        assert_eq!(answer.head.contains("\r\nallow: get"), status == 405, "{answer:?}");
    }
    assert_eq!(door.told(), Vec::<String>::new());
}
