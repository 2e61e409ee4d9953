//! The pages of one listing, as a walk plans them.
//!
//! In: a walk. Out: the pages that it asked for, as they come, several requests in flight. A page that is
//! refused as too large, or does not come in time, is asked for again with fewer runs. What a page means
//! is the walk's to judge, and what becomes of it the caller's.

use tokio::task::JoinSet;

use crate::api::{self, Answer, Client, ConnectionId, Reason};
use crate::walk::{Ask, Walk};

/// Pages of a single run cannot overlap, so no smaller page is ever asked for.
pub(super) const SMALLEST_PAGE: u32 = 2;

/// A page that is likely to come in time from a platform that is slow, but answers.
const MODEST_PAGE: u32 = 50;

/// What to ask for where so many did not come. A page size that is refused costs one quick answer, so half of
/// it is tried. What does not come in time costs two timeouts each time: with steps of 50, 10 and 2 a
/// connection that never answers is given up after 8 minutes where one request may take a minute.
fn fewer(error: &api::Error, top: u32) -> u32 {
    let less = match error.reason {
        Reason::PageTooLarge => top / 2,
        _ if top > MODEST_PAGE => MODEST_PAGE,
        _ => top / 5,
    };
    less.max(SMALLEST_PAGE)
}

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
                        walk.shrink_pages(fewer(&error, ask.top));
                    }
                    walk.give_up(ask);
                }
                answer => return answer.map(|answer| Some((ask, answer))),
            }
        }
    }
}
