//! What the runs of one connection say of it: what the detector needs to judge it among the others.
//!
//! In: the runs of a baseline and of a period, in the order of their starts. Out: a [`Summary`], small enough to be
//! kept, which depends on these runs and the window alone. Pure arithmetic; no clock.

use serde::{Deserialize, Serialize};

use super::durations::{self, Moved};
use super::rates::{Record, Tally};
use super::silence::{self, Silence};
use super::states::{self, Entered, State};

/// Bad runs that are named as evidence: the first one, and the newest.
const EVIDENCE: usize = 20;
/// A part of bad runs from which on an incident is no longer called flaky.
const FAILING: f64 = 0.8;
/// Good runs in a row by which an incident is over, where the state does not say otherwise.
const GOOD_RUNS: usize = 3;
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Failed runs of those that are rated. The first look is at the period; a second one at what began before it
    /// and lasts.
    pub failed: Vec<Look>,
    /// Partly succeeded runs of those that did not fail.
    pub partial: Vec<Look>,
    /// Runs that say success although something in them failed, of those that say it.
    pub masked: Vec<Look>,
    /// Canceled runs of those that ended.
    pub canceled: Vec<Look>,
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

/// A run of those that a kind of bad ones is told among.
#[derive(Debug, Clone, Copy)]
struct Seen {
    place: Place,
    is_bad: bool,
    duration_ms: i64,
}

impl Seen {
    fn of(run: &Run, is_bad: bool) -> Self {
        Self { place: run.place(), is_bad, duration_ms: run.duration_ms.unwrap_or(0) }
    }
}

impl Summary {
    /// What these runs say, which are in the order of their starts, none of them before the baseline.
    pub fn of(runs: &[Run], window: &Window) -> Self {
        use Outcome::*;
        let is_rated = |outcome| matches!(outcome, Succeeded | PartlySucceeded | Failed);
        let failed = seen(runs, |run| is_rated(run.outcome).then_some(run.outcome == Failed));
        let partial = seen(runs, |run| match run.outcome {
            PartlySucceeded => Some(true),
            Succeeded => Some(false),
            _ => None,
        });
        let masked = seen(runs, |run| (run.outcome == Succeeded).then_some(run.has_failure));
        // Of those that ended: whether an unfinished run will be canceled is not known yet.
        let canceled = seen(runs, |run| match run.outcome {
            Canceled => Some(true),
            outcome => is_rated(outcome).then_some(false),
        });

        let starts: Vec<i64> = runs.iter().map(|run| run.started_ms).collect();
        let silence = silence::find(&starts, window.now);
        let newest = runs.last().map(Run::place);
        let entered = states::replay(&flags(&failed));
        // A connection that does not run is stopped, however its last runs came out.
        let (state, since) = match (silence, entered.last()) {
            (Some(_), _) => (State::Stopped, newest),
            (None, Some(entered)) => (entered.state, Some(failed[entered.since].place)),
            (None, None) => (State::Fine, None),
        };
        let length = (window.until - window.since).max(1) as f64;
        let known = starts.last().zip(starts.first()).map_or(0.0, |(last, first)| (last - first) as f64);
        Self {
            state,
            since,
            failed: look(&failed, window),
            partial: look(&partial, window),
            masked: look(&masked, window),
            canceled: look(&canceled, window),
            slower: slower(runs, window),
            fails_sooner: fails_sooner(runs, window),
            silence,
            newest,
            stuck: stuck(runs, window.now),
            runs: if known > 0.0 { runs.len() as f64 * (length / known).min(1.0) } else { 0.0 },
            due_at: due_at(runs, &starts, window.now),
        }
    }
}

impl Run {
    fn place(&self) -> Place {
        Place { key: self.key, ms: self.started_ms }
    }
}

/// The runs that `is_bad` has a word about.
fn seen(runs: &[Run], is_bad: impl Fn(&Run) -> Option<bool>) -> Vec<Seen> {
    runs.iter().filter_map(|run| is_bad(run).map(|is_bad| Seen::of(run, is_bad))).collect()
}

fn flags(seen: &[Seen]) -> Vec<bool> {
    seen.iter().map(|run| run.is_bad).collect()
}

/// The period against the baseline, and what began before the period and lasts into it against what came before.
fn look(seen: &[Seen], window: &Window) -> Vec<Look> {
    let entered = states::replay(&flags(seen));
    let first = seen.partition_point(|run| run.place.ms < window.since);
    let standing = entered.iter().rfind(|entered| entered.told_by < first);
    let mut looks = vec![Look {
        record: record(seen, window, window.since),
        spell: onset(seen, first, standing).map(|first| spell(seen, first, &entered)),
    }];
    let lasting = standing.filter(|entered| matches!(entered.state, State::Broken | State::Flaky));
    if let Some(lasting) = lasting {
        let record = record(seen, window, seen[lasting.since].place.ms);
        let slices = record.weeks.iter().filter(|week| week.rated > 0).count();
        // Who flakes for as long as is known does so usually; who fails all that time is broken.
        if slices >= LEAST_SLICES || lasting.state == State::Broken {
            looks.push(Look { record, spell: Some(spell(seen, lasting.since, &entered)) });
        }
    }
    looks
}

/// What came from an instant on for as long as the period is, and slices as long of the baseline before it.
fn record(seen: &[Seen], window: &Window, since: i64) -> Record {
    let length = (window.until - window.since).max(1);
    let between = |from: i64, until: i64| {
        let begin = seen.partition_point(|run| run.place.ms < from);
        let end = seen.partition_point(|run| run.place.ms < until);
        &seen[begin..end.max(begin)]
    };
    let slices = (since - window.baseline).div_euclid(length);
    let baseline = since - slices * length;
    let weeks =
        (0..slices).map(|slice| tally(between(baseline + slice * length, baseline + (slice + 1) * length)));
    let before = between(baseline, since);
    let now = between(since, (since + length).min(window.until));
    Record {
        weeks: weeks.filter(|week| week.rated > 0).collect(),
        longest_before: longest(before),
        repeated: before.windows(2).filter(|pair| pair[0].is_bad && pair[1].is_bad).count() as u64,
        now: tally(now),
        longest: longest(now),
    }
}

fn tally(seen: &[Seen]) -> Tally {
    Tally { rated: seen.len() as u64, failed: seen.iter().filter(|run| run.is_bad).count() as u64 }
}

fn longest(seen: &[Seen]) -> u64 {
    seen.split(|run| !run.is_bad).map(<[Seen]>::len).max().unwrap_or(0) as u64
}

/// The place of the run that the bad ones of the period began with, which may be before it: not before the
/// connection was last well, and the newest bad run is the last that counts.
fn onset(seen: &[Seen], first: usize, standing: Option<&Entered>) -> Option<usize> {
    let last_bad = seen.iter().rposition(|run| run.is_bad).filter(|place| *place >= first)?;
    let well = standing.filter(|entered| matches!(entered.state, State::Fine | State::Recovered));
    let from = well.map_or(0, |entered| entered.since);
    let before = tally(&seen[..first]);
    // Half a bad run more than was seen: nobody's rate is 0.
    let usual = (before.failed as f64 + 0.5) / (before.rated as f64 + 1.0);
    let found = states::find_onset(&flags(&seen[from..=last_bad]), usual);
    // Where nothing is likelier than the usual rate, the bad runs of the period are all that there is.
    let any = || seen[first..].iter().position(|run| run.is_bad).map(|place| first + place);
    found.map(|place| from + place).or_else(any)
}

/// The bad runs from `first` on, and whether they are over.
fn spell(seen: &[Seen], first: usize, entered: &[Entered]) -> Spell {
    let last_bad = seen.iter().rposition(|run| run.is_bad).unwrap_or(first).max(first);
    let is_well = entered.last().is_none_or(|entered| !matches!(entered.state, State::Broken | State::Flaky));
    let good = seen.len() - 1 - last_bad;
    let over = (is_well && good >= GOOD_RUNS).then(|| seen[last_bad + 1].place);
    let end = if over.is_some() { last_bad + 1 } else { seen.len() };
    let runs = || seen[first..end].iter().filter(|run| run.is_bad);
    let bad: Vec<i64> = runs().map(|run| run.place.key).collect();
    let newest = bad.len().saturating_sub(EVIDENCE - 1).max(1);
    Spell {
        first_bad: Some(seen[first].place),
        last_good: seen[..first].iter().rfind(|run| !run.is_bad).map(|run| run.place),
        last_bad: Some(seen[last_bad].place),
        bad: bad.len() as u64,
        of: (end - first) as u64,
        over,
        is_steady: bad.len() as f64 >= FAILING * (last_bad + 1 - first) as f64,
        lost_ms: runs().map(|run| run.duration_ms).sum(),
        evidence: bad.first().into_iter().chain(bad.iter().skip(newest)).copied().collect(),
    }
}

fn durations_of(runs: &[Run], window: &Window, is_one: impl Fn(Outcome) -> bool) -> [Vec<i64>; 2] {
    let timed = |run: &&Run| is_one(run.outcome) && run.started_ms < window.until;
    let (now, before): (Vec<&Run>, Vec<&Run>) =
        runs.iter().filter(timed).partition(|run| run.started_ms >= window.since);
    [before, now].map(|runs| runs.iter().filter_map(|run| run.duration_ms).collect())
}

fn slower(runs: &[Run], window: &Window) -> Option<Shift> {
    let is_good = |outcome| matches!(outcome, Outcome::Succeeded | Outcome::PartlySucceeded);
    let [before, now] = durations_of(runs, window, is_good);
    let moved = durations::longer(&before, &now)?;
    // Longer than half way to what they take now.
    let limit = moved.before_ms + (moved.now_ms - moved.before_ms) / 2;
    shift(runs, window, moved, |run| {
        run.duration_ms.filter(|_| is_good(run.outcome)).map(|duration| duration > limit)
    })
}

fn fails_sooner(runs: &[Run], window: &Window) -> Option<Shift> {
    let is_failed = |outcome| outcome == Outcome::Failed;
    let [before, now] = durations_of(runs, window, is_failed);
    let moved = durations::shorter(&before, &now)?;
    let limit = moved.now_ms + (moved.before_ms - moved.now_ms) / 2;
    shift(runs, window, moved, |run| {
        run.duration_ms.filter(|_| is_failed(run.outcome)).map(|duration| duration < limit)
    })
}

fn shift(
    runs: &[Run],
    window: &Window,
    moved: Moved,
    is_bad: impl Fn(&Run) -> Option<bool>,
) -> Option<Shift> {
    let seen = seen(runs, is_bad);
    let first = seen.partition_point(|run| run.place.ms < window.since);
    let entered = states::replay(&flags(&seen));
    let standing = entered.iter().rfind(|entered| entered.told_by < first);
    let first = onset(&seen, first, standing)?;
    Some(Shift { moved, spell: spell(&seen, first, &entered) })
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

/// How long a run may take before it is stuck.
fn patience(longest_ms: i64) -> i64 {
    ((longest_ms as f64 * STUCK_RUNS) as i64).max(STUCK_MS)
}

fn stuck(runs: &[Run], now: i64) -> Vec<Stuck> {
    let Some(longest_ms) = longest_run(runs) else { return Vec::new() };
    let unfinished = runs.iter().filter(|run| run.outcome == Outcome::Unfinished);
    unfinished
        .map(|run| Stuck { run: run.place(), age_ms: now - run.started_ms, longest_ms })
        .filter(|stuck| stuck.age_ms > patience(longest_ms))
        .collect()
}

fn due_at(runs: &[Run], starts: &[i64], now: i64) -> Option<i64> {
    let longest = longest_run(runs);
    let unfinished = runs.iter().filter(|run| run.outcome == Outcome::Unfinished);
    let stuck = unfinished.filter_map(|run| Some(run.started_ms + patience(longest?) + 1));
    stuck.chain(silence::due_at(starts)).filter(|due| *due > now).min()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

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
        let spell = summary.failed[0].spell.as_ref().unwrap();
        let [first, last] = [spell.first_bad, spell.last_good].map(|place| place.unwrap().key);
        assert_eq!((first, last, spell.bad, spell.of, spell.over), (57, 56, 6, 6, None));
        assert_eq!(spell.evidence, (57..63).collect::<Vec<_>>());
        assert!(spell.is_steady);
        assert_eq!(spell.lost_ms, (57..63).map(|key| 15 * MINUTE + key % 7 * 1_000).sum::<i64>());
    }

    #[test]
    fn what_broke_before_the_period_and_lasts_is_judged_by_what_came_before_it_broke() {
        let summary = Summary::of(&runs(1, fails_from(40)), &WINDOW);
        let [_, lasting] = &summary.failed[..] else { panic!("{summary:?}") };
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
        let spell = summary.failed[0].spell.as_ref().unwrap();
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
            for spell in summary.failed.iter().filter_map(|look| look.spell.as_ref()) {
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
