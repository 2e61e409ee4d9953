//! The report as `--format json` tells it, put together from counted answers and exact fractions.

use serde_json::{Map, Value, json};

use super::answers::{Answers, Asked, Level, Ranked, object, rate};
use super::clock::{self, SECOND, Ticks, stored};
use super::scene::Scene;
use super::world::{Run, World};

/// What is asked besides the period.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Places of connections; `None`: all.
    pub connections: Option<Vec<usize>>,
    pub min_runs: u64,
    /// In percent.
    pub fail_over: Option<u32>,
}

/// A p-value as a fraction.
#[derive(Debug, Clone, Copy)]
struct Fraction {
    part: u128,
    whole: u128,
}

impl Fraction {
    fn value(self) -> f64 {
        self.part as f64 / self.whole as f64
    }

    fn is_at_most(self, part: u128, whole: u128) -> bool {
        self.part * whole <= part * self.whole
    }
}

fn choose(n: u64, k: u64) -> u128 {
    (0..k).fold(1, |product, i| product * u128::from(n - i) / u128::from(i + 1))
}

/// Fisher's exact test: of all tables with these margins, what part is not likelier than this one.
fn fisher((failed, rated): (u64, u64), (failed_before, rated_before): (u64, u64)) -> Option<Fraction> {
    let all = failed + failed_before;
    let tables = |failed: u64| choose(rated, failed) * choose(rated_before, all - failed);
    let possible = (0..=all).filter(|&failed| failed <= rated && all - failed <= rated_before);
    let part = possible.map(tables).filter(|&ways| ways <= tables(failed)).sum();
    (rated > 0 && rated_before > 0).then(|| Fraction { part, whole: choose(rated + rated_before, all) })
}

/// Wilson's interval as the roots of its own equation, (p - rate)² n = z² p (1 - p).
fn wilson(failed: u64, rated: u64) -> Value {
    if rated == 0 {
        return Value::Null;
    }
    let (n, z2) = (rated as f64, 1.959_963_984_540_054_f64.powi(2));
    let rate = failed as f64 / n;
    // a p² + b p + c = 0
    let (a, b, c) = (n + z2, -(2.0 * rate * n + z2), rate * rate * n);
    let root = (b * b - 4.0 * a * c).max(0.0).sqrt();
    json!({ "low": (-b - root) / (2.0 * a), "high": (-b + root) / (2.0 * a) })
}

fn count(rate: &Map<String, Value>, name: &str) -> u64 {
    rate[name].as_u64().unwrap()
}

fn with_interval(mut rate: Map<String, Value>) -> Value {
    let interval = wilson(count(&rate, "failed"), count(&rate, "rated"));
    rate.insert("interval".to_owned(), interval);
    Value::Object(rate)
}

/// Two rates side by side, still without a direction, and their p-value.
fn compared<'a>(
    now: impl Iterator<Item = &'a Run>,
    before: impl Iterator<Item = &'a Run>,
) -> (Map<String, Value>, Option<Fraction>) {
    let (now, before) = (rate(now), rate(before));
    let table = |rate: &Map<String, Value>| (count(rate, "failed"), count(rate, "rated"));
    let p = fisher(table(&now), table(&before));
    let share = |rate: &Map<String, Value>| rate["failure_rate"].as_f64();
    let difference = share(&now).zip(share(&before)).map(|(now, before)| now - before);
    let all = json!({
        "now": with_interval(now),
        "before": with_interval(before),
        "difference": difference,
        "p_value": p.map(Fraction::value),
    });
    (object(all), p)
}

/// Adds the direction, where a test supports it or not.
fn directed(mut compared: Map<String, Value>, is_supported: bool) -> Map<String, Value> {
    let direction = match compared["difference"].as_f64() {
        None => "not_comparable",
        Some(_) if !is_supported => "no_clear_change",
        Some(difference) if difference > 0.0 => "worse",
        Some(_) => "better",
    };
    compared.insert("direction".to_owned(), json!(direction));
    compared
}

fn merged(one: Value, other: Map<String, Value>) -> Value {
    let mut all = object(one);
    all.extend(other);
    Value::Object(all)
}

fn ranked(found: Option<Ranked>) -> Value {
    found.map_or(Value::Null, |found| merged(json!({ "count": found.count }), found.columns()))
}

/// A row with these columns only.
fn columns(row: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), row[*name].clone())).collect::<Map<_, _>>().into()
}

fn period((since, until): (Ticks, Ticks)) -> Value {
    json!({ "since": stored(since), "until": stored(until) })
}

struct Sides<'a> {
    now: Answers<'a>,
    before: Answers<'a>,
}

impl<'a> Sides<'a> {
    fn new(world: &'a World, asked: &Asked, scene: &Scene) -> Self {
        let of = |(since, until): (Ticks, Ticks)| Answers::new(world, &asked.between(since, until));
        Self { now: of(scene.period), before: of(scene.compared) }
    }

    fn percentiles(&self, level: Level) -> Value {
        json!({ "now": ranked(self.now.percentiles(level)), "before": ranked(self.before.percentiles(level)) })
    }
}

/// The report as it must be told, without `verdict.text`; `None` of `weeks` where the calendar is too odd.
pub fn report(world: &World, scene: &Scene, wanted: &Wanted) -> Value {
    let asked = Asked { since: None, until: None, connections: wanted.connections.clone() };
    let all = Sides::new(world, &asked, scene);

    // Connections with a run on either side, the worst first.
    let mut connections: Vec<(usize, Map<String, Value>, Option<Fraction>)> = all
        .now
        .connections()
        .into_iter()
        .map(|connection| {
            let sides = Sides::new(world, &asked.only(connection), scene);
            let (rates, p) = compared(sides.now.runs(), sides.before.runs());
            (connection, rates, p)
        })
        .filter(|(_, rates, _)| rates["now"]["runs"] != 0 || rates["before"]["runs"] != 0)
        .collect();
    connections.sort_by_key(|(_, rates, _)| std::cmp::Reverse(rates["now"]["failed"].as_u64()));

    // Benjamini and Hochberg: the largest p-value of rank k among m that is at most 5 % of k / m, and all below.
    let mut p_values: Vec<Fraction> = connections.iter().filter_map(|(.., p)| *p).collect();
    p_values.sort_by(|one, other| one.value().total_cmp(&other.value()));
    let tested = p_values.len() as u128;
    let discoveries = (1_u128..).zip(&p_values).filter(|(rank, p)| p.is_at_most(*rank, 20 * tested)).last();
    let discovery = discoveries.map(|(_, p)| p.value());
    let order: Vec<usize> = connections.iter().map(|(connection, ..)| *connection).collect();
    let connections: Vec<Value> = connections
        .into_iter()
        .map(|(connection, rates, p)| {
            let is_supported = p.zip(discovery).is_some_and(|(p, most)| p.value() <= most);
            merged(all.now.named(connection), directed(rates, is_supported))
        })
        .collect();
    let (total, p) = compared(all.now.runs(), all.before.runs());
    let total = directed(total, p.is_some_and(|p| p.is_at_most(1, 20)));

    let in_direction = |direction: &str| -> Vec<&Value> {
        connections.iter().filter(|connection| connection["direction"] == direction).collect()
    };
    let changed = all.now.error_changes(scene.compared);
    let changes = |change: &str| -> Vec<Value> {
        let side =
            if change == "gone" { ["runs_before", "connections_before"] } else { ["runs", "connections"] };
        let told = changed.iter().filter(|row| row["change"] == change).map(|row| {
            json!({
                "error_code": row["error_code"],
                "description_key": row["description_key"],
                "runs": row[side[0]],
                "connections": row[side[1]],
                "last_seen_before": row["last_seen_before"],
            })
        });
        told.collect()
    };
    let durations = durations(world, &asked, scene, &all, &order);
    let moved = moved(&durations, wanted.min_runs);
    let alarms = alarms(&total, &connections, wanted);
    json!({
        "as_of": stored(scene.as_of),
        "zone": scene.zone.name(),
        "period": period(scene.period),
        "compared_with": period(scene.compared),
        "restricted_to": wanted.connections.iter().flatten().map(|&place| &world.connections[place].label).collect::<Vec<_>>(),
        "min_runs": wanted.min_runs,
        "verdict": {
            "direction": total["direction"],
            "complete_as_of": null,
            "is_period_covered": false,
            "alarms": alarms,
        },
        "changes": {
            "newly_failing": in_direction("worse"),
            "recovered": in_direction("better"),
            "new_errors": changes("new"),
            "returned_errors": changes("returned"),
            "gone_errors": changes("gone"),
            "durations": moved,
        },
        "failing": failing(&all.now, scene.as_of),
        "errors": errors(&all.now, &changed),
        "durations": durations,
        "retries": retries(&all),
        "slowest": all.now.slowest(10),
        "unfinished": unfinished(&all.now, scene.as_of),
        "masked": masked(&all),
        "weeks": weeks(world, &asked, scene),
        "buckets": buckets(world, &asked, scene, &order),
        "coverage": coverage(&all.now),
        "total": total,
        "connections": connections,
    })
}

fn alarms(total: &Map<String, Value>, connections: &[Value], wanted: &Wanted) -> Vec<Value> {
    let Some(percent) = wanted.fail_over else { return Vec::new() };
    let is_over = |now: &Value| {
        let [failed, rated] = ["failed", "rated"].map(|name| now[name].as_u64().unwrap());
        rated > 0 && rated >= wanted.min_runs && failed * 100 > u64::from(percent) * rated
    };
    let alarm = |of: &Value, now: &Value| {
        json!({
            "connection": of["connection"],
            "connection_id": of["connection_id"],
            "kind": of["kind"],
            "failure_rate": now["failure_rate"],
            "threshold": f64::from(percent) / 100.0,
        })
    };
    let mut alarms = Vec::new();
    if is_over(&total["now"]) {
        alarms.push(alarm(&Value::Null, &total["now"]));
    }
    for connection in connections.iter().filter(|connection| is_over(&connection["now"])) {
        alarms.push(alarm(connection, &connection["now"]));
    }
    alarms
}

fn durations(world: &World, asked: &Asked, scene: &Scene, all: &Sides<'_>, order: &[usize]) -> Value {
    let by_connection = order.iter().map(|&connection| {
        let sides = Sides::new(world, &asked.only(connection), scene);
        let both =
            json!({ "runs": sides.percentiles(Level::Runs), "queue": sides.percentiles(Level::Queue) });
        merged(all.now.named(connection), object(both))
    });
    json!({
        "runs": all.percentiles(Level::Runs),
        "jobs": all.percentiles(Level::Jobs),
        "tasks": all.percentiles(Level::Tasks),
        "queue": all.percentiles(Level::Queue),
        "by_connection": by_connection.collect::<Vec<_>>(),
    })
}

/// Medians that moved by a quarter and a second, of enough values, and whose intervals do not meet.
fn moved(durations: &Value, min_runs: u64) -> Vec<Value> {
    let mut found: Vec<(bool, i64, Value)> = Vec::new();
    let mut look = |of: &Value, level: &str, sides: &Value| {
        let at = |side: &str, name: &str| sides[side][name].as_i64();
        let (Some(now), Some(before)) = (at("now", "p50_ms"), at("before", "p50_ms")) else { return };
        let is_above = |one: &str, other: &str| {
            at(one, "p50_low_ms").zip(at(other, "p50_high_ms")).is_some_and(|(low, high)| low > high)
        };
        let is_enough = |side: &str| sides[side]["count"].as_u64().unwrap() >= min_runs;
        let difference = now - before;
        let is_moved = difference.abs() >= 1_000
            && 4 * difference.abs() >= before
            && (is_above("now", "before") || is_above("before", "now"))
            && is_enough("now")
            && is_enough("before");
        if is_moved {
            let change = json!({
                "connection": of["connection"],
                "connection_id": of["connection_id"],
                "kind": of["kind"],
                "level": level,
                "now_ms": now,
                "before_ms": before,
                "direction": if difference > 0 { "worse" } else { "better" },
            });
            found.push((!of.is_null(), -difference.abs(), change));
        }
    };
    look(&Value::Null, "run", &durations["runs"]);
    look(&Value::Null, "queue", &durations["queue"]);
    for connection in durations["by_connection"].as_array().unwrap() {
        look(connection, "run", &connection["runs"]);
        look(connection, "queue", &connection["queue"]);
    }
    found.sort_by_key(|(is_one, size, _)| (*is_one, *size));
    found.into_iter().map(|(.., change)| change).collect()
}

fn failing(now: &Answers<'_>, as_of: Ticks) -> Value {
    let rows = now.failing_streaks(as_of);
    let names = [
        "connection",
        "connection_id",
        "kind",
        "failures",
        "failing_since",
        "last_success_at",
        "since_last_success_ms",
    ];
    let streaks = rows.iter().filter(|row| row["failures"] != 0).map(|row| columns(row, &names));
    let sum = |name: &str| rows.iter().map(|row| row[name].as_i64().unwrap()).sum::<i64>();
    json!({
        "streaks": streaks.collect::<Vec<_>>(),
        "recoveries": sum("recoveries"),
        "mean_time_to_recovery_ms": sum("recovery_ms_in_all").checked_div(sum("recoveries")),
    })
}

fn errors(now: &Answers<'_>, changed: &[Value]) -> Value {
    let told = |fix: Value| -> Vec<Value> {
        let rows = now.error_codes().into_iter().filter(|row| row["can_user_fix"] == fix);
        rows.map(|mut row| {
            let is_same = |change: &&Value| {
                ["error_code", "description_key"].iter().all(|name| change[name] == row[name])
            };
            let change = changed.iter().find(is_same).unwrap();
            let (runs_before, novelty) = (change["runs_before"].clone(), change["change"].clone());
            if row["kb_article_link"] != "https://example.org/article" {
                row["kb_article_link"] = Value::Null;
            }
            row["runs_before"] = runs_before;
            row["novelty"] = novelty;
            row.as_object_mut().unwrap().remove("can_user_fix");
            row
        })
        .collect()
    };
    json!({ "users": told(json!(1)), "system": told(json!(0)), "unknown": told(Value::Null), "not_shown": 0 })
}

fn retries(all: &Sides<'_>) -> Value {
    let (now, before) = (all.now.retries(), all.before.retries());
    let sum = |rows: &[Value], name: &str| rows.iter().map(|row| row[name].as_i64().unwrap()).sum::<i64>();
    let by_connection = now.iter().filter(|row| row["attempts"] != 0).map(|row| {
        json!({
            "connection": row["connection"],
            "connection_id": row["connection_id"],
            "kind": row["kind"],
            "retried_tasks": row["retried_tasks"],
            "attempts": row["attempts"],
            "runs": row["retried_runs"],
        })
    });
    json!({
        "tasks": sum(&now, "tasks"),
        "retried_tasks": sum(&now, "retried_tasks"),
        "attempts": sum(&now, "attempts"),
        "runs": sum(&now, "retried_runs"),
        "attempts_before": sum(&before, "attempts"),
        "by_connection": by_connection.collect::<Vec<_>>(),
    })
}

fn unfinished(now: &Answers<'_>, as_of: Ticks) -> Value {
    let rows = now.unfinished(as_of, 24, Some(20));
    let first = |name: &str| rows.first().map_or(json!(0), |row| row[name].clone());
    let names = ["connection", "connection_id", "kind", "run_id", "state", "started_at", "age_ms"];
    let oldest = rows.iter().map(|row| {
        let flags = ["is_stuck", "is_unlisted"].map(|name| (name.to_owned(), json!(row[name] == 1)));
        merged(columns(row, &names), flags.into_iter().collect())
    });
    json!({
        "runs": first("unfinished_in_all"),
        "stuck": first("stuck_in_all"),
        "unlisted": first("unlisted_in_all"),
        "oldest": oldest.collect::<Vec<_>>(),
    })
}

fn masked(all: &Sides<'_>) -> Value {
    let rows = all.now.masked_failures(Some(20));
    let newest = rows.into_iter().map(|mut row| {
        row.as_object_mut().unwrap().remove("masked_in_all");
        row
    });
    json!({
        "runs": all.now.masked().len(),
        "succeeded": all.now.runs().filter(|run| run.outcome == "succeeded").count(),
        "runs_before": all.before.masked().len(),
        "newest": newest.collect::<Vec<_>>(),
    })
}

/// Null where the zone's clock skips the time of day at which the weeks begin.
fn weeks(world: &World, asked: &Asked, scene: &Scene) -> Value {
    let (zone, until) = (scene.zone, scene.period.1);
    let is_midnight = clock::start_of(zone, clock::local_date(zone, until)) == until;
    let bounds: Option<Vec<Ticks>> = if is_midnight {
        Some(clock::weeks_before(zone, until, 12))
    } else {
        (0..=12).rev().map(|week| clock::same_time_before(zone, until, 7 * week)).collect()
    };
    let Some(bounds) = bounds else { return Value::Null };
    let week = |bounds: &[Ticks]| {
        let answers = Answers::new(world, &asked.between(bounds[0], bounds[1]));
        json!({
            "period": period((bounds[0], bounds[1])),
            "rate": with_interval(rate(answers.runs())),
            "durations": ranked(answers.percentiles(Level::Runs)),
        })
    };
    bounds.windows(2).map(week).collect()
}

fn buckets(world: &World, asked: &Asked, scene: &Scene, order: &[usize]) -> Value {
    let (since, until) = scene.period;
    // Far longer than 62 days, whatever the zone's clock does.
    let is_long = (until - since) / SECOND > 100 * 86_400;
    let days = if is_long { Vec::new() } else { clock::cut(scene.zone, since, until, false) };
    let is_day = !is_long && days.len() <= 63;
    let bounds = if is_day { days } else { clock::cut(scene.zone, since, until, true) };
    let cells = |asked: &Asked| -> Vec<Value> {
        let cell = |bounds: &[Ticks]| {
            with_interval(rate(Answers::new(world, &asked.between(bounds[0], bounds[1])).runs()))
        };
        bounds.windows(2).map(cell).collect()
    };
    let all = bounds
        .windows(2)
        .zip(cells(asked))
        .map(|(bounds, rate)| json!({ "period": period((bounds[0], bounds[1])), "rate": rate }));
    let row = |&connection: &usize| {
        let named = Answers::new(world, asked).named(connection);
        merged(named, object(json!({ "cells": cells(&asked.only(connection)) })))
    };
    json!({
        "unit": if is_day { "day" } else { "week" },
        "all": all.collect::<Vec<_>>(),
        "by_connection": order.iter().map(row).collect::<Vec<_>>(),
    })
}

fn coverage(now: &Answers<'_>) -> Value {
    let mut rows = now.coverage();
    let sum = |name: &str| rows.iter().map(|row| row[name].as_i64().unwrap()).sum::<i64>();
    let (rejects, without_start) = (sum("rejects"), sum("without_start"));
    for row in &mut rows {
        // What was pruned stands in a report only where something was.
        for name in
            ["without_start", "clock_ahead_at", "pruned", "pruned_before", "pruned_at", "connection_key"]
        {
            row.as_object_mut().unwrap().remove(name);
        }
    }
    json!({
        "connections": rows,
        "gaps": [],
        "rejects": rejects,
        "runs_without_start": without_start,
        "last_sync": null,
    })
}

/// Where the two differ first, if they do; numbers with a fraction may by the last digits of their sums.
pub fn difference(path: &str, found: &Value, expected: &Value) -> Option<String> {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            let names = |object: &Map<String, Value>| {
                object.keys().cloned().collect::<std::collections::BTreeSet<_>>()
            };
            let (has, must) = (names(found), names(expected));
            if has != must {
                return Some(format!(
                    "{path} has {:?}, expected {:?}",
                    has.difference(&must),
                    must.difference(&has)
                ));
            }
            found
                .iter()
                .find_map(|(name, value)| difference(&format!("{path}.{name}"), value, &expected[name]))
        }
        (Value::Array(found), Value::Array(expected)) => {
            let each = found.iter().zip(expected).enumerate();
            let first = |(at, (found, expected)): (usize, (&Value, &Value))| {
                difference(&format!("{path}[{at}]"), found, expected)
            };
            each.into_iter().find_map(first).or_else(|| {
                let (has, must) = (found.len(), expected.len());
                (has != must).then(|| format!("{path} has {has} elements, expected {must}"))
            })
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            ((one - other).abs() > 1e-9).then(|| format!("{path} is {one}, expected {other}"))
        }
        (found, expected) => (found != expected).then(|| format!("{path} is {found}, expected {expected}")),
    }
}
