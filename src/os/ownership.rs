//! Who may write to what is executed: a conf is code.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Why a file or directory can't be trusted with what a daemon executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It belongs to somebody else.
    Owner {
        /// Whose it is.
        owner: u32,
        /// Whose daemon looks at it.
        euid: u32,
    },
    /// Somebody else may write to it.
    Writable {
        /// Its permission bits.
        mode: u32,
        /// Whether its group counts as somebody else.
        group: bool,
    },
}

/// What is wrong with a file or directory that a daemon of this effective user executes from; `None` if nothing is.
///
/// Root trusts only what is root's and not writable for group or others; a user trusts what is their own or root's and
/// not writable for others.
pub(crate) fn flaw(metadata: &Metadata, euid: u32) -> Option<Flaw> {
    flaw_of(metadata.uid(), metadata.mode(), euid)
}

fn flaw_of(owner: u32, mode: u32, euid: u32) -> Option<Flaw> {
    let group = euid == 0;
    let forbidden = if group { 0o022 } else { 0o002 };
    if owner != 0 && owner != euid {
        Some(Flaw::Owner { owner, euid })
    } else if mode & forbidden != 0 {
        Some(Flaw::Writable { mode: mode & 0o7777, group })
    } else {
        None
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner { owner, euid: 0 } => write!(f, "belongs to uid {owner}, expected root"),
            Self::Owner { owner, euid } => write!(f, "belongs to uid {owner}, expected uid {euid} or root"),
            Self::Writable { mode, group: true } => {
                write!(f, "is writable for group or others (mode {mode:o}), expected none of it: chmod go-w")
            }
            Self::Writable { mode, group: false } => {
                write!(f, "is writable for others (mode {mode:o}), expected none of it: chmod o-w")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_trusts_only_root_and_a_user_also_themselves() {
        let owner = |owner, euid| Some(Flaw::Owner { owner, euid });
        let writable = |mode, group| Some(Flaw::Writable { mode, group });
        for (uid, mode, euid, expected) in [
            (0, 0o100644, 0, None),
            (0, 0o100664, 0, writable(0o664, true)),
            (0, 0o100646, 0, writable(0o646, true)),
            (1000, 0o100600, 0, owner(1000, 0)),
            (1000, 0o100664, 1000, None),
            (0, 0o100644, 1000, None),
            (0, 0o100666, 1000, writable(0o666, false)),
            (1000, 0o100602, 1000, writable(0o602, false)),
            (1001, 0o100600, 1000, owner(1001, 1000)),
            (0, 0o041777, 1000, writable(0o1777, false)),
        ] {
            assert_eq!(flaw_of(uid, mode, euid), expected, "uid {uid}, mode {mode:o}, euid {euid}");
        }
    }
}
