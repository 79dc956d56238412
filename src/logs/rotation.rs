//! Old files: what they are called, which are kept, and what a start makes of the traces of a crash.
//!
//! A rotation is two steps, the new name of the current file and a new current file. After a crash between them there is no
//! current file, and the next start makes one. What has to be removed is found in the directory each time, so that it is
//! removed whoever was killed before.

use std::path::Path;
use std::time::Duration;

use super::{Age, Disk, LogError, OldName, Packing, Stream};

/// The old files of a stream as they are in its directory, oldest first.
///
/// # Errors
/// The directory can't be read.
pub(super) fn old_files(disk: &impl Disk, directory: &Path, stream: Stream) -> Result<Vec<OldName>, LogError> {
    let names = disk.list(directory).map_err(LogError::io("list", directory))?;
    let parsed = names.iter().filter_map(|name| name.parse::<OldName>().ok());
    let mut old: Vec<_> = parsed.filter(|name| name.stream == stream).collect();
    old.sort_unstable();
    Ok(old)
}

/// Gives the current file of a stream the name of an old one, newer than all that there are.
///
/// # Errors
/// Nothing has changed.
pub(super) fn put_away(disk: &impl Disk, directory: &Path, stream: Stream, now: Duration) -> Result<OldName, LogError> {
    let newest = old_files(disk, directory, stream)?.last().map(|name| name.age);
    let name = OldName { age: Age::next(now, newest), stream, packing: Packing::Plain };
    let current = directory.join(stream.current());
    disk.rename(&current, &directory.join(name.to_string())).map_err(LogError::io("rename", &current))?;
    Ok(name)
}

/// Removes the oldest files of a stream, so that this many are left, however each is stored.
///
/// # Errors
/// One of them can't be removed; the others are.
pub(super) fn prune(disk: &impl Disk, directory: &Path, stream: Stream, keep: u32) -> Result<(), LogError> {
    let old = old_files(disk, directory, stream)?;
    let whole = old.iter().filter(|name| name.packing != Packing::Part);
    let mut ages: Vec<_> = whole.map(|name| name.age).collect();
    ages.dedup();
    let surplus = ages.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
    let mut result = Ok(());
    for age in &ages[..surplus] {
        // The plain one first: whoever compresses it sees by this that it is wanted no more. What he makes of it, he may
        // make after the directory was read. A part is his own to remove.
        for packing in [Packing::Plain, Packing::Gzip] {
            let path = directory.join(OldName { age: *age, stream, packing }.to_string());
            if let Err(error) = disk.remove(&path) {
                result = Err(LogError::io("remove", &path)(error));
            }
        }
    }
    result
}

/// Finishes what somebody who compressed files of this directory left when he was killed, and returns the old files that
/// are not compressed, oldest first. Nobody else may be compressing there.
///
/// # Errors
/// The directory can't be read, or something in it can't be removed.
pub(super) fn finish_packing(disk: &impl Disk, directory: &Path) -> Result<Vec<OldName>, LogError> {
    let remove = |name: OldName| {
        let path = directory.join(name.to_string());
        disk.remove(&path).map_err(LogError::io("remove", &path))
    };
    let mut plain = Vec::new();
    for stream in [Stream::Output, Stream::Errors] {
        let old = old_files(disk, directory, stream)?;
        for name in &old {
            match name.packing {
                // Half a file, of which the whole is there.
                Packing::Part => _ = remove(*name)?,
                // The compressed one has its name only since it is whole.
                Packing::Plain if old.contains(&name.packed(Packing::Gzip)) => _ = remove(*name)?,
                Packing::Plain => plain.push(*name),
                Packing::Gzip => {}
            }
        }
    }
    plain.sort_unstable();
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::super::Filesystem;
    use super::*;

    const NOW: Duration = Duration::from_secs(1_795_406_706);

    fn names(directory: &Path) -> Vec<String> {
        let mut names = Filesystem.list(directory).unwrap();
        names.sort();
        names
    }

    fn make(directory: &Path, names: &[&str]) {
        for name in names {
            std::fs::write(directory.join(name), *name).unwrap();
        }
    }

    #[test]
    fn a_file_that_is_put_away_is_the_newest_whatever_the_clock_says() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        make(directory, &["current.log", "stderr.log", "20991231T000000.000000Z-0000.log.gz", "notes.txt"]);
        put_away(&Filesystem, directory, Stream::Output, NOW).unwrap();
        put_away(&Filesystem, directory, Stream::Errors, NOW).unwrap();
        assert_eq!(
            names(directory),
            [
                "20261123T040506.000000Z-0000.stderr.log",
                "20991231T000000.000000Z-0000.log.gz",
                "20991231T000000.000000Z-0001.log",
                "notes.txt"
            ]
        );
        assert!(put_away(&Filesystem, directory, Stream::Output, NOW).is_err());
    }

    #[test]
    fn the_newest_are_kept_however_they_are_stored() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let old = |day: u32, rest: &str| format!("202611{day:02}T000000.000000Z-0000{rest}");
        let files = [
            old(1, ".log"),
            old(1, ".log.gz.part"),
            old(2, ".log"),
            old(2, ".log.gz"),
            old(3, ".log.gz"),
            old(4, ".log"),
            old(1, ".stderr.log"),
            "notes.txt".to_owned(),
        ];
        make(directory, &files.each_ref().map(String::as_str));
        prune(&Filesystem, directory, Stream::Output, 2).unwrap();
        let mut left = [&files[1], &files[4], &files[5], &files[6], &files[7]].map(String::as_str);
        left.sort_unstable();
        assert_eq!(names(directory), left);
        prune(&Filesystem, directory, Stream::Output, 0).unwrap();
        assert_eq!(names(directory).len(), 3);
    }

    #[test]
    fn what_a_killed_packer_left_is_finished() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let old = |day: u32, rest: &str| format!("202611{day:02}T000000.000000Z-0000{rest}");
        let files = [old(1, ".log.gz"), old(1, ".log"), old(2, ".log"), old(2, ".log.gz.part"), old(1, ".stderr.log")];
        make(directory, &files.each_ref().map(String::as_str));
        let plain = finish_packing(&Filesystem, directory).unwrap();
        assert_eq!(plain.iter().map(ToString::to_string).collect::<Vec<_>>(), [files[4].as_str(), files[2].as_str()]);
        let mut left = [&files[0], &files[2], &files[4]].map(String::as_str);
        left.sort_unstable();
        assert_eq!(names(directory), left);
    }

    #[test]
    fn where_there_is_no_directory_there_is_nothing_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let away = directory.path().join("away");
        assert_eq!(finish_packing(&Filesystem, &away).unwrap(), []);
        prune(&Filesystem, &away, Stream::Output, 0).unwrap();
    }
}
