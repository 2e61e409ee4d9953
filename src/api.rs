//! The platform: what can be asked of it, what it sends, and what goes wrong on the way.
//!
//! [`Client`] has one method per question; it sends them in their turn (`pace`, `limit`, `share`) with a token
//! (`auth`) over a route (`transport`, `route`), and each answer is text that [`wire`] reads. What fails is an
//! `Error` by meaning, freed of secrets.

mod auth;
mod client;
mod error;
mod id;
mod limit;
mod lone;
mod options;
mod pace;
mod refusal;
mod route;
mod secrets;
pub(crate) mod share;
#[cfg(test)]
mod tests;
mod transport;
pub mod wire;

pub(crate) use client::Answer;
pub use client::Client;
pub(crate) use error::{Doing, Error, Reason};
pub use id::{ConnectionId, Kind};
pub(crate) use id::{TypedConnection, is_respelled, spellings};
pub(crate) use limit::RequestLimit;
pub(crate) use options::SetupError;
pub use options::{Credentials, Options};
pub(crate) use route::Obstacle;
