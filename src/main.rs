//! The binary `archive`: arguments, settings, one command, its exit code.

use std::process::ExitCode;

use indicatif::MultiProgress;
use run_archive::cli::{self, Cli, Command};
use run_archive::settings::{self, Environment, Talk};
use run_archive::{commands, error, logging};

fn main() -> ExitCode {
    commands::forbid_core_dumps();
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(usage) => {
            // Help, the version, or a usage error; where nobody reads it there is no one to tell.
            usage.print().ok();
            return u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let environment = Environment::of_process(run_archive::sync::now());
    let progress = logging::start(&Talk::new(&cli.global, &environment));
    match run(cli, &environment, &progress) {
        Ok(code) => code.into(),
        Err(error) => {
            error.report();
            error.exit().into()
        }
    }
}

fn run(
    cli: Cli,
    environment: &Environment,
    progress: &MultiProgress,
) -> Result<error::ExitCode, error::CommandError> {
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
