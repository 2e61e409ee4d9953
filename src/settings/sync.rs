//! What `archive sync` is to do.

use std::path::PathBuf;
use std::time::Duration;

use super::connections::{parse_connections, unique};
use super::defaults::{DEFAULT_FULL_EVERY, DEFAULT_PAGE_SIZE};
use super::environment::Environment;
use super::error::{Error, Result};
use super::file::File;
use super::format::Format;
use super::platform::{Platform, at_a_time};
use crate::api::{ConnectionId, Kind};
use crate::cli::{self, Global, PageSize};

/// What `archive sync` is to do. Debug output shows no secret.
#[derive(Debug, Clone)]
pub(crate) struct Sync {
    pub db: PathBuf,
    pub cache_mib: u32,
    /// Connections that were typed, by their ids or archived names: then nothing else is synced but what
    /// was typed beside them. None twice, in the order given.
    pub chosen: Vec<ConnectionId>,
    /// Connections of the configuration, by their ids. None twice, in the order given.
    pub connections: Vec<ConnectionId>,
    pub imodels: Vec<String>,
    pub itwins: Vec<String>,
    /// Which connections are looked for below them: at least one kind.
    pub kinds: Vec<Kind>,
    pub platform: Platform,
    /// Only say what a first sync would cost.
    pub estimate: bool,
    pub full: bool,
    /// Whether somebody chose the page size: what a connection allowed before then counts for less.
    pub is_page_size_given: bool,
    /// Connections at a time, at least 1.
    pub concurrency: usize,
    /// After how long a walk is a full one; zero: always.
    pub full_every: Duration,
    /// Bytes that a backfill leaves free of the disk; 0: none; `None`: the usual.
    pub min_free: Option<u64>,
    pub dry_run: bool,
    pub format: Format,
}

impl Sync {
    /// Joins what was typed with the environment and the file.
    pub(crate) fn new(global: &Global, typed: &cli::Sync, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        file.require()?;
        let chosen = parse_connections(&typed.connections)?;
        let is_typed = !(chosen.is_empty() && typed.itwins.is_empty() && typed.imodels.is_empty());
        // What was typed is all that is meant; without it the environment goes over the file, list by list.
        let find = |typed: &[String], variable, file: &[String]| {
            if is_typed {
                return Ok(unique(typed.to_vec()));
            }
            let set = environment.text(variable)?;
            Ok(set.map_or_else(|| unique(file.to_vec()), |id| vec![id]))
        };
        let itwins = find(&typed.itwins, "ITP_ITWIN_ID", &file.itwins)?;
        let imodels = find(&typed.imodels, "ITP_IMODEL_ID", &file.imodels)?;
        let connections = if is_typed { Vec::new() } else { unique(file.connections.clone()) };
        if !is_typed && connections.is_empty() && itwins.is_empty() && imodels.is_empty() {
            return Err(Error::NoConnection { file: file.path });
        }
        let kinds = match typed.kinds.as_slice() {
            [] => unique(file.kinds.clone()),
            typed => unique(typed.to_vec()),
        };
        let page_size = typed.page_size.or(file.page_size);
        let platform = Platform {
            page_size: page_size.map_or(DEFAULT_PAGE_SIZE, PageSize::get),
            pages_in_flight: at_a_time(typed.pages_in_flight, file.pages_in_flight),
            ..Platform::find(environment, &file, &typed.request_limits, typed.time_budget)?
        };
        Ok(Self {
            db: file.find_db(global, environment)?,
            cache_mib: file.cache_mib(),
            chosen,
            connections,
            imodels,
            itwins,
            // A sync without any kind would look for nothing and succeed.
            kinds: if kinds.is_empty() { vec![Kind::Export] } else { kinds },
            estimate: typed.estimate,
            platform,
            full: typed.full,
            is_page_size_given: page_size.is_some(),
            concurrency: at_a_time(typed.concurrency, file.concurrency),
            full_every: file.full_every.map_or(DEFAULT_FULL_EVERY, |every| every.0),
            min_free: typed.min_free.or(file.min_free).map(|size| size.0),
            dry_run: typed.dry_run,
            format: typed.format.into(),
        })
    }
}
