//! What can go wrong with a query, and where in its text.

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use crate::store;

/// What can go wrong with a query.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The statement would do more than read.
    #[error("{0} is not allowed: this connection only reads")]
    Refused(String),
    /// There is nothing to do.
    #[error("there is no SQL statement")]
    Empty,
    #[error("there is more than one SQL statement")]
    Several,
    /// SQLite does not understand the statement, or it cannot be carried out.
    #[error("{place}{problem}", place = .excerpt.as_ref().map(Excerpt::place).unwrap_or_default())]
    Sql {
        /// What SQLite says.
        problem: String,
        /// Where, if it says so.
        excerpt: Option<Excerpt>,
    },
    /// A parameter was given that the statement does not have.
    #[error("there is no parameter {name}; {takes}", takes = describe_takes(.takes))]
    UnknownParameter { name: String, takes: Vec<String> },
    /// The statement has a parameter without a name.
    #[error("the parameter {0} has no name: write :name")]
    Unnamed(String),
    #[error("the query was stopped after {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// It needs too much memory.
    #[error("the query needs more memory than it may have ({} MiB)", super::guard::HEAP_BYTES >> 20)]
    Memory,
    /// A row is not what the program expects of its own query.
    #[error("reading a row of {query}: {problem}")]
    Row { query: String, problem: String },
    /// The program asks one of its own queries, and there is none of this name.
    #[error("there is no query {0}")]
    NoQuery(&'static str),
    /// A query's comment names no step for `:bounds`.
    #[error("the comment says Step: {step}; write day, week, or a parameter such as :by")]
    Step { step: String },
    #[error("the query {}: {problem}", .path.display())]
    File {
        /// The file, or the folder.
        path: PathBuf,
        problem: String,
    },
    /// The rows could not be handed on.
    #[error(transparent)]
    Sink(#[from] io::Error),
}

fn describe_takes(takes: &[String]) -> String {
    match takes {
        [] => "the query takes none".to_owned(),
        takes => format!("the query takes {}", takes.join(", ")),
    }
}

/// A place in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The whole line.
    pub text: String,
}

impl Excerpt {
    pub(super) fn at(sql: &str, offset: usize) -> Option<Self> {
        let before = sql.get(..offset)?;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let text = sql[start..].lines().next().unwrap_or_default().to_owned();
        Some(Self {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            text,
        })
    }

    fn place(&self) -> String {
        format!("line {}, column {}: ", self.line, self.column)
    }
}

/// The line, or the part of a long one around the place, and below it a sign that points there.
impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Characters shown before the place, and in all, so that a terminal of 80 columns breaks no line and
        // the sign below points at the right character.
        const BEFORE: usize = 50;
        const SHOWN: usize = 75;
        let skipped = (self.column - 1).saturating_sub(BEFORE);
        let shown: String = self.text.chars().skip(skipped).take(SHOWN).collect();
        write!(f, "{shown}\n{:width$}^", "", width = self.column - 1 - skipped)
    }
}

/// Results of this module.
pub(crate) type Result<T> = std::result::Result<T, Error>;
