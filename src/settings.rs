//! What was meant: flag over environment over configuration file over default, checked once.
//!
//! In: what was typed ([`cli`](crate::cli)), the [`Environment`] and `archive.toml`. Out: one plain struct
//! per command that needs no further check. Reads the configuration and the files of secrets that it
//! names; the database is not touched. No secret is in an error or in Debug output.

mod connections;
mod credentials;
mod defaults;
mod demo;
mod environment;
mod error;
mod file;
mod format;
mod import;
mod init;
mod keep;
mod platform;
mod query;
mod read;
mod report;
mod setup;
mod status;
mod sync;
#[cfg(test)]
mod tests;
mod values;

pub use self::credentials::CredentialsSource;
pub use self::defaults::{DEFAULT_AT_A_TIME, DEFAULT_FULL_EVERY, DEFAULT_PAGE_SIZE};
pub use self::demo::Demo;
pub use self::environment::Environment;
#[cfg(test)]
pub use self::environment::Folders;
pub use self::error::Error;
pub use self::format::{Format, Talk};
pub use self::import::{Import, Input};
pub use self::init::{Given, Init};
pub use self::keep::{Backup, Compact, Consent, Prune, Rejects, Restore, Verify};
pub use self::platform::Platform;
pub use self::query::{Query, Statement};
pub use self::report::Report;
pub use self::setup::Setup;
pub use self::status::Status;
pub use self::sync::Sync;
pub(crate) use crate::cli::{Color, LogFormat, QueryFormat, ReportFormat};
