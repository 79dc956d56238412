//! To which run an orphan belongs.

use std::io;

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
pub(crate) struct Known {
    /// Which.
    pub(crate) run: RunId,
    /// Its session, whose number is that which its main process has, or had. None of one that never ran.
    pub(crate) session: Option<u32>,
    /// When its main process began, in ticks after boot.
    pub(crate) began: u64,
}

impl Orphan {
    /// Looks at an orphan of this herd; `None` if it is reaped.
    ///
    /// # Errors
    /// No descriptor is left to look with.
    pub(crate) fn look(kin: &Kin, herd: u64) -> io::Result<Option<Self>> {
        let mark = mark(kin.pid(), herd)?;
        Ok(kin.facts()?.map(|facts| Self { facts, mark }))
    }
}

/// The run that an orphan belongs to, by the strongest evidence that there is:
///
/// 1. its session or its group, which only a descendant can be in. The number of a session is not given to a new process
///    as long as anybody is in it, so that of two runs which had the same number the later one is meant;
/// 2. the mark that it has inherited. One that names a run which is not known belongs to that one and to no other;
/// 3. without a mark, that nobody else can have left it: of all runs that are known only one had begun by then, and there
///    are no `strangers`, which come from elsewhere or were left by runs that are forgotten.
///
/// None of them holds for an orphan that is older than the run. No evidence is no run: what nobody can name is not killed.
/// A login session that has lost the marks may have let go of a job long before another service ends.
pub(crate) fn attribute(orphan: &Orphan, runs: &[Known], strangers: bool) -> Option<RunId> {
    let Facts { session, group, began, .. } = orphan.facts;
    let mut possible = runs.iter().filter(|known| known.began <= began);
    // The kernel says 0 of what has its leader in another pid namespace.
    let related = |known: &&Known| known.session.is_some_and(|own| own != 0 && (own == session || own == group));
    if let Some(known) = possible.clone().filter(related).max_by_key(|known| known.began) {
        return Some(known.run);
    }
    if let Some(mark) = orphan.mark {
        return possible.find(|known| known.run == mark).map(|known| known.run);
    }
    match (possible.next(), possible.next()) {
        (Some(known), None) if !strangers => Some(known.run),
        (None | Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn run(number: u64) -> RunId {
        RunId { herd: 1, number }
    }

    fn told(session: u32, group: u32, began: u64, mark: Option<u64>, strangers: bool) -> Option<u64> {
        let runs = [
            Known { run: run(1), session: Some(100), began: 10 },
            Known { run: run(2), session: Some(200), began: 20 },
            Known { run: run(3), session: Some(200), began: 30 },
            Known { run: run(4), session: Some(0), began: 10 },
            Known { run: run(5), session: None, began: 5 },
        ];
        let facts = Facts { state: 'S', parent: 1, group, session, began };
        attribute(&Orphan { facts, mark: mark.map(run) }, &runs, strangers).map(|run| run.number)
    }

    #[test]
    fn evidence_is_taken_in_order_of_its_strength() {
        for (session, group, began, mark, strangers, expected, why) in [
            (100, 101, 40, None, true, Some(1), "session"),
            (101, 100, 40, None, true, Some(1), "group"),
            (200, 200, 40, None, true, Some(3), "the number was free when the third run got it"),
            (200, 200, 25, None, true, Some(2), "older than the third run"),
            (100, 100, 40, Some(3), true, Some(1), "the session is the kernel's word, the mark the program's"),
            (999, 999, 40, Some(1), true, Some(1), "mark"),
            (999, 999, 40, Some(9), false, None, "the mark of a run that is not known"),
            (0, 0, 40, None, false, None, "a leader in another pid namespace is nobody's session"),
            (999, 999, 40, None, false, None, "any of them may have left it"),
            (999, 999, 7, None, false, Some(5), "no other had begun by then"),
            (999, 999, 7, None, true, None, "it may have come from elsewhere"),
            (200, 200, 15, None, false, None, "older than the runs that have its session's number"),
            (999, 999, 15, Some(3), false, None, "older than the run that its mark names"),
            (999, 999, 4, None, false, None, "older than all"),
        ] {
            assert_eq!(told(session, group, began, mark, strangers), expected, "{why}");
        }
    }
}
