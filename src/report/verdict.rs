//! What the whole report comes down to, as facts: `render` makes the sentences.
//!
//! In: the finished figures. Out: how the runs stand, how far the archive is whole, and which rates are above
//! the threshold.

use super::asked::Asked;
use super::figures::{
    Actor, Alarm, Attention, ComparedRate, ConnectionRate, Coverage, Incident, Report, Verdict,
};
use crate::time::UtcText;

/// What can be said of the period's runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    NothingArchived,
    /// No run started in the period.
    NoRuns {
        /// Runs of the period compared with.
        before: u64,
    },
    /// Runs started, and not one of them can be rated yet.
    NoneRated,
    /// There is a failure rate.
    Rated,
}

/// How far the connections that the platform still knows are archived whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArchivedWhole {
    /// Of this many connections nothing was ever proved whole.
    Unproved { connections: u64 },
    /// Not up to the end of the period.
    Short(UtcText),
    /// To an instant that is later than that of the report: it was made for one that is past.
    Beyond(UtcText),
    /// At least up to the end of the period.
    Enough(UtcText),
}

impl Report {
    /// What can be said of the period's runs.
    pub(crate) fn standing(&self) -> Standing {
        let now = &self.total.now;
        if self.coverage.connections.is_empty() {
            return Standing::NothingArchived;
        }
        if now.runs == 0 {
            return Standing::NoRuns { before: self.total.before.runs };
        }
        if now.failure_rate.is_none() { Standing::NoneRated } else { Standing::Rated }
    }

    /// How far the archive is whole; nothing where nothing is archived.
    pub(crate) fn archived_whole(&self) -> Option<ArchivedWhole> {
        let connections = &self.coverage.connections;
        if connections.is_empty() {
            return None;
        }
        let Some(complete) = self.verdict.complete_as_of else {
            let never = connections.iter().filter(|connection| connection.complete_as_of.is_none());
            return Some(ArchivedWhole::Unproved { connections: never.count() as u64 });
        };
        Some(if complete < self.period.until {
            ArchivedWhole::Short(complete)
        } else if complete > self.as_of {
            ArchivedWhole::Beyond(complete)
        } else {
            ArchivedWhole::Enough(complete)
        })
    }
}

pub(super) fn verdict(
    asked: &Asked,
    total: &ComparedRate,
    connections: &[ConnectionRate],
    coverage: &Coverage,
    incidents: &[Incident],
) -> Verdict {
    // A connection that the platform no longer knows will not get any fresher.
    let mut followed =
        coverage.connections.iter().filter(|connection| connection.unlisted_at.is_none()).peekable();
    let is_any = followed.peek().is_some();
    let complete_as_of: Option<Vec<_>> = followed.map(|connection| connection.complete_as_of).collect();
    let complete_as_of = complete_as_of.filter(|_| is_any).and_then(|times| times.into_iter().min());

    let is_period_covered = complete_as_of.is_some_and(|complete| complete >= asked.period.until);
    // Without a connection that the platform still knows, nothing is missing that could still come.
    let is_whole = is_period_covered || !is_any;
    Verdict {
        text: None,
        attention: (!coverage.connections.is_empty()).then(|| attention(incidents, is_whole)),
        headline: None,
        direction: total.direction,
        complete_as_of,
        is_period_covered,
        alarms: alarms(asked, total, connections),
    }
}

fn attention(incidents: &[Incident], is_whole: bool) -> Attention {
    let is_open = |actor| incidents.iter().any(|incident| incident.is_open && incident.actor == actor);
    if is_open(Actor::Users) {
        Attention::Act
    } else if is_open(Actor::Unknown) {
        Attention::Look
    } else if is_open(Actor::Platform) {
        Attention::Wait
    } else if !is_whole {
        Attention::Unsure
    } else if incidents.is_empty() {
        Attention::Quiet
    } else {
        Attention::Over
    }
}

fn alarms(asked: &Asked, total: &ComparedRate, connections: &[ConnectionRate]) -> Vec<Alarm> {
    let Some(threshold) = asked.fail_over else { return Vec::new() };
    let alarm = |of: Option<&ConnectionRate>, rate: &ComparedRate| {
        let failure_rate = rate.now.failure_rate?;
        let is_over = failure_rate > threshold && rate.now.rated >= asked.min_runs;
        is_over.then(|| Alarm {
            connection: of.map(|of| of.connection.clone()),
            connection_id: of.map(|of| of.connection_id.clone()),
            kind: of.map(|of| of.kind.clone()),
            failure_rate,
            threshold,
        })
    };
    let each = connections.iter().filter_map(|connection| alarm(Some(connection), &connection.rate));
    alarm(None, total).into_iter().chain(each).collect()
}
