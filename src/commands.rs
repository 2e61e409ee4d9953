//! One function per subcommand: settings in, exit code out.

mod demo;
mod import;
mod status;
mod sync;

pub use demo::demo;
pub use import::import;
pub use status::status;
pub use sync::sync;

use crate::api::SetupError;
use crate::error::{CommandError, ExitCode};
use crate::{render, store};

/// A JSON value as one line of data.
fn print_json(value: &serde_json::Value) -> Result<(), CommandError> {
    render::print(&format!("{value}\n"))
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
