//! What an import of saved pages did.

use serde::Serialize;

use crate::error::ExitCode;
use crate::import::Summary;
use crate::render::{counted, render_count};

/// An import; its fields are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct ImportResult {
    exit_code: ExitCode,
    files: u64,
    pages: u64,
    received: u64,
    new: u64,
    changed: u64,
    unchanged: u64,
    rejected: u64,
    problems: Vec<String>,
}

impl ImportResult {
    pub(crate) fn new(summary: &Summary, exit_code: ExitCode) -> Self {
        let counts = summary.counts;
        Self {
            exit_code,
            files: summary.files,
            pages: summary.pages,
            received: counts.received,
            new: counts.new,
            changed: counts.changed,
            unchanged: counts.unchanged,
            rejected: counts.rejected,
            problems: summary.problems.iter().map(ToString::to_string).collect(),
        }
    }

    pub(crate) fn describe_outcome(&self) -> String {
        let outcome = match (self.exit_code == ExitCode::Done, self.pages) {
            (true, _) => "done",
            (false, 0) => "failed",
            (false, _) => "partial",
        };
        format!(
            "{outcome}: {} from {}, {} new, {} changed, {} unchanged, {} set aside",
            counted(self.pages, "page"),
            counted(self.files, "file"),
            render_count(self.new),
            render_count(self.changed),
            render_count(self.unchanged),
            render_count(self.rejected),
        )
    }
}
