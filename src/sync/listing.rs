//! The pages of one listing, as a walk plans them.
//!
//! In: a walk. Out: the pages that it asked for, as they come, several requests in flight. A page that is
//! refused as too large, or does not come in time, is asked for again with fewer runs. Where one cannot be
//! had at all, those before it that are still on their way come first. What a page means is the walk's to
//! judge, and what becomes of it the caller's.

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
    under_way: Vec<Ask>,
    /// The first page of the listing that cannot be had, and why.
    failed: Option<(Ask, api::Error)>,
}

impl Pages {
    /// The pages of this connection's runs; nothing is requested yet.
    pub(crate) fn new(client: &Client, id: &ConnectionId) -> Self {
        Self {
            client: client.clone(),
            id: id.clone(),
            requests: JoinSet::new(),
            under_way: Vec::new(),
            failed: None,
        }
    }

    /// The next page that came, and what it was asked as; `None` once the walk has ended.
    ///
    /// # Errors
    /// Any that a smaller page does not cure. By then no page is on its way that comes before the one that
    /// failed: each was given, or failed too.
    pub(crate) async fn next(&mut self, walk: &mut Walk) -> Result<Option<(Ask, Answer)>, api::Error> {
        loop {
            if walk.end().is_some() {
                return Ok(None);
            }
            if let Some((failed, error)) = self.failed.take() {
                if !self.under_way.iter().any(|ask| ask.skip < failed.skip) {
                    return Err(error);
                }
                self.failed = Some((failed, error));
            } else {
                self.begin(walk);
            }
            let Some(answered) = self.requests.join_next().await else { return Ok(None) };
            let (ask, answer) =
                answered.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            self.under_way.retain(|other| *other != ask);
            match answer {
                Err(error) if error.asks_for_less() && ask.top > SMALLEST_PAGE => {
                    tracing::info!("{error}; asking for less");
                    if ask.top <= walk.page_size() {
                        walk.shrink_pages(fewer(&error, ask.top));
                    }
                    walk.give_up(ask);
                }
                Err(error) => {
                    // The walk needs the pages in their order, so the first one that is not to be had ends it.
                    if self.failed.as_ref().is_none_or(|(failed, _)| ask.skip < failed.skip) {
                        self.failed = Some((ask, error));
                    }
                }
                Ok(answer) => return Ok(Some((ask, answer))),
            }
        }
    }

    /// Sends what the walk asks for now.
    fn begin(&mut self, walk: &mut Walk) {
        for ask in walk.plan_asks() {
            let (client, id) = (self.client.clone(), self.id.clone());
            self.under_way.push(ask);
            self.requests.spawn(async move { (ask, client.list_runs(&id, ask.skip, ask.top).await) });
        }
    }
}
