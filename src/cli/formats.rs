//! How results and messages are written: the words of `--format`, `--color` and `--log-format`.

use clap::ValueEnum;

/// How the result of a command is told that has more to say than a line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocumentFormat {
    /// For a terminal or a log
    #[default]
    Text,
    /// One JSON object on standard output
    Json,
    /// For an issue, a wiki or a chat, on standard output
    Markdown,
}

/// How the result of an import is told, or of work on the file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SummaryFormat {
    /// One line on standard error
    #[default]
    Text,
    /// One JSON object on standard output
    Json,
}

/// How the status is told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    /// A table for people
    #[default]
    Table,
    /// JSON for programs
    Json,
    /// For an issue, a wiki or a chat
    Markdown,
}

/// How a report is told.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For a terminal or a mail
    #[default]
    Text,
    /// For a wiki or a chat
    Markdown,
    /// One page with charts that needs no network
    Html,
    /// For programs
    Json,
}

/// How the rows of a query are written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryFormat {
    /// A table for people
    #[default]
    Table,
    /// One JSON array
    Json,
    /// One JSON object per line
    Ndjson,
    /// CSV with a header line
    Csv,
    /// A Markdown table
    Markdown,
}

/// Whether messages are colored.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// Where standard error is a terminal
    #[default]
    Auto,
    /// In files and pipes too
    Always,
    /// Plain text only
    Never,
}

/// How messages on standard error are written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object per line, errors too
    Json,
}
