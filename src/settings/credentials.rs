//! Who asks the platform, and where that was found.
//!
//! In: the environment, and `[credentials]` of the configuration file. Out: [`Credentials`] for the client,
//! and the [`CredentialsSource`] that an error names when the platform refuses them. Reads the files of
//! secrets; no secret is in an error or in Debug output.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

use super::environment::Environment;
use super::error::{Error, Result};
use super::read::read_text;
use super::values::SecretFile;
use crate::api::Credentials;

const TOKEN: &str = "ITP_ACCESS_TOKEN";
const CLIENT_ID: &str = "ITP_SERVICE_CLIENT_ID";
const CLIENT_SECRET: &str = "ITP_SERVICE_CLIENT_SECRET";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileCredentials {
    pub(super) client_id: Option<String>,
    pub(super) client_secret_file: Option<SecretFile>,
    pub(super) access_token_file: Option<SecretFile>,
}

/// Where one part of the credentials was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CredentialsPlace {
    Variable(&'static str),
    /// A key under `[credentials]` of the configuration file.
    Key {
        key: &'static str,
        configuration: PathBuf,
    },
    /// The file that such a key names.
    File {
        path: PathBuf,
        key: &'static str,
        configuration: PathBuf,
    },
}

/// Where the credentials were found. Its Display says what to do where they are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CredentialsSource {
    Token(CredentialsPlace),
    Client { id: CredentialsPlace, secret: CredentialsPlace },
}

impl fmt::Display for CredentialsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::Key { key, configuration } => {
                write!(f, "{key} under [credentials] in {}", configuration.display())
            }
            Self::File { path, key, configuration } => write!(
                f,
                "the file {} ({key} under [credentials] in {})",
                path.display(),
                configuration.display()
            ),
        }
    }
}

impl fmt::Display for CredentialsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(place) => {
                write!(f, "the token came from {place}: put one there that is still valid")
            }
            Self::Client { id, secret } => {
                write!(f, "the client secret came from {secret} and the client id from {id}: check both")
            }
        }
    }
}

/// A ready token, else a service application, else a file that holds a token.
pub(super) fn find_credentials(
    environment: &Environment,
    configuration: &Path,
    file: &FileCredentials,
) -> Result<(Credentials, CredentialsSource)> {
    if let Some(token) = environment.text(TOKEN)? {
        let source = CredentialsSource::Token(CredentialsPlace::Variable(TOKEN));
        return Ok((Credentials::Token(SecretString::from(token)), source));
    }
    let named = |path: &Path, key| CredentialsPlace::File {
        path: path.to_owned(),
        key,
        configuration: configuration.to_owned(),
    };
    let id = match environment.text(CLIENT_ID)? {
        Some(id) => Some((id, CredentialsPlace::Variable(CLIENT_ID))),
        None => file.client_id.clone().filter(|id| !id.is_empty()).map(|id| {
            let place = CredentialsPlace::Key { key: "client_id", configuration: configuration.to_owned() };
            (id, place)
        }),
    };
    let secret = match (environment.text(CLIENT_SECRET)?, &file.client_secret_file) {
        (Some(secret), _) => Some((SecretString::from(secret), CredentialsPlace::Variable(CLIENT_SECRET))),
        (None, Some(SecretFile(path))) => {
            Some((read_secret(path, "the client secret")?, named(path, "client_secret_file")))
        }
        (None, None) => None,
    };
    match (id, secret, &file.access_token_file) {
        (Some((id, id_from)), Some((secret, secret_from)), _) => {
            let source = CredentialsSource::Client { id: id_from, secret: secret_from };
            Ok((Credentials::Client { id, secret }, source))
        }
        (Some(_), None, _) => Err(Error::NoSecret),
        (None, Some(_), _) => Err(Error::NoClientId),
        (None, None, Some(SecretFile(path))) => {
            // The client reads it again whenever the platform refuses the token.
            read_secret(path, "the access token")?;
            let source = CredentialsSource::Token(named(path, "access_token_file"));
            Ok((Credentials::TokenFile(path.clone()), source))
        }
        (None, None, None) => Err(Error::NoCredentials),
    }
}

pub(super) fn read_secret(path: &Path, what: &'static str) -> Result<SecretString> {
    let text = read_text(path).map_err(|source| Error::Unreadable { what, path: path.to_owned(), source })?;
    // What an editor adds at either end is no part of the secret; a blank inside may be.
    let text = text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() {
        return Err(Error::Empty { what, path: path.to_owned() });
    }
    if is_open_to_others(path) {
        tracing::warn!("{} holds {what}, and others than its owner can read it", path.display());
    }
    Ok(SecretString::from(text))
}

#[cfg(unix)]
pub(super) fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o044 != 0)
}

#[cfg(not(unix))]
pub(super) fn is_open_to_others(_: &Path) -> bool {
    false
}
