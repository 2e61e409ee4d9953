//! What was meant: flag over environment over configuration file over default, checked once.
//!
//! In: what was typed ([`cli`]), the [`Environment`] and `archive.toml`. Out: one plain struct
//! per command that needs no further check. Reads the configuration and the files of secrets that it
//! names; the database is not touched. No secret is in an error or in Debug output.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::hash::Hash;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use etcetera::BaseStrategy as _;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::api::{ConnectionId, Kind, RequestLimit, TypedConnection};
use crate::cli::{self, AT_A_TIME, Global, PAGE_SIZES, StatusFormat, SummaryFormat};
pub use crate::cli::{Color, LogFormat};
use crate::error::{CommandError, ExitCode};
use crate::time::UtcText;
use crate::time::zone::Zone;

mod credentials;
mod init;
mod keep;
mod query;
mod read;
mod report;

pub use credentials::{CredentialsSource, Place};
use credentials::{FileCredentials, find_credentials, read_secret};
pub use init::{Given, Init, Setup};
pub use keep::{Backup, Compact, Consent, Platform, Prune, Rejects, Restore, Verify};
pub use query::{Query, QueryFormat, Statement};
use read::read_text;
pub use report::{Report, ReportFormat};

const DEFAULT_API_URL: &str = "https://api.bentley.com";
const DEFAULT_ISSUER_URL: &str = "https://ims.bentley.com";
const DEFAULT_PAGE_SIZE: u32 = 1000;
const DEFAULT_AT_A_TIME: u32 = 4;
const DEFAULT_TIME_BUDGET: Duration = Duration::from_secs(60 * 60);
const DEFAULT_FULL_EVERY: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const DEFAULT_CACHE_MIB: u32 = 64;
/// A hundred years: longer is a slip, and its end could not be computed.
const MAX_FULL_EVERY: Duration = Duration::from_secs(36_525 * 24 * 60 * 60);
/// A terabyte.
const MAX_CACHE_MIB: u32 = 1 << 20;

/// Looks up an environment variable.
pub type Variables = Box<dyn Fn(&str) -> Option<OsString>>;

/// Where to look for what was not typed. Tests make their own and leave the process alone.
pub struct Environment {
    /// A variable's value, if it is set; an empty one counts as not set.
    pub variable: Variables,
    /// The user's folders, if there is a home.
    pub folders: Option<Folders>,
    /// The clock's time, read once.
    pub now: UtcText,
}

/// The user's folders.
#[derive(Debug, Clone)]
pub struct Folders {
    /// What `~/` stands for.
    pub home: PathBuf,
    /// Where configuration is kept, `~/.config` unless told otherwise.
    pub configuration: PathBuf,
    /// Where data is kept, `~/.local/share` unless told otherwise.
    pub data: PathBuf,
}

impl Environment {
    /// That of this process, at this time.
    pub fn of_process(now: UtcText) -> Self {
        let folders = etcetera::choose_base_strategy().ok().map(|user| Folders {
            home: user.home_dir().to_owned(),
            configuration: user.config_dir(),
            data: user.data_dir(),
        });
        Self { variable: Box::new(|name| std::env::var_os(name)), folders, now }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        (self.variable)(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// The value without blanks around it; `None` if nothing is left.
    fn text(&self, name: &'static str) -> Result<Option<String>> {
        let Some(value) = (self.variable)(name) else { return Ok(None) };
        let value = value.into_string().map_err(|_| Error::NotText(name))?;
        Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
    }

    /// `~/` as the home folder: `--db=~/x` and crontabs are read by nobody who would expand it.
    fn expand(&self, path: PathBuf) -> PathBuf {
        match (path.strip_prefix("~"), &self.folders) {
            (Ok(rest), Some(folders)) => folders.home.join(rest),
            _ => path,
        }
    }
}

/// Why settings cannot be used. All are exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration file, or a file that it names, cannot be read.
    #[error("reading {what} from {}", path.display())]
    Unreadable {
        /// What it was read for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The configuration file says something that is not understood.
    #[error("reading settings from {}: {problem}", path.display())]
    Misunderstood {
        /// The file.
        path: PathBuf,
        /// Line, key and what is wrong with it.
        problem: String,
    },
    /// A file of secrets is empty.
    #[error("reading {what} from {}: the file is empty", path.display())]
    Empty {
        /// What it was read for.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// An environment variable is not UTF-8. Its value is not shown.
    #[error("the environment variable {0} is not UTF-8 text")]
    NotText(&'static str),
    /// An environment variable is no URL of the platform. Its value is not shown: it may hold a password.
    #[error("the environment variable {name}: {problem}")]
    NotUrl {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A value of `--connection` is no connection's id.
    #[error("--connection: {0}")]
    NotConnection(<ConnectionId as FromStr>::Err),
    /// Nothing to sync.
    #[error("no connection is chosen")]
    NoConnection {
        /// Where they could be listed.
        file: PathBuf,
    },
    /// Neither a token nor a service application.
    #[error("no credentials are given")]
    NoCredentials,
    /// A client id without its secret.
    #[error("a service application's client id is given, but not its secret: set ITP_SERVICE_CLIENT_SECRET")]
    NoSecret,
    /// A client secret without its id.
    #[error("a service application's secret is given, but not its client id: set ITP_SERVICE_CLIENT_ID")]
    NoClientId,
    /// There is no home folder to keep the database in.
    #[error("there is no home folder, so the database has no default place")]
    NoHome,
    /// The demo's database is there already.
    #[error("{} exists, and the demo writes only into a new file", .0.display())]
    Exists(PathBuf),
    /// A time, a period or a time zone cannot be read.
    #[error("{0}")]
    Time(String),
    /// A value of `--request-limit` is no limit.
    #[error("--request-limit: {0}")]
    Limit(String),
    /// `-` was given more than once.
    #[error("standard input ('-') can be read only once")]
    StdinTwice,
    /// The configuration to write exists already.
    #[error("{} exists, and was left as it is", .0.display())]
    Written(PathBuf),
    /// There is no home folder to keep the configuration in.
    #[error("there is no home folder, so the configuration has no default place")]
    NoPlace,
    /// `archive init` knows of nothing to archive and has nobody to ask.
    #[error("nothing is chosen to be archived")]
    NothingChosen,
    /// `archive init` knows no credentials and has nobody to ask.
    #[error("no credentials are given that could be checked")]
    NothingToCheck,
    /// An id of no length.
    #[error("{0}: an id cannot be empty")]
    EmptyId(&'static str),
    /// A file of secrets that a flag names cannot be read. What was typed is not shown: it may be the
    /// secret itself.
    #[error("{flag}: no file of the name that was given can be read")]
    SecretFile {
        /// The flag.
        flag: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A configuration is UTF-8.
    #[error("a configuration cannot name {0:?}: the name is not UTF-8 text")]
    PathNotText(PathBuf),
    /// Something is said of a query, but not of which.
    #[error("no query is chosen")]
    NoQuery,
    /// Something is to be taken out for good, and no copy was spoken of.
    #[error("archive prune takes out for good, and no copy is to be made first")]
    NoBackup,
    /// `--param` was given twice for one parameter.
    #[error("the parameter {0} is given twice")]
    ParameterTwice(String),
}

type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoConnection { file } => {
                let file = file.display();
                format!(
                    "give --itwin ID, --imodel ID or --connection ID (each repeatable), or list itwins = [\"ID\"], \
                     imodels or connections in {file}"
                )
            }
            Self::NoCredentials => "set ITP_ACCESS_TOKEN, or both ITP_SERVICE_CLIENT_ID and \
                ITP_SERVICE_CLIENT_SECRET, or name files under [credentials] in the configuration"
                .to_owned(),
            Self::NoSecret => {
                "client_secret_file under [credentials] may name a file that holds it".to_owned()
            }
            Self::NoClientId => "client_id under [credentials] may hold it".to_owned(),
            Self::Unreadable { what: "settings", source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                "let this account read it, or name another with --config or ARCHIVE_CONFIG; HOME says whose \
                 settings are read"
                    .to_owned()
            }
            Self::NoHome => "give --db FILE or set ARCHIVE_DB".to_owned(),
            Self::Written(_) => "--force writes over it, and --config names another".to_owned(),
            Self::NoPlace => "give --config FILE or set ARCHIVE_CONFIG".to_owned(),
            Self::NothingChosen => "give --itwin ID, --imodel ID or --connection ID (each repeatable); on a \
                terminal archive init lists the iTwins and asks"
                .to_owned(),
            Self::NothingToCheck => "set ITP_ACCESS_TOKEN, or both ITP_SERVICE_CLIENT_ID and \
                ITP_SERVICE_CLIENT_SECRET, or give --client-id and --client-secret-file, or \
                --access-token-file; --no-check writes the file without"
                .to_owned(),
            Self::SecretFile { .. } => "it takes the name of a file, never the secret itself".to_owned(),
            Self::NoQuery => "give a name, --sql or -; archive query lists the names".to_owned(),
            Self::NoBackup => "give --backup FILE, or --no-backup if there is a copy".to_owned(),
            Self::Exists(_) => "choose another --db, or none: the demo then chooses one".to_owned(),
            _ => return None,
        };
        Some(text)
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        let hint = error.hint();
        let error = Self::new(ExitCode::Usage, error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// How to talk on standard error.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Talk {
    /// Only what is wrong.
    pub quiet: bool,
    /// How often `-v` was given.
    pub verbosity: u8,
    /// Text or JSON.
    pub log_format: LogFormat,
    /// `Never` where `NO_COLOR` or a dumb terminal says so and no flag says otherwise.
    pub color: Color,
}

impl Talk {
    /// Known before any file is read, so that reading one can be talked about.
    pub fn new(typed: &Global, environment: &Environment) -> Self {
        let is_plain = environment.path("NO_COLOR").is_some()
            || environment.path("TERM").is_some_and(|term| term == *"dumb");
        let color = match typed.color.unwrap_or_default() {
            Color::Auto if is_plain => Color::Never,
            color => color,
        };
        let log_format = typed.log_format.unwrap_or_default();
        Self { quiet: typed.quiet, verbosity: typed.verbose, log_format, color }
    }
}

/// How a result is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line or a table for people.
    Text,
    /// JSON.
    Json,
}

impl From<SummaryFormat> for Format {
    fn from(format: SummaryFormat) -> Self {
        match format {
            SummaryFormat::Text => Self::Text,
            SummaryFormat::Json => Self::Json,
        }
    }
}

impl From<StatusFormat> for Format {
    fn from(format: StatusFormat) -> Self {
        match format {
            StatusFormat::Table => Self::Text,
            StatusFormat::Json => Self::Json,
        }
    }
}

/// What `archive sync` is to do. Debug output shows no secret.
#[derive(Debug, Clone)]
pub struct Sync {
    /// The archive.
    pub db: PathBuf,
    /// SQLite's cache, in MiB.
    pub cache_mib: u32,
    /// Connections that were typed, by their ids or archived names: then nothing else is synced but what
    /// was typed beside them. None twice, in the order given.
    pub chosen: Vec<ConnectionId>,
    /// Connections of the configuration, by their ids. None twice, in the order given.
    pub connections: Vec<ConnectionId>,
    /// iModels whose connections are synced.
    pub imodels: Vec<String>,
    /// iTwins whose iModels' connections are synced.
    pub itwins: Vec<String>,
    /// Which connections are looked for below them: at least one kind.
    pub kinds: Vec<Kind>,
    /// How the platform is asked.
    pub platform: Platform,
    /// Only say what a first sync would cost.
    pub estimate: bool,
    /// Walk everything.
    pub full: bool,
    /// Whether somebody chose the page size: what a connection allowed before then counts for less.
    pub is_page_size_given: bool,
    /// Connections at a time, at least 1.
    pub concurrency: usize,
    /// After how long a walk is a full one; zero: always.
    pub full_every: Duration,
    /// Bytes that a backfill leaves free of the disk; 0: none; `None`: the usual.
    pub min_free: Option<u64>,
    /// Store nothing.
    pub dry_run: bool,
    /// How the summary is told.
    pub format: Format,
}

impl Sync {
    /// Joins what was typed with the environment and the file.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn new(global: &Global, typed: &cli::Sync, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        file.require()?;
        let chosen = parse_connections(&typed.connections)?;
        let is_typed = !(chosen.is_empty() && typed.itwins.is_empty() && typed.imodels.is_empty());
        // What was typed is all that is meant; without it the environment goes over the file, list by list.
        let find = |typed: &[String], variable, file: &[String]| match is_typed {
            true => Ok(unique(typed.to_vec())),
            false => Ok(match environment.text(variable)? {
                Some(id) => vec![id],
                None => unique(file.to_vec()),
            }),
        };
        let itwins = find(&typed.itwins, "ITP_ITWIN_ID", &file.itwins)?;
        let imodels = find(&typed.imodels, "ITP_IMODEL_ID", &file.imodels)?;
        let connections = if is_typed { Vec::new() } else { unique(file.connections.clone()) };
        if !is_typed && connections.is_empty() && itwins.is_empty() && imodels.is_empty() {
            return Err(Error::NoConnection { file: file.path });
        }
        let kinds = match typed.kinds.as_slice() {
            [] => file.kinds.clone(),
            typed => unique(typed.iter().map(|kind| Kind::from(*kind)).collect()),
        };
        let page_size = typed.page_size.or(file.page_size);
        let at_a_time =
            |typed: Option<u32>, file: Option<u32>| typed.or(file).unwrap_or(DEFAULT_AT_A_TIME) as usize;
        let platform = Platform {
            page_size: page_size.unwrap_or(DEFAULT_PAGE_SIZE),
            pages_in_flight: at_a_time(typed.pages_in_flight, file.pages_in_flight),
            ..Platform::find(environment, &file, &typed.request_limits, typed.time_budget)?
        };
        Ok(Self {
            db: find_db(global, environment, &file)?,
            cache_mib: file.cache_mib(),
            chosen,
            connections,
            imodels,
            itwins,
            kinds: if kinds.is_empty() { vec![Kind::Export] } else { kinds },
            estimate: typed.estimate,
            platform,
            full: typed.full,
            is_page_size_given: page_size.is_some(),
            concurrency: at_a_time(typed.concurrency, file.concurrency),
            full_every: file.full_every.unwrap_or(DEFAULT_FULL_EVERY),
            min_free: typed.min_free.or(file.min_free),
            dry_run: typed.dry_run,
            format: typed.format.into(),
        })
    }
}

/// Where a saved page comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Standard input; at most once in a list.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What `archive import` is to do.
#[derive(Debug, Clone)]
pub struct Import {
    /// The archive.
    pub db: PathBuf,
    /// SQLite's cache, in MiB.
    pub cache_mib: u32,
    /// At least one, in the order given.
    pub files: Vec<Input>,
    /// The connection of pages that do not name one.
    pub connection: Option<TypedConnection>,
    /// How the summary is told.
    pub format: Format,
}

impl Import {
    /// Joins what was typed with the environment and the file.
    ///
    /// # Errors
    /// Any [`Error`], but none about credentials.
    pub fn new(global: &Global, typed: &cli::Import, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        let input = |path: &PathBuf| match path.as_os_str() == "-" {
            true => Input::Stdin,
            false => Input::File(path.clone()),
        };
        let files: Vec<Input> = typed.files.iter().map(input).collect();
        if files.iter().filter(|&input| *input == Input::Stdin).count() > 1 {
            return Err(Error::StdinTwice);
        }
        Ok(Self {
            db: find_db(global, environment, &file)?,
            cache_mib: file.cache_mib(),
            files,
            connection: typed
                .connection
                .as_deref()
                .map(|typed| typed.parse().map_err(Error::NotConnection))
                .transpose()?,
            format: typed.format.into(),
        })
    }
}

/// What `archive status` is to show.
#[derive(Debug, Clone)]
pub struct Status {
    /// The archive.
    pub db: PathBuf,
    /// Only these; empty: all that are archived, whatever the configuration lists.
    pub connections: Vec<ConnectionId>,
    /// How it is told.
    pub format: Format,
}

impl Status {
    /// Joins what was typed with the environment and the file.
    ///
    /// # Errors
    /// Any [`Error`], but none about credentials.
    pub fn new(global: &Global, typed: &cli::Status, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        Ok(Self {
            db: find_db(global, environment, &file)?,
            connections: parse_connections(&typed.connections)?,
            format: typed.format.into(),
        })
    }
}

/// What `archive demo` is to do.
#[derive(Debug, Clone)]
pub struct Demo {
    /// The archive to make, which did not exist a moment ago; never one that the environment or the file
    /// names: a demo is not put where real data is kept.
    pub db: Option<PathBuf>,
    /// SQLite's cache, in MiB.
    pub cache_mib: u32,
}

impl Demo {
    /// Joins what was typed with the file.
    ///
    /// # Errors
    /// A configuration file that is wrong, or a database that exists.
    pub fn new(global: &Global, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        let db = global.db.clone().map(|path| environment.expand(path));
        match db {
            // A link that leads nowhere exists too.
            Some(path) if path.symlink_metadata().is_ok() => Err(Error::Exists(path)),
            db => Ok(Self { db, cache_mib: file.cache_mib() }),
        }
    }
}

/// `archive.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// Where it is, or would be.
    #[serde(skip)]
    path: PathBuf,
    /// Why it could not be read, where nobody named it: what it says is not known then.
    #[serde(skip)]
    unreadable: Option<io::Error>,
    #[serde(deserialize_with = "path")]
    db: Option<PathBuf>,
    itwins: Vec<String>,
    imodels: Vec<String>,
    #[serde(deserialize_with = "connections")]
    connections: Vec<ConnectionId>,
    #[serde(deserialize_with = "kinds")]
    kinds: Vec<Kind>,
    #[serde(deserialize_with = "request_limits")]
    request_limits: Option<Vec<RequestLimit>>,
    #[serde(deserialize_with = "page_size")]
    page_size: Option<u32>,
    #[serde(deserialize_with = "at_a_time")]
    pages_in_flight: Option<u32>,
    #[serde(deserialize_with = "at_a_time")]
    concurrency: Option<u32>,
    #[serde(deserialize_with = "time_budget")]
    time_budget: Option<Duration>,
    #[serde(deserialize_with = "full_every")]
    full_every: Option<Duration>,
    #[serde(deserialize_with = "min_free")]
    min_free: Option<u64>,
    #[serde(deserialize_with = "cache_mib")]
    cache_mib: Option<u32>,
    #[serde(deserialize_with = "time_zone")]
    time_zone: Option<Zone>,
    #[serde(deserialize_with = "path")]
    queries: Option<PathBuf>,
    platform: FilePlatform,
    credentials: FileCredentials,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FilePlatform {
    #[serde(deserialize_with = "url")]
    api_url: Option<Url>,
    #[serde(deserialize_with = "url")]
    issuer_url: Option<Url>,
}

impl File {
    /// The named file, which must exist, or the default one, which need not.
    fn read(global: &Global, environment: &Environment) -> Result<Self> {
        let named = find_named(global, environment);
        let is_named = named.is_some();
        let path = match named.or_else(|| default_place(environment)) {
            Some(path) => path,
            None => return Ok(Self { path: PathBuf::from("archive.toml"), ..Self::default() }),
        };
        match read_text(&path) {
            Ok(text) => Self::parse(&text, path, environment),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => {
                Ok(Self { path, ..Self::default() })
            }
            // Another account's, whose HOME this process kept: what needs none of it goes on.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !is_named => {
                tracing::warn!("the settings in {} may not be read: {error}", path.display());
                Ok(Self { path, unreadable: Some(error), ..Self::default() })
            }
            Err(source) => Err(Error::Unreadable { what: "settings", path, source }),
        }
    }

    fn parse(text: &str, path: PathBuf, environment: &Environment) -> Result<Self> {
        let text = text.trim_start_matches('\u{feff}');
        let mut file: Self = toml::from_str(text)
            .map_err(|error| Error::Misunderstood { path: path.clone(), problem: describe(text, &error) })?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let paths = [
            &mut file.db,
            &mut file.queries,
            &mut file.credentials.client_secret_file,
            &mut file.credentials.access_token_file,
        ];
        for path in paths.into_iter().flatten() {
            *path = folder.join(environment.expand(path.clone()));
        }
        Ok(Self { path, ..file })
    }

    /// Ends a command that needs what the file says.
    fn require(&self) -> Result<()> {
        let Some(error) = &self.unreadable else { return Ok(()) };
        let (path, source) = (self.path.clone(), io::Error::from(error.kind()));
        Err(Error::Unreadable { what: "settings", path, source })
    }

    fn cache_mib(&self) -> u32 {
        self.cache_mib.unwrap_or(DEFAULT_CACHE_MIB)
    }
}

/// The configuration file that somebody named.
fn find_named(global: &Global, environment: &Environment) -> Option<PathBuf> {
    let named = global.config.clone().or_else(|| environment.path("ARCHIVE_CONFIG"));
    named.map(|path| environment.expand(path))
}

/// Where the configuration file is looked for otherwise; nowhere without a home.
fn default_place(environment: &Environment) -> Option<PathBuf> {
    let folders = environment.folders.as_ref()?;
    Some(folders.configuration.join("archive").join("archive.toml"))
}

/// Where the archive is unless told otherwise; nowhere without a home.
fn default_db(environment: &Environment) -> Option<PathBuf> {
    Some(environment.folders.as_ref()?.data.join("archive").join("archive.db"))
}

/// Line, key and problem. toml's own Display quotes the line, which may hold a secret in a wrong place.
fn describe(text: &str, error: &toml::de::Error) -> String {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return error.message().to_owned();
    };
    let line = before.matches('\n').count();
    let key = text.lines().take(line + 1).collect::<Vec<_>>().into_iter().rev().find_map(|line| {
        let (key, _) = line.split_once('=')?;
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        Some(key.trim()).filter(|key| !key.is_empty() && key.chars().all(is_key))
    });
    let place = match key {
        Some(key) => format!("line {}, key {key}", line + 1),
        None => format!("line {}", line + 1),
    };
    format!("{place}: {}", error.message().replace('\n', ", "))
}

/// A key that holds text, read by `parse`.
fn parsed<'de, D, T, E>(from: D, parse: impl FnOnce(&str) -> std::result::Result<T, E>) -> Parsed<T, D::Error>
where
    D: Deserializer<'de>,
    E: fmt::Display,
{
    let text = String::deserialize(from)?;
    parse(&text).map(Some).map_err(D::Error::custom)
}

type Parsed<T, E> = std::result::Result<Option<T>, E>;

/// A key that holds a number, within a range.
fn ranged<'de, D: Deserializer<'de>>(from: D, min: u32, max: u32) -> Parsed<u32, D::Error> {
    let number = i64::deserialize(from)?;
    let within = u32::try_from(number).ok().filter(|number| (min..=max).contains(number));
    let problem = || D::Error::custom(format_args!("{number} is not a whole number from {min} to {max}"));
    within.map(Some).ok_or_else(problem)
}

fn page_size<'de, D: Deserializer<'de>>(from: D) -> Parsed<u32, D::Error> {
    ranged(from, *PAGE_SIZES.start(), *PAGE_SIZES.end())
}

fn at_a_time<'de, D: Deserializer<'de>>(from: D) -> Parsed<u32, D::Error> {
    ranged(from, *AT_A_TIME.start(), *AT_A_TIME.end())
}

fn cache_mib<'de, D: Deserializer<'de>>(from: D) -> Parsed<u32, D::Error> {
    ranged(from, 1, MAX_CACHE_MIB)
}

fn time_budget<'de, D: Deserializer<'de>>(from: D) -> Parsed<Duration, D::Error> {
    parsed(from, cli::parse_time_budget)
}

fn full_every<'de, D: Deserializer<'de>>(from: D) -> Parsed<Duration, D::Error> {
    parsed(from, |text| match cli::parse_duration(text)? {
        length if length > MAX_FULL_EVERY => Err("that is longer than a hundred years".to_owned()),
        length => Ok(length),
    })
}

fn min_free<'de, D: Deserializer<'de>>(from: D) -> Parsed<u64, D::Error> {
    parsed(from, cli::parse_size)
}

fn time_zone<'de, D: Deserializer<'de>>(from: D) -> Parsed<Zone, D::Error> {
    parsed(from, str::parse)
}

fn url<'de, D: Deserializer<'de>>(from: D) -> Parsed<Url, D::Error> {
    parsed(from, parse_url)
}

fn path<'de, D: Deserializer<'de>>(from: D) -> Parsed<PathBuf, D::Error> {
    parsed(from, |text| match text {
        "" => Err("a file's name cannot be empty"),
        _ => Ok(PathBuf::from(text)),
    })
}

/// A path whose name may be shown: tokens are easily put where their file should be named.
fn secret_file<'de, D: Deserializer<'de>>(from: D) -> Parsed<PathBuf, D::Error> {
    parsed(from, |text| match text {
        "" => Err("a file's name cannot be empty"),
        _ if text.starts_with("eyJ") || text.starts_with("Bearer ") => {
            Err("this looks like a token; name a file that holds it")
        }
        _ => Ok(PathBuf::from(text)),
    })
}

fn connections<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<ConnectionId>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

fn kinds<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<Kind>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    let read = |word: &String| {
        let expected = Kind::ALL.map(Kind::as_str).join(", ");
        Kind::from_word(word).ok_or_else(|| {
            D::Error::custom(format_args!("{word:?} is no kind of connection; there are {expected}"))
        })
    };
    words.iter().map(read).collect::<std::result::Result<_, _>>().map(unique)
}

fn request_limits<'de, D: Deserializer<'de>>(from: D) -> Parsed<Vec<RequestLimit>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let limits = texts.iter().map(|text| text.parse().map_err(D::Error::custom));
    limits.collect::<std::result::Result<_, _>>().map(Some)
}

impl From<cli::ConnectionKind> for Kind {
    fn from(typed: cli::ConnectionKind) -> Self {
        match typed {
            cli::ConnectionKind::Export => Self::Export,
            cli::ConnectionKind::Storage => Self::Storage,
            cli::ConnectionKind::Manifest => Self::Manifest,
        }
    }
}

fn parse_connection(text: &str) -> Result<ConnectionId> {
    text.parse().map_err(Error::NotConnection)
}

fn parse_connections(texts: &[String]) -> Result<Vec<ConnectionId>> {
    texts.iter().map(|text| parse_connection(text)).collect::<Result<_>>().map(unique)
}

fn unique<T: Clone + Eq + Hash>(mut list: Vec<T>) -> Vec<T> {
    let mut seen = HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
    list
}

/// The value is not part of the problem: it may hold a password.
fn parse_url(text: &str) -> std::result::Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("this is no URL: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err("the URL must begin with https:// (or http:// for a loopback address)".to_owned()),
    }
}

fn find_url(environment: &Environment, name: &'static str, file: &Option<Url>, default: &str) -> Result<Url> {
    match (environment.text(name)?, file) {
        (None, Some(url)) => Ok(url.clone()),
        (text, _) => {
            parse_url(text.as_deref().unwrap_or(default)).map_err(|problem| Error::NotUrl { name, problem })
        }
    }
}

/// `--request-limit`, or the file's, or what keeps below the platform's lowest tier.
fn find_request_limits(typed: &[String], file: &File) -> Result<Vec<RequestLimit>> {
    match typed {
        [] => Ok(file.request_limits.clone().unwrap_or_else(|| RequestLimit::DEFAULTS.to_vec())),
        [none] if none == "none" => Ok(Vec::new()),
        typed => {
            let limits = typed.iter().map(|text| text.parse());
            limits.collect::<std::result::Result<_, _>>().map_err(Error::Limit)
        }
    }
}

fn find_db(global: &Global, environment: &Environment, file: &File) -> Result<PathBuf> {
    let named = global.db.clone().or_else(|| environment.path("ARCHIVE_DB"));
    match (named, &file.db) {
        (Some(named), _) => Ok(environment.expand(named)),
        (None, Some(path)) => Ok(path.clone()),
        (None, None) => {
            // Where the archive is may be said there.
            file.require()?;
            default_db(environment).ok_or(Error::NoHome)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use secrecy::ExposeSecret as _;

    use super::credentials::is_open_to_others;
    use tempfile::TempDir;

    use super::*;
    use crate::api::Credentials;

    const CANARY: &str = "canary-3f7e";

    fn noon() -> UtcText {
        UtcText::parse_sent("2026-11-24T12:00:00Z").unwrap()
    }

    /// A home of its own, with `archive.toml` in it if there is a text for it.
    pub(super) struct Home(TempDir);

    impl Home {
        pub(super) fn new(file: &str) -> Self {
            let home = Self(TempDir::new().unwrap());
            fs::create_dir_all(home.at("config/archive")).unwrap();
            if !file.is_empty() {
                fs::write(home.at("config/archive/archive.toml"), file).unwrap();
            }
            home
        }

        pub(super) fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        pub(super) fn environment(&self, variables: &[(&'static str, &str)]) -> Environment {
            let variables: Vec<(&str, OsString)> =
                variables.iter().map(|&(name, value)| (name, value.into())).collect();
            Environment {
                variable: Box::new(move |name| {
                    let found = variables.iter().find(|(known, _)| *known == name);
                    found.map(|(_, value)| value.clone())
                }),
                folders: Some(Folders {
                    home: self.0.path().to_owned(),
                    configuration: self.at("config"),
                    data: self.at("data"),
                }),
                now: noon(),
            }
        }

        /// The settings of `archive sync`, with a token unless the variables say otherwise.
        fn sync(&self, line: &str, variables: &[(&'static str, &str)]) -> Result<Sync> {
            let token = [("ITP_ACCESS_TOKEN", "token")];
            let variables = if variables.is_empty() { &token } else { variables };
            let line = format!("archive sync {line}");
            let cli = cli::parse(line.split_whitespace().map(OsString::from)).unwrap();
            let cli::Command::Sync(typed) = cli.command else { panic!("{line}") };
            Sync::new(&cli.global, &typed, &self.environment(variables))
        }

        /// The error and the hint of `archive sync`, as a user sees them.
        fn complaint(&self, line: &str, variables: &[(&'static str, &str)]) -> (String, String) {
            let error = self.sync(line, variables).unwrap_err();
            assert!(!format!("{error:?}").contains(CANARY), "{error:?}");
            let error = CommandError::from(error);
            assert_eq!(error.exit(), ExitCode::Usage);
            let (text, hint) = (error.to_string(), error.hint().unwrap_or_default().to_owned());
            assert!(!text.contains(CANARY) && !hint.contains(CANARY), "{text} {hint}");
            (text.replace(self.0.path().to_str().unwrap(), "~"), hint)
        }
    }

    fn ids(connections: &[ConnectionId]) -> Vec<&str> {
        connections.iter().map(ConnectionId::as_str).collect()
    }

    #[test]
    fn without_a_file_defaults_hold() {
        let home = Home::new("");
        let sync = home.sync("--connection a", &[]).unwrap();
        assert_eq!(sync.db, home.at("data/archive/archive.db"));
        assert_eq!((sync.platform.page_size, sync.is_page_size_given), (1000, false));
        assert_eq!((sync.platform.pages_in_flight, sync.concurrency, sync.cache_mib), (4, 4, 64));
        assert_eq!(sync.platform.time_budget, Duration::from_secs(3600));
        assert_eq!(sync.full_every, Duration::from_secs(7 * 86_400));
        assert_eq!(sync.min_free, None);
        assert_eq!(sync.platform.api_url.as_str(), "https://api.bentley.com/");
        assert_eq!(sync.platform.issuer_url.as_str(), "https://ims.bentley.com/");
        assert_eq!((sync.full, sync.dry_run, sync.format), (false, false, Format::Text));
    }

    #[test]
    fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
        let home = Home::new("db = \"/file.db\"\n[platform]\napi_url = \"https://file.example\"");
        let token = ("ITP_ACCESS_TOKEN", "token");
        let db = |line: &str, variables: &[_]| home.sync(line, variables).unwrap().db;
        assert_eq!(db("--connection a", &[]), Path::new("/file.db"));
        assert_eq!(db("--connection a", &[token, ("ARCHIVE_DB", "/env.db")]), Path::new("/env.db"));
        assert_eq!(
            db("--connection a --db /flag.db", &[token, ("ARCHIVE_DB", "/env.db")]),
            Path::new("/flag.db")
        );
        let url =
            |variables: &[_]| home.sync("--connection a", variables).unwrap().platform.api_url.to_string();
        assert_eq!(url(&[]), "https://file.example/");
        assert_eq!(url(&[token, ("ITP_API_URL", "http://127.0.0.1:9/x")]), "http://127.0.0.1:9/x");
    }

    #[test]
    fn every_key_of_the_file_is_used_unless_a_flag_says_otherwise() {
        let home = Home::new(
            "connections = ['a', '-b', 'a']\npage_size = 50\npages_in_flight = 2\nconcurrency = 3\n\
             time_budget = '20m'\nfull_every = '1d'\ncache_mib = 8\nmin_free = '2GiB'\n\
             [platform]\nissuer_url = 'https://issuer.example'\n\
             [credentials]\nclient_id = 'me'\nclient_secret_file = 'secret'\n",
        );
        fs::write(home.at("config/archive/secret"), "hush\r\n").unwrap();
        let sync = home.sync("", &[("ITP_API_URL", "")]).unwrap();
        assert_eq!(ids(&sync.connections), ["a", "-b"]);
        assert_eq!((sync.platform.page_size, sync.is_page_size_given), (50, true));
        assert_eq!((sync.platform.pages_in_flight, sync.concurrency, sync.cache_mib), (2, 3, 8));
        assert_eq!(sync.platform.time_budget, Duration::from_secs(1200));
        assert_eq!(sync.full_every, Duration::from_secs(86_400));
        assert_eq!(sync.min_free, Some(2 << 30));
        assert_eq!(sync.platform.issuer_url.as_str(), "https://issuer.example/");
        let Credentials::Client { id, secret } = &sync.platform.credentials else { panic!("{sync:?}") };
        assert_eq!((id.as_str(), secret.expose_secret()), ("me", "hush"));
        assert!(!format!("{sync:?}").contains("hush"));

        let sync = home
            .sync(
                "--page-size 7 --pages-in-flight 1 --concurrency 1 --time-budget 5s --min-free 500MB --connection c \
                 --connection c --connection -d --format json --full --dry-run",
                &[],
            )
            .unwrap();
        assert_eq!((ids(&sync.chosen), sync.connections.len()), (vec!["c", "-d"], 0));
        assert_eq!((sync.platform.page_size, sync.platform.pages_in_flight, sync.concurrency), (7, 1, 1));
        assert_eq!(sync.platform.time_budget, Duration::from_secs(5));
        assert_eq!(sync.min_free, Some(500_000_000));
        assert_eq!((sync.full, sync.dry_run, sync.format), (true, true, Format::Json));
    }

    #[test]
    fn a_variable_that_is_empty_counts_as_not_set() {
        let home = Home::new("");
        let empty =
            ["ARCHIVE_DB", "ARCHIVE_CONFIG", "ITP_API_URL", "ITP_ISSUER_URL", "ITP_SERVICE_CLIENT_ID"];
        let mut variables = vec![("ITP_ACCESS_TOKEN", "token")];
        variables.extend(empty.map(|name| (name, "")));
        let sync = home.sync("--connection a", &variables).unwrap();
        assert_eq!(sync.db, home.at("data/archive/archive.db"));
        let (text, _) = home.complaint("--connection a", &[("ITP_ACCESS_TOKEN", "")]);
        assert_eq!(text, "no credentials are given");
    }

    #[test]
    fn paths_in_the_file_stand_beside_it_and_a_tilde_is_the_home_folder() {
        let home = Home::new("db = 'here.db'");
        let db = |home: &Home| home.sync("--connection a", &[]).unwrap().db;
        assert_eq!(db(&home), home.at("config/archive/here.db"));
        let home = Home::new("db = '~/there.db'");
        assert_eq!(db(&home), home.at("there.db"));
        let variables = [("ITP_ACCESS_TOKEN", "token"), ("ARCHIVE_DB", "~/cron.db")];
        assert_eq!(home.sync("--connection a", &variables).unwrap().db, home.at("cron.db"));
    }

    #[test]
    fn a_named_file_must_exist_and_replaces_the_default_one() {
        let home = Home::new("page_size = 'not even read'");
        fs::write(home.at("other.toml"), "\u{feff}connections = ['x']").unwrap();
        let variables = [("ITP_ACCESS_TOKEN", "token"), ("ARCHIVE_CONFIG", "~/other.toml")];
        assert_eq!(ids(&home.sync("", &variables).unwrap().connections), ["x"]);
        let (text, _) = home.complaint(&format!("--config {}", home.at("no.toml").display()), &variables);
        assert!(text.starts_with("reading settings from ~/no.toml: No such file"), "{text}");
    }

    #[test]
    fn a_mistake_in_the_file_is_told_with_file_line_and_key() {
        for (file, expected) in [
            ("# c\n\npagesize = 1", "line 3, key pagesize: unknown field `pagesize`, expected one of `db`"),
            (
                "[platform]\nurl = 'x'",
                "line 2, key url: unknown field `url`, expected `api_url` or `issuer_url`",
            ),
            ("db = 'x'\npage_size = 0", "line 2, key page_size: 0 is not a whole number from 1 to 10000"),
            ("page_size = 'many'", "line 1, key page_size: invalid type: string \"many\", expected i64"),
            ("concurrency = 65", "line 1, key concurrency: 65 is not a whole number from 1 to 64"),
            ("time_budget = '1 hou'", "line 1, key time_budget: unknown time unit \"hou\""),
            ("time_budget = 60", "line 1, key time_budget: invalid type: integer `60`, expected a string"),
            ("min_free = '1 gig'", "line 1, key min_free: \"1 gig\" is no size"),
            ("full_every = '999y'", "line 1, key full_every: that is longer than a hundred years"),
            ("db = ''", "line 1, key db: a file's name cannot be empty"),
            ("connections = [\n  'a',\n  '..',\n]", "line 1, key connections: \"..\" is no connection id"),
            ("[platform]\napi_url = 'ftp://x'", "line 2, key api_url: the URL must begin with https://"),
            ("[nonsense]\na = 1", "line 1: unknown field `nonsense`"),
            ("db 'x'", "line 1: "),
            ("db = 'x'\ndb = 'y'", "line 2, key db: duplicate key"),
        ] {
            let (text, _) = Home::new(file).complaint("--connection a", &[]);
            let expected = format!("reading settings from ~/config/archive/archive.toml: {expected}");
            assert!(text.starts_with(&expected), "{file:?} gives {text:?}");
            assert!(!text.contains('\n'), "{text:?}");
        }
    }

    #[test]
    fn a_secret_in_the_wrong_place_of_the_file_is_not_repeated() {
        for value in [
            format!("client_secret = '{CANARY}'"),
            format!("client_secret_file = {CANARY}"),
            format!("access_token_file = 'eyJ{CANARY}'"),
            format!("access_token_file = 'Bearer {CANARY}'"),
            format!("client_id = ['{CANARY}']"),
            format!("access_token_file = '{CANARY}"),
        ] {
            let (text, _) = Home::new(&format!("[credentials]\n{value}\n")).complaint("--connection a", &[]);
            assert!(text.contains("archive.toml: line 2"), "{text}");
        }
        let variables = [("ITP_ACCESS_TOKEN", "token"), ("ITP_API_URL", "ftp://me:canary-3f7e@host")];
        let (text, _) = Home::new("").complaint("--connection a", &variables);
        assert!(text.starts_with("the environment variable ITP_API_URL: the URL must begin"), "{text}");
    }

    #[test]
    fn without_a_connection_the_file_is_named_where_it_could_be_listed() {
        let home = Home::new("connections = []");
        let (text, hint) = home.complaint("", &[]);
        assert_eq!(text, "no connection is chosen");
        assert!(hint.contains("--connection ID") && hint.contains("config/archive/archive.toml"), "{hint}");
        assert_eq!(home.complaint("--connection ..", &[]).0.split_once(": ").unwrap().0, "--connection");
    }

    #[test]
    fn a_ready_token_wins_over_a_service_application_over_a_token_file() {
        let home = Home::new("[credentials]\naccess_token_file = 'token'");
        fs::write(home.at("config/archive/token"), "from a file\n").unwrap();
        let client = [("ITP_SERVICE_CLIENT_ID", "me"), ("ITP_SERVICE_CLIENT_SECRET", CANARY)];
        let token = ("ITP_ACCESS_TOKEN", "canary-3f7e\n");
        let find = |variables: &[_]| {
            let sync = home.sync("--connection a", variables).unwrap();
            assert!(!format!("{sync:?}").contains(CANARY));
            sync.platform.credentials
        };
        let found = find(&[client[0], client[1], token]);
        assert!(matches!(found, Credentials::Token(token) if token.expose_secret() == CANARY));
        let found = find(&client);
        assert!(
            matches!(found, Credentials::Client { id, secret } if id == "me" && secret.expose_secret() == CANARY)
        );
        let found = find(&[("NO_COLOR", "")]);
        assert!(matches!(found, Credentials::TokenFile(path) if path == home.at("config/archive/token")));
    }

    #[test]
    fn half_a_service_application_is_told_by_the_half_that_is_missing() {
        let home = Home::new("");
        let (text, _) = home.complaint("--connection a", &[("ITP_SERVICE_CLIENT_ID", "me")]);
        assert!(text.ends_with("set ITP_SERVICE_CLIENT_SECRET"), "{text}");
        let (text, _) = home.complaint("--connection a", &[("ITP_SERVICE_CLIENT_SECRET", CANARY)]);
        assert!(text.ends_with("set ITP_SERVICE_CLIENT_ID"), "{text}");
        let (_, hint) = home.complaint("--connection a", &[("NO_COLOR", "")]);
        for name in ["ITP_ACCESS_TOKEN", "ITP_SERVICE_CLIENT_ID", "ITP_SERVICE_CLIENT_SECRET"] {
            assert!(hint.contains(name), "{hint}");
        }
    }

    #[test]
    fn a_file_of_secrets_that_is_missing_or_empty_is_named() {
        let home = Home::new("[credentials]\nclient_id = 'me'\nclient_secret_file = 'secret'");
        let none = [("NO_COLOR", "")];
        let (text, _) = home.complaint("--connection a", &none);
        assert!(
            text.starts_with("reading the client secret from ~/config/archive/secret: No such"),
            "{text}"
        );
        fs::write(home.at("config/archive/secret"), "\n").unwrap();
        let (text, _) = home.complaint("--connection a", &none);
        assert_eq!(text, "reading the client secret from ~/config/archive/secret: the file is empty");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_secrets_is_open_to_others_if_group_or_others_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = Home::new("");
        let path = home.at("secret");
        fs::write(&path, "x").unwrap();
        for (mode, is_open) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_open_to_others(&path), is_open, "{mode:o}");
        }
    }

    #[test]
    fn import_and_status_ask_for_no_credentials_and_no_connection() {
        let home = Home::new("connections = ['listed']");
        let environment = home.environment(&[]);
        let typed = cli::Import {
            files: vec!["a.json".into(), "-".into()],
            connection: None,
            format: SummaryFormat::Json,
        };
        let import = Import::new(&Global::default(), &typed, &environment).unwrap();
        assert_eq!(import.files, [Input::File("a.json".into()), Input::Stdin]);
        assert_eq!((import.connection, import.format), (None, Format::Json));
        let typed = cli::Import { files: vec!["-".into(), "-".into()], ..typed };
        assert!(matches!(Import::new(&Global::default(), &typed, &environment), Err(Error::StdinTwice)));
        let status = Status::new(&Global::default(), &cli::Status::default(), &environment).unwrap();
        assert!(status.connections.is_empty());
    }

    #[test]
    fn a_demo_never_writes_where_real_data_may_be() {
        let home = Home::new("db = '/real.db'\ncache_mib = 9");
        let environment = home.environment(&[("ARCHIVE_DB", "/real.db")]);
        let demo = Demo::new(&Global::default(), &environment).unwrap();
        assert_eq!((demo.db, demo.cache_mib), (None, 9));
        let mut global = Global { db: Some(home.at("new.db")), ..Global::default() };
        assert_eq!(Demo::new(&global, &environment).unwrap().db, global.db);
        global.db = Some(home.at("config/archive/archive.toml"));
        assert!(matches!(Demo::new(&global, &environment), Err(Error::Exists(_))));
    }

    #[test]
    fn without_a_home_only_the_database_has_to_be_named() {
        let environment = Environment { variable: Box::new(|_| None), folders: None, now: noon() };
        let mut global = Global::default();
        let error = Status::new(&global, &cli::Status::default(), &environment).unwrap_err();
        assert!(error.hint().unwrap().contains("--db"));
        global.db = Some("x.db".into());
        assert_eq!(
            Status::new(&global, &cli::Status::default(), &environment).unwrap().db,
            Path::new("x.db")
        );
    }

    #[test]
    fn color_follows_the_flag_then_no_color_then_the_terminal() {
        let home = Home::new("");
        let color = |typed, variables: &[_]| {
            Talk::new(&Global { color: typed, ..Global::default() }, &home.environment(variables)).color
        };
        assert_eq!(color(None, &[("NO_COLOR", ""), ("TERM", "xterm")]), Color::Auto);
        assert_eq!(color(None, &[("NO_COLOR", "1")]), Color::Never);
        assert_eq!(color(None, &[("TERM", "dumb")]), Color::Never);
        assert_eq!(color(Some(Color::Always), &[("NO_COLOR", "1")]), Color::Always);
    }
}
