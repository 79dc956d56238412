//! A disk for tests, on which everything can fail.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::disk::{Disk, DiskFile, FileStatus};

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It works.
    Fine,
    /// It fails, and nothing has happened.
    Fails,
    /// It does a part, where it can.
    Short,
    /// The process is killed before it.
    KilledBefore,
    /// The process is killed after it.
    KilledAfter,
}

/// A disk in memory. Its clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Rc<RefCell<World>>);

#[derive(Debug, Default)]
struct World {
    names: BTreeMap<PathBuf, u64>,
    files: BTreeMap<u64, Vec<u8>>,
    /// What happens to the next operations; after these all work.
    fates: VecDeque<Fate>,
    /// Whoever did the operations was killed: nothing more happens.
    dead: bool,
}

/// An open file of it.
#[derive(Debug)]
pub(super) struct MemoryFile {
    disk: Memory,
    id: u64,
    append: bool,
}

impl Memory {
    /// Decides the fate of the operation after so many others.
    pub(super) fn doom(&self, after: usize, fate: Fate) {
        let fates = &mut self.0.borrow_mut().fates;
        if fates.len() <= after {
            fates.resize(after + 1, Fate::Fine);
        }
        fates[after] = fate;
    }

    pub(super) fn is_dead(&self) -> bool {
        self.0.borrow().dead
    }

    /// The next process begins.
    pub(super) fn revive(&self) {
        self.0.borrow_mut().dead = false;
    }

    /// Nothing fails from now on.
    pub(super) fn heal(&self) {
        self.0.borrow_mut().fates.clear();
    }

    /// The names and contents of all files, in the order of their names.
    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let world = self.0.borrow();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        world.names.iter().map(|(path, id)| (name(path), world.files[id].clone())).collect()
    }

    fn operate<T>(&self, act: impl FnOnce(&mut World, bool) -> io::Result<T>) -> io::Result<T> {
        let world = &mut *self.0.borrow_mut();
        let fate = if world.dead { Fate::KilledBefore } else { world.fates.pop_front().unwrap_or(Fate::Fine) };
        world.dead |= matches!(fate, Fate::KilledBefore | Fate::KilledAfter);
        match fate {
            Fate::Fails => Err(io::ErrorKind::StorageFull.into()),
            Fate::KilledBefore => Err(io::Error::other("killed")),
            Fate::Fine | Fate::Short => act(world, fate == Fate::Short),
            Fate::KilledAfter => {
                let _ = act(world, false);
                Err(io::Error::other("killed"))
            }
        }
    }
}

fn part(most: usize, short: bool) -> usize {
    if short { most.div_ceil(2) } else { most }
}

impl World {
    fn status(&self, id: u64) -> FileStatus {
        FileStatus { id: (0, id), size: self.files[&id].len() as u64, made: None }
    }

    fn put(&mut self, id: u64, bytes: &[u8], at: usize) {
        let file = self.files.get_mut(&id).unwrap();
        file.resize(file.len().max(at + bytes.len()), 0);
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl Disk for Memory {
    type File = MemoryFile;

    fn open(&self, path: &Path, append: bool) -> io::Result<MemoryFile> {
        let id = self.operate(|world, _| {
            let next = world.files.len() as u64;
            let id = *world.names.entry(path.to_owned()).or_insert(next);
            world.files.entry(id).or_default();
            Ok(id)
        })?;
        Ok(MemoryFile { disk: self.clone(), id, append })
    }

    fn status(&self, path: &Path) -> io::Result<Option<FileStatus>> {
        self.operate(|world, _| Ok(world.names.get(path).map(|id| world.status(*id))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate(|world, _| {
            let id = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            assert_eq!(world.names.insert(to.to_owned(), id), None, "an old file is never written over");
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<bool> {
        self.operate(|world, _| Ok(world.names.remove(path).is_some()))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.operate(|world, _| {
            let inside = world.names.keys().filter_map(|path| path.strip_prefix(directory).ok());
            Ok(inside.map(|name| name.to_str().unwrap().to_owned()).collect())
        })
    }
}

impl DiskFile for MemoryFile {
    fn status(&self) -> io::Result<FileStatus> {
        self.disk.operate(|world, _| Ok(world.status(self.id)))
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.disk.operate(|world, _| {
            let from = usize::try_from(at).unwrap();
            let bytes = world.files[&self.id].get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        self.disk.operate(|world, short| {
            let bytes = &bytes[..part(bytes.len(), short)];
            let at = if self.append { world.files[&self.id].len() } else { usize::try_from(at).unwrap() };
            world.put(self.id, bytes, at);
            Ok(bytes.len())
        })
    }

    fn splice_at(&self, pipe: BorrowedFd<'_>, at: u64, most: usize) -> io::Result<usize> {
        assert!(!self.append, "splice(2) refuses it");
        self.disk.operate(|world, short| {
            let mut bytes = vec![0; part(most, short)];
            let length = nix::unistd::read(pipe, &mut bytes)?;
            world.put(self.id, &bytes[..length], usize::try_from(at).unwrap());
            Ok(length)
        })
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.disk.operate(|world, _| {
            let file = world.files.get_mut(&self.id).unwrap();
            assert!(length <= file.len() as u64, "a file is never lengthened by a cut");
            file.truncate(usize::try_from(length).unwrap());
            Ok(())
        })
    }
}
