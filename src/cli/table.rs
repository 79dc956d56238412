//! The two views of `status`: a line for each service, or everything of one.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

use super::Style;
use super::style::Colour;
use super::text::{printable, shortened, span};
use crate::api::{ConfProblem, ExitDocument, HerdDocument, ProcessDocument, ServiceDocument, ServiceLine};
use crate::conf::why_here;
use crate::model::State;

const HEADER: [&str; 6] = ["ID", "STATE", "PID", "UPTIME", "RESTARTS", "REASON"];
/// Those of the columns that are numbers and stand to the right.
const TO_THE_RIGHT: [bool; 6] = [false, false, true, false, true, false];
const GAP: &str = "  ";
/// The reason is shown in at least so many characters, however narrow the terminal is.
const NARROWEST_REASON: usize = 20;
const NONE: &str = "-";

/// A line for each service, those of other hosts last, and under them what is wrong with confs.
pub(super) fn all(herd: &HerdDocument<Vec<ServiceLine<'_>>>, style: Style) -> String {
    let mut services: Vec<&ServiceLine<'_>> = herd.services.iter().collect();
    services.sort_by_key(|service| service.state == State::Skipped.name());
    let rows: Vec<Row<'_>> = services.iter().map(|service| row(service)).collect();
    let mut widths = HEADER.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let before_reason = widths[..5].iter().map(|width| width + GAP.len()).sum::<usize>();
    let reason_width = style.width.map(|width| width.saturating_sub(before_reason).max(NARROWEST_REASON));

    let mut text = String::new();
    let mut add = |row: &Row<'_>, colours| {
        line(&mut text, row, &widths, reason_width, style, colours);
    };
    add(&HEADER.map(Cow::Borrowed), [Some(Colour::Bold); 6]);
    for (service, row) in services.iter().zip(&rows) {
        let colour = colour(&service.state);
        // All of a service that is none of this host's concern is dim; of the others, the state has the colour.
        let colours =
            if service.state == State::Skipped.name() { [colour; 6] } else { [None, colour, None, None, None, None] };
        add(row, colours);
    }
    for problem in &herd.problems {
        text.push_str(&paragraph(&style.paint(Some(Colour::Bad), &printable(problem))));
    }
    for service in &services {
        text.push_str(&problems(&service.conf, &service.conf_problems, style));
    }
    text
}

/// The cells of a line.
type Row<'a> = [Cow<'a, str>; 6];

fn row<'a>(service: &'a ServiceLine<'_>) -> Row<'a> {
    let or_none = |cell: Option<String>| cell.map_or(Cow::Borrowed(NONE), Cow::Owned);
    let reason = match reason(&service.reason, service.next_start_ms) {
        Cow::Borrowed(reason) => printable(reason),
        Cow::Owned(reason) => printable(&reason).into_owned().into(),
    };
    [
        Cow::Borrowed(&*service.id),
        Cow::Borrowed(&*service.state),
        or_none(service.pid.map(|pid| pid.to_string())),
        or_none(service.uptime_ms.map(span)),
        Cow::Owned(service.restarts.to_string()),
        reason,
    ]
}

/// The cause of the state, and when it will be over where that is known.
fn reason(reason: &str, next_start_ms: Option<u64>) -> Cow<'_, str> {
    match next_start_ms {
        Some(milliseconds) => format!("{reason} (next start in {})", span(milliseconds)).into(),
        None => reason.into(),
    }
}

fn line(
    text: &mut String,
    cells: &Row<'_>,
    widths: &[usize; 6],
    reason_width: Option<usize>,
    style: Style,
    colours: [Option<Colour>; 6],
) {
    let [.., reason] = cells;
    let mut padded = String::new();
    for ((cell, width), (to_the_right, colour)) in
        cells[..5].iter().zip(widths).zip(TO_THE_RIGHT.into_iter().zip(colours))
    {
        // Painted after it was padded: escape sequences have no width.
        padded.clear();
        let room = std::iter::repeat_n(' ', width - cell.chars().count());
        if to_the_right {
            padded.extend(room);
            padded.push_str(cell);
        } else {
            padded.push_str(cell);
            padded.extend(room);
        }
        text.push_str(&style.paint(colour, &padded));
        text.push_str(GAP);
    }
    text.push_str(&style.paint(colours[5], &shortened(reason, reason_width)));
    text.truncate(text.trim_end().len());
    text.push('\n');
}

pub(super) fn colour(state: &str) -> Option<Colour> {
    let (state, _) = State::ALL.iter().find(|(_, name)| *name == state)?;
    match state {
        State::Running => Some(Colour::Good),
        State::Failed | State::Invalid => Some(Colour::Bad),
        State::Starting | State::Stopping | State::Backoff | State::Cooldown => Some(Colour::Waiting),
        State::Stopped | State::Skipped => Some(Colour::Dim),
        State::Exited => None,
    }
}

fn problems(conf: &str, problems: &[ConfProblem], style: Style) -> String {
    let mut text = String::new();
    for ConfProblem { line, column, message } in problems {
        let place = format!("{}:{line}:{column}:", printable(conf));
        let place = style.paint(Some(Colour::Bad), &place);
        text.push_str(&paragraph(&format!("{place} {}", printable(message))));
    }
    text
}

fn paragraph(text: &str) -> String {
    format!("{text}\n")
}

/// Everything that is known of one service, and the last lines of its log.
pub(super) fn one(service: &ServiceDocument, host: &str, last_lines: &[String], style: Style) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{} {value}", style.paint(Some(Colour::Bold), &format!("{:<10}", format!("{name}:"))));
    };
    field("id", &service.id);
    field("name", &printable(&service.name));
    field("state", &format!("{} since {}", style.paint(colour(&service.state), &service.state), service.since));
    field("reason", &printable(&reason(&service.reason, service.next_start_ms)));
    field("wanted", &service.wanted);
    if let Some(pid) = service.pid {
        field("pid", &pid.to_string());
    }
    if let Some(run) = &service.run {
        field("run", run);
    }
    if let Some(uptime) = service.uptime_ms {
        field("uptime", &span(uptime));
    }
    let window = &service.window;
    let (count, intensity, period) = (window.count, window.intensity, span(window.period_ms));
    // One that never had a good conf has no window.
    let within = format!(", {count} of at most {intensity} within the last {period}");
    field("restarts", &format!("{}{}", service.restarts, if window.period_ms > 0 { &within } else { "" }));
    if let Some(exit) = &service.last_exit {
        field("last exit", &printable(&exit_text(exit)));
    }
    field("conf", &printable(&conf_text(service, host)));
    field("logs", &logs_text(service));
    text.push_str(&problems(&service.conf, &service.conf_problems, style));
    let details = service.details.clone().unwrap_or_default();
    for (at, exit) in details.exits.iter().enumerate().skip(1) {
        let name = if at == 1 { "before:" } else { "" };
        let _ = writeln!(
            text,
            "{} {}",
            style.paint(Some(Colour::Bold), &format!("{name:<10}")),
            printable(&exit_text(exit))
        );
    }
    if !details.processes.is_empty() {
        text.push_str(&paragraph(&style.paint(Some(Colour::Bold), "processes:")));
        text.push_str(&processes(&details.processes));
    }
    // What the present run has added is below; where it has not, this is the same.
    if !details.last_words.is_empty() && !last_lines.ends_with(&details.last_words) {
        text.push_str(&paragraph(&format!(
            "\n{}",
            style.paint(Some(Colour::Bold), "what it wrote before its last end:")
        )));
        details.last_words.iter().for_each(|line| text.push_str(&paragraph(&printable(line))));
    }
    if !last_lines.is_empty() {
        text.push('\n');
        for line in last_lines {
            text.push_str(&paragraph(&printable(line)));
        }
    }
    text
}

/// Where the conf is, and why that one holds here.
fn conf_text(service: &ServiceDocument, host: &str) -> String {
    if service.conf.is_empty() {
        return NONE.to_owned();
    }
    let why = host.parse().ok().and_then(|host| why_here(Path::new(&service.conf), &host));
    why.map_or_else(|| service.conf.clone(), |why| format!("{} ({why})", service.conf))
}

/// A line for each process of a service, its children below it.
fn processes(processes: &[ProcessDocument]) -> String {
    let line = |process: &ProcessDocument| {
        let ProcessDocument { pid, depth, name, memory_bytes, cpu_ms } = process;
        let (indent, name) = ("  ".repeat(*depth), printable(name));
        format!("           {indent}{pid} {name}, {} KiB, {} of processor time\n", memory_bytes >> 10, span(*cpu_ms))
    };
    processes.iter().map(line).collect()
}

fn exit_text(exit: &ExitDocument) -> String {
    let what = match (exit.code, &exit.signal, &exit.stage) {
        (Some(code), _, _) => format!("exited with code {code}"),
        (_, Some(signal), _) if exit.core => format!("killed by signal {signal}, core dumped"),
        (_, Some(signal), _) => format!("killed by signal {signal}"),
        (_, _, Some(stage)) => format!("failed at {stage}{}", exit.errno.map(errno_text).unwrap_or_default()),
        (None, None, None) => "ended".to_owned(),
    };
    format!("{what} ({}) at {}", exit.cause, exit.at)
}

fn errno_text(errno: i32) -> String {
    format!(": {}", std::io::Error::from_raw_os_error(errno))
}

fn logs_text(service: &ServiceDocument) -> String {
    let dropped = match service.logs.dropped {
        0 => String::new(),
        dropped => format!(", {dropped} lines dropped"),
    };
    let pipe = match service.details.as_ref().map_or(0, |details| details.pipe_bytes) {
        0 => String::new(),
        bytes => format!(", through a pipe of {} KiB", bytes >> 10),
    };
    format!("{} bytes{dropped}{pipe}", service.logs.bytes)
}

/// A service for tests.
#[cfg(test)]
pub(super) fn sample(id: &str, state: &str, cause: Option<&str>) -> ServiceDocument {
    use crate::api::{LogsDocument, TreeLevel, WindowDocument};

    let running = state == "running";
    ServiceDocument {
        id: id.into(),
        name: format!("The {id}"),
        state: state.into(),
        wanted: "up".into(),
        reason: format!("it is {state}"),
        since: "2026-01-02T03:04:05.006Z".into(),
        pid: running.then_some(1234),
        run: running.then(|| "00000000000000ff-7".into()),
        uptime_ms: running.then_some(7_500_000),
        restarts: 3,
        window: WindowDocument { count: 1, intensity: 5, period_ms: 10_000 },
        next_start_ms: (state == "cooldown").then_some(8_000),
        last_exit: cause.map(|cause| ExitDocument {
            at: "2026-01-02T03:04:04.000Z".into(),
            code: Some(3),
            signal: None,
            core: false,
            cause: cause.into(),
            stage: None,
            errno: None,
        }),
        conf: format!("/c/{id}.conf"),
        conf_problems: vec![],
        tree: TreeLevel::Group,
        logs: LogsDocument { bytes: 42, dropped: 0 },
        details: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DaemonDocument;

    fn herd() -> HerdDocument {
        let mut broken = sample("broken", "invalid", None);
        broken.conf_problems.push(ConfProblem { line: 2, column: 5, message: "cmd is missing".into() });
        HerdDocument {
            version: 1,
            host: "here".into(),
            daemon: DaemonDocument { version: "0.1.0".into(), pid: 1, since: String::new() },
            services: vec![
                sample("away", "skipped", None),
                broken,
                sample("database", "cooldown", Some("exit-code")),
                sample("web", "running", None),
            ],
            problems: vec!["cannot read /c: it is gone".into()],
        }
    }

    fn shown(style: Style) -> String {
        let answer = serde_json::to_vec(&herd()).unwrap();
        all(&serde_json::from_slice(&answer).unwrap(), style)
    }

    #[test]
    fn the_table_is_aligned_and_others_come_last() {
        insta::assert_snapshot!(shown(Style::PLAIN), @r"
        ID        STATE      PID  UPTIME  RESTARTS  REASON
        broken    invalid      -  -              3  it is invalid
        database  cooldown     -  -              3  it is cooldown (next start in 8s)
        web       running   1234  2h 5m          3  it is running
        away      skipped      -  -              3  it is skipped
        cannot read /c: it is gone
        /c/broken.conf:2:5: cmd is missing
        ");
    }

    #[test]
    fn without_colour_there_is_no_escape_sequence_and_with_it_the_columns_are_the_same() {
        assert!(!shown(Style::PLAIN).contains('\x1b'));
        let colourful = shown(Style { colour: true, is_terminal: true, width: None });
        assert!(colourful.contains("\x1b[32mrunning \x1b[0m"), "{colourful:?}");
        let mut plain = colourful;
        for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, shown(Style::PLAIN));
    }

    #[test]
    fn no_line_of_the_table_is_wider_than_the_terminal() {
        let table = shown(Style { colour: false, is_terminal: true, width: Some(66) });
        let rows: Vec<&str> = table.lines().take(5).collect();
        assert_eq!(rows.iter().map(|row| row.chars().count()).max(), Some(66), "{table}");
        assert!(rows[2].ends_with("(next …"), "{table}");
    }

    #[test]
    fn one_service_is_told_in_full() {
        let service = sample("web", "running", Some("exit-code"));
        insta::assert_snapshot!(one(&service, "here", &["hello".into(), "wor\u{7}ld".into()], Style::PLAIN), @r"
        id:        web
        name:      The web
        state:     running since 2026-01-02T03:04:05.006Z
        reason:    it is running
        wanted:    up
        pid:       1234
        run:       00000000000000ff-7
        uptime:    2h 5m
        restarts:  3, 1 of at most 5 within the last 10s
        last exit: exited with code 3 (exit-code) at 2026-01-02T03:04:04.000Z
        conf:      /c/web.conf (for every host)
        logs:      42 bytes

        hello
        wor\u{7}ld
        ");
    }
}
