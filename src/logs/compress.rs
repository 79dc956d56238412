//! Old files, compressed one after the other by a thread that lets all others go first.
//!
//! A file is compressed into a part of its own, which is named as a whole one only when it is on the disk; then the plain one
//! is removed. Whatever a crash leaves of this, the next look at the directory finishes or begins again. There is a thread
//! only as long as there is work.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::disk::{Disk, Filesystem};
use super::{LogError, OldName, Packing, rotation};
use crate::os;

/// How much is compressed between two looks at whether to end: some milliseconds.
const BLOCK: usize = 64 << 10;
/// How long the end of the daemon may wait for the block that is being compressed. A dead disk takes longer.
const LAST_BLOCK: Duration = Duration::from_secs(2);

/// The compressor is made on the stack, and moved from there.
const STACK: usize = 1 << 20;

/// Whom errors are told. It is called on the packer's thread.
type Tell = dyn Fn(LogError) + Send + Sync;

/// Compresses old files in the background.
pub(crate) struct Packer {
    queue: Arc<Queue>,
    tell: Arc<Tell>,
}

/// What is to be done, between those who ask for it and the thread.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// The thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// Each directory once, and whether its files are compressed.
    directories: VecDeque<(PathBuf, bool)>,
    working: bool,
    ending: bool,
}

impl Packer {
    /// Nothing is done before the first call.
    pub(crate) fn new(tell: impl Fn(LogError) + Send + Sync + 'static) -> Self {
        Self { queue: Arc::default(), tell: Arc::new(tell) }
    }

    /// Looks after a directory soon: finishes what a killed daemon left half done there, and compresses its old files where
    /// that is wanted. To be called for each directory at the start, and after each rotation of a file that is compressed.
    /// Never waits.
    pub(crate) fn look_after(&self, directory: &Path, compress: bool) {
        let mut state = self.queue.lock();
        match state.directories.iter_mut().find(|(known, _)| known == directory) {
            Some((_, before)) => *before |= compress,
            None => state.directories.push_back((directory.to_owned(), compress)),
        }
        if state.working || state.ending {
            return;
        }
        let (queue, tell) = (Arc::clone(&self.queue), Arc::clone(&self.tell));
        let thread = std::thread::Builder::new().name("gzip".to_owned()).stack_size(STACK);
        match thread.spawn(move || work(&Working { queue, left: Cell::new(false) }, &*tell)) {
            Ok(_) => state.working = true,
            Err(error) => {
                // It stays in the queue for the thread that the next call makes.
                drop(state);
                (self.tell)(LogError::NoThread(error));
            }
        }
    }
}

impl Drop for Packer {
    /// Ends the thread, in the middle of a file if it must be; the next start removes the part.
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.ending = true;
        drop(self.queue.ended.wait_timeout_while(state, LAST_BLOCK, |state| state.working));
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under it panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's hold on the queue: however it ends, that is known.
struct Working {
    queue: Arc<Queue>,
    /// Whether it has said that it ends. Another thread may work by the time that it does.
    left: Cell<bool>,
}

impl Working {
    /// The next directory; none where the thread shall end.
    fn next(&self) -> Option<(PathBuf, bool)> {
        let mut state = self.queue.lock();
        let next = if state.ending { None } else { state.directories.pop_front() };
        if next.is_none() {
            // Under the same lock as the look at what is to be done: nobody counts on a thread that is about to end.
            self.leave(&mut state);
        }
        next
    }

    fn leave(&self, state: &mut State) {
        if !self.left.replace(true) {
            state.working = false;
            self.queue.ended.notify_all();
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.leave(&mut self.queue.lock());
    }
}

fn work(working: &Working, tell: &Tell) {
    os::stay_behind();
    let stop = || working.queue.lock().ending;
    while let Some((directory, compress)) = working.next() {
        tend(&directory, compress, &stop, tell);
    }
}

/// Looks after a directory once.
fn tend(directory: &Path, compress: bool, stop: &dyn Fn() -> bool, tell: &Tell) {
    let plain = match rotation::finish_packing(&Filesystem, directory) {
        Ok(plain) => plain,
        Err(error) => return tell(error),
    };
    for name in plain.into_iter().filter(|_| compress) {
        match pack(directory, name, stop) {
            Ok(Packed::Stopped) => return,
            Ok(Packed::Done) => {}
            Err(error) => tell(error),
        }
    }
}

/// Whether a file was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packed {
    /// It was, or there is no such file any more.
    Done,
    /// There was no time. What there is now is as after a crash.
    Stopped,
}

fn pack(directory: &Path, name: OldName, stop: &dyn Fn() -> bool) -> Result<Packed, LogError> {
    let [plain, part, whole] =
        [Packing::Plain, Packing::Part, Packing::Gzip].map(|packing| directory.join(name.packed(packing).to_string()));
    let mut options = OpenOptions::new();
    let from = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&plain);
    let from = match from {
        // It was surplus.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Packed::Done),
        from => from.map_err(LogError::io("read", &plain))?,
    };
    match compress(&from, &part, stop) {
        Ok(Packed::Done) => {}
        Ok(Packed::Stopped) => return Ok(Packed::Stopped),
        Err(error) => {
            // On a full disk it takes what others need. One that can't be removed is removed by the next look.
            let _ = Filesystem.remove(&part);
            return Err(LogError::io("compress", &plain)(error));
        }
    }
    Filesystem.rename(&part, &whole).map_err(LogError::io("rename", &part))?;
    if stop() {
        return Ok(Packed::Stopped);
    }
    if !Filesystem.remove(&plain).map_err(LogError::io("remove", &plain))? {
        // It became surplus meanwhile, when this name for it was not there yet.
        Filesystem.remove(&whole).map_err(LogError::io("remove", &whole))?;
    }
    Ok(Packed::Done)
}

/// Compresses a file into a new one, until that is on the disk.
fn compress(mut from: &File, part: &Path, stop: &dyn Fn() -> bool) -> io::Result<Packed> {
    let metadata = from.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    let mut options = OpenOptions::new();
    let to = options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(part)?;
    // Logs compress well at any level, and a higher one takes several times as long.
    let mut encoder = GzEncoder::new(to, Compression::fast());
    let mut block = vec![0; BLOCK];
    loop {
        if stop() {
            return Ok(Packed::Stopped);
        }
        match from.read(&mut block) {
            Ok(0) => break,
            Ok(length) => encoder.write_all(&block[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let to = encoder.finish()?;
    // Before the plain one is removed, or a loss of power could leave neither.
    to.sync_data()?;
    // It is as old as what is in it.
    to.set_modified(metadata.modified()?)?;
    Ok(if stop() { Packed::Stopped } else { Packed::Done })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use flate2::read::GzDecoder;

    use super::*;

    const WATCHDOG: Duration = Duration::from_secs(60);

    fn name(day: u32, rest: &str) -> String {
        format!("202611{day:02}T000000.000000Z-0000{rest}")
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names = Filesystem.list(directory).unwrap();
        names.sort();
        names
    }

    fn text() -> Vec<u8> {
        (0..30_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect()
    }

    fn unpacked(path: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn never() -> bool {
        false
    }

    #[test]
    fn a_file_is_compressed_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let (plain, whole) = (directory.path().join(name(1, ".log")), directory.path().join(name(1, ".log.gz")));
        std::fs::write(&plain, text()).unwrap();
        let modified = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000);
        File::options().write(true).open(&plain).unwrap().set_modified(modified).unwrap();
        assert_eq!(pack(directory.path(), name(1, ".log").parse().unwrap(), &never).unwrap(), Packed::Done);
        assert_eq!(names(directory.path()), [name(1, ".log.gz")]);
        assert_eq!(unpacked(&whole), text());
        let metadata = whole.metadata().unwrap();
        assert_eq!((metadata.permissions().mode() & 0o777, metadata.modified().unwrap()), (0o600, modified));
        assert!(metadata.len() < text().len() as u64 / 3);
    }

    #[test]
    fn after_a_crash_in_any_step_there_is_the_file_once_and_whole() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let (plain, whole) = (directory.join(name(1, ".log")), directory.join(name(1, ".log.gz")));
        let mut traces = Vec::new();
        for steps in 0.. {
            std::fs::write(&plain, text()).unwrap();
            let left = Cell::new(steps);
            let stop = || left.replace(left.get().max(1) - 1) == 0;
            if pack(directory, name(1, ".log").parse().unwrap(), &stop).unwrap() == Packed::Done {
                break;
            }
            traces.push(names(directory));
            rotation::finish_packing(&Filesystem, directory).unwrap();
            let content = if whole.exists() { unpacked(&whole) } else { std::fs::read(&plain).unwrap() };
            assert_eq!((names(directory).len(), content), (1, text()), "{traces:?}");
            std::fs::remove_file(if whole.exists() { &whole } else { &plain }).unwrap();
        }
        traces.dedup();
        let half = vec![name(1, ".log"), name(1, ".log.gz.part")];
        assert_eq!(traces, [half, vec![name(1, ".log"), name(1, ".log.gz")]]);
    }

    #[test]
    fn what_becomes_surplus_meanwhile_does_not_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join(name(1, ".log"));
        for steps in 0..9 {
            std::fs::write(&plain, text()).unwrap();
            let left = Cell::new(steps);
            let prune = || {
                if left.replace(left.get() - 1) == 0 {
                    rotation::prune(&Filesystem, directory.path(), super::super::Stream::Output, 0).unwrap();
                }
                false
            };
            pack(directory.path(), name(1, ".log").parse().unwrap(), &prune).unwrap();
            let gone = left.get() < 0;
            assert_eq!(names(directory.path()).len(), usize::from(!gone), "{steps}");
            let _ = std::fs::remove_file(directory.path().join(name(1, ".log.gz")));
        }
    }

    #[test]
    fn the_thread_looks_after_what_it_is_told_and_tells_what_fails() {
        let directory = tempfile::tempdir().unwrap();
        let [good, bad, off] = ["good", "bad", "off"].map(|name| directory.path().join(name));
        for path in [&good, &bad, &off] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join(name(2, ".log")), text()).unwrap();
            std::fs::write(path.join(name(1, ".log.gz.part")), "half").unwrap();
        }
        // What can't be compressed, for it is no file.
        std::fs::create_dir(bad.join(name(1, ".log"))).unwrap();
        let (tell, told) = channel();
        let packer = Packer::new(move |error| _ = tell.send(error.to_string()));
        packer.look_after(&bad, true);
        packer.look_after(&good, true);
        packer.look_after(&off, false);
        assert_eq!(told.recv_timeout(WATCHDOG).unwrap(), format!("compress {}", bad.join(name(1, ".log")).display()));
        wait(&packer);
        assert_eq!(names(&good), [name(2, ".log.gz")]);
        assert_eq!(names(&bad), [name(1, ".log"), name(2, ".log.gz")]);
        assert_eq!(names(&off), [name(2, ".log")]);
        // The thread has ended; the next call makes another one.
        packer.look_after(&off, true);
        wait(&packer);
        assert_eq!(names(&off), [name(2, ".log.gz")]);
        drop(packer);
        assert!(told.recv_timeout(WATCHDOG).is_err(), "nothing else has failed");
    }

    #[test]
    fn the_end_waits_for_a_block_and_not_for_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join(name(1, ".log"));
        // Without blocks on the disk, and too large to be compressed before the end.
        File::create(&plain).unwrap().set_len(64 << 30).unwrap();
        let (tell, told) = channel();
        let packer = Packer::new(move |error: LogError| _ = tell.send(error));
        packer.look_after(directory.path(), true);
        let (part, begun) = (directory.path().join(name(1, ".log.gz.part")), Instant::now());
        while !part.exists() {
            assert!(begun.elapsed() < WATCHDOG);
            std::thread::yield_now();
        }
        let queue = Arc::clone(&packer.queue);
        drop(packer);
        assert!(!queue.lock().working, "it has ended");
        assert!(told.recv_timeout(WATCHDOG).is_err(), "and nothing has failed");
        assert!(plain.exists() && part.exists());
        rotation::finish_packing(&Filesystem, directory.path()).unwrap();
        assert_eq!(names(directory.path()), [name(1, ".log")]);
    }

    fn wait(packer: &Packer) {
        let state = packer.queue.lock();
        let (state, result) = packer.queue.ended.wait_timeout_while(state, WATCHDOG, |state| state.working).unwrap();
        assert!(!result.timed_out() && state.directories.is_empty());
    }
}
