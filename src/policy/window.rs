//! Restart intensity: OTP's sliding window.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{Moment, RestartSpec};

/// The restarts of the recent past, oldest first.
///
/// supervisor(3) of OTP: more than `intensity` restarts within `period` are too many, and the one that would be too many
/// is not made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window(VecDeque<Moment>);

impl Window {
    /// A window with these restarts, oldest first.
    pub fn of(restarts: impl IntoIterator<Item = Moment>) -> Self {
        Self(restarts.into_iter().collect())
    }

    /// Counts a restart before it is made. False where it exceeds the intensity: then it must not be made.
    pub fn admit(&mut self, now: Moment, spec: &RestartSpec) -> bool {
        let length = length(spec);
        // As OTP does, a restart exactly one period ago still counts.
        while self.0.front().is_some_and(|restart| now - *restart > length) {
            self.0.pop_front();
        }
        if self.0.len() >= spec.intensity as usize {
            return false;
        }
        self.0.push_back(now);
        true
    }

    /// Counts a restart that was made.
    pub(super) fn count_one(&mut self, now: Moment) {
        self.0.push_back(now);
    }

    /// How many restarts are in it now.
    pub fn count(&self, now: Moment, spec: &RestartSpec) -> u32 {
        let length = length(spec);
        let recent = self.0.iter().filter(|restart| now - **restart <= length).count();
        u32::try_from(recent).unwrap_or(u32::MAX)
    }

    /// Forgets all restarts.
    pub fn clear(&mut self) {
        // Not `clear`, which would keep the memory of a bad hour for ever.
        self.0 = VecDeque::new();
    }

    /// The restarts, oldest first.
    pub fn restarts(&self) -> impl Iterator<Item = Moment> {
        self.0.iter().copied()
    }
}

/// The effective length of the window. Restarts that wait `delay` are at least that far apart, so that `delay` could
/// hide a loop from a window of `period` alone.
pub(super) fn length(spec: &RestartSpec) -> Duration {
    spec.period.saturating_add(spec.delay.saturating_mul(spec.intensity))
}
