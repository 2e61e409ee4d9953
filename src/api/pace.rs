//! One gate for all requests of this process: how many at a time, when, and how often again.
//!
//! In: requests as futures. Out: their answers, after the pauses that the platform asks for (429, shared
//! by all requests because the quota is, unless `lone` knows better), after retries with backoff and
//! jitter, and within the time budget. It knows errors by their meaning and nothing of HTTP but the headers
//! that ask for a wait.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tracing::info;

use super::error::{Doing, Error, Reason, header, length};
use super::limit::{Limiter, Permit, RequestLimit};
use super::lone::{Pause, Throttling};

/// The longest wait between two attempts that nobody asked for.
const BACKOFF_CAP: Duration = Duration::from_secs(60);
/// The longest wait taken from a header: the platform counts requests per hour, so more is nonsense.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// The first wait after a 429 that does not say how long; each next one is twice as long.
const UNASKED_PAUSE: Duration = Duration::from_secs(1);
/// 429 answers to one request before it is given up, where no time budget ends it. With pauses that double up
/// to a minute a hundred of them take an hour and a half, and the longest quota is counted over an hour.
const MAX_THROTTLED: u32 = 100;

/// How often and how fast a request is repeated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Attempts in all, at least 1; pauses asked for by a 429 do not count.
    pub(super) max_attempts: usize,
    /// The first wait; each next one is twice as long, up to a minute, and up to as much again by chance.
    pub(super) backoff_start: Duration,
}

/// The gate that each request passes.
#[derive(Debug)]
pub(super) struct Gate {
    patience: Patience,
    deadline: Option<Instant>,
    slots: Arc<Semaphore>,
    paused_until: watch::Sender<Option<Instant>>,
    throttling: Throttling,
    limiter: Limiter,
    stopped: watch::Sender<bool>,
}

/// Attempts at an answer that comes with status 200 and cannot be read. A gateway's page is gone by the second
/// or third; an answer that is broken itself will not get better.
const MAX_UNREADABLE: usize = 3;

impl Gate {
    /// A gate for `in_flight` requests at a time (at least one).
    pub(super) fn new(
        in_flight: usize,
        deadline: Option<Instant>,
        patience: Patience,
        limits: &[RequestLimit],
    ) -> Self {
        Self {
            patience,
            deadline,
            slots: Arc::new(Semaphore::new(in_flight.clamp(1, Semaphore::MAX_PERMITS))),
            paused_until: watch::Sender::new(None),
            throttling: Throttling::default(),
            limiter: Limiter::new(limits),
            stopped: watch::Sender::new(false),
        }
    }

    /// What is left of the shared pause.
    pub(super) fn paused_for(&self) -> Option<Duration> {
        let until = (*self.paused_until.borrow())?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// How long no request may be sent, for whatever reason.
    pub(super) fn held_for(&self) -> Option<Duration> {
        self.paused_for().max(self.limiter.full().and_then(|full| full.wait))
    }

    /// Counts requests of another process against the limits.
    pub(super) fn remember(&self, requests: u64, ago: Duration) {
        self.limiter.remember(requests, ago);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Ends every running and later request.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Runs `work` until it is done, the time budget is spent or the client is stopped.
    pub(super) async fn bound<T>(
        &self,
        doing: &Doing,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut stopped = self.stopped.subscribe();
        let end = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // The sender lives in `self`, so the wait ends only when `stop` was called.
            _ = stopped.wait_for(|stopped| *stopped) => Err(Error::new(doing.clone(), Reason::Stopped, "")),
            () = end => Err(Error::new(doing.clone(), Reason::BudgetSpent { asked: None }, "")),
            done = work => done,
        }
    }

    /// Waits for a place among the requests in flight. It is held until the answer has been used.
    pub(super) async fn slot(&self, doing: &Doing) -> Result<OwnedSemaphorePermit, Error> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        slot.map_err(|_| Error::new(doing.clone(), Reason::Stopped, ""))
    }

    /// Sends a request once no pause is on for it, and again after each 429, which begins a pause. A place
    /// among the requests in flight is given up meanwhile and taken again.
    pub(super) async fn send<T, F>(
        &self,
        doing: &Doing,
        slot: &mut Option<OwnedSemaphorePermit>,
        request: impl Fn() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let subject = doing.subject();
        let has_slot = slot.is_some();
        let mut throttled = None;
        let mut times = 0;
        loop {
            while let Some(wait) = self.throttling.paused_for(&subject) {
                if !self.has_time_for(wait) {
                    return Err(outlasts_budget(doing, throttled, wait));
                }
                slot.take();
                tokio::time::sleep(wait).await;
            }
            self.pass_pause(doing, throttled.as_ref()).await?;
            if has_slot && slot.is_none() {
                *slot = Some(self.slot(doing).await?);
            }
            let permit = self.turn(doing, throttled.as_ref()).await?;

            let sent_at = Instant::now();
            let answer = request().await;
            drop(permit);
            let mut error = match answer {
                Err(error) if matches!(error.reason, Reason::Throttled { .. }) => error,
                Err(error) => return Err(error),
                Ok(done) => {
                    self.throttling.record_success(&subject, sent_at);
                    return Ok(done);
                }
            };

            // Whoever waits gives its place up, or those that are throttled would keep the others from theirs.
            slot.take();
            times += 1;
            let wait = pause_length(error.problem.retry_after, times, self.patience.backoff_start);
            error.reason = Reason::Throttled { wait };
            match self.throttling.record_throttled(&subject, sent_at, wait) {
                Pause::Shared(wait) => self.pause(wait),
                Pause::Own => info!(
                    wait_ms = wait.as_millis(),
                    "{doing}: it alone pauses for {}: 429 again, while others are answered",
                    length(wait)
                ),
            }
            // Without a time budget nothing else would end this loop.
            if self.deadline.is_none() && times >= MAX_THROTTLED {
                return Err(error);
            }
            throttled = Some(error);
        }
    }

    /// Waits until no pause is on and the limits let a request pass; gives up at once where that outlasts
    /// the time budget. `throttled` is the answer that began the wait, if it was one to this request.
    async fn turn(&self, doing: &Doing, throttled: Option<&Error>) -> Result<Permit<'_>, Error> {
        loop {
            self.pass_pause(doing, throttled).await?;
            let full = match self.limiter.permit() {
                Ok(permit) => return Ok(permit),
                Err(full) => full,
            };
            if let Some(wait) = full.wait.filter(|wait| !self.has_time_for(*wait)) {
                let message = format!(
                    "no more than {} requests are sent in {}, and the next may go in {}",
                    full.limit.requests,
                    length(full.limit.length),
                    length(wait)
                );
                return Err(Error::new(doing.clone(), Reason::BudgetSpent { asked: None }, message));
            }
            self.limiter.changed(full).await;
        }
    }

    async fn pass_pause(&self, doing: &Doing, throttled: Option<&Error>) -> Result<(), Error> {
        while let Some(wait) = self.paused_for() {
            if !self.has_time_for(wait) {
                let reason = Reason::BudgetSpent { asked: Some(wait) };
                let mut error = Error::new(doing.clone(), reason, "");
                if let Some(throttled) = throttled {
                    error.problem = throttled.problem.clone();
                }
                return Err(error);
            }
            // Another request may prolong the pause meanwhile; then the time that is left is computed anew.
            let mut grown = self.paused_until.subscribe();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = grown.changed() => {}
            }
        }
        Ok(())
    }

    /// Lets no request begin for `wait`. A longer pause that is on stays.
    fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let grown = self.paused_until.send_if_modified(|paused_until| {
            let grows = *paused_until < Some(until);
            if grows {
                *paused_until = Some(until);
            }
            grows
        });
        if grown && !wait.is_zero() {
            info!(wait_ms = wait.as_millis(), "all requests pause for {}: rate limit (429)", length(wait));
        }
    }

    fn has_time_for(&self, wait: Duration) -> bool {
        self.deadline.is_none_or(|deadline| Instant::now() + wait < deadline)
    }

    /// Makes attempts until one succeeds, fails for good, or enough were made; at most `max_timeouts`
    /// of them may time out.
    pub(super) async fn persist<T, F>(
        &self,
        max_timeouts: usize,
        attempt: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(self.patience.backoff_start)
            .with_max_delay(BACKOFF_CAP)
            .with_factor(2.0)
            .with_jitter()
            .with_max_times(self.patience.max_attempts.saturating_sub(1));
        let (mut timeouts, mut unreadable) = (0, 0);
        let mut late = false;
        let done = attempt
            .retry(backoff)
            // `send` has waited for 429s already, up to `MAX_THROTTLED` of them.
            .when(|error| error.is_retriable() && !matches!(error.reason, Reason::Throttled { .. }))
            .adjust(|error, backoff| {
                // With 504 a gateway says that the service behind it timed out, as our own timeout would.
                let is_timeout = matches!(error.reason, Reason::TimedOut { .. });
                timeouts += usize::from(is_timeout || error.problem.status == Some(504));
                unreadable += usize::from(error.reason == Reason::Unreadable);
                if timeouts >= max_timeouts || unreadable >= MAX_UNREADABLE {
                    return None;
                }
                let asked = error.problem.retry_after.unwrap_or_default();
                let wait = backoff?.max(asked.min(BACKOFF_CAP));
                late = !self.has_time_for(wait);
                (!late).then_some(wait)
            })
            .notify(|error, wait| {
                info!(wait_ms = wait.as_millis(), "{error}; trying again in {}", length(wait));
            })
            .await;
        done.map_err(|mut error| {
            if late {
                if let Reason::TimedOut { after } = error.reason {
                    error.problem.message = Some(format!("no complete answer within {}", length(after)));
                }
                error.reason = Reason::BudgetSpent { asked: None };
            }
            error
        })
    }
}

/// The error of a request whose own pause outlasts the time budget. The others go on, so the budget is not
/// spent for them.
fn outlasts_budget(doing: &Doing, throttled: Option<Error>, wait: Duration) -> Error {
    let reason = Reason::PauseTooLong { asked: wait };
    let mut error = throttled.unwrap_or_else(|| Error::new(doing.clone(), reason, ""));
    error.reason = reason;
    error.problem.status = Some(429);
    error
}

/// The wait that the headers of an answer ask for: `Retry-After` in seconds or as a date, else the
/// platform's older header in seconds. A date that is past asks for none. At most a day.
pub(super) fn parse_retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let standard = header(headers, "retry-after").map(str::trim).and_then(|text| {
        let date = || httpdate::parse_http_date(text).ok();
        let until = || date().map(|date| date.duration_since(now).unwrap_or_default());
        parse_seconds(text).or_else(until)
    });
    let older = || header(headers, "itwinplatform-ratelimit-retry-after-seconds").map(str::trim);
    let asked = standard.or_else(|| older().and_then(parse_seconds));
    asked.map(|wait| wait.min(LONGEST_PAUSE))
}

/// Seconds as digits, with a fraction or without; more of them than fit are still many.
fn parse_seconds(text: &str) -> Option<Duration> {
    let is_number = text.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|character| character.is_ascii_digit() || character == '.');
    let seconds = text.parse::<f64>().ok().filter(|_| is_number)?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// The pause after the `times`th 429 in a row (from 1): what was asked; from a second on and doubling
/// where nothing was. A server that keeps asking for none is not asked without end at full speed.
fn pause_length(asked: Option<Duration>, times: u32, backoff_start: Duration) -> Duration {
    let doubled = |start: Duration, times: u32| start.saturating_mul(1 << times.min(16)).min(BACKOFF_CAP);
    match asked {
        None => doubled(UNASKED_PAUSE, times - 1),
        Some(Duration::ZERO) if times > 1 => doubled(backoff_start, times - 2),
        Some(wait) => wait.min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests;
