//! The name of one life of a service's process.

use std::fmt;
use std::str::FromStr;

/// One run: one life of a service's main process. Written `<16 hex>-<counter>`: the state directory's own number, drawn
/// when it was made, and a counter that never repeats in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    /// Which state directory it belongs to.
    pub herd: u64,
    /// Which launch of that herd it was.
    pub number: u64,
}

/// A text that is no run id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no run id: 16 hexadecimal digits, '-' and a number")]
pub struct InvalidRunId(pub String);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.herd, self.number)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {self}")
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, InvalidRunId> {
        let parsed = text.split_once('-').and_then(|(herd, number)| {
            let hex = herd.len() == 16 && herd.bytes().all(|c| c.is_ascii_hexdigit());
            let decimal = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
            (hex && decimal).then_some(Self { herd: u64::from_str_radix(herd, 16).ok()?, number: number.parse().ok()? })
        });
        parsed.ok_or_else(|| InvalidRunId(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_reads_back_as_it_was_written() {
        for run in [RunId { herd: 0, number: 0 }, RunId { herd: u64::MAX, number: 17 }] {
            assert_eq!(run.to_string().parse(), Ok(run));
        }
        for bad in ["", "-", "12-3", "0123456789abcdef-", "0123456789abcdef-x", "+123456789abcdef-1"] {
            assert!(bad.parse::<RunId>().is_err(), "{bad:?}");
        }
    }
}
