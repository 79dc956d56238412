//! The plan of the house, held: floors, forbidden words, lengths, and that ARCHITECTURE.md knows every room.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms by floor, from the ground. A room imports from lower floors only, so there can be no circle.
const FLOORS: [(&[&str], usize); 8] = [
    (&["model"], 0),
    (&["os"], 1),
    (&["conf", "api", "policy", "process", "logs", "bus", "testing"], 2),
    (&["service", "observe", "keeper", "cli"], 3),
    (&["herder"], 4),
    (&["front"], 5),
    (&["daemon"], 6),
    (&["main", "lib"], 7),
];

/// Words that a room never uses, and why.
const FORBIDDEN: [(&str, &[&str], &str); 9] = [
    ("model", &["serde", "tokio", "actix", "Instant", "SystemTime", "std::fs", "std::io::Read"], "plain values"),
    ("policy", &["actix", "tokio", "Instant", "SystemTime", "crate::os", "nix::", "fastrand"], "pure decisions"),
    ("api", &["actix", "tokio", "std::fs", "crate::policy", "crate::herder"], "wire types only"),
    ("conf", &["actix", "tokio", "Instant"], "texts to specs"),
    ("cli", &["actix", "crate::herder", "crate::service", "crate::policy"], "the terminal can't reach an actor"),
    ("service", &["std::fs", "nix::", "SystemTime"], "thin actors"),
    ("herder", &["std::fs", "nix::", "SystemTime", "block_on"], "handlers never wait"),
    ("front", &["block_on", "crate::process", "crate::policy"], "a door"),
    ("observe", &["actix", "crate::herder", "crate::service"], "watchers of the bus"),
];

/// Lines of a file before its tests.
const LONGEST: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files.extend(rust_files(&entry));
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            files.push(entry);
        }
    }
    files.sort();
    files
}

/// A file's code: without its tests, and without comments.
fn code(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let before_tests = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    before_tests.map(|line| line.split("//").next().unwrap_or_default().to_owned()).collect()
}

/// The room of a file below `src`.
fn room(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().find(|(rooms, _)| rooms.contains(&room)).map(|(_, floor)| *floor)
}

fn sources() -> Vec<PathBuf> {
    let files = rust_files(&root().join("src"));
    assert!(files.len() > 50, "the sources are not where this test looks: {}", files.len());
    files
}

/// The rooms that a line of code names by `crate::room`, lists in braces included.
fn named_rooms(code: &[String]) -> BTreeSet<String> {
    let text = code.join("\n");
    let mut rooms = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name: String = name.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            rooms.insert(name);
        }
    }
    rooms
}

#[test]
fn every_room_has_a_floor_and_imports_from_lower_ones_only() {
    let mut wrong = Vec::new();
    for file in sources() {
        let here = room(&file);
        let Some(own) = floor(&here) else {
            wrong.push(format!("{}: the room {here} has no floor", file.display()));
            continue;
        };
        for other in named_rooms(&code(&file)) {
            match floor(&other) {
                _ if other == here => {}
                // `testing` is the public name of the fake spawner.
                _ if here == "testing" && other == "process" => {}
                Some(theirs) if theirs < own => {}
                Some(_) => wrong.push(format!("{}: {here} imports from {other}, which is no lower", file.display())),
                None => wrong.push(format!("{}: names crate::{other}, which is no room", file.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_room_uses_a_word_that_is_not_for_it() {
    let mut wrong = Vec::new();
    for file in sources() {
        for (_, words, why) in FORBIDDEN.iter().filter(|(forbidden, ..)| *forbidden == room(&file)) {
            for line in code(&file) {
                wrong.extend(
                    words.iter().filter(|word| line.contains(**word)).map(|word| {
                        format!("{}: {word:?} does not belong here ({why}): {}", file.display(), line.trim())
                    }),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_has_one_room() {
    for file in sources().iter().filter(|file| room(file) != "os") {
        let named = code(file).iter().any(|line| line.contains("unsafe "));
        assert!(!named, "{}: unsafe code belongs into os/", file.display());
    }
}

#[test]
fn processes_are_signalled_in_one_room() {
    for file in sources().iter().filter(|file| room(file) != "os") {
        for word in ["libc::kill", "nix::sys::signal", "pidfd_send_signal", "killpg"] {
            let named = code(file).iter().any(|line| line.contains(word));
            assert!(!named, "{}: {word} belongs into os/", file.display());
        }
    }
}

#[test]
fn no_file_is_too_long() {
    for file in sources() {
        let lines = code(&file).len();
        assert!(lines <= LONGEST, "{}: {lines} lines before its tests; cut it by concern", file.display());
    }
}

#[test]
fn nothing_sleeps_and_nothing_is_left_to_do() {
    let here = root().join("tests/tidy.rs");
    let files = ["src", "tests", "examples"].map(|directory| rust_files(&root().join(directory))).concat();
    for file in files.iter().filter(|file| **file != here) {
        let text = fs::read_to_string(file).unwrap();
        for word in
            ["thread::sleep", "time::sleep(", "todo!(", "unimplemented!(", "#[ignore", "#[allow(", "TODO", "FIXME"]
        {
            assert!(!text.contains(word), "{}: {word}", file.display());
        }
    }
}

#[test]
fn rooms_are_not_called_anything_and_everything() {
    for file in sources() {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let vague = ["utils", "util", "helpers", "helper", "manager", "common", "imp", "misc"];
        assert!(!vague.contains(&name.as_str()), "{}: name it for its concern", file.display());
    }
}

#[test]
fn architecture_names_every_room_and_no_other() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rooms: BTreeSet<String> = sources().iter().map(|file| room(file)).collect();
    for room in &rooms {
        let (folder, file) = (format!("`{room}/`"), format!("`{room}.rs`"));
        assert!(text.contains(&folder) || text.contains(&file), "ARCHITECTURE.md does not name the room {room}");
    }
    for line in text.lines().filter(|line| line.starts_with("### `")) {
        let name = line.trim_start_matches("### `").split(['`', '/', '.']).next().unwrap();
        assert!(rooms.contains(name), "ARCHITECTURE.md describes {name}, which is no room");
    }
}

#[test]
fn every_room_says_what_never_happens_in_it() {
    for entry in fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            let door = entry.join("mod.rs");
            let text = fs::read_to_string(&door).unwrap();
            let words: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("//!")).collect();
            assert!(words.join("").contains("never happens here"), "{}: what never happens here?", door.display());
        }
    }
}
