//! The program: arguments, settings, one command, its exit code.

use std::ffi::OsString;
use std::process;

use indicatif::MultiProgress;

use crate::cli::{self, Cli, Command};
use crate::error::{CommandError, ExitCode};
use crate::settings::{self, Environment, Talk};
use crate::{commands, logging, sync};

/// Carries out what the arguments say, the program's name first, and says on standard error what is wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> process::ExitCode {
    commands::forbid_core_dumps();
    let cli = match cli::parse(arguments) {
        Ok(cli) => cli,
        Err(usage) => {
            // Help, the version, or a usage error. A closed stream leaves nobody to print an error to.
            usage.print().ok();
            return u8::try_from(usage.exit_code())
                .map_or(process::ExitCode::FAILURE, process::ExitCode::from);
        }
    };
    let environment = Environment::of_process(sync::now());
    let progress = logging::start(&Talk::new(&cli.global, &environment));
    let ended = command(cli, &environment, &progress);
    ended
        .unwrap_or_else(|error| {
            error.report();
            error.exit()
        })
        .into()
}

fn command(cli: Cli, environment: &Environment, progress: &MultiProgress) -> Result<ExitCode, CommandError> {
    commands::survive_file_size_limit();
    commands::require_clock(&environment.now)?;
    let global = &cli.global;
    match cli.command {
        Command::Init(typed) => commands::init(settings::Init::new(global, &typed, environment)?),
        Command::Sync(typed) => commands::sync(settings::Sync::new(global, &typed, environment)?, progress),
        Command::Import(typed) => commands::import(settings::Import::new(global, &typed, environment)?),
        Command::Status(typed) => commands::status(settings::Status::new(global, &typed, environment)?),
        Command::Query(typed) => commands::query(settings::Query::new(global, &typed, environment)?),
        Command::Report(typed) => commands::report(settings::Report::new(global, &typed, environment)?),
        Command::Verify(typed) => commands::verify(settings::Verify::new(global, &typed, environment)?),
        Command::Backup(typed) => commands::backup(settings::Backup::new(global, &typed, environment)?),
        Command::Restore(typed) => commands::restore(settings::Restore::new(global, &typed, environment)?),
        Command::Rejects(typed) => commands::rejects(settings::Rejects::new(global, &typed, environment)?),
        Command::Prune(typed) => commands::prune(settings::Prune::new(global, &typed, environment)?),
        Command::Compact(typed) => commands::compact(settings::Compact::new(global, &typed, environment)?),
        Command::Demo(_) => commands::demo(settings::Demo::new(global, environment)?),
        Command::Completions(typed) => commands::show(&cli::completions(typed.shell)),
        Command::Man(typed) => commands::show(&cli::man(typed.command.as_deref())),
    }
}
