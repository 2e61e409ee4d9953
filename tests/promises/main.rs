//! Promises to the user, one file each, kept by the real binary against a real loopback server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "a failing test prints what it was about")]

mod clock;
mod common;

mod docs;
mod fairness;
mod figures;
mod file;
mod fleet;
mod foreign;
mod full_disk;
mod growth;
mod handed_over;
mod import;
mod interruption;
mod keep;
mod layers;
mod listing;
mod missed;
mod neighbours;
mod network;
mod opening;
mod page;
mod prune;
mod query;
mod report;
mod requests;
mod restore;
mod sandbox;
mod saved;
mod screens;
mod setup;
mod shifting;
mod signatures;
mod status_and_demo;
mod sync;
mod transport;
mod verify;
