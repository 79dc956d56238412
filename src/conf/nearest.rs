//! Which known key somebody may have meant.

/// The known key that is nearest to an unknown one; `None` where none is near.
pub(super) fn nearest(unknown: &str, known: &[&'static str]) -> Option<&'static str> {
    // Nobody means a key with a text that is much longer, and the distance takes the product of both lengths.
    if unknown.len() > 64 {
        return None;
    }
    let unknown = unknown.to_lowercase();
    let best = known.iter().map(|key| (distance(&unknown, key), *key)).min_by_key(|(distance, _)| *distance)?;
    let longer = unknown.chars().count().max(best.1.len());
    if best.0 * 5 <= longer * 2 {
        return Some(best.1);
    }
    // "command" for cmd, "environment" for env, "sig" for signal.
    let related =
        |key: &&str| key.len() > 2 && (within(key, &unknown) || unknown.len() > 2 && key.starts_with(&unknown));
    known.iter().copied().filter(related).max_by_key(|key| key.len())
}

/// How many characters must be put in, taken out, replaced, or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for i in 0..=from.len() {
        for j in 0..=to.len() {
            rows[i][j] = match (i, j) {
                (0, other) | (other, 0) => other,
                _ => {
                    let same = usize::from(from[i - 1] != to[j - 1]);
                    let mut least = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + same);
                    if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                        least = least.min(rows[i - 2][j - 2] + 1);
                    }
                    least
                }
            };
        }
    }
    rows[from.len()][to.len()]
}

/// Whether all characters of `short` occur in `long`, in order and from the first on.
fn within(short: &str, long: &str) -> bool {
    let mut rest = long.chars();
    long.chars().next() == short.chars().next() && short.chars().all(|c| rest.any(|other| other == c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        let known =
            ["name", "cmd", "args", "cwd", "enabled", "env", "env_file", "umask", "restart", "stop", "logs", "signal"];
        for (unknown, expected) in [
            ("cmdd", Some("cmd")),
            ("cdm", Some("cmd")),
            ("CMD", Some("cmd")),
            ("command", Some("cmd")),
            ("arg", Some("args")),
            ("Args", Some("args")),
            ("environment", Some("env")),
            ("envfile", Some("env_file")),
            ("enable", Some("enabled")),
            ("restarts", Some("restart")),
            ("log", Some("logs")),
            ("sig", Some("signal")),
            ("xyzzy", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown, &known), expected, "{unknown}");
        }
        assert_eq!(nearest(&"cmd".repeat(100_000), &known), None);
    }

    #[test]
    fn swapped_neighbours_are_one_step() {
        assert_eq!(
            (distance("ab", "ba"), distance("abc", "abc"), distance("", "abc"), distance("kitten", "sitting")),
            (1, 0, 3, 3)
        );
    }
}
