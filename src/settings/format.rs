//! How results are written, and how a command talks meanwhile.

use super::environment::Environment;
use crate::cli::{Color, DocumentFormat, Global, LogFormat, StatusFormat, SummaryFormat};

/// How to talk on standard error.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Talk {
    pub quiet: bool,
    /// How often `-v` was given.
    pub verbosity: u8,
    /// Text or JSON.
    pub log_format: LogFormat,
    /// `Never` where `NO_COLOR` or a dumb terminal says so and no flag says otherwise.
    pub color: Color,
}

impl Talk {
    /// Known before any file is read, so that reading one can be talked about.
    pub(crate) fn new(typed: &Global, environment: &Environment) -> Self {
        let is_plain = environment.path("NO_COLOR").is_some()
            || environment.path("TERM").is_some_and(|term| term == *"dumb");
        let color = match typed.color.unwrap_or_default() {
            Color::Auto if is_plain => Color::Never,
            color => color,
        };
        let log_format = typed.log_format.unwrap_or_default();
        Self { quiet: typed.quiet, verbosity: typed.verbose, log_format, color }
    }
}

/// How a result is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A line or a table for people.
    Text,
    Json,
    /// For an issue, a wiki or a chat.
    Markdown,
}

impl From<DocumentFormat> for Format {
    fn from(format: DocumentFormat) -> Self {
        match format {
            DocumentFormat::Text => Self::Text,
            DocumentFormat::Json => Self::Json,
            DocumentFormat::Markdown => Self::Markdown,
        }
    }
}

impl From<SummaryFormat> for Format {
    fn from(format: SummaryFormat) -> Self {
        match format {
            SummaryFormat::Text => Self::Text,
            SummaryFormat::Json => Self::Json,
        }
    }
}

impl From<StatusFormat> for Format {
    fn from(format: StatusFormat) -> Self {
        match format {
            StatusFormat::Table => Self::Text,
            StatusFormat::Json => Self::Json,
            StatusFormat::Markdown => Self::Markdown,
        }
    }
}
