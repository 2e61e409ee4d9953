//! Which period a report is asked about: as typed, and worked out by counting days.

use chrono::{Datelike, Days, Months};
use chrono_tz::Tz;
use proptest::prelude::*;
use proptest::sample::select;

use super::clock::{self, MILLISECOND, SECOND, Ticks, start_of, stored};

/// What is typed after `archive report`, and what it means.
#[derive(Debug, Clone)]
pub struct Scene {
    pub zone: Tz,
    pub as_of: Ticks,
    pub since: Option<String>,
    pub until: Option<String>,
    pub compare: Option<String>,
    pub period: (Ticks, Ticks),
    pub compared: (Ticks, Ticks),
}

/// Around changes of the clock, one of them at midnight, which is skipped or comes twice.
const PLACES: [(Tz, &str); 12] = [
    (Tz::UTC, "2026-11-24T06:30:00Z"),
    (Tz::Europe__Berlin, "2026-04-01T12:00:00Z"),
    (Tz::Europe__Berlin, "2026-03-29T22:30:00.1234567Z"),
    (Tz::Europe__Berlin, "2026-10-28T23:30:00Z"),
    (Tz::America__New_York, "2026-03-11T03:30:00Z"),
    (Tz::America__New_York, "2026-11-04T12:00:00Z"),
    (Tz::Africa__Cairo, "2026-04-27T10:00:00Z"),
    (Tz::Africa__Cairo, "2026-11-01T22:30:00Z"),
    (Tz::America__Havana, "2026-03-10T05:00:00Z"),
    (Tz::America__Havana, "2026-11-03T05:00:07Z"),
    (Tz::Asia__Kolkata, "2026-06-15T19:00:00Z"),
    (Tz::Pacific__Chatham, "2026-04-07T12:30:00Z"),
];

/// How a period is asked for.
#[derive(Debug, Clone)]
enum Way {
    Default,
    Days(u64),
    LastWeek,
    LastMonth,
    Dates(u64, u64),
    Instants(i64, i64),
    Since(u64),
    SinceLongAgo,
}

pub fn scene() -> impl Strategy<Value = Scene> {
    let way = prop_oneof![
        6 => Just(Way::Default),
        3 => (1_u64..30).prop_map(Way::Days),
        1 => (70_u64..100).prop_map(Way::Days),
        2 => Just(Way::LastWeek),
        1 => Just(Way::LastMonth),
        3 => (1_u64..20, 1_u64..20).prop_map(|(days, length)| Way::Dates(days + length, length)),
        3 => (1_i64..900_000, 1_i64..900_000).prop_map(|(ago, length)| Way::Instants(ago, length)),
        2 => (0_u64..10).prop_map(Way::Since),
        1 => Just(Way::SinceLongAgo),
    ];
    let compare = prop_oneof![5 => Just(None), 1 => (3_u64..40, 1_u64..10).prop_map(Some), 1 => (3_u64..40).prop_map(|ago| Some((ago, 0)))];
    (select(&PLACES[..]), way, compare)
        .prop_map(|((zone, as_of), way, compare)| build(zone, clock::ticks(as_of), &way, compare))
}

fn build(zone: Tz, as_of: Ticks, way: &Way, compare: Option<(u64, u64)>) -> Scene {
    let today = clock::local_date(zone, as_of);
    let ago = |days: u64| today - Days::new(days);
    let start = |days: u64| start_of(zone, ago(days));
    let date = |days: u64| Some(ago(days).to_string());
    let (since, until, period) = match *way {
        Way::Default => (None, None, (start(7), start(0))),
        Way::Days(days) => (Some(format!("{days}d")), None, (start(days), start(0))),
        Way::LastWeek => {
            let monday = u64::from(today.weekday().num_days_from_monday());
            (Some("last-week".to_owned()), None, (start(monday + 7), start(monday)))
        }
        Way::LastMonth => {
            let first = today.with_day(1).unwrap();
            let period = (start_of(zone, first - Months::new(1)), start_of(zone, first));
            (Some("last-month".to_owned()), None, period)
        }
        Way::Dates(from, length) => (date(from), date(from - length), (start(from), start(from - length))),
        Way::Instants(ago, length) => {
            // A tick more than seconds, so that nothing is round.
            let since = as_of - (ago + length) * SECOND - 1;
            let until = since + length * SECOND + 3;
            (Some(stored(since)), Some(stored(until)), (since, until))
        }
        Way::Since(days) => (date(days), None, (start(days), as_of)),
        Way::SinceLongAgo => {
            (Some("2019-01-01".to_owned()), None, (start_of(zone, "2019-01-01".parse().unwrap()), as_of))
        }
    };
    let (compare, compared) = match compare {
        None => (None, before(zone, period)),
        Some((from, 0)) => (Some(ago(from).to_string()), same_length(zone, period, ago(from))),
        Some((from, length)) => {
            let (since, until) = (ago(from + length), ago(from));
            let period = (start_of(zone, since), start_of(zone, until));
            (Some(format!("{since}..{until}")), period)
        }
    };
    Scene { zone, as_of, since, until, compare, period, compared }
}

/// Days from one local midnight to another; `None` where one of them is none.
fn days(zone: Tz, (since, until): (Ticks, Ticks)) -> Option<u64> {
    let [from, to] = [since, until].map(|at| clock::local_date(zone, at));
    let is_whole = start_of(zone, from) == since && start_of(zone, to) == until;
    is_whole.then(|| (to - from).num_days().unsigned_abs())
}

/// As many days where they are whole, and as many ticks otherwise.
fn before(zone: Tz, period: (Ticks, Ticks)) -> (Ticks, Ticks) {
    let (since, until) = period;
    match days(zone, period) {
        Some(days) => (start_of(zone, clock::local_date(zone, since) - Days::new(days)), since),
        None => (since - (until - since), since),
    }
}

fn same_length(zone: Tz, period: (Ticks, Ticks), from: chrono::NaiveDate) -> (Ticks, Ticks) {
    let since = start_of(zone, from);
    match days(zone, period) {
        Some(days) => (since, start_of(zone, from + Days::new(days))),
        None => (since, since + (period.1 - period.0)),
    }
}

impl Scene {
    /// The arguments of `archive report`.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments =
            vec!["--as-of".to_owned(), stored(self.as_of), "--tz".to_owned(), self.zone.name().to_owned()];
        for (name, value) in
            [("--since", &self.since), ("--until", &self.until), ("--compare", &self.compare)]
        {
            if let Some(value) = value {
                arguments.extend([name.to_owned(), value.clone()]);
            }
        }
        arguments
    }

    /// Instants at which it matters on which side a run starts.
    pub fn anchors(&self) -> Vec<Ticks> {
        let mut anchors = vec![self.period.0, self.period.1, self.compared.0, self.compared.1, self.as_of];
        let ends = [self.period.1, self.as_of - 86_400 * SECOND, self.as_of - 86_400 * SECOND - MILLISECOND];
        anchors.extend(ends);
        let month_ago = self.as_of - 40 * 86_400 * SECOND;
        let change = clock::offsets(self.zone, month_ago, self.as_of);
        anchors.extend(change.into_iter().filter_map(|(since, _)| since));
        anchors.extend(clock::cut(self.zone, self.period.1 - 9 * 86_400 * SECOND, self.period.1, false));
        anchors.extend(clock::weeks_before(self.zone, self.as_of, 12));
        // What lies years back would make its runs the first of a span of years.
        anchors.retain(|at| (self.as_of - at).abs() < 200 * 86_400 * SECOND);
        anchors
    }
}
