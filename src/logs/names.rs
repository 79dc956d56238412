//! The names of a service's log files. Those of old files sort by age.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::model::Civil;

/// One more than the highest counter: four digits.
const COUNTERS: u16 = 10_000;
/// How an old file's name is written; the digits are those of one.
const FORM: &[u8] = b"20261123T040506.123456Z-0000";

/// Which output of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stream {
    /// Standard output, and standard error where it is merged.
    Output,
    /// Standard error, where it is separate.
    Errors,
}

impl Stream {
    /// What json calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Output => "stdout",
            Self::Errors => "stderr",
        }
    }

    /// The file that is written to.
    pub(crate) fn current(self) -> &'static str {
        match self {
            Self::Output => "current.log",
            Self::Errors => "stderr.log",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Output => ".log",
            Self::Errors => ".stderr.log",
        }
    }
}

/// An old file, whatever its state: when it was rotated away, and a counter for those of the same microsecond, or of a clock
/// that was set back. Written `20261123T040506.123456Z-0000`: UTC without colons, which scp(1) and other systems take for
/// something else, and of a fixed length, so that names sort by age as texts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Age {
    micros: u64,
    counter: u16,
}

/// How an old file is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Packing {
    /// As it was written.
    Plain,
    /// Compressed, as a whole.
    Gzip,
    /// Being compressed; half a file.
    Part,
}

/// The name of an old file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OldName {
    /// Its age: of two, the greater is the newer one.
    pub(crate) age: Age,
    /// Whose it is.
    pub(crate) stream: Stream,
    /// How it is stored.
    pub(crate) packing: Packing,
}

/// A name that is no old file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForeignName;

impl Age {
    /// The age of a file that is rotated away now, so long after 1970: newer than the newest that there is, whatever the
    /// clock says.
    pub(crate) fn next(now: Duration, newest: Option<Self>) -> Self {
        // Later than 9999 nobody can write, and at its end nobody will.
        let now = Self { micros: u64::try_from(now.as_micros()).unwrap_or(u64::MAX).min(LAST_MICROS), counter: 0 };
        match newest {
            Some(newest) if newest >= now && newest.counter + 1 < COUNTERS => {
                Self { counter: newest.counter + 1, ..newest }
            }
            Some(newest) if newest >= now => Self { micros: newest.micros + 1, counter: 0 },
            _ => now,
        }
    }

    /// When it was rotated away, so long after 1970, as far as the clock was right.
    pub(crate) fn since_epoch(self) -> Duration {
        Duration::from_micros(self.micros)
    }
}

/// 9999-12-31T23:59:59, of which the last second is left for counters that are used up.
const LAST_MICROS: u64 = 253_402_300_799_000_000;

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second, micros } = Civil::of(self.since_epoch());
        let counter = self.counter;
        write!(f, "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{micros:06}Z-{counter:04}")
    }
}

impl FromStr for Age {
    type Err = ForeignName;

    fn from_str(text: &str) -> Result<Self, ForeignName> {
        let alike = |(a, b): (&u8, &u8)| if b.is_ascii_digit() { a.is_ascii_digit() } else { a == b };
        if text.len() != FORM.len() || !text.as_bytes().iter().zip(FORM).all(alike) {
            return Err(ForeignName);
        }
        let number = |from: usize, to: usize| text[from..to].parse::<u64>().map_err(|_| ForeignName);
        let civil = Civil {
            year: number(0, 4)?,
            month: number(4, 6)?,
            day: number(6, 8)?,
            hour: number(9, 11)?,
            minute: number(11, 13)?,
            second: number(13, 15)?,
            micros: number(16, 22)?,
        };
        let micros = civil.since_epoch().and_then(|since| u64::try_from(since.as_micros()).ok());
        let counter = number(24, 28)?.try_into().map_err(|_| ForeignName)?;
        Ok(Self { micros: micros.ok_or(ForeignName)?, counter })
    }
}

impl OldName {
    /// The name of the same file stored otherwise.
    pub(crate) fn packed(self, packing: Packing) -> Self {
        Self { packing, ..self }
    }
}

impl fmt::Display for OldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packing = match self.packing {
            Packing::Plain => "",
            Packing::Gzip => ".gz",
            Packing::Part => ".gz.part",
        };
        write!(f, "{}{}{packing}", self.age, self.stream.suffix())
    }
}

impl FromStr for OldName {
    type Err = ForeignName;

    fn from_str(name: &str) -> Result<Self, ForeignName> {
        let (age, rest) = name.split_at_checked(FORM.len()).ok_or(ForeignName)?;
        let (rest, packing) = match rest.strip_suffix(".gz.part") {
            Some(rest) => (rest, Packing::Part),
            None => match rest.strip_suffix(".gz") {
                Some(rest) => (rest, Packing::Gzip),
                None => (rest, Packing::Plain),
            },
        };
        let stream = [Stream::Output, Stream::Errors].into_iter().find(|stream| stream.suffix() == rest);
        Ok(Self { age: age.parse()?, stream: stream.ok_or(ForeignName)?, packing })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ages() -> impl Strategy<Value = Age> {
        (0..=LAST_MICROS, 0..COUNTERS).prop_map(|(micros, counter)| Age { micros, counter })
    }

    fn names() -> impl Strategy<Value = OldName> {
        let streams = prop_oneof![Just(Stream::Output), Just(Stream::Errors)];
        let packings = prop_oneof![Just(Packing::Plain), Just(Packing::Gzip), Just(Packing::Part)];
        (ages(), streams, packings).prop_map(|(age, stream, packing)| OldName { age, stream, packing })
    }

    proptest! {
        #[test]
        fn a_name_reads_back(name in names()) {
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }

        #[test]
        fn names_sort_by_age_as_texts_too(mut micros in proptest::collection::vec(0..5_u64, 2), counters: [bool; 2]) {
            micros.iter_mut().for_each(|micros| *micros += 1_800_000_000_000_000);
            let [a, b] = [0, 1].map(|n| Age { micros: micros[n], counter: u16::from(counters[n]) * 10 });
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn far_ages_sort_as_texts_too(a in ages(), b in ages()) {
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn the_next_is_newer_whatever_the_clock_says(newest in ages(), now in any::<u64>()) {
            let next = Age::next(Duration::from_micros(now), Some(newest));
            prop_assert!(next > newest);
            prop_assert!(next.to_string() > newest.to_string());
            prop_assert_eq!(next.to_string().parse(), Ok(next));
        }

        #[test]
        fn any_text_is_a_name_or_foreign(text in "[0-9TZ.loggzpartstdäerr-]{0,50}") {
            if let Ok(name) = text.parse::<OldName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }

    #[test]
    fn names_are_times_in_utc() {
        let at = Duration::from_micros(1_795_406_706_123_456);
        let first = Age::next(at, None);
        let name = OldName { age: first, stream: Stream::Output, packing: Packing::Plain };
        assert_eq!(name.to_string(), "20261123T040506.123456Z-0000.log");
        let second = OldName { age: Age::next(at, Some(first)), stream: Stream::Errors, packing: Packing::Part };
        assert_eq!(second.to_string(), "20261123T040506.123456Z-0001.stderr.log.gz.part");
        let last = Age { counter: COUNTERS - 1, ..first };
        assert_eq!(Age::next(Duration::ZERO, Some(last)).to_string(), "20261123T040506.123457Z-0000");
        assert_eq!(Age::next(at + Duration::from_micros(9), Some(last)).to_string(), "20261123T040506.123465Z-0000");
    }

    #[test]
    fn what_others_call_their_files_is_foreign() {
        for name in [
            "",
            "current.log",
            "stderr.log",
            "20261123T040506.123456Z-0000",
            "20261123T040506.123456Z-0000.txt",
            "20261123T040506.123456Z-0000.log.bz2",
            "20261123T040506.123456Z-0000.log.gz.part.part",
            "20261123T040506.123456Z-000a.log",
            "20261123T040506.123456Z+0000.log",
            "20261323T040506.123456Z-0000.log",
            "20260229T040506.123456Z-0000.log",
            "+0261123T040506.123456Z-0000.log",
            "äääääääääääääääääääääääää.log",
        ] {
            assert_eq!(name.parse::<OldName>(), Err(ForeignName), "{name}");
        }
    }
}
