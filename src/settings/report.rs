//! What `archive report` is to tell.

use std::path::PathBuf;

use super::connections::parse_connections;
use super::environment::Environment;
use super::error::{Error, Result};
use super::file::File;
use crate::api::ConnectionId;
use crate::cli::{self, Global, ReportFormat};
use crate::time::UtcText;
use crate::time::period::{Period, parse_instant};
use crate::time::zone::Zone;

/// What `archive report` is to tell.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub db: PathBuf,
    pub period: Period,
    pub compared_with: Period,
    /// What is usual is told by it.
    pub baseline: Period,
    pub zone: Zone,
    /// The instant that ages are counted to.
    pub as_of: UtcText,
    /// Whether that is what the clock shows.
    pub is_of_now: bool,
    /// Only these; empty: all that are archived, whatever the configuration lists.
    pub connections: Vec<ConnectionId>,
    pub format: ReportFormat,
    /// Where to, if not to standard output.
    pub output: Option<PathBuf>,
    /// A failure rate above this, from 0 to 1, is an alarm.
    pub fail_over: Option<f64>,
    /// A rate from fewer rated runs raises no alarm.
    pub min_runs: u64,
}

impl Report {
    /// Joins what was typed with the environment and the file; words such as `7d` count back from the
    /// clock, or from `--as-of`.
    pub(crate) fn new(global: &Global, typed: &cli::Report, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        let zone = find_zone(typed.tz.as_deref(), &file)?;
        let now = environment.now;
        let as_of = match &typed.as_of {
            Some(text) => parse_instant(text, &zone, &now)
                .map_err(|problem| Error::Time(format!("--as-of: {problem}")))?,
            None => now,
        };
        let period = Period::parse(typed.since.as_deref(), typed.until.as_deref(), &zone, &as_of)
            .map_err(Error::Time)?;
        let compared_with = period
            .parse_compared(&typed.compare, &zone, &as_of)
            .map_err(|problem| Error::Time(format!("--compare: {problem}")))?;
        let baseline = period
            .baseline(&typed.baseline, &zone)
            .map_err(|problem| Error::Time(format!("--baseline: {problem}")))?;
        Ok(Self {
            db: file.find_db(global, environment)?,
            period,
            compared_with,
            baseline,
            zone,
            as_of,
            is_of_now: typed.as_of.is_none(),
            connections: parse_connections(&typed.connections)?,
            format: typed.format,
            output: typed.output.clone().map(|path| environment.expand(path)),
            fail_over: typed.fail_over.map(|percent| percent.0 / 100.0),
            min_runs: typed.min_runs,
        })
    }
}

/// `--tz`, or the file's `time_zone`, or UTC.
pub(super) fn find_zone(typed: Option<&str>, file: &File) -> Result<Zone> {
    match typed {
        Some(name) => name.parse().map_err(|problem| Error::Time(format!("--tz: {problem}"))),
        None => Ok(file.time_zone.unwrap_or(Zone::UTC)),
    }
}
