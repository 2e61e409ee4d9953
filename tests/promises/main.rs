//! Promises to the user, one file each, kept by the real binary against a real loopback server.

mod common;

mod docs;
mod file;
mod import;
mod interruption;
mod layers;
mod listing;
mod shifting;
mod status_and_demo;
mod sync;
mod transport;
