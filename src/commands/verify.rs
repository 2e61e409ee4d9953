//! `archive verify`: the file against its own rules, and the archive against the platform.

use super::sync::{client, remember_requests, run_async};
use crate::error::{CommandError, ExitCode};
use crate::render::pages::verify::{VerifyResult, describe_outcome, document};
use crate::settings::{self, CredentialsSource};
use crate::store::{Archive, Reader};
use crate::verify::{self, Options, Report};

pub(crate) fn verify(settings: settings::Verify) -> Result<ExitCode, CommandError> {
    let connections = super::known_connections(&settings.db, &settings.connections)?;
    // A repair that finds the archive held ends here, before the platform is asked.
    let archive = if settings.repair { Some(Archive::open(&settings.db, settings.cache_mib)?) } else { None };
    let mut verification = verify::Verification::begin(&settings.db, archive)?;
    if let Some(platform) = settings.platform.as_ref().filter(|_| verification.is_comparable()) {
        let options =
            Options { connections, page_size: platform.page_size, pages_in_flight: platform.pages_in_flight };
        run_async(async {
            let client = client(platform, platform.pages_in_flight + 1)?;
            remember_requests(&client, &Reader::open(&settings.db)?, &platform.request_limits)?;
            Ok::<_, CommandError>(verification.compare(&client, &options).await?)
        })??;
    }
    let report = verification.end()?;

    super::print(settings.format, &VerifyResult::from(&report), || {
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
