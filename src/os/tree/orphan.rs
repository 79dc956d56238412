//! To which run an orphan belongs.

use super::super::stat::Facts;
use super::kin::Kin;
use super::mark::mark;
use crate::model::RunId;

/// What is known of a process that has become this one's child by outliving its parent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orphan {
    /// Where it belongs.
    pub(crate) facts: Facts,
    /// The run whose mark it bears.
    pub(crate) mark: Option<RunId>,
}

/// What is known of a run: one that lives, or has ended and is not yet forgotten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'r> {
    /// Which.
    pub(crate) run: RunId,
    /// The sessions that its processes have been seen in; the first is its own, whose number is its main process's.
    pub(crate) sessions: &'r [u32],
    /// When its main process began, in ticks after boot.
    pub(crate) began: u64,
    /// Whether its main process has ended since orphans were last looked for.
    pub(crate) ended: bool,
}

impl Orphan {
    /// Looks at an orphan of this herd; `None` if it is reaped.
    pub(crate) fn look(kin: &Kin, herd: u64) -> Option<Self> {
        let mark = mark(kin.pid(), herd);
        Some(Self { facts: kin.facts()?, mark })
    }
}

/// The run that an orphan belongs to, by the strongest evidence that there is:
///
/// 1. its session or its group, which only a descendant can be in. The number of a session is not given to a new process
///    as long as anybody is in it;
/// 2. the mark that it has inherited. One that names a run which is not known belongs to that one and to no other;
/// 3. without a mark, that exactly one run has ended since the last look and it may have been that run's child. It is the
///    weakest: a program of another run that has let go of a child in the same span, and taken the marks from it, would
///    be told by its session only.
///
/// None of them holds for an orphan that is older than the run. No evidence is no run: what nobody can name is not killed.
pub(crate) fn attribute(orphan: &Orphan, runs: &[Known<'_>]) -> Option<RunId> {
    let Facts { session, group, began, .. } = orphan.facts;
    let mut possible = runs.iter().filter(|known| known.began <= began);
    let related = |known: &&Known<'_>| known.sessions.contains(&session) || known.sessions.contains(&group);
    if let Some(known) = possible.clone().find(related) {
        return Some(known.run);
    }
    if let Some(mark) = orphan.mark {
        return possible.find(|known| known.run == mark).map(|known| known.run);
    }
    let mut ended = possible.filter(|known| known.ended);
    match (ended.next(), ended.next()) {
        (Some(known), None) => Some(known.run),
        (None | Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn run(number: u64) -> RunId {
        RunId { herd: 1, number }
    }

    /// Three runs: the second has ended in this round, the third too where it is said so.
    fn told(session: u32, group: u32, began: u64, mark: Option<u64>, both_ended: bool) -> Option<u64> {
        let runs = [
            Known { run: run(1), sessions: &[100], began: 10, ended: false },
            Known { run: run(2), sessions: &[200, 250], began: 20, ended: true },
            Known { run: run(3), sessions: &[300], began: 20, ended: both_ended },
        ];
        let facts = Facts { state: 'S', parent: 1, group, session, began };
        attribute(&Orphan { facts, mark: mark.map(run) }, &runs).map(|run| run.number)
    }

    #[test]
    fn evidence_is_taken_in_order_of_its_strength() {
        for (session, group, began, mark, both_ended, expected, why) in [
            (100, 101, 30, None, false, Some(1), "session"),
            (101, 100, 30, None, false, Some(1), "group"),
            (250, 251, 30, None, false, Some(2), "a session that a descendant was seen to make"),
            (100, 100, 30, Some(3), false, Some(1), "the session is the kernel's word, the mark the program's"),
            (999, 999, 30, Some(1), false, Some(1), "mark, though another run has just ended"),
            (999, 999, 30, Some(9), false, None, "the mark of a run that is not known"),
            (999, 999, 30, None, false, Some(2), "child of the only one that has ended"),
            (999, 999, 30, None, true, None, "two have ended"),
            (200, 200, 15, None, false, None, "older than the run that has its session's number"),
            (999, 999, 15, None, false, None, "older than the run that has ended"),
            (999, 999, 15, Some(3), false, None, "older than the run that its mark names"),
        ] {
            assert_eq!(told(session, group, began, mark, both_ended), expected, "{why}");
        }
    }
}
