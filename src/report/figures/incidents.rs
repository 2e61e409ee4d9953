//! What a report infers: incidents, how each connection does, and what was to be expected.
//!
//! Names and units are a contract, as those of all figures.

use serde::{Deserialize, Serialize};

pub(crate) use crate::detector::Kind;
pub(crate) use crate::detector::states::State;
use crate::time::UtcText;

/// What is improbable against what a connection usually does: one connection, or one cause that came to several
/// within a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Incident {
    /// The same for as long as its kind, its first connection and its first bad run are.
    pub id: String,
    pub kind: Kind,
    /// Whether it lasts, as far as the archive knows.
    pub is_open: bool,
    pub connections: Vec<Subject>,
    /// The error that most of its runs carry; absent where none carries any, and of kinds that no error explains.
    pub cause: Option<Cause>,
    pub actor: Actor,
    /// When it began: the start of the first bad run; of a connection that stopped, of its last run.
    pub since: Option<UtcText>,
    pub first_bad: Option<RunAt>,
    /// The last run before it that was not bad; absent where none is known.
    pub last_good: Option<RunAt>,
    pub last_bad: Option<RunAt>,
    /// The first run after it; absent while it is open.
    pub over: Option<RunAt>,
    /// Bad runs.
    pub affected: u64,
    /// Of so many.
    pub of: u64,
    /// Bad runs that were to be expected of as many; of a connection that stopped, runs. Absent where that says
    /// nothing.
    pub expected: Option<f64>,
    /// How long its bad runs took, all together.
    pub lost_ms: i64,
    /// Whether its connections had the cause before it.
    pub seen_before: Option<SeenBefore>,
    /// Other connections that have the cause in the period.
    pub elsewhere: Option<Elsewhere>,
    /// Ids of bad runs that show it: the first one and the newest.
    pub runs: Vec<String>,
    /// Medians of a connection that became slower or fails sooner.
    pub durations: Option<MovedMedian>,
    /// Of a connection that stopped.
    pub silence: Option<LongSilence>,
    /// Of a run that does not end: the oldest.
    pub stuck: Option<StuckRun>,
    /// How likely it was by chance; absent of what no chance was told.
    pub chance: Option<f64>,
}

/// A connection that an incident is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subject {
    pub connection: String,
    pub connection_id: String,
    pub kind: String,
}

/// The error behind an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cause {
    /// Such as `TAE_BRW_1000`.
    pub error_code: Option<String>,
    /// The stable key, such as `FailedToExport`.
    pub description_key: Option<String>,
    /// Such as `export_file`.
    pub phase: Option<String>,
    /// Such as `other`.
    pub category: Option<String>,
    pub description: Option<String>,
    /// The help article, only where it is an https link.
    pub kb_article_link: Option<String>,
    /// Of the runs named as evidence, those that carry it.
    pub runs: u64,
}

/// Who can act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Actor {
    /// The team: the platform says that users can fix the error.
    Users,
    /// The platform: it says that they cannot.
    Platform,
    /// Nobody said.
    Unknown,
}

/// A run as an incident names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunAt {
    pub run_id: String,
    pub started_at: UtcText,
}

/// An error that was there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenBefore {
    pub runs: u64,
    pub last_at: UtcText,
}

/// An error that others have, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Elsewhere {
    pub connections: u64,
    pub runs: u64,
}

/// Medians that moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MovedMedian {
    pub before_ms: i64,
    pub now_ms: i64,
}

/// How long there was no run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LongSilence {
    pub length_ms: i64,
    /// The longest pause before.
    pub longest_ms: i64,
}

/// How long a run has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StuckRun {
    pub age_ms: i64,
    /// The longest run that ended.
    pub longest_ms: i64,
}

/// How a connection does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConnectionState {
    pub connection: String,
    pub connection_id: String,
    pub kind: String,
    pub state: State,
    /// The start of the run that it is in this state since; absent where it was never in another one.
    pub since: Option<UtcText>,
    /// Rated runs of the period.
    pub rated: u64,
    /// Of these, failed.
    pub failed: u64,
    /// The rate at which it usually fails, from 0 to 1, by its own baseline and the fleet's.
    pub usual: f64,
    /// Failures that were to be expected of the period.
    pub expected: f64,
    /// From how many failures on it would be named; absent where so few runs name nobody.
    pub named_from: Option<u64>,
    /// The twelve weeks that end with the period, the oldest first.
    pub weeks: Vec<WeekTally>,
    /// Ids of its incidents.
    pub incidents: Vec<String>,
}

/// How many runs of a week failed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WeekTally {
    pub rated: u64,
    pub failed: u64,
}

/// What failed in the period beside what was to be expected of each connection by its usual rate.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Expected {
    pub failed: u64,
    pub expected: f64,
    /// The connection with the most failures beyond what was to be expected of it, where there are any.
    pub most: Option<Excess>,
    /// The connection whose number of runs is in the middle, and what it takes to be named.
    pub sight: Option<Sight>,
    /// Where the rate of all together moved and no connection's did beyond what was to be expected: the connection
    /// that ran more often, or less, and moved it by that.
    #[serde(default)]
    pub moved_by: Option<Subject>,
}

/// A connection that failed more than was to be expected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Excess {
    #[serde(flatten)]
    pub subject: Subject,
    pub failed: u64,
    pub expected: f64,
}

/// What could be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sight {
    /// Rated runs of the period of a connection like most.
    pub rated: u64,
    /// From so many failures on it is named; absent where it never is.
    pub named_from: Option<u64>,
}
