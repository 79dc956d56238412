//! `logs`: what services wrote. From the files, so that it works without a daemon and disturbs none.

mod meant;
mod printer;
mod visible;

use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::Args;

use self::meant::{Meant, Source};
use self::printer::Printer;
use super::client::{Daemon, Question, segment};
use super::problem::complain_to;
use super::{Exit, Failure, Terminal};
use crate::conf::Places;
use crate::logs::{Amount, Follow, LogFiles, News, ReadError, Snapshot, Stream, Watch, Woken};
use crate::os;

/// A line counts with so many bytes at most, so that one without an end does not bring all of a log.
const LINE_BYTES: u64 = 1 << 20;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// How many of those before it is the next service's turn.
const TURN: usize = 16;

/// Whose logs to show, and how much of them.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct LogsArguments {
    /// Services, by id or glob
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
    /// Go on with what is written from now on, across rotations and restarts
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the last lines to show of each service, or `all`
    #[arg(short = 'n', long, value_name = "LINES", default_value = "10", value_parser = parse_lines)]
    pub lines: Lines,
    /// Show standard error, of services that keep it apart (`"logs": {"stderr": "separate"}`); of others it is in the log
    #[arg(long)]
    pub stderr: bool,
}

/// How many lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// All that there are.
    All,
    /// The last ones.
    Last(u64),
}

impl LogsArguments {
    fn stream(&self) -> Stream {
        if self.stderr { Stream::Errors } else { Stream::Output }
    }

    fn amount(&self) -> Amount {
        match self.lines {
            Lines::All => Amount { lines: u64::MAX, bytes: u64::MAX },
            Lines::Last(lines) => Amount { lines, bytes: lines.saturating_mul(LINE_BYTES) },
        }
    }

    /// What the daemon is asked for one service; a field only if its user asked for it.
    fn question(&self, id: &str) -> Question {
        let lines = match self.lines {
            Lines::All => u64::MAX,
            Lines::Last(lines) => lines,
        };
        let stream = if self.stderr { "&stream=stderr" } else { "" };
        Question::get(format!("/v1/services/{}/logs?lines={lines}{stream}", segment(id)))
    }
}

pub(super) fn run(arguments: &LogsArguments, places: &Places, terminal: &mut Terminal<'_>) -> Result<Exit, Failure> {
    let daemon = Daemon { socket: places.socket.clone(), confs: places.config_dir.clone() };
    let logs = places.state_dir.join("logs");
    let meant = match Source::of(&logs) {
        Ok(Source::Daemon) if arguments.follow => {
            let what = format!(
                "cannot follow logs in {}: run this as the daemon's user or as root; without -f the daemon is asked",
                logs.display()
            );
            complain_to(terminal.err, &what);
            return Ok(Exit::Failed);
        }
        Ok(source) => Meant::find(&arguments.ids, source, places, &daemon)?,
        Err(error) => {
            complain_to(terminal.err, &format!("cannot read {}: {error}", logs.display()));
            return Ok(Exit::Failed);
        }
    };
    let ids: Vec<&str> = meant.ids.iter().map(String::as_str).collect();
    let printer = Printer::new(terminal.out, terminal.style, &ids);
    let files = ids.iter().map(|id| LogFiles::of(&logs, id, arguments.stream())).collect();
    let show = Show { arguments, meant: &meant, files, printer, err: terminal.err, exit: Exit::Done };
    match meant.source {
        Source::Daemon => show.answers(&daemon),
        Source::Files(_) if arguments.follow => show.follow(),
        Source::Files(_) => show.files(),
    }
}

/// What is being shown.
struct Show<'a> {
    arguments: &'a LogsArguments,
    meant: &'a Meant,
    files: Vec<LogFiles>,
    printer: Printer<'a>,
    err: &'a mut dyn Write,
    exit: Exit,
}

impl Show<'_> {
    /// The last lines as the daemon tells them.
    fn answers(mut self, daemon: &Daemon) -> Result<Exit, Failure> {
        for service in 0..self.meant.ids.len() {
            let text = daemon.ask(&self.arguments.question(&self.meant.ids[service]))?;
            if text.is_empty() && self.arguments.lines != Lines::Last(0) {
                self.tell_none(service);
            }
            self.printer.take(service, &text, Instant::now())?;
            self.printer.end_line(service)?;
        }
        self.printer.flush()?;
        Ok(self.exit)
    }

    /// The last lines in the files.
    fn files(mut self) -> Result<Exit, Failure> {
        for service in 0..self.files.len() {
            match Snapshot::take(&self.files[service]) {
                Ok(snapshot) => self.last_lines(service, &snapshot)?,
                Err(error) => self.fail(&error),
            }
            self.printer.end_line(service)?;
        }
        self.printer.flush()?;
        Ok(self.exit)
    }

    /// The same, and then everything that comes.
    fn follow(mut self) -> Result<Exit, Failure> {
        os::raise_open_files();
        // Before anything is looked at, so that no change falls between a look and the wait for the next one.
        let directories = self.files.iter().map(|files| files.directory().to_owned()).collect();
        let mut watch = match Watch::on(directories) {
            Ok(watch) => watch,
            Err(error) => {
                complain_to(self.err, &error.to_string());
                return Ok(Exit::Failed);
            }
        };
        let mut followed = Vec::new();
        for service in 0..self.files.len() {
            followed.push(self.begin(service)?);
        }
        let mut changed: Vec<usize> = (0..followed.len()).collect();
        let mut buffer = vec![0; CHUNK];
        while followed.iter().any(Option::is_some) {
            let mut unfinished = Vec::new();
            for service in changed {
                if self.turn(service, &mut followed[service], &mut buffer)? {
                    unfinished.push(service);
                }
            }
            let now = Instant::now();
            self.printer.show_overdue(now)?;
            self.printer.flush()?;
            let longest = if unfinished.is_empty() { self.printer.patience(now) } else { Some(Duration::ZERO) };
            changed = match watch.wait(std::io::stdout().as_fd(), longest) {
                Ok(Woken::Changed(changed)) => changed,
                Ok(Woken::Nothing) => Vec::new(),
                Ok(Woken::NobodyReads) => return Ok(self.exit),
                Err(error) => {
                    complain_to(self.err, &error.to_string());
                    return Ok(Exit::Failed);
                }
            };
            unfinished.retain(|service| !changed.contains(service));
            changed.extend(unfinished);
        }
        Ok(self.exit)
    }

    /// Shows the last lines of a service, and what goes on after them.
    fn begin(&mut self, service: usize) -> Result<Option<Follow>, Failure> {
        let snapshot = match Snapshot::take(&self.files[service]) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.fail(&error);
                return Ok(None);
            }
        };
        self.last_lines(service, &snapshot)?;
        Ok(Follow::after(snapshot).map_err(|error| self.fail(&error)).ok())
    }

    /// Shows what a service wrote; whether there may be more. One that can't be followed any more is given up.
    fn turn(&mut self, service: usize, followed: &mut Option<Follow>, buffer: &mut [u8]) -> Result<bool, Failure> {
        for _ in 0..TURN {
            let Some(follow) = followed else { return Ok(false) };
            match follow.news(buffer) {
                Ok(News::Bytes(count)) => self.printer.take(service, &buffer[..count], Instant::now())?,
                Ok(News::Break) => self.printer.end_line(service)?,
                Ok(News::Nothing) => return Ok(false),
                Err(error) => {
                    self.fail(&error);
                    *followed = None;
                }
            }
        }
        Ok(true)
    }

    fn last_lines(&mut self, service: usize, snapshot: &Snapshot) -> Result<(), Failure> {
        if snapshot.is_empty() {
            self.tell_none(service);
        }
        let mut tail = match snapshot.last(self.arguments.amount()) {
            Ok(tail) => tail,
            Err(error) => {
                self.fail(&error);
                return Ok(());
            }
        };
        if let Some(trouble) = tail.trouble.take() {
            self.fail(&trouble);
        }
        if tail.is_cut {
            let id = &self.meant.ids[service];
            complain_to(self.err, &format!("{id}: lines of more than 1 MiB on average: their beginning is left out"));
        }
        let mut buffer = vec![0; CHUNK];
        loop {
            match tail.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.printer.take(service, &buffer[..count], Instant::now())?,
                Err(error) => self.fail(&error),
            }
        }
    }

    /// Says that there is nothing to show, to whoever named just this service.
    fn tell_none(&mut self, service: usize) {
        let id = &self.meant.ids[service];
        if self.arguments.ids.contains(id) {
            let what = if self.arguments.stderr {
                "nothing of its standard error is kept apart here; without --stderr its log is shown"
            } else {
                "nothing is in its log here: it has written nothing, or its output is not kept"
            };
            complain_to(self.err, &format!("{id}: {what}"));
        }
    }

    fn fail(&mut self, error: &ReadError) {
        complain_to(self.err, &error.to_string());
        self.exit = Exit::Failed;
    }
}

fn parse_lines(text: &str) -> Result<Lines, String> {
    match text {
        "all" => Ok(Lines::All),
        _ => text.parse().map(Lines::Last).map_err(|_| "expected a number of lines, or all".to_owned()),
    }
}
