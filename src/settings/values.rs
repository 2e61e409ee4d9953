//! Values that only the configuration file and the environment hold; those of the command line read
//! themselves in [`cli`](crate::cli).

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

use crate::cli::{TimeLength, Whole};

/// Memory for SQLite's pages, in MiB; no more than a terabyte.
pub(super) type CacheMib = Whole<1, { 1 << 20 }>;

/// How often a listing is walked whole; zero: each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FullEvery(pub(super) Duration);

/// A hundred years: longer is a slip, and its end could not be computed.
const MAX_FULL_EVERY: Duration = Duration::from_secs(36_525 * 24 * 60 * 60);

impl FromStr for FullEvery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<TimeLength>()?.0 {
            length if length > MAX_FULL_EVERY => Err("that is longer than a hundred years".to_owned()),
            length => Ok(Self(length)),
        }
    }
}

/// A file's or a folder's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePath(pub(super) PathBuf);

impl FromStr for FilePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Err("a file's name cannot be empty") } else { Ok(Self(text.into())) }
    }
}

/// The name of a file that holds a secret, which may be shown: tokens are easily put where their file should
/// be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SecretFile(pub(super) PathBuf);

impl FromStr for SecretFile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("eyJ") || text.starts_with("Bearer ") {
            return Err("this looks like a token; name a file that holds it");
        }
        text.parse::<FilePath>().map(|path| Self(path.0))
    }
}

/// An http or https URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlatformUrl(pub(super) Url);

impl FromStr for PlatformUrl {
    type Err = String;

    /// The value is not part of the problem: it may hold a password.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|error| format!("this is no URL: {error}"))?;
        match url.scheme() {
            "http" | "https" => Ok(Self(url)),
            _ => Err("the URL must begin with https:// (or http:// for a loopback address)".to_owned()),
        }
    }
}
