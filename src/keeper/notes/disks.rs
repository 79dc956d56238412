//! Disks for tests: full, broken, slow.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::file::{Disk, Fill};
use super::{NotesError, Recalled};

/// A disk in memory. Its clones are the same disk.
#[derive(Clone)]
pub(super) struct Memory(Arc<Mutex<Content>>);

pub(super) struct Content {
    /// What is in the file.
    pub(super) bytes: Option<Vec<u8>>,
    /// How large it may get.
    pub(super) room: usize,
    /// How often its size was asked for, which every turn begins with.
    pub(super) looks: usize,
    /// How often lines were appended.
    pub(super) appends: usize,
    /// How often it was made anew.
    pub(super) replacements: usize,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Content { bytes: None, room: usize::MAX, looks: 0, appends: 0, replacements: 0 })))
    }

    /// A look at it, or a change of it.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Content) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// Whether this is the last clone: a thread that had one has ended.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.with(|content| content.bytes.clone().unwrap_or_default())
    }

    pub(super) fn recalled(&self) -> Recalled {
        Recalled::from_bytes(&self.bytes())
    }
}

fn full() -> NotesError {
    NotesError::io("write", "memory".as_ref())(std::io::ErrorKind::StorageFull.into())
}

impl Disk for Memory {
    fn size(&mut self) -> Option<u64> {
        self.with(|content| {
            content.looks += 1;
            content.bytes.as_ref().map(|bytes| bytes.len() as u64)
        })
    }

    fn append(&mut self, lines: &[u8]) -> Result<(), NotesError> {
        self.with(|content| {
            let room = content.room;
            let bytes = content.bytes.as_mut().filter(|bytes| bytes.len() + lines.len() <= room).ok_or_else(full)?;
            bytes.extend_from_slice(lines);
            content.appends += 1;
            Ok(())
        })
    }

    fn replace(&mut self, fill: &mut Fill<'_>) -> Result<(), NotesError> {
        let mut new = Vec::new();
        fill(&mut new).unwrap();
        self.with(|content| {
            // The old one is there until the new one is.
            let old = content.bytes.as_ref().map_or(0, Vec::len);
            if old + new.len() > content.room {
                return Err(full());
            }
            content.bytes = Some(new);
            content.replacements += 1;
            Ok(())
        })
    }
}

/// A disk that tells of every call and hangs in it until it is told to go on.
pub(super) struct Gated<D> {
    disk: D,
    enter: Sender<()>,
    go_on: Receiver<()>,
}

impl<D> Gated<D> {
    /// The disk, what tells that somebody waits in it, and what lets one call pass. Without the latter it no longer hangs.
    pub(super) fn new(disk: D) -> (Self, Receiver<()>, Sender<()>) {
        let ((enter, entered), (pass, go_on)) = (channel(), channel());
        (Self { disk, enter, go_on }, entered, pass)
    }

    fn wait(&self) {
        let _ = self.enter.send(());
        let _ = self.go_on.recv();
    }
}

impl<D: Disk> Disk for Gated<D> {
    fn size(&mut self) -> Option<u64> {
        self.disk.size()
    }

    fn append(&mut self, lines: &[u8]) -> Result<(), NotesError> {
        self.wait();
        self.disk.append(lines)
    }

    fn replace(&mut self, fill: &mut Fill<'_>) -> Result<(), NotesError> {
        self.wait();
        self.disk.replace(fill)
    }
}

/// A disk whose driver is no good.
pub(super) struct Panicking;

impl Disk for Panicking {
    fn size(&mut self) -> Option<u64> {
        panic!("as it is meant to")
    }

    fn append(&mut self, _: &[u8]) -> Result<(), NotesError> {
        unreachable!("its size is asked for first")
    }

    fn replace(&mut self, _: &mut Fill<'_>) -> Result<(), NotesError> {
        unreachable!("its size is asked for first")
    }
}
