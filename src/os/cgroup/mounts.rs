//! Where the cgroup v2 tree is mounted, and where this process is in it (proc_pid_mountinfo(5), cgroups(7)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount of the tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Which part of the tree it shows, seen from the root of this process's cgroup namespace.
    pub(super) root: PathBuf,
    /// Where.
    pub(super) point: PathBuf,
}

impl Mount {
    /// The directory of a cgroup, if the mount shows it.
    pub(super) fn directory(&self, cgroup: &Path) -> Option<PathBuf> {
        // A mount from outside of the namespace has `/..` in its root, and so has a process outside.
        let inside = |path: &Path| !path.components().any(|part| part.as_os_str() == "..");
        let rest = cgroup.strip_prefix(&self.root).ok().filter(|rest| inside(&self.root) && inside(rest))?;
        // Joining nothing would leave a slash at the end.
        Some(if rest.as_os_str().is_empty() { self.point.clone() } else { self.point.join(rest) })
    }
}

/// All mounts of the v2 tree in the text of `/proc/PID/mountinfo`. Beside v1 controllers it is often at `unified`.
pub(super) fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    // Optional fields stand between the mount's options and the dash, any number of them.
    let (mount, filesystem) = line.split_once(" - ")?;
    if filesystem.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    Some(Mount { root: unescaped(fields.next()?), point: unescaped(fields.next()?) })
}

/// The cgroup of a process in the text of its `/proc/PID/cgroup`, from the root of this process's namespace.
pub(super) fn cgroup(text: &str) -> Option<&Path> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(Path::new)
}

/// A path as the kernel writes it: blanks, line ends and backslashes are octal numbers after a backslash.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_found_by_its_type_wherever_it_is_mounted() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                    32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:7 - cgroup cgroup rw,cpu\n\
                    41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:2 - cgroup2 cgroup2 rw\n\
                    42 31 0:38 /a\\040b /mnt/with\\040blank\\134 rw - cgroup2 none rw,nsdelegate\n\
                    torn line\n";
        let mount = |root: &str, point: &str| Mount { root: root.into(), point: point.into() };
        assert_eq!(mounts(text), [mount("/", "/sys/fs/cgroup/unified"), mount("/a b", "/mnt/with blank\\")]);
    }

    #[test]
    fn the_own_cgroup_is_that_of_hierarchy_zero() {
        assert_eq!(cgroup("9:name=systemd:/a\n0::/b:c\n"), Some(Path::new("/b:c")));
        assert_eq!(cgroup("4:memory:/a\n"), None);
    }

    #[test]
    fn a_mount_shows_what_is_below_its_root() {
        let mount = |root: &str| Mount { root: root.into(), point: "/cg".into() };
        let directory = |root: &str, cgroup: &str| mount(root).directory(Path::new(cgroup));
        assert_eq!(directory("/", "/"), Some("/cg".into()));
        assert_eq!(directory("/", "/a/b"), Some("/cg/a/b".into()));
        assert_eq!(directory("/a", "/a/b"), Some("/cg/b".into()));
        assert_eq!(directory("/a", "/ab"), None);
        assert_eq!(directory("/..", "/"), None);
        assert_eq!(directory("/", "/../a"), None);
    }
}
