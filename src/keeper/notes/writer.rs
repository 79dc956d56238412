//! The journal as the herder sees it, and the thread behind it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::file::{Disk, JournalFile};
use super::ledger::Ledger;
use super::queue::{Queue, State, Turn};
use super::{Header, NotesError, Recalled, Text, recall};
use crate::model::{ServiceId, with_causes};
use crate::os;

/// How long after an error the next try is made, if nothing calls for it earlier.
const RETRY: Duration = Duration::from_secs(10);
/// How long the last notes may take to be written.
const LAST_NOTES: Duration = Duration::from_secs(2);

/// Takes notes and never blocks: a thread writes them.
///
/// Written means handed to the kernel: that outlives every kill -9. After a loss of power there is another boot, for which
/// notes mean little, so nothing waits for the disk itself.
pub(crate) struct Notes {
    queue: Arc<Queue>,
    /// Hangs up when the thread ends.
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Notes {
    /// Reads what the last life left, and starts the thread, which first of all makes the file anew.
    ///
    /// # Errors
    /// What is there can't be read, or there can be no thread. A disk that can't be written to is no error here: what is
    /// put waits for it.
    pub(crate) fn open(path: PathBuf, header: Header) -> Result<(Self, Recalled), NotesError> {
        let recalled = recall(&path)?;
        let notes = Self::start(path, header, &recalled)?;
        Ok((notes, recalled))
    }

    /// Starts the thread, for a journal that begins with what was recalled; whatever else is there is replaced.
    ///
    /// # Errors
    /// There can be no thread.
    pub(crate) fn start(path: PathBuf, header: Header, recalled: &Recalled) -> Result<Self, NotesError> {
        Self::start_on(JournalFile::new(path), Ledger::new(header, recalled), RETRY)
    }

    pub(super) fn start_on(disk: impl Disk, ledger: Ledger, retry: Duration) -> Result<Self, NotesError> {
        let queue = Arc::new(Queue::new().map_err(NotesError::NoThread)?);
        let (end, ended) = channel::<()>();
        let closing = Closing(Arc::clone(&queue));
        let thread = std::thread::Builder::new().name("notes".to_owned()).stack_size(64 << 10);
        let thread = thread.spawn(move || {
            let (_ended, closing) = (end, closing);
            // Services go first: in a storm the notes come in a few large writes, not in many small ones in its middle.
            os::stay_behind();
            write_all(&closing.0, ledger, disk, retry);
        });
        Ok(Self { queue, ended, thread: Some(thread.map_err(NotesError::NoThread)?) })
    }

    /// Keeps the note of a service, and the text of its conf, in place of what was kept before. The text is written only
    /// where it has changed; it costs least to put the same allocation again.
    pub(crate) fn put(&self, service: ServiceId, note: impl Into<Vec<u8>>, conf: Option<Text>) {
        self.queue.leave(service, Some(State { note: note.into(), conf }));
    }

    /// Keeps nothing of a service any longer.
    pub(crate) fn remove(&self, service: &ServiceId) {
        self.queue.leave(service.clone(), None);
    }

    /// Resolves when all that was put before this call is written, or has failed to be. What has failed is kept, and tried
    /// again.
    ///
    /// # Errors
    /// Why it is not written.
    pub(crate) fn written(&self) -> impl Future<Output = Result<(), Arc<NotesError>>> + Send + use<> {
        let (tell, told) = oneshot::channel();
        // One that is not there any more need not be told.
        self.queue.ask(Box::new(move |result| _ = tell.send(result)));
        async move { told.await.unwrap_or_else(|_| Err(Arc::new(NotesError::Ended))) }
    }

    /// Waits until all that was put is written, for the moment before an exec, which takes the thread away. At most for
    /// `patience`.
    ///
    /// # Errors
    /// Why it is not written.
    pub(crate) fn flush_blocking(&self, patience: Duration) -> Result<(), Arc<NotesError>> {
        let (tell, told) = channel();
        self.queue.ask(Box::new(move |result| _ = tell.send(result)));
        told.recv_timeout(patience).unwrap_or_else(|error| {
            Err(Arc::new(match error {
                RecvTimeoutError::Timeout => NotesError::Slow,
                RecvTimeoutError::Disconnected => NotesError::Ended,
            }))
        })
    }
}

impl Drop for Notes {
    /// Waits until what is left is written, but not for long: a dead disk must not keep a daemon from ending.
    fn drop(&mut self) {
        self.queue.end();
        let ended = self.ended.recv_timeout(LAST_NOTES) == Err(RecvTimeoutError::Disconnected);
        if let Some(thread) = self.thread.take_if(|_| ended) {
            // A panic of it has been told.
            let _ = thread.join();
        }
    }
}

/// Sees to it that nobody waits for a thread that has ended, if it was by a panic.
struct Closing(Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn write_all(queue: &Queue, mut ledger: Ledger, mut disk: impl Disk, retry: Duration) {
    let (mut failing, mut large) = (false, false);
    loop {
        // Without anything unwritten there is no timer.
        let Turn { newest, waiters, last } = queue.next(failing.then_some(retry));
        ledger.take(newest);
        let result = ledger.write(&mut disk).map_err(Arc::new);
        tell(&mut failing, &result);
        let written = result.is_ok();
        for waiter in waiters {
            waiter(result.clone());
        }
        if last {
            return;
        }
        // After the answers: it takes a while, and makes nothing any safer.
        if written && ledger.has_grown(&mut disk) {
            let compacted = ledger.compact(&mut disk);
            if let (Err(error), false) = (&compacted, large) {
                log::warn!("{}; they go on in the old file, which grows", with_causes(error));
            }
            large = compacted.is_err();
        }
    }
}

/// Tells of the first error of a row and of its end.
fn tell(failing: &mut bool, result: &Result<(), Arc<NotesError>>) {
    match result {
        Err(error) if !*failing => {
            log::error!(
                "{}; if the whole daemon is killed now, the next one does not know the newest",
                with_causes(&**error)
            );
        }
        Ok(()) if *failing => log::info!("the notes are written again"),
        Ok(()) | Err(_) => {}
    }
    *failing = result.is_err();
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::super::disks::{Gated, Memory, Panicking};
    use super::*;

    /// Longer than any test takes: what comes earlier came by itself.
    const NEVER: Duration = Duration::from_secs(3600);
    const WATCHDOG: Duration = Duration::from_secs(60);

    fn header() -> Header {
        Header { boot: "b".to_owned(), herd: 7 }
    }

    fn start(disk: impl Disk, retry: Duration) -> Notes {
        Notes::start_on(disk, Ledger::new(header(), &Recalled::nothing()), retry).unwrap()
    }

    fn id(text: &str) -> ServiceId {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn what_one_life_put_the_next_one_recalls() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        let (notes, recalled) = Notes::open(path.clone(), header()).unwrap();
        assert_eq!((recalled.header, recalled.services.len(), recalled.damaged), (None, 0, 0));
        let conf: Arc<[u8]> = b"{}".as_slice().into();
        notes.put(id("web"), b"1", Some(Text::from(Arc::clone(&conf))));
        notes.put(id("old"), b"1", None);
        notes.written().await.unwrap();
        notes.put(id("web"), b"2", Some(Text::from(conf)));
        notes.remove(&id("old"));
        notes.written().await.unwrap();
        // Not dropped before it is read: as a killed one, which says no farewell.
        let read = recall(&path).unwrap();
        assert_eq!(read.header.as_deref(), Some(&header()));
        assert_eq!(read.services.keys().map(ServiceId::as_str).collect::<Vec<_>>(), ["web"]);
        drop(notes);
        let (notes, recalled) = Notes::open(path.clone(), header()).unwrap();
        assert_eq!(recalled.services, read.services);
        notes.flush_blocking(WATCHDOG).unwrap();
        let kept = &recall(&path).unwrap().services[&id("web")];
        assert_eq!((kept.note.as_slice(), kept.conf.as_deref()), (b"2".as_slice(), Some(b"{}".as_slice())));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2, "made anew at the start");
    }

    #[test]
    fn a_journal_that_cannot_be_read_is_not_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(matches!(Notes::open(path, header()), Err(NotesError::Io { what: "read", .. })));
    }

    #[test]
    fn a_disk_that_hangs_holds_up_nobody_and_takes_no_memory() {
        let memory = Memory::new();
        let (disk, entered, pass) = Gated::new(memory.clone());
        let notes = start(disk, NEVER);
        entered.recv_timeout(WATCHDOG).unwrap();
        for note in 0..10_000 {
            notes.put(id(&format!("s{}", note % 10)), note.to_string().as_bytes(), None);
        }
        let mut written = pin!(notes.written());
        let context = &mut Context::from_waker(Waker::noop());
        assert!(written.as_mut().poll(context).is_pending());
        assert!(matches!(
            notes.flush_blocking(Duration::from_millis(1)).map_err(Arc::into_inner),
            Err(Some(NotesError::Slow))
        ));
        // The new file, without any of it.
        pass.send(()).unwrap();
        entered.recv_timeout(WATCHDOG).unwrap();
        assert!(memory.recalled().services.is_empty());
        assert!(written.as_mut().poll(context).is_pending());
        pass.send(()).unwrap();
        notes.flush_blocking(WATCHDOG).unwrap();
        assert!(matches!(written.as_mut().poll(context), Poll::Ready(Ok(()))));
        assert_eq!(memory.with(|content| content.appends), 1);
        assert_eq!(memory.bytes().split(|&byte| byte == b'\n').count(), 1 + 10 + 1);
        assert_eq!(memory.recalled().services[&id("s9")].note, b"9999");
    }

    #[test]
    fn what_was_not_written_is_told_and_tried_again_without_a_call() {
        let memory = Memory::new();
        memory.with(|content| content.room = 0);
        let (disk, entered, pass) = Gated::new(memory.clone());
        let notes = start(disk, Duration::from_millis(1));
        notes.put(id("web"), b"1", None);
        let asked = std::thread::spawn({
            let written = notes.written();
            move || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(written)
        });
        // The try of the start, and that of the call.
        for _ in 0..2 {
            entered.recv_timeout(WATCHDOG).unwrap();
            pass.send(()).unwrap();
        }
        assert!(matches!(*asked.join().unwrap().unwrap_err(), NotesError::Io { .. }));
        for _ in 0..3 {
            entered.recv_timeout(WATCHDOG).unwrap();
            pass.send(()).unwrap();
        }
        entered.recv_timeout(WATCHDOG).unwrap();
        memory.with(|content| content.room = usize::MAX);
        pass.send(()).unwrap();
        notes.flush_blocking(WATCHDOG).unwrap();
        // With nothing unwritten no timer runs. (One more look may belong to the turn that has just answered.)
        let looks = memory.with(|content| content.looks);
        assert_eq!(entered.recv_timeout(Duration::from_millis(100)), Err(RecvTimeoutError::Timeout));
        assert!(memory.with(|content| content.looks) <= looks + 1);
        assert_eq!(memory.recalled().services[&id("web")].note, b"1");
    }

    #[test]
    fn a_grown_file_is_made_anew_by_itself() {
        let memory = Memory::new();
        let notes = start(memory.clone(), NEVER);
        for note in 1..=500 {
            notes.put(id("web"), format!("{note:0>10000}").as_bytes(), None);
            notes.flush_blocking(WATCHDOG).unwrap();
        }
        drop(notes);
        let replacements = memory.with(|content| content.replacements);
        assert!((3..10).contains(&replacements), "made anew {replacements} times");
        assert!(memory.bytes().len() < 2 << 20);
        assert_eq!(memory.recalled().services[&id("web")].note, format!("{:0>10000}", 500).into_bytes());
    }

    #[test]
    fn the_end_writes_what_is_left_and_waits_for_no_dead_disk() {
        let memory = Memory::new();
        let (disk, entered, pass) = Gated::new(memory.clone());
        let notes = start(disk, NEVER);
        entered.recv_timeout(WATCHDOG).unwrap();
        notes.put(id("web"), b"1", None);
        drop(pass);
        drop(notes);
        assert!(memory.is_alone());
        assert_eq!(memory.recalled().services[&id("web")].note, b"1");

        let (disk, entered, pass) = Gated::new(Memory::new());
        let notes = start(disk, NEVER);
        entered.recv_timeout(WATCHDOG).unwrap();
        drop(notes);
        drop(pass);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_thread_that_has_panicked() {
        let notes = start(Panicking, NEVER);
        assert!(matches!(*notes.written().await.unwrap_err(), NotesError::Ended));
        notes.put(id("web"), b"1", None);
        assert_eq!(notes.ended.recv_timeout(WATCHDOG), Err(RecvTimeoutError::Disconnected));
        assert!(matches!(*notes.flush_blocking(WATCHDOG).unwrap_err(), NotesError::Ended));
    }
}
