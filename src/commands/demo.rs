//! `archive demo`: an emulated platform on loopback, real syncs against it, nothing to configure.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use super::sync::run_async;
use crate::api::{self, Client, Credentials, Kind};
use crate::emulator::{Emulator, history};
use crate::error::{CommandError, ExitCode};
use crate::query::Database;
use crate::render::pages::demo as page;
use crate::render::{self, Document, Screen};
use crate::report::{self, Asked};
use crate::settings::{self, DEFAULT_AT_A_TIME, DEFAULT_FULL_EVERY, DEFAULT_PAGE_SIZE};
use crate::store::Archive;
use crate::sync::{self, Options, Scope, Summary, now};
use crate::time::datetime_of_clock;

/// What the emulated history is drawn from. The README shows what this seed gives.
const SEED: u64 = 2;

/// Shows what the program does, on a platform of its own.
pub(crate) fn demo(settings: settings::Demo) -> Result<ExitCode, CommandError> {
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
        // The platform's documentation shows pages of 50 runs; larger ones would fetch all of it at once.
        platform.faults.page_cap = Some(50);
        let runs: usize = platform.connections.values().map(|connection| connection.listing.len()).sum();
        (platform.connections.len() as u64, runs as u64)
    };
    print(&page::platform(&emulator.url(), connections, runs))?;
    let first = sync_demo(&emulator, &path, settings.cache_mib)?;
    print(&page::synced("First sync:    ", &first))?;
    history::advance(&mut emulator.platform(), end - week, end, SEED);
    let second = sync_demo(&emulator, &path, settings.cache_mib)?;
    print(&page::synced("A week later:  ", &second))?;
    let asked = Asked::last_week(now()).map_err(anyhow::Error::msg)?;
    let report = report::compute(Database::open_two(&path)?, &asked)?;
    print(&page::reported(&report, &path))?;
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
        page_size: DEFAULT_PAGE_SIZE,
        is_page_size_given: false,
        pages_in_flight: DEFAULT_AT_A_TIME as usize,
        concurrency: DEFAULT_AT_A_TIME as usize,
        full_every: DEFAULT_FULL_EVERY,
        min_free: None,
    };
    run_async(async {
        let credentials = Credentials::Token("emulated-token".to_owned().into());
        let client = Client::new(api::Options::new(url.clone(), url, credentials))?;
        let archive = Archive::open(path, cache_mib)?;
        Ok(sync::sync(client, archive, options, Arc::default()).await?)
    })?
}

fn print(document: &Document) -> Result<(), CommandError> {
    render::print(&document.to_text(Screen::of_stdout()))
}
