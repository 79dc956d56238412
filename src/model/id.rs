//! The name of a service.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A service's id: `[A-Za-z0-9][A-Za-z0-9._-]*`, the part of its conf's file name before `@` and `.conf`.
///
/// Cloning is cheap: an id is in every message and every event.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(Arc<str>);

/// A text that is no service id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no service id: letters, digits, '.', '_' and '-', beginning with a letter or digit")]
pub struct InvalidId(pub String);

impl ServiceId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        match text.as_bytes() {
            [first, rest @ ..] if first.is_ascii_alphanumeric() && rest.iter().all(|&c| inner(c)) => {
                Ok(Self(text.into()))
            }
            _ => Err(InvalidId(text.to_owned())),
        }
    }
}

impl Borrow<str> for ServiceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_the_interface_says() {
        for good in ["web", "0", "a.b", "db-1_x", "A", "9-"] {
            assert_eq!(good.parse::<ServiceId>().unwrap().as_str(), good);
        }
        for bad in ["", ".web", "-x", "_x", "a/b", "a b", "a@b", "ä", "a\n", "a,b", "a*"] {
            assert_eq!(bad.parse::<ServiceId>(), Err(InvalidId(bad.into())), "{bad:?}");
        }
    }
}
