//! What `archive demo` is to do.

use std::path::PathBuf;

use super::environment::Environment;
use super::error::{Error, Result};
use super::file::File;
use crate::cli::Global;

/// What `archive demo` is to do.
#[derive(Debug, Clone)]
pub(crate) struct Demo {
    /// The archive to make, which did not exist a moment ago; never one that the environment or the file
    /// names: a demo is not put where real data is kept.
    pub db: Option<PathBuf>,
    pub cache_mib: u32,
}

impl Demo {
    /// Joins what was typed with the file.
    pub(crate) fn new(global: &Global, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        let db = global.db.clone().map(|path| environment.expand(path));
        match db {
            // `exists` would follow a link and miss one whose target is not there.
            Some(path) if path.symlink_metadata().is_ok() => Err(Error::Exists(path)),
            db => Ok(Self { db, cache_mib: file.cache_mib() }),
        }
    }
}
