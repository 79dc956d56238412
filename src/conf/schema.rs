//! Every key that a conf or `herder.json` may have: what it takes, its default and what it means.
//!
//! This is data. The lowering takes from it which keys are known and what to expect of them, `schema` makes a JSON Schema
//! of it, and the reference in the README is written from it.

use crate::model::Resource;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// How it is written.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The default as JSON; empty where there is none, or where it depends on the service.
    pub default: &'static str,
    /// What it means, in a sentence or two.
    pub doc: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// Any text without NUL.
    Text,
    /// A text that is not empty.
    FilledText,
    /// A path from the root.
    AbsolutePath,
    /// A list of texts.
    Texts,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// `250ms`, `10s`, `5m`, `1h`.
    Duration {
        /// Whether it may be zero.
        zero: bool,
    },
    /// `512k`, `10MiB`; never zero.
    Size,
    /// A whole number of 32 bits.
    Count,
    /// A list of exit codes.
    ExitCodes,
    /// A signal by name or number.
    Signal,
    /// Three octal digits.
    Umask,
    /// Limits by resource.
    Limits,
    /// Variables by name, `null` to remove one.
    Variables,
    /// A list of names of variables.
    VariableNames,
    /// An object with keys of its own.
    Object(&'static [Key]),
    /// One of the texts that this key of the object takes, or the object.
    Short(&'static Key, &'static [Key]),
    /// Keys of a conf, but for those that are a service's own.
    Defaults,
}

impl Kind {
    /// What is expected, for a message.
    pub fn expected(&self) -> String {
        let choices = |choices: &[&str]| {
            let quoted: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
            quoted.join(", ")
        };
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::FilledText => "a text that is not empty".to_owned(),
            Self::AbsolutePath => "an absolute path such as \"/srv/app\"".to_owned(),
            Self::Texts => "a list of texts".to_owned(),
            Self::Choice([one, other]) => format!("{one:?} or {other:?}"),
            Self::Choice(all) => format!("one of {}", choices(all)),
            Self::Duration { zero: true } => "a duration such as \"250ms\", \"10s\", \"5m\" or \"1h\"".to_owned(),
            Self::Duration { zero: false } => {
                "a duration above zero such as \"250ms\", \"10s\", \"5m\" or \"1h\"".to_owned()
            }
            Self::Size => {
                "a size above zero such as \"512k\" or \"10MiB\" (B, k, KiB, M, MiB, G, GiB), or a number of bytes"
                    .to_owned()
            }
            Self::Count => format!("a whole number from 0 to {}", u32::MAX),
            Self::ExitCodes => "a list of exit codes from 0 to 255".to_owned(),
            Self::Signal => "a signal such as \"TERM\", \"SIGTERM\" or 15 (1 to 64)".to_owned(),
            Self::Umask => "an octal text such as \"022\", at most \"0777\"".to_owned(),
            Self::Limits => "an object such as { \"nofile\": \"1024:4096\", \"core\": \"unlimited\" }".to_owned(),
            Self::Variables => "an object of variables, each a text or null".to_owned(),
            Self::VariableNames => "a list of names of variables".to_owned(),
            Self::Object(_) | Self::Defaults => "an object".to_owned(),
            Self::Short(Key { kind: Self::Choice(all), .. }, _) => format!("one of {} or an object", choices(all)),
            Self::Short(..) => "an object".to_owned(),
        }
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind, default, doc }
}

const POLICY: Key = key(
    "policy",
    Kind::Choice(&["always", "on-failure", "never"]),
    "\"always\"",
    "When an ended run is followed by another: OTP's permanent, transient and temporary. A failure is an exit code outside success_codes, a signal that nobody here sent, or a run that nobody saw end.",
);

/// The keys of `restart`.
pub(super) const RESTART: &[Key] = &[
    POLICY,
    key("success_codes", Kind::ExitCodes, "[0]", "Exit codes that are no failure."),
    key("delay", Kind::Duration { zero: true }, "\"0s\"", "Waited before each restart."),
    key(
        "intensity",
        Kind::Count,
        "5",
        "How many restarts may fall into one sliding window of period (+ intensity × delay); 0 allows none.",
    ),
    key("period", Kind::Duration { zero: false }, "\"10s\"", "The length of that window."),
    key(
        "exceeded",
        Kind::Choice(&["cooldown", "fail"]),
        "\"cooldown\"",
        "What follows more restarts than that: wait and try again, for ever, or stay failed until told otherwise.",
    ),
    key(
        "cooldown",
        Kind::Duration { zero: true },
        "\"10s\"",
        "The first wait; doubled each time the window is exceeded again, up to max_cooldown.",
    ),
    key(
        "max_cooldown",
        Kind::Duration { zero: true },
        "\"5m\"",
        "The longest wait. Where only one of cooldown and max_cooldown is written, the default of the other gives way to it.",
    ),
];

/// The keys of `stop`.
pub(super) const STOP: &[Key] = &[
    key("signal", Kind::Signal, "\"TERM\"", "What the main process is sent to stop it, followed by CONT."),
    key("timeout", Kind::Duration { zero: true }, "\"10s\"", "How long it has before KILL."),
    key(
        "scope",
        Kind::Choice(&["tree", "main"]),
        "\"tree\"",
        "Whether what is left of the process tree after the main process has ended is killed before anything is started again, or left alone (sshd, tmux, dockerd).",
    ),
];

/// The keys of `logs`.
pub(super) const LOGS: &[Key] = &[
    key(
        "stderr",
        Kind::Choice(&["merge", "separate", "discard"]),
        "\"merge\"",
        "Where standard error goes: into the same file in order, into stderr.log, or nowhere.",
    ),
    key(
        "format",
        Kind::Choice(&["raw", "timestamped", "json"]),
        "\"raw\"",
        "Exactly the bytes that were written; a time (RFC 3339 UTC, microseconds) before each line; or one JSON object a line.",
    ),
    key("max_size", Kind::Size, "\"10MiB\"", "A file is rotated, between lines, before it would exceed this size."),
    key("keep", Kind::Count, "10", "How many old files are kept."),
    key("max_age", Kind::Duration { zero: false }, "", "A file is rotated at least this often."),
    key("compress", Kind::Flag, "false", "Old files are compressed (gzip) in the background."),
    key(
        "on_full",
        Kind::Choice(&["drop", "block"]),
        "\"drop\"",
        "When nothing can be written: wait a second, then drop whole lines, counted and marked; or let the writer wait.",
    ),
    key("to", Kind::Choice(&["file", "null"]), "\"file\"", "Whether the output is kept at all."),
];

/// The keys of a conf.
pub const CONF_KEYS: &[Key] = &[
    key("name", Kind::Text, "", "A name for people; the id where there is none."),
    key(
        "cwd",
        Kind::AbsolutePath,
        "",
        "The working directory; the home directory of the service's user where there is none.",
    ),
    key(
        "cmd",
        Kind::FilledText,
        "",
        "The program, which is required: with a slash a path relative to cwd, without one looked up in the service's PATH. No shell sees it.",
    ),
    key("args", Kind::Texts, "[]", "Its arguments, each handed over as it is."),
    key("enabled", Kind::Flag, "true", "If false the service is known, and started only by hand."),
    key("env", Kind::Variables, "{}", "Variables on top of the environment that every service has; null removes one."),
    key(
        "env_file",
        Kind::FilledText,
        "",
        "A file of KEY=value lines, absolute or relative to cwd, read at every start; without it the start fails.",
    ),
    key("user", Kind::FilledText, "", "Whom it runs as, by name (root only); the daemon's user where there is none."),
    key("group", Kind::FilledText, "", "Its primary group, by name (root only); that of its user where there is none."),
    key("umask", Kind::Umask, "", "The file mode creation mask; the daemon's where there is none."),
    key(
        "limits",
        Kind::Limits,
        "{}",
        "Resource limits by the names of setrlimit(2): \"soft:hard\", or one value for both; \"unlimited\" is one.",
    ),
    key(
        "restart",
        Kind::Short(&POLICY, RESTART),
        "\"always\"",
        "What happens when a run ends: a policy, or an object of rules.",
    ),
    key("stop", Kind::Object(STOP), "{}", "How a run is stopped."),
    key("logs", Kind::Object(LOGS), "{}", "How its output is kept."),
];

/// The keys of a conf that are a service's own: `defaults` can't have them.
pub(super) const OWN: [&str; 3] = ["name", "cmd", "args"];

/// The keys of `herder.json`.
pub const SETTINGS_KEYS: &[Key] = &[
    key("defaults", Kind::Defaults, "{}", "Any key of a conf but name, cmd and args: taken where a conf has none."),
    key("env", Kind::Variables, "{}", "Variables of every service, below its env_file and its env."),
    key(
        "inherit_env",
        Kind::VariableNames,
        "[]",
        "Variables of the daemon that every service gets if the daemon has them.",
    ),
    key("control", Kind::Object(CONTROL), "{}", "Who may talk to the daemon."),
    key(
        "cgroup",
        Kind::Choice(&["auto", "off"]),
        "\"auto\"",
        "A cgroup for each service where that is usable, or none at all.",
    ),
    key(
        "live_reload",
        Kind::Flag,
        "true",
        "Whether confs are read again when they change, or only when that is asked for.",
    ),
];

/// The keys of `control`.
pub(super) const CONTROL: &[Key] =
    &[key("group", Kind::FilledText, "", "A group that may use the control socket besides its owner.")];

/// The names that `limits` knows.
pub(super) fn resources() -> Vec<&'static str> {
    Resource::ALL.iter().map(|(_, name)| *name).collect()
}
