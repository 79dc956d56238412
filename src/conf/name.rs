//! What the name of a file says: whose conf it is, for which hosts, and which file of several wins.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::host::{Closeness, HostName, Hosts};
use crate::model::ServiceId;

/// What a file in the conf directory is, by its name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// `<id>.conf` or `<id>@<hosts>.conf`.
    Conf(ServiceId, Hosts),
    /// `herder.json` or `herder@<hosts>.json`.
    Settings(Hosts),
    /// None of ours.
    Ignored,
    /// It ends as ours do, and is wrong: why.
    Wrong(String),
}

/// Reads the name of a file.
pub(super) fn read(name: &OsStr) -> Named {
    let bytes = name.as_bytes();
    if bytes.starts_with(b".") {
        return Named::Ignored;
    }
    let Some(text) = name.to_str() else {
        return match bytes.ends_with(b".conf") {
            true => Named::Wrong("the file's name is not UTF-8, expected <id>.conf or <id>@<host>.conf".to_owned()),
            false => Named::Ignored,
        };
    };
    if let Some(stem) = text.strip_suffix(".conf") {
        return conf(stem).unwrap_or_else(|why| Named::Wrong(format!("the file's name is wrong: {why}")));
    }
    match text.strip_suffix(".json") {
        Some("herder") => Named::Settings(Hosts::ALL),
        Some(stem) => match stem.rsplit_once('@') {
            Some(("herder", hosts)) => match Hosts::parse(hosts) {
                Ok(hosts) => Named::Settings(hosts),
                Err(why) => Named::Wrong(format!("the file's name is wrong: {why}")),
            },
            _ => Named::Ignored,
        },
        None => Named::Ignored,
    }
}

/// Why a file is one of this host, by its name; `None` of one that is not, or is no conf.
pub fn why_here(file: &Path, host: &HostName) -> Option<String> {
    match read(file.file_name()?) {
        Named::Conf(_, hosts) => hosts.closeness(host).map(|closeness| closeness.to_string()),
        _ => None,
    }
}

fn conf(stem: &str) -> Result<Named, String> {
    let (id, hosts) = match stem.rsplit_once('@') {
        Some((id, hosts)) => (id, Hosts::parse(hosts)?),
        None => (stem, Hosts::ALL),
    };
    Ok(Named::Conf(id.parse().map_err(|error: crate::model::InvalidId| error.to_string())?, hosts))
}

/// What becomes of a file among the others for the same service. Numbers are places in the list of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// It is the one.
    Winner,
    /// It matches this host, and so does a more specific one.
    Overridden(usize),
    /// It is for other hosts.
    OtherHost,
    /// Others are as specific: nobody wins.
    Tie(Vec<usize>),
}

/// Decides between files by their names alone: for each key (a service, or the settings) the file that means this host
/// most closely.
pub(super) fn rank<K: Ord>(files: &[(K, &Hosts)], host: &HostName) -> Vec<Rank> {
    let closeness: Vec<Option<Closeness>> = files.iter().map(|(_, hosts)| hosts.closeness(host)).collect();
    let mut best: BTreeMap<&K, (Closeness, Vec<usize>)> = BTreeMap::new();
    for (at, (key, _)) in files.iter().enumerate() {
        let Some(own) = closeness[at] else { continue };
        let (closest, places) = best.entry(key).or_insert_with(|| (own, Vec::new()));
        if own > *closest {
            *closest = own;
            places.clear();
        }
        if own == *closest {
            places.push(at);
        }
    }
    let decide = |(at, (key, _)): (usize, &(K, &Hosts))| match (closeness[at], best.get(key)) {
        (Some(own), Some((closest, places))) if own < *closest => Rank::Overridden(places[0]),
        (Some(_), Some((_, places))) if places.len() > 1 => {
            Rank::Tie(places.iter().copied().filter(|other| *other != at).collect())
        }
        (Some(_), _) => Rank::Winner,
        (None, _) => Rank::OtherHost,
    };
    files.iter().enumerate().map(decide).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_conf_it_is() {
        let conf = |name: &str, id: &str, hosts: Option<&str>| {
            let hosts = hosts.map_or(Hosts::ALL, |text| Hosts::parse(text).unwrap());
            assert_eq!(read(OsStr::new(name)), Named::Conf(id.parse().unwrap(), hosts), "{name}");
        };
        conf("web.conf", "web", None);
        conf("web@a.conf", "web", Some("a"));
        conf("web@a.example.org.conf", "web", Some("a.example.org"));
        conf("web@a,b-*.conf", "web", Some("a,b-*"));
        conf("herder.conf", "herder", None);
        conf("a.conf.conf", "a.conf", None);
        assert_eq!(read(OsStr::new("herder.json")), Named::Settings(Hosts::ALL));
        assert_eq!(read(OsStr::new("herder@a,b.json")), Named::Settings(Hosts::parse("a,b").unwrap()));
    }

    #[test]
    fn other_names_are_ignored_and_wrong_ones_are_told() {
        for name in [
            ".web.conf",
            ".#web.conf",
            "web.conf~",
            "web.conf.bak",
            "web",
            "web.json",
            "x@herder.json",
            "conf",
            "#web.conf#",
        ] {
            assert_eq!(read(OsStr::new(name)), Named::Ignored, "{name}");
        }
        for name in [
            "@a.conf",
            "web@.conf",
            "we b.conf",
            "-web.conf",
            "web@a,.conf",
            "a@b@c.conf",
            "wéb.conf",
            "web~.conf",
            "herder@.json",
        ] {
            assert!(matches!(read(OsStr::new(name)), Named::Wrong(_)), "{name}");
        }
        assert!(matches!(read(OsStr::from_bytes(b"w\xff.conf")), Named::Wrong(_)));
        assert_eq!(read(OsStr::from_bytes(b"w\xff.txt")), Named::Ignored);
    }

    /// Files of one service on the host `web1.example.org`: a letter for each (winner, overridden, skipped, tie).
    #[track_caller]
    fn check(names: &[&str], expected: &str) {
        let hosts: Vec<Hosts> = names
            .iter()
            .map(|name| match read(OsStr::new(name)) {
                Named::Conf(_, hosts) => hosts,
                other => panic!("{name}: {other:?}"),
            })
            .collect();
        let files: Vec<((), &Hosts)> = hosts.iter().map(|hosts| ((), hosts)).collect();
        let letters: String = rank(&files, &"web1.example.org".parse().unwrap())
            .iter()
            .map(|rank| match rank {
                Rank::Winner => 'w',
                Rank::Overridden(_) => 'o',
                Rank::OtherHost => 's',
                Rank::Tie(_) => 't',
            })
            .collect();
        assert_eq!(letters, expected, "{names:?}");
    }

    #[test]
    fn the_most_specific_file_wins_by_its_name_alone() {
        check(&["a.conf"], "w");
        check(&["a@web2.conf"], "s");
        check(&["a.conf", "a@web1.conf"], "ow");
        check(&["a.conf", "a@web2.conf"], "ws");
        check(&["a.conf", "a@web*.conf"], "ow");
        check(&["a.conf", "a@web1,web2.conf", "a@web1.conf"], "oow");
        check(&["a@web1.conf", "a@web1.example.org.conf"], "tt");
        check(&["a@web*.conf", "a@web1,x.conf", "a.conf"], "tto");
        check(&["a@web*.conf", "a@web1,x.conf", "a@WEB1.conf"], "oow");
        check(&["a@web*.conf", "a@db*.conf"], "ws");
    }

    #[test]
    fn services_do_not_compete_with_each_other() {
        let all = Hosts::ALL;
        let ranks = rank(&[("a", &all), ("b", &all)], &"x".parse().unwrap());
        assert_eq!(ranks, [Rank::Winner, Rank::Winner]);
        let ranks = rank(&[("a", &all), ("a", &all)], &"x".parse().unwrap());
        assert_eq!(ranks, [Rank::Tie(vec![1]), Rank::Tie(vec![0])]);
    }
}
