//! What `archive status` is to show.

use std::path::PathBuf;

use super::connections::parse_connections;
use super::environment::Environment;
use super::error::Result;
use super::file::File;
use super::format::Format;
use crate::api::ConnectionId;
use crate::cli::{self, Global};

/// What `archive status` is to show.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub db: PathBuf,
    /// Only these; empty: all that are archived, whatever the configuration lists.
    pub connections: Vec<ConnectionId>,
    pub format: Format,
}

impl Status {
    /// Joins what was typed with the environment and the file.
    pub(crate) fn new(global: &Global, typed: &cli::Status, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        Ok(Self {
            db: file.find_db(global, environment)?,
            connections: parse_connections(&typed.connections)?,
            format: typed.format.into(),
        })
    }
}
