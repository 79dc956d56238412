//! Which cgroup may have the herd's place as a child.
#![expect(unsafe_code, reason = "extended attributes are read through libc")]

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr;

use super::mounts::{Mount, cgroup, mounts};
use super::unusable::Unusable;

/// How systemd marks what it has delegated (its CGROUP_DELEGATION.md), with a 1. It writes the second only for its own
/// eyes and those of root, and in older versions only that.
const MARKS: [&CStr; 2] = [c"user.delegate", c"trusted.delegate"];

/// Where our own unit has systemd put the daemon (`DelegateSubgroup=`), below the cgroup that is delegated.
pub(crate) const SUBGROUP: &str = "daemon";

/// The names of systemd's units.
const UNITS: [&str; 3] = ["service", "scope", "slice"];

/// Where the place is made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) directory: PathBuf,
    /// Whether its controllers are this daemon's to give on: it is delegated, and has no processes of its own.
    pub(super) gives: bool,
}

/// What is known of a cgroup.
#[derive(Clone, Copy, Debug, Default)]
struct Ward {
    owner: u32,
    marked: bool,
}

/// Where the place of this process's herd is made.
pub(super) fn spot() -> Result<Spot, Unusable> {
    let read = |path| fs::read_to_string(path).map_err(|source| Unusable::Unread { path, source });
    let mounts = mounts(&read("/proc/self/mountinfo")?);
    let own = read("/proc/self/cgroup")?;
    choose(&mounts, cgroup(&own).ok_or(Unusable::NoTree)?, nix::unistd::geteuid().as_raw(), ward)
}

/// Chooses. To be able to make a cgroup somewhere says nothing to root, who may do so below every unit; so delegation is
/// what systemd says it is, or what a user sees who has been given a cgroup within one that is not theirs.
fn choose(mounts: &[Mount], own: &Path, euid: u32, ward: impl Fn(&Path) -> Option<Ward>) -> Result<Spot, Unusable> {
    if mounts.is_empty() {
        return Err(Unusable::NoTree);
    }
    let foreign = || own.to_string_lossy().into_owned();
    let Some((mount, directory)) = mounts.iter().find_map(|mount| Some((mount, mount.directory(own)?))) else {
        return Err(Unusable::Hidden { own: foreign() });
    };
    let above = directory.parent().filter(|_| directory != mount.point);
    let here = ward(&directory).unwrap_or_default();
    let parent = above.and_then(&ward);
    let given = euid != 0 && here.owner == euid && parent.is_none_or(|parent| parent.owner != euid);
    if here.marked || given {
        return Ok(Spot { directory, gives: false });
    }
    // `DelegateSubgroup=` puts the processes of a delegated unit one level below it. A user's own systemd may mark nothing, but
    // makes that level for no other unit, and nobody else calls it so.
    if let (Some(above), Some(parent), false) = (above, parent, is_unit(&directory))
        && (parent.marked || euid != 0 && here.owner == euid && parent.owner == euid && is_of_our_unit(&directory))
    {
        return Ok(Spot { directory: above.to_owned(), gives: true });
    }
    match mounts.iter().find(|mount| mount.root == Path::new("/")) {
        Some(mount) if euid == 0 => Ok(Spot { directory: mount.point.clone(), gives: false }),
        _ => Err(Unusable::Foreign { own: foreign() }),
    }
}

/// Whether this is the cgroup of a unit.
fn is_unit(directory: &Path) -> bool {
    directory.extension().is_some_and(|kind| UNITS.iter().any(|unit| kind == *unit))
}

/// Whether this is the level that our own unit asks for, by its name.
fn is_of_our_unit(directory: &Path) -> bool {
    let above = directory.parent().and_then(Path::file_name).map(OsStrExt::as_bytes);
    let of_a_service = above.is_some_and(|unit| unit.ends_with(b".service") && !unit.starts_with(b"user@"));
    of_a_service && directory.ends_with(SUBGROUP)
}

fn ward(directory: &Path) -> Option<Ward> {
    let owner = fs::metadata(directory).ok()?.uid();
    let path = CString::new(directory.as_os_str().as_bytes()).ok()?;
    Some(Ward { owner, marked: MARKS.iter().any(|mark| attribute(&path, mark).is_ok_and(|value| value == b'1')) })
}

/// The first byte of an extended attribute.
fn attribute(path: &CStr, name: &CStr) -> io::Result<u8> {
    let mut value = 0_u8;
    // SAFETY: both strings end with a NUL, and the buffer has the one byte that the call is told of.
    let size = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), ptr::from_mut(&mut value).cast(), 1) };
    if size == 1 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Ward = Ward { owner: 0, marked: false };
    const USER: Ward = Ward { owner: 1000, marked: false };
    const GIVEN: Ward = Ward { owner: 0, marked: true };

    /// The place's parent for a process in this cgroup, where the cgroups are so.
    fn chosen(own: &str, euid: u32, wards: &[(&str, Ward)]) -> Result<(String, bool), String> {
        let mounts = [Mount { root: "/".into(), point: "/cg".into() }];
        let ward = |path: &Path| wards.iter().find(|(name, _)| Path::new(name) == path).map(|(_, ward)| *ward);
        let spot = choose(&mounts, Path::new(own), euid, ward).map_err(|error| error.to_string())?;
        Ok((spot.directory.to_string_lossy().into_owned(), spot.gives))
    }

    #[test]
    fn a_delegated_unit_is_the_herds_and_no_other_is() {
        let ok = |path: &str, gives| Ok((path.to_owned(), gives));
        let service = [("/cg/s/d.service", GIVEN), ("/cg/s", ROOT)];
        assert_eq!(chosen("/s/d.service", 0, &service), ok("/cg/s/d.service", false));
        // A login of root's, a unit without delegation: never below it, though root could.
        assert_eq!(chosen("/s/x.scope", 0, &[("/cg/s/x.scope", ROOT), ("/cg/s", ROOT)]), ok("/cg", false));
        // The processes of a delegated unit are in a subgroup; a unit within a delegated one is somebody else's.
        let sub = [("/cg/d.service/main", ROOT), ("/cg/d.service", GIVEN)];
        assert_eq!(chosen("/d.service/main", 0, &sub), ok("/cg/d.service", true));
        let init = [("/cg/u.service/init.scope", USER), ("/cg/u.service", GIVEN)];
        assert_eq!(chosen("/u.service/init.scope", 0, &init), ok("/cg", false));
        // No units at all: a container, or another init.
        assert_eq!(chosen("/", 0, &[("/cg", ROOT)]), ok("/cg", false));
    }

    #[test]
    fn a_user_has_what_was_given_to_them() {
        let given = [("/cg/s/d.service", USER), ("/cg/s", ROOT)];
        assert_eq!(chosen("/s/d.service", 1000, &given), Ok(("/cg/s/d.service".to_owned(), false)));
        // A unit of the user's own systemd, which owns the parent too.
        let units = [("/cg/a/d.service", USER), ("/cg/a", USER)];
        assert!(chosen("/a/d.service", 1000, &units).unwrap_err().contains("/a/d.service is not delegated"));
        // It marks no unit, but makes a subgroup (`DelegateSubgroup=`) for one that is delegated only (systemd 257).
        let sub = [("/cg/a/d.service/daemon", USER), ("/cg/a/d.service", USER), ("/cg/a", USER)];
        assert_eq!(chosen("/a/d.service/daemon", 1000, &sub), Ok(("/cg/a/d.service".to_owned(), true)));
        let theirs = [("/cg/a/d.service/daemon", Ward { owner: 7, marked: false }), ("/cg/a/d.service", USER)];
        assert!(chosen("/a/d.service/daemon", 1000, &theirs).is_err());
        // Another level, no service, or a whole systemd, whose units are no levels, whatever they are called.
        for (own, above) in [
            ("/a/d.service/other", "/cg/a/d.service"),
            ("/a.slice/daemon", "/cg/a.slice"),
            ("/user@1000.service/daemon", "/cg/user@1000.service"),
        ] {
            let wards = [(&*format!("/cg{own}"), USER), (above, USER)];
            assert!(chosen(own, 1000, &wards).is_err(), "{own}");
        }
        assert!(chosen("/s/x.scope", 1000, &[("/cg/s/x.scope", ROOT), ("/cg/s", ROOT)]).is_err());
    }

    #[test]
    fn what_is_not_mounted_is_not_usable() {
        let choose = |mounts: &[Mount]| choose(mounts, Path::new("/x"), 0, |_| Some(ROOT));
        assert!(matches!(choose(&[]), Err(Unusable::NoTree)));
        let elsewhere = Mount { root: "/y".into(), point: "/cg".into() };
        assert!(matches!(choose(&[elsewhere]), Err(Unusable::Hidden { .. })));
        let part = Mount { root: "/x".into(), point: "/cg".into() };
        assert!(matches!(choose(&[part]), Err(Unusable::Foreign { .. })));
    }
}
