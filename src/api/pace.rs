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
/// The first wait after a 429 that does not say how long.
const UNASKED_PAUSE: Duration = Duration::from_secs(1);
/// 429 answers to one request before it is given up, where no time budget ends it.
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

/// A success that cannot be read is a gateway's stumble or stays as it is: it is not asked for as often.
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
            // The sender lives in `self`, so this ends only when it is told to.
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
                    // The others go on, so this is no spent budget.
                    let reason = Reason::Throttled { wait };
                    let mut error = throttled.unwrap_or_else(|| Error::new(doing.clone(), reason, ""));
                    error.reason = reason;
                    error.problem.status = Some(429);
                    return Err(error);
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
                done => {
                    if done.is_ok() {
                        self.throttling.note_success(&subject, sent_at);
                    }
                    return done;
                }
            };
            // Whoever waits gives its place up, or those that are throttled would keep the others from theirs.
            slot.take();
            times += 1;
            let wait = pause_length(error.problem.retry_after, times, self.patience.backoff_start);
            error.reason = Reason::Throttled { wait };
            match self.throttling.note_throttled(&subject, sent_at, wait) {
                Pause::Shared => self.pause(wait),
                Pause::Own => info!(
                    wait_ms = wait.as_millis(),
                    "{doing}: it alone pauses for {}: 429 again, while others are answered",
                    length(wait)
                ),
            }
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
                let told = format!(
                    "no more than {} requests are sent in {}, and the next may go in {}",
                    full.limit.requests,
                    length(full.limit.length),
                    length(wait)
                );
                return Err(Error::new(doing.clone(), Reason::BudgetSpent { asked: None }, told));
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
            // A pause that grows meanwhile is looked at again at once.
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
            // A 429 was waited for in `send` already, as long as is sane.
            .when(|error| error.is_retriable() && !matches!(error.reason, Reason::Throttled { .. }))
            .adjust(|error, backoff| {
                // A gateway's 504 is a timeout that somebody else noticed.
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
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::api::error::Problem;

    const SECOND: Duration = Duration::from_secs(1);

    fn gate(deadline: Option<Duration>) -> Gate {
        let patience = Patience { max_attempts: 6, backoff_start: Duration::from_millis(500) };
        Gate::new(2, deadline.map(|budget| Instant::now() + budget), patience, &[])
    }

    fn error(reason: Reason, retry_after: Option<Duration>) -> Error {
        Error {
            doing: Doing::GetToken,
            reason,
            problem: Box::new(Problem { retry_after, ..Problem::default() }),
        }
    }

    fn throttled(retry_after: Option<Duration>) -> Error {
        error(Reason::Throttled { wait: Duration::ZERO }, retry_after)
    }

    /// A request that fails as told, one entry for each time it is sent, and then succeeds. Gives the
    /// outcome and how long after the start each was sent.
    async fn run(
        gate: &Gate,
        max_timeouts: usize,
        failures: Vec<Error>,
    ) -> (Result<(), Error>, Vec<Duration>) {
        let begun = Instant::now();
        let (sent, failures) = (RefCell::new(Vec::new()), RefCell::new(failures.into_iter()));
        let request = || async {
            sent.borrow_mut().push(begun.elapsed());
            failures.borrow_mut().next().map_or(Ok(()), Err)
        };
        let work =
            gate.persist(max_timeouts, || async { gate.send(&Doing::GetToken, &mut None, request).await });
        let outcome = gate.bound(&Doing::GetToken, work).await;
        (outcome, sent.into_inner())
    }

    #[test]
    fn every_form_of_a_wait_is_read() {
        let now = httpdate::parse_http_date("Tue, 24 Nov 2026 03:00:00 GMT").unwrap();
        let parse = |pairs: &[(&'static str, &str)]| {
            let headers: HeaderMap =
                pairs.iter().map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            parse_retry_after(&headers, now).map(|wait| wait.as_millis())
        };
        let standard = |value| parse(&[("retry-after", value)]);
        assert_eq!(standard("30"), Some(30_000));
        assert_eq!(standard(" 2 "), Some(2_000));
        assert_eq!(standard("0"), Some(0));
        assert_eq!(standard("1.5"), Some(1_500));
        assert_eq!(standard("Tue, 24 Nov 2026 03:00:07 GMT"), Some(7_000));
        assert_eq!(standard("Tue, 24 Nov 2026 02:00:00 GMT"), Some(0));
        assert_eq!(standard("99999999999999999999999"), Some(24 * 3_600_000));
        for nonsense in ["", "soon", "-5", "inf", "NaN", "1e9", "1.2.3"] {
            assert_eq!(standard(nonsense), None, "{nonsense}");
        }
        let older = "itwinplatform-ratelimit-retry-after-seconds";
        assert_eq!(parse(&[(older, "12")]), Some(12_000));
        assert_eq!(parse(&[("retry-after", "soon"), (older, "12")]), Some(12_000));
        assert_eq!(parse(&[("retry-after", "3"), (older, "12")]), Some(3_000));
        assert_eq!(parse(&[]), None);
    }

    #[test]
    fn a_pause_nobody_measured_doubles_up_to_a_minute() {
        let start = Duration::from_millis(500);
        let unasked = |times| pause_length(None, times, start);
        assert_eq!([unasked(1), unasked(2), unasked(3)], [SECOND, SECOND * 2, SECOND * 4]);
        assert_eq!(unasked(u32::MAX), SECOND * 60);
        let zero = |times| pause_length(Some(Duration::ZERO), times, start);
        assert_eq!([zero(1), zero(2), zero(3)], [Duration::ZERO, start, start * 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_is_waited_for_as_asked_and_costs_no_attempt() {
        let asked = (1..=20).map(|_| throttled(Some(SECOND * 30))).collect();
        let (outcome, sent) = run(&gate(None), 6, asked).await;
        outcome.unwrap();
        assert_eq!(sent.len(), 21);
        assert_eq!(sent[20].as_secs(), 600);
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_without_end_ends() {
        let asked = (0..500).map(|_| throttled(None)).collect();
        let (outcome, sent) = run(&gate(None), 6, asked).await;
        assert_eq!(outcome.unwrap_err().reason, Reason::Throttled { wait: SECOND * 60 });
        assert_eq!(sent.len(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_throttled_pauses_all() {
        let gate = gate(None);
        let begun = Instant::now();
        let once = Cell::new(true);
        let mut slot = None;
        let first = gate.send(&Doing::GetToken, &mut slot, || {
            let first = once.replace(false);
            async move { if first { Err(throttled(Some(SECOND * 9))) } else { Ok(()) } }
        });
        let second = async {
            assert_eq!(gate.paused_for(), Some(SECOND * 9));
            gate.send(&Doing::GetToken, &mut None, || async { Ok(begun.elapsed()) }).await
        };
        let (first, second) = tokio::join!(first, second);
        first.unwrap();
        assert_eq!(second.unwrap().as_secs(), 9);
        assert_eq!(gate.paused_for(), None);
    }

    fn list(connection: &str) -> Doing {
        Doing::ListRuns { connection: connection.parse().unwrap(), skip: 0 }
    }

    /// 429 for ever to one connection, which asks for an hour; the other has 100 pages of a second each. There
    /// is one place for requests in flight, which the one that waits does not keep.
    #[tokio::test(start_paused = true)]
    async fn a_connection_throttled_alone_takes_no_time_from_the_others() {
        let patience = Patience { max_attempts: 6, backoff_start: SECOND };
        let gate = Gate::new(1, Some(Instant::now() + SECOND * 1_000), patience, &[]);
        let begun = Instant::now();
        let first = Cell::new(true);
        let bad = async {
            let mut slot = Some(gate.slot(&list("bad")).await.unwrap());
            let bad = list("bad");
            let request = || async {
                tokio::time::sleep(SECOND / 10).await;
                // The first wait is short; later ones are longer than the budget.
                let wait = if first.replace(false) { SECOND * 5 } else { SECOND * 30 };
                Err::<(), _>(throttled(Some(wait)))
            };
            gate.send(&bad, &mut slot, request).await
        };
        let good = async {
            let good = list("good");
            for _ in 0..100 {
                let mut slot = Some(gate.slot(&good).await.unwrap());
                let request = || async {
                    tokio::time::sleep(SECOND).await;
                    Ok::<_, Error>(())
                };
                gate.send(&good, &mut slot, request).await.unwrap();
            }
            begun.elapsed()
        };
        let whom = list("bad");
        let (outcome, elapsed) = tokio::join!(gate.bound(&whom, bad), good);
        outcome.unwrap_err();
        // Two shared pauses at most: the first, and one more until the other connection has been answered.
        assert!(elapsed < SECOND * 150, "{elapsed:?}");
    }

    /// The wait of one connection outlasts the budget: that is no reason to stop the others.
    #[tokio::test(start_paused = true)]
    async fn a_pause_of_one_connection_beyond_the_budget_fails_that_connection() {
        let gate = gate(Some(SECOND * 60));
        let times = Cell::new(0);
        let mut slot = None;
        let bad = list("bad");
        let work = gate.send(&bad, &mut slot, || {
            times.set(times.get() + 1);
            let wait = if times.get() == 1 { SECOND } else { SECOND * 3_600 };
            gate.throttling.note_success("other", Instant::now());
            async move { Err::<(), _>(throttled(Some(wait))) }
        });
        let error = work.await.unwrap_err();
        assert_eq!((error.reason, times.get()), (Reason::Throttled { wait: SECOND * 3_600 }, 2));
        assert!(error.is_about_one());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_beyond_the_budget_gives_up_at_once_and_says_what_was_asked() {
        let (outcome, sent) = run(&gate(Some(SECOND * 20)), 6, vec![throttled(Some(SECOND * 30))]).await;
        let error = outcome.unwrap_err();
        assert_eq!(sent, [Duration::ZERO]);
        assert!(matches!(error.reason, Reason::BudgetSpent { asked: Some(asked) } if asked == SECOND * 30));
        let told =
            "asking for a token: the time budget ends before the 30s that the token issuer asks to wait";
        assert_eq!(error.to_string(), told);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backoff_beyond_the_budget_gives_up_at_once() {
        let begun = Instant::now();
        let failures = vec![error(Reason::Unavailable, Some(SECOND * 5))];
        let (outcome, _) = run(&gate(Some(SECOND * 4)), 6, failures).await;
        assert_eq!(outcome.unwrap_err().reason, Reason::BudgetSpent { asked: None });
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_outlasts_the_budget_is_ended_with_it() {
        let gate = gate(Some(SECOND * 4));
        let begun = Instant::now();
        let mut slot = None;
        let work = gate.send(&Doing::GetToken, &mut slot, std::future::pending::<Result<(), Error>>);
        let outcome = gate.bound(&Doing::GetToken, work).await;
        assert_eq!(outcome.unwrap_err().reason, Reason::BudgetSpent { asked: None });
        assert_eq!(begun.elapsed().as_secs(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_retried_with_growing_waits_and_then_given_up() {
        let failures = (0..9).map(|_| error(Reason::Unavailable, None)).collect();
        let (outcome, sent) = run(&gate(None), 6, failures).await;
        assert_eq!(outcome.unwrap_err().reason, Reason::Unavailable);
        assert_eq!(sent.len(), 6);
        for (nth, pair) in sent.windows(2).enumerate() {
            let (wait, least) = (pair[1] - pair[0], Duration::from_millis(500 << nth));
            // Tokio's clock counts milliseconds.
            assert!(wait >= least && wait <= least * 2 + Duration::from_millis(2), "{nth}: {wait:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_wrong_is_not_retried() {
        for reason in [Reason::Forbidden, Reason::NotFound, Reason::PageTooLarge, Reason::Rejected] {
            let (outcome, sent) = run(&gate(None), 6, vec![error(reason, None)]).await;
            assert_eq!((outcome.unwrap_err().reason, sent.len()), (reason, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_is_repeated_once_where_less_can_be_asked_for() {
        let timeouts = || (0..9).map(|_| error(Reason::TimedOut { after: SECOND }, None)).collect();
        assert_eq!(run(&gate(None), 2, timeouts()).await.1.len(), 2);
        assert_eq!(run(&gate(None), 6, timeouts()).await.1.len(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_ends_running_and_later_requests() {
        let gate = gate(None);
        let work = gate.bound(&Doing::GetToken, std::future::pending::<Result<(), Error>>());
        let (outcome, ()) = tokio::join!(work, async { gate.stop() });
        assert_eq!(outcome.unwrap_err().reason, Reason::Stopped);
        let (outcome, sent) = run(&gate, 6, Vec::new()).await;
        assert_eq!((outcome.unwrap_err().reason, sent.len()), (Reason::Stopped, 0));
    }
}
