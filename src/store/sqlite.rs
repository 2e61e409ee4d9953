//! What every connection is set to, and which version of the tables a file has.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};

use super::error::{Error, Result};

pub(super) mod embedded {
    refinery::embed_migrations!("migrations");
}

/// `ARCH` in the file's header: how the archive knows its own.
pub(super) const APPLICATION_ID: i32 = 0x4152_4348;

/// How long the last checkpoint waits for readers.
pub(super) const READERS_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait for another program that holds SQLite's own lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// What every connection is set to.
pub(super) fn prepare_connection(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "foreign_keys", true)?;
    // Nothing stored in the file may make this program run more than SQL.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // The migrations make no trigger, so each is somebody else's: none runs in our commands.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    // "text" in double quotes is a name, never a text: a misspelt column is an error.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    Ok(())
}

pub(super) fn known_version() -> i64 {
    let migrations = embedded::migrations::runner();
    migrations.get_migrations().iter().map(|migration| i64::from(migration.version())).max().unwrap_or(0)
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    // A view of that name would be somebody else's.
    let table = "SELECT 1 FROM sqlite_schema WHERE name = 'refinery_schema_history' AND type = 'table'";
    if connection.query_row(table, [], |_| Ok(())).optional()?.is_none() {
        return Ok(0);
    }
    connection
        .query_row("SELECT coalesce(max(version), 0) FROM refinery_schema_history", [], |row| row.get(0))
}

pub(super) fn check_version(path: &Path, found: i64) -> Result<()> {
    let known = known_version();
    if found > known {
        return Err(Error::Newer { path: path.to_owned(), found, known });
    }
    Ok(())
}

/// The last version whose migrations made the views themselves. Archives of it say nothing in `user_version`.
const VIEWS_IN_MIGRATIONS: i64 = 4;

/// Makes the views of this version where the file has those of an earlier one, which `user_version` tells: the
/// process that migrated the tables may have been killed before it came to the views. An archive whose views are
/// of this version is left alone, whatever somebody made of them: `verify` tells of that, and mends it.
pub(super) fn make_views(connection: &mut Connection) -> rusqlite::Result<()> {
    let told: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let found = if told == 0 { VIEWS_IN_MIGRATIONS } else { told };
    if found == known_version() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    transaction.execute_batch(include_str!("../../migrations/views.sql"))?;
    transaction.pragma_update(None, "user_version", known_version())?;
    transaction.commit()
}
