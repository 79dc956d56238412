//! How a run ended, as a word that one store writes.

use crate::model::{Ending, LaunchError, Signal, Stage};

const EXITED: u8 = 1;
const KILLED: u8 = 2;
const DUMPED: u8 = 3;
const NOT_LAUNCHED: u8 = 4;
const LOST: u8 = 5;
const OOM_KILLED: u8 = 6;

/// The word for an ending: what it was, a byte of detail, an error number. Never 0.
pub(super) fn to_word(ending: Ending) -> u32 {
    let (kind, detail, errno) = match ending {
        Ending::Exited(code) => (EXITED, code, 0),
        Ending::Killed { signal, core } => {
            (if core { DUMPED } else { KILLED }, u8::try_from(signal.number()).unwrap_or_default(), 0)
        }
        // The kernel's error numbers end at 4095.
        Ending::NotLaunched(LaunchError { stage, errno }) => {
            (NOT_LAUNCHED, stage as u8, u16::try_from(errno).unwrap_or_default())
        }
        Ending::OomKilled => (OOM_KILLED, 0, 0),
        Ending::Lost => (LOST, 0, 0),
    };
    u32::from(kind) << 24 | u32::from(detail) << 16 | u32::from(errno)
}

/// The ending of a word; `None` of 0. A word that [`to_word`] does not write says that it ended, and no more.
pub(super) fn from_word(word: u32) -> Option<Ending> {
    if word == 0 {
        return None;
    }
    let [kind, detail, high, low] = word.to_be_bytes();
    let errno = i32::from(u16::from_be_bytes([high, low]));
    let killed = |core| Some(Ending::Killed { signal: Signal::from_number(i64::from(detail)).ok()?, core });
    let ending = match kind {
        EXITED => Some(Ending::Exited(detail)),
        KILLED => killed(false),
        DUMPED => killed(true),
        OOM_KILLED => Some(Ending::OomKilled),
        NOT_LAUNCHED => Stage::from_number(detail).map(|stage| Ending::NotLaunched(LaunchError { stage, errno })),
        _ => None,
    };
    Some(ending.unwrap_or(Ending::Lost))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_ending_reads_back() {
        let killed = Signal::all().flat_map(|signal| [true, false].map(|core| Ending::Killed { signal, core }));
        let failed = Stage::ALL.iter().flat_map(|(stage, _)| {
            [0, libc::ENOENT, 4095].map(|errno| Ending::NotLaunched(LaunchError { stage: *stage, errno }))
        });
        for ending in
            (0..=u8::MAX).map(Ending::Exited).chain(killed).chain(failed).chain([Ending::OomKilled, Ending::Lost])
        {
            assert_eq!(from_word(to_word(ending)), Some(ending));
        }
        assert_eq!(from_word(0), None);
    }

    proptest! {
        #[test]
        fn any_other_word_is_an_end_that_nobody_knows(word in 1_u32..) {
            let ending = from_word(word);
            prop_assert!(ending == Some(Ending::Lost) || ending.map(to_word).is_some());
        }
    }
}
