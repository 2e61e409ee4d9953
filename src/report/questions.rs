//! The questions of one report, put to one database.
//!
//! In: what is asked. Out: figures, each read from a row of a query of `queries/`. A row that holds more than
//! its figure is read twice: as the figure, and as what stands beside it.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::asked::Asked;
use super::compare::{add, compare, direct, is_https, with_interval};
use super::figures::*;
use super::statistics::largest_discovery;
use crate::query::{Catalog, Database, Error, Value};
use crate::time::UtcText;
use crate::time::period::Period;
use crate::time::zone::Step;

/// Weeks of the trend.
pub(super) const WEEKS: usize = 12;
/// A longer period is cut into weeks: more days would not fit beside each other on a page.
const MOST_DAYS: usize = 62;
/// Rows of a list of runs; the named query gives them all.
const LISTED: i64 = 20;
/// Rows of each list of errors.
const LISTED_ERRORS: usize = 50;

pub(super) type Rows<T> = Result<Vec<T>, Error>;
pub(super) type Parameters = Vec<(&'static str, Value)>;

/// What tells a connection from every other: one id may be that of several, each of another kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct ConnectionKey {
    kind: String,
    #[serde(rename = "connection_id")]
    id: String,
}

impl ConnectionKey {
    fn new(kind: &str, id: &str) -> Self {
        Self { kind: kind.to_owned(), id: id.to_owned() }
    }
}

impl ConnectionRate {
    fn key(&self) -> ConnectionKey {
        ConnectionKey::new(&self.kind, &self.connection_id)
    }
}

/// The names of connections that were asked for as `kind:id`.
pub(super) fn names(asked: &[String], coverage: &Coverage) -> Vec<String> {
    let key = |known: &ConnectionCoverage| format!("{}:{}", known.kind, known.connection_id);
    let known: HashMap<String, &String> =
        coverage.connections.iter().map(|known| (key(known), &known.connection)).collect();
    asked.iter().map(|asked| known.get(asked).map_or_else(|| asked.clone(), |&name| name.clone())).collect()
}

/// The errors of the period, and those that are new, back or gone.
pub(super) struct AskedErrors {
    pub(super) errors: Errors,
    pub(super) changes: Changes,
}

/// The questions of one report.
pub(super) struct Questions<'a> {
    pub(super) database: &'a Database,
    pub(super) catalog: Catalog,
    pub(super) asked: &'a Asked,
}

impl Questions<'_> {
    pub(super) fn read<T: DeserializeOwned>(&self, name: &'static str, parameters: Parameters) -> Rows<T> {
        let query = self.catalog.find(name).ok_or(Error::NoQuery(name))?;
        self.database.read(query, &parameters)
    }

    /// `:connection`, for every query that takes it.
    pub(super) fn chosen(&self) -> Parameters {
        let asked = &self.asked.connections;
        if asked.is_empty() {
            return Vec::new();
        }
        vec![("connection", text(&serde_json::json!(asked).to_string()))]
    }

    fn of(&self, period: Period) -> Parameters {
        let mut parameters = self.chosen();
        parameters.extend([("since", text(period.since.as_str())), ("until", text(period.until.as_str()))]);
        parameters
    }

    fn with<const N: usize>(&self, period: Period, more: [(&'static str, Value); N]) -> Parameters {
        let mut parameters = self.of(period);
        parameters.extend(more);
        parameters
    }

    /// `:bounds` and what is told between them, and the connections.
    fn cut(&self, bounds: &[UtcText], by: &str) -> Parameters {
        let bounds: Vec<&str> = bounds.iter().map(UtcText::as_str).collect();
        let mut parameters = self.chosen();
        parameters.push(("bounds", text(&serde_json::json!(bounds).to_string())));
        parameters.push(("by", text(by)));
        parameters
    }

    pub(super) fn connections(&self) -> Rows<ConnectionRate> {
        #[derive(Deserialize)]
        struct Called {
            connection: String,
        }
        let now: Vec<(Called, ConnectionKey, Rate)> =
            self.read("failure-rates", self.of(self.asked.period))?;
        let before: Vec<(ConnectionKey, Rate)> =
            self.read("failure-rates", self.of(self.asked.compared_with))?;
        let mut before: HashMap<ConnectionKey, Rate> = before.into_iter().collect();
        let rates = now.into_iter().map(|(called, key, rate)| ConnectionRate {
            connection: called.connection,
            rate: compare(with_interval(rate), with_interval(before.remove(&key).unwrap_or_default())),
            connection_id: key.id,
            kind: key.kind,
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

    pub(super) fn errors(&self) -> Result<AskedErrors, Error> {
        let changed = self.changed_errors()?;
        let by_name: HashMap<_, _> = changed
            .iter()
            .map(|(error, beside)| ((&error.error_code, &error.description_key), beside))
            .collect();
        let mut errors = Errors::default();
        let rows: Vec<(ErrorCode, WhoCanFix)> = self.read("error-codes", self.of(self.asked.period))?;
        for (error, WhoCanFix { can_user_fix }) in rows {
            let list = match can_user_fix {
                Some(true) => &mut errors.users,
                Some(false) => &mut errors.system,
                None => &mut errors.unknown,
            };
            // The rows come with the most runs first, so those that are left out hit the fewest.
            if list.len() == LISTED_ERRORS {
                errors.not_shown += 1;
                continue;
            }
            let beside = by_name.get(&(&error.error_code, &error.description_key));
            list.push(ErrorCode {
                runs_before: beside.map_or(0, |beside| beside.runs_before),
                novelty: match beside.map(|beside| beside.change) {
                    Some(ErrorMove::New) => Novelty::New,
                    Some(ErrorMove::Returned) => Novelty::Returned,
                    Some(ErrorMove::Known | ErrorMove::Gone) | None => Novelty::Known,
                },
                kb_article_link: error.kb_article_link.filter(|link| is_https(link)),
                ..error
            });
        }
        let of = |wanted| {
            let found = changed.iter().filter(|(_, beside)| beside.change == wanted);
            found.map(|(error, _)| error.clone()).collect()
        };
        let changes = Changes {
            new_errors: of(ErrorMove::New),
            returned_errors: of(ErrorMove::Returned),
            gone_errors: of(ErrorMove::Gone),
            ..Changes::default()
        };
        Ok(AskedErrors { errors, changes })
    }

    fn changed_errors(&self) -> Rows<(ErrorChange, BesideErrorChange)> {
        let before = self.asked.compared_with;
        let compared = self.with(
            self.asked.period,
            [("compare_since", text(before.since.as_str())), ("compare_until", text(before.until.as_str()))],
        );
        let mut rows: Vec<(ErrorChange, BesideErrorChange)> = self.read("error-changes", compared)?;
        // What is gone has no runs in the period: those before are told.
        for (error, beside) in rows.iter_mut().filter(|(_, beside)| beside.change == ErrorMove::Gone) {
            error.runs = beside.runs_before;
            error.connections = beside.connections_before;
        }
        Ok(rows)
    }

    pub(super) fn failing(&self) -> Result<Failing, Error> {
        #[derive(Deserialize)]
        struct Recovered {
            recoveries: u64,
            recovery_ms_in_all: i64,
        }
        let as_of = [("as_of", text(self.asked.as_of.as_str()))];
        let rows: Vec<(Streak, Recovered)> =
            self.read("failing-streaks", self.with(self.asked.period, as_of))?;
        let recoveries = rows.iter().map(|(_, beside)| beside.recoveries).sum();
        let recovery_ms: i64 = rows.iter().map(|(_, beside)| beside.recovery_ms_in_all).sum();
        let streaks = rows.into_iter().map(|(streak, _)| streak);
        Ok(Failing {
            streaks: streaks.filter(|streak| streak.failures > 0).collect(),
            recoveries,
            mean_time_to_recovery_ms: recovery_ms.checked_div(recoveries.cast_signed()),
        })
    }

    pub(super) fn timing(&self) -> Result<Timing, Error> {
        Ok(Timing {
            runs: self.percentiles_of_all("run")?,
            jobs: self.percentiles_of_all("job")?,
            tasks: self.percentiles_of_all("task")?,
            queue: self.percentiles_of_all("queue")?,
            runs_by_connection: self.percentiles_by_connection("run")?,
            queue_by_connection: self.percentiles_by_connection("queue")?,
        })
    }

    fn percentiles<T: DeserializeOwned>(&self, of: &str, by: &str) -> Result<[Vec<T>; 2], Error> {
        let in_period =
            |period| self.read("durations", self.with(period, [("of", text(of)), ("by", text(by))]));
        Ok([in_period(self.asked.period)?, in_period(self.asked.compared_with)?])
    }

    fn percentiles_of_all(&self, of: &str) -> Result<ComparedPercentiles, Error> {
        let [now, before] = self.percentiles(of, "all")?;
        Ok(ComparedPercentiles { now: now.into_iter().next(), before: before.into_iter().next() })
    }

    fn percentiles_by_connection(
        &self,
        of: &str,
    ) -> Result<HashMap<ConnectionKey, ComparedPercentiles>, Error> {
        let [now, before] = self.percentiles::<(ConnectionKey, Percentiles)>(of, "connection")?;
        let mut found: HashMap<ConnectionKey, ComparedPercentiles> = HashMap::new();
        for (key, percentiles) in now {
            found.entry(key).or_default().now = Some(percentiles);
        }
        for (key, percentiles) in before {
            found.entry(key).or_default().before = Some(percentiles);
        }
        Ok(found)
    }

    pub(super) fn retries(&self) -> Result<Retries, Error> {
        #[derive(Deserialize)]
        struct AllTasks {
            tasks: u64,
        }
        let now: Vec<(ConnectionRetries, AllTasks)> = self.read("retries", self.of(self.asked.period))?;
        let before: Vec<ConnectionRetries> = self.read("retries", self.of(self.asked.compared_with))?;
        let tasks = now.iter().map(|(_, beside)| beside.tasks).sum();
        let now: Vec<ConnectionRetries> = now.into_iter().map(|(retries, _)| retries).collect();
        Ok(Retries {
            tasks,
            retried_tasks: now.iter().map(|row| row.retried_tasks).sum(),
            attempts: now.iter().map(|row| row.attempts).sum(),
            runs: now.iter().map(|row| row.runs).sum(),
            attempts_before: before.iter().map(|row| row.attempts).sum(),
            by_connection: now.into_iter().filter(|row| row.attempts > 0).collect(),
        })
    }

    pub(super) fn slowest(&self) -> Rows<SlowRun> {
        let limit = [("limit", Value::Integer(LISTED / 2))];
        self.read("slowest-runs", self.with(self.asked.period, limit))
    }

    pub(super) fn unfinished(&self) -> Result<Unfinished, Error> {
        let mut parameters = self.chosen();
        parameters.push(("as_of", text(self.asked.as_of.as_str())));
        parameters.push(("limit", Value::Integer(LISTED)));
        // Every row tells how many there are, whatever the limit.
        let rows: Vec<(UnfinishedRun, Unfinished)> = self.read("unfinished-runs", parameters)?;
        let (oldest, in_all): (Vec<UnfinishedRun>, Vec<Unfinished>) = rows.into_iter().unzip();
        Ok(Unfinished { oldest, ..in_all.into_iter().next().unwrap_or_default() })
    }

    pub(super) fn masked(&self, succeeded: u64) -> Result<Masked, Error> {
        #[derive(Deserialize)]
        struct InAll {
            masked_in_all: u64,
        }
        let of = |period, limit| -> Rows<(MaskedRun, InAll)> {
            self.read("masked-failures", self.with(period, [("limit", Value::Integer(limit))]))
        };
        let in_all = |rows: &[(MaskedRun, InAll)]| rows.first().map_or(0, |(_, beside)| beside.masked_in_all);
        let now = of(self.asked.period, LISTED)?;
        let before = of(self.asked.compared_with, 1)?;
        Ok(Masked {
            runs: in_all(&now),
            succeeded,
            runs_before: in_all(&before),
            newest: now.into_iter().map(|(run, _)| run).collect(),
        })
    }

    pub(super) fn weeks(&self) -> Rows<Week> {
        #[derive(Deserialize)]
        struct Begins {
            since: UtcText,
        }
        let Asked { period, zone, .. } = self.asked;
        let bounds = period.weeks_until(zone, WEEKS);
        let rates: Vec<(Begins, Rate)> = self.read("failure-rates", self.cut(&bounds, "week"))?;
        let durations: Vec<(Begins, Percentiles)> = self.read("durations", self.cut(&bounds, "week"))?;
        let durations: HashMap<UtcText, Percentiles> =
            durations.into_iter().map(|(week, percentiles)| (week.since, percentiles)).collect();
        let week = |((begins, rate), bounds): ((Begins, Rate), &[UtcText])| Week {
            period: Period { since: bounds[0], until: bounds[1] },
            durations: durations.get(&begins.since).copied(),
            rate: with_interval(rate),
        };
        Ok(rates.into_iter().zip(bounds.windows(2)).map(week).collect())
    }

    pub(super) fn buckets(&self, connections: &[ConnectionRate]) -> Result<Buckets, Error> {
        let Asked { period, zone, .. } = self.asked;
        let days = zone.bounds(&period.since, &period.until, Step::Day);
        let (unit, bounds) = match days.len() - 1 {
            0..=MOST_DAYS => (Step::Day, days),
            _ => (Step::Week, zone.bounds(&period.since, &period.until, Step::Week)),
        };
        let rows: Vec<(ConnectionKey, Rate)> =
            self.read("failure-rates", self.cut(&bounds, "connection-day"))?;
        let mut all = vec![Rate::default(); bounds.len() - 1];
        let mut cells: HashMap<ConnectionKey, Vec<Rate>> = HashMap::new();
        for (key, rate) in rows {
            // Each connection has a row for every bucket, in their order: how many came says which bucket it
            // is.
            let cells = cells.entry(key).or_default();
            if let Some(sum) = all.get_mut(cells.len()) {
                *sum = add(*sum, rate);
            }
            cells.push(with_interval(rate));
        }

        let bucket = |(bounds, rate): (&[UtcText], Rate)| Bucket {
            period: Period { since: bounds[0], until: bounds[1] },
            rate,
        };
        let row = |connection: &ConnectionRate| GridRow {
            connection: connection.connection.clone(),
            connection_id: connection.connection_id.clone(),
            kind: connection.kind.clone(),
            cells: cells.remove(&connection.key()).unwrap_or_default(),
        };
        Ok(Buckets {
            unit,
            all: bounds.windows(2).zip(all).map(bucket).collect(),
            by_connection: connections.iter().map(row).collect(),
        })
    }

    /// What is dated later was written while the clock was ahead. A report of now knows what now is. One that
    /// looks back cannot ask a clock, or its bytes would change: it takes the end of the last sync, which is
    /// the last by order.
    fn latest_possible(&self, last_sync_ended_at: Option<Option<UtcText>>) -> UtcText {
        let as_of = self.asked.as_of;
        match last_sync_ended_at.unwrap_or(Some(as_of)) {
            _ if self.asked.is_of_now => as_of,
            Some(last) => as_of.max(last),
            None => UtcText::MAX,
        }
    }

    pub(super) fn coverage(&self) -> Result<Coverage, Error> {
        #[derive(Deserialize)]
        struct Ended {
            ended_at: Option<UtcText>,
        }
        let Asked { period, compared_with, .. } = self.asked;
        let mut gaps: Vec<Gap> = self.read("gaps", self.chosen())?;
        for gap in &mut gaps {
            gap.touches_period = [period, compared_with]
                .iter()
                .any(|period| gap.until > period.since && gap.after < period.until);
        }
        let mut drift: Vec<DriftNote> = self.read("drift", Vec::new())?;
        for note in &mut drift {
            note.is_new = note.first_seen_at >= period.since;
        }
        let syncs: Vec<(LastSync, Ended)> = self.read("syncs", vec![("limit", Value::Integer(1))])?;
        let latest = self.latest_possible(syncs.first().map(|(_, beside)| beside.ended_at));
        let mut chosen = self.chosen();
        chosen.push(("as_of", text(latest.as_str())));
        let rows: Vec<(ConnectionCoverage, BesideCoverage)> = self.read("coverage", chosen)?;
        Ok(Coverage {
            pruned: pruned(&rows, &[*period, *compared_with]),
            rejects: rows.iter().map(|(connection, _)| connection.rejects).sum(),
            runs_without_start: rows.iter().map(|(_, beside)| beside.without_start).sum(),
            connections: rows.into_iter().map(|(connection, _)| connection).collect(),
            gaps,
            drift,
            last_sync: syncs.into_iter().next().map(|(sync, _)| sync),
        })
    }
}

/// Who can act on an error: the platform says so, or nothing.
#[derive(Deserialize)]
struct WhoCanFix {
    can_user_fix: Option<bool>,
}

/// What stands beside an error that is compared.
#[derive(Deserialize)]
struct BesideErrorChange {
    change: ErrorMove,
    runs_before: u64,
    connections_before: u64,
}

/// How an error compares with the period before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ErrorMove {
    New,
    Returned,
    Known,
    Gone,
}

/// What stands beside a connection's coverage.
#[derive(Deserialize)]
struct BesideCoverage {
    without_start: u64,
    pruned_before: Option<UtcText>,
    pruned_at: Option<UtcText>,
}

/// What was pruned of all connections, if anything was.
fn pruned(rows: &[(ConnectionCoverage, BesideCoverage)], periods: &[Period]) -> Option<Pruned> {
    let before = rows.iter().filter_map(|(_, beside)| beside.pruned_before).max()?;
    Some(Pruned {
        runs: rows.iter().map(|(connection, _)| connection.pruned).sum(),
        before,
        pruned_at: rows.iter().filter_map(|(_, beside)| beside.pruned_at).max()?,
        touches_period: periods.iter().any(|period| period.since < before),
    })
}

/// How long things took, before it is known in which order connections are told.
pub(super) struct Timing {
    runs: ComparedPercentiles,
    jobs: ComparedPercentiles,
    tasks: ComparedPercentiles,
    queue: ComparedPercentiles,
    runs_by_connection: HashMap<ConnectionKey, ComparedPercentiles>,
    queue_by_connection: HashMap<ConnectionKey, ComparedPercentiles>,
}

impl Timing {
    pub(super) fn in_order_of(self, connections: &[ConnectionRate]) -> Durations {
        let of = |connection: &ConnectionRate| ConnectionDurations {
            connection: connection.connection.clone(),
            connection_id: connection.connection_id.clone(),
            kind: connection.kind.clone(),
            runs: self.runs_by_connection.get(&connection.key()).copied().unwrap_or_default(),
            queue: self.queue_by_connection.get(&connection.key()).copied().unwrap_or_default(),
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

pub(super) fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}
