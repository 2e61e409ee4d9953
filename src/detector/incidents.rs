//! Incidents: what of a fleet's connections is improbable against what each of them usually does.
//!
//! In: a summary of each connection. Out: the incidents, connection by connection, each with the runs that show it.
//! A state is history; it becomes an incident only where it would seldom come by chance. All kinds share one error
//! budget: the expected number of wrong names in a look at a whole fleet. Pure arithmetic.

use serde::{Deserialize, Serialize};

use super::durations::Moved;
use super::rates::{Fleet, Judgement, Record, judge_against};
use super::silence::Silence;
use super::summary::{Look, Looks, Shift, Spell, Stuck, Summary};

/// What is wrong with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Most of its runs fail.
    Failing,
    /// It fails now and then, and more than usual.
    Flaky,
    /// It runs no longer.
    Stopped,
    /// It succeeds in parts only.
    Partial,
    /// It says success although something in it failed.
    Masked,
    /// Its runs are canceled.
    Canceled,
    /// Its runs take longer.
    Slower,
    /// Its runs fail sooner after their start than failed ones did before.
    FailsSooner,
    /// A run does not end.
    Stuck,
}

impl Kind {
    /// As JSON and tables have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Flaky => "flaky",
            Self::Stopped => "stopped",
            Self::Partial => "partial",
            Self::Masked => "masked",
            Self::Canceled => "canceled",
            Self::Slower => "slower",
            Self::FailsSooner => "fails_sooner",
            Self::Stuck => "stuck",
        }
    }
}

/// How many wrong names of each kind are to be expected of one look at a fleet in which nothing changes: at most,
/// since counts of few runs take few values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    failing: f64,
    partial: f64,
    masked: f64,
    canceled: f64,
    slower: f64,
    fails_sooner: f64,
    stopped: f64,
}

impl Budget {
    /// Of a report: one wrong name in twenty quiet weeks, of all kinds together.
    pub const REPORT: Self = Self {
        failing: 0.033,
        partial: 0.002,
        masked: 0.002,
        canceled: 0.002,
        slower: 0.007,
        fails_sooner: 0.001,
        stopped: 0.003,
    };
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The place of its connection among the summaries.
    pub connection: usize,
    /// What is wrong.
    pub kind: Kind,
    /// How likely it was, or something as unlikely.
    pub chance: f64,
    /// The bad runs; of one that stopped its last run, which was none.
    pub spell: Spell,
    /// Bad runs that were to be expected of as many.
    pub expected: Option<f64>,
    /// How long runs took before, and take now.
    pub moved: Option<Moved>,
    /// How long there was no run.
    pub silence: Option<Silence>,
    /// The run that does not end, for the longest time.
    pub stuck: Option<Stuck>,
}

/// What is wrong in a fleet, and what of each connection's failures was to be expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// By connection, then by kind.
    pub found: Vec<Found>,
    /// Of each connection's failed runs in the period.
    pub judged: Vec<Judgement>,
}

/// What is wrong with the connections of these summaries.
pub fn find(summaries: &[Summary], budget: &Budget) -> Findings {
    let (judged, mut found) = looks(
        summaries,
        budget.failing,
        |summary| &summary.failed,
        |spell| {
            if spell.is_steady { Kind::Failing } else { Kind::Flaky }
        },
    );
    found.extend(looks(summaries, budget.partial, |summary| &summary.partial, |_| Kind::Partial).1);
    found.extend(looks(summaries, budget.masked, |summary| &summary.masked, |_| Kind::Masked).1);
    found.extend(looks(summaries, budget.canceled, |summary| &summary.canceled, |_| Kind::Canceled).1);
    found.extend(shifts(summaries, budget.slower, Kind::Slower, |summary| summary.slower.as_ref()));
    found.extend(shifts(summaries, budget.fails_sooner, Kind::FailsSooner, |summary| {
        summary.fails_sooner.as_ref()
    }));
    found.extend(stopped(summaries, budget.stopped));
    found.extend(summaries.iter().enumerate().filter_map(|(connection, summary)| stuck(connection, summary)));
    found.sort_by_key(|found| (found.connection, found.kind));
    Findings { found, judged }
}

/// One kind of bad runs in all connections: what is found of the period, and what is wrong.
fn looks(
    summaries: &[Summary],
    budget: f64,
    of: impl Fn(&Summary) -> &Looks,
    kind: impl Fn(&Spell) -> Kind,
) -> (Vec<Judgement>, Vec<Found>) {
    // What is usual in the fleet is told by the period's looks alone: each connection counts once.
    let period = || summaries.iter().map(|summary| &of(summary).period);
    let fleet = Fleet::of(period().map(|look| &look.record));
    // What began earlier is one look more at a connection, and costs as much of the budget.
    let lasting = || summaries.iter().filter_map(|summary| of(summary).lasting.as_ref());
    let records: Vec<&Record> = period().chain(lasting()).map(|look| &look.record).collect();
    let mut judged = judge_against(&fleet, &records, budget);
    let mut judged_lasting = judged.split_off(summaries.len()).into_iter();

    let named = |connection, look: &Look, judgement: Judgement| {
        let spell = look.spell.as_ref().filter(|_| judgement.is_named)?;
        let expected = Some(judgement.usual * spell.of as f64);
        Some(Found { expected, ..Found::of(connection, kind(spell), judgement.chance, spell.clone()) })
    };
    let found =
        summaries.iter().map(&of).zip(&judged).enumerate().filter_map(|(connection, (looks, judged))| {
            let lasting = looks.lasting.as_ref().and_then(|look| Some((look, judged_lasting.next()?)));
            // What began earlier is the incident, where it is one.
            lasting
                .and_then(|(look, judgement)| named(connection, look, judgement))
                .or_else(|| named(connection, &looks.period, *judged))
        });
    let found = found.collect();
    (judged, found)
}

/// Durations that moved where that is unlikely among so many connections (Bonferroni).
fn shifts<'a>(
    summaries: &'a [Summary],
    budget: f64,
    kind: Kind,
    of: impl Fn(&'a Summary) -> Option<&'a Shift>,
) -> Vec<Found> {
    let most = budget / summaries.len().max(1) as f64;
    let found = summaries.iter().enumerate().filter_map(|(connection, summary)| {
        let shift = of(summary).filter(|shift| shift.moved.chance <= most)?;
        let found = Found::of(connection, kind, shift.moved.chance, shift.spell.clone());
        Some(Found { moved: Some(shift.moved), ..found })
    });
    found.collect()
}

/// Connections whose silence is unlikely among as many pauses as a period has.
fn stopped(summaries: &[Summary], budget: f64) -> Vec<Found> {
    let pauses: f64 = summaries.iter().map(|summary| summary.runs).sum();
    let most = budget / pauses.max(1.0);
    let found = summaries.iter().enumerate().filter_map(|(connection, summary)| {
        let silence = summary.silence.filter(|silence| silence.chance <= most)?;
        let spell = Spell { last_good: summary.newest, ..Spell::default() };
        Some(Found {
            expected: Some(silence.expected),
            silence: Some(silence),
            ..Found::of(connection, Kind::Stopped, silence.chance, spell)
        })
    });
    found.collect()
}

fn stuck(connection: usize, summary: &Summary) -> Option<Found> {
    let longest = summary.stuck.iter().max_by_key(|stuck| stuck.age_ms)?;
    let spell = Spell {
        first_bad: summary.stuck.first().map(|stuck| stuck.run),
        last_bad: summary.stuck.last().map(|stuck| stuck.run),
        bad: summary.stuck.len() as u64,
        of: summary.stuck.len() as u64,
        evidence: summary.stuck.iter().map(|stuck| stuck.run.key).collect(),
        is_steady: true,
        ..Spell::default()
    };
    Some(Found { stuck: Some(*longest), ..Found::of(connection, Kind::Stuck, 0.0, spell) })
}

impl Found {
    fn of(connection: usize, kind: Kind, chance: f64, spell: Spell) -> Self {
        Self { connection, kind, chance, spell, expected: None, moved: None, silence: None, stuck: None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::{WINDOW, healthy, runs};
    use super::super::summary::{Outcome, Run};
    use super::*;

    /// What is found of a connection among so many healthy ones.
    fn found_among(count: i64, changed: &[Run]) -> Vec<Found> {
        let mut summaries: Vec<Summary> =
            (1..count).map(|index| Summary::of(&healthy(index), &WINDOW)).collect();
        summaries.insert(0, Summary::of(changed, &WINDOW));
        find(&summaries, &Budget::REPORT).found
    }

    fn kinds(found: &[Found]) -> Vec<(usize, Kind)> {
        found.iter().map(|found| (found.connection, found.kind)).collect()
    }

    #[test]
    fn a_nightly_export_that_breaks_among_two_hundred_is_failing() {
        let found = found_among(
            200,
            &runs(1, |day, run| {
                if day >= 56 {
                    run.outcome = Outcome::Failed;
                }
            }),
        );
        assert_eq!(kinds(&found), [(0, Kind::Failing)]);
        assert_eq!((found[0].spell.bad, found[0].spell.of), (7, 7));
        assert!(found[0].expected.is_some_and(|expected| expected < 1.0), "{found:?}");
    }

    #[test]
    fn what_broke_three_weeks_ago_and_still_fails_is_still_told_once() {
        let broke = runs(1, |day, run| {
            if day >= 42 {
                run.outcome = Outcome::Failed;
            }
        });
        let found = found_among(200, &broke);
        assert_eq!(kinds(&found), [(0, Kind::Failing)]);
        assert_eq!(found[0].spell.first_bad.map(|place| place.key), Some(42));
    }

    #[test]
    fn a_fleet_as_usual_has_no_incident() {
        assert_eq!(kinds(&found_among(200, &healthy(0))), []);
        assert_eq!(kinds(&find(&[], &Budget::REPORT).found), []);
    }

    #[test]
    fn a_connection_that_always_flakes_is_no_news_among_others_that_do() {
        let flaky = |shift: i64| {
            runs(1, move |day, run| {
                if (day + shift) % 2 == 0 {
                    run.outcome = Outcome::Failed;
                }
            })
        };
        let summaries: Vec<Summary> = (0..20).map(|index| Summary::of(&flaky(index), &WINDOW)).collect();
        assert_eq!(kinds(&find(&summaries, &Budget::REPORT).found), []);
    }

    #[test]
    fn runs_that_fail_after_seconds_are_failing_and_never_called_faster() {
        let found = found_among(
            20,
            &runs(2, |day, run| {
                if day >= 58 {
                    (run.outcome, run.duration_ms) = (Outcome::Failed, Some(20_000));
                }
            }),
        );
        assert_eq!(kinds(&found), [(0, Kind::Failing)]);
    }

    #[test]
    fn a_connection_of_two_runs_a_day_that_is_silent_for_nine_days_has_stopped() {
        let mut silent = runs(2, |_, _| {});
        silent.truncate(2 * 54);
        let found = found_among(20, &silent);
        assert_eq!(kinds(&found), [(0, Kind::Stopped)]);
        let silence = found[0].silence.unwrap();
        assert!(silence.length_ms >= 9 * 86_400_000 && silence.longest_ms == 43_200_000, "{silence:?}");
        assert_eq!(found[0].spell.last_good.map(|place| place.key), Some(107));
    }

    #[test]
    fn runs_that_succeed_in_parts_hide_failures_or_are_canceled_are_told_by_what_they_are() {
        let turned = |change: fn(&mut Run)| {
            let changed = runs(2, move |day, run| {
                if day >= 56 {
                    change(run);
                }
            });
            kinds(&found_among(20, &changed))
        };
        assert_eq!(turned(|run| run.outcome = Outcome::PartlySucceeded), [(0, Kind::Partial)]);
        assert_eq!(turned(|run| run.has_failure = true), [(0, Kind::Masked)]);
        assert_eq!(turned(|run| run.outcome = Outcome::Canceled), [(0, Kind::Canceled)]);
    }

    #[test]
    fn runs_that_take_twice_as_long_are_slower() {
        let slow = runs(2, |day, run| {
            if day >= 57 {
                run.duration_ms = run.duration_ms.map(|duration| 2 * duration);
            }
        });
        let found = found_among(20, &slow);
        assert_eq!(kinds(&found), [(0, Kind::Slower)]);
        assert_eq!(found[0].spell.first_bad.map(|place| place.key), Some(114));
    }
}
