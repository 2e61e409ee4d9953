//! The statistics of a report: intervals of rates, and whether two rates differ.
//!
//! In: counts. Out: numbers from 0 to 1. Pure arithmetic; where there is nothing to say, `None`.

use super::figures::Interval;

/// The 97.5 % quantile of the standard normal distribution: two-sided 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// The significance asked of a change, and the rate of false discoveries among connections.
pub(crate) const ALPHA: f64 = 0.05;

/// The 95 % Wilson score interval of `failed` among `rated` (Wilson 1927, without continuity correction).
pub(crate) fn wilson(failed: u64, rated: u64) -> Option<Interval> {
    if rated == 0 || failed > rated {
        return None;
    }
    let (failed, n) = (failed as f64, rated as f64);
    let rate = failed / n;
    let z2 = Z * Z;
    let center = (rate + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (rate * (1.0 - rate) / n + z2 / (4.0 * n * n)).sqrt();
    // At none and all of n the ends are exactly 0 and 1, which rounding would miss.
    let low = if failed == 0.0 { 0.0 } else { (center - half).max(0.0) };
    let high = if failed == n { 1.0 } else { (center + half).min(1.0) };
    Some(Interval { low, high })
}

/// The two-sided p-value of Fisher's exact test that `(failed, rated)` of two periods have one rate: the
/// probability of all tables with these margins that are not likelier than this one. Exact for small
/// numbers, where a test that approximates would call 2 of 2 after 0 of 2 a change.
pub(crate) fn fisher((failed, rated): (u64, u64), (failed_before, rated_before): (u64, u64)) -> Option<f64> {
    if rated == 0 || rated_before == 0 || failed > rated || failed_before > rated_before {
        return None;
    }
    let all_failed = failed + failed_before;
    let low = all_failed.saturating_sub(rated_before);
    let high = all_failed.min(rated);
    let log_probability = |failed: u64| {
        log_choose(rated, failed) + log_choose(rated_before, all_failed - failed)
            - log_choose(rated + rated_before, all_failed)
    };
    // Tables as likely as this one count, whatever rounding says.
    let observed = log_probability(failed) + 1e-7;
    // The likeliest table; probabilities fall on both sides of it.
    let all = (rated + rated_before + 2) as f64;
    let mode = ((all_failed + 1) as f64 * (rated + 1) as f64 / all) as u64;
    let mode = mode.clamp(low, high);
    let tail = |tables: &mut dyn Iterator<Item = u64>| {
        let mut sum = 0.0;
        for table in tables {
            let log = log_probability(table);
            if log > observed {
                continue;
            }
            let term = log.exp();
            sum += term;
            // Beyond this nothing adds to a sum of doubles.
            if term < sum * 1e-17 || term == 0.0 {
                break;
            }
        }
        sum
    };
    let p = tail(&mut (low..=mode).rev()) + tail(&mut (mode + 1..=high));
    Some(p.min(1.0))
}

/// The natural logarithm of `n` over `k`.
fn log_choose(n: u64, k: u64) -> f64 {
    let log_factorial = |n: u64| libm::lgamma(n as f64 + 1.0);
    log_factorial(n) - log_factorial(k) - log_factorial(n - k)
}

/// The largest of these p-values that counts as a discovery where at most 5 % of the discoveries may be
/// false (Benjamini and Hochberg 1995); `None` where none does.
pub(crate) fn largest_discovery(p_values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = p_values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let ranked = (1_u32..).zip(&sorted);
    ranked.filter(|&(rank, &p)| p <= ALPHA * f64::from(rank) / count).map(|(_, &p)| p).last()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-4
    }

    #[test]
    fn intervals_are_those_of_the_textbook() {
        // Newcombe 1998, table I, method 3.
        for (failed, rated, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let interval = wilson(failed, rated).unwrap();
            assert!(
                close(interval.low, low) && close(interval.high, high),
                "{failed} of {rated}: {interval:?}"
            );
        }
        assert_eq!(wilson(0, 0), None);
        assert!(wilson(1, 2).unwrap().high - wilson(1, 2).unwrap().low > 0.8);
    }

    #[test]
    fn the_exact_test_gives_known_p_values() {
        // Fisher's tea (1935), and tables computed with R's fisher.test.
        for (now, before, p) in [
            ((3, 4), (1, 4), 0.485_714),
            ((1, 10), (11, 14), 0.002_759),
            ((0, 2), (2, 2), 0.333_333),
            ((500, 1000), (400, 1000), 8.21e-6),
        ] {
            let found = fisher(now, before).unwrap();
            assert!((found - p).abs() < 1e-5, "{now:?} {before:?}: {found}");
        }
        assert_eq!(fisher((0, 0), (1, 2)), None);
    }

    #[test]
    fn discoveries_are_fewer_where_more_is_tested() {
        assert_eq!(largest_discovery([0.04]), Some(0.04));
        assert_eq!(largest_discovery([0.04, 0.9]), None);
        assert_eq!(largest_discovery([0.02, 0.9, 0.03, 0.01]), Some(0.03));
        assert_eq!(largest_discovery([]), None);
    }

    /// By multiplying, for numbers that this is exact for.
    fn choose(n: u64, k: u64) -> f64 {
        (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64)
    }

    proptest! {
        #[test]
        fn the_exact_test_sums_what_is_not_likelier(a in 0_u64..40, n in 0_u64..40, b in 0_u64..40, m in 0_u64..40) {
            let (n, m) = (n.max(a), m.max(b));
            prop_assume!(n > 0 && m > 0);
            let probability = |x: u64| choose(n, x) * choose(m, a + b - x) / choose(n + m, a + b);
            let all = (a + b).saturating_sub(m)..=(a + b).min(n);
            let expected: f64 = all.map(probability).filter(|&p| p <= probability(a) * (1.0 + 1e-7)).sum();
            let found = fisher((a, n), (b, m)).unwrap();
            prop_assert!((found - expected.min(1.0)).abs() < 1e-6, "{} {}", found, expected);
            prop_assert!((found - fisher((b, m), (a, n)).unwrap()).abs() < 1e-9);
        }

        #[test]
        fn an_interval_holds_its_rate(failed in 0_u64..10_000, more in 0_u64..1_000_000) {
            prop_assume!(failed + more > 0);
            let rate = failed as f64 / (failed + more) as f64;
            let interval = wilson(failed, failed + more).unwrap();
            prop_assert!(0.0 <= interval.low && interval.low <= rate && rate <= interval.high && interval.high <= 1.0);
        }
    }
}
