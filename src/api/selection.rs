//! Whom a list of ids and globs names.

/// A service that could be named.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: &'a str,
    /// Whether a glob may mean it, or only its own id.
    pub by_glob: bool,
}

/// A name that nobody has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such service: {name}{}", nearest.as_ref().map(|id| format!(" (did you mean {id}?)")).unwrap_or_default())]
pub struct UnknownName {
    /// The id or glob as it was given.
    pub name: String,
    /// The known id that looks most like it, if one does.
    pub nearest: Option<String>,
}

/// The indices of those who are meant, in the order of the names and each once.
///
/// A name is an id or a glob of `*` (any text) and `?` (any one character). `*` alone may mean nobody, any other name
/// must mean somebody.
///
/// # Errors
/// Every name that means nobody.
pub fn select(names: &[String], candidates: &[Candidate<'_>]) -> Result<Vec<usize>, Vec<UnknownName>> {
    let mut chosen = Vec::new();
    let mut taken = vec![false; candidates.len()];
    let mut unknown = Vec::new();
    for name in names {
        let is_glob = name.contains(['*', '?']);
        let means = |candidate: &Candidate<'_>| {
            if is_glob {
                candidate.by_glob && glob(name.as_bytes(), candidate.id.as_bytes())
            } else {
                candidate.id == name
            }
        };
        let mut found = name == "*";
        for (index, _) in candidates.iter().enumerate().filter(|(_, candidate)| means(candidate)) {
            found = true;
            if !std::mem::replace(&mut taken[index], true) {
                chosen.push(index);
            }
        }
        if !found {
            unknown.push(UnknownName { name: name.clone(), nearest: nearest(name, candidates) });
        }
    }
    if unknown.is_empty() { Ok(chosen) } else { Err(unknown) }
}

/// Whether all of the text fits the pattern. Takes time linear in the text for each star, never more.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not fit: one character further.
    let mut again: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                again = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match again.as_mut() {
                Some((after, from)) => {
                    *from += 1;
                    (p, t) = (*after, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

/// The id that differs least, if it differs in no more than a third of its letters.
fn nearest(name: &str, candidates: &[Candidate<'_>]) -> Option<String> {
    let distance = |id: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &id.to_lowercase());
    let (distance, id) = candidates.iter().map(|candidate| (distance(candidate.id), candidate.id)).min()?;
    (distance <= name.len().max(3) / 3).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERD: [Candidate<'static>; 4] = [
        Candidate { id: "api-1", by_glob: true },
        Candidate { id: "api-2", by_glob: true },
        Candidate { id: "web", by_glob: true },
        Candidate { id: "api-elsewhere", by_glob: false },
    ];

    fn chosen(names: &[&str]) -> Result<Vec<&'static str>, Vec<String>> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        select(&names, &HERD)
            .map(|found| found.into_iter().map(|index| HERD[index].id).collect())
            .map_err(|unknown| unknown.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_and_globs_are_resolved_in_order_and_once() {
        assert_eq!(chosen(&["web", "api-1"]).unwrap(), ["web", "api-1"]);
        assert_eq!(chosen(&["api-*", "api-1", "api-elsewhere"]).unwrap(), ["api-1", "api-2", "api-elsewhere"]);
        assert_eq!(chosen(&["*"]).unwrap(), ["api-1", "api-2", "web"]);
        assert_eq!(chosen(&["?eb", "a*-?"]).unwrap(), ["web", "api-1", "api-2"]);
    }

    #[test]
    fn every_unknown_name_is_told_with_the_nearest_id() {
        assert_eq!(
            chosen(&["web", "wbe", "zzzz", "x*"]).unwrap_err(),
            ["no such service: wbe (did you mean web?)", "no such service: zzzz", "no such service: x*"]
        );
    }

    #[test]
    fn all_of_nobody_is_nobody() {
        assert_eq!(select(&["*".to_owned()], &[]), Ok(vec![]));
        assert!(select(&["a*".to_owned()], &[]).is_err());
    }

    #[test]
    fn stars_match_as_much_as_is_needed() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxxb", false),
            ("**", "x", true),
            ("?", "", false),
            ("a?", "a", false),
            ("*a", "aaaa", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }
}
