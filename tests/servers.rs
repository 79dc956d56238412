//! Debian's redis, nginx and postgres under the real daemon, as their own users.
//!
//! Needs root and the packages redis-server, nginx-light and postgresql, so it is behind the feature `debian-servers`.
#![cfg(feature = "debian-servers")]
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

#[path = "daemon/herd.rs"]
#[expect(dead_code, reason = "the scenarios of one daemon alone use more of it")]
mod herd;
#[path = "daemon/waiting.rs"]
mod waiting;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use herd::{Done, Herd, finish, lives, open_to_others};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use waiting::until;

/// A server: how it is run, where it answers, and how it is asked.
struct Server {
    id: &'static str,
    user: &'static str,
    /// Its directory, which is its user's.
    dir: PathBuf,
    conf: Value,
    /// What it is asked with.
    client: Vec<String>,
    answer: &'static str,
}

/// The words of a command that runs as a user.
fn becoming(user: &str) -> [&str; 7] {
    ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--reset-env"]
}

fn words(words: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    words.into_iter().map(Into::into).collect()
}

fn run(words: &[String]) -> Done {
    finish(Command::new(&words[0]).args(&words[1..]).current_dir("/"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A directory of the herd that belongs to a user.
fn directory_of(herd: &Herd, user: &str) -> PathBuf {
    open_to_others(herd.path(), 0o755);
    let dir = herd.path().join(user);
    fs::create_dir(&dir).unwrap();
    let owned = finish(Command::new("chown").arg(user).arg(&dir));
    assert_eq!(owned.code, 0, "{owned:?}");
    dir
}

fn redis(herd: &Herd) -> Server {
    let dir = directory_of(herd, "redis");
    let socket = dir.join("redis.sock");
    let conf = json!({
        "cmd": "/usr/bin/redis-server", "cwd": dir, "user": "redis",
        "args": ["--port", "0", "--unixsocket", socket, "--dir", dir, "--daemonize", "no", "--save", ""],
    });
    let client = words(["redis-cli", "-s", text(&socket), "ping"]);
    Server { id: "redis", user: "redis", dir, conf, client, answer: "PONG" }
}

/// A master and its workers, who hold the port as long as any of them lives.
fn nginx(herd: &Herd) -> Server {
    let dir = directory_of(herd, "www-data");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = dir.display();
    let config = format!(
        "daemon off; pid {at}/nginx.pid; error_log stderr notice; worker_processes 2; events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; \
         fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
         server {{ listen 127.0.0.1:{port}; location / {{ return 200 \"it works\"; }} }} }}\n"
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, config).unwrap();
    let conf = json!({
        "cmd": "nginx", "cwd": dir, "user": "www-data", "args": ["-e", "stderr", "-c", file],
        "stop": {"signal": "QUIT"},
    });
    let client = words(["curl", "-s", &format!("http://127.0.0.1:{port}/")]);
    Server { id: "nginx", user: "www-data", dir, conf, client, answer: "it works" }
}

fn postgres(herd: &Herd) -> Server {
    let versions = fs::read_dir("/usr/lib/postgresql").unwrap();
    let bin = versions.map(|version| version.unwrap().path().join("bin")).max().unwrap();
    let dir = directory_of(herd, "postgres");
    let data = dir.join("data");
    let initdb = bin.join("initdb");
    let make = [text(&initdb), "-D", text(&data), "-A", "trust", "--no-sync"];
    let made = run(&words(becoming("postgres").into_iter().chain(make)));
    assert_eq!(made.code, 0, "{made:?}");
    let conf = json!({
        "cmd": bin.join("postgres"), "cwd": dir, "user": "postgres",
        "args": ["-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "shared_buffers=1MB", "-c", "fsync=off"],
        // A fast shutdown: TERM would wait for the clients.
        "stop": {"signal": "INT"},
    });
    let client = ["psql", "-h", text(&dir), "-d", "postgres", "-Atc", "select 'ready'"];
    let client = words(becoming("postgres").into_iter().chain(client));
    Server { id: "postgres", user: "postgres", dir, conf, client, answer: "ready" }
}

impl Server {
    /// Whether it gives the right answer.
    fn asked(&self) -> bool {
        let done = run(&self.client);
        done.code == 0 && done.out.trim() == self.answer
    }

    /// Waits until it does: each of them writes a line when it is ready.
    fn answers(&self, herd: &Herd) {
        herd.until_state(self.id, "running");
        let log = herd.state().join("logs").join(self.id).join("current.log");
        let answered = until(&log, || self.asked().then_some(()));
        assert!(answered.is_some(), "{:?}\n{}", run(&self.client), herd.output(self.id));
    }

    /// Its processes: whoever has its user and its directory.
    fn processes(&self) -> Vec<Pid> {
        let own = |pid: &Pid| {
            fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&self.dir)) && lives(*pid)
        };
        let names =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        names.map(Pid::from_raw).filter(own).collect()
    }
}

fn supervised(server: fn(&Herd) -> Server) {
    assert!(nix::unistd::geteuid().is_root(), "these scenarios need root");
    let mut herd = Herd::new();
    let server = server(&herd);
    let id = server.id;
    herd.file(&format!("{id}.conf"), &server.conf.to_string());
    herd.start();
    server.answers(&herd);
    let main = herd.pid_of(id);
    let status = fs::read_to_string(format!("/proc/{main}/status")).unwrap();
    let uid = finish(Command::new("id").args(["-u", server.user])).out.trim().to_owned();
    assert!(status.contains(&format!("\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")), "{status}");
    assert!(server.processes().contains(&main));

    // Killed with the whole of its tree alive, it comes back and answers.
    for round in 1..=2 {
        let before = server.processes();
        kill(herd.pid_of(id), Signal::SIGKILL).unwrap();
        herd.until(id, "came back", |service| service["restarts"] == round && service["state"] == "running");
        server.answers(&herd);
        assert!(before.iter().all(|pid| !lives(*pid)), "{before:?}");
        assert_eq!(herd.service(id)["restarts"], round, "once is enough: {}", herd.output(id));
    }

    // Stopped, it says goodbye in its own way and nothing is left of it.
    let stop = herd.done(&format!("stop {id}"));
    assert_eq!(stop.out, format!("{id}: stopped\n"));
    let exit = &herd.service(id)["last_exit"];
    assert_eq!((&exit["code"], &exit["cause"]), (&json!(0), &json!("stop")), "{}", herd.output(id));
    assert_eq!(server.processes(), []);
    assert!(!server.asked());

    // And so it does when the daemon ends.
    herd.done(&format!("start {id} --settle 10ms"));
    server.answers(&herd);
    assert_eq!(herd.end(), Some(0));
    assert_eq!(server.processes(), []);
    let log = fs::read_to_string(herd.log_path()).unwrap();
    assert!(!log.contains("sent KILL"), "{log}");
}

#[test]
fn redis_is_kept_running_and_stopped() {
    supervised(redis);
}

#[test]
fn nginx_is_kept_running_and_stopped() {
    supervised(nginx);
}

#[test]
fn postgres_is_kept_running_and_stopped() {
    supervised(postgres);
}

/// The same under a daemon that is nobody special, and has no cgroup: what a main process that is killed leaves behind, some
/// of it in sessions of its own, ends with it, whoever of the daemon died before.
fn unprivileged(server: fn(&Herd) -> Server) {
    assert!(nix::unistd::geteuid().is_root(), "these scenarios need root");
    let mut herd = Herd::new();
    let Server { id, user, dir, mut conf, client, answer } = server(&herd);
    conf.as_object_mut().unwrap().remove("user");
    let server = Server { id, user, dir, conf, client, answer };
    herd.file(&format!("{id}.conf"), &server.conf.to_string());
    herd.file("herder.json", "{\"cgroup\": \"off\"}");
    let binary = herd.public_binary();
    fs::create_dir(herd.state()).unwrap();
    open_to_others(&herd.state(), 0o700);
    assert_eq!(finish(Command::new("chown").arg(user).arg(herd.state())).code, 0);
    let mut command = Command::new("setpriv");
    command.args(&becoming(user)[1..]).arg(binary).arg("--config-dir").arg(herd.confs());
    command.arg("--state-dir").arg(herd.state()).current_dir("/");
    herd.launch(command);
    server.answers(&herd);
    for round in 1..=3 {
        if round == 2 {
            herd.kill_herder();
        }
        let before = server.processes();
        kill(herd.pid_of(id), Signal::SIGKILL).unwrap();
        herd.until(id, "came back", |service| service["restarts"] == round && service["state"] == "running");
        server.answers(&herd);
        assert!(before.iter().all(|pid| !lives(*pid)), "{before:?}");
        assert_eq!(herd.service(id)["tree"], "subreaper");
    }
    assert_eq!(herd.service(id)["restarts"], 3, "once is enough: {}", herd.output(id));
    herd.done(&format!("stop {id}"));
    assert_eq!(server.processes(), []);
    assert_eq!(herd.end(), Some(0));
}

#[test]
fn nothing_is_left_of_a_killed_redis() {
    unprivileged(redis);
}

#[test]
fn nothing_is_left_of_a_killed_nginx() {
    unprivileged(nginx);
}

#[test]
fn nothing_is_left_of_a_killed_postgres() {
    unprivileged(postgres);
}
