//! Whether a connection has stopped: how likely its silence is, by the pauses between its runs.
//!
//! In: the starts of its runs. Out: the probability of a pause as long, from a Weibull distribution with the mean
//! and the variation of its pauses (the exponents of Justus et al., Journal of Applied Meteorology 17, 1978): a
//! schedule gives a steep one, runs that somebody starts by hand a flat one. Pure arithmetic.

use serde::{Deserialize, Serialize};

/// How much longer than the longest known pause the silence is, at least.
const PAUSES: f64 = 1.5;
/// Runs that were to be expected in the silence, at least.
const LEAST_EXPECTED: f64 = 2.0;
/// Runs that must be known before a silence says anything.
const LEAST_KNOWN: usize = 8;
/// What no schedule is steeper than: a few late runs are always possible.
const STEEPEST: f64 = 10.0;
const FLATTEST: f64 = 0.3;

/// A silence that is longer than any pause before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// From the start of the last run, in milliseconds.
    pub length_ms: i64,
    /// The longest pause between two runs before.
    pub longest_ms: i64,
    /// Runs that were to be expected meanwhile.
    pub expected: f64,
    /// How likely one pause as long is.
    pub chance: f64,
}

/// The pauses between the runs of a connection.
pub(super) struct Pauses {
    /// The start of the last run.
    last_ms: i64,
    longest_ms: i64,
    mean: f64,
    shape: f64,
}

impl Pauses {
    /// Of runs by their starts, which are in order, all in milliseconds; `None` where too little is known.
    pub(super) fn of(starts: &[i64]) -> Option<Self> {
        if starts.len() < LEAST_KNOWN {
            return None;
        }
        let pauses: Vec<f64> = starts.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let count = pauses.len() as f64;
        let mean = pauses.iter().sum::<f64>() / count;
        if mean <= 0.0 {
            return None;
        }
        let variance = pauses.iter().map(|pause| (pause - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let variation = variance.sqrt() / mean;
        // A steady schedule has no variation to divide by.
        let shape = variation.max(1e-3).powf(-1.086).clamp(FLATTEST, STEEPEST);
        let longest_ms = starts.windows(2).map(|pair| pair[1] - pair[0]).max()?;
        Some(Self { last_ms: *starts.last()?, longest_ms, mean, shape })
    }

    /// The silence from the last run until `now`, where it is longer than 1.5 times the longest pause and two runs
    /// at least were to be expected.
    pub(super) fn silence(&self, now: i64) -> Option<Silence> {
        let length_ms = now.checked_sub(self.last_ms)?;
        let expected = length_ms as f64 / self.mean;
        let is_long = length_ms as f64 > PAUSES * self.longest_ms as f64 && expected >= LEAST_EXPECTED;
        is_long.then(|| Silence {
            length_ms,
            longest_ms: self.longest_ms,
            expected,
            chance: self.chance(length_ms),
        })
    }

    /// When the silence is long enough to be looked at, if it lasts.
    pub(super) fn due_at(&self) -> i64 {
        let length = (PAUSES * self.longest_ms as f64).max(LEAST_EXPECTED * self.mean);
        self.last_ms.saturating_add(length as i64 + 1)
    }

    fn chance(&self, length_ms: i64) -> f64 {
        let scale = self.mean / libm::tgamma(1.0 + 1.0 / self.shape);
        (-(length_ms as f64 / scale).powf(self.shape)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn find(starts: &[i64], now: i64) -> Option<Silence> {
        Pauses::of(starts)?.silence(now)
    }

    fn due_at(starts: &[i64]) -> Option<i64> {
        Some(Pauses::of(starts)?.due_at())
    }

    #[test]
    fn a_silence_is_told_against_the_pauses_of_the_connection_itself() {
        let daily: Vec<i64> = (0..10).map(|index| index * DAY).collect();
        assert_eq!(find(&daily, 10 * DAY), None);
        let silence = find(&daily, 12 * DAY).unwrap();
        assert_eq!((silence.length_ms, silence.longest_ms), (3 * DAY, DAY));
        assert!(silence.chance < 1e-20, "{silence:?}");
        assert!(due_at(&daily).is_some_and(|due| due > 11 * DAY - 1 && due <= 11 * DAY + 1));

        let weekdays: Vec<i64> = (0..20).filter(|index| index % 7 < 5).map(|index| index * DAY).collect();
        assert_eq!(find(&weekdays, 21 * DAY), None, "a weekend is no stop");
        assert_eq!(find(&daily[..7], 100 * DAY), None, "too few to know its pauses");
        assert_eq!(find(&[7; 20], 100 * DAY), None, "runs of one instant have no pauses");
    }

    #[test]
    fn runs_that_somebody_starts_by_hand_may_pause_long() {
        // Pauses of an exponential distribution: quantiles of its middle.
        let mut at = 0;
        let mut starts = vec![0];
        for step in 1..40 {
            at += (-(1.0 - f64::from(step) / 40.0).ln() * DAY as f64) as i64;
            starts.push(at);
        }
        let silence = find(&starts, at + 6 * DAY).unwrap();
        assert!(silence.chance > 1e-4, "{silence:?}");
    }
}
