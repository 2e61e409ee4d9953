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

pub(crate) use self::credentials::CredentialsSource;
pub(crate) use self::defaults::{DEFAULT_AT_A_TIME, DEFAULT_FULL_EVERY, DEFAULT_PAGE_SIZE};
pub(crate) use self::demo::Demo;
pub(crate) use self::environment::Environment;
#[cfg(test)]
pub(crate) use self::environment::Folders;
pub(crate) use self::error::Error;
pub(crate) use self::format::{Format, Talk};
pub(crate) use self::import::{Import, Input};
pub(crate) use self::init::{Given, Init};
pub(crate) use self::keep::{Backup, Compact, Consent, Prune, Rejects, Restore, Verify};
pub(crate) use self::platform::Platform;
pub(crate) use self::query::{Query, Statement};
pub(crate) use self::report::Report;
pub(crate) use self::setup::Setup;
pub(crate) use self::status::Status;
pub(crate) use self::sync::Sync;
pub(crate) use crate::cli::{Color, LogFormat, QueryFormat, ReportFormat};
