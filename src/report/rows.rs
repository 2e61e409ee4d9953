//! The rows of `queries/` that a report is made of, by the names of their columns.

use serde::Deserialize;

use super::figures::{Percentiles, Rate};
use super::statistics::wilson;
use crate::time::UtcText;

#[derive(Debug, Deserialize)]
pub(super) struct RateRow {
    runs: u64,
    succeeded: u64,
    partly_succeeded: u64,
    failed: u64,
    canceled: u64,
    skipped: u64,
    undetermined: u64,
    unfinished: u64,
    rated: u64,
    failure_rate: Option<f64>,
}

impl From<RateRow> for Rate {
    fn from(row: RateRow) -> Self {
        Self {
            runs: row.runs,
            succeeded: row.succeeded,
            partly_succeeded: row.partly_succeeded,
            failed: row.failed,
            canceled: row.canceled,
            skipped: row.skipped,
            undetermined: row.undetermined,
            unfinished: row.unfinished,
            rated: row.rated,
            failure_rate: row.failure_rate,
            interval: wilson(row.failed, row.rated),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ConnectionRateRow {
    pub connection: String,
    pub connection_id: String,
    #[serde(flatten)]
    pub rate: RateRow,
}

#[derive(Debug, Deserialize)]
pub(super) struct WeekRateRow {
    pub since: UtcText,
    #[serde(flatten)]
    pub rate: RateRow,
}

#[derive(Debug, Deserialize)]
pub(super) struct StreakRow {
    pub connection: String,
    pub connection_id: String,
    pub failures: u64,
    pub failing_since: Option<UtcText>,
    pub last_success_at: Option<UtcText>,
    pub since_last_success_ms: Option<i64>,
    pub recoveries: u64,
    pub recovery_ms_in_all: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct ErrorRow {
    pub error_code: Option<String>,
    pub description_key: Option<String>,
    pub can_user_fix: Option<bool>,
    pub system: Option<String>,
    pub phase: Option<String>,
    pub category: Option<String>,
    pub description: Option<String>,
    pub kb_article_link: Option<String>,
    pub tasks: u64,
    pub runs: u64,
    pub connections: u64,
    pub first_seen: UtcText,
    pub last_seen: UtcText,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Change {
    New,
    Returned,
    Known,
    Gone,
}

#[derive(Debug, Deserialize)]
pub(super) struct ErrorChangeRow {
    pub change: Change,
    pub error_code: Option<String>,
    pub description_key: Option<String>,
    pub runs: u64,
    pub connections: u64,
    pub runs_before: u64,
    pub connections_before: u64,
    pub last_seen_before: Option<UtcText>,
}

/// How many values a row of percentiles is about: its column has the name of what is counted.
#[derive(Debug, Deserialize)]
pub(super) struct PercentileRow {
    pub connection_id: Option<String>,
    pub since: Option<UtcText>,
    #[serde(alias = "runs", alias = "jobs", alias = "tasks")]
    count: u64,
    p50_ms: i64,
    p50_low_ms: Option<i64>,
    p50_high_ms: Option<i64>,
    p90_ms: i64,
    p95_ms: i64,
    p99_ms: i64,
    max_ms: i64,
}

impl From<&PercentileRow> for Percentiles {
    fn from(row: &PercentileRow) -> Self {
        Self {
            count: row.count,
            p50_ms: row.p50_ms,
            p50_low_ms: row.p50_low_ms,
            p50_high_ms: row.p50_high_ms,
            p90_ms: row.p90_ms,
            p95_ms: row.p95_ms,
            p99_ms: row.p99_ms,
            max_ms: row.max_ms,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RetryRow {
    pub connection: String,
    pub connection_id: String,
    pub tasks: u64,
    pub retried_runs: u64,
    pub retried_tasks: u64,
    pub attempts: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct SlowRow {
    pub connection: String,
    pub connection_id: String,
    pub run_id: String,
    pub started_at: UtcText,
    pub duration_ms: i64,
    pub outcome: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct UnfinishedRow {
    pub connection: String,
    pub connection_id: String,
    pub run_id: String,
    pub state: Option<String>,
    pub started_at: Option<UtcText>,
    pub age_ms: Option<i64>,
    pub is_stuck: bool,
    pub is_unlisted: bool,
    pub unfinished_in_all: u64,
    pub stuck_in_all: u64,
    pub unlisted_in_all: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct MaskedRow {
    pub connection: String,
    pub connection_id: String,
    pub run_id: String,
    pub started_at: UtcText,
    pub failed_jobs: u64,
    pub failed_tasks: u64,
    pub errors: u64,
    pub error_keys: Option<String>,
    pub masked_in_all: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct CoverageRow {
    pub connection: String,
    pub connection_id: String,
    pub runs: u64,
    pub oldest_started_at: Option<UtcText>,
    pub newest_started_at: Option<UtcText>,
    pub complete_as_of: Option<UtcText>,
    pub unfinished: u64,
    pub unlisted: u64,
    pub without_start: u64,
    pub rejects: u64,
    pub gaps: u64,
    pub last_problem: Option<String>,
    pub unlisted_at: Option<UtcText>,
    pub pruned: u64,
    pub pruned_before: Option<UtcText>,
    pub pruned_at: Option<UtcText>,
    pub clock_ahead_at: Option<UtcText>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GapRow {
    pub connection: String,
    pub connection_id: String,
    pub after: UtcText,
    pub until: UtcText,
    pub noticed_at: UtcText,
}

#[derive(Debug, Deserialize)]
pub(super) struct SyncRow {
    pub command: String,
    pub started_at: UtcText,
    pub ended_at: Option<UtcText>,
    pub outcome: String,
    pub problem: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct DriftRow {
    pub object: String,
    pub field: String,
    pub what: String,
    pub value: String,
    pub first_seen_at: UtcText,
    pub runs: u64,
    pub connection: String,
    pub run_id: String,
}
