//! Whether a 429 is about the client's quota, which all requests share, or about one thing alone.
//!
//! In: what was asked for, when it was sent, and how it was answered. Out: whether a 429 pauses all requests
//! or those about the same thing. The first always pauses all. What is throttled again after that pause,
//! while requests about other things that were sent after it succeeded, pauses alone: the quota of the
//! client was not spent.
//!
//! A pause longer than a minute is more than the quota of a minute asks for. It is kept by the thing that it was
//! said of, and by the others only for a moment, after which one of them tries: or a single connection that asks
//! for hours would take every sync from all others. Where several are told the same, all pause.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The longest pause that all requests keep because of the first 429 about one thing. The platform counts its
/// quotas by the minute.
const LONGEST_SHARED: Duration = Duration::from_secs(60);
/// How long all requests pause where a longer pause is asked for, before another thing is asked about.
const BEFORE_PROBE: Duration = Duration::from_secs(20);
/// Things that were told to pause for long, one after the other and without an answer between them, from which on
/// the quota of the client is spent.
const SPENT_FOR: usize = 3;

/// Who is paused by a 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// All requests, for so long.
    Shared(Duration),
    /// Requests about the same thing.
    Own,
}

/// What was seen of 429 and of success, thing by thing: a connection, an iModel's list.
#[derive(Debug, Default)]
pub(super) struct Throttling(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// What was throttled since its last success.
    throttled: HashMap<String, Streak>,
    /// The latest pause of all requests: what began it, and when it ends.
    shared: Option<(String, Instant)>,
    /// When requests that succeeded were sent: the latest, and the latest about another thing.
    latest: Option<(String, Instant)>,
    latest_other: Option<(String, Instant)>,
}

/// 429 answers about one thing in a row.
#[derive(Debug, Clone, Copy)]
struct Streak {
    /// When the first pause that they caused ends or ended.
    first_ends: Instant,
    /// When the first of them came, where it asked for a long pause.
    long_since: Option<Instant>,
    /// Until when it alone is paused.
    paused_until: Option<Instant>,
}

impl Throttling {
    /// What is left of the pause of this thing alone.
    pub(super) fn paused_for(&self, subject: &str) -> Option<Duration> {
        let until = self.seen().throttled.get(subject)?.paused_until?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Notes that a request about this thing, sent at this time, succeeded.
    pub(super) fn record_success(&self, subject: &str, sent_at: Instant) {
        let mut seen = self.seen();
        // Only a request that was sent after the pause shows that the platform answers again; one that was sent
        // before it may have passed just before the limit was reached.
        if seen.throttled.get(subject).is_some_and(|streak| sent_at >= streak.first_ends) {
            seen.throttled.remove(subject);
        }
        match &mut seen.latest {
            Some((latest, at)) if latest == subject => *at = sent_at.max(*at),
            latest => {
                let before = latest.replace((subject.to_owned(), sent_at));
                seen.latest_other = before;
            }
        }
    }

    /// Notes a 429 to a request that was sent at this time, and says who pauses.
    pub(super) fn record_throttled(&self, subject: &str, sent_at: Instant, wait: Duration) -> Pause {
        let mut seen = self.seen();
        let ends = Instant::now() + wait;
        if let Some(streak) =
            seen.throttled.get(subject).copied().filter(|streak| sent_at >= streak.first_ends)
        {
            // What succeeded before another thing paused all requests does not show that the quota has room now.
            let shared = seen.shared.as_ref().filter(|(by, _)| by != subject).map(|(_, ends)| *ends);
            let since = shared.map_or(streak.first_ends, |ends| ends.max(streak.first_ends));
            let others = [&seen.latest, &seen.latest_other].into_iter().flatten();
            if others.filter(|(other, _)| other != subject).any(|(_, sent_at)| *sent_at >= since) {
                let paused_until = Some(ends).max(streak.paused_until);
                seen.throttled.insert(subject.to_owned(), Streak { paused_until, ..streak });
                return Pause::Own;
            }
        } else {
            // Several requests about this thing may have been under way; their 429s belong to the first pause.
            let streak = seen.throttled.entry(subject.to_owned());
            let first = Streak { first_ends: ends, long_since: None, paused_until: None };
            let streak = streak.or_insert(first);
            streak.first_ends = streak.first_ends.max(ends);
            if wait > LONGEST_SHARED {
                streak.long_since.get_or_insert_with(Instant::now);
                streak.paused_until = Some(ends).max(streak.paused_until);
                if seen.count_long() < SPENT_FOR {
                    seen.shared = Some((subject.to_owned(), Instant::now() + BEFORE_PROBE));
                    return Pause::Shared(BEFORE_PROBE);
                }
            }
        }
        let is_longer = seen.shared.as_ref().is_none_or(|(_, other)| *other < ends);
        if is_longer {
            seen.shared = Some((subject.to_owned(), ends));
        }
        Pause::Shared(wait)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing panics while the lock is held, and each statement leaves the maps consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Things that were told to pause for long since any request last succeeded.
    fn count_long(&self) -> usize {
        let answered = self.latest.as_ref().map(|(_, sent_at)| *sent_at);
        let since = self.throttled.values().filter_map(|streak| streak.long_since);
        since.filter(|since| answered.is_none_or(|answered| answered < *since)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_is_throttled_alone_pauses_alone_after_the_first_time() {
        let seen = Throttling::default();
        assert_eq!(seen.record_throttled("a", Instant::now(), SECOND * 9), Pause::Shared(SECOND * 9));
        // In flight with the first.
        assert_eq!(seen.record_throttled("a", Instant::now(), SECOND * 9), Pause::Shared(SECOND * 9));
        seen.record_success("b", Instant::now());
        tokio::time::advance(SECOND * 9).await;
        // What succeeded before the pause ended proves nothing.
        let sent_at = Instant::now();
        assert_eq!(seen.record_throttled("a", sent_at, SECOND * 9), Pause::Shared(SECOND * 9));
        seen.record_success("b", sent_at);
        tokio::time::advance(SECOND * 9).await;
        assert_eq!(seen.record_throttled("a", Instant::now(), SECOND * 9), Pause::Own);
        assert_eq!((seen.paused_for("a"), seen.paused_for("b")), (Some(SECOND * 9), None));
        // Another connection's first 429 pauses all, and makes what was seen before worthless.
        tokio::time::advance(SECOND * 9).await;
        assert_eq!(seen.record_throttled("b", Instant::now(), SECOND), Pause::Shared(SECOND));
        tokio::time::advance(SECOND).await;
        assert_eq!(seen.record_throttled("a", Instant::now(), SECOND), Pause::Shared(SECOND));
        // After a success the next 429 is a first one again.
        tokio::time::advance(SECOND).await;
        seen.record_success("a", Instant::now());
        seen.record_success("b", Instant::now());
        assert_eq!(seen.record_throttled("a", Instant::now(), SECOND), Pause::Shared(SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn one_thing_alone_is_never_known_to_be_throttled_alone() {
        let seen = Throttling::default();
        for _ in 0..20 {
            assert_eq!(seen.record_throttled("a", Instant::now(), SECOND), Pause::Shared(SECOND));
            tokio::time::advance(SECOND).await;
        }
        assert_eq!(seen.paused_for("a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_of_one_thing_holds_the_others_for_a_moment_and_of_several_for_all_of_it() {
        let hour = SECOND * 3_600;
        let seen = Throttling::default();
        assert_eq!(seen.record_throttled("a", Instant::now(), hour), Pause::Shared(BEFORE_PROBE));
        assert_eq!(seen.paused_for("a"), Some(hour));
        tokio::time::advance(BEFORE_PROBE).await;
        // Others are answered, so each that is told the same later is alone, too.
        for other in ["b", "c", "d"] {
            seen.record_success("z", Instant::now());
            tokio::time::advance(SECOND).await;
            assert_eq!(seen.record_throttled(other, Instant::now(), hour), Pause::Shared(BEFORE_PROBE));
            tokio::time::advance(BEFORE_PROBE).await;
        }

        let seen = Throttling::default();
        for thing in ["a", "b"] {
            assert_eq!(seen.record_throttled(thing, Instant::now(), hour), Pause::Shared(BEFORE_PROBE));
            tokio::time::advance(BEFORE_PROBE).await;
        }
        assert_eq!(seen.record_throttled("c", Instant::now(), hour), Pause::Shared(hour));
    }
}
