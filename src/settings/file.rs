//! `archive.toml`: its keys, and what is said of a mistake in it.
//!
//! In: the file that was named, or the default one. Out: what it says, each value within its limits and each
//! path beside the file. A mistake is told with line and key, and without the line's text: that may hold a
//! secret in a wrong place.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::credentials::FileCredentials;
use super::defaults::DEFAULT_CACHE_MIB;
use super::environment::{Environment, default_db, default_place, find_named};
use super::error::{Error, Result};
use super::read::read_text;
use super::values::{CacheMib, FilePath, FullEvery, PlatformUrl, SecretFile};
use crate::api::{ConnectionId, Kind, RequestLimit};
use crate::cli::{AtATime, Global, PageSize, Size, TimeBudget};
use crate::time::zone::Zone;

/// `archive.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    /// Where it is, or would be.
    #[serde(skip)]
    pub(super) path: PathBuf,
    /// Why it could not be read, where nobody named it: what it says is not known then.
    #[serde(skip)]
    unreadable: Option<io::Error>,
    pub(super) db: Option<FilePath>,
    pub(super) itwins: Vec<String>,
    pub(super) imodels: Vec<String>,
    #[serde(deserialize_with = "each")]
    pub(super) connections: Vec<ConnectionId>,
    #[serde(deserialize_with = "each")]
    pub(super) kinds: Vec<Kind>,
    #[serde(deserialize_with = "some_each")]
    pub(super) request_limits: Option<Vec<RequestLimit>>,
    pub(super) page_size: Option<PageSize>,
    pub(super) pages_in_flight: Option<AtATime>,
    pub(super) concurrency: Option<AtATime>,
    pub(super) time_budget: Option<TimeBudget>,
    pub(super) full_every: Option<FullEvery>,
    pub(super) min_free: Option<Size>,
    pub(super) cache_mib: Option<CacheMib>,
    pub(super) time_zone: Option<Zone>,
    pub(super) queries: Option<FilePath>,
    pub(super) platform: FilePlatform,
    pub(super) credentials: FileCredentials,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FilePlatform {
    pub(super) api_url: Option<PlatformUrl>,
    pub(super) issuer_url: Option<PlatformUrl>,
}

impl File {
    /// The named file, which must exist, or the default one, which need not.
    pub(super) fn read(global: &Global, environment: &Environment) -> Result<Self> {
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

    /// Ends a command that needs what the file says.
    pub(super) fn require(&self) -> Result<()> {
        let Some(error) = &self.unreadable else { return Ok(()) };
        let (path, source) = (self.path.clone(), io::Error::from(error.kind()));
        Err(Error::Unreadable { what: "settings", path, source })
    }

    pub(super) fn parse(text: &str, path: PathBuf, environment: &Environment) -> Result<Self> {
        // Editors of Windows put a byte order mark before the first key, which TOML would take for a part of it.
        let text = text.trim_start_matches('\u{feff}');
        let mut file: Self = toml::from_str(text)
            .map_err(|error| Error::Misunderstood { path: path.clone(), problem: describe(text, &error) })?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let credentials = &mut file.credentials;
        let paths = [&mut file.db, &mut file.queries].into_iter().flatten().map(|path| &mut path.0);
        let secrets = [&mut credentials.client_secret_file, &mut credentials.access_token_file];
        for path in paths.chain(secrets.into_iter().flatten().map(|path| &mut path.0)) {
            *path = folder.join(environment.expand(path.clone()));
        }
        Ok(Self { path, ..file })
    }

    pub(super) fn cache_mib(&self) -> u32 {
        self.cache_mib.map_or(DEFAULT_CACHE_MIB, CacheMib::get)
    }

    /// The archive: as it was typed, or as the environment or the file names it, or in its usual place.
    pub(super) fn find_db(&self, global: &Global, environment: &Environment) -> Result<PathBuf> {
        let named = global.db.clone().or_else(|| environment.path("ARCHIVE_DB"));
        match (named, &self.db) {
            (Some(named), _) => Ok(environment.expand(named)),
            (None, Some(path)) => Ok(path.0.clone()),
            (None, None) => {
                // Where the archive is may be said there.
                self.require()?;
                default_db(environment).ok_or(Error::NoHome)
            }
        }
    }
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

/// A list of texts, each read by its type. They are taken as texts first, so that a mistake is told with the
/// line on which the list begins.
fn each<'de, D, T>(from: D) -> std::result::Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

/// A list whose absence means something else than its being empty.
fn some_each<'de, D, T>(from: D) -> std::result::Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    each(from).map(Some)
}

/// A key that holds a text is read as the same text on the command line would be.
macro_rules! read_from_text {
    ($($read:ty),+ $(,)?) => {
        $(impl<'de> Deserialize<'de> for $read {
            fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(D::Error::custom)
            }
        })+
    };
}

read_from_text!(FilePath, FullEvery, PlatformUrl, SecretFile, Size, TimeBudget);
