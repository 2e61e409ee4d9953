//! `archive` keeps the history of iTwin Platform Export runs in one SQLite file, and answers from it.
//!
//! The data goes one way, and each arrow is one module's job:
//!
//! ```text
//! HTTP page -> api::wire -> normalize -> store -> SQLite -> queries/*.sql -> report -> render
//! ```
//!
//! `walk` decides what to ask next, `sync` drives `api`, `walk`, `normalize` and `store`; `commands`
//! turns settings into an exit code; `emulator` is the platform for demo, tests and benchmarks.

pub mod api;
pub mod cli;
pub mod commands;
pub mod emulator;
pub mod error;
pub mod import;
pub mod logging;
pub mod normalize;
pub mod query;
pub mod render;
pub mod report;
pub mod settings;
pub mod store;
pub mod sync;
pub mod time;
pub mod verify;
pub mod walk;
