//! What the credentials see, before there is an archive: with as few requests as possible.
//!
//! In: a client and an id. Out: how much is listed below it, and what the platform says it is called.
//! Nothing is stored, and what follows from it is for the caller to say.

use super::discovery::{self, Listed, Sizes};
use crate::api::wire::Named;
use crate::api::{self, Client, ConnectionId, Kind};

/// What is listed below an iTwin or an iModel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListedBelow {
    pub listed: u64,
    pub has_more: bool,
}

impl<T> From<Listed<T>> for ListedBelow {
    fn from(list: Listed<T>) -> Self {
        Self { listed: list.items.len() as u64, has_more: list.doubt.is_some() }
    }
}

/// The iTwins that the credentials are a member of.
///
/// # Errors
/// Any; the list may be forbidden where what it would list is not.
pub(crate) async fn see_itwins(client: &Client) -> Result<Vec<Named>, api::Error> {
    Ok(discovery::list_itwins(client, &Sizes::default(), &[]).await?.items)
}

/// The iModels on the first page of an iTwin's.
pub(crate) async fn see_itwin(client: &Client, itwin: &str) -> Result<ListedBelow, api::Error> {
    Ok(discovery::list_some_imodels(client, &Sizes::default(), itwin, 1).await?.into())
}

/// The connections of one kind that an iModel has.
pub(crate) async fn see_imodel(client: &Client, kind: Kind, imodel: &str) -> Result<ListedBelow, api::Error> {
    Ok(discovery::list_connections(client, &Sizes::default(), kind, imodel).await?.into())
}

/// What a connection is called, if it has a name.
pub(crate) async fn see_connection(client: &Client, id: &ConnectionId) -> Result<Option<String>, api::Error> {
    Ok(client.get_connection(id).await?.display_name)
}
