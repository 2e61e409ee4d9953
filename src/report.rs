//! From the archive to the figures of a report.
//!
//! In: a database opened for reading, and what is asked. Out: a [`Report`], complete and plain, that
//! `render` turns into text. Every count comes from a file of `queries/`; what is added here is arithmetic
//! on counts: sums, intervals, tests, and the words of the verdict. No clock is read.

pub mod figures;
mod rows;
mod statistics;
mod verdict;

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use self::figures::*;
use self::rows::*;
use self::statistics::{ALPHA, fisher, largest_discovery, wilson};
use crate::query::{Catalog, Database, Error, Value};
use crate::time::UtcText;
use crate::time::period::Period;
use crate::time::zone::{Step, Zone};

/// Weeks of the trend.
const WEEKS: usize = 12;
/// A longer period is cut into weeks.
const MOST_DAYS: usize = 62;
/// Rows of a list of runs; the named query gives them all.
const LISTED: i64 = 20;
/// Rows of each list of errors.
const LISTED_ERRORS: usize = 50;
/// A median counts as moved from this share of it on, and from so many milliseconds on.
const MOVED_SHARE: f64 = 0.25;
const MOVED_MS: i64 = 1_000;

/// What a report is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What is reported.
    pub period: Period,
    /// What it is compared with.
    pub compared_with: Period,
    /// Whose days and weeks.
    pub zone: Zone,
    /// The instant that ages are counted to.
    pub as_of: UtcText,
    /// Whether that is what the clock shows.
    pub is_of_now: bool,
    /// Ids of connections; empty: all.
    pub connections: Vec<String>,
    /// A rate from fewer rated runs raises no alarm.
    pub min_runs: u64,
    /// Above this failure rate, from 0 to 1, there is an alarm.
    pub fail_over: Option<f64>,
}

impl Asked {
    /// The last seven full days of UTC, compared with those before, of all connections.
    ///
    /// # Errors
    /// They would begin before the year 1.
    pub fn last_week(as_of: UtcText) -> Result<Self, String> {
        let zone = Zone::UTC;
        let period = Period::parse(None, None, &zone, &as_of)?;
        let compared_with = period.before(&zone)?;
        let connections = Vec::new();
        let is_of_now = true;
        Ok(Self { period, compared_with, zone, as_of, is_of_now, connections, min_runs: 1, fail_over: None })
    }
}

/// Answers a report's questions from two views of one state of the archive, half of them from each: sorting
/// durations takes as long as everything else.
///
/// # Errors
/// Any of the queries'.
pub fn compute([first, second]: [Database; 2], asked: &Asked) -> Result<Report, Error> {
    std::thread::scope(|scope| {
        let timing = scope
            .spawn(move || Questions { database: &second, catalog: Catalog::built_in(), asked }.timing());
        let questions = Questions { database: &first, catalog: Catalog::built_in(), asked };
        questions.answer(|| timing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

type Rows<T> = Result<Vec<T>, Error>;
type Parameters = Vec<(&'static str, Value)>;

/// The questions of one report, put to one database.
struct Questions<'a> {
    database: &'a Database,
    catalog: Catalog,
    asked: &'a Asked,
}

impl Questions<'_> {
    fn answer(&self, timing: impl FnOnce() -> Result<Timing, Error>) -> Result<Report, Error> {
        let asked = self.asked;
        let coverage = self.coverage()?;
        let connections = self.connections()?;
        let total = compare(
            connections.iter().map(|connection| connection.rate.now).fold(Rate::default(), add),
            connections.iter().map(|connection| connection.rate.before).fold(Rate::default(), add),
        );
        let total = ComparedRate { direction: direct(&total, Some(ALPHA)), ..total };
        let changed: Vec<ErrorChangeRow> = self.read("error-changes", self.compared())?;
        let by_direction = |direction: Direction| {
            connections.iter().filter(|connection| connection.rate.direction == direction).cloned().collect()
        };
        let names = |id: &String| {
            let known = coverage.connections.iter().find(|connection| connection.connection_id == *id);
            known.map_or_else(|| id.clone(), |known| known.connection.clone())
        };
        let (errors, failing, retries) = (self.errors(&changed)?, self.failing()?, self.retries()?);
        let (slowest, unfinished) = (self.slowest()?, self.unfinished()?);
        let (masked, weeks) = (self.masked(total.now.succeeded)?, self.weeks()?);
        let buckets = self.buckets(&connections)?;
        let durations = timing()?.in_order_of(&connections);
        let changes = Changes {
            newly_failing: by_direction(Direction::Worse),
            recovered: by_direction(Direction::Better),
            new_errors: error_changes(&changed, Change::New),
            returned_errors: error_changes(&changed, Change::Returned),
            gone_errors: error_changes(&changed, Change::Gone),
            durations: moved_durations(&durations, asked.min_runs),
        };
        Ok(Report {
            as_of: asked.as_of,
            zone: asked.zone,
            period: asked.period,
            compared_with: asked.compared_with,
            restricted_to: asked.connections.iter().map(names).collect(),
            min_runs: asked.min_runs,
            verdict: verdict::verdict(asked, &total, &connections, &changes, &coverage),
            changes,
            errors,
            failing,
            retries,
            slowest,
            unfinished,
            masked,
            weeks,
            buckets,
            total,
            connections,
            durations,
            coverage,
        })
    }

    fn read<T: DeserializeOwned>(&self, name: &'static str, parameters: Parameters) -> Rows<T> {
        let query = self.catalog.find(name).ok_or_else(|| Error::Row {
            query: name.to_owned(),
            problem: "there is no such query".to_owned(),
        })?;
        self.database.read(query, &parameters)
    }

    /// `:connection`, for every query that takes it.
    fn chosen(&self) -> Parameters {
        let ids = &self.asked.connections;
        match ids.is_empty() {
            true => Vec::new(),
            false => vec![("connection", text(&serde_json::json!(ids).to_string()))],
        }
    }

    fn of(&self, period: Period) -> Parameters {
        let mut parameters = self.chosen();
        parameters.extend([("since", text(period.since.as_str())), ("until", text(period.until.as_str()))]);
        parameters
    }

    fn compared(&self) -> Parameters {
        let mut parameters = self.of(self.asked.period);
        let before = self.asked.compared_with;
        parameters.push(("compare_since", text(before.since.as_str())));
        parameters.push(("compare_until", text(before.until.as_str())));
        parameters
    }

    fn connections(&self) -> Rows<ConnectionRate> {
        let now: Vec<ConnectionRateRow> = self.read("failure-rates", self.of(self.asked.period))?;
        let before: Vec<ConnectionRateRow> = self.read("failure-rates", self.of(self.asked.compared_with))?;
        let mut before: HashMap<String, Rate> =
            before.into_iter().map(|row| (row.connection_id, row.rate.into())).collect();
        let rates = now.into_iter().map(|row| ConnectionRate {
            rate: compare(row.rate.into(), before.remove(&row.connection_id).unwrap_or_default()),
            connection: row.connection,
            connection_id: row.connection_id,
        });
        let mut rates: Vec<ConnectionRate> =
            rates.filter(|connection| connection.rate.now.runs + connection.rate.before.runs > 0).collect();
        // Of a hundred connections that did not change, five would be called changed by chance.
        let discovery = largest_discovery(rates.iter().filter_map(|connection| connection.rate.p_value));
        for connection in &mut rates {
            connection.rate.direction = direct(&connection.rate, discovery);
        }
        Ok(rates)
    }

    fn errors(&self, changed: &[ErrorChangeRow]) -> Result<Errors, Error> {
        let changed: HashMap<_, _> =
            changed.iter().map(|row| ((row.error_code.clone(), row.description_key.clone()), row)).collect();
        let mut errors = Errors::default();
        let rows: Vec<ErrorRow> = self.read("error-codes", self.of(self.asked.period))?;
        for row in rows {
            let list = match row.can_user_fix {
                Some(true) => &mut errors.users,
                Some(false) => &mut errors.system,
                None => &mut errors.unknown,
            };
            if list.len() == LISTED_ERRORS {
                errors.not_shown += 1;
                continue;
            }
            let key = (row.error_code, row.description_key);
            let change = changed.get(&key);
            list.push(ErrorCode {
                runs_before: change.map_or(0, |change| change.runs_before),
                novelty: match change.map(|change| change.change) {
                    Some(Change::New) => Novelty::New,
                    Some(Change::Returned) => Novelty::Returned,
                    _ => Novelty::Known,
                },
                error_code: key.0,
                description_key: key.1,
                system: row.system,
                phase: row.phase,
                category: row.category,
                description: row.description,
                kb_article_link: row.kb_article_link.filter(|link| is_https(link)),
                tasks: row.tasks,
                runs: row.runs,
                connections: row.connections,
                first_seen: row.first_seen,
                last_seen: row.last_seen,
            });
        }
        Ok(errors)
    }

    fn failing(&self) -> Result<Failing, Error> {
        let mut parameters = self.of(self.asked.period);
        parameters.push(("as_of", text(self.asked.as_of.as_str())));
        let rows: Vec<StreakRow> = self.read("failing-streaks", parameters)?;
        let recoveries = rows.iter().map(|row| row.recoveries).sum();
        let recovery_ms: i64 = rows.iter().map(|row| row.recovery_ms_in_all).sum();
        let streaks = rows.into_iter().filter_map(|row| {
            Some(Streak {
                failing_since: row.failing_since.filter(|_| row.failures > 0)?,
                connection: row.connection,
                connection_id: row.connection_id,
                failures: row.failures,
                last_success_at: row.last_success_at,
                since_last_success_ms: row.since_last_success_ms,
            })
        });
        Ok(Failing {
            streaks: streaks.collect(),
            recoveries,
            mean_time_to_recovery_ms: recovery_ms.checked_div(recoveries.cast_signed()),
        })
    }

    fn percentiles(&self, name: &'static str, by: &'static str) -> Result<[Vec<PercentileRow>; 2], Error> {
        let of = |period| {
            let mut parameters = self.of(period);
            parameters.push(("by", text(by)));
            self.read(name, parameters)
        };
        Ok([of(self.asked.period)?, of(self.asked.compared_with)?])
    }

    fn timing(&self) -> Result<Timing, Error> {
        let all = |name| -> Result<ComparedPercentiles, Error> {
            let [now, before] = self.percentiles(name, "all")?;
            Ok(ComparedPercentiles {
                now: now.first().map(Percentiles::from),
                before: before.first().map(Percentiles::from),
            })
        };
        let by_connection = |name| -> Result<HashMap<String, ComparedPercentiles>, Error> {
            let [now, before] = self.percentiles(name, "connection")?;
            let mut found: HashMap<String, ComparedPercentiles> = HashMap::new();
            for row in &now {
                found.entry(row.connection_id.clone().unwrap_or_default()).or_default().now =
                    Some(row.into());
            }
            for row in &before {
                let found = found.entry(row.connection_id.clone().unwrap_or_default()).or_default();
                found.before = Some(row.into());
            }
            Ok(found)
        };
        Ok(Timing {
            runs: all("durations")?,
            jobs: all("job-durations")?,
            tasks: all("task-durations")?,
            queue: all("queue-times")?,
            runs_by_connection: by_connection("durations")?,
            queue_by_connection: by_connection("queue-times")?,
        })
    }

    fn retries(&self) -> Result<Retries, Error> {
        let now: Vec<RetryRow> = self.read("retries", self.of(self.asked.period))?;
        let before: Vec<RetryRow> = self.read("retries", self.of(self.asked.compared_with))?;
        Ok(Retries {
            tasks: now.iter().map(|row| row.tasks).sum(),
            retried_tasks: now.iter().map(|row| row.retried_tasks).sum(),
            attempts: now.iter().map(|row| row.attempts).sum(),
            runs: now.iter().map(|row| row.retried_runs).sum(),
            attempts_before: before.iter().map(|row| row.attempts).sum(),
            by_connection: now
                .into_iter()
                .filter(|row| row.attempts > 0)
                .map(|row| ConnectionRetries {
                    connection: row.connection,
                    connection_id: row.connection_id,
                    retried_tasks: row.retried_tasks,
                    attempts: row.attempts,
                    runs: row.retried_runs,
                })
                .collect(),
        })
    }

    fn slowest(&self) -> Rows<SlowRun> {
        let mut parameters = self.of(self.asked.period);
        parameters.push(("limit", Value::Integer(LISTED / 2)));
        let rows: Vec<SlowRow> = self.read("slowest-runs", parameters)?;
        let run = |row: SlowRow| SlowRun {
            connection: row.connection,
            connection_id: row.connection_id,
            run_id: row.run_id,
            started_at: row.started_at,
            duration_ms: row.duration_ms,
            outcome: row.outcome,
        };
        Ok(rows.into_iter().map(run).collect())
    }

    fn unfinished(&self) -> Result<Unfinished, Error> {
        let mut parameters = self.chosen();
        parameters.push(("as_of", text(self.asked.as_of.as_str())));
        parameters.push(("limit", Value::Integer(LISTED)));
        let rows: Vec<UnfinishedRow> = self.read("unfinished-runs", parameters)?;
        let mut unfinished = Unfinished::default();
        for row in rows {
            unfinished.runs = row.unfinished_in_all;
            unfinished.stuck = row.stuck_in_all;
            unfinished.unlisted = row.unlisted_in_all;
            unfinished.oldest.push(UnfinishedRun {
                connection: row.connection,
                connection_id: row.connection_id,
                run_id: row.run_id,
                state: row.state,
                started_at: row.started_at,
                age_ms: row.age_ms,
                is_stuck: row.is_stuck,
                is_unlisted: row.is_unlisted,
            });
        }
        Ok(unfinished)
    }

    fn masked(&self, succeeded: u64) -> Result<Masked, Error> {
        let of = |period, limit| {
            let mut parameters = self.of(period);
            parameters.push(("limit", Value::Integer(limit)));
            self.read("masked-failures", parameters)
        };
        let rows: Vec<MaskedRow> = of(self.asked.period, LISTED)?;
        let before: Vec<MaskedRow> = of(self.asked.compared_with, 1)?;
        Ok(Masked {
            runs: rows.first().map_or(0, |row| row.masked_in_all),
            succeeded,
            runs_before: before.first().map_or(0, |row| row.masked_in_all),
            newest: rows
                .into_iter()
                .map(|row| MaskedRun {
                    connection: row.connection,
                    connection_id: row.connection_id,
                    run_id: row.run_id,
                    started_at: row.started_at,
                    failed_jobs: row.failed_jobs,
                    failed_tasks: row.failed_tasks,
                    errors: row.errors,
                    error_keys: row.error_keys,
                })
                .collect(),
        })
    }

    fn weeks(&self) -> Rows<Week> {
        let Asked { period, zone, .. } = self.asked;
        let bounds = period.weeks_until(zone, WEEKS);
        let rates: Vec<WeekRateRow> = self.read("failure-rates-by-week", self.cut(&bounds))?;
        let durations: Vec<PercentileRow> = self.read("durations-by-week", self.cut(&bounds))?;
        let durations: HashMap<_, _> =
            durations.iter().map(|row| (row.since, Percentiles::from(row))).collect();
        let week = |(row, bounds): (WeekRateRow, &[UtcText])| Week {
            period: Period { since: bounds[0], until: bounds[1] },
            durations: durations.get(&Some(row.since)).copied(),
            rate: row.rate.into(),
        };
        Ok(rates.into_iter().zip(bounds.windows(2)).map(week).collect())
    }

    fn buckets(&self, connections: &[ConnectionRate]) -> Result<Buckets, Error> {
        let Asked { period, zone, .. } = self.asked;
        let days = zone.bounds(&period.since, &period.until, Step::Day);
        let (unit, bounds) = match days.len() - 1 {
            0..=MOST_DAYS => ("day", days),
            _ => ("week", zone.bounds(&period.since, &period.until, Step::Week)),
        };
        let rows: Vec<ConnectionRateRow> =
            self.read("failure-rates-by-connection-and-day", self.cut(&bounds))?;
        let mut all = vec![Rate::default(); bounds.len() - 1];
        let mut cells: HashMap<String, Vec<Rate>> = HashMap::new();
        for row in rows {
            let cells = cells.entry(row.connection_id).or_default();
            let rate = Rate::from(row.rate);
            if let Some(sum) = all.get_mut(cells.len()) {
                *sum = add(*sum, rate);
            }
            cells.push(rate);
        }
        let bucket = |(bounds, rate): (&[UtcText], Rate)| Bucket {
            period: Period { since: bounds[0], until: bounds[1] },
            rate,
        };
        let row = |connection: &ConnectionRate| GridRow {
            connection: connection.connection.clone(),
            connection_id: connection.connection_id.clone(),
            cells: cells.remove(&connection.connection_id).unwrap_or_default(),
        };
        Ok(Buckets {
            unit,
            all: bounds.windows(2).zip(all).map(bucket).collect(),
            by_connection: connections.iter().map(row).collect(),
        })
    }

    /// `:bounds`, and the connections.
    fn cut(&self, bounds: &[UtcText]) -> Parameters {
        let bounds: Vec<&str> = bounds.iter().map(UtcText::as_str).collect();
        let mut parameters = self.chosen();
        parameters.push(("bounds", text(&serde_json::json!(bounds).to_string())));
        parameters
    }

    /// What is dated later was written while the clock was ahead. A report of now knows what now is. One that
    /// looks back cannot ask a clock, or its bytes would change: it takes the end of the last sync, which is
    /// the last by order.
    fn latest_possible(&self, last_sync: Option<&SyncRow>) -> UtcText {
        let as_of = self.asked.as_of;
        let last = last_sync.map_or(Some(as_of), |sync| sync.ended_at);
        match last {
            _ if self.asked.is_of_now => as_of,
            Some(last) => as_of.max(last),
            None => UtcText::MAX,
        }
    }

    fn coverage(&self) -> Result<Coverage, Error> {
        let gaps: Vec<GapRow> = self.read("gaps", self.chosen())?;
        let drift: Vec<DriftRow> = self.read("drift", Vec::new())?;
        let syncs: Vec<SyncRow> = self.read("syncs", vec![("limit", Value::Integer(1))])?;
        let mut chosen = self.chosen();
        chosen.push(("as_of", text(self.latest_possible(syncs.first()).as_str())));
        let rows: Vec<CoverageRow> = self.read("coverage", chosen)?;
        let Asked { period, compared_with, .. } = self.asked;
        let touches = |gap: &GapRow| {
            [period, compared_with].iter().any(|period| gap.until > period.since && gap.after < period.until)
        };
        Ok(Coverage {
            pruned: pruned(&rows, &[*period, *compared_with]),
            rejects: rows.iter().map(|row| row.rejects).sum(),
            runs_without_start: rows.iter().map(|row| row.without_start).sum(),
            connections: rows
                .into_iter()
                .map(|row| ConnectionCoverage {
                    connection: row.connection,
                    connection_id: row.connection_id,
                    runs: row.runs,
                    oldest_started_at: row.oldest_started_at,
                    newest_started_at: row.newest_started_at,
                    complete_as_of: row.complete_as_of,
                    unfinished: row.unfinished,
                    unlisted: row.unlisted,
                    rejects: row.rejects,
                    gaps: row.gaps,
                    last_problem: row.last_problem,
                    unlisted_at: row.unlisted_at,
                    pruned: row.pruned,
                    clock_ahead_at: row.clock_ahead_at,
                })
                .collect(),
            gaps: gaps
                .into_iter()
                .map(|gap| Gap {
                    touches_period: touches(&gap),
                    connection: gap.connection,
                    connection_id: gap.connection_id,
                    after: gap.after,
                    until: gap.until,
                    noticed_at: gap.noticed_at,
                })
                .collect(),
            drift: drift
                .into_iter()
                .map(|note| DriftNote {
                    is_new: note.first_seen_at >= period.since,
                    object: note.object,
                    field: note.field,
                    what: note.what,
                    value: note.value,
                    first_seen_at: note.first_seen_at,
                    runs: note.runs,
                    connection: note.connection,
                    run_id: note.run_id,
                })
                .collect(),
            last_sync: syncs.into_iter().next().map(|sync| LastSync {
                command: sync.command,
                started_at: sync.started_at,
                outcome: sync.outcome,
                problem: sync.problem,
            }),
        })
    }
}

/// What was pruned of all connections, if anything was.
fn pruned(rows: &[CoverageRow], periods: &[Period]) -> Option<Pruned> {
    let before = rows.iter().filter_map(|row| row.pruned_before).max()?;
    Some(Pruned {
        runs: rows.iter().map(|row| row.pruned).sum(),
        before,
        pruned_at: rows.iter().filter_map(|row| row.pruned_at).max()?,
        touches_period: periods.iter().any(|period| period.since < before),
    })
}

/// How long things took, before it is known in which order connections are told.
struct Timing {
    runs: ComparedPercentiles,
    jobs: ComparedPercentiles,
    tasks: ComparedPercentiles,
    queue: ComparedPercentiles,
    runs_by_connection: HashMap<String, ComparedPercentiles>,
    queue_by_connection: HashMap<String, ComparedPercentiles>,
}

impl Timing {
    fn in_order_of(self, connections: &[ConnectionRate]) -> Durations {
        let of = |connection: &ConnectionRate| ConnectionDurations {
            connection: connection.connection.clone(),
            connection_id: connection.connection_id.clone(),
            runs: self.runs_by_connection.get(&connection.connection_id).copied().unwrap_or_default(),
            queue: self.queue_by_connection.get(&connection.connection_id).copied().unwrap_or_default(),
        };
        Durations {
            by_connection: connections.iter().map(of).collect(),
            runs: self.runs,
            jobs: self.jobs,
            tasks: self.tasks,
            queue: self.queue,
        }
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// Two rates of different runs as one.
fn add(a: Rate, b: Rate) -> Rate {
    let failed = a.failed + b.failed;
    let rated = a.rated + b.rated;
    Rate {
        runs: a.runs + b.runs,
        succeeded: a.succeeded + b.succeeded,
        partly_succeeded: a.partly_succeeded + b.partly_succeeded,
        failed,
        canceled: a.canceled + b.canceled,
        skipped: a.skipped + b.skipped,
        undetermined: a.undetermined + b.undetermined,
        unfinished: a.unfinished + b.unfinished,
        rated,
        failure_rate: (rated > 0).then(|| failed as f64 / rated as f64),
        interval: wilson(failed, rated),
    }
}

fn compare(now: Rate, before: Rate) -> ComparedRate {
    ComparedRate {
        now,
        before,
        difference: now.failure_rate.zip(before.failure_rate).map(|(now, before)| now - before),
        p_value: fisher((now.failed, now.rated), (before.failed, before.rated)),
        direction: Direction::NotComparable,
    }
}

/// What a test supports at this significance.
fn direct(rate: &ComparedRate, significance: Option<f64>) -> Direction {
    match (rate.difference, rate.p_value) {
        (Some(difference), Some(p)) if significance.is_some_and(|most| p <= most) => {
            if difference > 0.0 {
                Direction::Worse
            } else {
                Direction::Better
            }
        }
        (Some(_), _) => Direction::NoClearChange,
        _ => Direction::NotComparable,
    }
}

fn error_changes(rows: &[ErrorChangeRow], change: Change) -> Vec<ErrorChange> {
    let is_gone = change == Change::Gone;
    let of = |row: &ErrorChangeRow| ErrorChange {
        error_code: row.error_code.clone(),
        description_key: row.description_key.clone(),
        runs: if is_gone { row.runs_before } else { row.runs },
        connections: if is_gone { row.connections_before } else { row.connections },
        last_seen_before: row.last_seen_before,
    };
    rows.iter().filter(|row| row.change == change).map(of).collect()
}

/// Medians that moved, those of all connections first, then the largest moves.
fn moved_durations(durations: &Durations, min_runs: u64) -> Vec<DurationChange> {
    let moved = |level: &'static str, of: Option<(&str, &str)>, compared: &ComparedPercentiles| {
        let (now, before) = compared.now.zip(compared.before)?;
        let difference = now.p50_ms - before.p50_ms;
        let is_beyond =
            |low: Option<i64>, high: Option<i64>| low.zip(high).is_some_and(|(low, high)| low > high);
        let is_supported =
            is_beyond(now.p50_low_ms, before.p50_high_ms) || is_beyond(before.p50_low_ms, now.p50_high_ms);
        let is_moved = now.count.min(before.count) >= min_runs
            && difference.abs() >= MOVED_MS
            && difference.abs() as f64 >= MOVED_SHARE * before.p50_ms as f64
            && is_supported;
        is_moved.then(|| DurationChange {
            connection: of.map(|(name, _)| name.to_owned()),
            connection_id: of.map(|(_, id)| id.to_owned()),
            level,
            now_ms: now.p50_ms,
            before_ms: before.p50_ms,
            direction: if difference > 0 { Direction::Worse } else { Direction::Better },
        })
    };
    let mut all = vec![moved("run", None, &durations.runs), moved("queue", None, &durations.queue)];
    for connection in &durations.by_connection {
        let of = Some((connection.connection.as_str(), connection.connection_id.as_str()));
        all.extend([moved("run", of, &connection.runs), moved("queue", of, &connection.queue)]);
    }
    let mut all: Vec<DurationChange> = all.into_iter().flatten().collect();
    all.sort_by_key(|change| {
        (change.connection.is_some(), std::cmp::Reverse((change.now_ms - change.before_ms).abs()))
    });
    all
}

/// Only such a link may be followed: anything else is text.
fn is_https(link: &str) -> bool {
    url::Url::parse(link).is_ok_and(|url| url.scheme() == "https" && url.has_host())
        && link.starts_with("https://")
        && !link.chars().any(|c| c.is_control() || c.is_whitespace())
}
