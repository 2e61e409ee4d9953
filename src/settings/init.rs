//! What `archive init` is to write, and the text of the file.
//!
//! In: what was typed and the environment. Out: what is known before anybody is asked, and `archive.toml`
//! with a comment on every setting. No secret stands in it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use toml::Value;
use url::Url;

use super::{
    DEFAULT_API_URL, DEFAULT_AT_A_TIME, DEFAULT_CACHE_MIB, DEFAULT_ISSUER_URL, DEFAULT_PAGE_SIZE,
    Environment, Error, Result, default_db, default_place, find_named, find_url, parse_connections,
    parse_url, read_secret, unique,
};
use crate::api::auth::Credentials;
use crate::api::{ConnectionId, Kind, RequestLimit};
use crate::cli::{self, Global};
use crate::time::zone::Zone;

/// What `archive init` is to do. Debug output shows no secret.
#[derive(Debug, Clone)]
pub struct Init {
    /// The file to write, absolute. It does not exist, unless `force` is set.
    pub file: PathBuf,
    /// Whether it is found without `--config`.
    pub is_in_default_place: bool,
    /// Write over what exists.
    pub force: bool,
    /// Ask the platform first.
    pub check: bool,
    /// Say nothing of what to do next.
    pub quiet: bool,
    /// Who asks, as far as it is known.
    pub given: Given,
    /// What the file is to say, as far as it is known.
    pub setup: Setup,
    /// Where the archive is unless the file says otherwise.
    pub default_db: Option<PathBuf>,
    /// The platform.
    pub api_url: Url,
    /// The token issuer.
    pub issuer_url: Url,
    /// What `~/` stands for.
    home: Option<PathBuf>,
}

/// Credentials as far as they are known: by flags, or else by the environment.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The environment's bearer token.
    pub token: Option<SecretString>,
    /// A file that holds a token.
    pub token_file: Option<PathBuf>,
    /// A service application.
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
    pub fn is_enough(&self) -> bool {
        let has_secret = self.secret.is_some() || self.secret_file.is_some();
        self.token.is_some() || self.token_file.is_some() || self.client_id.is_some() && has_secret
    }

    /// Where the credentials were found, and what to do where they are refused.
    pub fn source(&self) -> String {
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
    pub fn is_of_environment(&self) -> bool {
        self.token.is_some() || self.secret.is_some() && self.secret_file.is_none()
    }

    /// The credentials, with the secret read from its file.
    ///
    /// # Errors
    /// A file that cannot be read, or only one half of a service application.
    pub fn credentials(&self) -> Result<Credentials> {
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

/// What the file is to say; what is not there is written as a comment, with its default.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The archive.
    pub db: Option<PathBuf>,
    /// iTwins, and what they are called where that is known.
    pub itwins: Vec<(String, Option<String>)>,
    /// iModels.
    pub imodels: Vec<String>,
    /// Connections.
    pub connections: Vec<ConnectionId>,
    /// What connections are looked for.
    pub kinds: Vec<Kind>,
    /// Whose days and weeks.
    pub time_zone: Option<Zone>,
    /// The service application.
    pub client_id: Option<String>,
    /// A file that holds its secret.
    pub client_secret_file: Option<PathBuf>,
    /// A file that holds a token.
    pub access_token_file: Option<PathBuf>,
    /// Another platform.
    pub api_url: Option<Url>,
    /// Another token issuer.
    pub issuer_url: Option<Url>,
}

impl Init {
    /// Joins what was typed with the environment. The configuration file is not read: it need not exist.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Written`] where the file exists.
    pub fn new(global: &Global, typed: &cli::Init, environment: &Environment) -> Result<Self> {
        let default_place = default_place(environment).map(absolute).transpose()?;
        let named = find_named(global, environment).map(absolute).transpose()?;
        let file = named.or_else(|| default_place.clone()).ok_or(Error::NoPlace)?;
        // A link that leads nowhere exists too.
        if !typed.force && file.symlink_metadata().is_ok() {
            return Err(Error::Written(file));
        }
        let itwins = ids("--itwin", &typed.itwins, "ITP_ITWIN_ID", typed, environment)?;
        let imodels = ids("--imodel", &typed.imodels, "ITP_IMODEL_ID", typed, environment)?;
        let db = global.db.clone().or_else(|| environment.path("ARCHIVE_DB"));
        let zone = typed.time_zone.as_deref().map(str::parse).transpose();
        let url = |name, default| {
            let url = find_url(environment, name, &None, default)?;
            match url.username().is_empty() && url.password().is_none() {
                true => Ok(url),
                false => {
                    let problem = "credentials do not belong into a URL".to_owned();
                    Err(Error::NotUrl { name, problem })
                }
            }
        };
        let api_url = url("ITP_API_URL", DEFAULT_API_URL)?;
        let issuer_url = url("ITP_ISSUER_URL", DEFAULT_ISSUER_URL)?;
        let other =
            |url: &Url, default| Some(url.clone()).filter(|url| parse_url(default).as_ref() != Ok(url));
        let setup = Setup {
            db: db.map(|path| absolute(environment.expand(path))).transpose()?,
            itwins: itwins.into_iter().map(|id| (id, None)).collect(),
            imodels,
            connections: parse_connections(&typed.connections)?,
            kinds: unique(typed.kinds.iter().map(|kind| Kind::from(*kind)).collect()),
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
    ///
    /// # Errors
    /// There is no folder to be in.
    pub fn path(&self, typed: &str) -> Result<PathBuf> {
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
    match is_typed {
        true => Ok(unique(list.iter().map(|id| id.trim().to_owned()).collect())),
        false => Ok(environment.text(variable)?.into_iter().collect()),
    }
}

impl Setup {
    /// Whether nothing would be archived.
    pub fn is_empty(&self) -> bool {
        self.itwins.is_empty() && self.imodels.is_empty() && self.connections.is_empty()
    }

    /// The file's text. A line that begins with `#` and no blank is a setting that was not chosen: it
    /// holds when the `#` is taken away.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub fn to_toml(&self, default_db: Option<&Path>) -> Result<String> {
        let mut file = Text(String::new());
        let example = |path: &Option<PathBuf>, name: &str| match path {
            Some(path) => text_of(path),
            None => Ok(Value::from(name)),
        };
        let list = |items: Vec<String>| Value::from(items);
        file.say(
            "The configuration of archive, written by archive init. A flag goes over the environment, the",
        );
        file.say("environment over this file, this file over the default. A line that begins with # and no");
        file.say("blank is a setting at its default: to change it, take the # away. Paths are relative to");
        file.say("this file.");
        file.part("The archive, one SQLite file; also --db, ARCHIVE_DB.");
        let default = default_db.unwrap_or(Path::new("archive.db"));
        file.set("db", self.db.is_some(), text_of(self.db.as_deref().unwrap_or(default))?);

        file.part(
            "iTwins: all connections of their iModels, those made later too; also --itwin, ITP_ITWIN_ID.",
        );
        match self.itwins.as_slice() {
            [] => file.set("itwins", false, list(Vec::new())),
            itwins => file.set_named("itwins", itwins),
        }
        file.say("iModels: all their connections; also --imodel, ITP_IMODEL_ID.");
        file.set("imodels", !self.imodels.is_empty(), list(self.imodels.clone()));
        file.say("Connections by their ids; storage:ID and manifest:ID are those that synchronize.");
        let connections = self.connections.iter().map(ToString::to_string).collect();
        file.set("connections", !self.connections.is_empty(), list(connections));
        file.say("What connections are looked for below iTwins and iModels: export, storage, manifest.");
        let kinds: &[Kind] = if self.kinds.is_empty() { &[Kind::Export] } else { &self.kinds };
        let kinds = kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
        file.set("kinds", !self.kinds.is_empty(), list(kinds));

        file.part("Send no more requests than these, each a number in a time; [] sends as many as go.");
        let limits = RequestLimit::DEFAULTS.iter().map(ToString::to_string).collect();
        file.set("request_limits", false, list(limits));
        file.say("Runs asked for in one page.");
        file.set("page_size", false, Value::from(DEFAULT_PAGE_SIZE));
        file.say("Pages of one connection on their way at a time.");
        file.set("pages_in_flight", false, Value::from(DEFAULT_AT_A_TIME));
        file.say("Connections at a time.");
        file.set("concurrency", false, Value::from(DEFAULT_AT_A_TIME));
        file.say("How long a sync may take; then what came is kept, and the exit code is 3.");
        file.set("time_budget", false, Value::from("1h"));
        file.say("How often a listing is walked whole, whatever is new.");
        file.set("full_every", false, Value::from("7d"));
        file.say("Memory for the pages of SQLite, in MiB.");
        file.set("cache_mib", false, Value::from(DEFAULT_CACHE_MIB));

        file.part("Time zone of the days and weeks in reports and queries; also --tz.");
        let zone = self.time_zone.unwrap_or(Zone::UTC);
        file.set("time_zone", self.time_zone.is_some(), Value::from(zone.name()));
        file.say("A folder of your own *.sql files, for archive query.");
        file.set("queries", false, Value::from("queries"));

        file.table("credentials");
        file.say("No secret stands here: files hold it, or the environment does (ITP_ACCESS_TOKEN, or");
        file.say("ITP_SERVICE_CLIENT_ID and ITP_SERVICE_CLIENT_SECRET). A service application, for cron:");
        let id = self.client_id.as_deref().unwrap_or("service-abc");
        file.set("client_id", self.client_id.is_some(), Value::from(id));
        let secret_file = example(&self.client_secret_file, "client-secret")?;
        file.set("client_secret_file", self.client_secret_file.is_some(), secret_file);
        file.say("Or a bearer token, for trying; used where no service application is given.");
        let token_file = example(&self.access_token_file, "access-token")?;
        file.set("access_token_file", self.access_token_file.is_some(), token_file);

        file.table("platform");
        file.say("Also ITP_API_URL and ITP_ISSUER_URL.");
        let url = |url: &Option<Url>, default: &str| {
            Value::from(url.as_ref().map_or(default, |url| url.as_str().trim_end_matches('/')))
        };
        file.set("api_url", self.api_url.is_some(), url(&self.api_url, DEFAULT_API_URL));
        file.set("issuer_url", self.issuer_url.is_some(), url(&self.issuer_url, DEFAULT_ISSUER_URL));
        Ok(file.0)
    }
}

fn text_of(path: &Path) -> Result<Value> {
    path.to_str().map(Value::from).ok_or_else(|| Error::PathNotText(path.to_owned()))
}

/// TOML with comments, line by line.
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// A comment. Foreign text in it can neither end the line nor hold what TOML forbids there.
    fn say(&mut self, comment: &str) {
        self.line(&format!("# {}", on_one_line(comment)));
    }

    /// The same after an empty line.
    fn part(&mut self, comment: &str) {
        self.line("");
        self.say(comment);
    }

    fn table(&mut self, name: &str) {
        self.line(&format!("\n[{name}]"));
    }

    /// A setting; one that is not chosen is a comment.
    fn set(&mut self, key: &str, is_chosen: bool, value: Value) {
        let mark = if is_chosen { "" } else { "#" };
        // A text with line ends may be written on several lines.
        let setting = format!("{key} = {value}").replace('\n', &format!("\n{mark}"));
        self.line(&format!("{mark}{setting}"));
    }

    /// A list with a comment on each item.
    fn set_named(&mut self, key: &str, items: &[(String, Option<String>)]) {
        self.line(&format!("{key} = ["));
        for (item, name) in items {
            let mut line = format!("    {},", Value::from(item.as_str()));
            if let Some(name) = name {
                // A string takes any text.
                write!(line, "  # {}", on_one_line(name)).ok();
            }
            self.line(&line);
        }
        self.line("]");
    }
}

fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::super::tests::Home;
    use super::super::{DEFAULT_FULL_EVERY, DEFAULT_TIME_BUDGET, File};
    use super::*;

    /// The settings of `archive init`.
    fn init(home: &Home, line: &str, variables: &[(&'static str, &str)]) -> Result<Init> {
        let line = format!("archive init {line}");
        let cli = cli::parse(line.split_whitespace().map(Into::into)).unwrap();
        let cli::Command::Init(typed) = cli.command else { panic!("{line}") };
        Init::new(&cli.global, &typed, &home.environment(variables))
    }

    fn read(text: &str, home: &Home) -> File {
        File::parse(text, home.at("archive.toml"), &home.environment(&[]))
            .unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The file as somebody makes it who wants every setting.
    fn uncommented(text: &str) -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => setting.to_owned(),
            _ => line.to_owned(),
        };
        text.lines().map(|text| line(text) + "\n").collect()
    }

    #[test]
    fn every_setting_stands_in_the_file_and_those_not_chosen_are_the_defaults() {
        let home = Home::new("");
        let text = Setup::default().to_toml(Some(Path::new("/data/archive.db"))).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let empty = read(&text, &home);
        assert!(
            empty.db.is_none() && empty.request_limits.is_none() && empty.credentials.client_id.is_none()
        );
        let file = read(&uncommented(&text), &home);
        assert_eq!(file.db.as_deref(), Some(Path::new("/data/archive.db")));
        assert!(file.itwins.is_empty() && file.imodels.is_empty() && file.connections.is_empty());
        assert_eq!(file.kinds, [Kind::Export]);
        assert_eq!(file.request_limits.unwrap(), RequestLimit::DEFAULTS);
        assert_eq!(file.page_size, Some(DEFAULT_PAGE_SIZE));
        assert_eq!(file.pages_in_flight, Some(DEFAULT_AT_A_TIME));
        assert_eq!(file.concurrency, Some(DEFAULT_AT_A_TIME));
        assert_eq!(file.time_budget, Some(DEFAULT_TIME_BUDGET));
        assert_eq!(file.full_every, Some(DEFAULT_FULL_EVERY));
        assert_eq!(file.cache_mib, Some(DEFAULT_CACHE_MIB));
        assert_eq!(file.time_zone, Some(Zone::UTC));
        assert_eq!(file.queries.unwrap(), home.at("queries"));
        assert_eq!(file.credentials.client_secret_file.unwrap(), home.at("client-secret"));
        assert_eq!(file.credentials.access_token_file.unwrap(), home.at("access-token"));
        assert_eq!(file.platform.api_url.unwrap(), parse_url(DEFAULT_API_URL).unwrap());
        assert_eq!(file.platform.issuer_url.unwrap(), parse_url(DEFAULT_ISSUER_URL).unwrap());
    }

    #[test]
    fn no_setting_that_a_file_may_hold_is_left_out() {
        let home = Home::new("");
        let text = Setup::default().to_toml(None).unwrap();
        for table in ["", "[credentials]", "[platform]"] {
            let wrong = format!("{table}\nnonsense = 1");
            let error = File::parse(&wrong, home.at("x"), &home.environment(&[])).unwrap_err().to_string();
            let (_, keys) = error.split_once("expected").unwrap();
            // The message sets names between backticks.
            for key in keys.split('`').skip(1).step_by(2) {
                let is_there =
                    |line: &str| line.starts_with(&format!("#{key} = ")) || line == format!("[{key}]");
                assert!(text.lines().any(is_there), "{key} is not in {text}");
            }
        }
    }

    #[test]
    fn nothing_in_a_name_or_a_path_breaks_out_of_its_place() {
        let home = Home::new("");
        for nasty in [
            "a\"b'\\c",
            "x\ndb = \"/evil\"\n",
            "\r\n\u{0}\u{7f}\u{1b}[2J",
            "\"\"\"",
            "'''\n",
            "# ]",
            "ä\u{2028}ö",
            "\\u0041",
        ] {
            let setup = Setup {
                itwins: vec![(nasty.to_owned(), Some(nasty.to_owned())), ("-second".to_owned(), None)],
                imodels: vec![nasty.to_owned()],
                client_id: Some(nasty.to_owned()),
                client_secret_file: Some(PathBuf::from(format!("/{nasty}"))),
                ..Setup::default()
            };
            let default = format!("/{nasty}");
            let text = setup.to_toml(Some(Path::new(&default))).unwrap();
            let file = read(&text, &home);
            assert_eq!(file.itwins, [nasty, "-second"]);
            assert_eq!(file.imodels, [nasty]);
            assert_eq!(file.db, None);
            assert_eq!(file.credentials.client_id.as_deref(), Some(nasty));
            assert_eq!(file.credentials.client_secret_file.unwrap(), Path::new(&default));
            assert_eq!(read(&uncommented(&text), &home).db.unwrap(), Path::new(&default));
        }
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
