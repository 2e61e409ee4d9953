//! `archive verify`: the file against its own rules, and the archive against the platform.

use super::sync::{client, remember_requests, run_async};
use crate::error::{CommandError, ExitCode};
use crate::render::pages::verify::{Verification, describe_outcome, document};
use crate::settings::{self, CredentialsSource};
use crate::store::syncs::SyncTotals;
use crate::store::{Archive, Reader};
use crate::sync::now;
use crate::verify::{self, Options, Report};

pub(crate) fn verify(settings: settings::Verify) -> Result<ExitCode, CommandError> {
    let connections = super::known_connections(&settings.db, &settings.connections)?;
    // A repair that finds the archive held ends here, before the platform is asked.
    let mut archive =
        if settings.repair { Some(Archive::open(&settings.db, settings.cache_mib)?) } else { None };
    let before = verify::check_offline(&settings.db)?;
    let mut report = Report {
        offline: before,
        repaired_offline: 0,
        compared: Vec::new(),
        unlisted: 0,
        requests: 0,
        was_accepted: true,
        is_repair: settings.repair,
        mended: Vec::new(),
    };
    if let Some(archive) = &mut archive {
        // First, so that no view of somebody else is read, and nothing refuses what is stored below.
        report.mended = archive.write(Archive::repair_schema)?;
        archive.require_connections()?;
    }
    let sync_key = match &mut archive {
        Some(archive) => Some(archive.write(|archive| archive.begin_sync("verify", &now()))?),
        None => None,
    };
    if let Some(archive) = &mut archive {
        archive.write(|archive| archive.set_orphans_aside(&now()))?;
    }
    let is_readable = report.is_repair || !report.offline.is_schema_altered();
    if let Some(platform) = settings.platform.as_ref().filter(|_| is_readable) {
        let options =
            Options { connections, page_size: platform.page_size, pages_in_flight: platform.pages_in_flight };
        run_async(async {
            let client = client(platform, platform.pages_in_flight + 1)?;
            let reader = Reader::open(&settings.db)?;
            remember_requests(&client, &reader, &platform.request_limits)?;
            let compared = verify::compare_all(&client, &reader, archive.as_mut(), &options).await?;
            (report.compared, report.unlisted) = compared;
            (report.requests, report.was_accepted) = (client.requests(), client.was_accepted());
            Ok::<_, CommandError>(())
        })??;
    }
    if let (Some(mut archive), Some(sync_key)) = (archive, sync_key) {
        let broken = report.offline.broken();
        if broken > 0 || report.offline.digests.without > 0 {
            archive.write(|archive| archive.repair_derived())?;
        }
        report.offline = verify::check_offline(&settings.db)?;
        report.repaired_offline = broken.saturating_sub(report.offline.broken());
        let code = report.exit_code();
        let outcome = if code == ExitCode::Done { "done" } else { "partial" };
        let totals = SyncTotals {
            requests: report.requests,
            connections: report.compared.len() as u64,
            ..SyncTotals::default()
        };
        archive
            .write(|archive| archive.end_sync(sync_key, &now(), &totals, (outcome, code.number(), None)))?;
        archive.close()?;
    }
    super::print(settings.format, &Verification::from(&report), || {
        document(&report, settings.platform.is_some())
    })?;
    let code = report.exit_code();
    let source = settings.platform.as_ref().map(|platform| &platform.credentials_source);
    log_outcome(&report, code, source);
    Ok(code)
}

/// The one line that sums it up, with what to do.
fn log_outcome(report: &Report, code: ExitCode, credentials: Option<&CredentialsSource>) {
    let outcome = describe_outcome(report, code);
    if code == ExitCode::Done {
        tracing::info!(target: "run_archive::summary", "{outcome}");
        return;
    }
    let mut reasons = report.compared.iter().filter_map(|compared| compared.reason);
    let of_platform =
        credentials.and_then(|source| reasons.find_map(|reason| super::hint_for(reason, source)));
    let of_archive = match code {
        ExitCode::Refused => None,
        _ if report.is_repair => Some(
            "what only the platform knows is repaired without --offline, while it still lists it; else restore a backup",
        ),
        _ => Some("archive verify --repair stores what the platform lists and tells anew what the rows tell"),
    };
    tracing::error!(hint = of_platform.as_deref().or(of_archive), "{outcome}");
}
