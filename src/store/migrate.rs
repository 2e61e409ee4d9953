//! Brings the tables of an earlier version up to this one's.

use std::path::Path;

use rusqlite::Connection;

use super::error::{Error, Result};
use super::schema;
use super::sqlite::{check_version, embedded, known_version, make_views, version};

pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let found = version(connection).map_err(|error| Error::from_sqlite(path, &error))?;
    check_version(path, found)?;
    if found != known_version() {
        schema::require_free_names(connection, path, found)?;
        // Grouped: the tables and the record of their version in one transaction.
        let migrated = embedded::migrations::runner().set_grouped(true).run(connection);
        migrated.map_err(|error| migration_error(path, &error))?;
    }
    make_views(connection).map_err(|error| Error::from_sqlite(path, &error))
}

fn migration_error(path: &Path, error: &refinery::Error) -> Error {
    if let refinery::error::Kind::Connection(_, cause) = error.kind()
        && let Some(error) = cause.downcast_ref::<rusqlite::Error>()
    {
        return Error::from_sqlite(path, error);
    }
    Error::Sqlite { path: path.to_owned(), what: format!("migrating: {error}") }
}
