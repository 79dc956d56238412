//! Who may use the control socket.

use std::os::fd::AsFd;

use tokio::net::UnixStream;

use crate::os::peer;

/// The rule: the owner, root, and the members of at most one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The daemon's effective user.
    pub owner: u32,
    /// The group of `control.group` in `herder.json`.
    pub group: Option<u32>,
}

/// Somebody whom the rule lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// The daemon's user or root, who may do by other ways whatever the daemon does: not only a member of the group.
    pub(super) is_owner: bool,
}

/// Somebody whom the rule does not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stranger {
    /// The user; `None` where the kernel did not say.
    pub(super) uid: Option<u32>,
}

impl Access {
    /// The rule for a daemon that runs as this process's effective user.
    pub fn of_this_process(group: Option<u32>) -> Self {
        Self { owner: nix::unistd::geteuid().as_raw(), group }
    }

    /// Whether a process of this user and these groups may come in.
    pub fn allows(&self, uid: u32, gid: u32, supplementary: &[u32]) -> bool {
        let member = |group| gid == group || supplementary.contains(&group);
        uid == self.owner || uid == 0 || self.group.is_some_and(member)
    }

    /// Looks at who connected. The kernel noted user and groups at connect(2), so nothing is read from the peer and no name
    /// is looked up.
    pub(super) fn check(&self, stream: &UnixStream) -> Result<Peer, Stranger> {
        let peer = stream.peer_cred().map_err(|_| Stranger { uid: None })?;
        // The list is fetched only where it can matter; one that can't be had is an empty one: nobody gets in by an error.
        let supplementary = self.group.and_then(|_| peer::groups(stream.as_fd()).ok()).unwrap_or_default();
        if self.allows(peer.uid(), peer.gid(), &supplementary) {
            Ok(Peer { is_owner: peer.uid() == self.owner || peer.uid() == 0 })
        } else {
            Err(Stranger { uid: Some(peer.uid()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_root_and_group_come_in_and_nobody_else() {
        let alone = Access { owner: 1000, group: None };
        let shared = Access { owner: 1000, group: Some(50) };
        for (access, uid, gid, supplementary, allowed) in [
            (alone, 1000, 1, &[][..], true),
            (alone, 0, 0, &[], true),
            (alone, 1001, 1000, &[50], false),
            (shared, 1001, 50, &[], true),
            (shared, 1001, 1, &[7, 50], true),
            (shared, 1001, 1, &[7], false),
            (shared, 50, 1, &[], false),
        ] {
            assert_eq!(access.allows(uid, gid, supplementary), allowed, "{access:?} {uid} {gid} {supplementary:?}");
        }
    }
}
