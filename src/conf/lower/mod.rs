//! From the text of one conf to a resolved spec.
//!
//! A text is first read into a draft, which holds what is written and nothing else; a draft is put over that of
//! `defaults`, and what is still open takes its default. The directory and `settings` call it. What never happens here:
//! I/O, but for look-ups through `Accounts`; a field that is wrong and ignored; a value of a variable in a message.

mod conf;
mod logs;
mod process;
mod restart;
mod stop;

pub use conf::lower;
pub(super) use conf::{Draft, read_defaults};
