//! What verbs say, word for word, with a stand-in for what is another one every time.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::herd::{BINARY, Done, Herd, finish};

/// The host that a transcript's herd is on, whatever the machine is called.
const HOST: &str = "meadow";

/// Verbs as somebody types them, and all that they say.
pub(crate) struct Transcript {
    text: String,
    known: Known,
}

/// What is another one every time, as far as it was seen: each is replaced as a whole word only.
#[derive(Default)]
struct Known {
    /// What stands in a path or a name, and its stand-in.
    parts: Vec<(String, &'static str)>,
    pids: BTreeSet<String>,
    /// The first part of a run's id.
    herd: Option<String>,
}

/// The binary, on that host.
pub(crate) fn on_a_host(herd: &Herd) -> Command {
    let mut command = herd.command();
    command.env("DHERDER_HOST", HOST);
    command
}

impl Transcript {
    pub(crate) fn of(herd: &Herd) -> Self {
        let parts = vec![(herd.path().to_str().unwrap().to_owned(), "HERE"), (BINARY.to_owned(), "BINARY")];
        Self { text: String::new(), known: Known { parts, ..Known::default() } }
    }

    /// This part of a name is another one every time.
    pub(crate) fn know(&mut self, part: &str, stands_for: &'static str) {
        self.known.parts.push((part.to_owned(), stands_for));
    }

    /// Runs a verb.
    pub(crate) fn run(&mut self, herd: &Herd, line: &str) -> Done {
        self.look(herd);
        let done = finish(on_a_host(herd).args(line.split_whitespace()));
        self.look(herd);
        self.say(line, &done);
        done
    }

    /// Writes down what a verb has said.
    pub(crate) fn say(&mut self, line: &str, done: &Done) {
        let out = if line.contains("--json") { self.known.documents(&done.out) } else { self.known.settled(&done.out) };
        let (line, err) = (self.known.parts(line), self.known.settled(&done.err));
        self.text.push_str(&format!("$ daemonherder {line}\n{out}{err}exit {}\n", done.code));
    }

    /// Writes down what a file has.
    pub(crate) fn show(&mut self, what: &str, text: &str) {
        let text = self.known.settled(text);
        self.text.push_str(&format!("({what})\n{text}"));
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Learns which processes there are at the moment.
    fn look(&mut self, herd: &Herd) {
        let done = herd.run("status --json");
        let document = if done.out.is_empty() { Value::Null } else { done.json() };
        let services = document["services"].as_array().into_iter().flatten();
        for process in services.chain([&document["daemon"]]) {
            self.known.pids.extend(process["pid"].as_u64().map(|pid| pid.to_string()));
            let herd = process["run"].as_str().and_then(|run| run.split('-').next());
            self.known.herd = herd.map(str::to_owned).or(self.known.herd.take());
        }
    }
}

impl Known {
    fn settled(&self, text: &str) -> String {
        let table = text.starts_with("ID ");
        let text = if table { self.table(text) } else { text.to_owned() };
        let lines = text.split_inclusive('\n').map(|line| self.line(line));
        lines.collect()
    }

    fn parts(&self, line: &str) -> String {
        let parts = self.parts.iter().map(|(part, stands_for)| (part.as_str(), *stands_for));
        let parts = parts.chain(self.herd.as_deref().map(|herd| (herd, "HERD")));
        parts.fold(line.to_owned(), |line, (part, stands_for)| line.replace(part, stands_for))
    }

    fn line(&self, line: &str) -> String {
        let mut settled = self.parts(line);
        if let (true, Some(end)) = (settled.starts_with("uptime: "), settled.find('\n')) {
            settled.replace_range("uptime:    ".len()..end, "SPAN");
        }
        if let Some((before, use_of)) = settled.split_once(" KiB, ") {
            // A process of a service: what it uses at the moment.
            let (before, _) = before.rsplit_once(' ').unwrap();
            let (_, after) = use_of.split_once(" of processor").unwrap_or_default();
            if !after.is_empty() {
                settled = format!("{before} SIZE KiB, SPAN of processor{after}");
            }
        }
        let mut rest = std::mem::take(&mut settled);
        // How long a run lived is told after how it ended, where it was a millisecond or more.
        while let Some((before, after)) = rest.split_once(" after ") {
            settled.push_str(before);
            let word = |back: usize| before.rsplit(' ').nth(back).unwrap_or_default();
            let length = span(after).filter(|_| matches!(word(1), "code" | "signal"));
            match length {
                Some(length) => rest = after[length..].to_owned(),
                None => {
                    settled.push_str(" after ");
                    rest = after.to_owned();
                }
            }
        }
        settled.push_str(&rest);
        self.words(&settled)
    }

    /// Whole words: pids, moments, this version.
    fn words(&self, line: &str) -> String {
        let of_a_word = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
        let mut settled = String::new();
        let mut rest = line;
        while let Some(begin) = rest.find(of_a_word) {
            let (between, from) = rest.split_at(begin);
            let (word, after) = from.split_at(from.find(|c| !of_a_word(c)).unwrap_or(from.len()));
            let bare = word.trim_end_matches(['.', ':']);
            settled.push_str(between);
            settled.push_str(self.stand_in(bare).unwrap_or(bare));
            settled.push_str(&word[bare.len()..]);
            rest = after;
        }
        settled + rest
    }

    fn stand_in(&self, word: &str) -> Option<&'static str> {
        match word {
            _ if self.pids.contains(word) => Some("PID"),
            _ if is_moment(word) => Some("MOMENT"),
            env!("CARGO_PKG_VERSION") => Some("VERSION"),
            _ => None,
        }
    }

    /// The table of `status`: its column of pids is as wide as the longest of them, and no uptime is the same twice.
    fn table(&self, text: &str) -> String {
        let (header, below) = text.split_once('\n').unwrap();
        let [pids_end, uptimes, restarts] = [("PID", 3), ("UPTIME", 0), ("RESTARTS", 0)]
            .map(|(name, more)| header.find(name).unwrap_or_else(|| panic!("no {name} in {header}")) + more);
        let pid = |line: &str| line.get(..pids_end).and_then(|cells| cells.rsplit(' ').next()).map(str::to_owned);
        let is_row = |line: &&str| pid(line).is_some_and(|pid| pid == "-" || self.pids.contains(&pid));
        let rows: Vec<&str> = below.lines().take_while(is_row).collect();
        let wide = rows.iter().filter_map(|row| pid(row)).map(|pid| pid.len()).max().unwrap_or(0).max("PID".len());
        let row = |line: &&str| {
            let pid = pid(line).map_or("", |pid| if self.pids.contains(&pid) { "PID" } else { "-" });
            let uptime = line[uptimes..restarts].trim_end();
            let uptime = if span(uptime) == Some(uptime.len()) { "SPAN" } else { uptime };
            format!(
                "{}{pid:>3}  {uptime:<width$}{}\n",
                &line[..pids_end - wide],
                &line[restarts..],
                width = restarts - uptimes
            )
        };
        let header = format!("{}{}\n", &header[..pids_end - wide], &header[pids_end - "PID".len()..]);
        let after: String = below.lines().skip(rows.len()).map(|line| format!("{line}\n")).collect();
        header + &rows.iter().map(row).collect::<String>() + &after
    }

    /// A document a line, in a form that can be read.
    fn documents(&self, lines: &str) -> String {
        let pretty = |line: &str| {
            let mut document = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            self.settle(&mut document);
            format!("{document:#}\n")
        };
        lines.lines().map(pretty).collect()
    }

    fn settle(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match name.as_str() {
                        "uptime_ms" if value.is_u64() => *value = "SPAN".into(),
                        "pid" if self.pids.contains(&value.to_string()) => *value = "PID".into(),
                        _ => self.settle(value),
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.settle(value)),
            Value::String(text) => *text = self.line(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// The length of a span of time that a text begins with: `250ms`, `5.8s`, `12m3s`.
fn span(text: &str) -> Option<usize> {
    let length = text.find(|c: char| !(c.is_ascii_digit() || ".msh".contains(c))).unwrap_or(text.len());
    let is_one = text[..length].starts_with(|c: char| c.is_ascii_digit()) && text[..length].ends_with(['s', 'm', 'h']);
    is_one.then_some(length)
}

/// RFC 3339 UTC with milliseconds.
fn is_moment(word: &str) -> bool {
    let form = "0000-00-00T00:00:00.000Z";
    let fits = |(one, of_form): (u8, u8)| if of_form == b'0' { one.is_ascii_digit() } else { one == of_form };
    word.len() == form.len() && word.bytes().zip(form.bytes()).all(fits)
}

#[test]
fn only_what_differs_has_a_stand_in() {
    let mut known = Known { parts: vec![("/tmp/x".into(), "HERE")], ..Known::default() };
    known.pids.extend(["77".to_owned(), "12345".to_owned()]);
    known.herd = Some("00000000000000ff".into());
    for (text, settled) in [
        ("/tmp/x/a.conf: pid 77, 770 of 1077 (77)\n", "HERE/a.conf: pid PID, 770 of 1077 (PID)\n"),
        ("run 00000000000000ff-7\n", "run HERD-7\n"),
        ("at 2026-01-02T03:04:05.006Z: 2026-01-02\n", "at MOMENT: 2026-01-02\n"),
        ("exited with code 3 after 12ms (exit-code)\n", "exited with code 3 (exit-code)\n"),
        ("killed by signal TERM after 5.8s; more\n", "killed by signal TERM; more\n"),
        ("KILL follows after 10s\n", "KILL follows after 10s\n"),
        ("uptime:    2h 5m\n", "uptime:    SPAN\n"),
        ("logs:      12 bytes, through a pipe of 16 KiB\n", "logs:      12 bytes, through a pipe of 16 KiB\n"),
        ("  12345 sleep, 800 KiB, 0ms of processor time\n", "  PID sleep, SIZE KiB, SPAN of processor time\n"),
        (
            "ID     STATE      PID  UPTIME  RESTARTS  REASON\nweb-7  running  12345  1s            10  runs 10s\n\
             off    stopped      -  -              0  by 12\n/tmp/x/a.conf: more than 77\n",
            "ID     STATE    PID  UPTIME  RESTARTS  REASON\nweb-7  running  PID  SPAN          10  runs 10s\n\
             off    stopped    -  -              0  by 12\nHERE/a.conf: more than PID\n",
        ),
    ] {
        assert_eq!(known.settled(text), settled);
    }
    let document = r#"{"pid":77,"other":77,"since":"2026-01-02T03:04:05.006Z","uptime_ms":12,"next":[{"run":"00000000000000ff-7"}]}"#;
    let settled = r#"{"pid":"PID","other":77,"since":"MOMENT","uptime_ms":"SPAN","next":[{"run":"HERD-7"}]}"#;
    let expected = format!("{:#}\n", serde_json::from_str::<Value>(settled).unwrap());
    assert_eq!(known.documents(document), expected);
}
