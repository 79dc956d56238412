//! The size of a terminal (ioctl_tty(2)).
#![expect(unsafe_code, reason = "ioctl(2) has no safe form in the libraries that are used")]

use std::os::fd::{AsRawFd, BorrowedFd};

/// How many columns the terminal has; `None` where the descriptor is no terminal or does not know (`TIOCGWINSZ`).
pub(crate) fn columns(terminal: BorrowedFd<'_>) -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize` to the pointer, which is that of a live one.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_file_has_no_columns() {
        assert_eq!(columns(std::fs::File::open("/dev/null").unwrap().as_fd()), None);
    }
}
