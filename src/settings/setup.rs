//! What a new configuration is to say, and its text.
//!
//! In: what was chosen. Out: `archive.toml` with a comment on every setting. No secret stands in it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use toml::Value;
use url::Url;

use super::defaults::{
    DEFAULT_API_URL, DEFAULT_AT_A_TIME, DEFAULT_CACHE_MIB, DEFAULT_FULL_EVERY, DEFAULT_ISSUER_URL,
    DEFAULT_PAGE_SIZE, DEFAULT_TIME_BUDGET,
};
use super::error::{Error, Result};
use crate::api::{ConnectionId, Kind, RequestLimit};
use crate::time::zone::Zone;

/// What the file is to say; what is not there is written as a comment, with its default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    pub db: Option<PathBuf>,
    /// iTwins, and what they are called where that is known.
    pub itwins: Vec<(String, Option<String>)>,
    pub imodels: Vec<String>,
    pub connections: Vec<ConnectionId>,
    pub kinds: Vec<Kind>,
    pub time_zone: Option<Zone>,
    pub client_id: Option<String>,
    /// A file that holds its secret.
    pub client_secret_file: Option<PathBuf>,
    /// A file that holds a token.
    pub access_token_file: Option<PathBuf>,
    pub api_url: Option<Url>,
    pub issuer_url: Option<Url>,
}

impl Setup {
    pub(crate) fn is_empty(&self) -> bool {
        self.itwins.is_empty() && self.imodels.is_empty() && self.connections.is_empty()
    }

    /// The file's text. A line that begins with `#` and no blank is a setting that was not chosen: it
    /// holds when the `#` is taken away.
    pub(crate) fn to_toml(&self, default_db: Option<&Path>) -> Result<String> {
        let mut file = TomlText(String::new());
        file.say(
            "The configuration of archive, written by archive init. A flag goes over the environment, the",
        );
        file.say("environment over this file, this file over the default. A line that begins with # and no");
        file.say("blank is a setting at its default: to change it, take the # away. Paths are relative to");
        file.say("this file.");
        file.part("The archive, one SQLite file; also --db, ARCHIVE_DB.");
        let default = default_db.unwrap_or(Path::new("archive.db"));
        file.set("db", self.db.is_some(), text_of(self.db.as_deref().unwrap_or(default))?);

        // The order is that in which a reader meets the settings: what is archived, how fast, how it is shown.
        self.write_scope(&mut file);
        write_speed(&mut file);

        file.part("Time zone of the days and weeks in reports and queries; also --tz.");
        let zone = self.time_zone.unwrap_or(Zone::UTC);
        file.set("time_zone", self.time_zone.is_some(), zone.name());
        file.say("A folder of your own *.sql files, for archive query.");
        file.set("queries", false, "queries");

        self.write_credentials(&mut file)?;

        file.table("platform");
        file.say("Also ITP_API_URL and ITP_ISSUER_URL.");
        for (key, url, default) in [
            ("api_url", &self.api_url, DEFAULT_API_URL),
            ("issuer_url", &self.issuer_url, DEFAULT_ISSUER_URL),
        ] {
            let text = url.as_ref().map_or(default, |url| url.as_str().trim_end_matches('/'));
            file.set(key, url.is_some(), text);
        }
        Ok(file.0)
    }

    fn write_scope(&self, file: &mut TomlText) {
        file.part(
            "iTwins: all connections of their iModels, those made later too; also --itwin, ITP_ITWIN_ID.",
        );
        match self.itwins.as_slice() {
            [] => file.set("itwins", false, Vec::<String>::new()),
            itwins => file.set_named("itwins", itwins),
        }
        file.say("iModels: all their connections; also --imodel, ITP_IMODEL_ID.");
        file.set("imodels", !self.imodels.is_empty(), self.imodels.clone());
        file.say("Connections by their ids; storage:ID and manifest:ID are those that synchronize.");
        let connections: Vec<String> = self.connections.iter().map(ToString::to_string).collect();
        file.set("connections", !self.connections.is_empty(), connections);
        let all = Kind::ALL.map(Kind::as_str).join(", ");
        file.say(&format!("What connections are looked for below iTwins and iModels: {all}."));
        let kinds: &[Kind] = if self.kinds.is_empty() { &[Kind::Export] } else { &self.kinds };
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        file.set("kinds", !self.kinds.is_empty(), kinds);
    }

    fn write_credentials(&self, file: &mut TomlText) -> Result<()> {
        let named = |path: &Option<PathBuf>, example: &str| match path {
            Some(path) => text_of(path),
            None => Ok(Value::from(example)),
        };
        file.table("credentials");
        file.say("No secret stands here: files hold it, or the environment does (ITP_ACCESS_TOKEN, or");
        file.say("ITP_SERVICE_CLIENT_ID and ITP_SERVICE_CLIENT_SECRET). A service application, for cron:");
        file.set("client_id", self.client_id.is_some(), self.client_id.as_deref().unwrap_or("service-abc"));
        let secret_file = named(&self.client_secret_file, "client-secret")?;
        file.set("client_secret_file", self.client_secret_file.is_some(), secret_file);
        file.say("Or a bearer token, for trying; used where no service application is given.");
        let token_file = named(&self.access_token_file, "access-token")?;
        file.set("access_token_file", self.access_token_file.is_some(), token_file);
        Ok(())
    }
}

/// What no setup chooses: each setting at its default.
fn write_speed(file: &mut TomlText) {
    let length = |length| humantime::format_duration(length).to_string();
    file.part("Send no more requests than these, each a number in a time; [] sends as many as go.");
    let limits: Vec<String> = RequestLimit::DEFAULTS.iter().map(ToString::to_string).collect();
    file.set("request_limits", false, limits);
    file.say("Runs asked for in one page.");
    file.set("page_size", false, DEFAULT_PAGE_SIZE);
    file.say("Pages of one connection on their way at a time.");
    file.set("pages_in_flight", false, DEFAULT_AT_A_TIME);
    file.say("Connections at a time.");
    file.set("concurrency", false, DEFAULT_AT_A_TIME);
    file.say("How long a sync may take; then what came is kept, and the exit code is 3.");
    file.set("time_budget", false, length(DEFAULT_TIME_BUDGET));
    file.say("How often a listing is walked whole, whatever is new.");
    file.set("full_every", false, length(DEFAULT_FULL_EVERY));
    file.say("What a first sync leaves free of the disk; otherwise the smaller of 1GiB and 5 % of it.");
    file.set("min_free", false, "1GiB");
    file.say("Memory for the pages of SQLite, in MiB.");
    file.set("cache_mib", false, DEFAULT_CACHE_MIB);
}

fn text_of(path: &Path) -> Result<Value> {
    path.to_str().map(Value::from).ok_or_else(|| Error::PathNotText(path.to_owned()))
}

/// TOML with comments, line by line.
struct TomlText(String);

impl TomlText {
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
    fn set(&mut self, key: &str, is_chosen: bool, value: impl Into<Value>) {
        let value = value.into();
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
                // Writing into a String cannot fail.
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
    use super::super::file::File;
    use super::super::tests::Home;
    use super::*;

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
        assert_eq!(file.cache_mib(), DEFAULT_CACHE_MIB);
        assert_eq!(file.db.unwrap().0, Path::new("/data/archive.db"));
        assert!(file.itwins.is_empty() && file.imodels.is_empty() && file.connections.is_empty());
        assert_eq!(file.kinds, [Kind::Export]);
        assert_eq!(file.request_limits.as_deref(), Some(&RequestLimit::DEFAULTS[..]));
        assert_eq!(file.page_size.unwrap().get(), DEFAULT_PAGE_SIZE);
        assert_eq!(file.pages_in_flight.unwrap().get(), DEFAULT_AT_A_TIME);
        assert_eq!(file.concurrency.unwrap().get(), DEFAULT_AT_A_TIME);
        assert_eq!(file.time_budget.unwrap().0, DEFAULT_TIME_BUDGET);
        assert_eq!(file.full_every.unwrap().0, DEFAULT_FULL_EVERY);
        assert_eq!(file.min_free.unwrap().0, 1 << 30);
        assert_eq!(file.time_zone, Some(Zone::UTC));
        assert_eq!(file.queries.unwrap().0, home.at("queries"));
        assert_eq!(file.credentials.client_secret_file.unwrap().0, home.at("client-secret"));
        assert_eq!(file.credentials.access_token_file.unwrap().0, home.at("access-token"));
        assert_eq!(file.platform.api_url.unwrap().0, Url::parse(DEFAULT_API_URL).unwrap());
        assert_eq!(file.platform.issuer_url.unwrap().0, Url::parse(DEFAULT_ISSUER_URL).unwrap());
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
            assert!(file.db.is_none());
            assert_eq!(file.credentials.client_id.as_deref(), Some(nasty));
            assert_eq!(file.credentials.client_secret_file.unwrap().0, Path::new(&default));
            assert_eq!(read(&uncommented(&text), &home).db.unwrap().0, Path::new(&default));
        }
    }
}
