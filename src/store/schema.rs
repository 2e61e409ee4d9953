//! The tables, views, indexes and triggers of the file, held against those that the migrations make.
//!
//! In: a connection. Out: what somebody else added, altered or took away, as [`Finding`]s, and a refusal
//! where that stands in the way of our own SQL. Only `sqlite_schema` is read here, never a table or a view
//! of somebody else, because a foreign view may run for ever.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use refinery::Target;
use rusqlite::Connection;

use super::open::make_views;
use super::{Archive, Error, Reader, Result, embedded, prepare_connection};

/// What an entry of the schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A table, a virtual one too.
    Table,
    View,
    Index,
    Trigger,
}

impl ObjectKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::Index => "index",
            Self::Trigger => "trigger",
        }
    }

    fn from_word(word: &str) -> Self {
        match word {
            "view" => Self::View,
            "index" => Self::Index,
            "trigger" => Self::Trigger,
            _ => Self::Table,
        }
    }
}

/// One entry of the schema.
#[derive(Debug, Clone)]
struct Object {
    kind: ObjectKind,
    name: String,
    /// The table that an index or a trigger is on.
    table: String,
    /// The statement that makes it, as it is stored.
    sql: String,
    /// The same without comments, spacing, case and needless quotes.
    normalised: String,
}

/// How an entry of the schema differs from what the migrations make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Somebody's own: it concerns nobody else.
    Added,
    /// The migrations make it, and it is not there.
    Dropped,
    /// It is there under its name, and is not what the migrations make.
    Altered,
    /// A trigger on one of our tables or views: it runs whenever another program writes there.
    Trigger,
    /// Somebody's own, under the name of a table of SQLite itself that our queries read.
    Hides,
}

impl Change {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Dropped => "dropped",
            Self::Altered => "altered",
            Self::Trigger => "trigger",
            Self::Hides => "hides",
        }
    }
}

/// An entry of the schema that is not what the migrations make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub change: Change,
    /// What it is; of what is altered or dropped: what it should be.
    pub kind: ObjectKind,
    pub found: Option<ObjectKind>,
    pub name: String,
    /// The table that an index or a trigger is on.
    pub table: String,
    /// The statement that made what is there.
    pub sql: Option<String>,
    /// Whether rows of ours may be refused because of it: an index that is UNIQUE or computes, or a table that
    /// refers to ours.
    pub constrains: bool,
    /// Whether our own SQL cannot do without what should be there.
    is_obstacle: bool,
}

impl Finding {
    /// Whether the file is not what the migrations make of it; what somebody added for himself is no difference.
    pub(crate) fn is_difference(&self) -> bool {
        self.change != Change::Added
    }

    /// Whether it can be made anew, or taken away, without losing a row.
    pub(crate) fn is_repairable(&self) -> bool {
        match self.change {
            Change::Trigger => true,
            Change::Added | Change::Hides => false,
            Change::Dropped | Change::Altered => {
                matches!(self.kind, ObjectKind::View | ObjectKind::Index)
                    && self.found.is_none_or(|found| found != ObjectKind::Table)
            }
        }
    }
}

/// What was found, to stand in a sentence: `the view run_details is not as archive made it`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name, table) = (self.kind.as_str(), &self.name, &self.table);
        match (self.change, self.found) {
            (Change::Added, _) if self.kind == ObjectKind::Index => {
                write!(f, "the {kind} {name} on {table} was added by somebody else")
            }
            (Change::Added, _) => write!(f, "the {kind} {name} was added by somebody else"),
            (Change::Dropped, _) => write!(f, "the {kind} {name} is not there"),
            (Change::Altered, Some(found)) if found != self.kind => {
                write!(f, "there is a {} {name} where the {kind} of this name should be", found.as_str())
            }
            (Change::Altered, _) => write!(f, "the {kind} {name} is not as archive made it"),
            (Change::Trigger, _) => write!(f, "somebody else's {kind} {name} is on {table}"),
            (Change::Hides, _) => write!(f, "the {kind} {name} hides the one of SQLite itself"),
        }
    }
}

/// A name in double quotes, as SQL takes any.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Table-valued functions of SQLite that our own queries read: a table of that name would be read instead.
fn is_of_sqlite(name: &str) -> bool {
    ["json_each", "json_tree"].contains(&name) || name.starts_with("pragma_")
}

/// Two triggers and tables may share a name; all else shares one space of names, whatever the case.
type Key = (bool, String);

fn key(kind: ObjectKind, name: &str) -> Key {
    (kind == ObjectKind::Trigger, name.to_ascii_lowercase())
}

fn objects(connection: &Connection) -> rusqlite::Result<BTreeMap<Key, Object>> {
    // SQLite's own entries have no text, or keep statistics, and nobody else can make one of such a name.
    let sql =
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let sql: Option<String> = row.get(3)?;
        let sql = sql.unwrap_or_default();
        Ok(Object {
            kind: ObjectKind::from_word(&row.get::<_, String>(0)?),
            name: row.get(1)?,
            table: row.get(2)?,
            normalised: normalise(&sql),
            sql,
        })
    })?;
    rows.map(|object| object.map(|object| (key(object.kind, &object.name), object))).collect()
}

/// What the migrations make, up to this version.
fn make(version: Option<i64>) -> Result<BTreeMap<Key, Object>> {
    let path = Path::new(":memory:");
    let sqlite = |error: rusqlite::Error| Error::from_sqlite(path, &error);
    let mut connection = Connection::open_in_memory().map_err(sqlite)?;
    prepare_connection(&connection).map_err(sqlite)?;
    let runner = embedded::migrations::runner().set_grouped(true);
    let runner = match version.map(i32::try_from) {
        Some(Ok(version)) => runner.set_target(Target::Version(version)),
        _ => runner,
    };
    if version != Some(0) {
        runner.run(&mut connection).map_err(|error| Error::Sqlite {
            path: path.to_owned(),
            what: format!("making an empty archive to compare with: {error}"),
        })?;
    }
    if version.is_none() {
        make_views(&mut connection).map_err(sqlite)?;
    }
    objects(&connection).map_err(sqlite)
}

/// What the migrations of this version make; made once in a process, which takes some milliseconds.
fn expected() -> Result<&'static BTreeMap<Key, Object>> {
    static EXPECTED: OnceLock<BTreeMap<Key, Object>> = OnceLock::new();
    if let Some(expected) = EXPECTED.get() {
        return Ok(expected);
    }
    let made = make(None)?;
    Ok(EXPECTED.get_or_init(|| made))
}

fn compare(expected: &BTreeMap<Key, Object>, found: &BTreeMap<Key, Object>) -> Vec<Finding> {
    let missing = expected.iter().filter_map(|(key, ours)| {
        let there = found.get(key);
        let is_same = there.is_some_and(|there| {
            there.kind == ours.kind
                && there.normalised == ours.normalised
                && there.table.eq_ignore_ascii_case(&ours.table)
        });
        let is_table = there.is_some_and(|there| {
            there.kind == ObjectKind::Table && !there.normalised.starts_with("create virtual")
        });
        (!is_same).then(|| Finding {
            change: if there.is_some() { Change::Altered } else { Change::Dropped },
            kind: ours.kind,
            found: there.map(|there| there.kind),
            name: ours.name.clone(),
            table: ours.table.clone(),
            sql: there.map(|there| there.sql.clone()),
            constrains: ours.kind == ObjectKind::Table,
            is_obstacle: ours.kind == ObjectKind::Table && !is_table,
        })
    });
    let added = found.iter().filter(|(key, _)| !expected.contains_key(*key)).map(|(_, theirs)| {
        let is_on_ours = expected.contains_key(&key(ObjectKind::Table, &theirs.table));
        let change = match theirs.kind {
            ObjectKind::Trigger if is_on_ours => Change::Trigger,
            ObjectKind::Table | ObjectKind::View if is_of_sqlite(&theirs.name.to_ascii_lowercase()) => {
                Change::Hides
            }
            _ => Change::Added,
        };
        let is_index = is_on_ours && theirs.kind == ObjectKind::Index;
        // It refuses a second row, or it calls for a function or an order of texts that this program has not.
        let is_refusing =
            is_index && (theirs.normalised.starts_with("create unique") || computes(&theirs.normalised));
        let refers = theirs.kind == ObjectKind::Table && theirs.normalised.contains("references ");
        Finding {
            change,
            kind: theirs.kind,
            found: Some(theirs.kind),
            name: theirs.name.clone(),
            table: theirs.table.clone(),
            sql: Some(theirs.sql.clone()),
            constrains: is_refusing || refers,
            is_obstacle: change == Change::Hides,
        }
    });
    missing.chain(added).collect()
}

/// Whether an index holds more than plain columns in their own order.
fn computes(normalised: &str) -> bool {
    normalised.matches('(').count() > 1
        || [" collate ", " where "].iter().any(|word| normalised.contains(word))
}

/// Everything that is not as the migrations make it.
pub(super) fn findings(connection: &Connection, path: &Path) -> Result<Vec<Finding>> {
    let found = objects(connection).map_err(|error| Error::from_sqlite(path, &error))?;
    Ok(compare(expected()?, &found))
}

fn refuse(path: &Path, findings: Vec<Finding>) -> Result<()> {
    match findings.into_iter().next() {
        Some(finding) => Err(Error::Foreign { path: path.to_owned(), finding: Box::new(finding) }),
        None => Ok(()),
    }
}

/// Refuses an archive in which a table of ours is none, or one of SQLite's own is hidden.
pub(super) fn require_tables(connection: &Connection, path: &Path) -> Result<()> {
    let mut found = findings(connection, path)?;
    found.retain(|finding| finding.is_obstacle);
    refuse(path, found)
}

/// Refuses an archive of version `found` that has something of a name which a later migration gives away.
pub(super) fn require_free_names(connection: &Connection, path: &Path, found: i64) -> Result<()> {
    let there = objects(connection).map_err(|error| Error::from_sqlite(path, &error))?;
    let before = make(Some(found))?;
    let taken = compare(expected()?, &there).into_iter().filter(|finding| {
        finding.change == Change::Altered && !before.contains_key(&key(finding.kind, &finding.name))
    });
    refuse(path, taken.collect())
}

pub(super) fn tables() -> Result<Vec<&'static str>> {
    let tables = expected()?.values().filter(|object| object.kind == ObjectKind::Table);
    Ok(tables.map(|object| object.name.as_str()).collect())
}

/// What somebody added that can make SQLite refuse a row of ours.
pub(super) fn constraint(connection: &Connection, path: &Path) -> Option<Finding> {
    let found = findings(connection, path).ok()?;
    found.into_iter().find(|finding| finding.constrains)
}

impl Reader {
    /// What is not as the migrations make it.
    pub(crate) fn read_schema_findings(&self) -> Result<Vec<Finding>> {
        findings(&self.connection, &self.path)
    }

    /// Refuses an archive whose views are not those that the migrations make: a question of ours would run
    /// what somebody else wrote.
    pub(crate) fn require_views(&self) -> Result<()> {
        let mut found = self.read_schema_findings()?;
        found.retain(|finding| {
            finding.kind == ObjectKind::View && matches!(finding.change, Change::Altered | Change::Dropped)
        });
        refuse(&self.path, found)
    }
}

impl Archive {
    /// Makes views and indexes of ours anew that are altered or not there, and drops triggers from our tables
    /// and views. Gives what it mended; a table is never touched.
    pub(crate) fn repair_schema(&mut self) -> Result<Vec<Finding>> {
        let mut mended = findings(&self.connection, &self.path)?;
        mended.retain(Finding::is_repairable);
        let expected = expected()?;
        for finding in &mended {
            if let Some(there) = finding.found {
                let kind = there.as_str().to_ascii_uppercase();
                let drop = format!("DROP {kind} {}", quoted(&finding.name));
                self.sqlite(self.connection.execute_batch(&drop))?;
            }
            if let Some(ours) = expected.get(&key(finding.kind, &finding.name)) {
                self.sqlite(self.connection.execute_batch(&ours.sql))?;
            }
        }
        Ok(mended)
    }
}

/// A statement without comments, in small letters outside texts, blanks only between words, and without
/// quotes around names that need none: versions of SQLite write these in several ways.
fn normalise(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let mut rest = sql;
    let mut is_apart = false;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() || rest.starts_with("--") || rest.starts_with("/*") {
            let length = if rest.starts_with("--") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |at| at + 2)
            } else {
                first.len_utf8()
            };
            rest = &rest[length..];
            is_apart = true;
            continue;
        }
        let (token, length) = match first {
            '\'' => {
                let length = quoted_length(rest, '\'');
                (rest[..length].to_owned(), length)
            }
            '"' | '`' => {
                let length = quoted_length(rest, first);
                let inner = rest.get(1..length - 1).unwrap_or_default();
                let is_plain = !inner.is_empty()
                    && inner.chars().all(is_word)
                    && !inner.starts_with(|c: char| c.is_ascii_digit());
                let token = if is_plain { inner.to_lowercase() } else { rest[..length].to_owned() };
                (token, length)
            }
            _ if is_word(first) => {
                let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
                (rest[..length].to_lowercase(), length)
            }
            _ => (first.to_string(), first.len_utf8()),
        };
        let is_between_words =
            out.chars().next_back().is_some_and(is_word) && token.chars().next().is_some_and(is_word);
        // Two signs may be one operator only where nothing stands between them.
        let is_between_signs = !out.chars().next_back().is_some_and(is_word)
            && !token.chars().next().is_some_and(is_word)
            && !matches!(token.as_str(), "(" | ")" | ",")
            && !out.ends_with(['(', ')', ',']);
        if is_between_words || is_apart && !out.is_empty() && is_between_signs {
            out.push(' ');
        }
        out.push_str(&token);
        is_apart = false;
        rest = &rest[length..];
    }
    out
}

/// How long a text in these quotes is, both included; a doubled quote is one of the text.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != quote {
            continue;
        }
        if characters.peek().is_some_and(|(_, next)| *next == quote) {
            characters.next();
        } else {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_comments_case_and_needless_quotes_make_no_difference_and_all_else_does() {
        let ours = "CREATE VIEW a AS\n-- why\nSELECT \"b\", 'It''s  A' /* so */ FROM runs WHERE x <> 1";
        let same = "create view A as select b,'It''s  A' from \"runs\"   where x<>1";
        assert_eq!(normalise(ours), normalise(same));
        for other in [
            "create view A as select b,'it''s  A' from runs where x<>1",
            "create view A as select b,'It''s A' from runs where x<>1",
            "create view A as select b,'It''s  A' from runs where x< >1",
            "create view A as select b,'It''s  A' from runs where x<>1 or 1",
        ] {
            assert_ne!(normalise(ours), normalise(other), "{other}");
        }
        // What is not closed ends with the statement.
        for broken in ["'", "\"", "/*", "--", "\"a", "é\"é", ""] {
            normalise(broken);
        }
    }

    #[test]
    fn a_new_archive_has_nothing_that_the_migrations_did_not_make() {
        let made = make(None).unwrap();
        assert!(made.len() > 30);
        assert_eq!(compare(expected().unwrap(), &made), []);
    }
}
