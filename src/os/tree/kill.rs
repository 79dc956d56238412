//! Killing a tree of processes that may go on growing.
//!
//! First all are stopped, parents before children, until a look at every one of them finds nobody new; only then are they
//! killed. To kill at once would be wrong in three ways. A killed process gives its children away and with them the
//! evidence whose they are. A program that replaces its lost children would make new ones, at the speed of the killing.
//! And a fork bomb at the limit of processes gets room for each that is killed; a stopped one keeps its place and forks no
//! more, so that the others fail. Nor does one that is stopped reap anybody, which would hide others from who reads its
//! list of children.
//!
//! A stop is not instant: a fork that is under way on another processor comes to its end first, and the new process is not
//! stopped. KILL is stricter: a process that has been sent it has no more children (copy_process in the kernel's
//! kernel/fork.c looks for it under the lock under which the child is linked). So after the killing everybody is looked at
//! once more, and what has become this process's own child is asked for, until a round finds nobody.
//!
//! Who is killed half way through leaves stopped processes behind: they belong to a run that was to end, and the next
//! keeper ends it.

use std::collections::HashMap;

use super::super::pidfd::NotSent;
use super::kin::Kin;
use crate::model::Signal;

/// How often everybody is killed and looked at again. The second round finds nobody, unless forks were under way.
const ROUNDS: usize = 8;
/// How many looks at children one call takes at most, about 0.3 s of work.
const LOOKS: usize = 16_384;

/// What a call has come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cull {
    /// How many processes have been sent KILL, those included that had ended before and are not reaped.
    pub(crate) killed: usize,
    /// Numbers and real users of those that this process may not signal.
    pub(crate) spared: Vec<(u32, u32)>,
    /// Whether a last look found nobody more. If not, the tree grew faster than it was cut, or descriptors ran out:
    /// what is left is, or becomes, this process's own child and is to be killed by another call.
    pub(crate) whole: bool,
}

/// Kills these and all that descends from them. `adopted` is asked again and again for what of the tree has become this
/// process's own child meanwhile, those that have ended included: their children may not have been listed yet. It may name
/// the same ones again, but is quicker than what forks only if it looks at new ones alone.
///
/// It does not wait for their ends, and reaps nobody.
pub(crate) fn kill_tree(roots: Vec<Kin>, adopted: impl FnMut() -> Vec<Kin>) -> Cull {
    kill_tree_but(|_| false, roots, adopted)
}

/// As [`kill_tree`], but for the processes whose numbers are spared, and what descends from those.
pub(super) fn kill_tree_but(
    spared: impl Fn(u32) -> bool,
    roots: Vec<Kin>,
    mut adopted: impl FnMut() -> Vec<Kin>,
) -> Cull {
    let mut catch = Catch { spared, members: HashMap::new(), looks: 0, cull: Cull::default() };
    catch.take(roots);
    for round in 0..ROUNDS {
        let found = catch.stop_all(&mut adopted);
        catch.kill_all();
        match found {
            Some(false) if round > 0 => {
                catch.cull.whole = true;
                break;
            }
            Some(_) => {}
            None => break,
        }
    }
    catch.cull
}

/// Who has been caught.
struct Catch<S> {
    spared: S,
    members: HashMap<u32, Member>,
    looks: usize,
    cull: Cull,
}

struct Member {
    kin: Kin,
    killed: bool,
    /// It has no children any more, and will have none.
    ended: bool,
}

impl<S: Fn(u32) -> bool> Catch<S> {
    /// Stops those who are new. True if anybody was.
    fn take(&mut self, kin: Vec<Kin>) -> bool {
        let mut new = false;
        for kin in kin {
            // An earlier one of the same number may be reaped by now.
            if self.members.get(&kin.pid()).is_some_and(|member| member.kin.is_there()) {
                continue;
            }
            if (self.spared)(kin.pid()) {
                continue;
            }
            new = true;
            kin.stop();
            self.members.insert(kin.pid(), Member { kin, killed: false, ended: false });
        }
        new
    }

    /// Looks at everybody's children once. True if there was somebody new, `None` if there is no going on.
    fn look(&mut self) -> Option<bool> {
        let mut new = false;
        let living = self.members.iter().filter(|(_, member)| !member.ended);
        let pids: Vec<u32> = living.map(|(pid, _)| *pid).collect();
        for pid in pids {
            let Some(member) = self.members.get_mut(&pid) else { continue };
            self.looks += 1;
            if self.looks > LOOKS {
                return None;
            }
            member.ended = member.kin.has_ended();
            if member.ended {
                continue;
            }
            let children = member.kin.children().ok()?;
            new |= self.take(children);
        }
        Some(new)
    }

    /// Stops all that there is until nobody new is found. True if anybody was, `None` if there is no end of it.
    fn stop_all(&mut self, adopted: &mut impl FnMut() -> Vec<Kin>) -> Option<bool> {
        let mut any = false;
        while self.take(adopted()) | self.look()? {
            any = true;
        }
        Some(any)
    }

    fn kill_all(&mut self) {
        for member in self.members.values_mut().filter(|member| !member.killed) {
            member.killed = true;
            match member.kin.signal(Signal::KILL) {
                Ok(()) => self.cull.killed += 1,
                Err(NotSent::Gone) => {}
                Err(NotSent::NotPermitted(uid)) => self.cull.spared.push((member.kin.pid(), uid)),
            }
        }
    }
}
