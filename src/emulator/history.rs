//! Believable runs, the same for the same seed: what the demo shows, and what tests and benchmarks page.
//!
//! A run is planned whole and then written as the platform would show it at a moment: queued, executing,
//! or completed. So `advance` can tell how the runs that [`platform`] left unfinished went on.

use chrono::{DateTime, Datelike as _, TimeDelta, Utc, Weekday};
use fastrand::Rng;

use super::holdings::{Connection, Imodel, Itwin};
use super::listing::{Listing, Run, hash};
use super::platform::Platform;

mod failure;
mod fleet;
mod plan;
mod simple;
mod text;

pub use self::fleet::fleet;
use self::plan::{Habit, RunPlan};
pub use self::simple::{manifest_run, simple_run, synchronization_run};
pub use self::text::stamp;
use self::text::{connection_id, uuid};

/// How far back the demo's history goes.
const DAYS: i64 = 122;

/// What tells the demo's connections apart.
struct Site {
    /// The connection's name: its iModel's, a dash, and what is made of it.
    name: &'static str,
    habit: Habit,
    /// The most runs on a working day, and the most at the weekend.
    runs_a_day: (u32, u32),
}

impl Site {
    fn imodel_name(&self) -> &'static str {
        self.name.split_once(" – ").map_or(self.name, |(imodel, _)| imodel)
    }
}

const SITES: [Site; 5] = [
    Site { name: "Riverside Hospital – IFC nightly", habit: Habit::Healthy, runs_a_day: (5, 1) },
    Site { name: "Harbour Bridge – IFC4.3 alignment", habit: Habit::Healthy, runs_a_day: (4, 1) },
    Site { name: "Metro Line 4 depot – IFC2x3 handover", habit: Habit::Retrying, runs_a_day: (6, 2) },
    Site { name: "Airport Terminal C – sheets as PDF", habit: Habit::Interrupted, runs_a_day: (5, 1) },
    Site { name: "Greenfield Water Works – as-built IFC", habit: Habit::Masking, runs_a_day: (3, 0) },
];

/// The site that begins to fail with an error it never had, and when: while time goes on.
const BREAKING: usize = 0;
const BREAKS_AFTER: TimeDelta = TimeDelta::hours(30);

/// The site whose id begins with a hyphen, as one in 64 does.
const HYPHENATED: usize = 3;

/// The site whose oldest runs the platform drops when time goes on, and how many.
const FORGETTING: usize = 1;
const FORGOTTEN: usize = 3;

/// The iTwin that all of them are in.
const ITWIN: &str = "Northern District programme";

/// The demo's platform as it stands at `now`: one iTwin of five iModels, each with one connection with four
/// months of runs, some unfinished.
#[must_use]
pub fn platform(now: DateTime<Utc>, seed: u64) -> Platform {
    let broken_since = now + BREAKS_AFTER;
    let itwin_id = uuid(Rng::with_seed(hash("itwin", seed)).u128(..));
    let mut platform = Platform::default();
    for (index, site) in SITES.iter().enumerate() {
        let (id, imodel_id) = connection_ids(index, seed);
        let mut plans = plan_between(index, now - TimeDelta::days(DAYS), now, broken_since, seed);
        plans.extend(plan_live(index, now, broken_since, seed));
        plans.sort_by_key(|plan| plan.start);
        let connection = Connection {
            imodel_id: imodel_id.clone(),
            itwin_id: itwin_id.clone(),
            listing: plans.iter().map(|plan| plan.as_seen_at(now)).collect(),
            ..Connection::new(site.name, Listing::new())
        };
        platform.connections.insert(id, connection);
        platform.imodels.insert(imodel_id, Imodel::new(&itwin_id, site.imodel_name()));
    }
    platform.itwins.insert(itwin_id, Itwin::new(ITWIN));
    platform
}

/// Time goes on from `from` to `to` on a platform made by [`platform`] (or left by this) at `from` with the
/// same seed: unfinished runs complete, new ones begin, some of them are unfinished at `to`, and one
/// connection no longer lists its oldest few. What else was put into the listings stays as it is.
pub(crate) fn advance(platform: &mut Platform, from: DateTime<Utc>, to: DateTime<Utc>, seed: u64) {
    let broken_since = from + BREAKS_AFTER;
    for index in 0..SITES.len() {
        let (id, _) = connection_ids(index, seed);
        let Some(connection) = platform.connections.get_mut(&id) else {
            continue;
        };
        // No run takes longer than a day, so all that were unfinished at `from` began within one.
        let mut begun = plan_between(index, from - TimeDelta::days(1), from, broken_since, seed);
        begun.extend(plan_live(index, from, broken_since, seed));
        for plan in begun.iter().filter(|plan| plan.end > from) {
            connection.listing.replace(plan.as_seen_at(to));
        }
        let mut new = plan_between(index, from, to, broken_since, seed);
        new.extend(plan_live(index, to, broken_since, seed));
        new.retain(|plan| plan.start > from);
        new.sort_by_key(|plan| plan.start);
        for plan in new {
            connection.listing.push_newest(plan.as_seen_at(to));
        }
        if index == FORGETTING {
            (0..FORGOTTEN).for_each(|_| drop(connection.listing.remove(0)));
        }
    }
}

/// One completed run: on average 1.5 jobs, 5 tasks, 0.8 errors and 1.9 KB of JSON. The last twelve digits
/// of its id are `number`.
#[must_use]
pub fn run(number: u64, started: DateTime<Utc>, rng: &mut Rng) -> Run {
    let mut plan = RunPlan::new(Habit::Average, started, rng);
    plan.id = plan.id & !0xffff_ffff_ffff | u128::from(number & 0xffff_ffff_ffff);
    plan.as_seen_at(DateTime::<Utc>::MAX_UTC)
}

/// `count` runs of [`run`]'s kind, about ten minutes apart, the newest begun shortly before `until`.
#[must_use]
pub fn listing(count: u64, until: DateTime<Utc>, seed: u64) -> Listing {
    let mut rng = Rng::with_seed(seed);
    let spacing = TimeDelta::minutes(10);
    (0..count)
        .map(|number| {
            let back = i32::try_from(count - number).unwrap_or(i32::MAX);
            let jitter = TimeDelta::nanoseconds(rng.i64(0..3_000_000_000) * 100);
            let started =
                until.checked_sub_signed(spacing * back).unwrap_or(DateTime::<Utc>::MIN_UTC) + jitter;
            run(number, started, &mut rng)
        })
        .collect()
}

/// A connection's id and its iModel's.
fn connection_ids(index: usize, seed: u64) -> (String, String) {
    let mut rng = rng_of(&SITES[index], "ids", 0, seed);
    let mut imodel = rng.u128(..);
    if index == HYPHENATED {
        // The first six bits sent are the upper ones of the first group's last byte: 62 is '-'.
        imodel = imodel & !(0xff << 96) | 0xf8 << 96;
    }
    let imodel_id = uuid(imodel);
    (connection_id(&imodel_id, &uuid(rng.u128(..))), imodel_id)
}

/// Hashed twice, so that one seed's days are not another's in another order.
fn rng_of(site: &Site, what: &str, number: i64, seed: u64) -> Rng {
    Rng::with_seed(hash(site.name, hash(what, seed).wrapping_add_signed(number)))
}

/// The scheduled runs of a site that begin after `after` and not after `until`.
fn plan_between(
    index: usize,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
    broken_since: DateTime<Utc>,
    seed: u64,
) -> Vec<RunPlan> {
    let site = &SITES[index];
    let days = after.date_naive().iter_days().take_while(|day| *day <= until.date_naive());
    let mut plans = Vec::new();
    for day in days {
        // A day's runs depend on the site, the day and the seed alone, whoever asks.
        let mut rng = rng_of(site, "day", i64::from(day.num_days_from_ce()), seed);
        let count = match day.weekday() {
            Weekday::Sat | Weekday::Sun => rng.u32(0..=site.runs_a_day.1),
            _ => rng.u32(2..=site.runs_a_day.0),
        };
        let midnight = day.and_time(chrono::NaiveTime::MIN).and_utc();
        for slot in 0..count {
            // One run at night, the others spread over the working day; they never meet, as the longest
            // takes an hour and a bit and slots are two hours.
            let (begin, spread) = if slot == 0 { (60, 100) } else { (330 + i64::from(slot) * 130, 50) };
            let offset = begin * 600_000_000 + rng.i64(0..spread * 600_000_000);
            let start = midnight + TimeDelta::nanoseconds(offset * 100);
            let habit = habit_at(index, start, broken_since);
            let plan = RunPlan::new(habit, start, &mut Rng::with_seed(rng.u64(..)));
            if plan.start > after && plan.start <= until {
                plans.push(plan);
            }
        }
    }
    plans
}

/// A run that is under way at `now`, on some of the sites: executing, executing without jobs yet, or queued.
fn plan_live(index: usize, now: DateTime<Utc>, broken_since: DateTime<Utc>, seed: u64) -> Option<RunPlan> {
    let (ago, job_in) = match index {
        0 => (TimeDelta::seconds(340), TimeDelta::seconds(-320)),
        2 => (TimeDelta::seconds(45), TimeDelta::seconds(150)),
        4 => (TimeDelta::seconds(75), TimeDelta::seconds(20)),
        _ => return None,
    };
    let mut rng = rng_of(&SITES[index], "live", now.timestamp(), seed);
    let start = now - ago - TimeDelta::nanoseconds(rng.i64(0..90_000_000) * 100);
    let mut plan = RunPlan::new(habit_at(index, start, broken_since), start, &mut rng);
    plan.keep_busy_at(now, now + job_in);
    Some(plan)
}

fn habit_at(index: usize, start: DateTime<Utc>, broken_since: DateTime<Utc>) -> Habit {
    if index == BREAKING && start > broken_since { Habit::Broken } else { SITES[index].habit }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn read(run: &Run) -> Value {
        let value: Value = serde_json::from_str(&run.json).unwrap();
        assert_eq!(value["id"], run.id.as_str());
        assert_eq!(value["startDateTime"], run.started.as_str());
        value
    }

    /// Every object of a run: itself, its jobs, their tasks.
    fn levels(run: &Value) -> Vec<&Value> {
        let list =
            |value: &'static str, of: &'_ Value| of[value].as_array().cloned().unwrap_or_default().len();
        let mut levels = vec![run];
        for job in 0..list("jobs", run) {
            levels.push(&run["jobs"][job]);
            for task in 0..list("tasks", &run["jobs"][job]) {
                levels.push(&run["jobs"][job]["tasks"][task]);
            }
        }
        levels
    }

    fn check_times(run: &Value, now: DateTime<Utc>) {
        for level in levels(run) {
            let times: Vec<_> = ["startDateTime", "endDateTime"]
                .iter()
                .filter_map(|name| level[name].as_str())
                .map(|text| {
                    assert!(
                        text.len() <= 28 && text.ends_with('Z') && !text.contains("0Z")
                            || !text.contains('.')
                    );
                    at(text)
                })
                .collect();
            assert!(times.is_sorted() && times.iter().all(|time| *time <= now), "{level}");
            assert_eq!(level["state"] == "Completed", times.len() == 2, "{level}");
            assert_eq!(level["state"] != "Completed", level["result"] == "Undetermined", "{level}");
        }
    }

    #[test]
    fn the_demo_is_the_same_for_the_same_seed_and_moment() {
        let now = at("2024-05-15T10:30:00Z");
        let (first, second) = (platform(now, 7), platform(now, 7));
        assert_eq!(first.connections, second.connections);
        assert_ne!(first.connections, platform(now, 8).connections);
    }

    #[test]
    fn the_whole_demo_is_found_from_its_itwin() {
        let platform = platform(at("2024-05-15T10:30:00Z"), 42);
        let itwins: Vec<_> = platform.itwins.iter().collect();
        let [(itwin_id, itwin)] = itwins.as_slice() else { panic!("{itwins:?}") };
        assert_eq!(itwin.display_name, "Northern District programme");
        let mut names = BTreeSet::new();
        for connection in platform.connections.values() {
            let imodel = &platform.imodels[&connection.imodel_id];
            assert_eq!((&connection.itwin_id, &imodel.itwin_id), (*itwin_id, *itwin_id));
            assert!(connection.display_name.starts_with(&imodel.display_name));
            names.insert(imodel.display_name.as_str());
        }
        let expected = [
            "Airport Terminal C",
            "Greenfield Water Works",
            "Harbour Bridge",
            "Metro Line 4 depot",
            "Riverside Hospital",
        ];
        assert_eq!(names, BTreeSet::from(expected));
        assert_eq!(platform.imodels.len(), expected.len());
    }

    #[test]
    fn the_demo_shows_every_kind_of_trouble() {
        let now = at("2024-05-15T10:30:00Z");
        let platform = platform(now, 42);
        assert_eq!(platform.connections.len(), 5);
        assert!(platform.connections.keys().all(|id| id.len() == 43));
        assert_eq!(platform.connections.keys().filter(|id| id.starts_with('-')).count(), 1);
        let mut seen = BTreeMap::<String, u32>::new();
        let mut ids = BTreeSet::new();
        for connection in platform.connections.values() {
            let starts: Vec<_> = connection.listing.iter().map(|run| at(&run.started)).collect();
            assert!(starts.is_sorted());
            assert!((120..=900).contains(&starts.len()), "{}", starts.len());
            for run in connection.listing.iter() {
                assert!(ids.insert(run.id.clone()));
                let run = read(run);
                check_times(&run, now);
                for level in levels(&run) {
                    for name in ["state", "result"] {
                        *seen.entry(format!("{name} {}", level[name])).or_default() += 1;
                    }
                    if let Some(key) = level["error"]["descriptionKey"].as_str() {
                        *seen.entry(format!("error {key}")).or_default() += 1;
                        if run["result"] == "Success" {
                            *seen.entry("masked".to_owned()).or_default() += 1;
                        }
                    }
                    if level["retryAttempts"].as_u64() > Some(0) {
                        *seen.entry("retried".to_owned()).or_default() += 1;
                    }
                }
                if run["state"] != "Completed" && run["jobs"].is_null() {
                    *seen.entry("unfinished without jobs".to_owned()).or_default() += 1;
                }
            }
        }
        for kind in [
            "state \"Queued\"",
            "state \"Executing\"",
            "result \"Canceled\"",
            "result \"Skipped\"",
            "result \"TimedOut\"",
            "result \"PartialSuccess\"",
            "result \"Error\"",
            "result \"Undetermined\"",
            "masked",
            "retried",
            "unfinished without jobs",
        ] {
            assert!(seen.contains_key(kind), "{kind} is missing: {seen:#?}");
        }
    }

    #[test]
    fn an_error_that_never_was_appears_while_time_goes_on() {
        let (from, to) = (at("2024-05-15T10:30:00Z"), at("2024-05-22T10:30:00Z"));
        let mut platform = platform(from, 42);
        let is_there = |platform: &Platform| {
            let mut runs = platform.connections.values().flat_map(|connection| connection.listing.iter());
            runs.any(|run| run.json.contains("SavedViewNotFound"))
        };
        assert!(!is_there(&platform));
        advance(&mut platform, from, to, 42);
        assert!(is_there(&platform));
    }

    #[test]
    fn time_goes_on_as_if_it_had_been_watched_from_the_start() {
        let (from, to) = (at("2024-05-15T10:30:00Z"), at("2024-05-17T16:00:00Z"));
        let before = platform(from, 42);
        let mut after = before.clone();
        advance(&mut after, from, to, 42);
        let mut all_dropped = Vec::new();
        for (id, connection) in &after.connections {
            let old = &before.connections[id].listing;
            let known: BTreeSet<_> = old.iter().map(|run| &run.id).collect();
            let listing = &connection.listing;
            assert!(listing.newest().unwrap().id != old.newest().unwrap().id);
            assert!(listing.iter().map(|run| at(&run.started)).is_sorted());
            for run in listing.iter() {
                let value = read(run);
                check_times(&value, to);
                assert!(!known.contains(&run.id) || value["state"] == "Completed", "{value}");
            }
            let dropped = old.iter().filter(|run| listing.get(&run.id).is_none()).count();
            all_dropped.push(dropped);
        }
        all_dropped.sort_unstable();
        assert_eq!(all_dropped, [0, 0, 0, 0, FORGOTTEN]);
        let unfinished = |platform: &Platform| {
            let runs = platform.connections.values().flat_map(|connection| connection.listing.iter());
            runs.filter(|run| read(run)["state"] != "Completed").count()
        };
        assert!(unfinished(&before) >= 3 && unfinished(&after) >= 3);
        let mut again = before.clone();
        advance(&mut again, from, to, 42);
        assert_eq!(again.connections, after.connections);
    }

    #[test]
    fn a_listing_has_the_promised_averages() {
        let listing = listing(4_000, at("2024-05-15T10:30:00Z"), 1);
        assert_eq!(listing.len(), 4_000);
        assert!(listing.iter().map(|run| at(&run.started)).is_sorted());
        let (mut bytes, mut jobs, mut tasks, mut errors) = (0, 0, 0, 0);
        for run in listing.iter() {
            let value = read(run);
            check_times(&value, DateTime::<Utc>::MAX_UTC);
            bytes += run.json.len();
            jobs += value["jobs"].as_array().unwrap().len();
            tasks += levels(&value).iter().filter(|level| level["retryAttempts"].is_u64()).count();
            errors += levels(&value).iter().filter(|level| level["error"].is_object()).count();
        }
        let mean = |sum: usize| sum as f64 / 4_000.0;
        assert!((1.4..1.6).contains(&mean(jobs)), "{} jobs", mean(jobs));
        assert!((4.7..5.3).contains(&mean(tasks)), "{} tasks", mean(tasks));
        assert!((0.7..0.9).contains(&mean(errors)), "{} errors", mean(errors));
        assert!((1_800.0..2_000.0).contains(&mean(bytes)), "{} bytes", mean(bytes));
    }
}
