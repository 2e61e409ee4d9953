//! What became of an archive's file: a copy of it, one put in its place, or the file written anew.

use std::time::Duration;

use serde::Serialize;

use crate::error::ExitCode;
use crate::render::{counted, render_duration, render_size};

/// A backup; its fields are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct BackedUp {
    pub exit_code: ExitCode,
    pub file: String,
    pub bytes: u64,
    /// Runs in it, where this version can count them.
    pub runs: Option<u64>,
    pub problems: Vec<String>,
    pub duration_ms: u64,
}

impl BackedUp {
    pub(crate) fn describe(&self) -> String {
        format!(
            "{}: {}{} in {}, {}",
            self.file,
            runs_and_comma(self.runs),
            render_size(self.bytes),
            render_milliseconds(self.duration_ms),
            if self.problems.is_empty() { "verified" } else { "not sound" },
        )
    }
}

/// A restored copy; its fields are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct Restored {
    pub exit_code: ExitCode,
    pub file: String,
    /// The archive in whose place it is.
    pub db: String,
    pub bytes: u64,
    /// Runs in it, where this version can count them.
    pub runs: Option<u64>,
    /// When the last sync of the copy ended.
    pub as_of: Option<String>,
    /// The file that the replaced archive is kept in.
    pub set_aside: Option<String>,
    /// All files that were set aside.
    pub kept: Vec<String>,
    /// What is wrong with the replaced archive.
    pub damage: Option<String>,
    pub duration_ms: u64,
}

impl Restored {
    pub(crate) fn describe(&self) -> String {
        let as_of = self.as_of.as_deref().and_then(|time| time.get(..19));
        format!(
            "{}: {}{}{}, restored from {} in {}",
            self.db,
            runs_and_comma(self.runs),
            render_size(self.bytes),
            as_of.map(|time| format!(", as of {time}Z")).unwrap_or_default(),
            self.file,
            render_milliseconds(self.duration_ms),
        )
    }
}

/// A file written anew; its fields are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct Compacted {
    pub exit_code: ExitCode,
    pub file: String,
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub duration_ms: u64,
}

impl Compacted {
    pub(crate) fn describe(&self) -> String {
        format!(
            "{}: {} before, {} now, in {}",
            self.file,
            render_size(self.bytes_before),
            render_size(self.bytes_after),
            render_milliseconds(self.duration_ms)
        )
    }
}

fn runs_and_comma(runs: Option<u64>) -> String {
    runs.map(|runs| format!("{}, ", counted(runs, "run"))).unwrap_or_default()
}

/// A length of time as JSON has it.
pub(crate) fn milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

fn render_milliseconds(milliseconds: u64) -> String {
    render_duration(Duration::from_millis(milliseconds))
}
