//! The text of a conf, shared with those who have it anyway.

use std::borrow::Cow;
use std::sync::Arc;

/// Stands between the parts where they are joined. No text of a conf has it.
const BETWEEN: u8 = 0;

/// A text in one part or two: a conf, and the settings that it was read with, which many confs have in common. It is put
/// again with every note, so that a part is an allocation that its owner has as well.
#[derive(Clone, Debug, Eq)]
pub(crate) struct Text {
    first: Arc<[u8]>,
    second: Option<Arc<[u8]>>,
}

impl Text {
    /// A text of these parts.
    pub(crate) fn new(first: Arc<[u8]>, second: Option<Arc<[u8]>>) -> Self {
        Self { first, second }
    }

    /// The text as it is written.
    pub(crate) fn joined(&self) -> Cow<'_, [u8]> {
        match &self.second {
            None => Cow::Borrowed(&self.first),
            Some(second) => Cow::Owned([&self.first, &[BETWEEN][..], second].concat()),
        }
    }

    /// The parts of what was written.
    pub(crate) fn parts(joined: &[u8]) -> (&[u8], Option<&[u8]>) {
        match joined.iter().position(|byte| *byte == BETWEEN) {
            Some(at) => (&joined[..at], Some(&joined[at + 1..])),
            None => (joined, None),
        }
    }
}

impl From<Arc<[u8]>> for Text {
    fn from(whole: Arc<[u8]>) -> Self {
        Self::new(whole, None)
    }
}

impl PartialEq for Text {
    /// Mostly by being the same allocations.
    fn eq(&self, other: &Self) -> bool {
        let same = Arc::ptr_eq(&self.first, &other.first)
            && match (&self.second, &other.second) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
        same || self.joined() == other.joined()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_however_it_is_cut() {
        let text = |first: &str, second: Option<&str>| {
            Text::new(first.as_bytes().into(), second.map(|second| second.as_bytes().into()))
        };
        for (first, second) in [("{}", None), ("", None), ("a", Some("b")), ("", Some("b")), ("a", Some(""))] {
            let whole = text(first, second);
            let joined: Arc<[u8]> = whole.joined().into();
            assert_eq!(Text::parts(&joined), (first.as_bytes(), second.map(str::as_bytes)));
            assert_eq!(whole, Text::from(joined), "as it was read");
            assert_eq!(whole, whole.clone());
            assert_ne!(whole, text("ab", None));
        }
    }
}
