//! `archive demo`: an emulated platform on loopback, real syncs against it, nothing to configure.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use super::sync::run_async;
use crate::api::{self, Client, Credentials, Kind};
use crate::emulator::{Emulator, history};
use crate::error::{CommandError, ExitCode};
use crate::query::Database;
use crate::render::{self, Screen, render_count, render_duration};
use crate::report::{self, Asked};
use crate::settings;
use crate::store::Archive;
use crate::sync::{self, Options, Scope, Summary, now};
use crate::time::datetime_of_clock;

/// Any number gives another history; this one is told in the README.
const SEED: u64 = 2;

/// Shows what the program does, on a platform of its own.
pub fn demo(settings: settings::Demo) -> Result<ExitCode, CommandError> {
    if SystemTime::now() < UNIX_EPOCH {
        // HTTP has no date before it, and the emulated platform's server panics for want of one.
        let error = anyhow::anyhow!("the clock of this machine shows a time before 1970");
        return Err(CommandError::new(ExitCode::Failed, error).with_hint("set the clock, and begin again"));
    }
    let path = settings.db.map_or_else(new_file, Ok)?;
    let end = datetime_of_clock(SystemTime::now());
    let week = chrono::TimeDelta::days(7);
    let emulator =
        Emulator::start(history::platform(end - week, SEED)).context("starting the emulated platform")?;
    let (connections, runs) = {
        let mut platform = emulator.platform();
        // Many small pages, as the platform's documentation shows them.
        platform.faults.page_cap = Some(50);
        let runs: usize = platform.connections.values().map(|connection| connection.listing.len()).sum();
        (platform.connections.len() as u64, runs as u64)
    };
    render::print(&format!(
        "An emulated platform at {} has an iTwin with {} of {}.\n",
        emulator.url(),
        super::counted(runs, "run"),
        super::counted(connections, "connection"),
    ))?;
    let first = sync_demo(&emulator, &path, settings.cache_mib)?;
    render::print(&told("First sync:    ", &first))?;
    history::advance(&mut emulator.platform(), end - week, end, SEED);
    let second = sync_demo(&emulator, &path, settings.cache_mib)?;
    render::print(&told("A week later:  ", &second))?;
    render::print(&told_report(&path)?)?;
    Ok(first.exit_code.max(second.exit_code))
}

/// A file in a new folder of its own.
fn new_file() -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir();
    for number in 1..=9_999 {
        let path = folder.join(format!("archive-demo-{number}"));
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            created => {
                created.with_context(|| format!("creating {}", path.display()))?;
                return Ok(path.join("archive.db"));
            }
        }
    }
    anyhow::bail!("{} is full of demos; remove its archive-demo folders", folder.display())
}

fn sync_demo(emulator: &Emulator, path: &Path, cache_mib: u32) -> Result<Summary, CommandError> {
    let url: url::Url = emulator.url().parse().context("the emulator's address")?;
    let itwins = emulator.platform().itwins.keys().cloned().collect();
    let options = Options {
        scope: Scope { itwins, kinds: vec![Kind::Export], ..Scope::default() },
        full: false,
        page_size: 1_000,
        is_page_size_given: false,
        pages_in_flight: 4,
        concurrency: 4,
        full_every: Duration::from_secs(7 * 86_400),
        min_free: None,
    };
    run_async(async {
        let credentials = Credentials::Token("emulated-token".to_owned().into());
        let client = Client::new(api::Options::new(url.clone(), url, credentials))?;
        let archive = Archive::open(path, cache_mib)?;
        Ok(sync::sync(client, archive, options, Arc::default()).await?)
    })?
}

fn told(when: &str, summary: &Summary) -> String {
    format!(
        "{when}{} stored, {} changed, {}; {} in {}\n",
        super::counted(summary.counts.new, "new run"),
        render_count(summary.counts.changed),
        summary.outcome.as_str(),
        super::counted(summary.requests, "request"),
        render_duration(Duration::from_millis(summary.duration_ms.unsigned_abs())),
    )
}

/// The report of the week that passed, and how to look further.
fn told_report(path: &Path) -> Result<String, CommandError> {
    let asked = Asked::last_week(now()).map_err(anyhow::Error::msg)?;
    let report = report::compute(Database::open_two(path)?, &asked)?;
    let path = path.display();
    Ok(format!(
        "\n{}\nThe archive is {path}. To look further:\n\n  \
         archive report --db {path} --format html --output report.html\n  \
         archive query --db {path} error-codes --since 4w\n  \
         sqlite3 -box {path} \"SELECT * FROM error_details LIMIT 5\"\n",
        render::text::render(&report, Screen::of_stdout()),
    ))
}
