//! What is wrong, since when, why, and who can act: the detector's findings as figures.
//!
//! In: how every run of the baseline and the period came out, and how far each connection is known. Out: incidents,
//! the state of each connection, and what was to be expected. `detector` decides what is improbable; here runs are
//! handed to it, and what it found gets names, causes and ids.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::causes::{self, Causes};
use super::figures::*;
use super::questions::{Questions, Rows, WEEKS, text};
use crate::detector::{
    self, Budget, Findings, Found, Judgement, Outcome, Place, Run, Spell, Summary, Window,
};
use crate::query::Error;
use crate::time::UtcText;

/// Incidents of the same cause on several connections are one where each began within a day of the one before.
const SAME_TIME_MS: i64 = 86_400_000;
/// Runs named as evidence of an incident.
const EVIDENCE: usize = 20;

/// What a report infers.
#[derive(Debug, Default)]
pub(super) struct Inferred {
    pub(super) incidents: Vec<Incident>,
    pub(super) states: Vec<ConnectionState>,
    pub(super) expected: Expected,
}

/// A connection as far as it is known.
#[derive(Debug, Deserialize)]
struct Known {
    connection_key: i64,
    connection: String,
    connection_id: String,
    kind: String,
    complete_as_of: Option<UtcText>,
    newest_started_at: Option<UtcText>,
    unlisted_at: Option<UtcText>,
}

/// A run as `outcomes.sql` tells it.
#[derive(Debug, Deserialize)]
struct OutcomeRow {
    connection_key: i64,
    run_key: i64,
    outcome: OutcomeWord,
    started_at: UtcText,
    duration_ms: Option<i64>,
    has_failure: bool,
}

/// The words of the reports.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OutcomeWord {
    Succeeded,
    #[serde(rename = "partly succeeded")]
    PartlySucceeded,
    Failed,
    Canceled,
    Skipped,
    Undetermined,
    Unfinished,
}

impl From<OutcomeWord> for Outcome {
    fn from(word: OutcomeWord) -> Self {
        match word {
            OutcomeWord::Succeeded => Self::Succeeded,
            OutcomeWord::PartlySucceeded => Self::PartlySucceeded,
            OutcomeWord::Failed => Self::Failed,
            OutcomeWord::Canceled => Self::Canceled,
            OutcomeWord::Unfinished => Self::Unfinished,
            OutcomeWord::Skipped | OutcomeWord::Undetermined => Self::Other,
        }
    }
}

/// A finding, and the error behind it.
pub(super) struct Explained {
    pub(super) found: Found,
    pub(super) cause: Option<causes::Carried>,
}

impl Questions<'_> {
    /// What is wrong with the connections, and how each of them does.
    pub(super) fn inferred(&self) -> Result<Inferred, Error> {
        let mut chosen = self.chosen();
        chosen.push(("as_of", text(self.asked.as_of.as_str())));
        let known: Vec<Known> = self.read("coverage", chosen)?;
        let runs = self.runs()?;
        let bounds: Vec<i64> =
            self.asked.period.weeks_until(&self.asked.zone, WEEKS).iter().map(UtcText::unix_ms).collect();
        let nothing = Vec::new();
        let runs_of = |known: &Known| runs.get(&known.connection_key).unwrap_or(&nothing);
        let summaries: Vec<Summary> = known.iter().map(|known| self.summary(known, runs_of(known))).collect();
        let Findings { found, judged } = detector::find(&summaries, &Budget::REPORT);

        let told = found.into_iter().filter(|found| self.is_told(found));
        let causes = self.causes(told)?;
        let incidents = self.incidents(&known, causes)?;
        let states = known.iter().zip(&summaries).zip(&judged).map(|((known, summary), judged)| {
            let of = |incident: &&Incident| incident.connections.iter().any(|subject| known.is(subject));
            ConnectionState {
                connection: known.connection.clone(),
                connection_id: known.connection_id.clone(),
                kind: known.kind.clone(),
                state: summary.state,
                since: summary.since.and_then(|since| UtcText::from_unix_ms(since.ms)),
                rated: summary.failed.period.record.now.rated,
                failed: summary.failed.period.record.now.failed,
                usual: judged.usual,
                expected: judged.expected,
                named_from: judged.named_from,
                weeks: weeks(&bounds, runs_of(known)),
                incidents: incidents.iter().filter(of).map(|incident| incident.id.clone()).collect(),
            }
        });
        let mut states: Vec<ConnectionState> = states.collect();
        let expected = expected(&states, &judged);
        // Those with news first; the others by what failed, as everywhere.
        states.sort_by(|one, other| {
            let rank =
                |state: &ConnectionState| (state.incidents.is_empty(), std::cmp::Reverse(state.failed));
            rank(one).cmp(&rank(other))
        });
        Ok(Inferred { incidents, states, expected })
    }

    /// Every run since the baseline or the twelve weeks began, by connection, in the order of their starts.
    fn runs(&self) -> Result<HashMap<i64, Vec<Run>>, Error> {
        let asked = self.asked;
        let weeks = asked.period.weeks_until(&asked.zone, WEEKS);
        let since = weeks.first().map_or(asked.baseline.since, |first| asked.baseline.since.min(*first));
        let mut parameters = self.chosen();
        parameters.push(("since", text(since.as_str())));
        parameters.push(("until", text(asked.as_of.as_str())));
        let rows: Vec<OutcomeRow> = self.read("outcomes", parameters)?;
        let mut runs: HashMap<i64, Vec<Run>> = HashMap::new();
        for row in rows {
            runs.entry(row.connection_key).or_default().push(Run {
                key: row.run_key,
                started_ms: row.started_at.unix_ms(),
                outcome: row.outcome.into(),
                duration_ms: row.duration_ms,
                has_failure: row.has_failure,
            });
        }
        runs.values_mut().for_each(|runs| runs.sort_unstable_by_key(|run| (run.started_ms, run.key)));
        Ok(runs)
    }

    fn summary(&self, known: &Known, runs: &[Run]) -> Summary {
        let asked = self.asked;
        let baseline = asked.baseline.since.unix_ms();
        // Nothing is known of a connection after the last proof that it is archived whole, and one that the platform
        // no longer lists is not silent: it is gone.
        let newest = known.newest_started_at.unwrap_or(asked.period.since);
        let whole = known.complete_as_of.filter(|_| known.unlisted_at.is_none()).unwrap_or(newest);
        let window = Window {
            baseline,
            since: asked.period.since.unix_ms(),
            until: asked.period.until.unix_ms(),
            now: whole.min(asked.as_of).unix_ms(),
        };
        let first = runs.partition_point(|run| run.started_ms < baseline);
        Summary::of(&runs[first..], &window)
    }

    /// Whether a finding belongs to this period: what ended before it is history, what began after it is to come.
    fn is_told(&self, found: &Found) -> bool {
        let (since, until) = (self.asked.period.since.unix_ms(), self.asked.period.until.unix_ms());
        let over = found.spell.over.map(|place| place.ms);
        let began = found.spell.first_bad.map(|place| place.ms);
        over.is_none_or(|over| over >= since) && began.is_none_or(|began| began < until)
    }

    /// Each finding with the error that most of its evidence carries.
    fn causes(&self, found: impl Iterator<Item = Found>) -> Result<(Vec<Explained>, Causes), Error> {
        let found: Vec<Found> = found.collect();
        let keys: HashSet<i64> = found.iter().flat_map(|found| places(&found.spell)).collect();
        let mut keys: Vec<i64> = keys.into_iter().collect();
        keys.sort_unstable();
        let keys = serde_json::json!(keys).to_string();
        let causes = Causes::of(self.read("run-errors", vec![("runs", text(&keys))])?);
        let explained = found.into_iter().map(|found| {
            let has_cause = matches!(
                found.kind,
                Kind::Failing | Kind::Flaky | Kind::Partial | Kind::Masked | Kind::FailsSooner
            );
            let cause = has_cause.then(|| causes.of_most(&found.spell.evidence)).flatten();
            Explained { found, cause }
        });
        Ok((explained.collect(), causes))
    }

    fn incidents(
        &self,
        known: &[Known],
        (explained, causes): (Vec<Explained>, Causes),
    ) -> Result<Vec<Incident>, Error> {
        let mut incidents = Vec::new();
        for group in group(explained) {
            incidents.push(self.incident(known, &group, &causes)?);
        }
        // What lasts first, then what the team can act on, then what began last.
        incidents.sort_by(|one, other| {
            let rank = |incident: &Incident| (!incident.is_open, incident.actor, incident.kind);
            rank(one).cmp(&rank(other)).then(other.since.cmp(&one.since)).then(one.id.cmp(&other.id))
        });
        Ok(incidents)
    }

    /// One incident of findings that have one cause.
    fn incident(&self, known: &[Known], group: &[Explained], causes: &Causes) -> Result<Incident, Error> {
        let first = &group[0];
        let spells = || group.iter().map(|explained| &explained.found.spell);
        let earliest = spells().filter_map(|spell| spell.first_bad).min_by_key(|place| (place.ms, place.key));
        let latest = |of: fn(&Spell) -> Option<Place>| {
            spells().filter_map(of).max_by_key(|place| (place.ms, place.key))
        };
        let is_open = group.iter().any(|explained| explained.found.spell.over.is_none());
        let first_bad = earliest.and_then(|place| causes.run(place.key));
        let last_good = latest(|spell| spell.last_good).and_then(|place| causes.run(place.key));
        let subjects: Vec<&Known> =
            group.iter().map(|explained| &known[explained.found.connection]).collect();
        let since = first_bad.as_ref().or(last_good.as_ref()).map(|run| run.started_at);
        let carried = first.cause.as_ref();
        let (seen_before, elsewhere) = match carried.and_then(|carried| carried.error_kind_key) {
            Some(error) => self.sightings(error, &subjects, since)?,
            None => (None, None),
        };
        let mut evidence: Vec<i64> = spells().flat_map(|spell| spell.evidence.iter().copied()).collect();
        evidence.truncate(EVIDENCE);
        let kind = group.iter().map(|explained| explained.found.kind).min().unwrap_or(first.found.kind);
        let expected: Option<Vec<f64>> = group.iter().map(|explained| explained.found.expected).collect();
        Ok(Incident {
            id: id(kind, subjects[0], first_bad.as_ref().or(last_good.as_ref())),
            kind,
            is_open,
            connections: subjects.iter().map(|known| known.subject()).collect(),
            cause: carried.map(|carried| carried.cause(group.iter().filter_map(|one| one.cause.as_ref()))),
            actor: carried.map_or(Actor::Unknown, causes::Carried::actor),
            since,
            first_bad,
            last_good,
            last_bad: latest(|spell| spell.last_bad).and_then(|place| causes.run(place.key)),
            over: latest(|spell| spell.over).filter(|_| !is_open).and_then(|place| causes.run(place.key)),
            affected: spells().map(|spell| spell.bad).sum(),
            of: spells().map(|spell| spell.of).sum(),
            expected: expected.map(|expected| expected.iter().sum()),
            lost_ms: spells().map(|spell| spell.lost_ms).sum(),
            seen_before,
            elsewhere,
            runs: evidence.iter().filter_map(|key| causes.run(*key)).map(|run| run.run_id).collect(),
            durations: first
                .found
                .moved
                .map(|moved| MovedMedian { before_ms: moved.before_ms, now_ms: moved.now_ms }),
            silence: first
                .found
                .silence
                .map(|silence| LongSilence { length_ms: silence.length_ms, longest_ms: silence.longest_ms }),
            stuck: first
                .found
                .stuck
                .map(|stuck| StuckRun { age_ms: stuck.age_ms, longest_ms: stuck.longest_ms }),
            chance: (kind != Kind::Stuck)
                .then(|| group.iter().map(|explained| explained.found.chance).fold(1.0, f64::min)),
        })
    }

    /// Where an error was before an incident, and where else it is in the period.
    fn sightings(
        &self,
        error: i64,
        subjects: &[&Known],
        since: Option<UtcText>,
    ) -> Result<(Option<SeenBefore>, Option<Elsewhere>), Error> {
        #[derive(Deserialize)]
        struct Sightings {
            runs_before: u64,
            last_before: Option<UtcText>,
            other_connections: u64,
            other_runs: u64,
        }
        let keys: Vec<i64> = subjects.iter().map(|known| known.connection_key).collect();
        let period = self.asked.period;
        let mut parameters = vec![
            ("error", error.into()),
            ("keys", text(&serde_json::json!(keys).to_string())),
            ("since", text(period.since.as_str())),
            ("until", text(period.until.as_str())),
        ];
        parameters.extend(since.map(|since| ("before", text(since.as_str()))));
        let rows: Rows<Sightings> = self.read("error-sightings", parameters);
        let Some(found) = rows?.into_iter().next() else { return Ok((None, None)) };
        let before = found.last_before.map(|last_at| SeenBefore { runs: found.runs_before, last_at });
        let elsewhere = Elsewhere { connections: found.other_connections, runs: found.other_runs };
        Ok((before, (elsewhere.connections > 0).then_some(elsewhere)))
    }
}

impl Known {
    fn subject(&self) -> Subject {
        Subject {
            connection: self.connection.clone(),
            connection_id: self.connection_id.clone(),
            kind: self.kind.clone(),
        }
    }

    fn is(&self, subject: &Subject) -> bool {
        self.kind == subject.kind && self.connection_id == subject.connection_id
    }
}

/// Every run that a spell names, by its key.
fn places(spell: &Spell) -> impl Iterator<Item = i64> {
    let named = [spell.first_bad, spell.last_good, spell.last_bad, spell.over];
    named.into_iter().flatten().map(|place| place.key).chain(spell.evidence.iter().copied())
}

/// Findings of one cause that began within a day of each other are one; all others stand for themselves.
fn group(mut explained: Vec<Explained>) -> Vec<Vec<Explained>> {
    let began = |one: &Explained| one.found.spell.first_bad.map_or(0, |place| place.ms);
    explained.sort_by_key(|one| (began(one), one.found.connection, one.found.kind));
    let mut groups: Vec<Vec<Explained>> = Vec::new();
    // The newest group of each error.
    let mut newest: HashMap<i64, usize> = HashMap::new();
    for one in explained {
        let error = one.cause.as_ref().and_then(|cause| cause.error_kind_key);
        let error = error.filter(|_| matches!(one.found.kind, Kind::Failing | Kind::Flaky));
        let known = error.and_then(|error| newest.get(&error).copied());
        let joined = known.filter(|place| {
            let last = groups[*place].last().map_or(0, began);
            began(&one) - last <= SAME_TIME_MS
        });
        match joined {
            Some(place) => groups[place].push(one),
            None => {
                newest.extend(error.map(|error| (error, groups.len())));
                groups.push(vec![one]);
            }
        }
    }
    groups
}

/// By subject, kind and first bad run: `failing:export:8ab3…:51c0…`.
fn id(kind: Kind, subject: &Known, run: Option<&RunAt>) -> String {
    let run = run.map_or("", |run| run.run_id.as_str());
    format!("{}:{}:{}:{run}", kind.as_str(), subject.kind, subject.connection_id)
}

/// Runs of each week that were rated, and failed.
fn weeks(bounds: &[i64], runs: &[Run]) -> Vec<WeekTally> {
    let week = |bounds: &[i64]| {
        let begin = runs.partition_point(|run| run.started_ms < bounds[0]);
        let end = runs.partition_point(|run| run.started_ms < bounds[1]);
        runs[begin..end].iter().fold(WeekTally::default(), |sum, run| {
            let is_failed = run.outcome == Outcome::Failed;
            let is_rated = is_failed || matches!(run.outcome, Outcome::Succeeded | Outcome::PartlySucceeded);
            WeekTally { rated: sum.rated + u64::from(is_rated), failed: sum.failed + u64::from(is_failed) }
        })
    };
    bounds.windows(2).map(week).collect()
}

/// What failed in all against what was to be expected, whose share it is, and what a connection like most needs to be
/// named.
fn expected(states: &[ConnectionState], judged: &[Judgement]) -> Expected {
    let beyond = |state: &ConnectionState| state.failed as f64 - state.expected;
    let most = states.iter().max_by(|one, other| beyond(one).total_cmp(&beyond(other)));
    let mut rated: Vec<&ConnectionState> = states.iter().filter(|state| state.rated > 0).collect();
    rated.sort_by_key(|state| state.rated);
    Expected {
        failed: states.iter().map(|state| state.failed).sum(),
        expected: judged.iter().map(|judged| judged.expected).sum(),
        most: most.filter(|state| beyond(state) > 0.0).map(|state| Excess {
            subject: Subject {
                connection: state.connection.clone(),
                connection_id: state.connection_id.clone(),
                kind: state.kind.clone(),
            },
            failed: state.failed,
            expected: state.expected,
        }),
        sight: rated
            .get(rated.len() / 2)
            .map(|state| Sight { rated: state.rated, named_from: state.named_from }),
        moved_by: None,
    }
}

/// The connection by whose share of the runs the rate of all together moved, where what failed is no more, or no less,
/// than was to be expected of each connection (a stratified comparison; one-sided, 5 %).
pub(super) fn moved_by(
    total: &ComparedRate,
    connections: &[ConnectionRate],
    states: &[ConnectionState],
) -> Option<Subject> {
    const ONE_SIDED: f64 = 1.645;
    let sign = match total.direction {
        Direction::Worse => 1.0,
        Direction::Better => -1.0,
        Direction::NoClearChange | Direction::NotComparable => return None,
    };
    let (mut beyond, mut variance) = (0.0, 0.0);
    for state in states {
        beyond += state.failed as f64 - state.expected;
        variance += state.expected * (1.0 - state.usual);
    }
    if sign * beyond > ONE_SIDED * variance.sqrt() {
        return None;
    }
    let usual: HashMap<(&str, &str), f64> = states
        .iter()
        .map(|state| ((state.kind.as_str(), state.connection_id.as_str()), state.usual))
        .collect();
    let moved = connections.iter().map(|connection| {
        let share = |rate: &Rate, all: &Rate| rate.rated as f64 / (all.rated as f64).max(1.0);
        let more = share(&connection.rate.now, &total.now) - share(&connection.rate.before, &total.before);
        let known = usual.get(&(connection.kind.as_str(), connection.connection_id.as_str()));
        let apart = known.map_or(0.0, |usual| usual - total.before.failure_rate.unwrap_or_default());
        (sign * more * apart, connection)
    });
    let (by, most) = moved.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (by > 0.0).then(|| Subject {
        connection: most.connection.clone(),
        connection_id: most.connection_id.clone(),
        kind: most.kind.clone(),
    })
}
