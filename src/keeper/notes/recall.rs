//! Reading what the last life left.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use super::NotesError;
use super::line::{Conf, Header, Line};
use crate::model::ServiceId;

/// What is kept of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its note, as it was put.
    pub(crate) note: Vec<u8>,
    /// The text of its conf; none if none was put, or if its line is damaged and the note's is not.
    pub(crate) conf: Option<Arc<[u8]>>,
    /// Under what circumstances the note was written. Its moments mean something only where this is the header of today: a
    /// note that nobody has renewed since the last boot is kept, with the boot that it is of.
    pub(crate) header: Arc<Header>,
}

/// What was read.
#[derive(Clone, Debug)]
pub(crate) struct Recalled {
    /// Under what circumstances the last life wrote; none without a journal, or where its first line is damaged.
    pub(crate) header: Option<Arc<Header>>,
    /// The services.
    pub(crate) services: BTreeMap<ServiceId, Kept>,
    /// How many lines were damaged, a torn last one not counted: that one was being written when the last life ended.
    pub(crate) damaged: usize,
}

/// Reads a journal, and changes nothing. One that does not exist is an empty one.
///
/// # Errors
/// It can't be read, or is a symlink.
pub(crate) fn recall(path: &Path) -> Result<Recalled, NotesError> {
    let mut bytes = Vec::new();
    // Not blocking, since somebody's FIFO under this name must not hold up a start.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    match opened.and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => Ok(Recalled::from_bytes(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Recalled::nothing()),
        Err(error) => Err(NotesError::io("read", path)(error)),
    }
}

impl Recalled {
    /// What is recalled where nothing was ever written.
    pub(crate) fn nothing() -> Self {
        Self { header: None, services: BTreeMap::new(), damaged: 0 }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut recalled = Self::nothing();
        // Equal to no header of today, whatever it is.
        let unknown = Arc::new(Header { boot: String::new(), herd: 0 });
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let whole = line.strip_suffix(b"\n");
            match Line::read(whole.unwrap_or(line)) {
                Some(line) => recalled.take(line, &unknown),
                None if whole.is_none() => {}
                None => recalled.damaged += 1,
            }
        }
        recalled
    }

    fn take(&mut self, line: Line, unknown: &Arc<Header>) {
        match line {
            Line::Header(header) => self.header = Some(Arc::new(header)),
            Line::Gone(service) => _ = self.services.remove(&service),
            Line::State { service, note, conf, of } => {
                let conf = match conf {
                    Conf::None => None,
                    Conf::Text(text) => Some(text.into()),
                    Conf::Same(check) => {
                        let before = self.services.get(&service).and_then(|kept| kept.conf.clone());
                        before.filter(|conf| crc32fast::hash(conf) == check)
                    }
                };
                let header = of.map(Arc::new);
                let header = header.or_else(|| self.header.clone()).unwrap_or_else(|| Arc::clone(unknown));
                self.services.insert(service, Kept { note, conf, header });
            }
            Line::Foreign => {}
        }
    }
}
