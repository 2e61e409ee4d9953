//! A connection whose questions end: each may take so long and no longer.
//!
//! In: a connection that reads. Out: the same, interrupted by SQLite itself where a question takes longer
//! than its limit. The limit is far beyond what any question of ours takes: it is there for a file that
//! somebody else made, so that no command hangs for ever.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::handle::Handle;

/// How long a question of a command may take.
pub(crate) const READING_LIMIT: Duration = Duration::from_secs(600);
/// How long a check of the whole file may take.
pub(crate) const VERIFYING_LIMIT: Duration = Duration::from_secs(6 * 3_600);
/// Instructions of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS_PER_LOOK: i32 = 10_000;

/// A connection with a clock. Using it begins a new question, so that nobody has to remember to.
#[derive(Debug)]
pub(super) struct Limited {
    connection: Handle,
    born: Instant,
    limit: Duration,
    /// Milliseconds after `born`.
    deadline: Arc<AtomicU64>,
}

impl Limited {
    pub(super) fn new(mut connection: Handle, limit: Duration) -> rusqlite::Result<Self> {
        let (born, deadline) = (Instant::now(), Arc::new(AtomicU64::new(u64::MAX)));
        let watched = Arc::clone(&deadline);
        let is_over = move || milliseconds(born.elapsed()) > watched.load(Ordering::Relaxed);
        connection.progress_handler(STEPS_PER_LOOK, Some(is_over))?;
        Ok(Self { connection, born, limit, deadline })
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// The connection without a limit, for whoever sets their own.
    pub(super) fn unlimited(&mut self) -> &mut Connection {
        self.deadline.store(u64::MAX, Ordering::Relaxed);
        &mut self.connection
    }
}

impl Deref for Limited {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        let deadline = milliseconds(self.born.elapsed().saturating_add(self.limit));
        self.deadline.store(deadline, Ordering::Relaxed);
        &self.connection
    }
}

/// Five hundred million years fit.
fn milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_never_ends_is_stopped_and_the_next_one_has_its_own_time() {
        let mut limited = Limited::new(Handle::in_memory().unwrap(), Duration::ZERO).unwrap();
        let endless =
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
        let count = |limited: &Limited, sql: &str| limited.query_row(sql, [], |row| row.get::<_, i64>(0));
        let stopped = count(&limited, endless).unwrap_err();
        assert_eq!(stopped.sqlite_error_code(), Some(rusqlite::ErrorCode::OperationInterrupted));
        limited.set_limit(READING_LIMIT);
        let long = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000) SELECT count(*) FROM n";
        assert_eq!(count(&limited, long), Ok(100_000));
    }
}
