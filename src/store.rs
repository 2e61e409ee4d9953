//! The archive's one file: opening, locking, migrating, and the only two doors to it.
//!
//! In: a path. Out: an [`Archive`] to write through (one process at a time, told by a lock file that
//! the kernel releases at death) or a [`Reader`]. What is written and read stands in one file for
//! each noun (`runs`, `walks`, `syncs` …); no SQL type leaves this module. A file that is no archive is never touched.
//!
//! The database file is opened by SQLite; `header` looks at it by hand only while no connection of this
//! process has it open, which `handle` knows. `new` makes a file, `lock` says whose turn it is to write.

pub(crate) mod backup;
mod cells;
pub(crate) mod check;
pub(crate) mod checkpoints;
mod drift;
mod error;
mod error_runs;
mod finding;
pub(crate) mod fleet;
mod handle;
mod header;
pub(crate) mod known;
mod limited;
mod links;
mod lock;
mod migrate;
mod names;
mod new;
mod open;
pub(crate) mod prune;
mod reader;
pub mod records;
pub(crate) mod rejects;
mod repair;
pub mod restore;
pub(crate) mod room;
mod runs;
pub(crate) mod schema;
mod sight;
mod sqlite;
mod staging;
pub(crate) mod status;
pub mod syncs;
pub(crate) mod unfinished;
mod walk_record;
mod walk_rows;
pub mod walks;
mod writer;

pub(crate) use error::Result;
pub use error::{Error, NotWhole};
pub(crate) use limited::{READING_LIMIT, VERIFYING_LIMIT};
pub(crate) use lock::is_held;
pub(crate) use names::is_of_archive;
pub use open::Archive;
pub use reader::Reader;
pub(crate) use writer::{Closed, Writer};
