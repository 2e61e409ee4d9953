//! How the platform is asked: where it is, who asks, how much and how long.

use std::time::Duration;

use url::Url;

use super::credentials::{CredentialsSource, find_credentials};
use super::defaults::{
    DEFAULT_API_URL, DEFAULT_AT_A_TIME, DEFAULT_ISSUER_URL, DEFAULT_PAGE_SIZE, DEFAULT_TIME_BUDGET,
};
use super::environment::Environment;
use super::error::{Error, Result};
use super::file::File;
use super::values::PlatformUrl;
use crate::api::{Credentials, RequestLimit};
use crate::cli::{AtATime, PageSize, TimeBudget};

/// How the platform is asked. Debug output shows no secret.
#[derive(Debug, Clone)]
pub(crate) struct Platform {
    pub credentials: Credentials,
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
        time_budget: Option<TimeBudget>,
    ) -> Result<Self> {
        let api_url = file.platform.api_url.as_ref();
        let issuer_url = file.platform.issuer_url.as_ref();
        file.require()?;
        let (credentials, credentials_source) = find_credentials(environment, &file.path, &file.credentials)?;
        Ok(Self {
            credentials,
            credentials_source,
            api_url: find_url(environment, "ITP_API_URL", api_url, DEFAULT_API_URL)?,
            issuer_url: find_url(environment, "ITP_ISSUER_URL", issuer_url, DEFAULT_ISSUER_URL)?,
            request_limits: find_request_limits(request_limits, file)?,
            page_size: file.page_size.map_or(DEFAULT_PAGE_SIZE, PageSize::get),
            pages_in_flight: at_a_time(None, file.pages_in_flight),
            time_budget: time_budget.or(file.time_budget).map_or(DEFAULT_TIME_BUDGET, |budget| budget.0),
        })
    }
}

/// What was typed, or the file's, or the default.
pub(super) fn at_a_time(typed: Option<AtATime>, file: Option<AtATime>) -> usize {
    typed.or(file).map_or(DEFAULT_AT_A_TIME, AtATime::get) as usize
}

/// The environment's URL, or the file's, or the default one.
pub(super) fn find_url(
    environment: &Environment,
    name: &'static str,
    file: Option<&PlatformUrl>,
    default: &str,
) -> Result<Url> {
    match (environment.text(name)?, file) {
        (None, Some(url)) => Ok(url.0.clone()),
        (text, _) => {
            let url = text.as_deref().unwrap_or(default).parse::<PlatformUrl>();
            url.map(|url| url.0).map_err(|problem| Error::NotUrl { name, problem })
        }
    }
}

/// `--request-limit`, or the file's, or what keeps below the platform's lowest tier.
fn find_request_limits(typed: &[String], file: &File) -> Result<Vec<RequestLimit>> {
    // `none` stands alone: beside a limit it would contradict it, and is then read as a limit, which it is not.
    match typed {
        [] => Ok(file.request_limits.clone().unwrap_or_else(|| RequestLimit::DEFAULTS.to_vec())),
        [none] if none == "none" => Ok(Vec::new()),
        typed => {
            let limits = typed.iter().map(|text| text.parse());
            limits.collect::<std::result::Result<_, _>>().map_err(Error::Limit)
        }
    }
}
