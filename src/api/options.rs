//! What a client is made from, and why none can be made of it.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;
use url::{Host, Url};

use super::limit::RequestLimit;

/// How long one request may take, from connecting to the last byte, unless set.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts at one request, unless set.
pub(crate) const DEFAULT_MAX_ATTEMPTS: usize = 6;
/// The wait before the second attempt, unless set.
pub(crate) const DEFAULT_BACKOFF_START: Duration = Duration::from_millis(500);
/// Requests at a time, unless set.
pub(crate) const DEFAULT_IN_FLIGHT: usize = 4;

/// Who this program is to the platform. Debug output shows no secret.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A ready bearer token. It cannot be renewed.
    Token(SecretString),
    /// A file that holds a bearer token; read again when the platform refuses the token.
    TokenFile(PathBuf),
    /// A service application (client credentials grant).
    Client {
        /// As the application's registration names it.
        id: String,
        /// From the registration too; no error and no log shows it.
        secret: SecretString,
    },
}

/// What a client is made from. Debug output shows no secret.
#[derive(Debug, Clone)]
pub struct Options {
    /// The platform, for example `https://api.bentley.com`; may have a path.
    pub api_url: Url,
    /// The token issuer, for example `https://ims.bentley.com`.
    pub issuer_url: Url,
    /// Who asks; a ready token cannot be renewed when the platform refuses it.
    pub credentials: Credentials,
    /// How long one request may take, from connecting to the last byte.
    pub timeout: Duration,
    /// When the time budget ends, if there is one.
    pub deadline: Option<Instant>,
    /// Requests, or answers not yet dropped, at a time in the whole process; at least 1.
    pub in_flight: usize,
    /// Attempts at one request; pauses asked for by a 429 do not count.
    pub max_attempts: usize,
    /// The wait before the second attempt.
    pub backoff_start: Duration,
    /// How many requests may be sent in a time; none: as many as go.
    pub limits: Vec<RequestLimit>,
}

impl Options {
    /// Options with the defaults of this module and no time budget.
    pub fn new(api_url: Url, issuer_url: Url, credentials: Credentials) -> Self {
        Self {
            api_url,
            issuer_url,
            credentials,
            timeout: DEFAULT_TIMEOUT,
            deadline: None,
            in_flight: DEFAULT_IN_FLIGHT,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            backoff_start: DEFAULT_BACKOFF_START,
            limits: RequestLimit::DEFAULTS.to_vec(),
        }
    }
}

/// Why no client can be made: a matter of settings, not of the platform.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("{0} is no https URL")]
    NotHttp(String),
    /// Tokens are not sent in the clear.
    #[error("plain http is refused for {0}: use https (http is for loopback addresses only)")]
    PlainHttp(String),
    /// `https://user:password@…`; the URL is not shown.
    #[error("the URL of host {0} holds a user name or password: credentials do not belong there")]
    UrlWithPassword(String),
    /// A token file that cannot be read.
    #[error("reading the token from {} {problem}", path.display())]
    TokenFile { path: PathBuf, problem: String },
    /// The token is empty, or holds characters that no token has.
    #[error("the token is empty or holds characters that no token has (blanks, quotes of another script)")]
    NoToken,
    /// No client id or no secret.
    #[error("the service application's client id or secret is empty")]
    EmptyClient,
    /// TLS cannot be set up, most often because the machine has no CA certificates.
    #[error("https cannot be set up: {0}")]
    Https(String),
    /// No certificate is valid at such a time, and rustls panics where it is to judge one.
    #[error("https cannot be used: the clock of this machine shows a time before 1970 (set the clock)")]
    Clock,
    /// The HTTP client cannot be built for another reason.
    #[error(
        "the http client cannot be set up: {0} (a fault of this machine or of the program, no setting: report it)"
    )]
    Http(String),
}

/// Lets https through, and http only to this machine.
pub(super) fn check_url(url: &Url) -> Result<(), SetupError> {
    let has_password = !url.username().is_empty() || url.password().is_some();
    match (url.scheme(), url.host()) {
        (_, Some(host)) if has_password => Err(SetupError::UrlWithPassword(host.to_string())),
        ("https", Some(_)) => Ok(()),
        ("http", Some(Host::Ipv4(address))) if address.is_loopback() => Ok(()),
        ("http", Some(Host::Ipv6(address))) if address.is_loopback() => Ok(()),
        ("http", Some(Host::Domain("localhost"))) => Ok(()),
        ("http", _) => Err(SetupError::PlainHttp(url.to_string())),
        _ => Err(SetupError::NotHttp(url.to_string())),
    }
}
