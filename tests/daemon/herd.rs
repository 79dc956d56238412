//! A daemon with everything of its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::waiting::{WATCHDOG, until, within};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_daemonherder");

/// A home with confs, and the daemon that may run on them. Dropped, it ends the daemon and everything that it started.
pub(crate) struct Herd {
    dir: TempDir,
    daemon: Option<Running>,
}

/// A daemon in the foreground.
struct Running {
    pid: Pid,
    ended: Receiver<ExitStatus>,
}

/// What a verb did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// The one JSON document on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A conf with a shell's script.
pub(crate) fn sh(script: &str) -> Value {
    json!({"cmd": "/bin/sh", "args": ["-c", script]})
}

/// Another file of a program.
pub(crate) fn copy_of(program: &Path, path: PathBuf) -> PathBuf {
    // Not by this process: another scenario that forks meanwhile would hold it open for writing (ETXTBSY).
    assert_eq!(finish(Command::new("cp").arg(program).arg(&path)).code, 0);
    open_to_others(&path, 0o755);
    path
}

/// A conf of a program that runs until it is ended.
pub(crate) fn sleeper() -> Value {
    json!({"cmd": "sleep", "args": ["100000"]})
}

/// One conf's keys and another's, which win.
pub(crate) fn with(mut conf: Value, more: Value) -> Value {
    conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    conf
}

impl Herd {
    /// A home without confs; nothing runs yet.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("herd").tempdir().unwrap();
        for name in ["confs", "work", "home"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir, daemon: None }
    }

    /// A daemon that runs on these confs.
    pub(crate) fn of<const N: usize>(confs: [(&str, Value); N]) -> Self {
        let mut herd = Self::new();
        for (id, conf) in confs {
            herd.conf(id, &conf);
        }
        herd.start();
        herd
    }

    // --- places

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn confs(&self) -> PathBuf {
        self.path().join("confs")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.state().join("control.sock")
    }

    /// A file in the directory where services run that do not say otherwise.
    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.path().join("work").join(name)
    }

    /// Writes a conf, as a whole; without a `cwd` of its own the service runs in the work directory.
    pub(crate) fn conf(&self, id: &str, conf: &Value) {
        let conf = with(json!({"cwd": self.path().join("work")}), conf.clone());
        self.file(&format!("{id}.conf"), &conf.to_string());
    }

    /// Writes a file into the conf directory.
    pub(crate) fn file(&self, name: &str, text: &str) {
        fs::write(self.confs().join(name), text).unwrap();
    }

    pub(crate) fn remove(&self, id: &str) {
        fs::remove_file(self.confs().join(format!("{id}.conf"))).unwrap();
    }

    /// A FIFO in the work directory.
    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.work(name);
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        path
    }

    /// A copy of the binary where other users can reach it.
    pub(crate) fn public_binary(&self) -> PathBuf {
        open_to_others(self.path(), 0o755);
        let binary = self.path().join("daemonherder");
        // Not by this process: another scenario that forks meanwhile would hold it open for writing (ETXTBSY).
        assert_eq!(finish(Command::new("cp").arg(BINARY).arg(&binary)).code, 0);
        binary
    }

    // --- the daemon

    /// The binary with the places of this herd and nothing else of this process.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        self.place(&mut command);
        command
    }

    /// Gives a command the places of this herd.
    pub(crate) fn place(&self, command: &mut Command) {
        command.env_clear().env("HOME", self.path().join("home")).env("PATH", "/usr/bin:/bin").env("NO_COLOR", "1");
        command.env("DHERDER_CONFIG_DIR", self.confs()).env("DHERDER_STATE_DIR", self.state());
        command.current_dir("/").stdin(Stdio::null());
    }

    /// Starts the daemon and waits until its door is open.
    pub(crate) fn start(&mut self) {
        self.launch(self.command());
    }

    /// The same through a shell's script that ends in `exec "$@"`.
    pub(crate) fn start_through(&mut self, script: &str) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script, "sh", BINARY]);
        self.place(&mut command);
        self.launch(command);
    }

    /// The same with a command that becomes the daemon.
    pub(crate) fn launch(&mut self, mut command: Command) {
        assert!(self.daemon.is_none(), "one daemon at a time");
        let said = File::create(self.path().join("said")).unwrap();
        let mut child = command.stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
        let (end, ended) = channel();
        self.daemon = Some(Running { pid: Pid::from_raw(child.id().cast_signed()), ended });
        // The state directory is the daemon's to make, and the watch needs it.
        if !self.state().exists() {
            until(self.path(), || self.state().exists().then_some(())).expect("a state directory");
        }
        thread::spawn(move || end.send(child.wait().unwrap()));
        // Whoever looks for lines will find a file for them.
        let open =
            until(&self.state(), || UnixStream::connect(self.socket()).ok().filter(|_| self.log_path().exists()));
        assert!(open.is_some(), "the door does not open: {}", self.story());
    }

    pub(crate) fn pid(&self) -> Pid {
        self.daemon.as_ref().unwrap().pid
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Kills both processes of the daemon, and no other has come into being between.
    pub(crate) fn kill_all(&mut self) {
        // A stopped keeper makes no further herder.
        self.signal(Signal::SIGSTOP);
        let stat = format!("/proc/{}/stat", self.pid());
        while !fs::read_to_string(&stat).unwrap().contains(") T ") {
            std::thread::yield_now();
        }
        kill(self.herder(), Signal::SIGKILL).unwrap();
        self.signal(Signal::SIGKILL);
        assert_eq!(self.ended(), None);
        // The herder may still be on its way out, with the listener open: the lock is free once all have gone.
        let lock = File::open(self.state().join("lock")).unwrap();
        within("the end of both", move || lock.lock().unwrap());
        // Of its descriptors one is closed after the other, and who is let in by it now is thrown out at once.
        while UnixStream::connect(self.socket()).is_ok() {
            thread::yield_now();
        }
    }

    /// Waits for the end of the daemon and gives its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let ended = self.daemon.as_ref().unwrap().ended.recv_timeout(WATCHDOG);
        let status = ended.unwrap_or_else(|error| panic!("the daemon does not end: {error}: {}", self.story()));
        self.daemon = None;
        status.code()
    }

    /// Ends the daemon with SIGTERM.
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.ended()
    }

    // --- what it says

    /// Runs a verb.
    pub(crate) fn run(&self, line: &str) -> Done {
        finish(self.command().args(line.split_whitespace()))
    }

    /// Begins a verb.
    pub(crate) fn begin(&self, line: &str) -> Begun {
        let mut command = self.command();
        command.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Begun(command.spawn().unwrap())
    }

    /// Runs a verb that succeeds.
    pub(crate) fn done(&self, line: &str) -> Done {
        let done = self.run(line);
        assert_eq!(done.code, 0, "{line}: {done:?}\n{}", self.story());
        done
    }

    /// All services.
    pub(crate) fn document(&self) -> Value {
        self.done("status --json").json()
    }

    /// The herder of this daemon: the one of the keeper's children that is this program.
    pub(crate) fn herder(&self) -> Pid {
        self.herder_now().unwrap_or_else(|| panic!("there is no herder\n{}", self.story()))
    }

    /// The same, where there is one.
    pub(crate) fn herder_now(&self) -> Option<Pid> {
        let keeper = self.pid();
        let threads = fs::read_dir(format!("/proc/{keeper}/task")).into_iter().flatten();
        // A thread that has ended meanwhile, by an exec perhaps, has no children any more.
        let of = |thread: std::io::Result<fs::DirEntry>| fs::read_to_string(thread?.path().join("children"));
        let children: String = threads.map(|thread| of(thread).unwrap_or_default()).collect();
        // Between fork and exec a child of any kind has its parent's command line.
        let is_herder = |pid: &&str| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == b"--herder")
        };
        Some(Pid::from_raw(children.split_whitespace().find(is_herder)?.parse().unwrap()))
    }

    /// Waits until there is another herder than this one, and it answers.
    pub(crate) fn until_replaced(&self, herder: Pid) {
        let replaced = until(&self.log_path(), || self.herder_now().filter(|now| *now != herder));
        assert!(replaced.is_some(), "no other herder comes up\n{}", self.story());
        self.done("status --json");
    }

    /// Kills the herder with SIGKILL.
    pub(crate) fn kill_herder(&self) {
        let herder = self.herder();
        kill(herder, Signal::SIGKILL).unwrap();
        self.until_replaced(herder);
    }

    /// Kills the keeper with SIGKILL; the herder takes its place, and another one answers.
    pub(crate) fn kill_keeper(&mut self) {
        let herder = self.herder();
        self.signal(Signal::SIGKILL);
        self.succeeded(herder);
    }

    /// Waits until the keeper has ended and this herder has taken its place.
    pub(crate) fn succeeded(&mut self, herder: Pid) {
        assert_eq!(self.ended(), None);
        let (end, ended) = channel();
        self.daemon = Some(Running { pid: herder, ended });
        let left = until(&self.log_path(), || self.herder_now());
        assert!(left.is_some(), "no herder comes up\n{}", self.story());
        assert_eq!(self.document()["daemon"]["pid"], herder.as_raw(), "{}", self.story());
        // It is no child of this process. The lock is free once no process of the daemon lives.
        let lock = File::open(self.state().join("lock")).unwrap();
        thread::spawn(move || {
            lock.lock().unwrap();
            end.send(ExitStatus::default())
        });
    }

    /// A service as the control socket has it; null where there is none.
    pub(crate) fn service(&self, id: &str) -> Value {
        let (status, body) = self.ask("GET", &format!("/v1/services/{id}"), "");
        if status == 200 { serde_json::from_str(&body).unwrap() } else { Value::Null }
    }

    /// The pid of a service that runs.
    pub(crate) fn pid_of(&self, id: &str) -> Pid {
        let service = self.service(id);
        Pid::from_raw(service["pid"].as_i64().unwrap_or_else(|| panic!("{service}")).try_into().unwrap())
    }

    /// Waits until a service is as wanted: looks after each line of the daemon's log, for each change of a state has one.
    pub(crate) fn until(&self, id: &str, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let found = until(&self.log_path(), || Some(self.service(id)).filter(|service| wanted(service)));
        found.unwrap_or_else(|| panic!("{id} never {what}: {}\n{}", self.service(id), self.story()))
    }

    pub(crate) fn until_state(&self, id: &str, state: &str) -> Value {
        self.until(id, state, |service| service["state"] == state)
    }

    /// Waits until a file of the work directory has this many lines, and gives them.
    pub(crate) fn lines(&self, name: &str, count: usize) -> Vec<String> {
        let lines = || self.lines_now(name);
        let found = until(&self.path().join("work"), || Some(lines()).filter(|lines| lines.len() >= count));
        found.unwrap_or_else(|| panic!("{name} never had {count} lines: {:?}\n{}", lines(), self.story()))
    }

    pub(crate) fn lines_now(&self, name: &str) -> Vec<String> {
        // The last line counts once it is whole.
        let text = fs::read_to_string(self.work(name)).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }

    /// What a service wrote.
    pub(crate) fn output(&self, id: &str) -> String {
        // A daemon that is asked for it writes what waits first.
        if self.socket().exists() {
            self.ask("GET", &format!("/v1/services/{id}/logs"), "");
        }
        fs::read_to_string(self.state().join("logs").join(id).join("current.log")).unwrap()
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.state().join("daemon.log")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Waits until the daemon's log has this many lines that contain the text, and gives those.
    pub(crate) fn logged(&self, text: &str, count: usize) -> Vec<String> {
        let lines = || self.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect::<Vec<_>>();
        let found = until(&self.log_path(), || Some(lines()).filter(|lines| lines.len() >= count));
        found.unwrap_or_else(|| panic!("{text:?} was never logged {count} times\n{}", self.story()))
    }

    /// Everything the daemon said, for people whose test has failed.
    fn story(&self) -> String {
        let said = fs::read_to_string(self.path().join("said")).unwrap_or_default();
        format!("{said}--- daemon.log\n{}", self.log())
    }

    /// A bare HTTP request: the status and the body of its answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let answer = self.exchange(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}\n{}", self.story()));
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// What comes back on a connection of its own.
    pub(crate) fn exchange(&self, request: &str) -> String {
        let answer = || {
            let mut stream = UnixStream::connect(self.socket())?;
            stream.set_read_timeout(Some(WATCHDOG))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        };
        answer().unwrap_or_else(|error| panic!("{error}: {request}\n{}", self.story()))
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        let Some(Running { pid, ended }) = self.daemon.take() else { return };
        // What a failed scenario left running is not this one's to wait for: all services end at once.
        let _ = kill(pid, Signal::SIGTERM);
        if ended.recv_timeout(WATCHDOG).is_err() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// A verb that is under way.
pub(crate) struct Begun(Child);

impl Begun {
    /// Waits for its end.
    pub(crate) fn end(self) -> Done {
        await_end("a verb", self.0)
    }
}

/// Ends a daemon in the background, whatever became of the scenario.
pub(crate) struct Ends<'h>(pub(crate) &'h Herd);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.run("shutdown");
    }
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Done {
    let what = format!("{command:?}");
    await_end(&what, command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

fn await_end(what: &str, child: Child) -> Done {
    let output = within(what, move || child.wait_with_output().unwrap());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// A directory that others may pass through, too.
pub(crate) fn open_to_others(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Whether a process of this number lives.
pub(crate) fn lives(pid: Pid) -> bool {
    // One that has ended and is not reaped yet has a line, too, which says so. (It has no command line, and neither has one
    // that is just being executed.)
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = line.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Waits until a process is gone or a zombie.
pub(crate) fn gone(pid: Pid) {
    while lives(pid) {
        std::thread::yield_now();
    }
}

/// Whether this is root; where a scenario needs that, it says so and is passed over.
pub(crate) fn is_root(scenario: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped, for it needs root: {scenario}");
    }
    root
}

/// Whether a program is installed; where a scenario needs it and it is not, it says so and is passed over.
pub(crate) fn is_there(program: &str, scenario: &str) -> bool {
    let there = ["/usr/bin", "/bin", "/usr/sbin"].iter().any(|dir| Path::new(dir).join(program).exists());
    if !there {
        eprintln!("skipped, for there is no {program}: {scenario}");
    }
    there
}
