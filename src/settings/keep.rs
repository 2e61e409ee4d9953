//! What `archive verify`, `archive backup`, `archive restore` and `archive rejects` are to do: the commands
//! that keep the archive what it is.

use std::path::PathBuf;

use super::connections::parse_connections;
use super::environment::Environment;
use super::error::{Error, Result};
use super::file::File;
use super::format::Format;
use super::platform::Platform;
use crate::api::ConnectionId;
use crate::cli::{self, Global, QueryFormat};
use crate::time::UtcText;

/// What `archive verify` is to do.
#[derive(Debug, Clone)]
pub(crate) struct Verify {
    pub db: PathBuf,
    pub cache_mib: u32,
    /// How the platform is asked; `None`: it is not.
    pub platform: Option<Platform>,
    /// Whether what is off is mended.
    pub repair: bool,
    /// Only these; empty: all that are archived.
    pub connections: Vec<ConnectionId>,
    pub format: Format,
}

impl Verify {
    /// Joins what was typed with the environment and the file.
    pub(crate) fn new(global: &Global, typed: &cli::Verify, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        let platform = if typed.offline {
            None
        } else {
            Some(Platform::find(environment, &file, &typed.request_limits, typed.time_budget)?)
        };
        Ok(Self {
            db: file.find_db(global, environment)?,
            cache_mib: file.cache_mib(),
            platform,
            repair: typed.repair,
            connections: parse_connections(&typed.connections)?,
            format: typed.format.into(),
        })
    }
}

/// What `archive backup` is to do.
#[derive(Debug, Clone)]
pub(crate) struct Backup {
    pub db: PathBuf,
    pub file: PathBuf,
    /// Whether a file of that name is replaced.
    pub replace: bool,
    pub format: Format,
}

impl Backup {
    /// Joins what was typed with the environment and the file.
    pub(crate) fn new(global: &Global, typed: &cli::Backup, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        Ok(Self {
            db: file.find_db(global, environment)?,
            file: environment.expand(typed.file.clone()),
            replace: typed.replace,
            format: typed.format.into(),
        })
    }
}

/// What `archive restore` is to do.
#[derive(Debug, Clone)]
pub(crate) struct Restore {
    pub db: PathBuf,
    /// The copy that takes its place.
    pub file: PathBuf,
    pub format: Format,
}

impl Restore {
    /// Joins what was typed with the environment and the file.
    pub(crate) fn new(global: &Global, typed: &cli::Restore, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        Ok(Self {
            db: file.find_db(global, environment)?,
            file: environment.expand(typed.file.clone()),
            format: typed.format.into(),
        })
    }
}

/// What `archive rejects` is to do.
#[derive(Debug, Clone)]
pub(crate) struct Rejects {
    pub db: PathBuf,
    pub cache_mib: u32,
    /// Whether the records are read once more.
    pub retry: bool,
    /// Only those of these; empty: all.
    pub connections: Vec<ConnectionId>,
    pub format: QueryFormat,
}

impl Rejects {
    /// Joins what was typed with the environment and the file.
    pub(crate) fn new(global: &Global, typed: &cli::Rejects, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        Ok(Self {
            db: file.find_db(global, environment)?,
            cache_mib: file.cache_mib(),
            retry: typed.retry,
            connections: parse_connections(&typed.connections)?,
            format: typed.format,
        })
    }
}

/// What `archive prune` is to do.
#[derive(Debug, Clone)]
pub(crate) struct Prune {
    pub db: PathBuf,
    pub cache_mib: u32,
    /// What is older than this goes.
    pub before: UtcText,
    pub with_runs: bool,
    /// Whether anything is done about it, and what is done before.
    pub consent: Consent,
    pub format: Format,
}

/// What the owner of an archive has agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Consent {
    /// To be told what would go.
    None,
    /// To have it taken out once a copy is made and verified.
    AfterBackup(PathBuf),
    /// To have it taken out as it is.
    WithoutBackup,
}

impl Prune {
    /// Joins what was typed with the environment and the file.
    pub(crate) fn new(global: &Global, typed: &cli::Prune, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        let consent = match (typed.yes, &typed.backup, typed.no_backup) {
            (false, ..) => Consent::None,
            (true, Some(file), _) => Consent::AfterBackup(environment.expand(file.clone())),
            (true, None, true) => Consent::WithoutBackup,
            (true, None, false) => return Err(Error::NoBackup),
        };
        let before = environment.now.before(typed.older_than.0);
        let too_long = || Error::Time("--older-than: no year is that long ago".to_owned());
        Ok(Self {
            db: file.find_db(global, environment)?,
            cache_mib: file.cache_mib(),
            before: before.ok_or_else(too_long)?,
            with_runs: typed.runs,
            consent,
            format: typed.format.into(),
        })
    }
}

/// What `archive compact` is to do.
#[derive(Debug, Clone)]
pub(crate) struct Compact {
    pub db: PathBuf,
    pub cache_mib: u32,
    pub format: Format,
}

impl Compact {
    /// Joins what was typed with the environment and the file.
    pub(crate) fn new(global: &Global, typed: &cli::Compact, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        Ok(Self {
            db: file.find_db(global, environment)?,
            cache_mib: file.cache_mib(),
            format: typed.format.into(),
        })
    }
}
