//! The report as plain figures, each with its denominator: what every format renders and none computes.
//!
//! The names of the fields are those of `--format json` and a contract: new ones may come, none is
//! renamed. Times are UTC; lengths of time are milliseconds (`_ms`), rates and shares go from 0 to 1. A
//! figure that cannot be told is absent (`null`), never 0.
//! A figure's `connection` is the name of its connection, or the id where it has none, and `kind` is `export`,
//! `storage` or `manifest`; where `connection` may be absent, the figure is of all connections together.
//!
//! Where a query of `queries/` has a row for a figure, the figure is read from that row: its fields are the
//! columns, and `default` stands at what is found out afterwards. So a report's JSON can be read back, too.

mod incidents;

pub(crate) use incidents::*;

use serde::{Deserialize, Serialize};

use crate::time::UtcText;
use crate::time::period::Period;
use crate::time::zone::{Step, Zone};

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The instant it was made for: ages are counted to it.
    pub as_of: UtcText,
    pub zone: Zone,
    pub period: Period,
    pub compared_with: Period,
    /// What is usual is told by it.
    pub baseline: Period,
    /// The connections it is restricted to; empty: all that are archived.
    pub restricted_to: Vec<String>,
    /// A rate from fewer rated runs raises no alarm.
    pub min_runs: u64,
    pub verdict: Verdict,
    /// What is improbable against what each connection usually does: what lasts first.
    #[serde(default)]
    pub incidents: Vec<Incident>,
    /// How each connection does, those with incidents first.
    #[serde(default)]
    pub states: Vec<ConnectionState>,
    /// What failed against what was to be expected.
    #[serde(default)]
    pub expected: Expected,
    pub changes: Changes,
    pub total: ComparedRate,
    /// By connection, the worst first: by failed runs, then by name.
    pub connections: Vec<ConnectionRate>,
    /// Connections that fail now, and how long recovering took.
    pub failing: Failing,
    /// Errors of the period by who can act.
    pub errors: Errors,
    /// How long runs, jobs and tasks took, and how long runs waited.
    pub durations: Durations,
    pub retries: Retries,
    /// The longest runs of the period, the longest first.
    pub slowest: Vec<SlowRun>,
    /// Runs that are not terminal, whenever they started.
    pub unfinished: Unfinished,
    /// Runs of the period that say Success although something below them failed.
    pub masked: Masked,
    /// The twelve weeks that end with the period, the oldest first.
    pub weeks: Vec<Week>,
    /// The period in days, or in weeks where it is long.
    pub buckets: Buckets,
    /// How far the figures can be trusted.
    pub coverage: Coverage,
}

/// The whole in one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// The line: runs, failure rate, change, freshness. `render` words it, and only for `--format json` does
    /// it stand among the figures.
    pub text: Option<String>,
    /// Whether there is anything to do, in a word: `act`, `look`, `wait`, `unsure`, `over` or `quiet`; absent where
    /// nothing is archived.
    #[serde(default)]
    pub attention: Option<Attention>,
    /// What there is to do, in at most two lines; worded by `render`, as `text`.
    #[serde(default)]
    pub headline: Option<String>,
    pub direction: Direction,
    /// When everything listed was last known to be archived, for the connection where this is longest
    /// ago; absent where that was never so for one of them, or nothing is archived.
    pub complete_as_of: Option<UtcText>,
    /// Whether that is not before the end of the period.
    pub is_period_covered: bool,
    /// Rates above `--fail-over`.
    pub alarms: Vec<Alarm>,
}

/// Whether there is anything to do, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Attention {
    /// Something lasts that users can fix.
    Act,
    /// Something lasts, and nobody said who can fix it.
    Look,
    /// What lasts is the platform's.
    Wait,
    /// Nothing is known to be wrong, but the period is not archived whole.
    Unsure,
    /// Something was wrong in the period and is over.
    Over,
    /// Nothing.
    Quiet,
}

/// How a figure moved. Better and worse are said only where a test supports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// Supported: fewer failures, shorter.
    Better,
    /// Supported: more failures, longer.
    Worse,
    /// Not supported by a test.
    NoClearChange,
    /// One side has nothing to compare.
    NotComparable,
}

/// A rate above `--fail-over` from at least `min_runs` rated runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alarm {
    pub connection: Option<String>,
    pub connection_id: Option<String>,
    pub kind: Option<String>,
    pub failure_rate: f64,
    pub threshold: f64,
}

/// How runs came out, and what a failure rate stands on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    /// Runs that started in the period.
    pub runs: u64,
    pub succeeded: u64,
    pub partly_succeeded: u64,
    /// `Error` or `TimedOut`.
    pub failed: u64,
    /// Shown, not rated.
    pub canceled: u64,
    /// Shown, not rated.
    pub skipped: u64,
    /// A result that says nothing; not rated.
    pub undetermined: u64,
    /// Not terminal yet; not rated.
    pub unfinished: u64,
    /// The denominator: succeeded + partly succeeded + failed.
    pub rated: u64,
    /// failed / rated; absent where nothing is rated.
    pub failure_rate: Option<f64>,
    /// The 95 % Wilson interval of the rate.
    pub interval: Option<Interval>,
}

/// From low to high, both between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    pub low: f64,
    pub high: f64,
}

/// A rate beside the one of the period before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct ComparedRate {
    pub now: Rate,
    pub before: Rate,
    /// Now minus before; 0.05 is five percentage points.
    pub difference: Option<f64>,
    /// Two-sided, of Fisher's exact test.
    pub p_value: Option<f64>,
    pub direction: Direction,
}

/// One connection's rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConnectionRate {
    pub connection: String,
    pub connection_id: String,
    pub kind: String,
    /// Its rate and the one before.
    #[serde(flatten)]
    pub rate: ComparedRate,
}

/// What is different from before.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// Connections whose failure rate rose, where a test supports it.
    pub newly_failing: Vec<ConnectionRate>,
    /// Connections whose failure rate fell, where a test supports it.
    pub recovered: Vec<ConnectionRate>,
    /// Errors that never occurred before the period.
    pub new_errors: Vec<ErrorChange>,
    /// Errors that did not occur in the period compared with, but earlier.
    pub returned_errors: Vec<ErrorChange>,
    /// Errors of the period compared with that did not occur in this one.
    pub gone_errors: Vec<ErrorChange>,
    /// Durations whose median moved by a quarter or more, and so that the 95 % intervals do not meet.
    pub durations: Vec<DurationChange>,
}

/// An error that is new, back, or gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ErrorChange {
    /// Such as `TAE_BRW_1000`.
    pub error_code: Option<String>,
    /// The stable key, such as `FailedToExport`.
    pub description_key: Option<String>,
    /// Runs that had it: in the period, or in the one before if it is gone.
    pub runs: u64,
    /// Connections that had it then.
    pub connections: u64,
    /// The newest run that had it before the period.
    pub last_seen_before: Option<UtcText>,
}

/// A median that moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DurationChange {
    pub connection: Option<String>,
    pub connection_id: Option<String>,
    pub kind: Option<String>,
    pub level: Timed,
    pub now_ms: i64,
    pub before_ms: i64,
    /// Longer or shorter.
    pub direction: Direction,
}

/// What a median that moved is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Timed {
    /// Runs, from start to end.
    Run,
    /// Runs, from start to the start of the first job.
    Queue,
}

/// Connections that fail now, and how long recovering took.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failing {
    /// Connections whose newest rated runs failed, the longest streak first.
    pub streaks: Vec<Streak>,
    /// Recoveries in the period: a success after at least one failure of the same connection.
    pub recoveries: u64,
    /// The mean time over these, from the start of the first failure to the start of the success.
    pub mean_time_to_recovery_ms: Option<i64>,
}

/// A connection whose newest rated runs failed one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Streak {
    pub connection: String,
    pub connection_id: String,
    pub kind: String,
    /// How many failed runs in a row, up to now.
    pub failures: u64,
    /// When the first of them started; absent only of connections that do not fail, which are no streak.
    pub failing_since: Option<UtcText>,
    /// When the last run that succeeded, at least partly, started; absent: none ever did.
    pub last_success_at: Option<UtcText>,
    /// From then to `as_of`.
    pub since_last_success_ms: Option<i64>,
}

/// Errors of the period by who can act.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Errors {
    /// `canUserFix` is true: the team can act.
    pub users: Vec<ErrorCode>,
    /// `canUserFix` is false: the platform has to.
    pub system: Vec<ErrorCode>,
    pub unknown: Vec<ErrorCode>,
    /// Rows that were left out of each list because it is long; 0 where all are shown.
    pub not_shown: u64,
}

/// One error, by code and key, the most runs first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ErrorCode {
    /// Such as `TAE_BRW_1000`.
    pub error_code: Option<String>,
    /// The stable key, such as `FailedToExport`.
    pub description_key: Option<String>,
    /// Lower case, such as `exporter`.
    pub system: Option<String>,
    /// Such as `export_file`.
    pub phase: Option<String>,
    /// Such as `other`.
    pub category: Option<String>,
    /// The text of its newest occurrence in the period.
    pub description: Option<String>,
    /// The help article, only where it is an https link.
    pub kb_article_link: Option<String>,
    /// Tasks that carried it in the period.
    pub tasks: u64,
    pub runs: u64,
    /// Runs that had it in the period compared with.
    #[serde(default)]
    pub runs_before: u64,
    pub connections: u64,
    /// Start of the first run of the period that had it.
    pub first_seen: UtcText,
    /// Start of the last one.
    pub last_seen: UtcText,
    #[serde(default)]
    pub novelty: Novelty,
}

/// Whether an error occurred before.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Novelty {
    New,
    /// Not in the period compared with, but earlier.
    Returned,
    /// In the period compared with.
    #[default]
    Known,
}

/// Values at nearest ranks: each occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub count: u64,
    pub p50_ms: i64,
    /// The lower end of its 95 % interval, from order statistics; absent of fewer than eight values.
    pub p50_low_ms: Option<i64>,
    pub p50_high_ms: Option<i64>,
    /// 90 % are not longer.
    pub p90_ms: i64,
    /// 95 % are not longer.
    pub p95_ms: i64,
    /// 99 % are not longer.
    pub p99_ms: i64,
    pub max_ms: i64,
}

/// Percentiles beside those of the period before; absent where there is no value.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ComparedPercentiles {
    pub now: Option<Percentiles>,
    pub before: Option<Percentiles>,
}

/// How long things took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Durations {
    /// Runs, from start to end.
    pub runs: ComparedPercentiles,
    pub jobs: ComparedPercentiles,
    pub tasks: ComparedPercentiles,
    /// From a run's start to its first job's start.
    pub queue: ComparedPercentiles,
    /// Runs and queue by connection, in the order of `connections`.
    pub by_connection: Vec<ConnectionDurations>,
}

/// How long one connection's runs took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConnectionDurations {
    pub connection: String,
    pub connection_id: String,
    pub kind: String,
    pub runs: ComparedPercentiles,
    /// From a run's start to its first job's start.
    pub queue: ComparedPercentiles,
}

/// How often tasks were tried again.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Retries {
    pub tasks: u64,
    pub retried_tasks: u64,
    pub attempts: u64,
    /// Runs with a task that was tried more than once.
    pub runs: u64,
    pub attempts_before: u64,
    /// Connections with retries, the most attempts first.
    pub by_connection: Vec<ConnectionRetries>,
}

/// One connection's retries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConnectionRetries {
    pub connection: String,
    pub connection_id: String,
    pub kind: String,
    pub retried_tasks: u64,
    pub attempts: u64,
    /// Runs with such a task.
    #[serde(alias = "retried_runs")]
    pub runs: u64,
}

/// A long run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SlowRun {
    pub connection: String,
    pub connection_id: String,
    pub kind: String,
    pub run_id: String,
    pub started_at: UtcText,
    pub duration_ms: i64,
    /// The word for how it came out: `succeeded`, `failed` and so on.
    pub outcome: String,
}

/// Runs that are not terminal.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Unfinished {
    #[serde(alias = "unfinished_in_all")]
    pub runs: u64,
    /// Of these, older than a day.
    #[serde(alias = "stuck_in_all")]
    pub stuck: u64,
    /// Of these, no longer listed by the platform: nobody will ever know how they ended.
    #[serde(alias = "unlisted_in_all")]
    pub unlisted: u64,
    /// When the platform last answered about the one that it answered about longest ago.
    pub oldest_answer_at: Option<UtcText>,
    /// From then to `as_of`.
    pub oldest_answer_age_ms: Option<i64>,
    /// The oldest ones, the oldest first.
    #[serde(default)]
    pub oldest: Vec<UnfinishedRun>,
}

/// A run that is not terminal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UnfinishedRun {
    pub connection: String,
    pub connection_id: String,
    pub kind: String,
    pub run_id: String,
    pub state: Option<String>,
    pub started_at: Option<UtcText>,
    /// From then to `as_of`.
    pub age_ms: Option<i64>,
    pub is_stuck: bool,
    /// No longer listed by the platform.
    pub is_unlisted: bool,
    /// When the platform last answered about it.
    pub answered_at: Option<UtcText>,
}

/// Runs that say Success although a job or task in them failed or carries an error.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Masked {
    pub runs: u64,
    /// Of so many that succeeded.
    pub succeeded: u64,
    /// How many in the period compared with.
    pub runs_before: u64,
    /// The newest ones, the newest first.
    pub newest: Vec<MaskedRun>,
}

/// A run that says Success although something below it failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MaskedRun {
    pub connection: String,
    pub connection_id: String,
    pub kind: String,
    pub run_id: String,
    pub started_at: UtcText,
    pub failed_jobs: u64,
    pub failed_tasks: u64,
    /// Tasks that carry an error.
    pub errors: u64,
    /// The keys (or codes) of these errors, comma-separated; absent where no task carries one.
    pub error_keys: Option<String>,
}

/// One of the twelve weeks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Week {
    pub period: Period,
    pub rate: Rate,
    pub durations: Option<Percentiles>,
}

/// The period cut into days or weeks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Buckets {
    /// Days, or weeks where the period is longer than 62 days.
    pub unit: Step,
    /// All connections together, the oldest first.
    pub all: Vec<Bucket>,
    /// In the order of `connections`, each with as many cells as `all`.
    pub by_connection: Vec<GridRow>,
}

/// A day or week of the period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    /// When; the first and the last may be cut by the period.
    pub period: Period,
    pub rate: Rate,
}

/// One connection's days or weeks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GridRow {
    pub connection: String,
    pub connection_id: String,
    pub kind: String,
    pub cells: Vec<Rate>,
}

/// How far the figures can be trusted.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Coverage {
    pub connections: Vec<ConnectionCoverage>,
    /// Times in which runs may have come and gone unseen, the newest first.
    pub gaps: Vec<Gap>,
    /// Records that could not be read as runs.
    pub rejects: u64,
    /// Runs without a start: in no period.
    pub runs_without_start: u64,
    /// What the platform sent and this program did not know, the newest first.
    pub drift: Vec<DriftNote>,
    pub last_sync: Option<LastSync>,
    /// What `archive prune` took out; absent where it took none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned: Option<Pruned>,
}

/// Runs that `archive prune` took out: no figure counts them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pruned {
    pub runs: u64,
    pub before: UtcText,
    /// When the last of them went.
    pub pruned_at: UtcText,
    /// Whether the period, or the one compared with, begins before that.
    pub touches_period: bool,
}

/// A field, a value or a type that the platform sent and this program did not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DriftNote {
    /// `run`, `job`, `task` or `error`.
    pub object: String,
    pub field: String,
    /// `field`: it is new; `value`: it has a new value; `type`: it came as another type;
    /// `volatile`: its URLs differ in every answer, in their query alone.
    pub what: String,
    /// The new value, or its type; empty for a new field.
    pub value: String,
    pub first_seen_at: UtcText,
    /// Archived runs that carried it.
    pub runs: u64,
    pub connection: String,
    pub run_id: String,
    /// Whether it was first archived in the period or since.
    #[serde(default)]
    pub is_new: bool,
}

/// What is archived of a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConnectionCoverage {
    pub connection: String,
    pub connection_id: String,
    pub kind: String,
    pub runs: u64,
    pub oldest_started_at: Option<UtcText>,
    pub newest_started_at: Option<UtcText>,
    /// When the last complete walk began: everything listed then is archived. Absent: never walked whole.
    pub complete_as_of: Option<UtcText>,
    /// Archived runs that are not terminal.
    pub unfinished: u64,
    /// Archived runs that the platform no longer lists.
    pub unlisted: u64,
    pub rejects: u64,
    pub gaps: u64,
    /// Why the last walk was not complete, if it was not.
    pub last_problem: Option<String>,
    /// When the platform first said that the connection does not exist.
    pub unlisted_at: Option<UtcText>,
    /// Runs that `archive prune` took out; absent where it took none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub pruned: u64,
    /// What the last complete walk is dated, where that is to come: the clock was wrong when it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_ahead_at: Option<UtcText>,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A time in which runs may have come and gone unseen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gap {
    pub connection: String,
    pub connection_id: String,
    pub kind: String,
    /// Start of the newest run archived before.
    pub after: UtcText,
    /// Start of the oldest run listed then.
    pub until: UtcText,
    pub noticed_at: UtcText,
    /// Whether it lies in the period or the one compared with, at least in part.
    #[serde(default)]
    pub touches_period: bool,
}

/// The last sync or import.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LastSync {
    /// `sync` or `import`.
    pub command: String,
    pub started_at: UtcText,
    /// `running`, `done`, `partial`, `failed`, `interrupted`.
    pub outcome: String,
    /// The worst thing that went wrong.
    pub problem: Option<String>,
}
