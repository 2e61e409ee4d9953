//! What `archive query` is to do.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use super::connections::parse_connections;
use super::environment::Environment;
use super::error::{Error, Result};
use super::file::File;
use super::report::find_zone;
use crate::api::ConnectionId;
use crate::cli::{self, Global, QueryFormat};
use crate::time::UtcText;
use crate::time::period::{Period, parse_instant};
use crate::time::zone::Zone;

/// How long SQLite may work on a query that nobody gave a time for: a join without a condition runs for hours
/// on a large archive.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// What `archive query` is to do.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub db: PathBuf,
    pub folder: Option<PathBuf>,
    pub statement: Statement,
    /// Say what it is instead of carrying it out.
    pub describe: bool,
    /// Parameters as typed, none twice.
    pub parameters: Vec<(String, String)>,
    /// Start of the period, if there is one.
    pub since: Option<UtcText>,
    /// Its end, not included.
    pub until: Option<UtcText>,
    pub is_until_typed: bool,
    pub zone: Zone,
    pub is_zone_typed: bool,
    /// Only these; empty: all.
    pub connections: Vec<ConnectionId>,
    pub format: QueryFormat,
    /// Where to, if not to standard output.
    pub output: Option<PathBuf>,
    /// How long SQLite may work on it.
    pub timeout: Duration,
}

/// Which statement `archive query` is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    /// None: the list of those that have a name.
    List,
    Named(String),
    Text(String),
    Stdin,
}

impl Query {
    /// Joins what was typed with the environment and the file; words such as `7d` count back from the clock.
    pub(crate) fn new(global: &Global, typed: &cli::Query, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        let zone = find_zone(typed.tz.as_deref(), &file)?;
        let now = environment.now;
        let statement = match (&typed.sql, typed.name.as_deref()) {
            (Some(sql), _) => Statement::Text(sql.clone()),
            (None, Some("-")) => Statement::Stdin,
            (None, Some(name)) => Statement::Named(name.to_owned()),
            (None, None) => Statement::List,
        };
        let is_about_one = typed.since.is_some()
            || typed.until.is_some()
            || typed.tz.is_some()
            || typed.timeout.is_some()
            || !typed.connections.is_empty()
            || !typed.parameters.is_empty();
        let is_named = matches!(statement, Statement::Named(_));
        if statement == Statement::List && is_about_one || typed.describe && !is_named {
            return Err(Error::NoQuery);
        }
        let (since, until) = period(typed, &zone, &now)?;
        let parameters: Vec<(String, String)> =
            typed.parameters.iter().cloned().map(|given| (given.name, given.value)).collect();
        // The second of two values would win without a word.
        let mut names = HashSet::new();
        if let Some((twice, _)) = parameters.iter().find(|(name, _)| !names.insert(name)) {
            return Err(Error::ParameterTwice(twice.clone()));
        }
        Ok(Self {
            db: file.find_db(global, environment)?,
            folder: file.queries.map(|path| path.0),
            statement,
            describe: typed.describe,
            parameters,
            since,
            until,
            is_until_typed: typed.until.is_some(),
            zone,
            is_zone_typed: typed.tz.is_some(),
            connections: parse_connections(&typed.connections)?,
            format: typed.format,
            output: typed.output.clone().map(|path| environment.expand(path)),
            timeout: typed.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0),
        })
    }
}

/// What was typed of a period. Without a start there is only an end: the start is the query's own business.
fn period(typed: &cli::Query, zone: &Zone, now: &UtcText) -> Result<(Option<UtcText>, Option<UtcText>)> {
    match (typed.since.as_deref(), typed.until.as_deref()) {
        (None, None) => Ok((None, None)),
        (None, Some(until)) => {
            let until = parse_instant(until, zone, now);
            Ok((None, Some(until.map_err(|problem| Error::Time(format!("--until: {problem}")))?)))
        }
        (since, until) => {
            let period = Period::parse(since, until, zone, now).map_err(Error::Time)?;
            Ok((Some(period.since), Some(period.until)))
        }
    }
}
