//! The tables, views, indexes and triggers of the file, held against those that the migrations make.
//!
//! In: a connection. Out: what somebody else added, altered or took away, as [`Finding`]s, and a refusal
//! where that stands in the way of our own SQL. Only `sqlite_schema` is read here, never a table or a view
//! of somebody else, because a foreign view may run for ever.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use refinery::Target;
use rusqlite::Connection;

use super::error::{Error, Result};
pub(crate) use super::finding::{Change, Finding, ObjectKind};
use super::sqlite::make_views;
use super::sqlite::{embedded, prepare_connection};

/// One entry of the schema.
#[derive(Debug, Clone)]
pub(super) struct Object {
    kind: ObjectKind,
    name: String,
    /// The table that an index or a trigger is on.
    table: String,
    /// The statement that makes it, as it is stored.
    pub(super) sql: String,
    /// The same without comments, spacing, case and needless quotes.
    normalised: String,
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
pub(super) type Key = (bool, String);

pub(super) fn key(kind: ObjectKind, name: &str) -> Key {
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
pub(super) fn expected() -> Result<&'static BTreeMap<Key, Object>> {
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

pub(super) fn refuse(path: &Path, findings: Vec<Finding>) -> Result<()> {
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
    fn the_file_of_views_makes_what_the_migrations_made() {
        let mut made = make(None).unwrap();
        let mut connection = Connection::open_in_memory().unwrap();
        embedded::migrations::runner().set_grouped(true).run(&mut connection).unwrap();
        connection.execute_batch(include_str!("../../migrations/views.sql")).unwrap();
        let again = objects(&connection).unwrap();
        made.retain(|_, object| object.kind == ObjectKind::View);
        assert!(made.len() == 5);
        for (key, object) in made {
            assert_eq!(object.normalised, again[&key].normalised, "{}", object.name);
        }
    }

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
