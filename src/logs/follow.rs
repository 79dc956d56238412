//! What is written to a log from some moment on, across rotations, truncation, deletion: every byte once.
//!
//! The file is held open, so that whatever becomes of its name the rest of it can be read, and its number is no other
//! file's. When another file has its name, it was put aside before: it is complete by then, and read to its end. Files
//! that were written and put aside between two looks have names above the last one that is known, and come next.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use super::older::{OldFile, blamed};
use super::reading::{FileIdentity, LogFiles, ReadError, identify, open};
use super::tail::{CurrentFile, Snapshot, read_at};

/// How much of what was read last is remembered, to tell a file that was cut from one that was written anew: more than a
/// line, mostly.
const REMEMBERED: usize = 4 << 10;

/// A log that is followed. See the module.
pub(crate) struct Follow {
    files: LogFiles,
    current: Option<Current>,
    /// The newest old file that is not to be shown any more.
    last: Option<OldFile>,
    /// What came between the last file and the one that is there now.
    between: VecDeque<OldFile>,
    reading: Option<(OldFile, Box<dyn Read + Send>)>,
    /// What follows after those.
    next: Option<Current>,
}

/// What there is to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// So many bytes.
    Bytes(usize),
    /// What comes now does not go on with what came before, be that a whole line or not.
    Break,
    /// Nothing until something changes in the directory.
    Nothing,
}

/// The file that is written to.
struct Current {
    file: File,
    identity: FileIdentity,
    /// The next byte to read.
    at: u64,
    /// The last bytes before that.
    recent: Vec<u8>,
}

impl Follow {
    /// Goes on where a snapshot ends.
    ///
    /// # Errors
    /// Its file can't be read.
    pub(crate) fn after(snapshot: Snapshot) -> Result<Self, ReadError> {
        let Snapshot { files, current, mut older } = snapshot;
        let current = current.map(Current::after).transpose().map_err(ReadError::of(&files.current()))?;
        Ok(Self { files, current, last: older.pop(), between: VecDeque::new(), reading: None, next: None })
    }

    /// Reads on. To be called until there is nothing, and again when something has changed.
    ///
    /// # Errors
    /// A file can't be read. If it is an old one, the next call goes on with what follows it.
    pub(crate) fn news(&mut self, buffer: &mut [u8]) -> Result<News, ReadError> {
        loop {
            if let Some(count) = self.read_between(buffer)? {
                return Ok(News::Bytes(count));
            }
            if let Some(next) = self.next.take() {
                self.current = Some(next);
            }
            // Asked before the file is read: if it is another one, nothing is added to this one any more.
            let there = identify(&self.files.current())?;
            if let Some(current) = &mut self.current {
                match current.read(buffer).map_err(ReadError::of(&self.files.current()))? {
                    News::Nothing => {}
                    news => return Ok(news),
                }
            }
            if there.is_some() && there == self.current.as_ref().map(|current| current.identity) {
                return Ok(News::Nothing);
            }
            if let Some(news) = self.turn_over()? {
                return Ok(news);
            }
        }
    }

    /// Reads what came between.
    fn read_between(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, ReadError> {
        loop {
            if let Some((old, mut text)) = self.reading.take() {
                match text.read(buffer) {
                    Ok(0) => {}
                    Ok(count) => {
                        self.reading = Some((old, text));
                        return Ok(Some(count));
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => self.reading = Some((old, text)),
                    Err(error) => return Err(ReadError::of(&blamed(&old, &self.files))(error)),
                }
                continue;
            }
            let Some(old) = self.between.pop_front() else { return Ok(None) };
            // One that has been deleted for its age already is lost to whoever reads so slowly.
            if let Some(text) = old.open(&self.files)? {
                let text = text.from(0).map_err(ReadError::of(&blamed(&old, &self.files)))?;
                self.reading = Some((old, text));
            }
        }
    }

    /// Takes the file that has the name now, and whatever was put aside before it. Where none has it, nothing changes
    /// unless something else was put aside.
    fn turn_over(&mut self) -> Result<Option<News>, ReadError> {
        // Opened before the old ones are listed: if it is put aside meanwhile, it is among them, and they end there.
        let opened = open(&self.files.current())?.map(Current::new);
        let mut later: VecDeque<OldFile> =
            OldFile::all(&self.files)?.into_iter().filter(|old| Some(old) > self.last.as_ref()).collect();
        if let Some(next) = &opened {
            for index in 0..later.len() {
                if later[index].identity(&self.files)? == Some(next.identity) {
                    later.truncate(index);
                    break;
                }
            }
        }
        let mut last = later.back().cloned();
        let place = self.current.as_ref().map(|done| self.place(done, &later)).transpose()?.flatten();
        let done = place.and_then(|place| later.remove(place));
        let next = match opened {
            Some(next) => Some(next),
            None if later.is_empty() => return Ok(Some(News::Nothing)),
            None => {
                // The newest one may be in its writer's hands until there is another: it is followed.
                let newest = later.back().map(|newest| open(&newest.plain(&self.files))).transpose()?.flatten();
                if newest.is_some() {
                    later.pop_back();
                    last = later.back().cloned().or_else(|| done.clone());
                }
                newest.map(Current::new)
            }
        };
        let goes_on = self.current.take().is_none() || done.is_some();
        if last.is_some() {
            self.last = last;
        }
        (self.between, self.next) = (later, next);
        Ok((!goes_on).then_some(News::Break))
    }

    /// Where among the old files one is that has been read; nowhere if it was deleted, or moved elsewhere.
    fn place(&self, done: &Current, later: &VecDeque<OldFile>) -> Result<Option<usize>, ReadError> {
        for (index, old) in later.iter().enumerate() {
            if old.identity(&self.files)? == Some(done.identity) {
                return Ok(Some(index));
            }
        }
        // It may have been compressed meanwhile, and then has no name any more.
        let metadata = done.file.metadata().map_err(ReadError::of(&self.files.current()))?;
        match later.front() {
            Some(first) if metadata.nlink() == 0 => Ok(first.is_packed_from(&self.files, done.at)?.then_some(0)),
            _ => Ok(None),
        }
    }
}

impl Current {
    fn new((file, identity, _): (File, FileIdentity, u64)) -> Self {
        Self { file, identity, at: 0, recent: Vec::new() }
    }

    fn after(CurrentFile { file, identity, length }: CurrentFile) -> io::Result<Self> {
        let (recent, at) = remember(&file, length)?;
        Ok(Self { file, identity, at, recent })
    }

    /// Reads on, if what was read before is still there. A file that was cut goes on at its new end, as its writer does;
    /// one that was written anew is read from its beginning, whatever length it has by now.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<News> {
        let begin = self.at - self.recent.len() as u64;
        let length = self.file.metadata()?.len();
        let mut now = vec![0; self.recent.len()];
        let still = read_at(&self.file, &mut now, begin)?;
        if still < self.recent.len() || now != self.recent {
            let is_cut = length == begin + still as u64 && now[..still] == self.recent[..still];
            (self.recent, self.at) = remember(&self.file, if is_cut { begin + still as u64 } else { 0 })?;
            return Ok(News::Break);
        }
        let count = read_at(&self.file, buffer, self.at)?;
        if count == 0 {
            return Ok(News::Nothing);
        }
        self.at += count as u64;
        let new = &buffer[count.saturating_sub(REMEMBERED)..count];
        let kept = self.recent.len().min(REMEMBERED - new.len());
        self.recent.drain(..self.recent.len() - kept);
        self.recent.extend_from_slice(new);
        Ok(News::Bytes(count))
    }
}

/// The last bytes before this one, and which one that is if the file has become shorter.
fn remember(file: &File, before: u64) -> io::Result<(Vec<u8>, u64)> {
    let from = before.saturating_sub(REMEMBERED as u64);
    let mut recent = vec![0; usize::try_from(before - from).unwrap_or(REMEMBERED)];
    let read = read_at(file, &mut recent, from)?;
    recent.truncate(read);
    Ok((recent, from + read as u64))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::{Path, PathBuf};

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::logs::{Amount, Stream};

    /// A log and who follows it.
    struct Scene {
        _logs: TempDir,
        files: LogFiles,
        follow: Follow,
        rotations: usize,
    }

    impl Scene {
        /// With this text before it is followed.
        fn after(text: &str) -> Self {
            let logs = tempfile::tempdir().unwrap();
            let files = LogFiles::of(logs.path(), "web", Stream::Output);
            std::fs::create_dir(files.directory()).unwrap();
            let follow = Follow::after(Snapshot::take(&files).unwrap()).unwrap();
            let mut scene = Self { _logs: logs, files, follow, rotations: 0 };
            if !text.is_empty() {
                scene.write(text);
                scene.begin();
            }
            scene
        }

        fn begin(&mut self) {
            self.follow = Follow::after(Snapshot::take(&self.files).unwrap()).unwrap();
        }

        fn path(&self) -> PathBuf {
            self.files.current()
        }

        fn write(&self, text: &str) {
            let mut file = File::options().append(true).create(true).open(self.path()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        /// Puts the current file aside, if there is one, and compresses it.
        fn rotate(&mut self, packed: bool) {
            self.rotations += 1;
            let old = self.files.directory().join(format!("20260101T000000.000000Z-{}.log", self.rotations));
            if std::fs::rename(self.path(), &old).is_ok() && packed {
                pack(&old);
            }
        }

        /// All news, with a bar for each break.
        fn news(&mut self) -> String {
            let (mut text, mut buffer) = (String::new(), [0; 7]);
            loop {
                match self.follow.news(&mut buffer).unwrap() {
                    News::Bytes(count) => text.push_str(std::str::from_utf8(&buffer[..count]).unwrap()),
                    News::Break => text.push('|'),
                    News::Nothing => return text,
                }
            }
        }
    }

    fn pack(plain: &Path) {
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(&std::fs::read(plain).unwrap()).unwrap();
        std::fs::write(plain.with_extension("log.gz"), gz.finish().unwrap()).unwrap();
        std::fs::remove_file(plain).unwrap();
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize),
        Rotate { packed: bool },
        Look,
        Begin,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..40usize).prop_map(Step::Write),
            any::<bool>().prop_map(|packed| Step::Rotate { packed }),
            Just(Step::Look),
            Just(Step::Begin),
        ]
    }

    proptest! {
        #[test]
        fn every_byte_comes_once_and_in_order_across_rotations(steps in prop::collection::vec(step(), 0..25)) {
            let mut scene = Scene::after("");
            let (mut written, mut seen) = (String::new(), String::new());
            for step in steps {
                match step {
                    Step::Write(length) => {
                        let text: String = (written.len()..).map(|n| format!("{n}\n")).take(length).collect();
                        scene.write(&text);
                        written.push_str(&text);
                    }
                    Step::Rotate { packed } => scene.rotate(packed),
                    Step::Look => seen.push_str(&scene.news()),
                    // Whoever begins anew sees what was before by its last lines.
                    Step::Begin => {
                        let snapshot = Snapshot::take(&scene.files).unwrap();
                        let all = Amount { lines: u64::MAX, bytes: u64::MAX };
                        seen = String::from_utf8(snapshot.last(all).unwrap().read_all()).unwrap();
                        scene.follow = Follow::after(snapshot).unwrap();
                    }
                }
            }
            seen.push_str(&scene.news());
            prop_assert_eq!(seen, written);
        }
    }

    #[test]
    fn a_file_that_does_not_exist_yet_is_read_from_its_beginning() {
        let mut scene = Scene::after("");
        assert_eq!(scene.news(), "");
        scene.write("hello\n");
        assert_eq!(scene.news(), "hello\n");
    }

    #[test]
    fn a_truncated_file_goes_on_at_its_beginning() {
        let mut scene = Scene::after("before\n");
        let empty = |scene: &Scene| File::create(scene.path()).map(drop).unwrap();
        empty(&scene);
        assert_eq!(scene.news(), "|");
        scene.write("after\n");
        assert_eq!(scene.news(), "after\n");
        // Nobody looked before it was as long as it had been, or longer.
        empty(&scene);
        scene.write("other\n");
        assert_eq!(scene.news(), "|other\n");
        empty(&scene);
        scene.write("and much more than before\n");
        assert_eq!(scene.news(), "|and much more than before\n");
    }

    #[test]
    fn a_torn_line_that_is_cut_and_written_again_leaves_what_is_before_alone() {
        let long = "x".repeat(3 * REMEMBERED);
        let mut scene = Scene::after(&format!("{long}\n"));
        scene.write("whole\ntorn");
        assert_eq!(scene.news(), "whole\ntorn");
        let file = File::options().write(true).open(scene.path()).unwrap();
        file.set_len(file.metadata().unwrap().len() - 4).unwrap();
        assert_eq!(scene.news(), "|");
        scene.write("torn no more\n");
        assert_eq!(scene.news(), "torn no more\n");
        // All that was remembered is cut, and then everything.
        file.set_len(file.metadata().unwrap().len() - REMEMBERED as u64).unwrap();
        assert_eq!(scene.news(), "|");
        file.set_len(0).unwrap();
        scene.write("anew\n");
        assert_eq!(scene.news(), "|anew\n");
    }

    #[test]
    fn a_deleted_file_is_read_to_its_end_and_then_the_next_one() {
        let mut scene = Scene::after("before\n");
        scene.write("rest");
        std::fs::remove_file(scene.path()).unwrap();
        assert_eq!(scene.news(), "rest");
        scene.write("new\n");
        assert_eq!(scene.news(), "|new\n");
        // Moved out of the directory, and written to after that.
        let elsewhere = scene.files.directory().join("../elsewhere");
        let mut open = File::options().append(true).open(scene.path()).unwrap();
        std::fs::rename(scene.path(), elsewhere).unwrap();
        open.write_all(b"still here\n").unwrap();
        assert_eq!(scene.news(), "still here\n");
        scene.write("newer\n");
        assert_eq!(scene.news(), "|newer\n");
        // All of it goes, and comes back.
        std::fs::remove_dir_all(scene.files.directory()).unwrap();
        assert_eq!(scene.news(), "");
        std::fs::create_dir(scene.files.directory()).unwrap();
        scene.write("newest\n");
        assert_eq!(scene.news(), "|newest\n");
    }

    #[test]
    fn a_line_goes_on_in_the_next_file_of_a_rotation() {
        let mut scene = Scene::after("before\n");
        scene.write("half a ");
        scene.rotate(false);
        scene.write("line\n");
        assert_eq!(scene.news(), "half a line\n");
    }

    #[test]
    fn a_file_that_can_not_be_read_is_an_error() {
        let mut scene = Scene::after("");
        std::os::unix::fs::symlink("/dev/null", scene.path()).unwrap();
        assert!(scene.follow.news(&mut [0; 8]).is_err());
    }
}
