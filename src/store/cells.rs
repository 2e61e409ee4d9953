//! The columns that `normalize` lists, in SQL: the statements that write them, and how a row gives them back.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Row, ToSql};

use crate::normalize::{Column, Columns, Source, Text, Value};
use crate::time::UtcText;

/// A row, as the place that columns are read from by their names.
pub(super) struct Cells<'r, 's>(pub(super) &'r Row<'s>);

impl Source<'static> for Cells<'_, '_> {
    type Error = rusqlite::Error;

    fn text(&mut self, column: &Column) -> rusqlite::Result<Text<'static>> {
        Ok(self.0.get::<_, Option<String>>(column.name)?.map(Into::into))
    }

    fn time(&mut self, column: &Column) -> rusqlite::Result<Option<UtcText>> {
        time(self.0, column.name)
    }

    fn integer(&mut self, column: &Column) -> rusqlite::Result<Option<i64>> {
        self.0.get(column.name)
    }

    fn boolean(&mut self, column: &Column) -> rusqlite::Result<Option<bool>> {
        self.0.get(column.name)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Time(time) => ValueRef::Text(time.as_str().as_bytes()),
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Boolean(word) => ValueRef::Integer(i64::from(*word)),
        }))
    }
}

/// A statement whose values are given one after the other, in the order of its question marks.
pub(super) struct Statement<'c> {
    statement: CachedStatement<'c>,
    given: usize,
}

impl<'c> Statement<'c> {
    pub(super) fn new(connection: &'c Connection, sql: &str) -> rusqlite::Result<Self> {
        Ok(Self { statement: connection.prepare_cached(sql)?, given: 0 })
    }

    pub(super) fn give(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.given += 1;
        self.statement.raw_bind_parameter(self.given, value)
    }

    pub(super) fn give_columns<'a>(&mut self, row: &impl Columns<'a>) -> rusqlite::Result<()> {
        for (_, value) in row.cells() {
            self.give(value)?;
        }
        Ok(())
    }

    /// Gives how many rows were written.
    pub(super) fn execute(mut self) -> rusqlite::Result<usize> {
        self.statement.raw_execute()
    }
}

/// An INSERT whose values are: those named here, in their order, then those of the columns.
pub(super) fn insert_into(table: &str, names: &[&str], columns: &[&[Column]]) -> String {
    let columns = columns.iter().copied().flatten().map(|column| column.name);
    let names: Vec<&str> = names.iter().copied().chain(columns).collect();
    let marks = vec!["?"; names.len()];
    format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), marks.join(", "))
}

/// The SET of an UPDATE, with its values in the order of [`insert_into`].
pub(super) fn set(names: &[&str], columns: &[&[Column]]) -> String {
    let columns = columns.iter().copied().flatten().map(|column| column.name);
    let names: Vec<String> = names.iter().copied().chain(columns).map(|name| format!("{name} = ?")).collect();
    names.join(", ")
}

/// An instant; `None` where the column holds none, or another text.
pub(super) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<UtcText>> {
    Ok(row.get_ref(column)?.as_str_or_null()?.and_then(UtcText::from_stored))
}

/// A hash, or one that nothing has where its bytes are not as many as a hash has.
pub(super) fn hash(value: ValueRef<'_>) -> [u8; 16] {
    match value {
        ValueRef::Blob(bytes) => bytes.try_into().unwrap_or_default(),
        _ => [0; 16],
    }
}
