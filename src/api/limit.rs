//! How many requests may be sent in a time: the platform counts them for each client, and so does this.
//!
//! In: limits such as 450 a minute, and when requests were sent before. Out: permits. A request counts
//! from before it is sent until its answer has aged by the limit's length, so that the platform, which
//! counts it at some moment between, never sees more than the limit in any time of that length.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long to wait for an answer before looking for a permit again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// No more than so many requests in any time of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimit {
    /// At least 1.
    pub requests: u32,
    pub length: Duration,
}

impl RequestLimit {
    /// What is kept unless other limits are set: a tenth below the platform's lowest tier, which allows 500 a
    /// minute and 5,000 an hour to all that uses the same client (API notes, section 5).
    pub(crate) const DEFAULTS: [Self; 2] = [
        Self { requests: 450, length: Duration::from_secs(60) },
        Self { requests: 4_500, length: Duration::from_secs(3_600) },
    ];
}

impl FromStr for RequestLimit {
    type Err = String;

    /// Reads `450/1m`: a number of requests, and the time they may take.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = || format!("{text:?} is no limit; write it like 450/1m or 4500/1h");
        let (requests, length) = text.split_once('/').ok_or_else(problem)?;
        let requests: u32 = requests.trim().parse().map_err(|_| problem())?;
        let length = humantime::parse_duration(length.trim()).map_err(|_| problem())?;
        // More than a day is beyond what the platform counts.
        let is_sane = requests > 0 && !length.is_zero() && length <= Duration::from_secs(86_400);
        if is_sane { Ok(Self { requests, length }) } else { Err(problem()) }
    }
}

impl fmt::Display for RequestLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, humantime::format_duration(self.length))
    }
}

/// One limit and what counts against it.
#[derive(Debug)]
struct Window {
    limit: RequestLimit,
    under_way: u32,
    /// When requests were answered, the earliest first.
    answered: VecDeque<Instant>,
}

impl Window {
    fn forget_old(&mut self, now: Instant) {
        while self.answered.front().is_some_and(|&answered| answered + self.limit.length <= now) {
            self.answered.pop_front();
        }
    }

    fn is_full(&self) -> bool {
        self.answered.len() as u64 + u64::from(self.under_way) >= u64::from(self.limit.requests)
    }
}

/// All limits of this process.
#[derive(Debug)]
pub(super) struct Limiter {
    windows: Mutex<Vec<Window>>,
    freed: Notify,
}

/// That a request may be sent; give it up when it is answered.
#[derive(Debug)]
pub(super) struct Permit<'a>(&'a Limiter);

/// Why no request may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) limit: RequestLimit,
    /// How long that is; `None` until a request under way is answered.
    pub(super) wait: Option<Duration>,
}

impl Limiter {
    pub(super) fn new(limits: &[RequestLimit]) -> Self {
        let window = |&limit: &RequestLimit| Window { limit, under_way: 0, answered: VecDeque::new() };
        Self { windows: Mutex::new(limits.iter().map(window).collect()), freed: Notify::new() }
    }

    /// Counts requests that were answered so long ago, by another process with the same credentials.
    pub(super) fn remember(&self, requests: u64, ago: Duration) {
        let Some(answered) = Instant::now().checked_sub(ago) else { return };
        for window in self.windows().iter_mut().filter(|window| window.limit.length > ago) {
            let at = window.answered.partition_point(|&other| other < answered);
            for _ in 0..requests.min(u64::from(window.limit.requests)) {
                window.answered.insert(at, answered);
            }
        }
    }

    /// A permit, or why there is none.
    pub(super) fn permit(&self) -> Result<Permit<'_>, Full> {
        let mut windows = self.windows();
        if let Some(full) = Self::fullest(&mut windows) {
            return Err(full);
        }
        for window in windows.iter_mut() {
            window.under_way += 1;
        }
        Ok(Permit(self))
    }

    /// Ends when it is worth asking for a permit again.
    pub(super) async fn changed(&self, full: Full) {
        match full.wait {
            Some(wait) => tokio::time::sleep(wait).await,
            // A permit that is given up between the check and this line notifies nobody: look again soon in any case.
            None => drop(tokio::time::timeout(LOOK_AGAIN, self.freed.notified()).await),
        }
    }

    /// Why a request could not be sent now, if it could not.
    pub(super) fn full(&self) -> Option<Full> {
        Self::fullest(&mut self.windows())
    }

    fn fullest(windows: &mut [Window]) -> Option<Full> {
        let now = Instant::now();
        let mut found: Option<Full> = None;
        for window in windows {
            window.forget_old(now);
            if window.is_full() {
                let next = window.answered.front().map(|&answered| answered + window.limit.length);
                let full = Full { limit: window.limit, wait: next.map(|next| next - now) };
                found = found.filter(|other| other.wait > full.wait).or(Some(full));
            }
        }
        found
    }

    fn windows(&self) -> MutexGuard<'_, Vec<Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        for window in self.0.windows().iter_mut() {
            window.under_way = window.under_way.saturating_sub(1);
            window.answered.push_back(now);
        }
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limit(requests: u32, length: Duration) -> RequestLimit {
        RequestLimit { requests, length }
    }

    #[test]
    fn a_limit_is_read_as_it_is_written() {
        let read = |text: &str| text.parse::<RequestLimit>().map(|limit| limit.to_string());
        assert_eq!(read("450/1m").as_deref(), Ok("450/1m"));
        assert_eq!(read(" 4500 / 60m").as_deref(), Ok("4500/1h"));
        for nonsense in ["", "450", "0/1m", "450/0s", "450/9days", "-1/1m", "450/soon", "1.5/1m"] {
            assert!(read(nonsense).is_err(), "{nonsense}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_time_of_its_length_sees_more_than_the_limit() {
        let limiter = Limiter::new(&[limit(5, SECOND * 10), limit(12, SECOND * 60)]);
        let begun = Instant::now();
        let mut sent = Vec::new();
        while sent.len() < 30 {
            match limiter.permit() {
                Ok(permit) => {
                    sent.push(begun.elapsed().as_millis());
                    // The platform may count it at any moment until its answer.
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    drop(permit);
                }
                Err(full) => limiter.changed(full).await,
            }
        }
        for (most, length) in [(5, 10_000), (12, 60_000)] {
            for first in &sent {
                let within = sent.iter().filter(|&at| at >= first && *at < first + length).count();
                assert!(within <= most, "{within} within {length} ms from {first}: {sent:?}");
            }
        }
        assert!(begun.elapsed() < SECOND * 140, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_under_way_count_until_long_after_their_answer() {
        let limiter = Limiter::new(&[limit(2, SECOND)]);
        let (first, second) = (limiter.permit().unwrap(), limiter.permit().unwrap());
        let full = limiter.permit().unwrap_err();
        assert_eq!(full.wait, None);
        tokio::time::advance(SECOND * 5).await;
        drop(first);
        let full = limiter.permit().unwrap_err();
        assert_eq!(full.wait, Some(SECOND));
        limiter.changed(full).await;
        assert!(limiter.permit().is_ok());
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_process_sent_counts_too() {
        tokio::time::advance(SECOND * 100).await;
        let limiter = Limiter::new(&[limit(10, SECOND * 60)]);
        limiter.remember(7, SECOND * 50);
        limiter.remember(5, SECOND * 70);
        let permits: Vec<_> = std::iter::from_fn(|| limiter.permit().ok()).collect();
        assert_eq!(permits.len(), 3);
        assert_eq!(limiter.full().unwrap().wait, Some(SECOND * 10));
    }
}
