//! The answer of every named query, counted over plain runs as its header describes it.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::clock::{self, SECOND, Ticks, stored};
use super::world::{Kind, Run, World};

const HOUR: Ticks = 3_600 * SECOND;
const DAY: Ticks = 24 * HOUR;

/// Which runs a question is about.
#[derive(Debug, Clone)]
pub struct Asked {
    pub since: Option<Ticks>,
    pub until: Option<Ticks>,
    /// Places of connections; `None`: all.
    pub connections: Option<Vec<usize>>,
}

impl Asked {
    pub fn holds(&self, start: Ticks) -> bool {
        self.since.is_none_or(|since| start >= since) && self.until.is_none_or(|until| start < until)
    }

    fn has(&self, connection: usize) -> bool {
        self.connections.as_ref().is_none_or(|chosen| chosen.contains(&connection))
    }

    pub fn between(&self, since: Ticks, until: Ticks) -> Self {
        Self { since: Some(since), until: Some(until), ..self.clone() }
    }

    pub fn only(&self, connection: usize) -> Self {
        Self { connections: Some(vec![connection]), ..self.clone() }
    }
}

/// An archive and what is asked of it.
pub struct Answers<'a> {
    world: &'a World,
    asked: Asked,
}

/// What percentiles are about.
#[derive(Debug, Clone, Copy)]
pub enum Level {
    Runs,
    Jobs,
    Tasks,
    Queue,
}

impl Level {
    pub fn values(self, run: &Run) -> Vec<i64> {
        match self {
            Self::Runs => run.duration.into_iter().collect(),
            Self::Queue => run.queue().into_iter().collect(),
            Self::Jobs => run.jobs.iter().filter_map(|job| job.duration).collect(),
            Self::Tasks => run.tasks().filter_map(|task| task.duration).collect(),
        }
    }

    /// The column that says how many there are.
    fn column(self) -> &'static str {
        match self {
            Self::Runs | Self::Queue => "runs",
            Self::Jobs => "jobs",
            Self::Tasks => "tasks",
        }
    }
}

/// Counts of runs by outcome, and the rate of failure.
pub fn rate<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Map<String, Value> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut all = 0_u64;
    for run in runs {
        *counts.entry(run.outcome).or_default() += 1;
        all += 1;
    }
    let of = |outcome| counts.get(outcome).copied().unwrap_or(0);
    let rated = of("succeeded") + of("partly succeeded") + of("failed");
    let failure_rate = if rated == 0 { Value::Null } else { json!(of("failed") as f64 / rated as f64) };
    object(json!({
        "runs": all,
        "succeeded": of("succeeded"),
        "partly_succeeded": of("partly succeeded"),
        "failed": of("failed"),
        "canceled": of("canceled"),
        "skipped": of("skipped"),
        "undetermined": of("undetermined"),
        "unfinished": of("unfinished"),
        "rated": rated,
        "failure_rate": failure_rate,
    }))
}

/// The value at place ceil(n * p / 100) of those in order, for each p, and the last.
pub fn percentiles(mut values: Vec<i64>) -> Option<Ranked> {
    values.sort_unstable();
    let count = values.len();
    let at = |percent: usize| {
        let place = (1..=count).find(|place| place * 100 >= count * percent)?;
        Some(values[place - 1])
    };
    // As many values lie outside each end of the median's interval as leave 95 % between: half of n less 0.98
    // times its square root, without a root.
    let outside = |ends: &usize| 10_000 * (count - 2 * ends).pow(2) >= 38_416 * count;
    let ends = (1..=count / 2).rfind(outside);
    Some(Ranked {
        count,
        ranks: [at(50)?, at(90)?, at(95)?, at(99)?, *values.last()?],
        median: ends.map(|ends| [values[ends - 1], values[count - ends]]),
    })
}

/// Values at their ranks.
pub struct Ranked {
    pub count: usize,
    /// 50, 90, 95 and 99 percent, and the last.
    pub ranks: [i64; 5],
    /// The median's interval.
    pub median: Option<[i64; 2]>,
}

impl Ranked {
    pub fn columns(&self) -> Map<String, Value> {
        let [p50, p90, p95, p99, max] = self.ranks;
        object(json!({
            "p50_ms": p50,
            "p50_low_ms": self.median.map(|[low, _]| low),
            "p50_high_ms": self.median.map(|[_, high]| high),
            "p90_ms": p90,
            "p95_ms": p95,
            "p99_ms": p99,
            "max_ms": max,
        }))
    }
}

pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

fn and(first: Value, second: Map<String, Value>) -> Value {
    let mut all = object(first);
    all.extend(second);
    Value::Object(all)
}

fn ranked(first: Value, count: &str, found: Ranked) -> Value {
    let mut row = object(first);
    row.insert(count.to_owned(), json!(found.count));
    row.extend(found.columns());
    Value::Object(row)
}

impl<'a> Answers<'a> {
    pub fn new(world: &'a World, asked: &Asked) -> Self {
        Self { world, asked: asked.clone() }
    }

    /// The chosen connections by name and id.
    pub fn connections(&self) -> Vec<usize> {
        let all = 0..self.world.connections.len();
        let mut chosen: Vec<usize> = all.filter(|&connection| self.asked.has(connection)).collect();
        chosen.sort_by_key(|&connection| self.name(connection));
        chosen
    }

    fn name(&self, connection: usize) -> (&'a str, &'a str) {
        let connection = &self.world.connections[connection];
        (&connection.label, &connection.id)
    }

    pub fn named(&self, connection: usize) -> Value {
        let (label, id) = self.name(connection);
        json!({ "connection": label, "connection_id": id, "kind": "export" })
    }

    /// All runs of the chosen connections.
    pub fn chosen(&self) -> impl Iterator<Item = &'a Run> + use<'a> {
        let asked = self.asked.clone();
        self.world.runs.iter().filter(move |run| asked.has(run.connection))
    }

    /// Those that started in the period.
    pub fn runs(&self) -> impl Iterator<Item = &'a Run> + use<'a> {
        let asked = self.asked.clone();
        self.chosen().filter(move |run| run.start.is_some_and(|start| asked.holds(start)))
    }

    fn runs_of(&self, connection: usize) -> impl Iterator<Item = &'a Run> + use<'a> {
        self.runs().filter(move |run| run.connection == connection)
    }

    pub fn failure_rates(&self) -> Vec<Value> {
        let mut rows: Vec<Value> = self
            .connections()
            .into_iter()
            .map(|connection| and(self.named(connection), rate(self.runs_of(connection))))
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row["failed"].as_u64()));
        rows
    }

    /// Days, or weeks, of UTC, where nobody says which: those of the runs, where nobody says since when.
    pub fn utc_bounds(&self, is_week: bool) -> Vec<(Ticks, Ticks)> {
        let starts = || self.chosen().filter_map(|run| run.start);
        let next = |at: Ticks| {
            let midnight = at.div_euclid(DAY) * DAY;
            let weekday = (at.div_euclid(DAY) + 3).rem_euclid(7);
            midnight + if is_week { (7 - weekday) * DAY } else { DAY }
        };
        let Some(last) = self.asked.until.or_else(|| starts().max()) else { return Vec::new() };
        let decade = |since| clock::datetime(since).date_naive() + chrono::Months::new(120);
        let latest = self.asked.since.map(|since| clock::start_of(Tz::UTC, decade(since)));
        let until = self.asked.until.unwrap_or_else(|| next(last).min(latest.unwrap_or(Ticks::MAX)));
        let earliest = clock::datetime(last).date_naive() - chrono::Months::new(120);
        let earliest = clock::start_of(Tz::UTC, earliest);
        let Some(since) = self.asked.since.or_else(|| starts().min().map(|first| first.max(earliest))) else {
            return Vec::new();
        };
        let mut bounds = Vec::new();
        let mut at = since;
        while at < until {
            let end = next(at).min(until);
            bounds.push((at, end));
            at = end;
        }
        bounds
    }

    fn bucket(&self, since: Ticks, until: Ticks) -> Value {
        // The last day of the calendar has no end that can be written; what is later than its last run is.
        let last = || self.chosen().filter_map(|run| run.start).max().map(stored).unwrap();
        let until =
            if until < clock::ticks("9999-12-31T00:00:00Z") + DAY { stored(until) } else { last() + "0" };
        json!({ "since": stored(since), "until": until })
    }

    pub fn failure_rates_between(&self, bounds: &[(Ticks, Ticks)]) -> Vec<Value> {
        let row = |&(since, until): &(Ticks, Ticks)| {
            let asked = self.asked.between(since, until);
            and(self.bucket(since, until), rate(Answers::new(self.world, &asked).runs()))
        };
        bounds.iter().map(row).collect()
    }

    pub fn grid(&self, bounds: &[(Ticks, Ticks)]) -> Vec<Value> {
        let mut rows = Vec::new();
        for connection in self.connections() {
            let asked = self.asked.only(connection);
            for &(since, until) in bounds {
                let cell = rate(Answers::new(self.world, &asked.between(since, until)).runs());
                rows.push(and(self.named(connection), object(and(self.bucket(since, until), cell))));
            }
        }
        rows
    }

    pub fn percentiles(&self, level: Level) -> Option<Ranked> {
        percentiles(self.runs().flat_map(|run| level.values(run)).collect())
    }

    pub fn percentiles_by_connection(&self, level: Level) -> Vec<Value> {
        let row = |connection| {
            let values = self.runs_of(connection).flat_map(|run| level.values(run)).collect();
            Some(ranked(self.named(connection), level.column(), percentiles(values)?))
        };
        self.connections().into_iter().filter_map(row).collect()
    }

    pub fn percentiles_of_all(&self, level: Level) -> Vec<Value> {
        let nobody = json!({ "connection": null, "connection_id": null, "kind": null });
        self.percentiles(level).map(|found| ranked(nobody, level.column(), found)).into_iter().collect()
    }

    pub fn durations_between(&self, bounds: &[(Ticks, Ticks)]) -> Vec<Value> {
        let row = |&(since, until): &(Ticks, Ticks)| {
            let asked = self.asked.between(since, until);
            let found = Answers::new(self.world, &asked).percentiles(Level::Runs)?;
            Some(ranked(self.bucket(since, until), "runs", found))
        };
        bounds.iter().filter_map(row).collect()
    }

    pub fn error_codes(&self) -> Vec<Value> {
        let mut kinds: BTreeMap<&Kind, Vec<&Run>> = BTreeMap::new();
        for run in self.runs() {
            for error in run.errors() {
                // Once for each task.
                kinds.entry(&error.kind).or_default().push(run);
            }
        }
        let mut rows: Vec<(u64, u64, &Kind, Value)> = Vec::new();
        for (kind, tasks) in kinds {
            let runs: BTreeSet<usize> = tasks.iter().map(|run| run.key).collect();
            let connections: BTreeSet<usize> = tasks.iter().map(|run| run.connection).collect();
            let newest = tasks.iter().max_by_key(|run| (run.start, run.key)).unwrap();
            let example = newest.errors().find(|error| error.kind == *kind).unwrap();
            let starts = || tasks.iter().filter_map(|run| run.start);
            let row = json!({
                "error_code": kind.0,
                "description_key": kind.1,
                "can_user_fix": kind.2.map(i64::from),
                "system": example.system,
                "phase": example.phase,
                "category": null,
                "description": example.description,
                "kb_article_link": example.link,
                "tasks": tasks.len(),
                "runs": runs.len(),
                "connections": connections.len(),
                "first_seen": starts().min().map(stored),
                "last_seen": starts().max().map(stored),
            });
            rows.push((runs.len() as u64, tasks.len() as u64, kind, row));
        }
        rows.sort_by(|one, other| (other.0, other.1, one.2).cmp(&(one.0, one.1, other.2)));
        rows.into_iter().map(|(.., row)| row).collect()
    }

    pub fn error_changes(&self, compared: (Ticks, Ticks)) -> Vec<Value> {
        type Name<'a> = (&'a Option<String>, &'a Option<String>);
        let named = |run: &'a Run| -> BTreeSet<Name<'a>> {
            run.errors().map(|error| (&error.kind.0, &error.kind.1)).collect()
        };
        let names: BTreeSet<Name<'_>> = self.chosen().flat_map(named).collect();
        let before = Answers::new(self.world, &self.asked.between(compared.0, compared.1));
        let mut rows = Vec::new();
        for name in names {
            let had = |runs: &mut dyn Iterator<Item = &'a Run>| {
                let runs: Vec<&Run> = runs.filter(|run| named(run).contains(&name)).collect();
                let connections: BTreeSet<usize> = runs.iter().map(|run| run.connection).collect();
                (runs.len(), connections.len())
            };
            let (runs, connections) = had(&mut self.runs());
            let (runs_before, connections_before) = had(&mut before.runs());
            let since = self.asked.since;
            let earlier = self.chosen().filter(|run| named(run).contains(&name)).filter_map(|run| run.start);
            let last_seen = earlier.filter(|start| since.is_some_and(|since| *start < since)).max();
            let (rank, change) = match (runs > 0, runs_before > 0, last_seen.is_some()) {
                (true, true, _) => (3, "known"),
                (true, false, true) => (2, "returned"),
                (true, false, false) => (1, "new"),
                (false, true, _) => (4, "gone"),
                (false, false, _) => continue,
            };
            let row = json!({
                "change": change,
                "error_code": name.0,
                "description_key": name.1,
                "runs": runs,
                "connections": connections,
                "runs_before": runs_before,
                "connections_before": connections_before,
                "last_seen_before": last_seen.map(stored),
            });
            rows.push(((rank, std::cmp::Reverse((runs, runs_before)), name), row));
        }
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        rows.into_iter().map(|(_, row)| row).collect()
    }

    pub fn masked(&self) -> Vec<&'a Run> {
        let mut masked: Vec<&Run> = self.runs().filter(|run| run.is_masked()).collect();
        let name = |run: &Run| self.world.connections[run.connection].label.as_str();
        masked.sort_by(|one, other| {
            other.start.cmp(&one.start).then(name(one).cmp(name(other))).then(one.key.cmp(&other.key))
        });
        masked
    }

    pub fn masked_failures(&self, limit: Option<usize>) -> Vec<Value> {
        let masked = self.masked();
        let row = |run: &&Run| {
            let names: BTreeSet<&String> =
                run.errors().filter_map(|error| error.kind.1.as_ref().or(error.kind.0.as_ref())).collect();
            let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
            let more = object(json!({
                "run_id": run.id,
                "started_at": run.start.map(stored),
                "failed_jobs": run.jobs.iter().filter(|job| job.is_failed).count(),
                "failed_tasks": run.tasks().filter(|task| task.is_failed).count(),
                "errors": run.errors().count(),
                "error_keys": (!names.is_empty()).then(|| names.join(", ")),
                "masked_in_all": masked.len(),
            }));
            and(self.named(run.connection), more)
        };
        masked.iter().take(limit.unwrap_or(usize::MAX)).map(row).collect()
    }

    pub fn retries(&self) -> Vec<Value> {
        let row = |connection| {
            let tasks = || self.runs_of(connection).flat_map(Run::tasks);
            let retried = || tasks().map(|task| task.retries).filter(|&retries| retries > 0);
            let is_retried = |run: &&Run| run.tasks().any(|task| task.retries > 0);
            let more = object(json!({
                "tasks": tasks().count(),
                "retried_runs": self.runs_of(connection).filter(is_retried).count(),
                "retried_tasks": retried().count(),
                "attempts": retried().sum::<i64>(),
                "most_attempts": retried().max().unwrap_or(0),
            }));
            and(self.named(connection), more)
        };
        let mut rows: Vec<Value> = self.connections().into_iter().map(row).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row["attempts"].as_u64()));
        rows
    }

    pub fn slowest(&self, limit: usize) -> Vec<Value> {
        let mut runs: Vec<&Run> = self.runs().filter(|run| run.duration.is_some()).collect();
        runs.sort_by_key(|run| (std::cmp::Reverse(run.duration), run.start, run.key));
        let row = |run: &&Run| {
            let more = object(json!({
                "run_id": run.id,
                "started_at": run.start.map(stored),
                "duration_ms": run.duration,
                "outcome": run.outcome,
            }));
            and(self.named(run.connection), more)
        };
        runs.iter().take(limit).map(row).collect()
    }

    pub fn unfinished(&self, as_of: Ticks, stuck_after_hours: i64, limit: Option<usize>) -> Vec<Value> {
        let mut runs: Vec<&Run> = self.chosen().filter(|run| run.outcome == "unfinished").collect();
        let label = |run: &Run| self.world.connections[run.connection].label.clone();
        runs.sort_by_key(|run| (run.start.is_none(), run.start, label(run), run.key));
        let age = |run: &Run| clock::milliseconds(run.start?, as_of);
        let is_stuck = |run: &&&Run| age(run).is_some_and(|age| age > stuck_after_hours * 3_600_000);
        let stuck = runs.iter().filter(is_stuck).count();
        let unlisted = runs.iter().filter(|run| run.is_unlisted).count();
        let row = |run: &&Run| {
            let more = object(json!({
                "run_id": run.id,
                "state": run.state,
                "started_at": run.start.map(stored),
                "age_ms": age(run),
                "is_stuck": i64::from(is_stuck(&run)),
                "is_unlisted": i64::from(run.is_unlisted),
                "unfinished_in_all": runs.len(),
                "stuck_in_all": stuck,
                "unlisted_in_all": unlisted,
            }));
            and(self.named(run.connection), more)
        };
        runs.iter().take(limit.unwrap_or(usize::MAX)).map(row).collect()
    }

    /// Goes through each connection's rated runs as they started; what began at one instant is one step, and a
    /// success outweighs the failures beside it.
    pub fn failing_streaks(&self, as_of: Ticks) -> Vec<Value> {
        let row = |connection: usize| {
            let mut steps: BTreeMap<Ticks, Vec<&Run>> = BTreeMap::new();
            for run in self.chosen().filter(|run| run.connection == connection && run.is_rated()) {
                if let Some(start) = run.start {
                    steps.entry(start).or_default().push(run);
                }
            }
            // Failures since the last success: how many, and since when.
            let mut failing: Option<(usize, Ticks)> = None;
            let mut streak = None;
            let mut last_success = None;
            let mut recoveries = Vec::new();
            for (&start, runs) in &steps {
                if runs.iter().any(|run| run.is_success()) {
                    if let Some((_, since)) = failing.take().filter(|_| self.asked.holds(start)) {
                        recoveries.push(clock::milliseconds(since, start).unwrap());
                    }
                    failing = None;
                    last_success = if start <= as_of { Some(start) } else { last_success };
                } else {
                    let (count, since) = failing.unwrap_or((0, start));
                    failing = Some((count + runs.len(), since));
                }
                streak = if start <= as_of { failing } else { streak };
            }
            let sum: i64 = recoveries.iter().sum();
            let mean = sum.checked_div(recoveries.len() as i64);
            let more = object(json!({
                "failures": streak.map_or(0, |(count, _)| count),
                "failing_since": streak.map(|(_, since)| stored(since)),
                "last_success_at": last_success.map(stored),
                "since_last_success_ms": last_success.and_then(|at| clock::milliseconds(at, as_of)),
                "recoveries": recoveries.len(),
                "mean_time_to_recovery_ms": mean,
                "recovery_ms_in_all": sum,
            }));
            and(self.named(connection), more)
        };
        let mut rows: Vec<Value> = self.connections().into_iter().map(row).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row["failures"].as_u64()));
        rows
    }

    pub fn activity(&self, offsets: &[(Option<Ticks>, i64)]) -> Vec<Value> {
        let mut hours: BTreeMap<(i64, i64), Vec<&Run>> = BTreeMap::new();
        for run in self.runs() {
            let start = run.start.unwrap();
            let ahead =
                offsets.iter().rfind(|(since, _)| since.is_none_or(|since| start >= since)).unwrap().1;
            let local = start + ahead * 60 * SECOND;
            // 1970 began with a Thursday.
            let weekday = (local.div_euclid(DAY) + 3).rem_euclid(7) + 1;
            hours.entry((weekday, local.rem_euclid(DAY) / HOUR)).or_default().push(run);
        }
        let row = |((weekday, hour), runs): ((i64, i64), Vec<&Run>)| {
            let rate = rate(runs);
            json!({
                "weekday": weekday,
                "hour": hour,
                "runs": rate["runs"],
                "failed": rate["failed"],
                "rated": rate["rated"],
                "failure_rate": rate["failure_rate"],
            })
        };
        hours.into_iter().map(row).collect()
    }

    /// Of an archive that was never filled by a walk.
    pub fn coverage(&self) -> Vec<Value> {
        let row = |connection: usize| {
            let runs = || self.chosen().filter(move |run| run.connection == connection);
            let more = object(json!({
                "runs": runs().count(),
                "oldest_started_at": runs().filter_map(|run| run.start).min().map(stored),
                "newest_started_at": runs().filter_map(|run| run.start).max().map(stored),
                "complete_as_of": null,
                "unfinished": runs().filter(|run| run.outcome == "unfinished").count(),
                "unlisted": runs().filter(|run| run.is_unlisted).count(),
                "without_start": runs().filter(|run| run.start.is_none()).count(),
                "rejects": self.world.connections[connection].rejects,
                "gaps": 0,
                "last_problem": null,
                "unlisted_at": null,
                "clock_ahead_at": null,
                "pruned": 0,
                "pruned_before": null,
                "pruned_at": null,
                // Keys are given in the order of storing.
                "connection_key": connection + 1,
            }));
            and(self.named(connection), more)
        };
        self.connections().into_iter().map(row).collect()
    }
}
