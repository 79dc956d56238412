//! Signals by number and by name.

use std::fmt;
use std::str::FromStr;

/// A signal of Linux: 1 to 64 (signal(7)). Shown by its name without `SIG`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

/// A name or number that is no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no signal: a name such as TERM or SIGTERM, or 1 to 64")]
pub struct InvalidSignal(pub String);

/// Names by number, from 1; the same on every architecture that Rust's Linux targets share but for MIPS and SPARC.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];
/// The first real-time signal that the C library leaves to programs (signal(7)).
const RTMIN: u8 = 34;
const MAX: u8 = 64;

impl Signal {
    /// Asks a program to end.
    pub const TERM: Self = Self(15);
    /// Ends a program.
    pub const KILL: Self = Self(9);
    /// Lets a stopped program go on.
    pub const CONT: Self = Self(18);
    /// Every signal.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=MAX).map(Self)
    }

    /// The signal of a number from 1 to 64.
    ///
    /// # Errors
    /// Any other number.
    pub fn from_number(number: i64) -> Result<Self, InvalidSignal> {
        match u8::try_from(number) {
            Ok(n @ 1..=MAX) => Ok(Self(n)),
            _ => Err(InvalidSignal(number.to_string())),
        }
    }

    /// Its number.
    pub const fn number(self) -> i32 {
        self.0 as i32
    }
}

impl FromStr for Signal {
    type Err = InvalidSignal;

    /// `TERM`, `SIGTERM`, `15`, `RTMIN+3`; capitals or not.
    fn from_str(text: &str) -> Result<Self, InvalidSignal> {
        let invalid = || InvalidSignal(text.to_owned());
        if let Ok(number) = text.parse::<i64>() {
            return Self::from_number(number).map_err(|_| invalid());
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(at) = NAMES.iter().position(|known| *known == name) {
            return Self::from_number(at as i64 + 1);
        }
        let offset = |text: &str| text.parse::<u8>().ok().filter(|n| *n <= MAX - RTMIN);
        match name {
            "POLL" => Ok(Self(29)),
            "IOT" => Ok(Self(6)),
            "CLD" => Ok(Self(17)),
            "RTMIN" => Ok(Self(RTMIN)),
            "RTMAX" => Ok(Self(MAX)),
            _ => {
                let up = name.strip_prefix("RTMIN+").and_then(offset).map(|n| RTMIN + n);
                let down = || name.strip_prefix("RTMAX-").and_then(offset).map(|n| MAX - n);
                up.or_else(down).map(Self).ok_or_else(invalid)
            }
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => f.pad(name),
            None if self.0 >= RTMIN => f.pad(&format!("RTMIN+{}", self.0 - RTMIN)),
            // 32 and 33 are the C library's own and have no public name.
            None => f.pad(&self.0.to_string()),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIG{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_reads_back_by_name_and_by_number() {
        for signal in Signal::all() {
            assert_eq!(signal.to_string().parse(), Ok(signal));
            assert_eq!(signal.number().to_string().parse(), Ok(signal));
        }
        assert_eq!("SIGTERM".parse(), Ok(Signal::TERM));
        assert_eq!("sigkill".parse(), Ok(Signal::KILL));
        assert_eq!(Signal::from_number(18), Ok(Signal::CONT));
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for bad in ["", "0", "65", "-1", "SIG", "TERMX", "RTMIN+31", "RTMAX-31", "SIGSIGTERM", "300"] {
            assert!(bad.parse::<Signal>().is_err(), "{bad:?}");
        }
    }
}
