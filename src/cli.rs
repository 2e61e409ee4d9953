//! The command line: clap types and the texts that `--help` prints.
//!
//! In: arguments. Out: what was typed, not yet what was meant: defaults, the environment and the
//! configuration file are joined in [`settings`](crate::settings). No input, no output.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

mod manual;

pub use manual::{Shell, completions, man};

/// Runs asked for in one page.
pub const PAGE_SIZES: RangeInclusive<u32> = 1..=10_000;
/// Pages, or connections, at a time.
pub const AT_A_TIME: RangeInclusive<u32> = 1..=64;
/// The longest time budget.
pub const MAX_TIME_BUDGET: Duration = Duration::from_secs(366 * 24 * 60 * 60);

const CONNECTION: &str = "Connection options";
const PERIOD: &str = "Period";
const ALARM: &str = "Alarm";
const SPEED: &str = "Speed";
const OUTPUT: &str = "Output";
const PARAMETERS: &str = "Parameters";
const CREDENTIALS: &str = "Credentials";
const FILE: &str = "File";
const GLOBAL: &str = "Global options";

/// What `archive man` has a page of, in the order of the help.
const COMMANDS: [&str; 15] = [
    "init",
    "sync",
    "import",
    "status",
    "query",
    "report",
    "verify",
    "backup",
    "restore",
    "rejects",
    "prune",
    "compact",
    "demo",
    "completions",
    "man",
];

const AFTER_HELP: &str = "\
Examples:
  archive demo                    see what it does; nothing to configure
  archive init                    set it up: credentials, iTwins, a configuration
  archive sync --itwin ID         fetch what is new into the archive
  archive status                  how fresh is the archive?
  archive report                  how did the last seven days go?

Without --db and ARCHIVE_DB the archive is archive/archive.db in your data folder
(~/.local/share on Linux).";

const INIT_AFTER_HELP: &str = "\
No secret is typed as a flag or stands in the configuration. Credentials come from
the environment (ITP_ACCESS_TOKEN, or ITP_SERVICE_CLIENT_ID and
ITP_SERVICE_CLIENT_SECRET) or from files that flags and the configuration name.
ITP_API_URL and ITP_ISSUER_URL are obeyed.

Examples:
  archive init                    on a terminal: asks for what is missing
  archive init --itwin ID --client-id service-abc --client-secret-file secret
  archive init --config /etc/archive/archive.toml --db /var/lib/archive/archive.db
  archive init --itwin ID --no-check --force

Exit codes:
  0  done
  1  failed: the platform cannot be reached, or no answer was given; nothing is
     written
  2  wrong usage or configuration, or the file exists
  3  written, but something that is chosen lists nothing or cannot be seen
  4  the platform refused the credentials; nothing is written";

const COMPLETIONS_AFTER_HELP: &str = "\
Examples:
  archive completions bash > ~/.local/share/bash-completion/completions/archive
  archive completions zsh > ~/.zfunc/_archive      (with ~/.zfunc in fpath)
  archive completions fish > ~/.config/fish/completions/archive.fish";

const MAN_AFTER_HELP: &str = "\
Examples:
  archive man | man -l -
  archive man sync | man -l -
  archive man > ~/.local/share/man/man1/archive.1";

const SYNC_AFTER_HELP: &str = "\
Credentials come from the environment, or from files that the configuration names:
  ITP_ACCESS_TOKEN             a ready bearer token, or both of
  ITP_SERVICE_CLIENT_ID        a service application's id and
  ITP_SERVICE_CLIENT_SECRET    its secret

Examples:
  archive sync --itwin 5e4b8a92-30cd-4f6e-9d0c-1f2a3b4c5d6e --estimate
  archive sync --connection 3fa85f64-5717-4562-b3fc-2c963f66afa6
  archive sync --config /etc/archive.toml --format json
In a crontab, mail only when something is wrong:
  15 * * * *  archive -q sync --config /etc/archive.toml

Exit codes:
  0  done
  1  failed; nothing that was stored before is lost
  2  wrong usage or configuration
  3  done in part: a connection failed, the time ran out, a walk could not be
     proved complete or records were set aside; the rest is stored
  4  the platform refused the credentials
  5  another 'archive sync' holds this database";

const IMPORT_AFTER_HELP: &str = "\
Examples:
  archive import page-1.json page-2.json
  curl … | archive import --connection ID -

Pages are what the platform's run listing answers, in UTF-8 or UTF-16. The same
pages may be imported again: runs that did not change are not written.";

const STATUS_AFTER_HELP: &str = "\
Examples:
  archive status
  archive status --format json --connection ID";

const QUERY_AFTER_HELP: &str = "\
The statement is carried out on a connection that only reads, with limits on
time and memory. Beside SQLite's own functions there are percentile(value, p)
and median(value), interpolated as in SQLite's shell, and nearest_rank(value, p),
a value that occurred; p goes from 0 to 100. Times are as in 'archive report';
--since and --until fill the query's parameters :since and :until.

Examples:
  archive query                                what queries are there?
  archive query failure-rates --since 4w
  archive query failure-rates --describe       what does it answer and take?
  archive query slowest-runs --format csv -o slowest.csv
  archive query --sql 'SELECT state, count(*) AS runs FROM runs GROUP BY state'
  archive query - --param limit=5 < my.sql

Exit codes:
  0  done
  1  failed, or stopped by --timeout
  2  wrong usage or configuration, or SQL that is malformed or not allowed";

const REPORT_AFTER_HELP: &str = "\
Times are dates (the start of the day), instants such as 2026-11-16T08:00:00Z, 7d,
4w or 36h (so long ago; days and weeks count full days), today, yesterday,
this-week, last-week, this-month or last-month. Periods end before --until.

Examples:
  archive report                               the last seven full days
  archive report --since last-week --tz Europe/Berlin --format html -o report.html
  archive report --since 4w --connection ID --format markdown
In a crontab, a mail on Monday when more than one run in ten failed:
  0 7 * * 1  archive report --fail-over 10 --min-runs 20

Exit codes:
  0  done
  1  failed
  2  wrong usage or configuration
  6  a failure rate is above --fail-over";

const VERIFY_AFTER_HELP: &str = "\
Examples:
  archive verify                  the file, and all that the platform lists
  archive verify --offline        the file alone; asks the platform nothing
  archive verify --repair --connection 'Bridge nightly'

Exit codes:
  0  nothing is off, or all that was is repaired
  1  failed
  2  wrong usage or configuration
  3  something is off, or could not be compared
  4  the platform refused the credentials
  5  another 'archive sync' holds this database (only with --repair)";

const BACKUP_AFTER_HELP: &str = "\
Examples:
  archive backup /backup/archive-2026-11-25.db
In a crontab, over the copy of the day before:
  30 2 * * *  archive -q backup --replace /backup/archive.db";

const RESTORE_AFTER_HELP: &str = "\
Examples:
  archive restore /backup/archive-2026-11-25.db
What was restored by mistake, undone:
  archive restore archive.db.2026-11-25T10-00-00Z.replaced

Exit codes:
  0  restored
  1  failed, or the copy is not sound; the archive is as it was
  2  wrong usage or configuration
  5  another process holds this database, or a program has it open";

const REJECTS_AFTER_HELP: &str = "\
Examples:
  archive rejects                 what was set aside, and why
  archive rejects --retry         read it once more with this version
  archive rejects --format ndjson > rejects.ndjson";

const PRUNE_AFTER_HELP: &str = "\
Lengths of time are written like 90d, 26weeks or 2y. Nothing goes without --yes,
and nothing without a copy: --backup makes and verifies one first, --no-backup says
that there is one. What walks stand on stays: the newest walk of a connection, its
newest complete one, and one that a later sync goes on with. Of runs only those go
that are completed, and their ids stay, so that they do not come back. The file
keeps its size until 'archive compact'.

Examples:
  archive prune --older-than 1y                what would go?
  archive prune --older-than 1y --yes --backup /backup/before-prune.db
  archive prune --older-than 3y --runs --yes --no-backup

Exit codes:
  0  done, or nothing is that old
  1  failed, or the copy is not sound; nothing was taken out
  2  wrong usage or configuration, or neither --backup nor --no-backup with --yes
  5  an 'archive sync' holds this database";

const COMPACT_AFTER_HELP: &str = "\
The file is written anew through a temporary file and its log, so that for a while
up to twice its size is needed beside it; without that room nothing is begun.

Examples:
  archive compact                 after 'archive prune'
  archive compact --format json

Exit codes:
  0  done
  1  failed, or there is not enough room; the archive is as it was
  2  wrong usage or configuration
  5  an 'archive sync' holds this database";

const DEMO_AFTER_HELP: &str = "\
Examples:
  archive demo                    into a new file, and says where it is
  archive demo --db demo.db       into this file, which must not exist yet";

/// Keeps the history of iTwin Platform Export runs in one SQLite file.
#[derive(Debug, Parser)]
#[command(name = "archive", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// What all commands understand.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What all commands understand.
#[derive(Debug, Default, Args)]
pub struct Global {
    /// The archive, one SQLite file [env: ARCHIVE_DB]
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub db: Option<PathBuf>,
    /// The configuration file [env: ARCHIVE_CONFIG] [default: archive/archive.toml in your
    /// configuration folder]
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub config: Option<PathBuf>,
    /// Say more on standard error; -vv even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = GLOBAL)]
    pub verbose: u8,
    /// Say nothing unless something is wrong
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = GLOBAL)]
    pub quiet: bool,
    /// Color messages (NO_COLOR is obeyed) [default: auto]
    #[arg(long, global = true, value_name = "WHEN", help_heading = GLOBAL)]
    pub color: Option<Color>,
    /// Messages as text, or each as a line of JSON [default: text]
    #[arg(long, global = true, value_name = "FORMAT", help_heading = GLOBAL)]
    pub log_format: Option<LogFormat>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set it up: check the credentials, choose what to archive, write a configuration
    ///
    /// Writes a configuration file with a comment on every setting. On a terminal it asks for what flags
    /// and environment leave open, and lists the iTwins that the credentials see. Before anything is
    /// written the platform is asked whether it accepts the credentials and what it lists.
    Init(Init),
    /// Bring the archive up to date with the platform
    ///
    /// Fetches the runs that are new or may have changed and stores them. Safe to interrupt at any time
    /// and to run as often as you like: what is stored stays, and the next sync goes on from there.
    Sync(Sync),
    /// Store runs from saved JSON pages
    ///
    /// The same as sync, from files instead of the platform. Needs no credentials.
    Import(Import),
    /// Show how fresh the archive is, per connection
    ///
    /// When each connection was last synced, how many runs are stored, what is unfinished and what went
    /// wrong last. Asks the platform nothing.
    Status(Status),
    /// Answer one question: a named query, or SQL of your own
    ///
    /// Carries out a query of the list that it prints without a name, or one SQL statement, and writes
    /// the rows. Changes nothing, and asks the platform nothing.
    Query(Query),
    /// Tell how a period went: failures, changes, errors, durations
    ///
    /// The weekly summary: what failed how often, whether that is new, who can act, and how far the
    /// numbers can be trusted. Asks the platform nothing.
    Report(Report),
    /// Prove the archive: the file's own rules, and all that the platform lists
    ///
    /// Checks the database, its rules and every run against its digest; then walks every listing whole and
    /// compares id by id and field by field. Changes nothing without --repair.
    Verify(Verify),
    /// Make a consistent, verified copy, also while a sync is running
    ///
    /// The copy is written beside its place, checked like 'archive verify --offline' does, and only then
    /// given its name. Asks the platform nothing.
    Backup(Backup),
    /// Put a copy in the archive's place, once it is checked
    ///
    /// FILE is copied and checked like 'archive verify --offline' does; then the copy takes the archive's
    /// place at once. What was there is kept under a dated name beside it. Asks the platform nothing.
    Restore(Restore),
    /// List the records that were set aside, or read them once more
    ///
    /// What the platform sent as a run and could not be read as one is kept to the letter. A sync of a
    /// later version tries it again by itself. Asks the platform nothing.
    Rejects(Rejects),
    /// Take out what is old: revisions, rejects, walks, and runs where asked
    ///
    /// Says what would go, and takes it out with --yes. A run that goes counts as archived: it neither comes
    /// back nor makes a gap, and reports say how many went. Asks the platform nothing.
    Prune(Prune),
    /// Make the file small
    ///
    /// Writes the file anew without the room that pruned rows have left. Readers may stay. Asks the platform
    /// nothing.
    Compact(Compact),
    /// See it work against an emulated platform; nothing to configure
    ///
    /// Starts an emulated platform on this machine, syncs it as the real one, lets a week pass, syncs
    /// again, and says how to look at what was stored. Needs no network and no credentials.
    Demo(Demo),
    /// Print the completions of a shell
    ///
    /// Writes a script on standard output, with which the shell completes commands, options and their
    /// values.
    Completions(Completions),
    /// Print the manual page, or that of one command
    ///
    /// Writes a page in roff, as man reads it, on standard output.
    Man(Man),
}

/// What was typed after `archive init`.
#[derive(Debug, Default, Args)]
#[command(after_help = INIT_AFTER_HELP)]
pub struct Init {
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
    pub kinds: Vec<ConnectionKind>,
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

/// What was typed after `archive completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_AFTER_HELP)]
pub struct Completions {
    /// Whose script
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// What was typed after `archive man`.
#[derive(Debug, Default, Args)]
#[command(after_help = MAN_AFTER_HELP)]
pub struct Man {
    /// The command [default: the whole program]
    #[arg(value_name = "COMMAND", value_parser = COMMANDS)]
    pub command: Option<String>,
}

/// What was typed after `archive sync`.
#[derive(Debug, Default, Args)]
#[command(after_help = SYNC_AFTER_HELP)]
pub struct Sync {
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
    pub kinds: Vec<ConnectionKind>,
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
    #[arg(long, value_name = "N", help_heading = SPEED,
          value_parser = |text: &str| parse_number(text, &PAGE_SIZES))]
    pub page_size: Option<u32>,
    /// Pages of one connection to fetch at a time, 1 to 64 [default: 4]
    #[arg(long, value_name = "N", help_heading = SPEED,
          value_parser = |text: &str| parse_number(text, &AT_A_TIME))]
    pub pages_in_flight: Option<u32>,
    /// Connections to fetch at a time, 1 to 64 [default: 4]
    #[arg(long, value_name = "N", help_heading = SPEED,
          value_parser = |text: &str| parse_number(text, &AT_A_TIME))]
    pub concurrency: Option<u32>,
    /// Send no more than so many requests in a time, or `none`; repeat for more [default: 450/1m and
    /// 4500/1h, a tenth below the platform's lowest tier]
    #[arg(long = "request-limit", value_name = "N/TIME", help_heading = SPEED)]
    pub request_limits: Vec<String>,
    /// Stop after this time, keep what came and leave with exit code 3; such as 90s, 20m [default: 1h]
    #[arg(long, value_name = "DURATION", help_heading = SPEED, value_parser = parse_time_budget)]
    pub time_budget: Option<Duration>,
    /// Leave so much of the disk free while a listing is fetched whole, such as 500MB, 2GiB; 0 fills it
    /// [default: the smaller of 1GiB and 5 % of the disk]
    #[arg(long, value_name = "SIZE", help_heading = SPEED, value_parser = parse_size)]
    pub min_free: Option<u64>,
    /// How the summary is told
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = OUTPUT)]
    pub format: DocumentFormat,
}

/// What was typed after `archive import`.
#[derive(Debug, Args)]
#[command(after_help = IMPORT_AFTER_HELP)]
pub struct Import {
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

/// What was typed after `archive status`.
#[derive(Debug, Default, Args)]
#[command(after_help = STATUS_AFTER_HELP)]
pub struct Status {
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
pub struct Query {
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
          value_parser = parse_parameter, help_heading = PARAMETERS)]
    pub parameters: Vec<(String, String)>,
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
    #[arg(long, value_name = "DURATION", value_parser = parse_time_budget, help_heading = OUTPUT)]
    pub timeout: Option<Duration>,
}

/// What was typed after `archive report`.
#[derive(Debug, Args)]
#[command(after_help = REPORT_AFTER_HELP)]
pub struct Report {
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
    /// What to compare with: previous (the same length before), a start, or START..END
    #[arg(long, value_name = "PERIOD", default_value = "previous", help_heading = PERIOD)]
    pub compare: String,
    /// The instant that is now: the same archive then gives the same bytes [default: the clock]
    #[arg(long, value_name = "TIME", help_heading = PERIOD)]
    pub as_of: Option<String>,
    /// Only this connection, by its name or id; repeat for more [default: all that are archived]
    #[arg(long = "connection", value_name = "NAME", allow_hyphen_values = true, help_heading = CONNECTION)]
    pub connections: Vec<String>,
    /// Leave with exit code 6 where a failure rate, in percent, is above this: of all runs, or of one
    /// connection's
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, help_heading = ALARM)]
    pub fail_over: Option<f64>,
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

/// What was typed after `archive verify`.
#[derive(Debug, Default, Args)]
#[command(after_help = VERIFY_AFTER_HELP)]
pub struct Verify {
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
    #[arg(long, value_name = "DURATION", help_heading = SPEED, value_parser = parse_time_budget)]
    pub time_budget: Option<Duration>,
    /// How it is told
    #[arg(long, value_name = "FORMAT", default_value = "table", help_heading = OUTPUT)]
    pub format: StatusFormat,
}

/// What was typed after `archive backup`.
#[derive(Debug, Args)]
#[command(after_help = BACKUP_AFTER_HELP)]
pub struct Backup {
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
pub struct Restore {
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
pub struct Rejects {
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
pub struct Prune {
    /// What is older than this goes, such as 90d or 2y
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub older_than: Duration,
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
pub struct Compact {
    /// How the summary is told
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = OUTPUT)]
    pub format: SummaryFormat,
}

/// What was typed after `archive demo`: nothing but global options.
#[derive(Debug, Default, Args)]
#[command(after_help = DEMO_AFTER_HELP)]
pub struct Demo {}

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConnectionKind {
    /// Exports an iModel
    Export,
    /// Synchronizes files of the platform's storage
    Storage,
    /// Synchronizes files that a manifest names
    Manifest,
}

/// How the result of a command is told that has more to say than a line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DocumentFormat {
    /// For a terminal or a log
    #[default]
    Text,
    /// One JSON object on standard output
    Json,
    /// For an issue, a wiki or a chat, on standard output
    Markdown,
}

/// How the result of an import is told, or of work on the file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SummaryFormat {
    /// One line on standard error
    #[default]
    Text,
    /// One JSON object on standard output
    Json,
}

/// How the status is told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// A table for people
    #[default]
    Table,
    /// JSON for programs
    Json,
    /// For an issue, a wiki or a chat
    Markdown,
}

/// How a report is told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For a terminal or a mail
    #[default]
    Text,
    /// For a wiki or a chat
    Markdown,
    /// One page with charts that needs no network
    Html,
    /// For programs
    Json,
}

/// How the rows of a query are written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QueryFormat {
    /// A table for people
    #[default]
    Table,
    /// One JSON array
    Json,
    /// One JSON object per line
    Ndjson,
    /// CSV with a header line
    Csv,
    /// A Markdown table
    Markdown,
}

/// Whether messages are colored.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// Where standard error is a terminal
    #[default]
    Auto,
    /// In files and pipes too
    Always,
    /// Plain text only
    Never,
}

/// How messages on standard error are written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object per line, errors too
    Json,
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// A usage error, or a request for help or for the version: clap's own type, which prints itself and
/// knows its exit code.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let Some(value) = find_flag_as_connection(&arguments) {
        let message = format!(
            "'--connection' is followed by '{value}', which looks like another option\n\n  \
             tip: if '{value}' is the connection's id, write '--connection={value}'"
        );
        let mut command = Cli::command();
        command.build();
        return Err(command.error(ErrorKind::InvalidValue, message));
    }
    Cli::try_parse_from(arguments)
}

/// What follows `--connection` if it begins with `--`. Ids may begin with one hyphen, so clap takes any
/// value; without this, `--connection --full` would look for a connection named `--full`.
fn find_flag_as_connection(arguments: &[OsString]) -> Option<String> {
    let end = arguments.iter().position(|argument| argument == "--");
    // One more: `--connection --` is wrong too.
    let options = &arguments[..end.map_or(arguments.len(), |end| end + 1)];
    options.windows(2).find_map(|pair| {
        let value = pair[1].to_string_lossy();
        (pair[0] == "--connection" && value.starts_with("--")).then(|| value.into_owned())
    })
}

fn parse_parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    let name = name.trim_start_matches(':');
    if name.is_empty() {
        return Err("the parameter has no name".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn parse_number(text: &str, range: &RangeInclusive<u32>) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("a whole number from {} to {} is needed", range.start(), range.end()))
}

/// From 0 to 100.
fn parse_percent(text: &str) -> Result<f64, String> {
    let percent: Option<f64> = text.trim_end_matches('%').parse().ok();
    percent
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or("a number from 0 to 100 is needed".to_owned())
}

/// A length of time in words such as `90s` or `1h 30m`, as a time budget may be.
pub fn parse_time_budget(text: &str) -> Result<Duration, String> {
    let length = parse_duration(text)?;
    match length {
        Duration::ZERO => Err("no time is left for anything".to_owned()),
        _ if length > MAX_TIME_BUDGET => Err("that is longer than a year".to_owned()),
        _ => Ok(length),
    }
}

/// A length of time in words such as `90s` or `7d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error} (write it like 90s, 20m or 1h 30m)"))
}

/// A number of bytes such as `500MB`, `2GiB` or `0`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("b", 1),
    ];
    let small = text.trim().to_ascii_lowercase();
    let unit = UNITS.into_iter().find_map(|(unit, bytes)| Some((small.strip_suffix(unit)?, bytes)));
    let (number, bytes) = unit.unwrap_or((&small, 1));
    let number: Option<u64> = number.trim_end().parse().ok();
    let size = number.and_then(|number| number.checked_mul(bytes));
    size.ok_or_else(|| format!("{text:?} is no size (write it like 500MB, 2GiB or 0)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_both_kinds_of_units() {
        let sizes =
            ["0", "12", "12 B", "500MB", "2GiB", "2 gib", " 3kb "].map(|text| parse_size(text).unwrap());
        assert_eq!(sizes, [0, 12, 12, 500_000_000, 2 << 30, 2 << 30, 3_000]);
        for text in ["", "MB", "-1", "1.5GiB", "1 gig", "99999999999999999999", "99999999TiB"] {
            let told = parse_size(text).unwrap_err();
            assert!(told.ends_with("is no size (write it like 500MB, 2GiB or 0)"), "{told}");
        }
    }

    fn read(line: &str) -> Result<Cli, clap::Error> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn sync(line: &str) -> Sync {
        match read(line).unwrap().command {
            Command::Sync(sync) => sync,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(line: &str) -> String {
        let error = read(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    }

    #[test]
    fn clap_finds_no_fault_in_the_definitions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_connection_may_begin_with_a_hyphen() {
        let typed = sync("archive sync --connection -aB_9 --connection=--x --full");
        assert_eq!(typed.connections, ["-aB_9", "--x"]);
        assert!(typed.full);
    }

    #[test]
    fn an_option_is_not_taken_for_a_connection() {
        for line in ["archive sync --connection --full", "archive status --connection --db x"] {
            let text = refusal(line);
            assert!(text.contains("write '--connection=--"), "{text}");
        }
        refusal("archive sync --connection");
        refusal("archive sync --connection --");
        let import = read("archive import -- --connection --full").unwrap();
        assert!(matches!(import.command, Command::Import(Import { files, .. }) if files.len() == 2));
    }

    #[test]
    fn numbers_out_of_range_are_usage_errors_that_name_the_range() {
        assert_eq!(sync("archive sync --page-size 10000").page_size, Some(10_000));
        assert!(refusal("archive sync --page-size 10001").contains("1 to 10000"));
        assert!(refusal("archive sync --page-size 0").contains("--page-size"));
        assert!(refusal("archive sync --pages-in-flight 0").contains("1 to 64"));
        assert!(refusal("archive sync --concurrency many").contains("1 to 64"));
    }

    #[test]
    fn a_time_budget_is_a_length_with_a_unit() {
        assert_eq!(sync("archive sync --time-budget 90s").time_budget, Some(Duration::from_secs(90)));
        for line in ["90", "0s", "soon", "9999y"] {
            refusal(&format!("archive sync --time-budget {line}"));
        }
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for line in ["archive -vv --db a.db status", "archive status -vv --db a.db"] {
            let global = read(line).unwrap().global;
            assert_eq!((global.verbose, global.db), (2, Some(PathBuf::from("a.db"))), "{line}");
        }
    }

    #[test]
    fn quiet_and_verbose_exclude_each_other() {
        refusal("archive sync -q -v");
        refusal("archive -q -v sync");
    }

    #[test]
    fn import_needs_a_file_and_takes_standard_input() {
        refusal("archive import");
        let import = read("archive import - --connection -x").unwrap();
        assert!(
            matches!(import.command, Command::Import(Import { files, .. }) if files == [PathBuf::from("-")])
        );
    }

    #[test]
    fn help_of_sync_tells_every_exit_code_and_where_credentials_come_from() {
        let help = read("archive sync --help").unwrap_err();
        assert_eq!(help.exit_code(), 0);
        let help = help.to_string();
        // Long lines are wrapped.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for text in
            [" 0 done 1 failed", " 5 another", "ITP_ACCESS_TOKEN", "[default: 1000]", "Speed:", "Output:"]
        {
            assert!(help.contains(text), "{text} is missing in:\n{help}");
        }
    }
}
