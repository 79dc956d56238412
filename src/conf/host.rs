//! Names of hosts, and which hosts a file name means.

use std::fmt;
use std::str::FromStr;

/// The name of a host, as its kernel or an operator says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostName(String);

/// A text that can't be the name of a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no host name: it must not begin with '.', and may not contain '/', blanks or control characters")]
pub struct InvalidHost(pub String);

impl HostName {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first label: what comes before the first dot. Never empty, and safe as part of a path.
    pub fn short(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }
}

impl FromStr for HostName {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let forbidden = |c: char| c == '/' || c.is_whitespace() || c.is_control();
        if text.is_empty() || text.starts_with('.') || text.contains(forbidden) {
            return Err(InvalidHost(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The hosts that a file is for: none named (all of them), or what stands after the `@`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hosts(Option<Vec<String>>);

/// How closely a file name means this host. More is closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closeness {
    /// It names no host.
    Everywhere,
    /// It has a list or a glob that matches.
    Among,
    /// It names this host and no other.
    Named,
}

impl Hosts {
    /// Without an `@`.
    pub(super) const ALL: Self = Self(None);

    /// What stands after the `@`: names or globs, separated by commas.
    ///
    /// # Errors
    /// An empty entry, or a character that no host name has; the text says which.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*' | '?');
        let patterns: Vec<String> = text.split(',').map(str::to_ascii_lowercase).collect();
        match patterns.iter().find(|pattern| pattern.is_empty() || !pattern.chars().all(known)) {
            None => Ok(Self(Some(patterns))),
            Some(wrong) if wrong.is_empty() => Err("expected the name of a host after \"@\" and each \",\"".to_owned()),
            Some(wrong) => {
                Err(format!("{wrong:?} is no host: letters, digits, '.', '_', '-' and the globs '*' and '?'"))
            }
        }
    }

    /// How closely they mean this host; `None` if not at all.
    pub(super) fn closeness(&self, host: &HostName) -> Option<Closeness> {
        let Some(patterns) = &self.0 else { return Some(Closeness::Everywhere) };
        let full = host.as_str().to_ascii_lowercase();
        let short = host.short().to_ascii_lowercase();
        let matches =
            |pattern: &String| glob(pattern.as_bytes(), full.as_bytes()) || glob(pattern.as_bytes(), short.as_bytes());
        if !patterns.iter().any(matches) {
            return None;
        }
        let single = patterns.len() == 1 && !patterns[0].contains(['*', '?']);
        Some(if single { Closeness::Named } else { Closeness::Among })
    }
}

impl fmt::Display for Closeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everywhere => "for every host",
            Self::Among => "a list or a glob that means this host",
            Self::Named => "for this host alone",
        })
    }
}

/// Whether a pattern with `*` and `?` matches all of a text. Takes at most the product of both lengths in steps.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last star does not match: one more character for the star.
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_safe_in_a_path() {
        for (text, short) in [("web1", "web1"), ("web1.example.org", "web1"), ("(none)", "(none)"), ("Web-1.", "Web-1")]
        {
            assert_eq!(text.parse::<HostName>().unwrap().short(), short);
        }
        for bad in ["", ".", "..", ".a", "a/b", "a b", "a\n", "a\0"] {
            assert_eq!(bad.parse::<HostName>(), Err(InvalidHost(bad.into())), "{bad:?}");
        }
    }

    #[test]
    fn a_file_name_means_hosts_by_name_list_and_glob() {
        use Closeness::{Among, Named};
        let check = |text: &str, host: &str, expected: Option<Closeness>| {
            let found = Hosts::parse(text).unwrap().closeness(&host.parse().unwrap());
            assert_eq!(found, expected, "{text} on {host}");
        };
        check("web1", "web1", Some(Named));
        check("WEB1", "web1.example.org", Some(Named));
        check("web1.example.org", "Web1.Example.ORG", Some(Named));
        check("web1.example.org", "web1", None);
        check("web1", "web10", None);
        check("web1", "db.web1", None);
        check("a,web1", "web1", Some(Among));
        check("web1,web1", "web1", Some(Among));
        check("a,b", "c", None);
        check("web-*", "web-7.example.org", Some(Among));
        check("*", "anything", Some(Among));
        check("*.example.org", "web.example.org", Some(Among));
        check("*.example.org", "web.example.com", None);
        check("w?b", "web", Some(Among));
        check("w?b", "wb", None);
        check("*a*b*c", "xxaxxbxxc", Some(Among));
        check("*a*b*c", "xxaxxcxxb", None);
        assert_eq!(Hosts::ALL.closeness(&"x".parse().unwrap()), Some(Closeness::Everywhere));
    }

    #[test]
    fn a_text_that_can_mean_no_host_is_refused() {
        for bad in ["", ",", "a,", ",a", "a b", "a/b", "a[1]", "wéb"] {
            assert!(Hosts::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_glob_with_many_stars_does_not_take_for_ever() {
        let pattern = "*a".repeat(60) + "b";
        assert!(!glob(pattern.as_bytes(), "a".repeat(10_000).as_bytes()));
    }
}
