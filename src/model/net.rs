//! How the processes of a service are held together.

/// By what a service's processes are found when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Net {
    /// The process group of its main process, and no more.
    #[default]
    Group,
    /// What its main process leaves behind becomes the daemon's own child.
    Subreaper,
    /// A cgroup of its own.
    Cgroup,
}
