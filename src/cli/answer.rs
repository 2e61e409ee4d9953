//! What was typed after the commands that answer from the archive: `status`, `query`, `report`.

use std::path::PathBuf;

use clap::Args;

use super::formats::{QueryFormat, ReportFormat, StatusFormat};
use super::help::{
    ALARM, CONNECTION, OUTPUT, PARAMETERS, PERIOD, QUERY_AFTER_HELP, REPORT_AFTER_HELP, STATUS_AFTER_HELP,
};
use super::values::{GivenParameter, Percent, TimeBudget};

/// What was typed after `archive status`.
#[derive(Debug, Default, Args)]
#[command(after_help = STATUS_AFTER_HELP)]
pub(crate) struct Status {
    /// Only this connection, by its name or id; repeat for more [default: all that are archived]
    #[arg(long = "connection", value_name = "NAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub connections: Vec<String>,
    /// How it is told
    #[arg(long, value_name = "FORMAT", default_value = "table", help_heading = OUTPUT)]
    pub format: StatusFormat,
}

/// What was typed after `archive query`.
#[derive(Debug, Default, Args)]
#[command(after_help = QUERY_AFTER_HELP)]
pub(crate) struct Query {
    /// A query's name, or - for SQL on standard input [default: list the queries]
    #[arg(value_name = "NAME", conflicts_with = "sql")]
    pub name: Option<String>,
    /// This SQL statement instead of a query with a name
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub sql: Option<String>,
    /// Say what the query answers, takes and gives, and do no more
    #[arg(long, requires = "name")]
    pub describe: bool,
    /// A parameter's value; repeat for more
    #[arg(long = "param", value_name = "KEY=VALUE", allow_hyphen_values = true,
          help_heading = PARAMETERS)]
    pub parameters: Vec<GivenParameter>,
    /// Start of the period
    #[arg(long, value_name = "TIME", help_heading = PARAMETERS)]
    pub since: Option<String>,
    /// Its end, not included [default, with --since: as in 'archive report']
    #[arg(long, value_name = "TIME", help_heading = PARAMETERS)]
    pub until: Option<String>,
    /// Time zone of days and weeks, such as Europe/Berlin [default: `time_zone` in the configuration
    /// file, or UTC]
    #[arg(long, value_name = "ZONE", help_heading = PARAMETERS)]
    pub tz: Option<String>,
    /// Only this connection, by its name or id; repeat for more [default: all that are archived]
    #[arg(long = "connection", value_name = "NAME", allow_hyphen_values = true, help_heading = PARAMETERS)]
    pub connections: Vec<String>,
    /// How rows are written
    #[arg(long, value_name = "FORMAT", default_value = "table", help_heading = OUTPUT)]
    pub format: QueryFormat,
    /// Write into this file, whole or not at all
    #[arg(long, short, value_name = "FILE", help_heading = OUTPUT)]
    pub output: Option<PathBuf>,
    /// Stop the query when it has worked for so long; such as 90s, 20m [default: 1m]
    #[arg(long, value_name = "DURATION", help_heading = OUTPUT)]
    pub timeout: Option<TimeBudget>,
}

/// What was typed after `archive report`.
#[derive(Debug, Args)]
#[command(after_help = REPORT_AFTER_HELP)]
pub(crate) struct Report {
    /// Start of the period [default: seven full days before its end]
    #[arg(long, value_name = "TIME", help_heading = PERIOD)]
    pub since: Option<String>,
    /// Its end, not included [default: the start of today; now where --since names no full days]
    #[arg(long, value_name = "TIME", help_heading = PERIOD)]
    pub until: Option<String>,
    /// Time zone of days and weeks, such as Europe/Berlin [default: `time_zone` in the configuration
    /// file, or UTC]
    #[arg(long, value_name = "ZONE", help_heading = PERIOD)]
    pub tz: Option<String>,
    /// What to compare with: previous (the same length before), a length before the period such as 8w, a
    /// start, or START..END
    #[arg(long, value_name = "PERIOD", default_value = "previous", help_heading = PERIOD)]
    pub compare: String,
    /// How long before the period what is usual is told by: what is improbable against it is an incident
    #[arg(long, value_name = "LENGTH", default_value = crate::time::period::BASELINE, help_heading = PERIOD)]
    pub baseline: String,
    /// The instant that is now: the same archive then gives the same bytes [default: the clock]
    #[arg(long, value_name = "TIME", help_heading = PERIOD)]
    pub as_of: Option<String>,
    /// Only this connection, by its name or id; repeat for more [default: all that are archived]
    #[arg(long = "connection", value_name = "NAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub connections: Vec<String>,
    /// Leave with exit code 6 where a failure rate, in percent, is above this: of all runs, or of one
    /// connection's
    #[arg(long, value_name = "PERCENT", help_heading = ALARM)]
    pub fail_over: Option<Percent>,
    /// Runs that a rate must stand on to raise an alarm
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = ALARM)]
    pub min_runs: u64,
    /// How it is told
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = OUTPUT)]
    pub format: ReportFormat,
    /// Write into this file, whole or not at all
    #[arg(long, short, value_name = "FILE", help_heading = OUTPUT)]
    pub output: Option<PathBuf>,
}
