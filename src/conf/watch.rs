//! Changes of a conf directory, told by inotify(7): of its files, of what they are symlinks to, and of the directory itself.
//!
//! Nothing is told of what this program does there, which is reading. Where the kernel does not know of changes, since another
//! machine makes them (NFS), nothing is told at all.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::sys::inotify::{AddWatchFlags, InotifyEvent, WatchDescriptor};

use super::name::{self, Named};
use crate::os::{Awaited, Notifier};

/// What can make a difference to what a name there stands for. A new file is told of also when it is made, for it may be a link
/// to one that is complete.
const NAMES: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);
/// The same for a directory of files that are read. One that is being written is told of when it is closed. Asked for only where
/// such files are: in the directory above, which may be a home, any file may be written at any time, and each of those would
/// wake this program for nothing.
const FILES: AddWatchFlags = NAMES.union(AddWatchFlags::IN_CLOSE_WRITE);
/// As many symlinks as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Tells the kernel what to watch. To do so may take as long as the disk does.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: Arc<Notifier>,
    armed: HashMap<WatchDescriptor, Armed>,
    /// What could not be watched was told.
    said: bool,
}

/// Hears of changes.
#[derive(Debug)]
pub(crate) struct Changes {
    inotify: Awaited,
    armed: HashMap<WatchDescriptor, Armed>,
}

/// What is watched, for [`Changes`] to know what matters.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchList(HashMap<WatchDescriptor, Armed>);

/// A directory of which something matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Armed {
    /// Every file that is named as a conf.
    confs: bool,
    /// These names.
    names: BTreeSet<OsString>,
    /// Some of the names may be those of files that are read.
    files: bool,
}

impl Armed {
    fn mask(&self) -> AddWatchFlags {
        if self.confs || self.files { FILES } else { NAMES }
    }

    /// The same directory, meant by another path.
    fn take_in(&mut self, other: Self) {
        self.confs |= other.confs;
        self.files |= other.files;
        self.names.extend(other.names);
    }
}

/// Both ends of a watch, which watches nothing yet. To be called in a runtime.
///
/// # Errors
/// The user's share of these is used up.
pub(crate) fn watch() -> io::Result<(Watch, Changes)> {
    let inotify = Notifier::new()?;
    let changes = Arc::clone(&inotify).awaited()?;
    let watch = Watch { inotify, armed: HashMap::new(), said: false };
    Ok((watch, Changes { inotify: changes, armed: HashMap::new() }))
}

impl Watch {
    /// Watches a conf directory as it is now, and nothing else any more. Whatever is read there afterwards, a later change of it
    /// is told.
    pub(crate) fn arm(&mut self, directory: &Path) -> WatchList {
        let mut armed: HashMap<WatchDescriptor, Armed> = HashMap::new();
        let mut failed = None;
        for (path, wanted) in wanted(directory) {
            match self.inotify.add(&path, wanted.mask()) {
                Ok(number) => {
                    let known = armed.entry(number).or_default();
                    let asked = wanted.mask();
                    known.take_in(wanted);
                    // One directory may be meant by several paths, and what is asked for last counts.
                    if known.mask() != asked
                        && let Err(error) = self.inotify.add(&path, known.mask())
                    {
                        failed = Some((path, error));
                    }
                }
                // What is above it tells when it comes.
                Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => {}
                Err(error) => failed = Some((path, error)),
            }
        }
        for gone in self.armed.keys().filter(|number| !armed.contains_key(number)) {
            self.inotify.remove(*gone);
        }
        if let (Some((path, error)), false) = (&failed, self.said) {
            log::warn!("changes in {} are not noticed, but by `reload`: {}", path.display(), error.desc());
        }
        self.said = failed.is_some();
        self.armed.clone_from(&armed);
        WatchList(armed)
    }
}

impl Changes {
    /// This is watched from now on.
    pub(crate) fn follow(&mut self, WatchList(armed): WatchList) {
        self.armed = armed;
    }

    /// Comes back when something has changed that matters. Cancel safe.
    ///
    /// # Errors
    /// Nothing can be heard any more.
    pub(crate) async fn next(&self) -> io::Result<()> {
        while !self.inotify.next().await?.iter().any(|event| self.matters(event)) {}
        Ok(())
    }

    fn matters(&self, event: &InotifyEvent) -> bool {
        // Some were lost, or it is of a directory that is only about to be known here.
        let Some(armed) = self.armed.get(&event.wd) else { return true };
        let Some(name) = &event.name else { return !event.mask.contains(AddWatchFlags::IN_IGNORED) };
        armed.names.contains(name) || armed.confs && is_of_a_conf(name)
    }
}

fn is_of_a_conf(name: &OsStr) -> bool {
    name::read(name) != Named::Ignored
}

/// Which directories matter to whoever reads a conf directory, and what in them.
fn wanted(directory: &Path) -> BTreeMap<PathBuf, Armed> {
    let mut wanted: BTreeMap<PathBuf, Armed> = BTreeMap::new();
    let links = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let links = links.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    let links = links.filter(|entry| is_of_a_conf(&entry.file_name()));
    let links = links.map(|entry| (entry.path(), true));
    for (path, is_file) in links.chain([(directory.to_owned(), false)]) {
        let mut steps = steps(&path).into_iter().peekable();
        while let Some((above, name)) = steps.next() {
            let wanted = wanted.entry(above).or_default();
            wanted.names.insert(name);
            wanted.files |= is_file && steps.peek().is_none();
        }
    }
    wanted.entry(directory.to_owned()).or_default().confs = true;
    wanted
}

/// The directories and names of which a change would lead a path somewhere else: that of each symlink on its way, and its last
/// one, or the first that is not there.
fn steps(path: &Path) -> Vec<(PathBuf, OsString)> {
    let mut steps = Vec::new();
    let mut here = PathBuf::from("/");
    let mut rest: VecDeque<OsString> = names(path).collect();
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        match next.symlink_metadata() {
            Ok(metadata) if metadata.is_symlink() && links < MOST_LINKS => {
                links += 1;
                steps.push((here.clone(), name));
                let target = std::fs::read_link(&next).unwrap_or_default();
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                names(&target).collect::<Vec<_>>().into_iter().rev().for_each(|name| rest.push_front(name));
            }
            Ok(_) => {
                if rest.is_empty() {
                    steps.push((here.clone(), name));
                }
                here = next;
            }
            Err(_) => {
                steps.push((here, name));
                break;
            }
        }
    }
    steps
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::from_bytes(b"..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    fn shown(root: &Path, steps: Vec<(PathBuf, OsString)>) -> Vec<String> {
        let of_it = steps.into_iter().map(|(above, name)| above.join(name));
        of_it.filter_map(|path| Some(path.strip_prefix(root).ok()?.display().to_string())).collect()
    }

    #[test]
    fn every_symlink_on_the_way_is_a_step_and_so_is_what_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        let at = |path: &str| root.join(path);
        fs::create_dir_all(at("releases/7/confs")).unwrap();
        fs::write(at("releases/7/confs/web.conf"), "{}").unwrap();
        symlink("releases/7", at("current")).unwrap();
        symlink(at("current"), at("absolute")).unwrap();
        symlink("../releases/7/confs", at("releases/up")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for (path, expected) in [
            ("releases/7/confs", &["releases/7/confs"][..]),
            ("current/confs", &["current", "releases/7/confs"]),
            ("absolute/confs/web.conf", &["absolute", "current", "releases/7/confs/web.conf"]),
            ("releases/up/web.conf", &["releases/up", "releases/7/confs/web.conf"]),
            ("current/none/confs", &["current", "releases/7/none"]),
            ("none/confs", &["none"]),
        ] {
            assert_eq!(shown(&root, steps(&at(path))), expected, "{path}");
        }
        assert!(steps(&at("loop")).len() <= MOST_LINKS + 1);
    }

    /// Whether a change is told of. That nothing is told is known by what is told after it.
    fn tells(directory: &Path, change: impl FnOnce()) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut watch, mut changes) = watch().unwrap();
            changes.follow(watch.arm(directory));
            change();
            tokio::time::timeout(Duration::from_millis(50), changes.next()).await.is_ok()
        })
    }

    #[test]
    fn what_may_change_what_is_read_is_told_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let (confs, other) = (root.path().join("confs"), root.path().join("other"));
        fs::create_dir(&confs).unwrap();
        fs::create_dir_all(other.join("..1")).unwrap();
        let at = |name: &str| confs.join(name);
        fs::write(at("web.conf"), "{}").unwrap();
        let change = |what: &str, change: &dyn Fn()| assert!(tells(&confs, change), "{what}");
        let quiet = |what: &str, change: &dyn Fn()| assert!(!tells(&confs, change), "{what}");
        change("a file is written", &|| fs::write(at("web.conf"), "{ }").unwrap());
        change("one is new", &|| fs::write(at("new.conf"), "{}").unwrap());
        change("settings", &|| fs::write(at("herder.json"), "{}").unwrap());
        change("its mode", &|| {
            fs::set_permissions(at("new.conf"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap()
        });
        change("another name", &|| fs::rename(at("new.conf"), at("other.conf")).unwrap());
        change("gone", &|| fs::remove_file(at("other.conf")).unwrap());
        change("a hard link", &|| fs::hard_link(at("web.conf"), at("same.conf")).unwrap());
        fs::write(other.join("target"), "{}").unwrap();
        change("a symlink", &|| symlink(other.join("target"), at("link.conf")).unwrap());
        change("what that leads to", &|| fs::write(other.join("target"), "{ }").unwrap());
        change("the directory is moved away", &|| fs::rename(&confs, root.path().join("away")).unwrap());
        change("and comes back", &|| fs::rename(root.path().join("away"), &confs).unwrap());
        let woken = |what: &str, expected: bool, change: &dyn Fn()| {
            let inotify = Notifier::new().unwrap();
            Watch { inotify: Arc::clone(&inotify), armed: HashMap::new(), said: false }.arm(&confs);
            change();
            assert_eq!(inotify.read().is_ok(), expected, "{what}");
        };
        fs::write(root.path().join("database"), "").unwrap();
        woken("what others write in the directory above", false, &|| {
            drop(fs::OpenOptions::new().append(true).open(root.path().join("database")).unwrap());
        });
        woken("what a symlink leads to", true, &|| {
            drop(fs::OpenOptions::new().append(true).open(other.join("target")).unwrap());
        });
        quiet("it is read", &|| _ = (fs::read(at("web.conf")).unwrap(), fs::read_dir(&confs).unwrap().count()));
        quiet("an editor's file", &|| fs::write(at(".web.conf.swp"), "").unwrap());
        quiet("a copy", &|| fs::write(at("web.conf~"), "").unwrap());
        quiet("beside it", &|| fs::write(root.path().join("file"), "").unwrap());
        quiet("beside what a symlink leads to", &|| fs::write(other.join("file"), "").unwrap());
        let open = std::cell::Cell::new(None);
        quiet("one that is being written", &|| open.set(Some(fs::File::create(at("web.conf")).unwrap())));
        change("until it is", &|| drop(open.take()));
    }
}
