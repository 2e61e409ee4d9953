//! One function per subcommand: settings in, exit code out.

mod demo;
mod import;
mod query;
mod report;
mod status;
mod sync;

pub use demo::demo;
pub use import::import;
pub use query::query;
pub use report::report;
pub use status::status;
pub use sync::sync;

use std::collections::HashSet;
use std::io;

use crate::api::{ConnectionId, SetupError};
use crate::error::{CommandError, ExitCode};
use crate::query::{Cell, Database, Error as QueryError, Excerpt, Limits, Sink};
use crate::{render, store};

/// A JSON value as one line of data.
fn print_json(value: &serde_json::Value) -> Result<(), CommandError> {
    render::print(&format!("{value}\n"))
}

/// The ids of these connections, which must all be archived.
fn known_connections(database: &Database, wanted: &[ConnectionId]) -> Result<Vec<String>, CommandError> {
    let mut known = Known::default();
    database.stream("SELECT id FROM connections", &[], Limits::default(), &mut known)?;
    if let Some(unknown) = wanted.iter().find(|wanted| !known.0.contains(wanted.as_str())) {
        let error = anyhow::anyhow!("connection {unknown} is not in this archive");
        return Err(
            CommandError::new(ExitCode::Usage, error).with_hint("archive status lists those that are")
        );
    }
    Ok(wanted.iter().map(|wanted| wanted.as_str().to_owned()).collect())
}

/// The texts of a column.
#[derive(Default)]
struct Known(HashSet<String>);

impl Sink for Known {
    fn columns(&mut self, _: &[String]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        if let [Cell::Text(id)] = cells {
            self.0.insert(id.clone().into_owned());
        }
        Ok(())
    }
}

impl From<QueryError> for CommandError {
    fn from(error: QueryError) -> Self {
        use QueryError as E;
        let excerpt = match &error {
            E::Sql { excerpt, .. } => excerpt.as_ref().map(Excerpt::to_string),
            _ => None,
        };
        let (exit, hint) = match error {
            E::Store(error) => return error.into(),
            E::Refused(_)
            | E::Empty
            | E::Several
            | E::Sql { .. }
            | E::UnknownParameter { .. }
            | E::Unnamed(_)
            | E::File { .. } => (ExitCode::Usage, None),
            E::Timeout(_) => (ExitCode::Failed, Some("--timeout says how long a query may take")),
            E::Memory | E::Row { .. } | E::Sink(_) => (ExitCode::Failed, None),
        };
        let mut error = Self::new(exit, error);
        if let Some(excerpt) = excerpt {
            error = error.with_excerpt(excerpt);
        }
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// `1 run`, `2,000 runs`.
fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", render::render_count(number))
}

impl From<store::Error> for CommandError {
    fn from(error: store::Error) -> Self {
        use store::Error as E;
        let (exit, hint) = match &error {
            E::Held { .. } => (ExitCode::Held, Some("it lets go when it ends; this run has changed nothing")),
            E::Missing(_) => {
                (ExitCode::Failed, Some("archive sync makes it; --db or ARCHIVE_DB says where it is"))
            }
            E::NotADatabase(_) | E::NotAnArchive(_) => {
                (ExitCode::Failed, Some("choose another file with --db or ARCHIVE_DB"))
            }
            E::Newer { .. } => (ExitCode::Failed, Some("install the newer version of archive")),
            E::Older(_) => (ExitCode::Failed, Some("archive sync or archive import brings it up to date")),
            E::Damaged { .. } => (
                ExitCode::Failed,
                Some("keep the file, and restore a copy; sqlite3's .recover reads what is left"),
            ),
            E::Full(_) => (ExitCode::Failed, Some("make room; the next sync goes on where this one stopped")),
            E::ReadOnly { .. } | E::Io { .. } | E::Sqlite { .. } => (ExitCode::Failed, None),
        };
        let error = Self::new(exit, error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl From<SetupError> for CommandError {
    fn from(error: SetupError) -> Self {
        Self::new(ExitCode::Usage, error)
    }
}
