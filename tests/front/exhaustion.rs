//! More clients than are served at a time, and a daemon without a descriptor for the next one.

use std::time::Duration;

use daemonherder::front::{self, Access};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fake_herder::{FakeHerder, Told, identity};
use crate::parse;

#[actix::test]
async fn of_more_connections_than_are_served_at_a_time_the_last_ones_wait() {
    let (state, access) = (tempfile::tempdir().unwrap(), Access::of_this_process(None));
    let herder = actix::Actor::start(FakeHerder::new(&[], Told::default(), tokio::sync::oneshot::channel().0));
    let path = state.path().join("control.sock");
    let server = front::serve(front::bind(&path, &access).unwrap(), herder, identity(state.path()), access).unwrap();
    // Time passes only while nobody has anything to do.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let mut idle = Vec::new();
    for _ in 0..320 {
        idle.push(tokio::net::UnixStream::connect(&path).await.unwrap());
    }
    let mut late = tokio::net::UnixStream::connect(&path).await.unwrap();
    late.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).await.unwrap();
    assert_eq!(parse(&answer).body, "ok\n");
    // It was its turn when the first of the idle ones had been hung up on.
    assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
    server.close().await;
}

/// Not a test of its own: what [`without_a_descriptor_left_the_door_waits_and_does_not_spin`] runs in a process whose
/// descriptors are counted.
#[actix::test]
async fn as_an_exhausted_daemon() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    if std::env::var_os("FRONT_TEST_EXHAUST").is_none() {
        return;
    }
    let (state, access) = (tempfile::tempdir().unwrap(), Access::of_this_process(None));
    let herder = actix::Actor::start(FakeHerder::new(&[], Told::default(), tokio::sync::oneshot::channel().0));
    let path = state.path().join("control.sock");
    let server = front::serve(front::bind(&path, &access).unwrap(), herder, identity(state.path()), access).unwrap();
    tokio::time::pause();
    let began = tokio::time::Instant::now();

    setrlimit(Resource::RLIMIT_NOFILE, 64, getrlimit(Resource::RLIMIT_NOFILE).unwrap().1).unwrap();
    let mut hoard: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    // The last descriptor is the client's: the daemon has none to accept it with.
    hoard.pop();
    let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
    client.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    // Time passes only while nobody has anything to do: a daemon that tries again and again would never let it.
    let mut answer = String::new();
    let early = tokio::time::timeout(Duration::from_millis(1500), client.read_to_string(&mut answer)).await;
    assert!(early.is_err(), "{answer}");
    hoard.clear();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(parse(&answer).body, "ok\n");
    print!("<<waited {} s>>", began.elapsed().as_secs());
    server.close().await;
}

#[test]
fn without_a_descriptor_left_the_door_waits_and_does_not_spin() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["exhaustion::as_an_exhausted_daemon", "--exact", "--nocapture"])
        .env("FRONT_TEST_EXHAUST", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("<<waited 2 s>>"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
