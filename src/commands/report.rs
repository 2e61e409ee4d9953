//! `archive report`: the summary of a period, to standard output or into a file.

use std::io;

use crate::api::ConnectionId;
use crate::error::{CommandError, ExitCode};
use crate::query::Database;
use crate::render::{Output, Screen, pages, verdict};
use crate::report::figures::{Report, Verdict};
use crate::report::{self, Asked};
use crate::settings::{self, ReportFormat};

pub(crate) fn report(settings: settings::Report) -> Result<ExitCode, CommandError> {
    let databases = Database::open_two(&settings.db)?;
    let asked = Asked {
        period: settings.period,
        compared_with: settings.compared_with,
        baseline: settings.baseline,
        zone: settings.zone,
        as_of: settings.as_of,
        is_of_now: settings.is_of_now,
        connections: super::known_connections(&settings.db, &settings.connections)?
            .iter()
            .map(ConnectionId::with_kind)
            .collect(),
        min_runs: settings.min_runs,
        fail_over: settings.fail_over,
    };
    let report = report::compute(databases, &asked)?;
    let text = match settings.format {
        ReportFormat::Text => {
            // A file has no width of its own; 80 columns fit into a mail and onto paper.
            let file = Screen { is_terminal: false, width: 80 };
            let screen = if settings.output.is_some() { file } else { Screen::of_stdout() };
            pages::report::document(&report).to_text(screen)
        }
        ReportFormat::Markdown => pages::report::document(&report).to_markdown(),
        ReportFormat::Html => pages::report::to_html(&report),
        ReportFormat::Json => to_json(&report)?,
    };
    write(&settings, &text)?;
    for alarm in &report.verdict.alarms {
        tracing::error!(
            "the failure rate of {} is {:.1}%, above {:.1}%",
            alarm.connection.as_deref().unwrap_or("all connections together"),
            alarm.failure_rate * 100.0,
            alarm.threshold * 100.0
        );
    }
    Ok(if report.verdict.alarms.is_empty() { ExitCode::Done } else { ExitCode::Alarm })
}

/// The figures, and the verdict in words among them.
fn to_json(report: &Report) -> Result<String, CommandError> {
    let verdict = Verdict {
        text: Some(verdict(report)),
        headline: pages::report::headline(report),
        ..report.verdict.clone()
    };
    let report = Report { verdict, ..report.clone() };
    let text = serde_json::to_string_pretty(&report).map_err(anyhow::Error::new)?;
    Ok(text + "\n")
}

/// To standard output, or the whole file at once: whoever reads it meanwhile sees the old one.
fn write(settings: &settings::Report, text: &str) -> Result<(), CommandError> {
    let (output, mut writer) = Output::open(settings.output.as_deref(), &settings.db)?;
    match writer.write_all(text.as_bytes()).and_then(|()| writer.flush()) {
        Ok(()) => output.keep(),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe && output.may_be_left() => Ok(()),
        Err(error) => Err(output.failed(error)),
    }
}
