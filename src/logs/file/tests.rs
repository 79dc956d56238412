//! Real files, and what others do to them.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::super::Filesystem;
use super::super::disks::{Fate, Memory};
use super::*;
use crate::os::fifo;

const NOW: Duration = Duration::from_secs(1_795_406_706);
const LINE: &[u8] = b"2026-11-23T04:05:06.123456Z text\n";

struct Bench {
    directory: tempfile::TempDir,
    file: LogFile<Filesystem>,
    pipe: (OwnedFd, OwnedFd),
}

impl Bench {
    fn new(stamped: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rules = Rules { stamped, keep: 2 };
        let file = LogFile::new(Filesystem, directory.path().join("logs/web"), Stream::Output, rules);
        Self { directory, file, pipe: fifo::pipe().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("logs/web/current.log")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names = Filesystem.list(&self.directory.path().join("logs/web")).unwrap();
        names.sort();
        names
    }

    /// One turn of a raw stream.
    fn splice(&mut self, text: &str) {
        nix::unistd::write(&self.pipe.1, text.as_bytes()).unwrap();
        self.file.refresh().unwrap();
        assert_eq!(self.file.splice(self.pipe.0.as_fd(), text.len(), Line::Unknown).unwrap(), text.len());
    }

    fn write(&mut self, bytes: &[u8]) {
        self.file.refresh().unwrap();
        self.file.write(bytes).unwrap();
    }
}

#[test]
fn files_are_for_their_owner_alone_and_go_on_where_they_ended() {
    let mut bench = Bench::new(false);
    bench.splice("one\n");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let path = bench.path();
    assert_eq!([&*path, path.parent().unwrap(), &bench.directory.path().join("logs")].map(mode), [0o600, 0o700, 0o700]);
    assert_eq!(bench.file.splice(bench.pipe.0.as_fd(), 9, Line::Unknown).unwrap(), 0, "nothing waits");
    bench.file = LogFile::new(Filesystem, path.parent().unwrap().to_owned(), Stream::Output, bench.file.rules);
    bench.splice("two");
    assert_eq!((bench.text().as_str(), bench.file.size()), ("one\ntwo", 7));
    assert_eq!(bench.file.line().unwrap(), Line::Open { began: 4 });
    assert!(bench.file.made().is_none_or(|made| made > NOW));
}

#[test]
fn nothing_but_a_file_is_written_to() {
    for stamped in [false, true] {
        let mut bench = Bench::new(stamped);
        bench.file.refresh().unwrap();
        let others = bench.directory.path().join("others");
        fs::write(&others, "theirs").unwrap();
        fs::remove_file(bench.path()).unwrap();
        symlink(&others, bench.path()).unwrap();
        let refused = bench.file.refresh().unwrap_err();
        assert!(matches!(&refused, LogError::Io { source, .. } if source.raw_os_error() == Some(libc::ELOOP)));
        assert!(bench.file.rotate(NOW).is_err());
        fs::remove_file(bench.path()).unwrap();
        drop(fifo::open_fifo(&bench.path()).unwrap());
        assert!(bench.file.refresh().is_err());
        fs::remove_file(bench.path()).unwrap();
        bench.write(LINE);
        assert_eq!((fs::read_to_string(others).unwrap().as_str(), bench.text().as_bytes()), ("theirs", LINE));
    }
}

#[test]
fn a_file_that_is_moved_or_deleted_is_opened_anew() {
    for stamped in [false, true] {
        let mut bench = Bench::new(stamped);
        bench.write(LINE);
        let moved = bench.path().with_extension("1");
        fs::rename(bench.path(), &moved).unwrap();
        bench.write(LINE);
        bench.write(LINE);
        assert_eq!(fs::read(&moved).unwrap(), LINE);
        assert_eq!(fs::read(bench.path()).unwrap(), [LINE, LINE].concat());
        fs::remove_dir_all(bench.path().parent().unwrap()).unwrap();
        bench.write(LINE);
        assert_eq!(fs::read(bench.path()).unwrap(), LINE);
    }
}

#[test]
fn a_file_that_is_truncated_or_written_to_goes_on_at_its_end() {
    let mut bench = Bench::new(false);
    bench.splice("one\ntwo");
    fs::copy(bench.path(), bench.path().with_extension("copy")).unwrap();
    fs::File::options().write(true).open(bench.path()).unwrap().set_len(0).unwrap();
    bench.splice("three\n");
    assert_eq!(bench.text(), "three\n", "and no hole before it");
    fs::write(bench.path(), "somebody's\n").unwrap();
    bench.splice("four\n");
    assert_eq!(bench.text(), "somebody's\nfour\n");
    let mut bench = Bench::new(true);
    bench.write(LINE);
    fs::File::options().write(true).open(bench.path()).unwrap().set_len(0).unwrap();
    // Even where it is noticed a turn later only.
    bench.file.write(LINE).unwrap();
    assert_eq!(bench.text().as_bytes(), LINE);
}

#[test]
fn a_torn_line_is_cut_and_what_was_written_as_it_is_stays() {
    for (before, after) in [
        (&[LINE, b"2026-11-23T04:05:06.12345"].concat()[..], LINE),
        (&[LINE, b"2026-11-23T04:05:06.123456Z half of a l"].concat(), LINE),
        (&[LINE, br#"{"ts":"2026-11-23"#].concat(), LINE),
        (b"2026", b""),
        (LINE, LINE),
        (b"", b""),
        (b"Password: ", b"Password: \n"),
        (b"raw\nPassword: ", b"raw\nPassword: \n"),
    ] {
        let mut bench = Bench::new(true);
        fs::create_dir_all(bench.path().parent().unwrap()).unwrap();
        fs::write(bench.path(), before).unwrap();
        bench.write(LINE);
        assert_eq!(fs::read(bench.path()).unwrap(), [after, LINE].concat(), "{before:?}");
        // As it is, nothing is ever cut.
        let mut bench = Bench::new(false);
        fs::create_dir_all(bench.path().parent().unwrap()).unwrap();
        fs::write(bench.path(), before).unwrap();
        bench.splice("raw");
        assert_eq!(fs::read(bench.path()).unwrap(), [before, b"raw"].concat());
    }
}

#[test]
fn a_change_of_the_format_goes_on_in_the_same_file() {
    let mut bench = Bench::new(false);
    bench.splice("Password: ");
    bench.file.follow(Rules { stamped: true, keep: 2 });
    bench.write(LINE);
    bench.file.follow(Rules { stamped: false, keep: 2 });
    bench.splice("raw");
    assert_eq!(bench.text().as_bytes(), [b"Password: \n", LINE, b"raw"].concat());
}

#[test]
fn the_end_of_a_file_is_found_however_long_its_last_line_is() {
    for rest in [0, 1, 511, 512, 513, 70_000, 300_000] {
        let mut bench = Bench::new(false);
        fs::create_dir_all(bench.path().parent().unwrap()).unwrap();
        for (before, began) in [("", 0), ("line\n", 5)] {
            fs::write(bench.path(), before.to_owned() + &"x".repeat(rest)).unwrap();
            bench.file.refresh().unwrap();
            let expected = if rest == 0 { Line::Over } else { Line::Open { began } };
            assert_eq!(bench.file.line().unwrap(), expected, "{rest}");
        }
    }
}

#[test]
fn rotated_files_are_kept_as_many_as_are_wanted() {
    let mut bench = Bench::new(false);
    assert_eq!(bench.file.rotate(NOW).unwrap(), None, "nothing is put away that holds nothing");
    for text in ["1\n", "2\n", "3\n", "4\n"] {
        bench.splice(text);
        bench.file.rotate(NOW).unwrap().unwrap();
        bench.file.prune().unwrap();
    }
    bench.splice("5\n");
    let old = ["20261123T040506.000000Z-0002.log", "20261123T040506.000000Z-0003.log"];
    assert_eq!(bench.names(), [old[0], old[1], "current.log"]);
    let directory = bench.path().parent().unwrap().to_owned();
    assert_eq!(old.map(|name| fs::read_to_string(directory.join(name)).unwrap()), ["3\n", "4\n"]);
    // Somebody else's file is not put away under our name.
    fs::remove_file(bench.path()).unwrap();
    assert_eq!(bench.file.rotate(NOW).unwrap(), None);
    assert_eq!((bench.names().len(), bench.text().as_str()), (3, ""));
}

#[test]
fn what_a_failed_write_leaves_is_cut_off_as_soon_as_that_can_be_done() {
    let memory = Memory::default();
    let rules = Rules { stamped: true, keep: 2 };
    let mut file = LogFile::new(memory.clone(), PathBuf::from("/logs"), Stream::Errors, rules);
    file.refresh().unwrap();
    file.write(LINE).unwrap();
    // A short write, one that fails, and a look at the file that fails.
    for (after, fate) in [Fate::Short, Fate::Fails, Fate::Fails].into_iter().enumerate() {
        memory.doom(after, fate);
    }
    assert!(file.write(LINE).is_err());
    assert!(memory.files()[0].1.len() > LINE.len() && file.size() == LINE.len() as u64);
    file.refresh().unwrap();
    file.write(LINE).unwrap();
    assert_eq!(memory.files(), [("stderr.log".to_owned(), [LINE, LINE].concat())]);
}

/// A small file system; none where the test may not mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(directory.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(directory))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_full_disk_tears_no_line_and_leaves_raw_bytes_in_the_pipe() {
    let Some(disk) = Small::mount() else {
        eprintln!("skipped: only root may mount a small file system");
        return;
    };
    let ballast = disk.0.path().join("ballast");
    let open =
        |stamped| LogFile::new(Filesystem, disk.0.path().join("web"), Stream::Output, Rules { stamped, keep: 2 });
    let mut file = open(true);
    file.refresh().unwrap();
    file.write(LINE).unwrap();
    fs::write(&ballast, vec![0; 40 << 10]).unwrap();
    let long = [&LINE[..LINE.len() - 1], &vec![b'x'; 50 << 10], b"\n"].concat();
    let full = file.write(&long).unwrap_err();
    assert!(matches!(&full, LogError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull), "{full:?}");
    let path = disk.0.path().join("web/current.log");
    assert_eq!(fs::read(&path).unwrap(), LINE);
    let mut file = open(false);
    let (out, into) = fifo::pipe().unwrap();
    nix::unistd::write(&into, &long).unwrap();
    file.refresh().unwrap();
    let mut moved = 0;
    while let Ok(more) = file.splice(out.as_fd(), long.len(), Line::Unknown) {
        moved += more;
    }
    assert!(moved > 0 && fifo::waiting(out.as_fd()).unwrap() == long.len() - moved);
    fs::remove_file(&ballast).unwrap();
    file.refresh().unwrap();
    while moved < long.len() {
        moved += file.splice(out.as_fd(), long.len(), Line::Unknown).unwrap();
    }
    assert_eq!(fs::read(&path).unwrap(), [LINE, &long].concat());
}
