//! `archive` keeps the history of iTwin Platform Export runs in one SQLite file, and answers from it.
//!
//! The data goes one way, and each arrow is one module's job:
//!
//! ```text
//! HTTP page -> api::wire -> normalize -> store -> SQLite -> queries/*.sql -> report -> render
//! ```
//!
//! `walk` decides what to ask next, `sync` drives `api`, `walk`, `normalize` and `store`; `commands`
//! turns settings into an exit code; `detector` says which connections fail more than usual; `emulator` is the platform for demo, tests and benchmarks.

// `pub` is what tests and benchmarks use; of all else the compiler sees whether anybody uses it.
#![warn(unreachable_pub)]

mod cli;
mod commands;
mod error;
mod import;
mod logging;
mod program;
mod render;
mod report;
mod settings;
mod verify;
mod walk;

// What the tests and the benchmarks look at from outside.
pub mod api;
pub mod detector;
pub mod emulator;
pub mod normalize;
pub mod query;
pub mod store;
pub mod sync;
pub mod time;

pub use program::run;
