//! What was typed after the commands that keep the archive what it is: `verify`, `backup`, `restore`,
//! `rejects`, `prune`, `compact`.

use std::path::PathBuf;

use clap::Args;

use super::formats::{DocumentFormat, QueryFormat, StatusFormat, SummaryFormat};
use super::help::{
    BACKUP_AFTER_HELP, COMPACT_AFTER_HELP, CONNECTION, OUTPUT, PRUNE_AFTER_HELP, REJECTS_AFTER_HELP,
    RESTORE_AFTER_HELP, SPEED, VERIFY_AFTER_HELP,
};
use super::values::{TimeBudget, TimeLength};

/// What was typed after `archive verify`.
#[derive(Debug, Default, Args)]
#[command(after_help = VERIFY_AFTER_HELP)]
pub(crate) struct Verify {
    /// Only the file: ask the platform nothing
    #[arg(long)]
    pub offline: bool,
    /// Store what is missing or different as the platform lists it, mark what it no longer lists, and
    /// make anew what can be told from the rows
    #[arg(long)]
    pub repair: bool,
    /// Only this connection, by its name or id; repeat for more [default: all that are archived and
    /// listed]
    #[arg(long = "connection", value_name = "NAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub connections: Vec<String>,
    /// Send no more than so many requests in a time, or `none`; repeat for more [default: as
    /// 'archive sync']
    #[arg(long = "request-limit", value_name = "N/TIME", help_heading = SPEED)]
    pub request_limits: Vec<String>,
    /// Stop after this time; such as 90s, 20m [default: 1h]
    #[arg(long, value_name = "DURATION", help_heading = SPEED)]
    pub time_budget: Option<TimeBudget>,
    /// How it is told
    #[arg(long, value_name = "FORMAT", default_value = "table", help_heading = OUTPUT)]
    pub format: StatusFormat,
}

/// What was typed after `archive backup`.
#[derive(Debug, Args)]
#[command(after_help = BACKUP_AFTER_HELP)]
pub(crate) struct Backup {
    /// Where the copy goes
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Replace a file of this name, once the new copy is verified
    #[arg(long)]
    pub replace: bool,
    /// How the summary is told
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = OUTPUT)]
    pub format: SummaryFormat,
}

/// What was typed after `archive restore`.
#[derive(Debug, Args)]
#[command(after_help = RESTORE_AFTER_HELP)]
pub(crate) struct Restore {
    /// The copy; it stays where it is
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How the summary is told
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = OUTPUT)]
    pub format: SummaryFormat,
}

/// What was typed after `archive rejects`.
#[derive(Debug, Default, Args)]
#[command(after_help = REJECTS_AFTER_HELP)]
pub(crate) struct Rejects {
    /// Read the records once more: what is a run now is stored, what is not is listed
    #[arg(long)]
    pub retry: bool,
    /// Only those of this connection, by its name or id; repeat for more [default: all]
    #[arg(long = "connection", value_name = "NAME", allow_hyphen_values = true,
          conflicts_with = "retry", help_heading = CONNECTION)]
    pub connections: Vec<String>,
    /// How rows are written
    #[arg(long, value_name = "FORMAT", default_value = "table", help_heading = OUTPUT)]
    pub format: QueryFormat,
}

/// What was typed after `archive prune`.
#[derive(Debug, Args)]
#[command(after_help = PRUNE_AFTER_HELP)]
pub(crate) struct Prune {
    /// What is older than this goes, such as 90d or 2y
    #[arg(long, value_name = "DURATION")]
    pub older_than: TimeLength,
    /// Runs, too: those that began so long ago and are completed, with all below them
    #[arg(long)]
    pub runs: bool,
    /// Do it; without this it only says what would go
    #[arg(long)]
    pub yes: bool,
    /// Make a verified copy here first
    #[arg(long, value_name = "FILE", conflicts_with = "no_backup")]
    pub backup: Option<PathBuf>,
    /// Make no copy first
    #[arg(long)]
    pub no_backup: bool,
    /// How the summary is told
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = OUTPUT)]
    pub format: DocumentFormat,
}

/// What was typed after `archive compact`.
#[derive(Debug, Default, Args)]
#[command(after_help = COMPACT_AFTER_HELP)]
pub(crate) struct Compact {
    /// How the summary is told
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = OUTPUT)]
    pub format: SummaryFormat,
}
