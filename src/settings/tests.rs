//! Settings as the command line, the environment and a file of a home of its own give them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::credentials::is_open_to_others;
use super::error::Result;
use super::*;
use crate::api::{ConnectionId, Credentials};
use crate::cli::{self, Global, SummaryFormat};
use crate::error::{CommandError, ExitCode};
use crate::time::UtcText;

const CANARY: &str = "canary-3f7e";

fn noon() -> UtcText {
    UtcText::parse_sent("2026-11-24T12:00:00Z").unwrap()
}

/// A home of its own, with `archive.toml` in it if there is a text for it.
pub(super) struct Home(TempDir);

impl Home {
    pub(super) fn new(file: &str) -> Self {
        let home = Self(TempDir::new().unwrap());
        fs::create_dir_all(home.at("config/archive")).unwrap();
        if !file.is_empty() {
            fs::write(home.at("config/archive/archive.toml"), file).unwrap();
        }
        home
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn environment(&self, variables: &[(&'static str, &str)]) -> Environment {
        let variables: Vec<(&str, OsString)> =
            variables.iter().map(|&(name, value)| (name, value.into())).collect();
        Environment {
            variable: Box::new(move |name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.clone())
            }),
            folders: Some(Folders {
                home: self.0.path().to_owned(),
                configuration: self.at("config"),
                data: self.at("data"),
            }),
            now: noon(),
        }
    }

    /// The settings of `archive sync`, with a token unless the variables say otherwise.
    fn sync(&self, line: &str, variables: &[(&'static str, &str)]) -> Result<Sync> {
        let token = [("ITP_ACCESS_TOKEN", "token")];
        let variables = if variables.is_empty() { &token } else { variables };
        let line = format!("archive sync {line}");
        let cli = cli::parse(line.split_whitespace().map(OsString::from)).unwrap();
        let cli::Command::Sync(typed) = cli.command else { panic!("{line}") };
        Sync::new(&cli.global, &typed, &self.environment(variables))
    }

    /// The error and the hint of `archive sync`, as a user sees them.
    fn complaint(&self, line: &str, variables: &[(&'static str, &str)]) -> (String, String) {
        let error = self.sync(line, variables).unwrap_err();
        assert!(!format!("{error:?}").contains(CANARY), "{error:?}");
        let error = CommandError::from(error);
        assert_eq!(error.exit(), ExitCode::Usage);
        let (text, hint) = (error.to_string(), error.hint().unwrap_or_default().to_owned());
        assert!(!text.contains(CANARY) && !hint.contains(CANARY), "{text} {hint}");
        (text.replace(self.0.path().to_str().unwrap(), "~"), hint)
    }
}

fn ids(connections: &[ConnectionId]) -> Vec<&str> {
    connections.iter().map(ConnectionId::as_str).collect()
}

#[test]
fn without_a_file_defaults_hold() {
    let home = Home::new("");
    let sync = home.sync("--connection a", &[]).unwrap();
    assert_eq!(sync.db, home.at("data/archive/archive.db"));
    assert_eq!((sync.platform.page_size, sync.is_page_size_given), (1000, false));
    assert_eq!((sync.platform.pages_in_flight, sync.concurrency, sync.cache_mib), (4, 4, 64));
    assert_eq!(sync.platform.time_budget, Duration::from_secs(3600));
    assert_eq!(sync.full_every, Duration::from_secs(7 * 86_400));
    assert_eq!(sync.min_free, None);
    assert_eq!(sync.platform.api_url.as_str(), "https://api.bentley.com/");
    assert_eq!(sync.platform.issuer_url.as_str(), "https://ims.bentley.com/");
    assert_eq!((sync.full, sync.dry_run, sync.format), (false, false, Format::Text));
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let home = Home::new("db = \"/file.db\"\n[platform]\napi_url = \"https://file.example\"");
    let token = ("ITP_ACCESS_TOKEN", "token");
    let db = |line: &str, variables: &[_]| home.sync(line, variables).unwrap().db;
    assert_eq!(db("--connection a", &[]), Path::new("/file.db"));
    assert_eq!(db("--connection a", &[token, ("ARCHIVE_DB", "/env.db")]), Path::new("/env.db"));
    assert_eq!(
        db("--connection a --db /flag.db", &[token, ("ARCHIVE_DB", "/env.db")]),
        Path::new("/flag.db")
    );
    let url = |variables: &[_]| home.sync("--connection a", variables).unwrap().platform.api_url.to_string();
    assert_eq!(url(&[]), "https://file.example/");
    assert_eq!(url(&[token, ("ITP_API_URL", "http://127.0.0.1:9/x")]), "http://127.0.0.1:9/x");
}

#[test]
fn every_key_of_the_file_is_used_unless_a_flag_says_otherwise() {
    let home = Home::new(
        "connections = ['a', '-b', 'a']\npage_size = 50\npages_in_flight = 2\nconcurrency = 3\n\
         time_budget = '20m'\nfull_every = '1d'\ncache_mib = 8\nmin_free = '2GiB'\n\
         [platform]\nissuer_url = 'https://issuer.example'\n\
         [credentials]\nclient_id = 'me'\nclient_secret_file = 'secret'\n",
    );
    fs::write(home.at("config/archive/secret"), "hush\r\n").unwrap();
    let sync = home.sync("", &[("ITP_API_URL", "")]).unwrap();
    assert_eq!(ids(&sync.connections), ["a", "-b"]);
    assert_eq!((sync.platform.page_size, sync.is_page_size_given), (50, true));
    assert_eq!((sync.platform.pages_in_flight, sync.concurrency, sync.cache_mib), (2, 3, 8));
    assert_eq!(sync.platform.time_budget, Duration::from_secs(1200));
    assert_eq!(sync.full_every, Duration::from_secs(86_400));
    assert_eq!(sync.min_free, Some(2 << 30));
    assert_eq!(sync.platform.issuer_url.as_str(), "https://issuer.example/");
    let Credentials::Client { id, secret } = &sync.platform.credentials else { panic!("{sync:?}") };
    assert_eq!((id.as_str(), secret.expose_secret()), ("me", "hush"));
    assert!(!format!("{sync:?}").contains("hush"));

    let sync = home
        .sync(
            "--page-size 7 --pages-in-flight 1 --concurrency 1 --time-budget 5s --min-free 500MB --connection c \
             --connection c --connection -d --format json --full --dry-run",
            &[],
        )
        .unwrap();
    assert_eq!((ids(&sync.chosen), sync.connections.len()), (vec!["c", "-d"], 0));
    assert_eq!((sync.platform.page_size, sync.platform.pages_in_flight, sync.concurrency), (7, 1, 1));
    assert_eq!(sync.platform.time_budget, Duration::from_secs(5));
    assert_eq!(sync.min_free, Some(500_000_000));
    assert_eq!((sync.full, sync.dry_run, sync.format), (true, true, Format::Json));
}

#[test]
fn a_variable_that_is_empty_counts_as_not_set() {
    let home = Home::new("");
    let empty = ["ARCHIVE_DB", "ARCHIVE_CONFIG", "ITP_API_URL", "ITP_ISSUER_URL", "ITP_SERVICE_CLIENT_ID"];
    let mut variables = vec![("ITP_ACCESS_TOKEN", "token")];
    variables.extend(empty.map(|name| (name, "")));
    let sync = home.sync("--connection a", &variables).unwrap();
    assert_eq!(sync.db, home.at("data/archive/archive.db"));
    let (text, _) = home.complaint("--connection a", &[("ITP_ACCESS_TOKEN", "")]);
    assert_eq!(text, "no credentials are given");
}

#[test]
fn paths_in_the_file_stand_beside_it_and_a_tilde_is_the_home_folder() {
    let home = Home::new("db = 'here.db'");
    let db = |home: &Home| home.sync("--connection a", &[]).unwrap().db;
    assert_eq!(db(&home), home.at("config/archive/here.db"));
    let home = Home::new("db = '~/there.db'");
    assert_eq!(db(&home), home.at("there.db"));
    let variables = [("ITP_ACCESS_TOKEN", "token"), ("ARCHIVE_DB", "~/cron.db")];
    assert_eq!(home.sync("--connection a", &variables).unwrap().db, home.at("cron.db"));
}

#[test]
fn a_named_file_must_exist_and_replaces_the_default_one() {
    let home = Home::new("page_size = 'not even read'");
    fs::write(home.at("other.toml"), "\u{feff}connections = ['x']").unwrap();
    let variables = [("ITP_ACCESS_TOKEN", "token"), ("ARCHIVE_CONFIG", "~/other.toml")];
    assert_eq!(ids(&home.sync("", &variables).unwrap().connections), ["x"]);
    let (text, _) = home.complaint(&format!("--config {}", home.at("no.toml").display()), &variables);
    assert!(text.starts_with("reading settings from ~/no.toml: No such file"), "{text}");
}

#[test]
fn a_mistake_in_the_file_is_told_with_file_line_and_key() {
    for (file, expected) in [
        ("# c\n\npagesize = 1", "line 3, key pagesize: unknown field `pagesize`, expected one of `db`"),
        ("[platform]\nurl = 'x'", "line 2, key url: unknown field `url`, expected `api_url` or `issuer_url`"),
        ("db = 'x'\npage_size = 0", "line 2, key page_size: 0 is not a whole number from 1 to 10000"),
        ("page_size = 'many'", "line 1, key page_size: invalid type: string \"many\", expected i64"),
        ("concurrency = 65", "line 1, key concurrency: 65 is not a whole number from 1 to 64"),
        ("time_budget = '1 hou'", "line 1, key time_budget: unknown time unit \"hou\""),
        ("time_budget = 60", "line 1, key time_budget: invalid type: integer `60`, expected a string"),
        ("min_free = '1 gig'", "line 1, key min_free: \"1 gig\" is no size"),
        ("full_every = '999y'", "line 1, key full_every: that is longer than a hundred years"),
        ("db = ''", "line 1, key db: a file's name cannot be empty"),
        ("connections = [\n  'a',\n  '..',\n]", "line 1, key connections: \"..\" is no connection id"),
        ("[platform]\napi_url = 'ftp://x'", "line 2, key api_url: the URL must begin with https://"),
        ("[nonsense]\na = 1", "line 1: unknown field `nonsense`"),
        ("db 'x'", "line 1: "),
        ("db = 'x'\ndb = 'y'", "line 2, key db: duplicate key"),
    ] {
        let (text, _) = Home::new(file).complaint("--connection a", &[]);
        let expected = format!("reading settings from ~/config/archive/archive.toml: {expected}");
        assert!(text.starts_with(&expected), "{file:?} gives {text:?}");
        assert!(!text.contains('\n'), "{text:?}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_of_the_file_is_not_repeated() {
    for value in [
        format!("client_secret = '{CANARY}'"),
        format!("client_secret_file = {CANARY}"),
        format!("access_token_file = 'eyJ{CANARY}'"),
        format!("access_token_file = 'Bearer {CANARY}'"),
        format!("client_id = ['{CANARY}']"),
        format!("access_token_file = '{CANARY}"),
    ] {
        let (text, _) = Home::new(&format!("[credentials]\n{value}\n")).complaint("--connection a", &[]);
        assert!(text.contains("archive.toml: line 2"), "{text}");
    }
    let variables = [("ITP_ACCESS_TOKEN", "token"), ("ITP_API_URL", "ftp://me:canary-3f7e@host")];
    let (text, _) = Home::new("").complaint("--connection a", &variables);
    assert!(text.starts_with("the environment variable ITP_API_URL: the URL must begin"), "{text}");
}

#[test]
fn without_a_connection_the_file_is_named_where_it_could_be_listed() {
    let home = Home::new("connections = []");
    let (text, hint) = home.complaint("", &[]);
    assert_eq!(text, "no connection is chosen");
    assert!(hint.contains("--connection ID") && hint.contains("config/archive/archive.toml"), "{hint}");
    assert_eq!(home.complaint("--connection ..", &[]).0.split_once(": ").unwrap().0, "--connection");
}

#[test]
fn a_ready_token_wins_over_a_service_application_over_a_token_file() {
    let home = Home::new("[credentials]\naccess_token_file = 'token'");
    fs::write(home.at("config/archive/token"), "from a file\n").unwrap();
    let client = [("ITP_SERVICE_CLIENT_ID", "me"), ("ITP_SERVICE_CLIENT_SECRET", CANARY)];
    let token = ("ITP_ACCESS_TOKEN", "canary-3f7e\n");
    let find = |variables: &[_]| {
        let sync = home.sync("--connection a", variables).unwrap();
        assert!(!format!("{sync:?}").contains(CANARY));
        sync.platform.credentials
    };
    let found = find(&[client[0], client[1], token]);
    assert!(matches!(found, Credentials::Token(token) if token.expose_secret() == CANARY));
    let found = find(&client);
    assert!(
        matches!(found, Credentials::Client { id, secret } if id == "me" && secret.expose_secret() == CANARY)
    );
    let found = find(&[("NO_COLOR", "")]);
    assert!(matches!(found, Credentials::TokenFile(path) if path == home.at("config/archive/token")));
}

#[test]
fn half_a_service_application_is_told_by_the_half_that_is_missing() {
    let home = Home::new("");
    let (text, _) = home.complaint("--connection a", &[("ITP_SERVICE_CLIENT_ID", "me")]);
    assert!(text.ends_with("set ITP_SERVICE_CLIENT_SECRET"), "{text}");
    let (text, _) = home.complaint("--connection a", &[("ITP_SERVICE_CLIENT_SECRET", CANARY)]);
    assert!(text.ends_with("set ITP_SERVICE_CLIENT_ID"), "{text}");
    let (_, hint) = home.complaint("--connection a", &[("NO_COLOR", "")]);
    for name in ["ITP_ACCESS_TOKEN", "ITP_SERVICE_CLIENT_ID", "ITP_SERVICE_CLIENT_SECRET"] {
        assert!(hint.contains(name), "{hint}");
    }
}

#[test]
fn a_file_of_secrets_that_is_missing_or_empty_is_named() {
    let home = Home::new("[credentials]\nclient_id = 'me'\nclient_secret_file = 'secret'");
    let none = [("NO_COLOR", "")];
    let (text, _) = home.complaint("--connection a", &none);
    assert!(text.starts_with("reading the client secret from ~/config/archive/secret: No such"), "{text}");
    fs::write(home.at("config/archive/secret"), "\n").unwrap();
    let (text, _) = home.complaint("--connection a", &none);
    assert_eq!(text, "reading the client secret from ~/config/archive/secret: the file is empty");
}

#[cfg(unix)]
#[test]
fn a_file_of_secrets_is_open_to_others_if_group_or_others_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new("");
    let path = home.at("secret");
    fs::write(&path, "x").unwrap();
    for (mode, is_open) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(is_open_to_others(&path), is_open, "{mode:o}");
    }
}

#[test]
fn import_and_status_ask_for_no_credentials_and_no_connection() {
    let home = Home::new("connections = ['listed']");
    let environment = home.environment(&[]);
    let typed = cli::Import {
        files: vec!["a.json".into(), "-".into()],
        connection: None,
        format: SummaryFormat::Json,
    };
    let import = Import::new(&Global::default(), &typed, &environment).unwrap();
    assert_eq!(import.files, [Input::File("a.json".into()), Input::Stdin]);
    assert_eq!((import.connection, import.format), (None, Format::Json));
    let typed = cli::Import { files: vec!["-".into(), "-".into()], ..typed };
    assert!(matches!(Import::new(&Global::default(), &typed, &environment), Err(Error::StdinTwice)));
    let status = Status::new(&Global::default(), &cli::Status::default(), &environment).unwrap();
    assert!(status.connections.is_empty());
}

#[test]
fn a_demo_never_writes_where_real_data_may_be() {
    let home = Home::new("db = '/real.db'\ncache_mib = 9");
    let environment = home.environment(&[("ARCHIVE_DB", "/real.db")]);
    let demo = Demo::new(&Global::default(), &environment).unwrap();
    assert_eq!((demo.db, demo.cache_mib), (None, 9));
    let mut global = Global { db: Some(home.at("new.db")), ..Global::default() };
    assert_eq!(Demo::new(&global, &environment).unwrap().db, global.db);
    global.db = Some(home.at("config/archive/archive.toml"));
    assert!(matches!(Demo::new(&global, &environment), Err(Error::Exists(_))));
}

#[test]
fn without_a_home_only_the_database_has_to_be_named() {
    let environment = Environment { variable: Box::new(|_| None), folders: None, now: noon() };
    let mut global = Global::default();
    let error = Status::new(&global, &cli::Status::default(), &environment).unwrap_err();
    assert!(error.hint().unwrap().contains("--db"));
    global.db = Some("x.db".into());
    assert_eq!(Status::new(&global, &cli::Status::default(), &environment).unwrap().db, Path::new("x.db"));
}

#[test]
fn color_follows_the_flag_then_no_color_then_the_terminal() {
    let home = Home::new("");
    let color = |typed, variables: &[_]| {
        Talk::new(&Global { color: typed, ..Global::default() }, &home.environment(variables)).color
    };
    assert_eq!(color(None, &[("NO_COLOR", ""), ("TERM", "xterm")]), Color::Auto);
    assert_eq!(color(None, &[("NO_COLOR", "1")]), Color::Never);
    assert_eq!(color(None, &[("TERM", "dumb")]), Color::Never);
    assert_eq!(color(Some(Color::Always), &[("NO_COLOR", "1")]), Color::Always);
}
