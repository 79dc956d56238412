//! What confs said when they were last read: one that has not changed since is neither read nor parsed again.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::stat::FileStat;

use super::Settings;
use crate::model::{ServiceId, ServiceSpec};

/// The times of files may be so coarse (FAT has the largest), so that a file which was read that soon after its last change
/// may have been changed once more at the same time.
const GRAIN: Duration = Duration::from_secs(2);

/// The good confs of a directory, by the names of their files.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    settings: Settings,
    specs: HashMap<OsString, (Stamp, Arc<ServiceSpec>)>,
    /// What services follow whose files this program has not looked at yet.
    followed: HashMap<ServiceId, Arc<ServiceSpec>>,
}

/// What a file was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&FileStat> for Stamp {
    fn from(stat: &FileStat) -> Self {
        Self {
            file: (stat.st_dev, stat.st_ino),
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl Stamp {
    /// Whether a change after this moment would show: the last one was long before.
    fn is_settled(&self, now: SystemTime) -> bool {
        let (seconds, nanos) = self.changed;
        let changed = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
        let changed = changed.map(|(seconds, nanos)| UNIX_EPOCH + Duration::new(seconds, nanos));
        changed.is_some_and(|changed| changed + GRAIN <= now)
    }
}

impl Remembered {
    /// Forgets what was read with other settings.
    pub(super) fn hold(&mut self, settings: Option<&Settings>) {
        let settings = settings.cloned().unwrap_or_default();
        if self.settings != settings {
            self.specs.clear();
            self.settings = settings;
        }
    }

    /// What this file still says, if it is what it was. Of one that is not known this is not asked.
    pub(super) fn get(&self, name: &OsStr, stamp: impl FnOnce() -> Option<Stamp>) -> Option<Arc<ServiceSpec>> {
        let (known, spec) = self.specs.get(name)?;
        (stamp() == Some(*known)).then(|| Arc::clone(spec))
    }

    /// These are followed already, as their texts say which came from whoever ran before this program.
    pub(crate) fn follow(&mut self, spec: Arc<ServiceSpec>) {
        self.followed.insert(spec.id.clone(), spec);
    }

    /// What is followed already of a service, and was made of the very same texts. It is asked for once: from then on the file
    /// itself is remembered.
    pub(super) fn take_followed(
        &mut self,
        id: &ServiceId,
        text: &str,
        settings: &Settings,
    ) -> Option<Arc<ServiceSpec>> {
        let spec = self.followed.remove(id)?;
        let same = *spec.origin.conf == *text && spec.origin.settings == settings.origin.settings;
        (same && !names_accounts(&spec)).then_some(spec)
    }

    /// Remembers what a file says that was looked at before it was read. Users and groups may mean others tomorrow, so that
    /// confs with some are always read.
    pub(super) fn put(&mut self, name: &OsStr, stamp: Stamp, spec: &Arc<ServiceSpec>, now: SystemTime) {
        if stamp.is_settled(now) && !names_accounts(spec) {
            self.specs.insert(name.to_owned(), (stamp, Arc::clone(spec)));
        } else {
            self.specs.remove(name);
        }
    }

    /// Forgets files that are not there any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(&OsStr) -> bool) {
        self.specs.retain(|name, _| is_there(name));
        self.followed = HashMap::new();
    }

    /// Where a spec says the same as the one that is followed, the latter is kept: two of each would be in memory.
    pub(crate) fn share<'s>(&mut self, follows: impl Fn(&ServiceSpec) -> Option<&'s Arc<ServiceSpec>>) {
        for (_, spec) in self.specs.values_mut() {
            if let Some(same) = follows(spec).filter(|same| !Arc::ptr_eq(same, spec) && ***same == **spec) {
                *spec = Arc::clone(same);
            }
        }
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size().cast_signed(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Whether it says something that the system may answer otherwise tomorrow.
fn names_accounts(spec: &ServiceSpec) -> bool {
    spec.process.user.is_some() || spec.process.group.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(changed: i64, size: i64) -> Stamp {
        Stamp { file: (1, 2), size, modified: (changed, 0), changed: (changed, 5) }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_file_is_known_as_long_as_nothing_of_it_has_changed() {
        let mut known = Remembered::default();
        let spec = Arc::new(ServiceSpec::new("web".parse().unwrap(), "x"));
        let name = OsStr::new("web.conf");
        known.put(name, stamp(100, 7), &spec, at(103));
        assert!(known.get(name, || Some(stamp(100, 7))).is_some_and(|same| Arc::ptr_eq(&same, &spec)));
        for other in [stamp(101, 7), stamp(100, 8), Stamp { file: (1, 3), ..stamp(100, 7) }] {
            assert!(known.get(name, || Some(other)).is_none(), "{other:?}");
        }
        assert!(known.get(OsStr::new("db.conf"), || Some(stamp(100, 7))).is_none());
        known.retain(|name| name != "web.conf");
        assert!(known.get(name, || Some(stamp(100, 7))).is_none());
    }

    #[test]
    fn what_may_have_changed_within_a_tick_or_names_a_user_is_read_again() {
        let mut known = Remembered::default();
        let mut spec = ServiceSpec::new("web".parse().unwrap(), "x");
        let name = OsStr::new("web.conf");
        // Just changed, or by a clock that is ahead.
        for now in [at(100), at(101), at(50)] {
            known.put(name, stamp(100, 7), &Arc::new(spec.clone()), at(200));
            known.put(name, stamp(100, 7), &Arc::new(spec.clone()), now);
            assert!(known.get(name, || Some(stamp(100, 7))).is_none(), "{now:?}");
        }
        spec.process.user = Some("nobody".into());
        known.put(name, stamp(100, 7), &Arc::new(spec), at(200));
        assert!(known.get(name, || Some(stamp(100, 7))).is_none());
    }

    #[test]
    fn other_settings_make_all_be_read_again() {
        let mut known = Remembered::default();
        let spec = Arc::new(ServiceSpec::new("web".parse().unwrap(), "x"));
        known.put(OsStr::new("web.conf"), stamp(100, 7), &spec, at(200));
        known.hold(Some(&Settings::default()));
        assert!(known.get(OsStr::new("web.conf"), || Some(stamp(100, 7))).is_some());
        known.hold(Some(&Settings { control_group: Some("staff".into()), ..Settings::default() }));
        assert!(known.get(OsStr::new("web.conf"), || Some(stamp(100, 7))).is_none());
    }
}
