//! Who belongs to a service at the moment, for people: nobody is held, and nothing is done by what it says.

use super::super::stat::{Usage, usage};
use super::children::children_of;

/// More than anybody wants to look at.
const MOST: usize = 500;

/// A process of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its number.
    pub(crate) pid: u32,
    /// How many are between it and the main one: 0 is the main one itself.
    pub(crate) depth: usize,
    /// What it is and what it uses.
    pub(crate) usage: Usage,
}

/// A process and all that descends from it, each before its children. What changes meanwhile may be missing.
pub(crate) fn census(main: u32) -> Vec<Member> {
    let mut members = Vec::new();
    let mut waiting = vec![(main, 0)];
    while let Some((pid, depth)) = waiting.pop().filter(|_| members.len() < MOST) {
        let Some(usage) = usage(pid) else { continue };
        members.push(Member { pid, depth, usage });
        let mut children = children_of(pid).unwrap_or_default();
        children.sort_unstable_by(|one, other| other.cmp(one));
        waiting.extend(children.into_iter().map(|child| (child, depth + 1)));
    }
    members
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_tree_is_told_from_its_root_down() {
        let script = "sh -c 'cat; :' & echo; wait";
        let mut child =
            Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let members = census(child.id());
        assert_eq!((members[0].pid, members[0].depth), (child.id(), 0));
        assert_eq!(members[0].usage.name, "sh");
        assert!(members[0].usage.memory > 0);
        assert!(members.iter().skip(1).all(|member| member.depth > 0));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(census(child.id()), []);
    }
}
