//! What a statement may do: read. Everything that keeps it to that is set here, each with its reason.
//!
//! In: a fresh connection of [`store`](crate::store), which is `query_only` already. Out: the same behind an
//! authorizer that knows what is allowed and refuses all else, inside a read transaction, with limits on
//! time, memory and lengths. Several of these would do alone; none is the only one.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;

use super::functions;

/// What SQLite may take in memory, sorting and all: nothing is put into temporary files.
pub(super) const HEAP_BYTES: i64 = 1 << 30;
/// The longest text, blob or row. A run of the platform has far less.
const VALUE_BYTES: i32 = 256 << 20;
/// The longest statement.
pub(crate) const SQL_BYTES: usize = 1 << 20;
/// Memory for pages of the archive, in KiB.
const CACHE_KIB: i64 = 64 << 10;
/// Instructions of SQLite's machine between two looks at the clock: some microseconds.
const STEPS_PER_LOOK: i32 = 1_000;
/// Bit of `pragma_function_list`: SQLite itself says that the function has no side effects and tells nothing
/// that the database does not hold.
const INNOCUOUS: i64 = 0x0020_0000;
/// Statements that say what is there, whatever their argument.
const PRAGMAS: [&str; 13] = [
    "collation_list",
    "compile_options",
    "database_list",
    "foreign_key_list",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "module_list",
    "pragma_list",
    "table_info",
    "table_list",
    "table_xinfo",
];
/// First words of statements that do more than read.
const WRITING: [&str; 20] = [
    "ALTER",
    "ANALYZE",
    "ATTACH",
    "BEGIN",
    "COMMIT",
    "CREATE",
    "DELETE",
    "DETACH",
    "DROP",
    "END",
    "INSERT",
    "PRAGMA",
    "REINDEX",
    "RELEASE",
    "REPLACE",
    "ROLLBACK",
    "SAVEPOINT",
    "UPDATE",
    "VACUUM",
    "UPSERT",
];

/// What was refused, as the authorizer saw it last.
type Note = Arc<Mutex<Option<String>>>;

/// Holds a connection to reading.
#[derive(Debug)]
pub(super) struct Guard {
    clock: Arc<Clock>,
    note: Note,
}

impl Guard {
    /// Sets everything up and begins the transaction whose state of the archive is seen from now on.
    pub(super) fn set(connection: &mut Connection) -> rusqlite::Result<Self> {
        // Sorting and intermediate tables stay in memory: no file appears, and no disk runs full.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update_and_check(None, "hard_heap_limit", HEAP_BYTES, |_| Ok(()))?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false)?;
        for (limit, most) in [
            (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES),
            // The number fits.
            (Limit::SQLITE_LIMIT_SQL_LENGTH, SQL_BYTES as i32),
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
            (Limit::SQLITE_LIMIT_VDBE_OP, 250_000),
            (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 5_000),
            (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
            // Each level takes some of the stack.
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, 500),
        ] {
            connection.set_limit(limit, most)?;
        }
        functions::register(connection)?;
        let harmless = harmless_functions(connection)?;
        connection.execute_batch("BEGIN")?;
        // The transaction's state of the archive is that of its first read.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;

        let clock = Arc::new(Clock::new());
        let note = Note::default();
        let watched = Arc::clone(&clock);
        connection.progress_handler(STEPS_PER_LOOK, Some(move || watched.overdue().is_some()))?;
        let noted = Arc::clone(&note);
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            match refuse(&context, &harmless) {
                None => Authorization::Allow,
                Some(what) => {
                    // The first is what the statement is about; others may follow from it.
                    noted.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
                    Authorization::Deny
                }
            }
        }))?;
        Ok(Self { clock, note })
    }

    pub(super) fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }

    /// Begins to count the time of a query.
    pub(super) fn start(&self, limit: Option<Duration>) {
        self.clock.start(limit);
    }

    /// Does what is no work of SQLite, and does not count its time.
    pub(super) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.clock.aside(work)
    }

    pub(super) fn forget(&self) {
        self.note.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// What was refused of this statement, if anything was.
    pub(super) fn refused(&self, sql: &str) -> Option<String> {
        let note = self.note.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        // Creating or dropping is seen as writing to the schema's own table.
        let is_of_schema = note.is_empty();
        Some(if is_of_schema { describe_statement(sql) } else { note })
    }
}

/// The functions that may be called.
fn harmless_functions(connection: &Connection) -> rusqlite::Result<HashSet<String>> {
    let mut functions = connection
        .prepare("SELECT lower(name) FROM pragma_function_list GROUP BY name HAVING min(flags & ?1) <> 0")?;
    functions.query_map([INNOCUOUS], |row| row.get(0))?.collect()
}

/// What the user is told is not allowed; empty where the statement's first word says it better. `None`: allowed.
fn refuse(context: &AuthContext<'_>, harmless: &HashSet<String>) -> Option<String> {
    let is_schema = |table: &str| table.starts_with("sqlite_");
    match context.action {
        AuthAction::Select | AuthAction::Recursive => None,
        // Temporary tables cannot be made, so nothing of theirs is to be read.
        AuthAction::Read { .. } if context.database_name != Some("temp") => None,
        AuthAction::Read { table_name, .. } => Some(format!("reading {table_name}")),
        AuthAction::Function { function_name } => {
            let is_harmless = harmless.contains(&function_name.to_ascii_lowercase());
            (!is_harmless).then(|| format!("the function {function_name}()"))
        }
        AuthAction::Pragma { pragma_name, .. } => {
            let is_harmless = PRAGMAS.iter().any(|name| pragma_name.eq_ignore_ascii_case(name));
            (!is_harmless).then(|| format!("PRAGMA {pragma_name}"))
        }
        AuthAction::Insert { table_name } if !is_schema(table_name) => Some("INSERT".to_owned()),
        AuthAction::Update { table_name, .. } if !is_schema(table_name) => Some("UPDATE".to_owned()),
        AuthAction::Delete { table_name } if !is_schema(table_name) => Some("DELETE".to_owned()),
        AuthAction::Attach { .. } => Some("ATTACH".to_owned()),
        AuthAction::Detach { .. } => Some("DETACH".to_owned()),
        _ => Some(String::new()),
    }
}

/// The statement by its first word, where that is one that writes.
pub(super) fn describe_statement(sql: &str) -> String {
    let word = first_word(sql).unwrap_or_default().to_ascii_uppercase();
    if WRITING.contains(&word.as_str()) { word } else { "this statement".to_owned() }
}

/// The first word of a statement, after blanks and comments; the first other sign where it does not begin with
/// a word, and `None` where there is nothing.
pub(super) fn first_word(sql: &str) -> Option<&str> {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || matches!(c, ';' | '\u{feff}'));
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
        } else {
            break;
        }
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let end = if end == 0 { rest.chars().next()?.len_utf8() } else { end };
    Some(&rest[..end])
}

/// The time that SQLite has worked on a query, and how long it may.
#[derive(Debug)]
pub(crate) struct Clock {
    born: Instant,
    /// Nanoseconds after `born`; the highest number: none.
    deadline: AtomicU64,
    /// Nanoseconds.
    limit: AtomicU64,
    /// Whether something else than SQLite is at work.
    is_aside: AtomicBool,
}

impl Clock {
    fn new() -> Self {
        let none = || AtomicU64::new(u64::MAX);
        Self { born: Instant::now(), deadline: none(), limit: none(), is_aside: AtomicBool::new(false) }
    }

    fn now(&self) -> u64 {
        nanoseconds(self.born.elapsed())
    }

    fn start(&self, limit: Option<Duration>) {
        let limit = limit.map_or(u64::MAX, nanoseconds);
        self.limit.store(limit, Ordering::Relaxed);
        self.deadline.store(self.now().saturating_add(limit), Ordering::Relaxed);
    }

    fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        if self.limit().is_none() {
            return work();
        }
        let began = self.now();
        self.is_aside.store(true, Ordering::Relaxed);
        let done = work();
        let passed = self.now() - began;
        self.deadline.fetch_add(passed, Ordering::Relaxed);
        self.is_aside.store(false, Ordering::Relaxed);
        done
    }

    /// How long a query may take, where one is under way that has a limit.
    pub(crate) fn limit(&self) -> Option<Duration> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|&limit| limit != u64::MAX).map(Duration::from_nanos)
    }

    /// How long ago the query should have ended; `None` where it may go on, or waits for its reader.
    pub(crate) fn overdue(&self) -> Option<Duration> {
        if self.is_aside.load(Ordering::Relaxed) {
            return None;
        }
        self.now().checked_sub(self.deadline.load(Ordering::Relaxed)).map(Duration::from_nanos)
    }
}

fn nanoseconds(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_stands_after_blanks_and_comments() {
        for (sql, expected) in [
            ("SELECT 1", Some("SELECT")),
            (" ;\n-- DELETE\n/* DROP */ vacuum into 'x'", Some("vacuum")),
            ("\u{feff}VALUES(1)", Some("VALUES")),
            ("(SELECT 1)", Some("(")),
            ("ü", Some("ü")),
            ("-- SELECT 1", None),
            ("/* SELECT 1", None),
            (" ; ", None),
            ("", None),
        ] {
            assert_eq!(first_word(sql), expected, "{sql}");
        }
    }

    #[test]
    fn time_that_others_take_is_not_counted() {
        let clock = Clock::new();
        assert_eq!((clock.limit(), clock.overdue()), (None, None));
        let limit = Duration::from_millis(5);
        clock.start(Some(limit));
        let wait = || {
            let began = clock.now();
            while clock.now() - began < 2 * nanoseconds(limit) {
                std::hint::spin_loop();
            }
        };
        clock.aside(|| {
            wait();
            // Whoever waits for a reader is never late.
            assert_eq!(clock.overdue(), None);
        });
        assert_eq!((clock.limit(), clock.overdue()), (Some(limit), None));
        wait();
        assert!(clock.overdue().is_some());
        clock.start(None);
        assert_eq!(clock.overdue(), None);
    }
}
