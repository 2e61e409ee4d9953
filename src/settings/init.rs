//! What `archive init` is to write, and who asks the platform.
//!
//! In: what was typed and the environment. Out: what is known before anybody is asked.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use url::Url;

use super::connections::{parse_connections, unique};
use super::credentials::read_secret;
use super::defaults::{DEFAULT_API_URL, DEFAULT_ISSUER_URL};
use super::environment::{Environment, default_db, default_place, find_named};
use super::error::{Error, Result};
use super::platform::find_url;
use super::setup::Setup;
use crate::api::Credentials;
use crate::cli::{self, Global};

/// What `archive init` is to do. Debug output shows no secret.
#[derive(Debug, Clone)]
pub(crate) struct Init {
    /// The file to write, absolute. It does not exist, unless `force` is set.
    pub file: PathBuf,
    /// Whether it is found without `--config`.
    pub is_in_default_place: bool,
    pub force: bool,
    pub check: bool,
    /// Say nothing of what to do next.
    pub quiet: bool,
    /// Who asks, as far as it is known.
    pub given: Given,
    /// What the file is to say, as far as it is known.
    pub setup: Setup,
    /// Where the archive is unless the file says otherwise.
    pub default_db: Option<PathBuf>,
    pub api_url: Url,
    pub issuer_url: Url,
    /// What `~/` stands for.
    home: Option<PathBuf>,
}

/// Credentials as far as they are known: by flags, or else by the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    pub token: Option<SecretString>,
    /// A file that holds a token.
    pub token_file: Option<PathBuf>,
    pub client_id: Option<String>,
    /// Its secret, from the environment or as it was typed; it goes over the file's.
    pub secret: Option<SecretString>,
    /// A file that holds the secret.
    pub secret_file: Option<PathBuf>,
}

impl Given {
    fn new(typed: &cli::Init, environment: &Environment) -> Result<Self> {
        let path =
            |path: &Option<PathBuf>| path.clone().map(|path| absolute(environment.expand(path))).transpose();
        if typed.access_token_file.is_some() {
            return Ok(Self { token_file: path(&typed.access_token_file)?, ..Self::default() });
        }
        let is_typed = typed.client_id.is_some() || typed.client_secret_file.is_some();
        if !is_typed && let Some(token) = environment.text("ITP_ACCESS_TOKEN")? {
            return Ok(Self { token: Some(token.into()), ..Self::default() });
        }
        let client_id = match &typed.client_id {
            Some(id) if id.trim().is_empty() => return Err(Error::EmptyId("--client-id")),
            Some(id) => Some(id.trim().to_owned()),
            None => environment.text("ITP_SERVICE_CLIENT_ID")?,
        };
        let secret_file = path(&typed.client_secret_file)?;
        let secret = match secret_file {
            Some(_) => None,
            None => environment.text("ITP_SERVICE_CLIENT_SECRET")?.map(SecretString::from),
        };
        Ok(Self { client_id, secret, secret_file, ..Self::default() })
    }

    /// Whether nothing has to be asked for.
    pub(crate) fn is_enough(&self) -> bool {
        let has_secret = self.secret.is_some() || self.secret_file.is_some();
        self.token.is_some() || self.token_file.is_some() || self.client_id.is_some() && has_secret
    }

    /// Where the credentials were found, and what to do where they are refused.
    pub(crate) fn source(&self) -> String {
        if self.token.is_some() {
            return "the token came from the environment variable ITP_ACCESS_TOKEN: put one there that is still \
                    valid"
                .to_owned();
        }
        if let Some(path) = &self.token_file {
            let path = path.display();
            return format!("the token came from the file {path}: put one there that is still valid");
        }
        let secret = match &self.secret_file {
            Some(path) if self.secret.is_none() => format!("the file {}", path.display()),
            _ => "ITP_SERVICE_CLIENT_SECRET or what was typed".to_owned(),
        };
        format!("the client secret came from {secret}: check it, and the client id")
    }

    /// What a sync needs from the environment to be who this is.
    pub(crate) fn is_of_environment(&self) -> bool {
        self.token.is_some() || self.secret.is_some() && self.secret_file.is_none()
    }

    /// The credentials, with the secret read from its file.
    pub(crate) fn credentials(&self) -> Result<Credentials> {
        let hide = |flag| {
            move |error| match error {
                Error::Unreadable { source, .. } => Error::SecretFile { flag, source },
                error => error,
            }
        };
        if let Some(token) = &self.token {
            return Ok(Credentials::Token(token.clone()));
        }
        if let Some(path) = &self.token_file {
            read_secret(path, "the access token").map_err(hide("--access-token-file"))?;
            return Ok(Credentials::TokenFile(path.clone()));
        }
        let secret = match (&self.secret, &self.secret_file) {
            (Some(secret), _) => Some(secret.clone()),
            (None, Some(path)) => {
                Some(read_secret(path, "the client secret").map_err(hide("--client-secret-file"))?)
            }
            (None, None) => None,
        };
        match (self.client_id.clone(), secret) {
            (Some(id), Some(secret)) => Ok(Credentials::Client { id, secret }),
            (Some(_), None) => Err(Error::NoSecret),
            (None, Some(_)) => Err(Error::NoClientId),
            (None, None) => Err(Error::NothingToCheck),
        }
    }
}

impl Init {
    /// Joins what was typed with the environment. The configuration file is not read: it need not exist.
    pub(crate) fn new(global: &Global, typed: &cli::Init, environment: &Environment) -> Result<Self> {
        let default_place = default_place(environment).map(absolute).transpose()?;
        let named = find_named(global, environment).map(absolute).transpose()?;
        let file = named.or_else(|| default_place.clone()).ok_or(Error::NoPlace)?;
        // `exists` would follow a link and miss one whose target is not there.
        if !typed.force && file.symlink_metadata().is_ok() {
            return Err(Error::Written(file));
        }
        let itwins = ids("--itwin", &typed.itwins, "ITP_ITWIN_ID", typed, environment)?;
        let imodels = ids("--imodel", &typed.imodels, "ITP_IMODEL_ID", typed, environment)?;
        let db = global.db.clone().or_else(|| environment.path("ARCHIVE_DB"));
        let zone = typed.time_zone.as_deref().map(str::parse).transpose();
        let url = |name, default| {
            let url = find_url(environment, name, None, default)?;
            if url.username().is_empty() && url.password().is_none() {
                return Ok(url);
            }
            let problem = "credentials do not belong into a URL".to_owned();
            Err(Error::NotUrl { name, problem })
        };
        let api_url = url("ITP_API_URL", DEFAULT_API_URL)?;
        let issuer_url = url("ITP_ISSUER_URL", DEFAULT_ISSUER_URL)?;
        let other =
            |url: &Url, default| Some(url.clone()).filter(|url| Url::parse(default).as_ref() != Ok(url));
        let setup = Setup {
            db: db.map(|path| absolute(environment.expand(path))).transpose()?,
            itwins: itwins.into_iter().map(|id| (id, None)).collect(),
            imodels,
            connections: parse_connections(&typed.connections)?,
            kinds: unique(typed.kinds.clone()),
            time_zone: zone.map_err(|problem| Error::Time(format!("--time-zone: {problem}")))?,
            api_url: other(&api_url, DEFAULT_API_URL),
            issuer_url: other(&issuer_url, DEFAULT_ISSUER_URL),
            ..Setup::default()
        };
        Ok(Self {
            is_in_default_place: default_place.as_deref() == Some(&file),
            file,
            force: typed.force,
            check: !typed.no_check,
            quiet: global.quiet,
            given: Given::new(typed, environment)?,
            setup,
            default_db: default_db(environment).map(absolute).transpose()?,
            api_url,
            issuer_url,
            home: environment.folders.as_ref().map(|folders| folders.home.clone()),
        })
    }

    /// A file's name as somebody typed it: `~/` is the home folder, and what is relative begins here.
    pub(crate) fn path(&self, typed: &str) -> Result<PathBuf> {
        let path = Path::new(typed);
        absolute(match (path.strip_prefix("~"), &self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path.to_owned(),
        })
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf> {
    let made = std::path::absolute(&path);
    made.map_err(|source| Error::Unreadable { what: "the current folder", path, source })
}

/// What was typed, or the environment's one where nothing of the scope was.
fn ids(
    flag: &'static str,
    list: &[String],
    variable: &'static str,
    typed: &cli::Init,
    environment: &Environment,
) -> Result<Vec<String>> {
    if list.iter().any(|id| id.trim().is_empty()) {
        return Err(Error::EmptyId(flag));
    }
    let is_typed = !(typed.itwins.is_empty() && typed.imodels.is_empty() && typed.connections.is_empty());
    if is_typed {
        Ok(unique(list.iter().map(|id| id.trim().to_owned()).collect()))
    } else {
        Ok(environment.text(variable)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::super::tests::Home;
    use super::*;

    /// The settings of `archive init`.
    fn init(home: &Home, line: &str, variables: &[(&'static str, &str)]) -> Result<Init> {
        let line = format!("archive init {line}");
        let cli = cli::parse(line.split_whitespace().map(Into::into)).unwrap();
        let cli::Command::Init(typed) = cli.command else { panic!("{line}") };
        Init::new(&cli.global, &typed, &home.environment(variables))
    }

    #[test]
    fn flags_go_over_the_environment_and_only_other_urls_are_written() {
        let home = Home::new("");
        let variables = [
            ("ITP_ITWIN_ID", "env"),
            ("ITP_API_URL", "https://api.bentley.com/"),
            ("ITP_ISSUER_URL", "http://127.0.0.1:9"),
            ("ITP_ACCESS_TOKEN", "token"),
            ("ITP_SERVICE_CLIENT_SECRET", "hush"),
        ];
        let settings = init(&home, "", &variables).unwrap();
        assert_eq!(settings.setup.itwins, [("env".to_owned(), None)]);
        assert_eq!(settings.setup.api_url, None);
        assert_eq!(settings.setup.issuer_url.unwrap().as_str(), "http://127.0.0.1:9/");
        assert_eq!(settings.given.token.unwrap().expose_secret(), "token");
        assert!(settings.is_in_default_place && settings.file == home.at("config/archive/archive.toml"));
        let settings =
            init(&home, "--imodel m --connection -c --client-id s --config x.toml", &variables).unwrap();
        assert!(settings.setup.itwins.is_empty() && !settings.is_in_default_place);
        assert_eq!(settings.setup.connections[0].as_str(), "-c");
        assert!(settings.file.is_absolute());
        assert!(settings.given.token.is_none() && settings.given.is_enough());
        assert!(settings.given.is_of_environment());
        assert!(!format!("{:?}", settings.given).contains("hush"));
    }

    #[test]
    fn a_secret_typed_in_place_of_its_file_is_not_repeated() {
        let home = Home::new("");
        let settings = init(&home, "--client-id s --client-secret-file canary-9f", &[]).unwrap();
        let error = settings.given.credentials().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        assert!(error.hint().unwrap().contains("never the secret"));
        let url = [("ITP_API_URL", "https://canary:canary@h/")];
        let error = init(&home, "", &url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }

    #[test]
    fn what_exists_or_has_no_place_is_refused() {
        let home = Home::new("cache_mib = 9");
        assert!(matches!(init(&home, "", &[]), Err(Error::Written(_))));
        assert!(init(&home, "--force", &[]).is_ok());
        assert!(matches!(init(&home, "--force --itwin=", &[]), Err(Error::EmptyId("--itwin"))));
        assert!(matches!(init(&home, "--force --time-zone Nowhere", &[]), Err(Error::Time(_))));
        let environment = Environment { folders: None, ..home.environment(&[]) };
        let error = Init::new(&Global::default(), &cli::Init::default(), &environment).unwrap_err();
        assert!(error.hint().unwrap().contains("--config"));
    }
}
