//! What was typed after the commands that bring runs into the archive: `init`, `sync`, `import`.

use std::path::PathBuf;

use clap::Args;

use super::formats::{DocumentFormat, SummaryFormat};
use super::help::{
    CONNECTION, CREDENTIALS, FILE, IMPORT_AFTER_HELP, INIT_AFTER_HELP, OUTPUT, SPEED, SYNC_AFTER_HELP,
};
use super::values::{AtATime, PageSize, Size, TimeBudget};
use crate::api::Kind;

/// What was typed after `archive init`.
#[derive(Debug, Default, Args)]
#[command(after_help = INIT_AFTER_HELP)]
pub(crate) struct Init {
    /// An iTwin: all connections of its iModels; repeat for more [env: ITP_ITWIN_ID]
    #[arg(long = "itwin", value_name = "ID", help_heading = CONNECTION)]
    pub itwins: Vec<String>,
    /// An iModel: all its connections; repeat for more [env: ITP_IMODEL_ID]
    #[arg(long = "imodel", value_name = "ID", help_heading = CONNECTION)]
    pub imodels: Vec<String>,
    /// A connection by its id; repeat for more
    #[arg(long = "connection", value_name = "ID", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub connections: Vec<String>,
    /// What connections to look for below iTwins and iModels; repeat for more [default: export]
    #[arg(long = "kind", value_name = "KIND", help_heading = CONNECTION)]
    pub kinds: Vec<Kind>,
    /// A service application's client id [env: ITP_SERVICE_CLIENT_ID]
    #[arg(long, value_name = "ID", help_heading = CREDENTIALS)]
    pub client_id: Option<String>,
    /// A file that holds the service application's secret, and nothing else
    #[arg(long, value_name = "FILE", help_heading = CREDENTIALS)]
    pub client_secret_file: Option<PathBuf>,
    /// A file that holds a bearer token, for trying
    #[arg(long, value_name = "FILE", conflicts_with_all = ["client_id", "client_secret_file"],
          help_heading = CREDENTIALS)]
    pub access_token_file: Option<PathBuf>,
    /// Time zone of a report's days and weeks, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", help_heading = FILE)]
    pub time_zone: Option<String>,
    /// Write the file without asking the platform anything
    #[arg(long, help_heading = FILE)]
    pub no_check: bool,
    /// Write over a file that exists
    #[arg(long, help_heading = FILE)]
    pub force: bool,
}

/// What was typed after `archive sync`.
#[derive(Debug, Default, Args)]
#[command(after_help = SYNC_AFTER_HELP)]
pub(crate) struct Sync {
    /// An iTwin: all connections of its iModels; repeat for more [env: ITP_ITWIN_ID] [default: `itwins`
    /// in the configuration file]
    #[arg(long = "itwin", value_name = "ID", help_heading = CONNECTION)]
    pub itwins: Vec<String>,
    /// An iModel: all its connections; repeat for more [env: ITP_IMODEL_ID] [default: `imodels` in the
    /// configuration file]
    #[arg(long = "imodel", value_name = "ID", help_heading = CONNECTION)]
    pub imodels: Vec<String>,
    /// A connection by its id, or by its name once it is archived; repeat for more [default:
    /// `connections` in the configuration file]
    #[arg(long = "connection", value_name = "ID", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub connections: Vec<String>,
    /// What connections to look for below iTwins and iModels; repeat for more [default: `kinds` in the
    /// configuration file, or export]
    #[arg(long = "kind", value_name = "KIND", help_heading = CONNECTION)]
    pub kinds: Vec<Kind>,
    /// Walk the whole listing, not only what is new (done every 7 days anyway: `full_every`)
    #[arg(long, help_heading = CONNECTION)]
    pub full: bool,
    /// Fetch, compare and count, but store nothing
    #[arg(long, help_heading = CONNECTION)]
    pub dry_run: bool,
    /// Say how many requests and minutes a first sync would take, and store nothing
    #[arg(long, conflicts_with_all = ["full", "dry_run"], help_heading = CONNECTION)]
    pub estimate: bool,
    /// Runs to ask for in one page, 1 to 10000; fewer where the platform gives fewer [default: 1000]
    #[arg(long, value_name = "N", help_heading = SPEED)]
    pub page_size: Option<PageSize>,
    /// Pages of one connection to fetch at a time, 1 to 64 [default: 4]
    #[arg(long, value_name = "N", help_heading = SPEED)]
    pub pages_in_flight: Option<AtATime>,
    /// Connections to fetch at a time, 1 to 64 [default: 4]
    #[arg(long, value_name = "N", help_heading = SPEED)]
    pub concurrency: Option<AtATime>,
    /// Send no more than so many requests in a time, or `none`; repeat for more [default: 450/1m and
    /// 4500/1h, a tenth below the platform's lowest tier]
    #[arg(long = "request-limit", value_name = "N/TIME", help_heading = SPEED)]
    pub request_limits: Vec<String>,
    /// Stop after this time, keep what came and leave with exit code 3; such as 90s, 20m [default: 1h]
    #[arg(long, value_name = "DURATION", help_heading = SPEED)]
    pub time_budget: Option<TimeBudget>,
    /// Leave so much of the disk free while a listing is fetched whole, such as 500MB, 2GiB; 0 fills it
    /// [default: the smaller of 1GiB and 5 % of the disk]
    #[arg(long, value_name = "SIZE", help_heading = SPEED)]
    pub min_free: Option<Size>,
    /// How the summary is told
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = OUTPUT)]
    pub format: DocumentFormat,
}

/// What was typed after `archive import`.
#[derive(Debug, Args)]
#[command(after_help = IMPORT_AFTER_HELP)]
pub(crate) struct Import {
    /// Files with one JSON page each; - reads standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The connection of pages that do not name one: its id, or its name once it is archived
    #[arg(long, value_name = "ID", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub connection: Option<String>,
    /// How the summary is told
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = OUTPUT)]
    pub format: SummaryFormat,
}
