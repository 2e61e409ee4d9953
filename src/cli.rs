//! The command line: clap types and the texts that `--help` prints.
//!
//! In: arguments. Out: what was typed, not yet what was meant: defaults, the environment and the
//! configuration file are joined in [`settings`](crate::settings). No input, no output.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

mod answer;
mod collect;
mod formats;
mod help;
mod keep;
mod manual;
mod values;

pub(crate) use answer::{Query, Report, Status};
pub(crate) use collect::{Import, Init, Sync};
pub(crate) use formats::{
    Color, DocumentFormat, LogFormat, QueryFormat, ReportFormat, StatusFormat, SummaryFormat,
};
use help::{AFTER_HELP, COMPLETIONS_AFTER_HELP, DEMO_AFTER_HELP, GLOBAL, MAN_AFTER_HELP};
pub(crate) use keep::{Backup, Compact, Prune, Rejects, Restore, Verify};
pub(crate) use manual::{completions, man};
pub(crate) use values::{AtATime, PageSize, Size, TimeBudget, TimeLength, Whole};

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

/// Keeps the history of iTwin Platform Export runs in one SQLite file.
#[derive(Debug, Parser)]
#[command(name = "archive", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// What all commands understand.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What all commands understand.
#[derive(Debug, Default, Args)]
pub(crate) struct Global {
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
pub(crate) enum Command {
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

/// What was typed after `archive completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_AFTER_HELP)]
pub(crate) struct Completions {
    /// Whose script
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// What was typed after `archive man`.
#[derive(Debug, Default, Args)]
#[command(after_help = MAN_AFTER_HELP)]
pub(crate) struct Man {
    /// The command [default: the whole program]
    #[arg(value_name = "COMMAND", value_parser = COMMANDS)]
    pub command: Option<String>,
}

/// What was typed after `archive demo`: nothing but global options.
#[derive(Debug, Default, Args)]
#[command(after_help = DEMO_AFTER_HELP)]
pub(crate) struct Demo {}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// A usage error, or a request for help or for the version: clap's own type, which prints itself and
/// knows its exit code.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
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
    // The `--` itself is looked at too: `--connection --` has no id either.
    let options = &arguments[..end.map_or(arguments.len(), |end| end + 1)];
    options.windows(2).find_map(|pair| {
        let value = pair[1].to_string_lossy();
        (pair[0] == "--connection" && value.starts_with("--")).then(|| value.into_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
        assert_eq!(sync("archive sync --page-size 10000").page_size.map(PageSize::get), Some(10_000));
        assert!(refusal("archive sync --page-size 10001").contains("1 to 10000"));
        assert!(refusal("archive sync --page-size 0").contains("--page-size"));
        assert!(refusal("archive sync --pages-in-flight 0").contains("1 to 64"));
        assert!(refusal("archive sync --concurrency many").contains("1 to 64"));
    }

    #[test]
    fn a_time_budget_is_a_length_with_a_unit() {
        let budget = sync("archive sync --time-budget 90s").time_budget.unwrap();
        assert_eq!(budget.0, Duration::from_secs(90));
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
