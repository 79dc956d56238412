//! What a conf directory holds for one host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{HostName, Identity, Problem, Settings};
use crate::model::{ServiceId, ServiceSpec};

/// Where confs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The conf directory.
    pub directory: PathBuf,
    /// The host that it is read for.
    pub host: HostName,
}

/// What a conf directory holds for this host.
#[derive(Debug)]
pub struct Loaded {
    /// What `herder.json` says; `None` if it has problems (they are among the strays), and then no conf is good either:
    /// nothing is ever started with settings that were guessed.
    pub settings: Option<Settings>,
    /// The services of this host.
    pub services: BTreeMap<ServiceId, Found>,
    /// Files of other hosts, by name. A service of this host may have some, too.
    pub skipped: Vec<Skipped>,
    /// Problems of files that speak for no service of this host, by path: `herder.json`, wrong names, all but the first
    /// file of a tie, and the directory itself.
    pub strays: BTreeMap<PathBuf, Vec<Problem>>,
    /// Which directory this was.
    pub identity: Identity,
    /// Whether the directory was read whole. If not, a service without a file may have one.
    pub whole: bool,
    /// How many files with the ending of a conf there were, for whatever host and however wrong.
    pub conf_count: usize,
}

/// The conf of one service of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It can run.
    Good {
        /// What it says.
        spec: Arc<ServiceSpec>,
        /// The file.
        path: PathBuf,
    },
    /// It can't.
    Broken {
        /// The file.
        path: PathBuf,
        /// Why: never empty.
        problems: Vec<Problem>,
        /// Its text, where it could be read and trusted.
        text: Option<String>,
    },
}

/// A file of other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Whose conf it is.
    pub id: ServiceId,
    /// The file.
    pub path: PathBuf,
}

impl Found {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Good { path, .. } | Self::Broken { path, .. } => path,
        }
    }

    /// Its problems; none for a good one.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Good { .. } => &[],
            Self::Broken { problems, .. } => problems,
        }
    }
}

impl Loaded {
    /// Every problem with its file, by path, line and column.
    pub fn problems(&self) -> Vec<(&Path, &Problem)> {
        let of_services = self.services.values().flat_map(|found| found.problems().iter().map(|p| (found.path(), p)));
        let of_strays = self.strays.iter().flat_map(|(path, found)| found.iter().map(|p| (path.as_path(), p)));
        let mut all: Vec<_> = of_services.chain(of_strays).collect();
        all.sort();
        all
    }

    /// Whether some problem may go away without a change of a file.
    pub fn has_passing_problem(&self) -> bool {
        self.problems().iter().any(|(_, problem)| problem.passing)
    }
}
