//! What the runs of one connection say of it: what the detector needs to judge it among the others.
//!
//! In: the runs of a baseline and of a period, in the order of their starts. Out: a [`Summary`], small enough to be
//! kept, which depends on these runs and the window alone. Pure arithmetic; no clock.

use serde::{Deserialize, Serialize};

use super::durations::{self, Moved};
use super::rates::Record;
use super::silence::{Pauses, Silence};
use super::states::{self, Entered, SUCCESSES_IN_A_ROW, State};

/// Bad runs that are named as evidence: the first one, and the newest.
const EVIDENCE: usize = 20;
/// A part of bad runs from which on an incident is no longer called flaky.
const FAILING: f64 = 0.8;
/// Slices that a baseline has before a connection is judged by what came after it.
const LEAST_SLICES: usize = 2;
/// How much longer than the longest run so far one takes that is stuck.
const STUCK_RUNS: f64 = 3.0;
/// No run of less time is stuck, however short the others are.
const STUCK_MS: i64 = 3_600_000;
/// Runs that must have ended before one is called stuck by their durations.
const STUCK_KNOWN: usize = 8;

/// How a run came out, as far as the detector tells outcomes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With success.
    Succeeded,
    /// With success in parts.
    PartlySucceeded,
    /// With an error, or by a time limit.
    Failed,
    /// Canceled.
    Canceled,
    /// It has not ended.
    Unfinished,
    /// Skipped, or with a result that says nothing.
    Other,
}

/// A run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// By which the caller knows it.
    pub key: i64,
    /// Its start, in milliseconds since 1970.
    pub started_ms: i64,
    /// How it came out.
    pub outcome: Outcome,
    /// How long it took; `None` where that is not known.
    pub duration_ms: Option<i64>,
    /// Whether a job or task in it failed or carries an error.
    pub has_failure: bool,
}

/// The times that runs are judged in, each the start of something, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Of the baseline.
    pub baseline: i64,
    /// Of the period.
    pub since: i64,
    /// Of what follows the period.
    pub until: i64,
    /// Of what nobody knows yet: states are told up to here.
    pub now: i64,
}

/// A run as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// By which the caller knows the run.
    pub key: i64,
    /// Its start.
    pub ms: i64,
}

/// A row of bad runs: what an incident is told of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spell {
    /// The run that it began with.
    pub first_bad: Option<Place>,
    /// The last run before it that was not bad.
    pub last_good: Option<Place>,
    /// The newest bad run.
    pub last_bad: Option<Place>,
    /// Bad runs.
    pub bad: u64,
    /// Of so many that could have been: to the last bad one where it is over, to the newest otherwise.
    pub of: u64,
    /// The first run after it, where it is over.
    pub over: Option<Place>,
    /// Bad runs by their keys, the oldest first: the first one, and the newest.
    pub evidence: Vec<i64>,
    /// Whether most of its runs are bad, not only some.
    pub is_steady: bool,
    /// How long its bad runs took, all together.
    pub lost_ms: i64,
}

/// One look at a kind of bad runs: what was known before, what came, and what would be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// What is judged.
    pub record: Record,
    /// What is told if it is named; `None` where no run is bad.
    pub spell: Option<Spell>,
}

/// The looks at a kind of bad runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Looks {
    /// At the period, against the baseline.
    pub period: Look,
    /// At what began before the period and lasts, against what came before it.
    pub lasting: Option<Look>,
}

/// Durations that moved, and the runs that show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// The medians, and how likely they are.
    pub moved: Moved,
    /// The runs that took longer (or failed sooner) than usual.
    pub spell: Spell,
}

/// A run that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stuck {
    /// The run.
    pub run: Place,
    /// How long it has been running.
    pub age_ms: i64,
    /// The longest run that ended.
    pub longest_ms: i64,
}

/// What the runs of a connection say of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Its state at the end, and the run it has it since.
    pub state: State,
    /// `None` of a connection that never left the state `fine`, or has no rated run.
    pub since: Option<Place>,
    /// Failed runs of those that are rated.
    pub failed: Looks,
    /// Partly succeeded runs of those that did not fail.
    pub partial: Looks,
    /// Runs that say success although something in them failed, of those that say it.
    pub masked: Looks,
    /// Canceled runs of those that ended.
    pub canceled: Looks,
    /// Runs that succeeded take longer.
    pub slower: Option<Shift>,
    /// Runs that failed did so sooner.
    pub fails_sooner: Option<Shift>,
    /// No run for longer than ever.
    pub silence: Option<Silence>,
    /// The newest run, whatever came of it.
    pub newest: Option<Place>,
    /// Runs that do not end.
    pub stuck: Vec<Stuck>,
    /// Runs that are to be expected in a period as long.
    pub runs: f64,
    /// When the silence or an unfinished run would change what is told, though no run came.
    pub due_at: Option<i64>,
}

impl Summary {
    /// What these runs say, which are in the order of their starts, none of them before the baseline.
    pub fn of(runs: &[Run], window: &Window) -> Self {
        use Outcome::*;
        let is_rated = |outcome| matches!(outcome, Succeeded | PartlySucceeded | Failed);
        let failed = Sequence::of(runs, window, |run| is_rated(run.outcome).then_some(run.outcome == Failed));
        let partial = Sequence::of(runs, window, |run| match run.outcome {
            PartlySucceeded => Some(true),
            Succeeded => Some(false),
            _ => None,
        });
        let masked = Sequence::of(runs, window, |run| (run.outcome == Succeeded).then_some(run.has_failure));
        // Of those that ended: whether an unfinished run will be canceled is not known yet.
        let canceled = Sequence::of(runs, window, |run| match run.outcome {
            Canceled => Some(true),
            outcome => is_rated(outcome).then_some(false),
        });

        let starts: Vec<i64> = runs.iter().map(|run| run.started_ms).collect();
        let pauses = Pauses::of(&starts);
        let silence = pauses.as_ref().and_then(|pauses| pauses.silence(window.now));
        let newest = runs.last().map(Run::place);
        // A connection that does not run is stopped, however its last runs came out.
        let (state, since) = match (silence, failed.entered.last()) {
            (Some(_), _) => (State::Stopped, newest),
            (None, Some(entered)) => (entered.state, Some(failed.places[entered.since])),
            (None, None) => (State::Fine, None),
        };
        let length = (window.until - window.since).max(1) as f64;
        let known = starts.last().zip(starts.first()).map_or(0.0, |(last, first)| (last - first) as f64);
        let (stuck, stuck_at) = stuck(runs, window.now);
        Self {
            state,
            since,
            failed: failed.looks(window),
            partial: partial.looks(window),
            masked: masked.looks(window),
            canceled: canceled.looks(window),
            slower: shift(
                runs,
                window,
                |outcome| matches!(outcome, Succeeded | PartlySucceeded),
                durations::longer,
            ),
            fails_sooner: shift(runs, window, |outcome| outcome == Failed, durations::shorter),
            silence,
            newest,
            stuck,
            runs: if known > 0.0 { runs.len() as f64 * (length / known).min(1.0) } else { 0.0 },
            due_at: pauses
                .map(|pauses| pauses.due_at())
                .into_iter()
                .chain(stuck_at)
                .filter(|due| *due > window.now)
                .min(),
        }
    }
}

impl Run {
    fn place(&self) -> Place {
        Place { key: self.key, ms: self.started_ms }
    }
}

/// The runs that a kind of bad ones is told among, in their order.
struct Sequence {
    places: Vec<Place>,
    /// Whether each of them is bad.
    is_bad: Vec<bool>,
    durations: Vec<i64>,
    /// What state they entered when.
    entered: Vec<Entered>,
    /// The place of the period's first run, which may be none.
    first: usize,
}

impl Sequence {
    /// Those of the runs that `is_bad` has a word about.
    fn of(runs: &[Run], window: &Window, is_bad: impl Fn(&Run) -> Option<bool>) -> Self {
        let told: Vec<(&Run, bool)> =
            runs.iter().filter_map(|run| is_bad(run).map(|is_bad| (run, is_bad))).collect();
        let is_bad: Vec<bool> = told.iter().map(|(_, is_bad)| *is_bad).collect();
        Self {
            places: told.iter().map(|(run, _)| run.place()).collect(),
            durations: told.iter().map(|(run, _)| run.duration_ms.unwrap_or(0)).collect(),
            entered: states::replay(&is_bad),
            is_bad,
            first: told.partition_point(|(run, _)| run.started_ms < window.since),
        }
    }

    /// The state in which the period finds them.
    fn standing(&self) -> Option<&Entered> {
        self.entered.iter().rfind(|entered| entered.told_by < self.first)
    }

    fn looks(&self, window: &Window) -> Looks {
        let lasting = self.standing().filter(|entered| entered.state.is_bad()).map(|entered| {
            let record = self.record(window, self.places[entered.since].ms);
            // Who flakes for as long as is known does so usually; who fails all that time is broken.
            let is_change = record.weeks.len() >= LEAST_SLICES || entered.state == State::Broken;
            is_change.then(|| Look { record, spell: Some(self.spell(entered.since)) })
        });
        Looks {
            period: Look {
                record: self.record(window, window.since),
                spell: self.onset().map(|first| self.spell(first)),
            },
            lasting: lasting.flatten(),
        }
    }

    /// What came from an instant on for as long as the period is, and slices as long of the baseline before it.
    fn record(&self, window: &Window, since: i64) -> Record {
        let length = (window.until - window.since).max(1);
        let between = |from: i64, until: i64| {
            let begin = self.places.partition_point(|place| place.ms < from);
            let end = self.places.partition_point(|place| place.ms < until);
            &self.is_bad[begin..end.max(begin)]
        };
        let slices = (since - window.baseline).div_euclid(length);
        let baseline = since - slices * length;
        Record::of(
            (0..slices).map(|slice| between(baseline + slice * length, baseline + (slice + 1) * length)),
            between(baseline, since),
            between(since, (since + length).min(window.until)),
        )
    }

    /// The place of the run that the bad ones of the period began with, which may be before it: not before the
    /// connection was last well, and the newest bad run is the last that counts.
    fn onset(&self) -> Option<usize> {
        let last_bad = self.is_bad.iter().rposition(|is_bad| *is_bad).filter(|place| *place >= self.first)?;
        let well = self.standing().filter(|entered| !entered.state.is_bad());
        let from = well.map_or(0, |entered| entered.since);
        let before = self.is_bad[..self.first].iter().filter(|is_bad| **is_bad).count();
        // Half a bad run more than was seen: nobody's rate is 0.
        let usual = (before as f64 + 0.5) / (self.first as f64 + 1.0);
        let found = states::find_onset(&self.is_bad[from..=last_bad], usual);
        // Where nothing is likelier than the usual rate, the bad runs of the period are all that there is.
        let any =
            || self.is_bad[self.first..].iter().position(|is_bad| *is_bad).map(|place| self.first + place);
        found.map(|place| from + place).or_else(any)
    }

    /// The bad runs from `first` on, and whether they are over.
    fn spell(&self, first: usize) -> Spell {
        let last_bad = self.is_bad.iter().rposition(|is_bad| *is_bad).unwrap_or(first).max(first);
        let is_well = self.entered.last().is_none_or(|entered| !entered.state.is_bad());
        let good = self.is_bad.len() - 1 - last_bad;
        let over = (is_well && good >= SUCCESSES_IN_A_ROW).then(|| self.places[last_bad + 1]);
        let end = if over.is_some() { last_bad + 1 } else { self.is_bad.len() };
        let bad: Vec<usize> = (first..end).filter(|place| self.is_bad[*place]).collect();
        let newest = bad.len().saturating_sub(EVIDENCE - 1).max(1);
        let evidence = bad.first().into_iter().chain(bad.iter().skip(newest));
        Spell {
            first_bad: Some(self.places[first]),
            last_good: (0..first).rfind(|place| !self.is_bad[*place]).map(|place| self.places[place]),
            last_bad: Some(self.places[last_bad]),
            bad: bad.len() as u64,
            of: (end - first) as u64,
            over,
            is_steady: bad.len() as f64 >= FAILING * (last_bad + 1 - first) as f64,
            lost_ms: bad.iter().map(|place| self.durations[*place]).sum(),
            evidence: evidence.map(|place| self.places[*place].key).collect(),
        }
    }
}

/// Durations of certain runs that moved against the baseline's, and the runs that took as long as they take now
/// rather than as long as before.
fn shift(
    runs: &[Run],
    window: &Window,
    is_one: impl Fn(Outcome) -> bool,
    compare: impl Fn(&[i64], &[i64]) -> Option<Moved>,
) -> Option<Shift> {
    let timed = |run: &&Run| is_one(run.outcome) && run.started_ms < window.until;
    let (now, before): (Vec<&Run>, Vec<&Run>) =
        runs.iter().filter(timed).partition(|run| run.started_ms >= window.since);
    let [before, now] =
        [before, now].map(|runs| runs.iter().filter_map(|run| run.duration_ms).collect::<Vec<i64>>());
    let moved = compare(&before, &now)?;

    let (shorter, longer) = (moved.before_ms.min(moved.now_ms), moved.before_ms.max(moved.now_ms));
    let middle = shorter + (longer - shorter) / 2;
    let is_moved = |duration| if moved.now_ms == longer { duration > middle } else { duration < middle };
    let sequence =
        Sequence::of(runs, window, |run| run.duration_ms.filter(|_| is_one(run.outcome)).map(is_moved));
    Some(Shift { moved, spell: sequence.spell(sequence.onset()?) })
}

/// The longest run that ended, where enough are known.
fn longest_run(runs: &[Run]) -> Option<i64> {
    let ended: Vec<i64> = runs
        .iter()
        .filter(|run| run.outcome != Outcome::Unfinished)
        .filter_map(|run| run.duration_ms)
        .collect();
    ended.iter().max().copied().filter(|_| ended.len() >= STUCK_KNOWN)
}

/// The runs that are stuck, and when each of those that have not ended will be or was.
fn stuck(runs: &[Run], now: i64) -> (Vec<Stuck>, Vec<i64>) {
    let Some(longest_ms) = longest_run(runs) else { return Default::default() };
    let patience = ((longest_ms as f64 * STUCK_RUNS) as i64).max(STUCK_MS);
    let unfinished = || runs.iter().filter(|run| run.outcome == Outcome::Unfinished);
    let stuck = unfinished()
        .map(|run| Stuck { run: run.place(), age_ms: now - run.started_ms, longest_ms })
        .filter(|stuck| stuck.age_ms > patience);
    (stuck.collect(), unfinished().map(|run| run.started_ms + patience + 1).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::rates::Tally;
    use super::*;

    const DAY: i64 = 86_400_000;
    const MINUTE: i64 = 60_000;
    /// Eight weeks, and the period of a week that is over.
    pub(in crate::detector) const WINDOW: Window =
        Window { baseline: 0, since: 56 * DAY, until: 63 * DAY, now: 63 * DAY };

    /// So many runs a day of fifteen minutes for nine weeks; `change` has a word about each day's.
    pub(in crate::detector) fn runs(a_day: i64, change: impl Fn(i64, &mut Run)) -> Vec<Run> {
        let all = (0..63 * a_day).map(|number| {
            let mut run = Run {
                key: number,
                started_ms: number * DAY / a_day + 57 * MINUTE,
                outcome: Outcome::Succeeded,
                duration_ms: Some(15 * MINUTE + number % 7 * 1_000),
                has_failure: false,
            };
            change(number / a_day, &mut run);
            run
        });
        all.collect()
    }

    /// A healthy connection that fails once in the baseline, in a week of its own.
    pub(in crate::detector) fn healthy(index: i64) -> Vec<Run> {
        runs(1, |day, run| {
            if day == (index * 11) % 56 {
                run.outcome = Outcome::Failed;
            }
        })
    }

    fn fails_from(first: i64) -> impl Fn(i64, &mut Run) {
        move |day, run| {
            if day >= first {
                run.outcome = Outcome::Failed;
            }
        }
    }

    #[test]
    fn what_broke_is_told_from_its_first_bad_run_with_the_last_good_one_before_it() {
        let summary = Summary::of(&runs(1, fails_from(57)), &WINDOW);
        assert_eq!(summary.state, State::Broken);
        let spell = summary.failed.period.spell.as_ref().unwrap();
        let [first, last] = [spell.first_bad, spell.last_good].map(|place| place.unwrap().key);
        assert_eq!((first, last, spell.bad, spell.of, spell.over), (57, 56, 6, 6, None));
        assert_eq!(spell.evidence, (57..63).collect::<Vec<_>>());
        assert!(spell.is_steady);
        assert_eq!(spell.lost_ms, (57..63).map(|key| 15 * MINUTE + key % 7 * 1_000).sum::<i64>());
    }

    #[test]
    fn what_broke_before_the_period_and_lasts_is_judged_by_what_came_before_it_broke() {
        let summary = Summary::of(&runs(1, fails_from(40)), &WINDOW);
        let lasting = summary.failed.lasting.as_ref().unwrap();
        assert_eq!(lasting.record.now, Tally { rated: 7, failed: 7 });
        assert_eq!(lasting.record.weeks, [Tally { rated: 7, failed: 0 }; 5]);
        assert_eq!(lasting.spell.as_ref().unwrap().first_bad.unwrap().key, 40);
    }

    #[test]
    fn what_is_mended_is_over_with_the_first_good_run() {
        let summary = Summary::of(
            &runs(1, |day, run| {
                if (57..60).contains(&day) {
                    run.outcome = Outcome::Failed;
                }
            }),
            &WINDOW,
        );
        assert_eq!(summary.state, State::Recovered);
        let spell = summary.failed.period.spell.as_ref().unwrap();
        assert_eq!((spell.bad, spell.of, spell.over.map(|place| place.key)), (3, 3, Some(60)));
    }

    #[test]
    fn a_run_that_does_not_end_is_stuck_after_three_times_the_longest() {
        let summary = |age: i64| {
            let mut runs = runs(1, |_, _| {});
            let last = runs.last_mut().unwrap();
            (last.outcome, last.duration_ms, last.started_ms) = (Outcome::Unfinished, None, WINDOW.now - age);
            Summary::of(&runs, &WINDOW)
        };
        assert_eq!(summary(59 * MINUTE).stuck, []);
        assert!(summary(59 * MINUTE).due_at.is_some(), "it will be, if it does not end");
        assert_eq!(summary(61 * MINUTE).stuck.len(), 1);
    }

    #[test]
    fn a_summary_is_given_back_by_its_json() {
        let summary = Summary::of(&runs(2, fails_from(50)), &WINDOW);
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
    }

    proptest! {
        #[test]
        fn whatever_the_runs_a_spell_begins_with_a_bad_run_and_counts_no_more_than_there_are(
            runs in prop::collection::vec((0_i64..70 * DAY, 0_usize..6, prop::option::of(0_i64..DAY), any::<bool>()), 0..60),
        ) {
            use Outcome::*;
            let outcomes = [Succeeded, PartlySucceeded, Failed, Canceled, Unfinished, Other];
            let mut runs: Vec<Run> = runs
                .into_iter()
                .map(|(started_ms, outcome, duration_ms, has_failure)| Run {
                    key: 0,
                    started_ms,
                    outcome: outcomes[outcome],
                    duration_ms,
                    has_failure,
                })
                .collect();
            runs.sort_by_key(|run| run.started_ms);
            (0..).zip(&mut runs).for_each(|(key, run)| run.key = key);
            let summary = Summary::of(&runs, &Window { now: 70 * DAY, ..WINDOW });
            let looks = [Some(&summary.failed.period), summary.failed.lasting.as_ref()];
            for spell in looks.into_iter().flatten().filter_map(|look| look.spell.as_ref()) {
                let first = spell.first_bad.unwrap();
                prop_assert_eq!(runs[first.key as usize].outcome, Failed);
                prop_assert!(spell.last_good.is_none_or(|good| good.ms <= first.ms));
                prop_assert!(1 <= spell.bad && spell.bad <= spell.of && spell.of as usize <= runs.len());
                prop_assert_eq!(spell.evidence.first(), Some(&first.key));
                prop_assert!(spell.evidence.len() <= EVIDENCE);
                prop_assert!(spell.evidence.iter().all(|key| runs[*key as usize].outcome == Failed));
            }
        }
    }
}
