//! `archive sync`: builds the client, shows progress on a terminal, tells the outcome.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::api::{self, Client, Reason};
use crate::error::{CommandError, ExitCode};
use crate::render;
use crate::settings::{self, Format};
use crate::store::{self, Archive, Reader};
use crate::sync::{self, Options, Outcome, Progress, Summary};

/// Brings the archive up to date with the platform.
pub fn sync(settings: settings::Sync, bars: &MultiProgress) -> Result<ExitCode, CommandError> {
    let is_dry_run = settings.dry_run;
    let (format, path, cache_mib) = (settings.format, settings.db.clone(), settings.cache_mib);
    let summary = run_async(async move {
        // What is wrong with the settings leaves no archive behind, and who cannot have the archive asks
        // the platform nothing.
        let client = client(&settings)?;
        let store = match is_dry_run {
            true => Store::ToCompare(open_to_compare(&path)?),
            false => Store::ToWrite(Archive::open(&path, cache_mib)?),
        };
        let progress = Arc::<Progress>::default();
        let options = options(settings);
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
    tell(&summary, is_dry_run);
    if format == Format::Json {
        super::print_json(&summary.to_json(is_dry_run))?;
    }
    Ok(summary.exit_code)
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

fn client(settings: &settings::Sync) -> Result<Client, CommandError> {
    let (api_url, issuer_url) = (settings.api_url.clone(), settings.issuer_url.clone());
    let mut options = api::Options::new(api_url, issuer_url, settings.credentials.clone());
    options.deadline = tokio::time::Instant::now().checked_add(settings.time_budget);
    // One more than a listing reads ahead, for each connection: memory is bounded by pages in flight.
    options.in_flight = settings.pages_in_flight + settings.concurrency;
    Client::new(options).map_err(CommandError::from)
}

fn options(settings: settings::Sync) -> Options {
    Options {
        connections: settings.connections,
        full: settings.full,
        page_size: settings.page_size,
        is_page_size_given: settings.is_page_size_given,
        pages_in_flight: settings.pages_in_flight,
        concurrency: settings.concurrency,
        full_every: settings.full_every,
    }
}

/// Runs a future to its end on this thread.
pub(super) fn run_async<T>(future: impl Future<Output = T>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting")?;
    Ok(runtime.block_on(future))
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
                bar.set_message(progress_line(client, progress));
                bar.tick();
            }
        }
    };
    bar.finish_and_clear();
    result
}

fn progress_line(client: &Client, progress: &Progress) -> String {
    let count =
        |counter: &std::sync::atomic::AtomicU64| render::render_count(counter.load(Ordering::Relaxed));
    let mut line = format!(
        "{} pages, {} runs, {} new, {} changed",
        count(&progress.pages),
        count(&progress.received),
        count(&progress.new),
        count(&progress.changed)
    );
    if let Some(pause) = client.paused_for() {
        line.push_str(&format!("; waiting {} s for the rate limit", pause.as_secs() + 1));
    }
    line
}

/// Ends when the process is interrupted (Ctrl-C) or terminated.
async fn asked_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Everything that an administrator must know, and one line in any case.
fn tell(summary: &Summary, is_dry_run: bool) {
    let hint = hint(summary);
    let mut problems = summary.problems().peekable();
    while let Some(problem) = problems.next() {
        // The hint is for all of them, so it follows the last.
        let hint = hint.filter(|_| problems.peek().is_none());
        tracing::error!(hint, "{}", problem.message);
    }
    for connection in &summary.connections {
        let rejected = connection.counts.rejected;
        if rejected > 0 {
            tracing::error!(
                "connection {}: {} could not be read and set aside in the table rejects, the runs beside are stored",
                connection.id,
                super::counted(rejected, "record")
            );
        }
        for (after, until) in &connection.gaps {
            tracing::warn!(
                "connection {}: runs that began between {after} and {until} may have come and gone unseen; sync more often",
                connection.id
            );
        }
    }
    let verb = if is_dry_run { "would be " } else { "" };
    let mut line = format!(
        "{}: {}, {} listed, {verb}{} new, {verb}{} changed",
        if is_dry_run { "dry run" } else { summary.outcome.as_str() },
        super::counted(summary.connections.len() as u64, "connection"),
        super::counted(summary.counts.listed, "run"),
        render::render_count(summary.counts.new),
        render::render_count(summary.counts.changed),
    );
    if summary.counts.rejected > 0 {
        line.push_str(&format!(", {} set aside", render::render_count(summary.counts.rejected)));
    }
    if summary.unlisted() > 0 {
        line.push_str(&format!(", {} no longer listed", render::render_count(summary.unlisted())));
    }
    line.push_str(&format!(
        "; {} in {}",
        super::counted(summary.requests, "request"),
        render::render_duration(Duration::from_millis(summary.duration_ms.unsigned_abs()))
    ));
    tracing::info!(target: "run_archive::summary", "{line}");
}

fn hint(summary: &Summary) -> Option<&'static str> {
    let has = |reason: fn(&Reason) -> bool| {
        summary.problems().any(|problem| problem.reason.as_ref().is_some_and(reason))
    };
    if summary.outcome == Outcome::Done {
        None
    } else if has(|reason| matches!(reason, Reason::Refused)) {
        Some(
            "set ITP_ACCESS_TOKEN to a token that is still valid, or both ITP_SERVICE_CLIENT_ID and ITP_SERVICE_CLIENT_SECRET",
        )
    } else if has(|reason| matches!(reason, Reason::Forbidden)) {
        Some("give the service application a role on the iTwin that lets it read the iModel")
    } else if has(|reason| matches!(reason, Reason::BudgetSpent { .. })) {
        Some("what came is stored and the next sync goes on from there; --time-budget gives it more time")
    } else {
        None
    }
}
