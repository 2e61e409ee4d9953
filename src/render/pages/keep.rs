//! What became of an archive's file: a copy of it, one put in its place, or the file written anew.

use std::time::Duration;

use serde::Serialize;

use crate::render::{counted, render_duration, render_size};

/// A backup; its fields are a contract.
#[derive(Debug, Serialize)]
pub struct BackedUp {
    /// What the process ends with.
    pub exit_code: u8,
    /// The copy.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Runs in it, where this version can count them.
    pub runs: Option<u64>,
    /// What is wrong with it.
    pub problems: Vec<String>,
    /// How long it took.
    pub duration_ms: u64,
}

impl BackedUp {
    /// In a line.
    pub fn describe(&self) -> String {
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
pub struct Restored {
    /// What the process ends with.
    pub exit_code: u8,
    /// The copy.
    pub file: String,
    /// The archive in whose place it is.
    pub db: String,
    /// Its size.
    pub bytes: u64,
    /// Runs in it, where this version can count them.
    pub runs: Option<u64>,
    /// When the last sync of the copy ended.
    pub as_of: Option<String>,
    /// Where that is now which was there before.
    pub set_aside: Option<String>,
    /// What is wrong with that.
    pub damage: Option<String>,
    /// How long it took.
    pub duration_ms: u64,
}

impl Restored {
    /// In a line.
    pub fn describe(&self) -> String {
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
pub struct Compacted {
    /// What the process ends with.
    pub exit_code: u8,
    /// The archive.
    pub file: String,
    /// Its size.
    pub bytes_before: u64,
    /// Its size now.
    pub bytes_after: u64,
    /// How long it took.
    pub duration_ms: u64,
}

impl Compacted {
    /// In a line.
    pub fn describe(&self) -> String {
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
pub fn milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

fn render_milliseconds(milliseconds: u64) -> String {
    render_duration(Duration::from_millis(milliseconds))
}
