//! Whether durations became longer: the rank test of Mann and Whitney (Annals of Mathematical Statistics 18, 1947).
//!
//! In: durations in milliseconds of two times. Out: how likely ranks as high are if nothing changed. Pure
//! arithmetic. Ranks, because durations are skewed and a few absurd ones must not decide.

use serde::{Deserialize, Serialize};

/// By how much the median of one is to differ from the other's before it is worth telling.
const LEAST_RATIO: f64 = 1.25;
/// Shorter differences of medians are nobody's trouble, whatever their ratio.
const LEAST_MS: i64 = 1_000;
/// With fewer values on a side no ranks are improbable enough.
const LEAST_VALUES: usize = 3;

/// Two medians that differ by enough to be told, if it is no chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Of the baseline.
    pub before_ms: i64,
    /// Of the period.
    pub now_ms: i64,
    /// How likely ranks as high are where nothing changed; one-sided.
    pub chance: f64,
}

/// Whether the durations of `now` are longer than those of `before`.
pub(super) fn longer(before: &[i64], now: &[i64]) -> Option<Moved> {
    let moved = Moved { before_ms: median(before)?, now_ms: median(now)?, chance: rank_sum(before, now)? };
    let is_worth = moved.now_ms - moved.before_ms >= LEAST_MS
        && moved.now_ms as f64 >= LEAST_RATIO * moved.before_ms as f64;
    is_worth.then_some(moved)
}

/// Whether the durations of `now` are shorter than those of `before`.
pub(super) fn shorter(before: &[i64], now: &[i64]) -> Option<Moved> {
    let Moved { before_ms, now_ms, chance } = longer(now, before)?;
    Some(Moved { before_ms: now_ms, now_ms: before_ms, chance })
}

/// The value at the nearest rank of one half: a value that occurred.
fn median(values: &[i64]) -> Option<i64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// The probability of ranks as high as those of `high`, by the normal approximation with the correction for ties:
/// in its tail it is larger than the exact probability, so nothing is named by it that is likelier.
fn rank_sum(low: &[i64], high: &[i64]) -> Option<f64> {
    if low.len().min(high.len()) < LEAST_VALUES {
        return None;
    }
    let mut all: Vec<(i64, bool)> =
        low.iter().map(|value| (*value, false)).chain(high.iter().map(|value| (*value, true))).collect();
    all.sort_unstable();

    let (mut ranks, mut ties, mut at) = (0.0, 0.0, 0_usize);
    for equal in all.chunk_by(|one, other| one.0 == other.0) {
        let count = equal.len() as f64;
        // Equal values share the mean of their ranks.
        let rank = at as f64 + (count + 1.0) / 2.0;
        ranks += rank * equal.iter().filter(|(_, is_high)| *is_high).count() as f64;
        ties += count.powi(3) - count;
        at += equal.len();
    }

    let (n, m, total) = (high.len() as f64, low.len() as f64, all.len() as f64);
    let mean = n * (total + 1.0) / 2.0;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return Some(1.0);
    }
    // Half a rank for continuity.
    let z = (ranks - mean - 0.5) / variance.sqrt();
    Some(0.5 * libm::erfc(z / std::f64::consts::SQRT_2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_test_gives_known_probabilities() {
        // The permeability constants of Hollander and Wolfe 1973, p. 69, as R's wilcox.test has them: W = 35 with a
        // mean of 25 and a variance of 200 / 3; 0.1272 by the exact distribution.
        let now = [800, 830, 1_890, 1_040, 1_450, 1_380, 1_910, 1_640, 730, 1_460];
        let before = [1_150, 880, 900, 740, 1_210];
        let p = rank_sum(&before, &now).unwrap();
        assert!((p - 0.1223).abs() < 1e-4, "{p}");
        assert_eq!(rank_sum(&[5, 5, 5], &[5, 5, 5]), Some(1.0));
        assert_eq!(rank_sum(&[5, 5], &[5, 5, 5]), None);
    }

    #[test]
    fn a_median_that_moved_by_little_is_not_told() {
        let around = |middle: i64| (0..20).map(|step| middle + step).collect::<Vec<_>>();
        let found = longer(&around(60_000), &around(90_000)).unwrap();
        assert_eq!((found.before_ms, found.now_ms), (60_009, 90_009));
        assert!(found.chance < 1e-6);
        assert_eq!(longer(&around(60_000), &around(70_000)), None, "17 %");
        assert_eq!(longer(&around(100), &around(500)), None, "less than a second");
        assert!(shorter(&around(90_000), &around(20_000)).is_some());
        assert_eq!(shorter(&around(60_000), &around(90_000)), None);
    }
}
