//! The pages of one listing, as a walk plans them.
//!
//! In: a walk. Out: the pages that it asked for, as they come, several requests in flight. A page that is
//! refused as too large, or does not come in time, is asked for again with fewer runs. What a page means
//! is the walk's to judge, and what becomes of it the caller's.

use tokio::task::JoinSet;

use crate::api::{self, Answer, Client, ConnectionId};
use crate::walk::{Ask, Walk};

/// Pages of a single run cannot overlap, so no smaller page is ever asked for.
pub(super) const SMALLEST_PAGE: u32 = 2;

/// The requests for one listing; dropping them ends what is still in flight.
pub(crate) struct Pages {
    client: Client,
    id: ConnectionId,
    requests: JoinSet<(Ask, Result<Answer, api::Error>)>,
}

impl Pages {
    /// The pages of this connection's runs; nothing is requested yet.
    pub(crate) fn new(client: &Client, id: &ConnectionId) -> Self {
        Self { client: client.clone(), id: id.clone(), requests: JoinSet::new() }
    }

    /// The next page that came, and what it was asked as; `None` once the walk has ended.
    ///
    /// # Errors
    /// Any that a smaller page does not cure.
    pub(crate) async fn next(&mut self, walk: &mut Walk) -> Result<Option<(Ask, Answer)>, api::Error> {
        loop {
            for ask in walk.plan_asks() {
                let (client, id) = (self.client.clone(), self.id.clone());
                self.requests.spawn(async move { (ask, client.list_runs(&id, ask.skip, ask.top).await) });
            }
            if walk.end().is_some() {
                return Ok(None);
            }
            let Some(answered) = self.requests.join_next().await else { return Ok(None) };
            let (ask, answer) =
                answered.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            match answer {
                Err(error) if error.asks_for_less() && ask.top > SMALLEST_PAGE => {
                    tracing::info!("{error}; asking for less");
                    if ask.top <= walk.page_size() {
                        walk.shrink_pages((ask.top / 2).max(SMALLEST_PAGE));
                    }
                    walk.give_up(ask);
                }
                answer => return answer.map(|answer| Some((ask, answer))),
            }
        }
    }
}
