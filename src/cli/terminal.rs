//! Where a verb writes.

use std::io::Write;

use super::Style;

/// Two streams, and how the first one likes to be written to.
pub struct Terminal<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Everything that went wrong.
    pub err: &'a mut dyn Write,
    /// Of `out`.
    pub style: Style,
}
