//! What `archive import` is to do.

use std::fmt;
use std::path::PathBuf;

use super::environment::Environment;
use super::error::{Error, Result};
use super::file::File;
use super::format::Format;
use crate::api::TypedConnection;
use crate::cli::{self, Global};

/// Where a saved page comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Standard input; at most once in a list.
    Stdin,
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
pub(crate) struct Import {
    pub db: PathBuf,
    pub cache_mib: u32,
    /// At least one, in the order given.
    pub files: Vec<Input>,
    /// The connection of pages that do not name one.
    pub connection: Option<TypedConnection>,
    pub format: Format,
}

impl Import {
    /// Joins what was typed with the environment and the file.
    pub(crate) fn new(global: &Global, typed: &cli::Import, environment: &Environment) -> Result<Self> {
        let file = File::read(global, environment)?;
        let input =
            |path: &PathBuf| if path.as_os_str() == "-" { Input::Stdin } else { Input::File(path.clone()) };
        let files: Vec<Input> = typed.files.iter().map(input).collect();
        // The second reading would find nothing and store nothing, without an error.
        if files.iter().filter(|&input| *input == Input::Stdin).count() > 1 {
            return Err(Error::StdinTwice);
        }
        Ok(Self {
            db: file.find_db(global, environment)?,
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
