use std::os::unix::fs::symlink;
use std::process::Command;

use super::*;

const ROOM: usize = 4 * GRAIN;
/// Where the test of a full disk works, in a process of its own.
const INNER: &str = "SHARED_FILE_TEST_DIRECTORY";

#[test]
fn what_is_stored_is_in_the_file_and_in_the_next_mapping() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let mut shared = SharedFile::open(&path, ROOM).unwrap();
    assert_eq!(shared.len(), 0);
    shared.resize(GRAIN).unwrap();
    shared.word32(4).store(7, Ordering::Release);
    shared.word64(8).store(u64::MAX, Ordering::Release);
    shared.put(GRAIN - 3, b"end");
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!((bytes.len(), &bytes[..5], &bytes[GRAIN - 3..]), (GRAIN, &[0, 0, 0, 0, 7][..], &b"end"[..]));

    let other = SharedFile::open(&path, ROOM).unwrap();
    assert_eq!(other.word64(8).load(Ordering::Acquire), u64::MAX);
    assert_eq!(other.bytes(GRAIN - 3, 3), b"end");
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    assert!(path.metadata().unwrap().blocks() * 512 >= GRAIN as u64, "its blocks are allocated");
}

#[test]
fn nothing_moves_when_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let mut shared = SharedFile::open(&dir.path().join("file"), ROOM).unwrap();
    shared.resize(GRAIN).unwrap();
    let word = shared.pid_word(GRAIN - 4);
    shared.word32(GRAIN - 4).store(17, Ordering::Release);
    for grains in 2..=4 {
        shared.resize(grains * GRAIN).unwrap();
        assert_eq!(shared.pid_word(GRAIN - 4).address(), word.address());
        assert_eq!(shared.word32(GRAIN - 4).load(Ordering::Acquire), 17);
        shared.word32(grains * GRAIN - 4).store(1, Ordering::Release);
    }
    assert_eq!(shared.resize(5 * GRAIN).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(shared.len(), 4 * GRAIN);
}

#[test]
fn what_is_cut_off_is_zero_when_it_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, vec![0xff; GRAIN + 100]).unwrap();
    let mut shared = SharedFile::open(&path, ROOM).unwrap();
    assert_eq!(shared.bytes(GRAIN + 98, 2), [0xff, 0xff]);
    shared.resize(10).unwrap();
    shared.resize(2 * GRAIN).unwrap();
    assert_eq!(shared.bytes(8, 4), [0xff, 0xff, 0, 0]);
    assert_eq!(shared.word64(GRAIN).load(Ordering::Acquire), 0);
}

#[test]
fn a_file_that_is_larger_than_there_is_room_is_seen_in_part() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let shared = SharedFile::open(&path, ROOM).unwrap();
    assert_eq!(shared.len(), ROOM);
    assert_eq!(shared.word64(ROOM - 8).load(Ordering::Acquire), 0);
}

#[test]
fn only_a_plain_file_that_nobody_else_may_write_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("file"), dir.path().join("link"));
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    drop(SharedFile::open(&path, ROOM).unwrap());
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    symlink(&path, &link).unwrap();
    assert_eq!(SharedFile::open(&link, ROOM).unwrap_err().raw_os_error(), Some(libc::ELOOP));
    assert!(SharedFile::open(Path::new("/dev/null"), ROOM).is_err());
    assert!(SharedFile::open(dir.path(), ROOM).is_err());
}

#[test]
#[should_panic = "beyond"]
fn what_is_beyond_the_end_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let shared = SharedFile::open(&dir.path().join("file"), ROOM).unwrap();
    shared.word32(0);
}

#[test]
#[should_panic = "aligned"]
fn a_word_is_aligned() {
    let dir = tempfile::tempdir().unwrap();
    let mut shared = SharedFile::open(&dir.path().join("file"), ROOM).unwrap();
    shared.resize(GRAIN).unwrap();
    shared.word64(4);
}

#[test]
fn a_child_finds_its_number_there_before_its_first_instruction() {
    let dir = tempfile::tempdir().unwrap();
    let mut shared = SharedFile::open(&dir.path().join("file"), ROOM).unwrap();
    shared.resize(GRAIN).unwrap();
    let pid_word = shared.pid_word(64);
    let args = super::super::raw::CloneArgs {
        flags: libc::CLONE_PARENT_SETTID as u64,
        parent_tid: pid_word.address(),
        exit_signal: libc::SIGCHLD as u64,
        ..Default::default()
    };
    let word = shared.word32(64);
    // SAFETY: as fork(2); the child of many threads makes system calls only.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    if pid == 0 {
        // SAFETY: neither touches memory.
        unsafe {
            let own = libc::syscall(libc::SYS_getpid);
            libc::_exit(i32::from(i64::from(word.load(Ordering::Acquire)) != own));
        }
    }
    assert!(pid > 0);
    let mut status = 0;
    // SAFETY: the buffer lives over the call; the child is our own.
    assert_eq!(i64::from(unsafe { libc::waitpid(pid as i32, &raw mut status, 0) }), pid);
    assert_eq!(status, 0, "the child did not find its number");
    assert_eq!(i64::from(word.load(Ordering::Acquire)), pid);
}

#[test]
fn a_pid_word_outlives_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut shared = SharedFile::open(&dir.path().join("file"), ROOM).unwrap();
    shared.resize(GRAIN).unwrap();
    let word = shared.pid_word(0);
    drop(shared);
    word.store(1);
}

/// On a disk of its own that has room for one grain and not for two.
#[test]
fn a_full_disk_is_an_error_and_no_signal() {
    let Some(dir) = std::env::var_os(INNER) else { return a_full_disk() };
    let mut shared = SharedFile::open(&Path::new(&dir).join("file"), ROOM).unwrap();
    shared.resize(GRAIN).unwrap();
    shared.word32(GRAIN - 4).store(7, Ordering::Release);
    assert_eq!(shared.resize(2 * GRAIN).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(shared.len(), GRAIN);
    assert_eq!(shared.word32(GRAIN - 4).load(Ordering::Acquire), 7);
    // A file with a hole, as a copy may have: it gets its blocks before anybody stores to it, or an error.
    std::fs::remove_file(Path::new(&dir).join("file")).unwrap();
    drop(shared);
    File::create(Path::new(&dir).join("hole")).unwrap().set_len(2 * GRAIN as u64).unwrap();
    let mut hole = SharedFile::open(&Path::new(&dir).join("hole"), ROOM).unwrap();
    assert_eq!(hole.resize(2 * GRAIN).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    println!("the inner test was here");
}

/// Runs that test once more, in a mount namespace of its own.
fn a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let unshared = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(dir.path());
        command
    };
    const MOUNT: &str = r#"mount -t tmpfs -o size=100k none "$1""#;
    if !unshared(MOUNT).output().is_ok_and(|output| output.status.success()) {
        eprintln!("not tested: a full disk, which needs a mount namespace");
        return;
    }
    let mut command = unshared(&format!(r#"{MOUNT} && exec "$2" --exact --nocapture "$3""#));
    let test = "os::shared_file::tests::a_full_disk_is_an_error_and_no_signal";
    let output = command.arg(std::env::current_exe().unwrap()).arg(test).env(INNER, dir.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("the inner test was here"), "{output:?}");
}
