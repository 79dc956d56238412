//! What holds whatever fails, and whoever is killed when.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use proptest::collection::vec;
use proptest::prelude::*;

use super::disks::{Fate, Memory};
use super::raw::{self, STRETCH};
use super::{Disk, Ending, Filesystem, Form, Limits, LogError, LogFile, Rules, Scratch, Stream, Turn, stamped};
use crate::os::fifo;

/// More than there ever are.
const PLENTY: u32 = 10_000;

/// How large files may be, and how many are kept: of tiny ones only few, since there are too many.
fn sizes() -> impl Strategy<Value = (u64, u32)> {
    prop_oneof![1 => (1..8_u64, 0..3_u32), 2 => (30..400_u64, 0..3_u32), 6 => (30..400_u64, Just(PLENTY))]
}

#[derive(Clone, Debug)]
enum Deed {
    /// The service writes the rest of its line, and lines of these lengths.
    Write(Vec<usize>),
    /// It writes a part of a line.
    Begin(usize),
    /// The log is driven on so many steps.
    Drive(usize),
    /// The daemon is killed and started again.
    Restart,
    /// The file becomes too old.
    Age,
    /// An operation to come, after so many others, has this fate.
    Doom(usize, Fate),
    /// Somebody sets the clock.
    Clock(u64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let fate = prop_oneof![
        2 => Just(Fate::Fails),
        2 => Just(Fate::Short),
        1 => Just(Fate::KilledBefore),
        1 => Just(Fate::KilledAfter),
    ];
    let length = prop_oneof![8 => 1..40_usize, 1 => 1..400_usize];
    let deed = prop_oneof![
        6 => vec(length, 1..8).prop_map(Deed::Write),
        3 => (1..30_usize).prop_map(Deed::Begin),
        8 => (1..8_usize).prop_map(Deed::Drive),
        1 => Just(Deed::Restart),
        1 => Just(Deed::Age),
        4 => (0..12_usize, fate).prop_map(|(after, fate)| Deed::Doom(after, fate)),
        1 => (0..5_u64).prop_map(Deed::Clock),
    ];
    vec(deed, 0..60)
}

/// A service, its pipe, and the log of it on a disk of which everything may be expected.
struct Bench {
    memory: Memory,
    file: LogFile<Memory>,
    rules: Rules,
    limits: Limits,
    form: Form,
    pipe: (OwnedFd, OwnedFd),
    scratch: Scratch,
    out: Vec<u8>,
    /// All that the service has written.
    written: Vec<u8>,
    /// How many lines of that are whole.
    lines: usize,
    now: Duration,
    /// Whether it was killed in the middle of something.
    killed: bool,
}

impl Bench {
    fn new(rules: Rules, form: Form, max_size: u64) -> Self {
        let memory = Memory::default();
        Self {
            file: Self::open(&memory, rules),
            memory,
            rules,
            form,
            limits: Limits { max_size, aged: false },
            pipe: fifo::pipe().unwrap(),
            scratch: Scratch::new().unwrap(),
            out: Vec::new(),
            written: Vec::new(),
            lines: 0,
            now: Duration::from_secs(1_795_406_706),
            killed: false,
        }
    }

    fn open(memory: &Memory, rules: Rules) -> LogFile<Memory> {
        LogFile::new(memory.clone(), PathBuf::from("/logs/web"), Stream::Output, rules)
    }

    fn write(&mut self, bytes: &[u8]) {
        File::from(self.pipe.1.try_clone().unwrap()).write_all(bytes).unwrap();
        self.written.extend_from_slice(bytes);
    }

    /// A line says its number, so that none is like another.
    fn write_line(&mut self, length: usize) {
        let line = format!("{}:{}\n", self.lines, "x".repeat(length));
        self.write(line.as_bytes());
        self.lines += 1;
    }

    fn restart(&mut self) {
        self.memory.revive();
        self.file = Self::open(&self.memory, self.rules);
        let _ = self.file.prune();
        if self.memory.is_dead() {
            self.killed = true;
            self.restart();
        }
    }

    fn step(&mut self) -> Result<Turn, LogError> {
        self.file.refresh()?;
        let pipe = self.pipe.0.as_fd();
        let turn = if self.rules.stamped {
            let (form, limits, now) = (self.form, self.limits, self.now);
            stamped::turn(&mut self.file, pipe, &mut self.scratch, form, Ending::Open, limits, now, &mut self.out)
        } else {
            raw::turn(&mut self.file, pipe, &mut self.scratch, self.limits, usize::MAX, self.now)
        }?;
        if let Turn::Rotated(_) = turn {
            self.limits.aged = false;
        }
        self.file.prune()?;
        Ok(turn)
    }

    fn drive(&mut self, steps: usize) {
        for _ in 0..steps {
            let result = self.step();
            if self.memory.is_dead() {
                self.killed = true;
                self.restart();
            } else if matches!(result, Ok(Turn::Idle)) {
                return;
            }
        }
    }

    fn perform(&mut self, deeds: Vec<Deed>) {
        for deed in deeds {
            match deed {
                Deed::Write(lengths) => lengths.into_iter().for_each(|length| self.write_line(length)),
                // To numbered lines a part is the begin of the next number: none.
                Deed::Begin(_) if self.rules.stamped => self.write(b"0"),
                Deed::Begin(length) => self.write(&vec![b'y'; length]),
                Deed::Drive(steps) => self.drive(steps),
                Deed::Restart => self.restart(),
                Deed::Age => self.limits.aged = true,
                Deed::Doom(after, fate) => self.memory.doom(after, fate),
                Deed::Clock(seconds) => self.now = Duration::from_secs(1_795_406_704 + seconds),
            }
            // The pipe is never full: a service that waits is not what this is about.
            if fifo::waiting(self.pipe.0.as_fd()).unwrap() > 20_000 {
                self.drive(10);
            }
        }
        self.memory.heal();
        self.write_line(1);
        self.limits.aged = false;
        self.drive(usize::MAX);
        // What could not be removed is removed by the next start.
        self.restart();
        assert_eq!(fifo::waiting(self.pipe.0.as_fd()).unwrap(), 0, "all has left the pipe");
    }

    /// The old files, oldest first, and the current one.
    fn files(&self) -> Vec<Vec<u8>> {
        let files = self.memory.files();
        assert_eq!(files.last().map(|(name, _)| name.as_str()), Some("current.log"));
        files.into_iter().map(|(_, bytes)| bytes).collect()
    }

    fn line_around(&self, at: usize) -> usize {
        let begin = memchr::memrchr(b'\n', &self.written[..at]).map_or(0, |newline| newline + 1);
        let end = memchr::memchr(b'\n', &self.written[at..]).map_or(self.written.len(), |newline| at + newline + 1);
        end - begin
    }
}

fn last_line_length(file: &[u8]) -> usize {
    let before = file.strip_suffix(b"\n").unwrap_or(file);
    file.len() - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1)
}

proptest! {
    #[test]
    fn raw_bytes_are_there_once_and_in_order(
        deeds in deeds(),
        (max_size, keep) in sizes(),
    ) {
        let mut bench = Bench::new(Rules { stamped: false, keep }, Form::Timestamped, max_size);
        bench.perform(deeds);
        let files = bench.files();
        prop_assert!(files.len() - 1 <= keep as usize);
        let all = files.concat();
        prop_assert!(bench.written.ends_with(&all));
        prop_assert!(keep < PLENTY || all.len() == bench.written.len());
        let stretch = (max_size / 2).min(STRETCH);
        let mut at = bench.written.len() - all.len();
        for file in &files {
            let between_lines = at == 0 || bench.written[at - 1] == b'\n';
            prop_assert!(between_lines || bench.line_around(at) as u64 > max_size, "split at {}", at);
            let fits = file.len() as u64 <= max_size || last_line_length(file) as u64 > stretch;
            prop_assert!(fits, "{} bytes in a file of {}", file.len(), max_size);
            at += file.len();
        }
    }

    #[test]
    fn no_stamped_line_is_lost_or_torn(
        deeds in deeds(),
        json: bool,
        (max_size, keep) in sizes(),
    ) {
        let form = if json { Form::Json(Stream::Output) } else { Form::Timestamped };
        let mut bench = Bench::new(Rules { stamped: true, keep }, form, max_size);
        bench.perform(deeds);
        let files = bench.files();
        prop_assert!(files.len() - 1 <= keep as usize);
        let mut found = Vec::new();
        for file in &files {
            let text = std::str::from_utf8(file).unwrap();
            prop_assert!(text.is_empty() || text.ends_with('\n'));
            prop_assert!(text.len() as u64 <= max_size || text.lines().count() == 1);
            for line in text.lines() {
                found.push(if json {
                    let object: serde_json::Value = serde_json::from_str(line).unwrap();
                    object["line"].as_str().unwrap().to_owned()
                } else {
                    prop_assert!(super::lines::may_be_torn(line.as_bytes()) && line.is_char_boundary(28), "{}", line);
                    line[28..].to_owned()
                });
            }
        }
        let expected: Vec<_> = std::str::from_utf8(&bench.written).unwrap().lines().collect();
        if keep < PLENTY {
            prop_assert_eq!(found.last().map(String::as_str), expected.last().copied());
        } else if bench.killed {
            // Some may be there twice, but all are there, in order.
            let mut next = 0;
            for line in found {
                let known = expected[..next].contains(&line.as_str());
                prop_assert!(known || expected.get(next) == Some(&line.as_str()), "{} is missing", expected[next]);
                next += usize::from(!known);
            }
            prop_assert_eq!(next, expected.len());
        } else {
            prop_assert_eq!(found, expected);
        }
    }
}

/// Everything that a writer at full speed writes, in pieces that mean nothing, on a real disk.
fn flood(rules: Rules, max_size: u64) -> (Vec<u8>, Vec<Vec<u8>>) {
    let directory = tempfile::tempdir().unwrap();
    let mut file = LogFile::new(Filesystem, directory.path().to_owned(), Stream::Output, rules);
    let (out, mut into) = std::io::pipe().unwrap();
    let lines = |n: usize| format!("{n}:{}\n", "x".repeat(n * 7919 % 211)).into_bytes();
    let written: Vec<u8> = (0..60_000).flat_map(lines).collect();
    let (mut scratch, mut batch) = (Scratch::new().unwrap(), Vec::new());
    let limits = Limits { max_size, aged: false };
    let now = Duration::from_secs(1_795_406_706);
    std::thread::scope(|scope| {
        let written = &written;
        scope.spawn(move || {
            let mut left = &written[..];
            for n in 1.. {
                let (piece, rest) = left.split_at((n * 7919 % 9973).min(left.len()));
                into.write_all(piece).unwrap();
                left = rest;
                if left.is_empty() {
                    return;
                }
            }
        });
        loop {
            let mut ready = [PollFd::new(out.as_fd(), PollFlags::POLLIN)];
            poll(&mut ready, PollTimeout::NONE).unwrap();
            if !ready[0].revents().unwrap().contains(PollFlags::POLLIN) {
                break;
            }
            file.refresh().unwrap();
            let ending = Ending::Open;
            if rules.stamped {
                let form = Form::Timestamped;
                stamped::turn(&mut file, out.as_fd(), &mut scratch, form, ending, limits, now, &mut batch).unwrap();
            } else {
                raw::turn(&mut file, out.as_fd(), &mut scratch, limits, usize::MAX, now).unwrap();
            }
            file.prune().unwrap();
        }
    });
    let mut names = Filesystem.list(directory.path()).unwrap();
    names.sort();
    let files = names.iter().map(|name| std::fs::read(directory.path().join(name)).unwrap()).collect();
    (written, files)
}

#[test]
fn a_flood_is_in_real_files_once_and_in_order() {
    let max_size = 200_000;
    let (written, files) = flood(Rules { stamped: false, keep: PLENTY }, max_size);
    assert_eq!(files.concat(), written);
    assert!(files.len() > 30 && files.iter().all(|file| file.len() as u64 <= max_size && file.ends_with(b"\n")));
    let (written, files) = flood(Rules { stamped: true, keep: PLENTY }, max_size);
    let stamped = String::from_utf8(files.concat()).unwrap();
    let lines: String = stamped.lines().flat_map(|line| [&line[28..], "\n"]).collect();
    assert_eq!(lines.as_bytes(), written);
    assert!(files.len() > 30 && files.iter().all(|file| file.len() as u64 <= max_size && file.ends_with(b"\n")));
    let (written, files) = flood(Rules { stamped: false, keep: 3 }, max_size);
    assert!(files.len() == 4 && written.ends_with(&files.concat()));
}
