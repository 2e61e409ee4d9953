//! Waits, pauses and retries on a clock that stands still unless a test lets it run.

use std::cell::{Cell, RefCell};

use super::*;
use crate::api::error::Problem;

const SECOND: Duration = Duration::from_secs(1);

fn gate(deadline: Option<Duration>) -> Gate {
    let patience = Patience { max_attempts: 6, backoff_start: Duration::from_millis(500) };
    Gate::new(2, deadline.map(|budget| Instant::now() + budget), patience, &[])
}

fn error(reason: Reason, retry_after: Option<Duration>) -> Error {
    Error { doing: Doing::GetToken, reason, problem: Box::new(Problem { retry_after, ..Problem::default() }) }
}

fn throttled(retry_after: Option<Duration>) -> Error {
    error(Reason::Throttled { wait: Duration::ZERO }, retry_after)
}

/// A request that fails as told, one entry for each time it is sent, and then succeeds. Gives the
/// outcome and how long after the start each was sent.
async fn run(gate: &Gate, max_timeouts: usize, failures: Vec<Error>) -> (Result<(), Error>, Vec<Duration>) {
    let begun = Instant::now();
    let (sent, failures) = (RefCell::new(Vec::new()), RefCell::new(failures.into_iter()));
    let request = || async {
        sent.borrow_mut().push(begun.elapsed());
        failures.borrow_mut().next().map_or(Ok(()), Err)
    };
    let work = gate.persist(max_timeouts, || async { gate.send(&Doing::GetToken, &mut None, request).await });
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

/// One connection asks for two hours at its first request, the others are answered: they lose a moment of an hour.
#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_for_hours_at_once_takes_the_hour_from_no_other() {
    let patience = Patience { max_attempts: 6, backoff_start: SECOND };
    let gate = Gate::new(1, Some(Instant::now() + SECOND * 3_600), patience, &[]);
    let bad = list("bad");
    let hours = || async { Err::<(), _>(throttled(Some(SECOND * 7_200))) };
    let error = gate.send(&bad, &mut None, hours).await.unwrap_err();
    assert_eq!(error.reason, Reason::PauseTooLong { asked: SECOND * 7_200 });
    assert!(error.is_about_one());

    let begun = Instant::now();
    let good = list("good");
    for _ in 0..100 {
        gate.send(&good, &mut None, || async { Ok::<_, Error>(()) }).await.unwrap();
    }
    assert!(begun.elapsed() <= SECOND * 30, "{:?}", begun.elapsed());
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
        gate.throttling.record_success("other", Instant::now());
        async move { Err::<(), _>(throttled(Some(wait))) }
    });
    let error = work.await.unwrap_err();
    assert_eq!((error.reason, times.get()), (Reason::PauseTooLong { asked: SECOND * 3_600 }, 2));
    assert!(error.is_about_one());
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_budget_gives_up_at_once_and_says_what_was_asked() {
    let (outcome, sent) = run(&gate(Some(SECOND * 20)), 6, vec![throttled(Some(SECOND * 30))]).await;
    let error = outcome.unwrap_err();
    assert_eq!(sent, [Duration::ZERO]);
    assert!(matches!(error.reason, Reason::BudgetSpent { asked: Some(asked) } if asked == SECOND * 30));
    let told = "asking for a token: the time budget ends before the 30s that the token issuer asks to wait";
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
