//! `archive sync`: builds the client, shows progress on a terminal, tells the outcome.

use std::borrow::Cow;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::api::{self, Client, Reason, RequestLimit};
use crate::error::{CommandError, ExitCode};
use crate::render::counted;
use crate::render::pages::sync::{self as page, SyncResult};
use crate::settings::{self, CredentialsSource, Format};
use crate::store::fleet::KnownConnection;
use crate::store::{self, Archive, Reader};
use crate::sync::{self, Options, Outcome, Progress, Scope, Summary};

/// Problems that are logged one by one; the table `walks` and `--format json` have all of them.
const MOST_TOLD: usize = 20;

/// What to do where nothing is found.
const NOTHING_SEEN: &str = "give the service application a role on the iTwin, or check the ids; archive init \
                            lists the iTwins that it sees";

/// Brings the archive up to date with the platform.
pub(crate) fn sync(settings: settings::Sync, bars: &MultiProgress) -> Result<ExitCode, CommandError> {
    let is_dry_run = settings.dry_run;
    let (format, path, cache_mib) = (settings.format, settings.db.clone(), settings.cache_mib);
    if settings.estimate {
        return estimate(settings, bars);
    }
    let credentials_source = settings.platform.credentials_source.clone();
    let summary = run_async(async move {
        // The client checks the settings before the archive is opened, so that wrong ones leave no new file behind.
        // The archive is opened before the first request, so that a sync that finds it held asks nothing.
        let client = client(&settings.platform, settings.platform.pages_in_flight + settings.concurrency)?;
        let store = if is_dry_run {
            Store::ToCompare(open_to_compare(&path)?)
        } else {
            Store::ToWrite(Archive::open(&path, cache_mib)?)
        };
        let known = match &store {
            Store::ToWrite(archive) => {
                remember_requests(&client, &Reader::open(&path)?, &settings.platform.request_limits)?;
                archive.read_connections()?
            }
            Store::ToCompare(Some(reader)) => {
                remember_requests(&client, reader, &settings.platform.request_limits)?;
                reader.read_connections()?
            }
            Store::ToCompare(None) => Vec::new(),
        };
        let progress = Arc::<Progress>::default();
        let options = options(settings, &known)?;
        match store {
            Store::ToWrite(archive) => {
                let sync = sync::sync(client.clone(), archive, options, progress.clone());
                Ok::<_, CommandError>(watch(sync, &client, &progress, bars).await?)
            }
            Store::ToCompare(reader) => {
                let sync = sync::dry_run(client.clone(), reader, options, progress.clone());
                Ok(watch(sync, &client, &progress, bars).await)
            }
        }
    })??;
    log_summary(&summary, &credentials_source, is_dry_run);
    match format {
        Format::Text => {}
        Format::Json | Format::Markdown => {
            let json = SyncResult::new(&summary, is_dry_run);
            super::print(format, &json, || page::document(&summary, is_dry_run))?;
        }
    }
    Ok(summary.exit_code)
}

/// Says what a first sync would cost.
fn estimate(settings: settings::Sync, bars: &MultiProgress) -> Result<ExitCode, CommandError> {
    let (format, limits) = (settings.format, settings.platform.request_limits.clone());
    let credentials_source = settings.platform.credentials_source.clone();
    let (estimate, was_accepted) = run_async(async move {
        let client = client(&settings.platform, settings.platform.pages_in_flight + settings.concurrency)?;
        let mut known = Vec::new();
        if let Some(reader) = open_to_compare(&settings.db)? {
            remember_requests(&client, &reader, &settings.platform.request_limits)?;
            known = reader.read_connections()?;
        }
        let options = options(settings, &known)?;
        let progress = Progress::default();
        let estimate = sync::estimate(&client, &options, &limits);
        let estimate = watch(estimate, &client, &progress, bars).await;
        Ok::<_, CommandError>((estimate, client.was_accepted()))
    })??;
    let reasons = estimate.problems.iter().filter_map(sync::Problem::reason);
    let hint = reasons.filter_map(|reason| super::hint_for(reason, &credentials_source)).next();
    let told = estimate.problems.len().min(MOST_TOLD);
    for (at, problem) in estimate.problems.iter().take(told).enumerate() {
        // The hint is for all of them, so it follows the last.
        let hint = hint.as_deref().filter(|_| at + 1 == told);
        tracing::error!(hint, "{problem}");
    }
    if estimate.connections == 0 && estimate.problems.is_empty() {
        tracing::error!(hint = NOTHING_SEEN, "no connection was found: {}", sync::WHY_NOTHING);
    }
    super::print(format, &estimate, || page::estimate(&estimate))?;
    let is_refused = estimate.problems.iter().any(|problem| problem.reason() == Some(Reason::Refused));
    Ok(match estimate.problems.is_empty() {
        true if estimate.connections == 0 => ExitCode::Partial,
        true => ExitCode::Done,
        false if is_refused && !was_accepted => ExitCode::Refused,
        false if estimate.connections == 0 => ExitCode::Failed,
        false => ExitCode::Partial,
    })
}

/// Requests of the last syncs count against the limits: the platform counts them too.
pub(super) fn remember_requests(
    client: &Client,
    reader: &Reader,
    limits: &[RequestLimit],
) -> Result<(), store::Error> {
    let Some(longest) = limits.iter().map(|limit| limit.length).max() else { return Ok(()) };
    let now = sync::now();
    let Some(since) = now.before(longest) else { return Ok(()) };
    for (requested_at, requests) in reader.read_requests_since(&since)? {
        // A sync that lies in the future was dated by a clock that was set back since; its requests count as sent now.
        let ago = requested_at.milliseconds_until(&now).unwrap_or_default();
        client.remember_requests(requests, Duration::from_millis(ago.unsigned_abs()));
    }
    Ok(())
}

enum Store {
    ToWrite(Archive),
    ToCompare(Option<Reader>),
}

fn open_to_compare(path: &std::path::Path) -> Result<Option<Reader>, store::Error> {
    match Reader::open(path) {
        Err(store::Error::Missing(_)) => Ok(None),
        opened => opened.map(Some),
    }
}

/// A client with so many requests, or answers not yet used, at a time: one more than a listing reads ahead,
/// for each connection, so that memory is bounded by pages in flight.
pub(super) fn client(platform: &settings::Platform, in_flight: usize) -> Result<Client, CommandError> {
    let (api_url, issuer_url) = (platform.api_url.clone(), platform.issuer_url.clone());
    let mut options = api::Options::new(api_url, issuer_url, platform.credentials.clone());
    options.deadline = tokio::time::Instant::now().checked_add(platform.time_budget);
    options.in_flight = in_flight;
    options.limits = platform.request_limits.clone();
    Client::new(options).map_err(CommandError::from)
}

fn options(settings: settings::Sync, known: &[KnownConnection]) -> Result<Options, CommandError> {
    let mut connections = settings.connections;
    for typed in settings.chosen {
        // A connection that is not archived yet can only be named by its id; the platform knows whether it exists. No
        // id holds a blank, so that a text with one is a mistyped name.
        let chosen = super::choose_connection(known, &typed)?;
        if chosen.is_none() && typed.as_str().contains(char::is_whitespace) {
            return Err(super::unknown(known, &typed));
        }
        connections.push(chosen.unwrap_or(typed));
    }
    let scope =
        Scope { connections, imodels: settings.imodels, itwins: settings.itwins, kinds: settings.kinds };
    Ok(Options {
        scope,
        full: settings.full,
        page_size: settings.platform.page_size,
        is_page_size_given: settings.is_page_size_given,
        pages_in_flight: settings.platform.pages_in_flight,
        concurrency: settings.concurrency,
        full_every: settings.full_every,
        min_free: settings.min_free,
    })
}

/// Runs a future to its end on this thread.
pub(super) fn run_async<T>(future: impl Future<Output = T>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting")?;
    let done = runtime.block_on(future);
    // An answer that is still being read is not used any more, and waiting for it would keep the process alive.
    runtime.shutdown_background();
    Ok(done)
}

/// Waits for a sync while showing how far it is, and ends it in good order when asked to.
async fn watch<T>(
    sync: impl Future<Output = T>,
    client: &Client,
    progress: &Progress,
    bars: &MultiProgress,
) -> T {
    let bar = bars.add(ProgressBar::new_spinner());
    // The template is a constant that indicatif reads.
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let mut sync = pin!(sync);
    let mut asked_to_stop = pin!(asked_to_stop());
    let mut is_stopping = false;
    let result = loop {
        tokio::select! {
            biased;
            result = &mut sync => break result,
            () = &mut asked_to_stop, if !is_stopping => {
                is_stopping = true;
                tracing::warn!("asked to stop: storing what has come, the next sync goes on from there");
                client.stop();
            }
            _ = tick.tick() => {
                bar.set_message(page::describe_progress(progress, client.paused_for()));
                bar.tick();
            }
        }
    };
    bar.finish_and_clear();
    result
}

/// Ends when the process is interrupted (Ctrl-C), terminated, or its terminal has gone.
async fn asked_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        if let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) {
            // `nohup` ignores the signal so that the sync goes on when the terminal closes.
            let hangup = if is_hangup_ignored() { None } else { signal(SignalKind::hangup()).ok() };
            let hung_up = async {
                match hangup {
                    Some(mut hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hung_up => {} }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Whether this process was started with SIGHUP ignored; told by Linux alone.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The mask has a bit for each signal; SIGHUP is signal 1, and so the lowest bit.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Everything that an administrator must know, and one line in any case.
fn log_summary(summary: &Summary, credentials: &CredentialsSource, is_dry_run: bool) {
    let hint = hint(summary, credentials);
    let hint = hint.as_deref();
    let count = summary.problems().count();
    let untold = count.saturating_sub(MOST_TOLD);
    let mut problems = summary.problems().take(MOST_TOLD).peekable();
    while let Some(problem) = problems.next() {
        // The hint is for all of them, so it follows the last.
        let hint = hint.filter(|_| problems.peek().is_none() && untold == 0);
        tracing::error!(hint, "{problem}");
    }
    if untold > 0 {
        tracing::error!(hint, "{} more; --format json tells all", counted(untold as u64, "problem"));
    }
    for connection in &summary.connections {
        page::describe_rejects(connection).iter().for_each(|note| tracing::error!("{note}"));
        page::describe_gaps(connection).for_each(|note| tracing::warn!("{note}"));
    }
    let line = page::describe_outcome(summary, is_dry_run);
    tracing::info!(target: "run_archive::summary", "{line}");
}

/// Whether more time might have brought more.
fn is_out_of_time(reason: &Reason) -> bool {
    matches!(reason, Reason::BudgetSpent { .. } | Reason::ShareSpent | Reason::PauseTooLong { .. })
}

/// What to do next: the most pressing of all that went wrong.
fn hint(summary: &Summary, credentials: &CredentialsSource) -> Option<Cow<'static, str>> {
    if summary.outcome == Outcome::Done {
        return None;
    }
    if summary.found.is_nothing {
        return Some(NOTHING_SEEN.into());
    }
    let pressing: [fn(&Reason) -> bool; 4] = [
        |reason| matches!(reason, Reason::Unreachable(_)),
        |reason| matches!(reason, Reason::Refused),
        |reason| matches!(reason, Reason::Forbidden),
        is_out_of_time,
    ];
    // Where the sync failed nothing was answered at all, and more time would not help.
    let helps = |reason: &Reason| summary.exit_code != ExitCode::Failed || !is_out_of_time(reason);
    let reasons = || summary.problems().filter_map(sync::Problem::reason).filter(helps);
    let found = pressing.iter().find_map(|is_it| reasons().find(is_it));
    if let Some(hint) = found.and_then(|reason| super::hint_for(reason, credentials)) {
        return Some(hint.into());
    }
    let hint = match summary.outcome {
        Outcome::Failed => "nothing that is archived is lost; the next sync asks again",
        _ => "what came is stored; the next sync asks again for the rest",
    };
    Some(hint.into())
}
