//! Where to look for what was not typed: the process's variables, the user's folders, the clock.

use std::ffi::OsString;
use std::path::PathBuf;

use etcetera::BaseStrategy as _;

use super::error::{Error, Result};
use crate::cli::Global;
use crate::time::UtcText;

/// Looks up an environment variable.
pub(crate) type Variables = Box<dyn Fn(&str) -> Option<OsString>>;

/// Where to look for what was not typed. Tests make their own and leave the process alone.
pub(crate) struct Environment {
    /// A variable's value, if it is set; an empty one counts as not set.
    pub variable: Variables,
    /// The user's folders, if there is a home.
    pub folders: Option<Folders>,
    /// The clock's time, read once.
    pub now: UtcText,
}

#[derive(Debug, Clone)]
pub(crate) struct Folders {
    /// What `~/` stands for.
    pub home: PathBuf,
    /// Where configuration is kept, `~/.config` unless told otherwise.
    pub configuration: PathBuf,
    /// Where data is kept, `~/.local/share` unless told otherwise.
    pub data: PathBuf,
}

impl Environment {
    /// That of this process, at this time.
    pub(crate) fn of_process(now: UtcText) -> Self {
        let folders = etcetera::choose_base_strategy().ok().map(|user| Folders {
            home: user.home_dir().to_owned(),
            configuration: user.config_dir(),
            data: user.data_dir(),
        });
        Self { variable: Box::new(|name| std::env::var_os(name)), folders, now }
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        (self.variable)(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// The value without blanks around it; `None` if nothing is left.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>> {
        let Some(value) = (self.variable)(name) else { return Ok(None) };
        let value = value.into_string().map_err(|_| Error::NotText(name))?;
        Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
    }

    /// `~/` as the home folder: `--db=~/x` and crontabs are read by nobody who would expand it.
    pub(super) fn expand(&self, path: PathBuf) -> PathBuf {
        match (path.strip_prefix("~"), &self.folders) {
            (Ok(rest), Some(folders)) => folders.home.join(rest),
            _ => path,
        }
    }
}

/// The configuration file that somebody named.
pub(super) fn find_named(global: &Global, environment: &Environment) -> Option<PathBuf> {
    let named = global.config.clone().or_else(|| environment.path("ARCHIVE_CONFIG"));
    named.map(|path| environment.expand(path))
}

/// Where the configuration file is looked for otherwise; nowhere without a home.
pub(super) fn default_place(environment: &Environment) -> Option<PathBuf> {
    let folders = environment.folders.as_ref()?;
    Some(folders.configuration.join("archive").join("archive.toml"))
}

/// Where the archive is unless told otherwise; nowhere without a home.
pub(super) fn default_db(environment: &Environment) -> Option<PathBuf> {
    Some(environment.folders.as_ref()?.data.join("archive").join("archive.db"))
}
