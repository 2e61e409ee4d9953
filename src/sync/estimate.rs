//! What a first sync will cost, before it begins: requests and minutes.
//!
//! In: a client and a scope. Out: an [`Estimate`]. All lists above runs are read, as a sync would; how many
//! runs the connections have is concluded from a few of them, whose listings are measured by doubling `$skip`.
//! Nothing is stored.

use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::discovery::ListDoubt;
use super::discovery::{self, Sizes};
use super::options::Options;
use super::problem::Problem;
use crate::api::wire::LastRun;
use crate::api::{self, Client, ConnectionId, RequestLimit};

/// Connections whose listings are measured.
const SAMPLE: usize = 12;
/// No listing is taken to be longer: a platform that gives runs at any `$skip` does not heed it.
const MOST_RUNS: u64 = 1 << 24;

/// A listing's length is measured to within this part of it, or to a page.
const NEAR_ENOUGH: u64 = 8;

/// What a first sync is expected to cost; in JSON its fields are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct Estimate {
    pub imodels: u64,
    /// Connections, found and named.
    pub connections: u64,
    /// Of these, those whose runs a sync would list: all but those that never ran.
    pub connections_with_runs: u64,
    /// Connections whose listings were measured, and the runs that these have at least and at most.
    pub measured_connections: u64,
    pub measured_runs_least: u64,
    pub measured_runs_most: u64,
    /// Requests of a first sync, at least and at most, as far as the measured ones show.
    pub requests_least: u64,
    pub requests_most: u64,
    /// Of these, those that are sent before the first run is asked for.
    pub requests_to_find_connections: u64,
    /// How long that takes within the limits, at the speed that the platform answered with.
    #[serde(rename = "seconds_least", serialize_with = "write_seconds")]
    pub least: Duration,
    #[serde(rename = "seconds_most", serialize_with = "write_seconds")]
    pub most: Duration,
    pub requests_asked: u64,
    /// What went wrong, so that the estimate may be too low.
    pub problems: Vec<Problem>,
}

fn write_seconds<S: Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(length.as_secs())
}

/// Looks for connections and measures some of their listings.
pub(crate) async fn estimate(client: &Client, options: &Options, limits: &[RequestLimit]) -> Estimate {
    let began = Instant::now();
    let mut looking = Looking { client, options, sizes: Arc::default(), problems: Vec::new() };
    let (imodels, found) = looking.find().await;
    let (found_with, found_in) = (client.requests(), began.elapsed());
    // A sync asks what its iTwins are called, too.
    let requests_to_find = found_with + u64::from(!options.scope.itwins.is_empty());
    let with_runs: Vec<ConnectionId> =
        found.iter().filter(|(_, last_run)| *last_run != LastRun::Never).map(|(id, _)| id.clone()).collect();
    // Evenly over the fleet: neighbours are of one iModel and alike.
    let step = with_runs.len().div_ceil(SAMPLE).max(1);
    let (mut measured, mut runs, mut pages) = (0, (0, 0), (0, 0));
    for id in with_runs.iter().step_by(step) {
        match looking.measure(id).await {
            Ok(listing) => {
                measured += 1;
                runs = (runs.0 + listing.runs.0, runs.1 + listing.runs.1);
                pages = (pages.0 + listing.pages.0, pages.1 + listing.pages.1);
            }
            Err(error) => looking.add_error(error),
        }
    }
    let asked = client.requests();
    // Where none could be measured, each listing is taken to be one page, the least there is.
    let all = |pages: u64| match measured {
        0 => with_runs.len() as u64,
        measured => (pages * with_runs.len() as u64).div_ceil(measured),
    };
    let never = (found.len() - with_runs.len()) as u64;
    let requests = (
        requests_to_find + never + all(pages.0).max(with_runs.len() as u64),
        requests_to_find + never + all(pages.1).max(with_runs.len() as u64),
    );
    // Listings were measured one after the other, and are walked several at a time.
    let to_measure = u32::try_from(asked - found_with).unwrap_or(u32::MAX);
    let per_request = (began.elapsed() - found_in).checked_div(to_measure).unwrap_or_default();
    let at_a_time = options.concurrency.max(1) as u64;
    let duration = |requests: u64| {
        let walked = u32::try_from(requests.saturating_sub(requests_to_find) / at_a_time).unwrap_or(u32::MAX);
        let unlimited = found_in.saturating_add(per_request.saturating_mul(walked));
        limits.iter().map(|limit| within(limit, requests)).fold(unlimited, Duration::max)
    };
    Estimate {
        imodels,
        connections: found.len() as u64,
        connections_with_runs: with_runs.len() as u64,
        measured_connections: measured,
        measured_runs_least: runs.0,
        measured_runs_most: runs.1,
        requests_least: requests.0,
        requests_most: requests.1,
        requests_to_find_connections: requests_to_find,
        least: duration(requests.0),
        most: duration(requests.1),
        requests_asked: asked,
        problems: looking.problems,
    }
}

/// The least time in which so many requests can be sent within a limit.
fn within(limit: &RequestLimit, requests: u64) -> Duration {
    let full = requests.saturating_sub(1) / u64::from(limit.requests);
    limit.length.saturating_mul(u32::try_from(full).unwrap_or(u32::MAX))
}

struct Looking<'a> {
    client: &'a Client,
    options: &'a Options,
    sizes: Arc<Sizes>,
    problems: Vec<Problem>,
}

/// How long one listing is, at least and at most.
struct Length {
    runs: (u64, u64),
    pages: (u64, u64),
}

impl Looking<'_> {
    fn add_error(&mut self, error: api::Error) {
        self.problems.push(Problem::Answered { name: None, error });
    }

    fn add_doubt(&mut self, doubt: Option<ListDoubt>) {
        self.problems.extend(doubt.map(|doubt| Problem::InDoubt { list: None, doubt }));
    }

    async fn find(&mut self) -> (u64, Vec<(ConnectionId, LastRun)>) {
        let scope = &self.options.scope;
        let mut found: Vec<_> = scope.connections.iter().map(|id| (id.clone(), LastRun::Unsaid)).collect();
        let mut imodels = scope.imodels.clone();
        for itwin in &scope.itwins {
            match discovery::list_imodels(self.client, &self.sizes, itwin).await {
                Ok(listed) => {
                    self.add_doubt(listed.doubt);
                    imodels.extend(listed.items.into_iter().map(|named| named.id));
                }
                Err(error) => self.add_error(error),
            }
        }
        // An iModel may be named and stand in the list of its iTwin, too: it is asked once.
        imodels.sort();
        imodels.dedup();
        let mut asks =
            imodels.iter().flat_map(|imodel| scope.kinds.iter().map(move |kind| (imodel.clone(), *kind)));
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < self.options.concurrency.max(1)
                && let Some((imodel, kind)) = asks.next()
            {
                let (client, sizes) = (self.client.clone(), self.sizes.clone());
                tasks.spawn(async move { discovery::list_connections(&client, &sizes, kind, &imodel).await });
            }
            match tasks.join_next().await {
                None => break,
                Some(Ok(Ok(listed))) => {
                    self.add_doubt(listed.doubt);
                    let items = listed.items.into_iter();
                    found.extend(items.map(|(id, connection)| (id, connection.last_run)));
                }
                Some(Ok(Err(error))) => {
                    let is_last = !error.is_about_one();
                    self.add_error(error);
                    if is_last {
                        // Nothing further will be answered either.
                        break;
                    }
                }
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found.dedup_by(|(a, _), (b, _)| a == b);
        (imodels.len() as u64, found)
    }

    /// About how long a listing is, in a handful of requests.
    async fn measure(&self, id: &ConnectionId) -> Result<Length, api::Error> {
        let count = async |skip: u64, top: u32| {
            let answer = self.client.list_runs(id, skip, top).await?;
            let page = answer.page().map_err(|problem| {
                self.client.unreadable(api::Doing::ListRuns { connection: id.clone(), skip }, &problem)
            })?;
            let first = page.runs.first().map(|run| (*run).to_owned());
            Ok::<_, api::Error>((page.runs.len() as u64, first))
        };
        let (first, head) = count(0, self.options.page_size).await?;
        // The platform may give fewer than asked for: what it gives is a page.
        let page = first.max(2);
        let (mut least, mut most) = (first, first);
        if first > 0 {
            let mut skip = page;
            while skip < MOST_RUNS {
                let (came, run) = count(skip, 2).await?;
                // The first run again is a platform that does not heed `$skip`: there is no measuring it.
                if came == 0 || run == head {
                    break;
                }
                least = skip + came;
                skip *= 2;
                most = skip;
            }
            most = most.max(least);
            while most - least > page.max(most / NEAR_ENOUGH) && least < MOST_RUNS {
                let middle = least.midpoint(most);
                match count(middle, 2).await?.0 {
                    0 => most = middle,
                    came => least = middle + came,
                }
            }
        }
        // Pages overlap by one run; what is read ahead may lie behind the end.
        let pages = |runs: u64| (runs.saturating_sub(1)).div_ceil(page - 1).max(1);
        let ahead = match pages(most) {
            1 => 0,
            _ => self.options.pages_in_flight.saturating_sub(1) as u64,
        };
        Ok(Length { runs: (least, most), pages: (pages(least), pages(most) + ahead) })
    }
}
