//! Questions to the archive: the SQL of `queries/`, and whatever a user types, which can only read.
//!
//! In: a path and a statement. Out: rows, one by one, or as structs. A [`Database`] is a connection that
//! only reads, behind an authorizer, with limits on time, memory and a value's length, and it sees one
//! state of the archive from its opening to its end. What a statement may do stands in `guard`, the
//! functions added to SQLite's own in `functions`, the named queries in `catalog`.

mod catalog;
mod error;
mod functions;
mod guard;
mod named;
mod rows;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, Row, Statement, ToSql};
use serde::de::DeserializeOwned;

pub use catalog::Catalog;
pub(crate) use catalog::words_of;
pub(crate) use error::Result;
pub use error::{Error, Excerpt};
pub(crate) use guard::{Clock, SQL_BYTES};
pub use named::Query;

use crate::store::{self, READING_LIMIT, Reader};
use guard::Guard;

/// A value given to a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing; the same as not given.
    Null,
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl Value {
    /// What a typed text stands for: a number where it is one, and itself otherwise. What would not be written
    /// so as a number, such as `007` or twenty digits, is more likely somebody's id.
    pub(crate) fn of_typed(text: &str) -> Self {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let is_id = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        if is_id || !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return Self::Text(text.to_owned());
        }
        if let Ok(number) = text.parse() {
            return Self::Integer(number);
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && digits.contains(['.', 'e', 'E']) => Self::Real(number),
            _ => Self::Text(text.to_owned()),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// A value of a row, which lives as long as the row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'row> {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// Any other number, infinities too.
    Real(f64),
    /// Text; what is no UTF-8 in it is replaced.
    Text(Cow<'row, str>),
    /// Bytes.
    Blob(&'row [u8]),
}

impl<'row> From<ValueRef<'row>> for Cell<'row> {
    fn from(value: ValueRef<'row>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number),
            ValueRef::Text(bytes) => Self::Text(String::from_utf8_lossy(bytes)),
            ValueRef::Blob(bytes) => Self::Blob(bytes),
        }
    }
}

/// What takes the rows of a query, one by one. An error ends the query.
pub trait Sink {
    /// The columns' names, before the first row, and also where there is none.
    fn columns(&mut self, names: &[String]) -> io::Result<()>;
    /// A row, as many cells as there are columns.
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()>;
    /// There are no more rows, and nothing went wrong.
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How far a query may go, beyond what holds for all: see `guard`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// How long SQLite may work on it; the time in which the sink takes rows is not counted.
    pub timeout: Option<Duration>,
}

/// A connection that only reads. It sees the archive as it was when it was opened.
#[derive(Debug)]
pub struct Database {
    reader: Reader,
    path: PathBuf,
    guard: Guard,
    /// How long a question of the program's own may take.
    limit: Duration,
}

impl Database {
    /// Opens an archive that is there, as [`Reader::open`] does.
    ///
    /// # Errors
    /// There is none, it is no archive, or of another version; a view of ours is not as archive made it.
    pub fn open(path: &Path) -> store::Result<Self> {
        let reader = Reader::open(path)?;
        reader.require_views()?;
        Self::guard(reader, path, READING_LIMIT)
    }

    /// Opens an archive for questions that read tables only, each of which may take so long.
    ///
    /// # Errors
    /// As [`Database::open`], but for views.
    pub(crate) fn open_for_tables(path: &Path, limit: Duration) -> store::Result<Self> {
        Self::guard(Reader::open(path)?, path, limit)
    }

    fn guard(mut reader: Reader, path: &Path, limit: Duration) -> store::Result<Self> {
        let guard = Guard::set(reader.connection_mut());
        reader.check_unmoved()?;
        let guard = guard.map_err(|error| store::Error::from_reading(path, &error))?;
        Ok(Self { reader, path: path.to_owned(), guard, limit })
    }

    /// Opens two that see the same state of the archive, for questions that are answered side by side.
    pub(crate) fn open_two(path: &Path) -> store::Result<[Self; 2]> {
        let watch = Reader::open(path)?;
        watch.require_views()?;
        loop {
            let before = watch.read_data_version()?;
            let two = [watch.open_another()?, watch.open_another()?];
            let [first, second] = two;
            let two = [Self::guard(first, path, READING_LIMIT)?, Self::guard(second, path, READING_LIMIT)?];
            // A sync commits about once a second, so this is seldom otherwise.
            if watch.read_data_version()? == before {
                return Ok(two);
            }
        }
    }

    /// The clock that a time limit is kept by, to be watched from another thread: a single step of SQLite may
    /// take longer than its limit.
    pub(crate) fn clock(&self) -> Arc<Clock> {
        self.guard.clock()
    }

    /// The names of a statement's parameters, each once, in their order.
    pub(crate) fn parameters(&self, sql: &str, limits: Limits) -> Result<Vec<String>> {
        self.guard.start(limits.timeout);
        parameter_names(&self.prepare(sql)?)
    }

    /// Carries out one statement and hands its rows on as they come. Parameters that are not given are NULL.
    ///
    /// # Errors
    /// Any [`Error`]; rows may have been handed on before.
    pub fn stream(
        &self,
        sql: &str,
        parameters: &[(&str, Value)],
        limits: Limits,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        self.guard.start(limits.timeout);
        let mut statement = self.prepare_with(sql, parameters)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        self.guard.aside(|| sink.columns(&names))?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(|error| self.error(&error, sql))? {
            let cells = (0..names.len()).map(|at| Ok(Cell::from(row.get_ref(at)?)));
            let cells: Vec<Cell<'_>> =
                cells.collect::<rusqlite::Result<_>>().map_err(|error| self.error(&error, sql))?;
            self.guard.aside(|| sink.row(&cells))?;
        }
        self.reader.check_unmoved()?;
        Ok(self.guard.aside(|| sink.end())?)
    }

    /// All rows of a named query, each read as a struct whose fields are named as the columns. Integers 0 and 1
    /// are read as `bool` too, NULL as `None`, text as an enum's unit variant.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        query: &Query,
        parameters: &[(&str, Value)],
    ) -> Result<Vec<T>> {
        self.guard.start(Some(self.limit));
        self.read_rows(query, parameters).map_err(|error| match error {
            Error::Timeout(limit) => store::Error::TooLong { path: self.path.clone(), limit }.into(),
            error => error,
        })
    }

    fn read_rows<T: DeserializeOwned>(&self, query: &Query, parameters: &[(&str, Value)]) -> Result<Vec<T>> {
        let sql = &query.sql;
        let mut statement = self.prepare_with(sql, parameters)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let read = |row: &Row<'_>| {
            rows::read(&names, row)
                .map_err(|problem| Error::Row { query: query.name.clone(), problem: problem.to_string() })
        };
        let mut found = Vec::new();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(|error| self.error(&error, sql))? {
            found.push(read(row)?);
        }
        self.reader.check_unmoved()?;
        Ok(found)
    }

    fn prepare_with(&self, sql: &str, parameters: &[(&str, Value)]) -> Result<Statement<'_>> {
        let mut statement = self.prepare(sql)?;
        let takes = parameter_names(&statement)?;
        if let Some((name, _)) = parameters.iter().find(|(name, _)| !takes.iter().any(|takes| takes == name))
        {
            return Err(Error::UnknownParameter { name: (*name).to_owned(), takes });
        }
        for number in 1..=statement.parameter_count() {
            let name = statement.parameter_name(number).map(|name| name[1..].to_owned());
            let given = parameters.iter().find(|(given, _)| Some(*given) == name.as_deref());
            if let Some((_, value)) = given {
                statement.raw_bind_parameter(number, value).map_err(|error| self.error(&error, sql))?;
            }
        }
        Ok(statement)
    }

    fn prepare(&self, sql: &str) -> Result<Statement<'_>> {
        if sql.contains('\0') {
            return Err(Error::Sql {
                problem: "the statement holds a NUL character".to_owned(),
                excerpt: None,
            });
        }
        if guard::first_word(sql).is_none() {
            return Err(Error::Empty);
        }
        self.guard.forget();
        let statement = self.reader.connection().prepare(sql).map_err(|error| self.error(&error, sql))?;
        // The authorizer lets VACUUM and its like through; they are known by what they compile to.
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(Error::Refused(guard::describe_statement(sql)));
        }
        Ok(statement)
    }

    fn error(&self, error: &rusqlite::Error, sql: &str) -> Error {
        // A file that was written to while it was read without a lock explains any error.
        if let Err(moved) = self.reader.check_unmoved() {
            return Error::Store(moved);
        }
        if let Some(what) = self.guard.refused(sql) {
            return Error::Refused(what);
        }
        match error {
            rusqlite::Error::MultipleStatement => return Error::Several,
            // Of what follows the first statement.
            rusqlite::Error::SqlInputError { sql: part, .. } if part.len() < sql.len() => {
                return Error::Several;
            }
            rusqlite::Error::SqlInputError { msg, offset, .. } => {
                let excerpt = usize::try_from(*offset).ok().and_then(|offset| Excerpt::at(sql, offset));
                return Error::Sql { problem: msg.clone(), excerpt };
            }
            _ => {}
        }
        let problem = match error {
            rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
            error => error.to_string(),
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::AuthorizationForStatementDenied) => Error::Refused(problem),
            Some(ErrorCode::OperationInterrupted) => match self.guard.clock().limit() {
                Some(limit) => Error::Timeout(limit),
                None => Error::Sql { problem, excerpt: None },
            },
            Some(ErrorCode::OutOfMemory) => Error::Memory,
            Some(
                ErrorCode::Unknown
                | ErrorCode::TooBig
                | ErrorCode::TypeMismatch
                | ErrorCode::ConstraintViolation
                | ErrorCode::ParameterOutOfRange
                | ErrorCode::ReadOnly
                | ErrorCode::ApiMisuse,
            )
            | None => Error::Sql { problem, excerpt: None },
            Some(_) => Error::Store(store::Error::from_reading(&self.path, error)),
        }
    }
}

/// The names without their `:`, each once.
fn parameter_names(statement: &Statement<'_>) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for number in 1..=statement.parameter_count() {
        match statement.parameter_name(number) {
            Some(name) if name.starts_with([':', '@', '$']) => {
                if !names.iter().any(|known| *known == name[1..]) {
                    names.push(name[1..].to_owned());
                }
            }
            name => return Err(Error::Unnamed(name.unwrap_or("?").to_owned())),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use tempfile::TempDir;

    use rusqlite::Connection;

    use super::*;
    use crate::store::Archive;

    /// A new archive without a row, and its folder.
    pub(super) fn database() -> (Database, TempDir) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("archive.db");
        Archive::open(&path, 8).unwrap().close().unwrap();
        (Database::open(&path).unwrap(), folder)
    }

    /// The rows as text, cells between bars.
    #[derive(Default)]
    pub(super) struct Lines(pub(super) Vec<String>);

    impl Sink for Lines {
        fn columns(&mut self, names: &[String]) -> io::Result<()> {
            self.0.push(names.join("|"));
            Ok(())
        }

        fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
            let cells = cells.iter().map(|cell| match cell {
                Cell::Null => "NULL".to_owned(),
                Cell::Integer(number) => number.to_string(),
                Cell::Real(number) => format!("{number:?}"),
                Cell::Text(text) => text.to_string(),
                Cell::Blob(bytes) => format!("{bytes:02x?}"),
            });
            self.0.push(cells.collect::<Vec<_>>().join("|"));
            Ok(())
        }
    }

    fn lines(sql: &str, parameters: &[(&str, Value)]) -> Result<Vec<String>> {
        let (database, _folder) = database();
        let mut lines = Lines::default();
        database.stream(sql, parameters, Limits::default(), &mut lines)?;
        Ok(lines.0)
    }

    fn refusal(sql: &str) -> String {
        lines(sql, &[]).unwrap_err().to_string()
    }

    #[test]
    fn rows_come_with_their_types() {
        let sql = "SELECT 1 AS a, -2.5 AS b, 'ü' AS c, x'00ff' AS d, NULL AS e";
        assert_eq!(lines(sql, &[]).unwrap(), ["a|b|c|d|e", "1|-2.5|ü|[00, ff]|NULL"]);
    }

    #[test]
    fn parameters_are_bound_by_name_and_null_where_not_given() {
        let sql = "SELECT :a AS a, @b AS b, $a AS c, :missing AS d";
        let given = [("a", Value::from(7)), ("b", Value::from("x"))];
        assert_eq!(lines(sql, &given).unwrap()[1], "7|x|7|NULL");
        let error = lines(sql, &[("c", Value::Null)]).unwrap_err().to_string();
        assert_eq!(error, "there is no parameter c; the query takes a, b, missing");
        let error = lines("SELECT 1", &[("c", Value::Null)]).unwrap_err().to_string();
        assert_eq!(error, "there is no parameter c; the query takes none");
        assert_eq!(refusal("SELECT ?"), "the parameter ? has no name: write :name");
        assert_eq!(refusal("SELECT ?2"), "the parameter ? has no name: write :name");
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let Err(Error::Sql { problem, excerpt }) = lines("SELECT 1,\n  ü.nonsense FROM runs ü", &[]) else {
            panic!()
        };
        assert_eq!(problem, "no such column: ü.nonsense");
        assert_eq!(
            excerpt,
            Some(Excerpt { line: 2, column: 3, text: "  ü.nonsense FROM runs ü".to_owned() })
        );
        assert_eq!(refusal("SELEC 1"), "line 1, column 1: near \"SELEC\": syntax error");
        assert_eq!(refusal(" ; -- nothing\n/* here */ ;"), "there is no SQL statement");
        assert_eq!(refusal("SELECT 1; SELECT 2"), "there is more than one SQL statement");
        assert_eq!(refusal("SELECT 1; nonsense"), "there is more than one SQL statement");
        assert_eq!(lines("-- a\nSELECT 1 AS a; -- b\n;", &[]).unwrap(), ["a", "1"]);
    }

    #[test]
    fn what_was_typed_is_a_number_where_it_is_one() {
        let cases = [
            ("7", Value::Integer(7)),
            ("-7", Value::Integer(-7)),
            ("0.5", Value::Real(0.5)),
            ("1e3", Value::Real(1000.0)),
            ("+0.5", Value::Real(0.5)),
            ("0", Value::Integer(0)),
            ("007", Value::from("007")),
            ("00.5", Value::from("00.5")),
            ("9223372036854775808", Value::from("9223372036854775808")),
            (".5", Value::from(".5")),
            ("-", Value::from("-")),
            ("1e999", Value::from("1e999")),
            ("nan", Value::from("nan")),
            ("inf", Value::from("inf")),
            ("", Value::from("")),
            ("2026-11-16", Value::from("2026-11-16")),
        ];
        for (typed, expected) in cases {
            assert_eq!(Value::of_typed(typed), expected, "{typed}");
        }
    }

    #[test]
    fn rows_are_read_as_structs_by_the_names_of_their_columns() {
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Outcome {
            Failed,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        struct Found {
            text: String,
            count: u64,
            rate: f64,
            whole: f64,
            none: Option<f64>,
            some: Option<i64>,
            flag: bool,
            outcome: Outcome,
            list: Vec<String>,
        }
        let (database, _folder) = database();
        let sql = "SELECT 'a' AS text, 3 AS count, 0.5 AS rate, 2 AS whole, NULL AS none, -1 AS some, 1 AS flag, \
                   'failed' AS outcome, '[\"x\",\"y\"]' AS list, 'ignored' AS more";
        let found: Vec<Found> = database.read(&Query::parse("q", sql), &[]).unwrap();
        let expected = Found {
            text: "a".to_owned(),
            count: 3,
            rate: 0.5,
            whole: 2.0,
            none: None,
            some: Some(-1),
            flag: true,
            outcome: Outcome::Failed,
            list: vec!["x".to_owned(), "y".to_owned()],
        };
        assert_eq!(found, [expected]);
        let query = Query::parse("my_query", "SELECT 'a' AS text, 'three' AS count");
        let error = database.read::<Found>(&query, &[]).unwrap_err().to_string();
        let expected =
            "reading a row of my-query: column count: invalid type: string \"three\", expected u64";
        assert_eq!(error, expected);
    }

    #[test]
    fn a_database_sees_one_state_from_its_opening_to_its_end() {
        let (database, folder) = database();
        let count = |database: &Database| {
            let mut lines = Lines::default();
            database.stream("SELECT count(*) FROM syncs", &[], Limits::default(), &mut lines).unwrap();
            lines.0.remove(1)
        };
        let path = folder.path().join("archive.db");
        let writer = Connection::open(&path).unwrap();
        let sql =
            "INSERT INTO syncs (command, version, started_at, outcome) VALUES ('sync', '1', 'x', 'done')";
        writer.execute(sql, []).unwrap();
        assert_eq!(count(&database), "0");
        assert_eq!(count(&Database::open(&path).unwrap()), "1");
    }
}
