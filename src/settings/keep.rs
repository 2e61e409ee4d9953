//! What `archive verify`, `archive backup`, `archive restore` and `archive rejects` are to do: the commands
//! that keep the archive what it is.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::{
    CredentialsSource, DEFAULT_API_URL, DEFAULT_AT_A_TIME, DEFAULT_ISSUER_URL, DEFAULT_PAGE_SIZE,
    DEFAULT_TIME_BUDGET, Environment, Error, File, Format, QueryFormat, Result, find_credentials, find_db,
    find_request_limits, find_url, parse_connections,
};
use crate::api::auth::Credentials;
use crate::api::{ConnectionId, RequestLimit};
use crate::cli::{self, Global};
use crate::time::UtcText;

/// How the platform is asked. Debug output shows no secret.
#[derive(Debug, Clone)]
pub struct Platform {
    /// Who asks.
    pub credentials: Credentials,
    /// Where that was found.
    pub credentials_source: CredentialsSource,
    /// The platform; http or https.
    pub api_url: Url,
    /// The token issuer; http or https.
    pub issuer_url: Url,
    /// How many requests may be sent in a time.
    pub request_limits: Vec<RequestLimit>,
    /// Runs to ask for in one page.
    pub page_size: u32,
    /// Pages of one connection at a time, at least 1.
    pub pages_in_flight: usize,
    /// How long the whole may take, more than nothing.
    pub time_budget: Duration,
}

impl Platform {
    /// Joins the environment and the file with what was typed of limits and time.
    pub(super) fn find(
        environment: &Environment,
        file: &File,
        request_limits: &[String],
        time_budget: Option<Duration>,
    ) -> Result<Self> {
        let (api_url, issuer_url) = (&file.platform.api_url, &file.platform.issuer_url);
        file.require()?;
        let (credentials, credentials_source) = find_credentials(environment, file)?;
        Ok(Self {
            credentials,
            credentials_source,
            api_url: find_url(environment, "ITP_API_URL", api_url, DEFAULT_API_URL)?,
            issuer_url: find_url(environment, "ITP_ISSUER_URL", issuer_url, DEFAULT_ISSUER_URL)?,
            request_limits: find_request_limits(request_limits, file)?,
            page_size: file.page_size.unwrap_or(DEFAULT_PAGE_SIZE),
            pages_in_flight: file.pages_in_flight.unwrap_or(DEFAULT_AT_A_TIME) as usize,
            time_budget: time_budget.or(file.time_budget).unwrap_or(DEFAULT_TIME_BUDGET),
        })
    }
}

/// What `archive verify` is to do.
#[derive(Debug, Clone)]
pub struct Verify {
    /// The archive.
    pub db: PathBuf,
    /// SQLite's cache, in MiB.
    pub cache_mib: u32,
    /// How the platform is asked; `None`: it is not.
    pub platform: Option<Platform>,
    /// Whether what is off is mended.
    pub repair: bool,
    /// Only these; empty: all that are archived.
    pub connections: Vec<ConnectionId>,
    /// How it is told.
    pub format: Format,
}

impl Verify {
    /// Joins what was typed with the environment and the file.
    ///
    /// # Errors
    /// Any [`Error`](super::Error), but none about credentials where the platform is not asked.
    pub fn new(global: &Global, typed: &cli::Verify, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        let platform = match typed.offline {
            true => None,
            false => Some(Platform::find(environment, &file, &typed.request_limits, typed.time_budget)?),
        };
        Ok(Self {
            db: find_db(global, environment, &file)?,
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
pub struct Backup {
    /// The archive.
    pub db: PathBuf,
    /// Where the copy goes.
    pub file: PathBuf,
    /// Whether a file of that name is replaced.
    pub replace: bool,
    /// How the summary is told.
    pub format: Format,
}

impl Backup {
    /// Joins what was typed with the environment and the file.
    ///
    /// # Errors
    /// Any [`Error`](super::Error), but none about credentials.
    pub fn new(global: &Global, typed: &cli::Backup, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        Ok(Self {
            db: find_db(global, environment, &file)?,
            file: environment.expand(typed.file.clone()),
            replace: typed.replace,
            format: typed.format.into(),
        })
    }
}

/// What `archive restore` is to do.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The archive.
    pub db: PathBuf,
    /// The copy that takes its place.
    pub file: PathBuf,
    /// How the summary is told.
    pub format: Format,
}

impl Restore {
    /// Joins what was typed with the environment and the file.
    ///
    /// # Errors
    /// Any [`Error`](super::Error), but none about credentials.
    pub fn new(global: &Global, typed: &cli::Restore, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        Ok(Self {
            db: find_db(global, environment, &file)?,
            file: environment.expand(typed.file.clone()),
            format: typed.format.into(),
        })
    }
}

/// What `archive rejects` is to do.
#[derive(Debug, Clone)]
pub struct Rejects {
    /// The archive.
    pub db: PathBuf,
    /// SQLite's cache, in MiB.
    pub cache_mib: u32,
    /// Whether the records are read once more.
    pub retry: bool,
    /// Only those of these; empty: all.
    pub connections: Vec<ConnectionId>,
    /// How rows are written.
    pub format: QueryFormat,
}

impl Rejects {
    /// Joins what was typed with the environment and the file.
    ///
    /// # Errors
    /// Any [`Error`](super::Error), but none about credentials.
    pub fn new(global: &Global, typed: &cli::Rejects, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        Ok(Self {
            db: find_db(global, environment, &file)?,
            cache_mib: file.cache_mib(),
            retry: typed.retry,
            connections: parse_connections(&typed.connections)?,
            format: typed.format,
        })
    }
}

/// What `archive prune` is to do.
#[derive(Debug, Clone)]
pub struct Prune {
    /// The archive.
    pub db: PathBuf,
    /// SQLite's cache, in MiB.
    pub cache_mib: u32,
    /// What is older than this goes.
    pub before: UtcText,
    /// Whether runs go, too.
    pub with_runs: bool,
    /// Whether anything is done about it, and what is done before.
    pub consent: Consent,
    /// How it is told.
    pub format: Format,
}

/// What the owner of an archive has agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// To be told what would go.
    None,
    /// To have it taken out once a copy is made and verified.
    AfterBackup(PathBuf),
    /// To have it taken out as it is.
    WithoutBackup,
}

impl Prune {
    /// Joins what was typed with the environment and the file.
    ///
    /// # Errors
    /// Any [`Error`], but none about credentials.
    pub fn new(global: &Global, typed: &cli::Prune, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        let consent = match (typed.yes, &typed.backup, typed.no_backup) {
            (false, ..) => Consent::None,
            (true, Some(file), _) => Consent::AfterBackup(environment.expand(file.clone())),
            (true, None, true) => Consent::WithoutBackup,
            (true, None, false) => return Err(Error::NoBackup),
        };
        let before = environment.now.before(typed.older_than);
        let too_long = || Error::Time("--older-than: no year is that long ago".to_owned());
        Ok(Self {
            db: find_db(global, environment, &file)?,
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
pub struct Compact {
    /// The archive.
    pub db: PathBuf,
    /// SQLite's cache, in MiB.
    pub cache_mib: u32,
    /// How it is told.
    pub format: Format,
}

impl Compact {
    /// Joins what was typed with the environment and the file.
    ///
    /// # Errors
    /// Any [`Error`], but none about credentials.
    pub fn new(global: &Global, typed: &cli::Compact, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        Ok(Self {
            db: find_db(global, environment, &file)?,
            cache_mib: file.cache_mib(),
            format: typed.format.into(),
        })
    }
}
