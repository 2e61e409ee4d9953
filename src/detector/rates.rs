//! Which connections fail more than they usually do.
//!
//! In: for each connection its failures week by week before the period (the baseline), and those of the period.
//! Out: what was to be expected of it, and whether it is named. Pure arithmetic.
//!
//! 1. The usual rate of a connection is its own rate, drawn towards the fleet's by a beta prior whose mean and
//!    strength are those of the fleet (method of moments; Kleinman, JASA 68, 1973): a connection of 7 runs a week
//!    says little by itself.
//! 2. What a period may bring by chance is beta-binomial: the usual rate is known as well as its runs allow, and
//!    failures of one week go together more than independent ones would. One correlation for the whole fleet is
//!    told from the weeks of the baseline (Williams, Applied Statistics 31, 1982).
//! 3. Failures in a row are judged beside their number: three at the end of a week are less likely than three of
//!    seven. How often a failure follows a failure is told from the baseline too, so that a fleet whose failures
//!    come in bursts is not alarmed by each burst.
//! 4. One error budget: a connection is named where, at its level of surprise, so few wrong names are to be
//!    expected of the whole fleet that they are at most a given part of all names. The number of wrong names is
//!    counted exactly, because counts of few runs take few values (Heyse, JASA 106, 2011).

use serde::{Deserialize, Serialize};

/// Fewer failures than this are no news, however seldom a connection fails.
const LEAST_FAILURES: u64 = 2;
/// How much of the smaller probability is added to the larger one, for a period that is unlikely by its number of
/// failures or by their being in a row: the two are mostly the same periods. Measured by `benches/detector.rs`.
const APART: f64 = 0.3;
/// Failures above which a longer period is no longer looked at one by one: no week of a connection is so long.
const MOST_LEVELS: u64 = 100_000;

/// Runs that were rated, and those of them that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Succeeded, partly succeeded and failed.
    pub rated: u64,
    /// Of these, those that failed.
    pub failed: u64,
}

impl Tally {
    fn of(failed: &[bool]) -> Self {
        Self { rated: failed.len() as u64, failed: failed.iter().filter(|failed| **failed).count() as u64 }
    }
}

/// What is known of a connection before the period, and what the period brought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The weeks of the baseline, the oldest first; a week without a rated run may be left out.
    pub weeks: Vec<Tally>,
    /// The most rated runs in a row that failed in the baseline.
    pub longest_before: u64,
    /// Failures of the baseline that the next rated run repeated.
    pub repeated: u64,
    /// The period.
    pub now: Tally,
    /// The most rated runs in a row that failed in the period.
    pub longest: u64,
}

impl Record {
    /// Of the runs before the period, week by week, and of its own: whether each rated run failed, in their order.
    pub fn of<'a>(weeks: impl Iterator<Item = &'a [bool]>, before: &[bool], now: &[bool]) -> Self {
        Self {
            weeks: weeks.map(Tally::of).filter(|week| week.rated > 0).collect(),
            longest_before: longest(before),
            repeated: before.windows(2).filter(|pair| pair[0] && pair[1]).count() as u64,
            now: Tally::of(now),
            longest: longest(now),
        }
    }

    fn before(&self) -> Tally {
        self.weeks.iter().fold(Tally::default(), |sum, week| Tally {
            rated: sum.rated + week.rated,
            failed: sum.failed + week.failed,
        })
    }

    /// The most failures of one week of the baseline.
    fn worst(&self) -> u64 {
        self.weeks.iter().map(|week| week.failed).max().unwrap_or(0)
    }
}

fn longest(failed: &[bool]) -> u64 {
    failed.split(|failed| !failed).map(<[bool]>::len).max().unwrap_or(0) as u64
}

/// What is found of one connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// The rate at which it usually fails.
    pub usual: f64,
    /// Failures that were to be expected of the period.
    pub expected: f64,
    /// How likely as many failures, or as many in a row, were; 1 where no more failed than in the worst week.
    pub chance: f64,
    /// Whether it fails more than usual.
    pub is_named: bool,
    /// From how many failures on a period of as many runs would be named alone; `None` where none would.
    pub named_from: Option<u64>,
}

/// What the connections have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fleet {
    /// The usual rate of a connection of which nothing is known.
    mean: f64,
    /// How many runs of its own weigh as much as the fleet.
    strength: f64,
    /// The correlation of failures within a week.
    correlation: f64,
    /// How much likelier a run fails for following a failure: 0 where runs fail independently, 1 where each does.
    persistence: f64,
}

impl Fleet {
    pub(super) fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let known: Vec<(&Record, Tally)> = records
            .into_iter()
            .map(|record| (record, record.before()))
            .filter(|(_, before)| before.rated > 0)
            .collect();
        let rated: u64 = known.iter().map(|(_, before)| before.rated).sum();
        let failed: u64 = known.iter().map(|(_, before)| before.failed).sum();
        // A fleet that never failed fails seldom, not never: half a failure stands for what was not seen.
        let mean = ((failed as f64).max(0.5) / (rated as f64 + 1.0)).min(0.99);
        let strength = strength(mean, &known);
        let mut fleet = Self { mean, strength, correlation: 0.0005, persistence: 0.0 };
        fleet.correlation = fleet.estimate_correlation(&known);
        fleet.persistence = fleet.estimate_persistence(&known);
        fleet
    }

    /// By how much weekly counts vary more than independent failures would let them.
    fn estimate_correlation(&self, known: &[(&Record, Tally)]) -> f64 {
        let (mut squares, mut variance, mut rated, mut weeks) = (0.0, 0.0, 0.0, 0.0);
        for (record, before) in known {
            let usual = self.usual(*before);
            // One run of a week correlates with nothing.
            for week in record.weeks.iter().filter(|week| week.rated > 1) {
                let n = week.rated as f64;
                squares += (week.failed as f64 - n * usual).powi(2);
                variance += n * usual * (1.0 - usual);
                rated += n;
                weeks += 1.0;
            }
        }
        if weeks == 0.0 || variance == 0.0 {
            return self.correlation;
        }
        ((squares / variance - 1.0) / (rated / weeks - 1.0)).clamp(0.0005, 0.9)
    }

    /// How often a failure was repeated beyond what the usual rate explains, and one standard error more: a small
    /// fleet must not take a burst for a break-down because it has seen none yet.
    fn estimate_persistence(&self, known: &[(&Record, Tally)]) -> f64 {
        let (mut more, mut room) = (0.0, 0.0);
        for (record, before) in known {
            let usual = self.usual(*before);
            more += record.repeated as f64 - usual * before.failed as f64;
            room += (1.0 - usual) * before.failed as f64;
        }
        let estimate: f64 = if room > 0.0 { (more / room).max(0.0) } else { 0.0 };
        let variance = self.mean * (1.0 - self.mean) + estimate * (1.0 - estimate);
        (estimate + (variance / (room + 1.0)).sqrt()).clamp(0.0, 0.95)
    }

    fn usual(&self, before: Tally) -> f64 {
        (before.failed as f64 + self.strength * self.mean) / (before.rated as f64 + self.strength)
    }

    /// The beta distribution of the rate of one period: as well known as the baseline allows, and as different
    /// from week to week as the fleet's weeks are.
    fn period(&self, before: Tally) -> (f64, f64) {
        let usual = self.usual(before);
        let variance = self.correlation + 1.0 / (before.rated as f64 + self.strength + 1.0);
        let weight = 1.0 / variance - 1.0;
        (usual * weight, (1.0 - usual) * weight)
    }

    /// The probabilities of so many failures in a row, or more, from one to all runs of a period.
    fn in_a_row(&self, before: Tally, rated: u64) -> Vec<f64> {
        let failed = before.failed as f64 + self.strength * self.mean;
        let all = before.rated as f64 + self.strength;
        let mut row = 1.0;
        let lengths = (1..=rated.min(MOST_LEVELS)).map(|length| {
            let more = (length - 1) as f64;
            let rate = (failed + more) / (all + more);
            row *= if length == 1 { rate } else { rate + (1.0 - rate) * self.persistence };
            // It may begin at any run that has enough behind it.
            (row * (rated + 1 - length) as f64).min(1.0)
        });
        lengths.collect()
    }
}

/// How many runs the fleet's rate weighs: many where connections are alike, few where each has its own.
fn strength(mean: f64, known: &[(&Record, Tally)]) -> f64 {
    const LIMITS: (f64, f64) = (1.0, 1e4);
    let count = known.len() as f64;
    if count < 2.0 {
        return LIMITS.1;
    }
    let rates = known.iter().map(|(_, before)| before.failed as f64 / before.rated as f64);
    let between = rates.map(|rate| (rate - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let by_chance =
        known.iter().map(|(_, before)| mean * (1.0 - mean) / before.rated as f64).sum::<f64>() / count;
    let variance = between - by_chance;
    if variance <= 0.0 {
        return LIMITS.1;
    }
    (mean * (1.0 - mean) / variance - 1.0).clamp(LIMITS.0, LIMITS.1)
}

/// The probabilities of so many failures or more among `rated` runs, from none to all.
fn tails(rated: u64, (a, b): (f64, f64)) -> Vec<f64> {
    let lgamma = libm::lgamma;
    let n = rated as f64;
    let common = lgamma(n + 1.0) - lgamma(n + a + b) + lgamma(a + b) - lgamma(a) - lgamma(b);
    let log_probability = |failed: f64| {
        common - lgamma(failed + 1.0) - lgamma(n - failed + 1.0) + lgamma(failed + a) + lgamma(n - failed + b)
    };
    let mut sum = 0.0;
    let mut tails: Vec<f64> = (0..=rated)
        .rev()
        .map(|failed| {
            sum += log_probability(failed as f64).exp();
            f64::min(sum, 1.0)
        })
        .collect();
    tails.reverse();
    tails
}

/// One connection's probabilities.
struct Levels {
    /// Of at least so many failures, from none on.
    count: Vec<f64>,
    least_count: u64,
    /// Of at least so many in a row, from one on.
    row: Vec<f64>,
    least_row: u64,
}

impl Levels {
    fn of(fleet: &Fleet, record: &Record) -> Self {
        let rated = record.now.rated.min(MOST_LEVELS);
        let before = record.before();
        Self {
            count: tails(rated, fleet.period(before)),
            least_count: LEAST_FAILURES.max(record.worst() + 1),
            row: fleet.in_a_row(before, rated),
            least_row: LEAST_FAILURES.max(record.longest_before + 1),
        }
    }

    fn counts(&self) -> impl Iterator<Item = (u64, f64)> {
        (0..).zip(self.count.iter().copied()).filter(|(failed, _)| *failed >= self.least_count)
    }

    fn rows(&self) -> impl Iterator<Item = (u64, f64)> {
        (1..).zip(self.row.iter().copied()).filter(|(length, _)| *length >= self.least_row)
    }

    /// How likely what happened was: as many failures, or as many in a row.
    fn chance(&self, record: &Record) -> f64 {
        let count = self.counts().find(|(failed, _)| *failed == record.now.failed);
        let row = self.rows().find(|(length, _)| *length == record.longest);
        let [count, row] = [count, row].map(|level| level.map_or(1.0, |(_, chance)| chance));
        count.min(row)
    }
}

/// What of the period is unusual, connection by connection; `wrong_names` are to be expected where nothing is.
pub fn judge(records: &[Record], wrong_names: f64) -> Vec<Judgement> {
    judge_against(&Fleet::of(records), &records.iter().collect::<Vec<_>>(), wrong_names)
}

/// Against a fleet that is known from other records, too.
pub(super) fn judge_against(fleet: &Fleet, records: &[&Record], wrong_names: f64) -> Vec<Judgement> {
    let levels: Vec<Levels> = records.iter().map(|record| Levels::of(fleet, record)).collect();
    let chances: Vec<f64> =
        levels.iter().zip(records).map(|(levels, record)| levels.chance(record)).collect();
    let (level, alone) = find_levels(&levels, &chances, wrong_names);
    let judged = records.iter().zip(&levels).zip(&chances).map(|((record, levels), &chance)| {
        let usual = fleet.usual(record.before());
        Judgement {
            usual,
            expected: usual * record.now.rated as f64,
            chance,
            is_named: level.is_some_and(|level| chance <= level),
            named_from: alone.and_then(|alone| {
                levels.counts().find(|(_, chance)| *chance <= alone).map(|(failed, _)| failed)
            }),
        }
    });
    judged.collect()
}

/// The largest chance at which connections are named, and the largest at which one alone would be.
///
/// Walks up all chances that a connection may have, with the wrong names that are to be expected at each.
fn find_levels(levels: &[Levels], chances: &[f64], wrong_names: f64) -> (Option<f64>, Option<f64>) {
    // A chance that a period of a connection may have, by its count or its row.
    let mut steps: Vec<(f64, usize, bool)> = Vec::new();
    for (index, levels) in levels.iter().enumerate() {
        // What is likelier than the whole budget names nobody.
        let likely = wrong_names * chances.len() as f64;
        steps
            .extend(levels.counts().map(|(_, chance)| (chance, index, true)).filter(|step| step.0 <= likely));
        steps.extend(levels.rows().map(|(_, chance)| (chance, index, false)).filter(|step| step.0 <= likely));
    }
    steps.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut sorted = chances.to_vec();
    sorted.sort_by(f64::total_cmp);

    let mut reached = vec![(0.0_f64, 0.0_f64); levels.len()];
    let wrong = |(count, row): (f64, f64)| count.max(row) + APART * count.min(row);
    let (mut expected, mut named) = (0.0, 0);
    let (mut level, mut alone) = (None, None);
    for (at, (chance, index, is_count)) in steps.iter().enumerate() {
        let before = reached[*index];
        let after = if *is_count { (*chance, before.1) } else { (before.0, *chance) };
        reached[*index] = after;
        expected += wrong(after) - wrong(before);
        // Only the last of equal chances has all of them behind it.
        if steps.get(at + 1).is_some_and(|next| next.0 == *chance) {
            continue;
        }
        while sorted.get(named).is_some_and(|found| found <= chance) {
            named += 1;
        }
        if named > 0 && expected <= wrong_names * named as f64 {
            level = Some(*chance);
        }
        if expected <= wrong_names {
            alone = Some(*chance);
        }
    }
    (level, alone)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WRONG_NAMES: f64 = 0.048;

    /// A connection of seven runs a week: failures of each week of the baseline, and of the period in a row.
    fn record(weeks: [u64; 8], failed: u64) -> Record {
        Record {
            weeks: weeks.map(|failed| Tally { rated: 7, failed }).to_vec(),
            longest_before: u64::from(weeks.iter().any(|failed| *failed > 0)),
            repeated: 0,
            now: Tally { rated: 7, failed },
            longest: failed,
        }
    }

    /// So many connections that fail now and then, each its own week.
    fn fleet(count: usize) -> Vec<Record> {
        let weeks = |index: usize| std::array::from_fn(|week| u64::from(week == index % 8));
        (0..count).map(|index| record(weeks(index), u64::from(index % 9 == 0))).collect()
    }

    fn named(records: &[Record]) -> Vec<usize> {
        let judged = judge(records, WRONG_NAMES);
        (0..records.len()).filter(|index| judged[*index].is_named).collect()
    }

    #[test]
    fn a_nightly_run_that_breaks_for_a_week_is_named_among_two_hundred() {
        let mut records = fleet(200);
        assert_eq!(named(&records), [0_usize; 0]);
        records[7] = record([0; 8], 7);
        assert_eq!(named(&records), [7]);
        // The last three nights of the week are enough.
        records[7] = record([0; 8], 3);
        assert_eq!(named(&records), [7]);
        let judged = judge(&records, WRONG_NAMES)[7];
        assert!(judged.named_from.is_some_and(|from| (2..=4).contains(&from)), "{judged:?}");
        assert!(judged.usual < 0.05 && judged.expected < 0.4, "{judged:?}");
    }

    #[test]
    fn a_week_like_the_worst_of_the_baseline_is_no_news() {
        let mut records = fleet(20);
        records[3] = record([0, 4, 0, 0, 3, 0, 4, 0], 4);
        records[3].longest_before = 4;
        assert_eq!(named(&records), [0_usize; 0]);
        assert_eq!(judge(&records, WRONG_NAMES)[3].chance, 1.0);
    }

    #[test]
    fn a_fleet_whose_failures_come_in_bursts_is_not_alarmed_by_one_more() {
        let burst = |week: usize| Record {
            weeks: (0..8)
                .map(|other| Tally { rated: 7, failed: if other == week { 3 } else { 0 } })
                .collect(),
            longest_before: 3,
            repeated: 2,
            now: Tally { rated: 7, failed: 0 },
            longest: 0,
        };
        let mut records: Vec<Record> = (0..20).map(|index| burst(index % 8)).collect();
        // One that was spared so far has its burst, too.
        records[5] = record([0; 8], 3);
        assert_eq!(named(&records), [0_usize; 0]);
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert_eq!(judge(&[], WRONG_NAMES), []);
        let judged = judge(&[Record::default(), record([0; 8], 0)], WRONG_NAMES);
        assert!(judged.iter().all(|judged| !judged.is_named && judged.chance == 1.0), "{judged:?}");
        assert_eq!(judged[0].named_from, None);
    }

    prop_compose! {
        fn any_record()(
            weeks in prop::collection::vec((0_u64..30, 0_u64..30), 0..9),
            now in (0_u64..30, 0_u64..30),
            rows in (0_u64..30, 0_u64..30, 0_u64..30),
        ) -> Record {
            let tally = |(rated, failed): (u64, u64)| Tally { rated, failed: failed.min(rated) };
            let weeks: Vec<Tally> = weeks.into_iter().map(tally).collect();
            let failed: u64 = weeks.iter().map(|week| week.failed).sum();
            let now = tally(now);
            Record {
                longest_before: rows.0.min(failed),
                repeated: rows.1.min(failed.saturating_sub(1)),
                longest: rows.2.min(now.failed),
                weeks,
                now,
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_known_the_answer_is_a_probability_and_the_order_means_nothing(
            mut records in prop::collection::vec(any_record(), 0..12)
        ) {
            let judged = judge(&records, WRONG_NAMES);
            for (record, judged) in records.iter().zip(&judged) {
                prop_assert!((0.0..=1.0).contains(&judged.usual) && (0.0..=1.0).contains(&judged.chance), "{judged:?}");
                prop_assert!(!judged.is_named || record.now.failed >= LEAST_FAILURES);
                prop_assert!(judged.named_from.is_none_or(|from| from >= LEAST_FAILURES && from <= record.now.rated));
            }
            records.reverse();
            let mut again = judge(&records, WRONG_NAMES);
            again.reverse();
            for (one, other) in judged.iter().zip(&again) {
                prop_assert!((one.chance - other.chance).abs() < 1e-9 && one.named_from == other.named_from);
            }
        }

        #[test]
        fn more_failures_are_never_likelier(rated in 1_u64..60, a in 0.01_f64..40.0, b in 0.01_f64..40.0) {
            let tails = tails(rated, (a, b));
            prop_assert!((tails[0] - 1.0).abs() < 1e-6, "{}", tails[0]);
            prop_assert!(tails.windows(2).all(|pair| pair[1] <= pair[0]));
        }
    }
}
