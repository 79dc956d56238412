//! Small texts for people.

use std::borrow::Cow;
use std::time::Duration;

/// A time span with its two largest units, as people say it: `3d 4h`, `12m 3s`, `250ms`.
pub(super) fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, smaller: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit} {small}{smaller}"),
    };
    match milliseconds {
        0..1_000 => format!("{milliseconds}ms"),
        1_000..60_000 => format!("{seconds}s"),
        60_000..3_600_000 => two(minutes, "m", seconds % 60, "s"),
        3_600_000..86_400_000 => two(hours, "h", minutes % 60, "m"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// Text that somebody else wrote, safe for a terminal: no character of it moves the cursor or changes a colour.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let moves = |character: char| character.is_control() && character != '\t';
    if !text.contains(moves) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if moves(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// The text in at most `width` characters, the last one an ellipsis where some are missing.
pub(super) fn shortened(text: &str, width: Option<usize>) -> Cow<'_, str> {
    match width {
        Some(width) if text.chars().count() > width => {
            let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
            short.push('…');
            Cow::Owned(short)
        }
        _ => Cow::Borrowed(text),
    }
}

/// Reads a time span as confs write it: `250ms`, `10s`, `5m`, `1h`.
///
/// # Errors
/// What is expected.
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    let expected = || "expected a duration such as 250ms, 10s, 5m or 1h".to_owned();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_with_their_two_largest_units() {
        for (milliseconds, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (723_000, "12m 3s"),
            (7_500_000, "2h 5m"),
            (86_400_000, "1d"),
            (86_400_000 * 3 + 3_600_000 * 4, "3d 4h"),
        ] {
            assert_eq!(span(milliseconds), text);
        }
    }

    #[test]
    fn spans_are_read_as_in_confs() {
        for (text, milliseconds) in [("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(parse_span(text), Ok(Duration::from_millis(milliseconds)));
        }
        for bad in ["", "5", "s", "1d", "-1s", "1.5s", "99999999999999999999s", "9999999999999999999h"] {
            assert!(parse_span(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_that_a_service_wrote_reaches_the_terminal_as_a_command() {
        assert_eq!(printable("ä\tb\x1b[31m\r\u{9b}x"), "ä\tb\\u{1b}[31m\\r\\u{9b}x");
    }

    #[test]
    fn a_long_text_is_shortened_to_the_width() {
        assert_eq!(shortened("abcdef", Some(4)), "abc…");
        assert_eq!(shortened("abcd", Some(4)), "abcd");
        assert_eq!(shortened("abcdef", None), "abcdef");
    }
}
