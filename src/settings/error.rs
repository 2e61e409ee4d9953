//! Why settings cannot be used, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use crate::api::ConnectionId;
use crate::error::{CommandError, ExitCode};

/// Why settings cannot be used. All are exit code 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The configuration file, or a file that it names, cannot be read.
    #[error("reading {what} from {}", path.display())]
    Unreadable { what: &'static str, path: PathBuf, source: io::Error },
    /// The configuration file says something that is not understood.
    #[error("reading settings from {}: {problem}", path.display())]
    Misunderstood {
        path: PathBuf,
        /// Line, key and what is wrong with it.
        problem: String,
    },
    /// A file of secrets is empty.
    #[error("reading {what} from {}: the file is empty", path.display())]
    Empty { what: &'static str, path: PathBuf },
    /// An environment variable is not UTF-8. Its value is not shown.
    #[error("the environment variable {0} is not UTF-8 text")]
    NotText(&'static str),
    /// An environment variable is no URL of the platform. Its value is not shown: it may hold a password.
    #[error("the environment variable {name}: {problem}")]
    NotUrl { name: &'static str, problem: String },
    /// A value of `--connection` is no connection's id.
    #[error("--connection: {0}")]
    NotConnection(<ConnectionId as FromStr>::Err),
    #[error("no connection is chosen")]
    NoConnection {
        /// Where they could be listed.
        file: PathBuf,
    },
    /// Neither a token nor a service application.
    #[error("no credentials are given")]
    NoCredentials,
    /// A client id without its secret.
    #[error("a service application's client id is given, but not its secret: set ITP_SERVICE_CLIENT_SECRET")]
    NoSecret,
    /// A client secret without its id.
    #[error("a service application's secret is given, but not its client id: set ITP_SERVICE_CLIENT_ID")]
    NoClientId,
    /// There is no home folder to keep the database in.
    #[error("there is no home folder, so the database has no default place")]
    NoHome,
    /// The demo's database is there already.
    #[error("{} exists, and the demo writes only into a new file", .0.display())]
    Exists(PathBuf),
    /// A time, a period or a time zone cannot be read.
    #[error("{0}")]
    Time(String),
    /// A value of `--request-limit` is no limit.
    #[error("--request-limit: {0}")]
    Limit(String),
    /// `-` was given more than once.
    #[error("standard input ('-') can be read only once")]
    StdinTwice,
    /// The configuration to write exists already.
    #[error("{} exists, and was left as it is", .0.display())]
    Written(PathBuf),
    /// There is no home folder to keep the configuration in.
    #[error("there is no home folder, so the configuration has no default place")]
    NoPlace,
    /// `archive init` knows of nothing to archive and has nobody to ask.
    #[error("nothing is chosen to be archived")]
    NothingChosen,
    /// `archive init` knows no credentials and has nobody to ask.
    #[error("no credentials are given that could be checked")]
    NothingToCheck,
    #[error("{0}: an id cannot be empty")]
    EmptyId(&'static str),
    /// A file of secrets that a flag names cannot be read. What was typed is not shown: it may be the
    /// secret itself.
    #[error("{flag}: no file of the name that was given can be read")]
    SecretFile { flag: &'static str, source: io::Error },
    /// A configuration is UTF-8.
    #[error("a configuration cannot name {0:?}: the name is not UTF-8 text")]
    PathNotText(PathBuf),
    /// Something is said of a query, but not of which.
    #[error("no query is chosen")]
    NoQuery,
    /// Something is to be taken out for good, and no copy was spoken of.
    #[error("archive prune takes out for good, and no copy is to be made first")]
    NoBackup,
    /// `--param` was given twice for one parameter.
    #[error("the parameter {0} is given twice")]
    ParameterTwice(String),
}

pub(super) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(super) fn hint(&self) -> Option<String> {
        // A hint is the next step; an error whose own text says it has none.
        let text = match self {
            Self::NoConnection { file } => {
                let file = file.display();
                format!(
                    "give --itwin ID, --imodel ID or --connection ID (each repeatable), or list itwins = [\"ID\"], \
                     imodels or connections in {file}"
                )
            }
            Self::NoCredentials => "set ITP_ACCESS_TOKEN, or both ITP_SERVICE_CLIENT_ID and \
                ITP_SERVICE_CLIENT_SECRET, or name files under [credentials] in the configuration"
                .to_owned(),
            Self::NoSecret => {
                "client_secret_file under [credentials] may name a file that holds it".to_owned()
            }
            Self::NoClientId => "client_id under [credentials] may hold it".to_owned(),
            Self::Unreadable { what: "settings", source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                "let this account read it, or name another with --config or ARCHIVE_CONFIG; HOME says whose \
                 settings are read"
                    .to_owned()
            }
            Self::NoHome => "give --db FILE or set ARCHIVE_DB".to_owned(),
            Self::Written(_) => "--force writes over it, and --config names another".to_owned(),
            Self::NoPlace => "give --config FILE or set ARCHIVE_CONFIG".to_owned(),
            Self::NothingChosen => "give --itwin ID, --imodel ID or --connection ID (each repeatable); on a \
                terminal archive init lists the iTwins and asks"
                .to_owned(),
            Self::NothingToCheck => "set ITP_ACCESS_TOKEN, or both ITP_SERVICE_CLIENT_ID and \
                ITP_SERVICE_CLIENT_SECRET, or give --client-id and --client-secret-file, or \
                --access-token-file; --no-check writes the file without"
                .to_owned(),
            Self::SecretFile { .. } => "it takes the name of a file, never the secret itself".to_owned(),
            Self::NoQuery => "give a name, --sql or -; archive query lists the names".to_owned(),
            Self::NoBackup => "give --backup FILE, or --no-backup if there is a copy".to_owned(),
            Self::Exists(_) => "choose another --db, or none: the demo then chooses one".to_owned(),
            _ => return None,
        };
        Some(text)
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        let hint = error.hint();
        let error = Self::new(ExitCode::Usage, error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}
