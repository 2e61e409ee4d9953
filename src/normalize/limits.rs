//! What is too much for one run, and why a text is none.

/// Bytes of one run.
pub(crate) const MAX_BYTES: usize = 16 << 20;
/// How deep a run may nest. What serde_json reads: every reader of what is archived can rely on it, ours too.
pub(crate) const MAX_DEPTH: usize = 127;
/// Members of objects and elements of lists in one run.
pub(crate) const MAX_VALUES: usize = 1_000_000;
/// Jobs of one run.
pub(crate) const MAX_JOBS: usize = 10_000;
/// Tasks of all jobs of one run.
pub(crate) const MAX_TASKS: usize = 100_000;

/// Why a text is not a run that can be kept in tables. It is kept as text instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// Longer than any run; nothing of it was read.
    #[error("the run has {0} bytes, and at most {MAX_BYTES} are read")]
    TooLong(usize),
    /// Nested so deep that reading it could exhaust a thread.
    #[error("the run nests {0} levels deep, and at most {MAX_DEPTH} are read")]
    TooDeep(usize),
    /// More values than any run.
    #[error("the run has {0} values, and at most {MAX_VALUES} are read")]
    TooManyValues(usize),
    /// More jobs than any run.
    #[error("the run has {0} jobs, and at most {MAX_JOBS} are read")]
    TooManyJobs(usize),
    /// More tasks than any run.
    #[error("the run has {0} tasks, and at most {MAX_TASKS} are read")]
    TooManyTasks(usize),
    /// Bytes that are no text, where the first of them is in the kept text.
    #[error("the run holds bytes that are no UTF-8, written as \\x and two digits, the first at byte {0}")]
    NotUtf8(usize),
    /// Some other JSON.
    #[error("the run is not an object: {0}")]
    NotAnObject(String),
    /// Nothing to know it by.
    #[error("the run has no id that is a text")]
    NoId,
    /// Two values under one name: neither may be dropped, and a row holds one.
    #[error("the name {0:?} occurs twice in one object")]
    NameTwice(String),
}
