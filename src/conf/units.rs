//! Durations and sizes as confs write them.

use std::time::Duration;

/// The longest duration of a conf: ten years, far below what any sum of moments could overflow with.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Reads `250ms`, `10s`, `5m` or `1h`: digits and one of these units, nothing between them.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).filter(|duration| *duration <= LONGEST)
}

/// Reads `512B`, `512k`, `10MiB`, `1G`: bytes, or 1024, 1024² or 1024³ of them. At most what a file can hold.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "B" => 1,
        "k" | "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor).filter(|bytes| *bytes <= i64::MAX as u64)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_an_end() {
        for (text, ms) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("0s", 0),
            ("007s", 7_000),
            ("87600h", 315_360_000_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "",
            "10",
            "s",
            "10 s",
            " 10s",
            "10S",
            "1.5s",
            "-1s",
            "+1s",
            "1d",
            "1h30m",
            "87601h",
            "18446744073709551616ms",
            "18446744073709551615h",
            "1é",
        ] {
            assert_eq!(duration(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes_have_a_unit_and_an_end() {
        for (text, bytes) in [
            ("1B", 1),
            ("512k", 524_288),
            ("512K", 524_288),
            ("512KiB", 524_288),
            ("10MiB", 10_485_760),
            ("1M", 1_048_576),
            ("2G", 2_147_483_648),
            ("2GiB", 2_147_483_648),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in ["", "10", "k", "10 k", "10kb", "10mib", "1.5M", "-1k", "1T", "8589934592G", "18446744073709551615G"]
        {
            assert_eq!(size(bad), None, "{bad:?}");
        }
    }
}
