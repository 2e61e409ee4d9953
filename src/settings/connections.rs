//! Connections as they are typed and listed: none twice, in the order given.

use std::collections::HashSet;
use std::hash::Hash;

use super::error::{Error, Result};
use crate::api::ConnectionId;

pub(super) fn parse_connections(texts: &[String]) -> Result<Vec<ConnectionId>> {
    let read = texts.iter().map(|text| text.parse().map_err(Error::NotConnection));
    read.collect::<Result<_>>().map(unique)
}

pub(super) fn unique<T: Clone + Eq + Hash>(mut list: Vec<T>) -> Vec<T> {
    let mut seen = HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
    list
}
