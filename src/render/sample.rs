//! Reports for the tests of their formats: a rich one, poor ones, and any one at all.
//!
//! `sample.json` is what a real archive answered, so that its figures belong together. It is made again by
//! `archive demo --db sample.db`, `sqlite3 sample.db < src/render/sample.sql`, and
//! `archive --db sample.db report --format json --tz Europe/Berlin --fail-over 15 --min-runs 8` with
//! `--as-of` at half past six of the morning after the demo and `--connection` for each of its connections.
//!
//! All other reports are that one with values replaced, wherever its JSON has one that may be another: what
//! may stand at a place is found out by reading a report that has it there, so no field is forgotten.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::report::figures::*;

static RICH: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("sample.json")).unwrap());

fn read(json: &Value) -> Report {
    Report::deserialize_from(json).unwrap()
}

impl Report {
    fn deserialize_from(json: &Value) -> serde_json::Result<Self> {
        serde::Deserialize::deserialize(json)
    }
}

/// The same with lists of at most two, which is what a list's first and last need: hundreds of tests read it,
/// some with a megabyte in each text.
static SHORT: LazyLock<Value> = LazyLock::new(|| {
    fn cut(json: &mut Value) {
        match json {
            Value::Array(values) => {
                values.truncate(2);
                values.iter_mut().for_each(cut);
            }
            Value::Object(values) => values.values_mut().for_each(cut),
            _ => {}
        }
    }
    let mut json = RICH.clone();
    cut(&mut json);
    json
});

/// What may stand at a place of the JSON.
#[derive(Debug, Default, Clone, Copy)]
struct Takes {
    text: bool,
    count: bool,
    negative: bool,
    fraction: bool,
    null: bool,
}

/// By place, with `*` for the places of a list.
static TAKES: LazyLock<BTreeMap<String, Takes>> = LazyLock::new(|| {
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    visit(&mut RICH.clone(), &mut |place, _| {
        places.insert(general(place), place.to_owned());
    });
    let takes = |place: &String, value: Value| {
        let mut json = RICH.clone();
        *json.pointer_mut(place).unwrap() = value;
        Report::deserialize_from(&json).is_ok()
    };
    let takes = |place: &String| Takes {
        text: takes(place, json!("any text")),
        count: takes(place, json!(7)),
        negative: takes(place, json!(-7)),
        fraction: takes(place, json!(0.5)),
        null: takes(place, Value::Null),
    };
    places.into_iter().map(|(general, place)| (general, takes(&place))).collect()
});

/// Every value that is neither a list nor an object, with its JSON pointer.
fn visit(json: &mut Value, see: &mut dyn FnMut(&str, &mut Value)) {
    fn walk(place: &str, json: &mut Value, see: &mut dyn FnMut(&str, &mut Value)) {
        match json {
            Value::Array(values) => {
                values
                    .iter_mut()
                    .enumerate()
                    .for_each(|(at, value)| walk(&format!("{place}/{at}"), value, see));
            }
            Value::Object(values) => {
                values.iter_mut().for_each(|(name, value)| walk(&format!("{place}/{name}"), value, see));
            }
            value => see(place, value),
        }
    }
    walk("", json, see);
}

fn general(place: &str) -> String {
    let is_number = |part: &str| part.parse::<usize>().is_ok();
    place.split('/').map(|part| if is_number(part) { "*" } else { part }).collect::<Vec<_>>().join("/")
}

/// A week in which something of everything happened.
pub(super) fn rich() -> Report {
    read(&RICH)
}

/// A report that nothing is in: an empty archive.
pub(super) fn empty() -> Report {
    let rich = rich();
    let nothing = Rate::default();
    let neither = ComparedPercentiles::default();
    let direction = Direction::NotComparable;
    Report {
        restricted_to: vec![],
        verdict: Verdict {
            text: None,
            attention: None,
            headline: None,
            direction,
            complete_as_of: None,
            is_period_covered: false,
            alarms: vec![],
        },
        incidents: vec![],
        states: vec![],
        expected: Expected::default(),
        changes: Changes::default(),
        total: ComparedRate { now: nothing, before: nothing, difference: None, p_value: None, direction },
        connections: vec![],
        failing: Failing::default(),
        errors: Errors::default(),
        durations: Durations {
            runs: neither,
            jobs: neither,
            tasks: neither,
            queue: neither,
            by_connection: vec![],
        },
        retries: Retries::default(),
        slowest: vec![],
        unfinished: Unfinished::default(),
        masked: Masked::default(),
        weeks: vec![],
        buckets: Buckets { all: vec![], by_connection: vec![], ..rich.buckets },
        coverage: Coverage::default(),
        ..rich
    }
}

/// Runs are archived, and none started in the period.
pub(super) fn without_runs() -> Report {
    let rich = rich();
    let quiet = |week| Week { rate: Rate::default(), durations: None, ..week };
    Report {
        verdict: Verdict { alarms: vec![], ..rich.verdict },
        weeks: rich.weeks.into_iter().map(quiet).collect(),
        coverage: Coverage {
            connections: rich.coverage.connections.into_iter().skip(3).collect(),
            last_sync: rich.coverage.last_sync,
            ..Coverage::default()
        },
        ..empty()
    }
}

/// One connection, and none of its runs is finished.
pub(super) fn only_unfinished() -> Report {
    let rich = rich();
    let is_pilot = |connection: &ConnectionRate| connection.connection == "Pilot";
    let pilot = rich.connections.into_iter().find(is_pilot).unwrap();
    let week = |week| Week { rate: pilot.rate.now, durations: None, ..week };
    let unfinished = pilot.rate.now.unfinished;
    Report {
        verdict: Verdict { alarms: vec![], ..rich.verdict },
        total: pilot.rate,
        weeks: rich.weeks.into_iter().map(week).collect(),
        unfinished: Unfinished { runs: unfinished, stuck: 0, unlisted: 0, ..rich.unfinished },
        coverage: Coverage {
            connections: rich
                .coverage
                .connections
                .into_iter()
                .filter(|one| one.connection == "Pilot")
                .collect(),
            ..Coverage::default()
        },
        connections: vec![pilot],
        ..empty()
    }
}

/// A hundred connections and long lists of everything.
pub(super) fn long() -> Report {
    let name = |number: usize| format!("Connection {number} of a hundred");
    let mut json = RICH.clone();
    for list in [
        "/connections",
        "/changes/newly_failing",
        "/changes/new_errors",
        "/errors/users",
        "/verdict/alarms",
        "/failing/streaks",
        "/durations/by_connection",
        "/buckets/by_connection",
        "/coverage/connections",
        "/coverage/gaps",
    ] {
        let list = json.pointer_mut(list).unwrap().as_array_mut().unwrap();
        for number in list.len()..100 {
            let mut copy = list[0].clone();
            for (field, text) in [("connection", name(number)), ("error_code", format!("E_{number}"))] {
                copy.get_mut(field).into_iter().for_each(|value| *value = json!(text));
            }
            list.push(copy);
        }
    }
    let mut report = read(&json);
    report.restricted_to = (0..100).map(name).collect();
    report.masked.runs = 4_319 + report.masked.newest.len() as u64;
    report
}

/// Texts that would rather be something else.
pub(super) const HOSTILE: &[&str] = &[
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "ab\u{202e}gpj.exe\u{2066}\u{200b}",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[click](javascript:alert(1)) ![image](https://evil.example/x.png)",
    "https://evil.example/?a=b www.evil.example @team someone@evil.example #1 ftp://evil.example",
    "| a | b |\n| --- | --- |\n",
    "# heading\n- item\n1. one\n> quote\n```\ncode\n```",
    "**bold** _italic_ ~~gone~~ `code` \\ \\| \\` &lt;b&gt; &#60;",
    "=cmd|' /C calc'!A0",
    "1. first",
    "- - -",
    "+ plus",
    "*",
    "",
    "   ",
    "日本語の接続名はとても長いので切らなければならないことがあります。日本語の接続名",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}👍🏽🇩🇪☁\u{fe0f}",
    "averyveryverylongwordthatdoesnotfitonanylineandhastobebrokensomewhereinthemiddleofitoritwillbetoowideforit",
    "https://help.example/a|b",
    "https://user@evil.example/",
    "https://evil.example/>x<b>",
];

/// The rich report with all its texts taken from data replaced by what `make` gives.
pub(super) fn with_texts(mut make: impl FnMut() -> String) -> Report {
    let mut json = SHORT.clone();
    visit(&mut json, &mut |place, value| {
        if value.is_string() && TAKES[&general(place)].text {
            *value = json!(make());
        }
    });
    read(&json)
}

/// Any report: hostile texts and figures of all sizes, the same for the same seed.
pub(super) fn any(seed: u64) -> Report {
    let mut rng = Rng::with_seed(seed);
    let mut json = SHORT.clone();
    visit(&mut json, &mut |place, value| {
        let takes = TAKES[&general(place)];
        if takes.null && rng.u8(..8) == 0 {
            *value = Value::Null;
        } else if takes.text {
            *value = json!(match rng.u8(..4) {
                0 => (0..rng.usize(..60)).map(|_| rng.char(..)).collect(),
                _ => HOSTILE[rng.usize(..HOSTILE.len())].to_owned(),
            });
        } else if takes.fraction {
            let share = [0.0, 1.0, rng.f64()][rng.usize(..3)];
            *value = json!(if place.ends_with("difference") { share - 0.5 } else { share });
        } else if takes.negative {
            *value = json!(rng.i64(..) >> rng.u32(..64));
        } else if takes.count {
            // Small enough for sums: no archive holds 2^53 runs.
            *value = json!(rng.u64(..) >> rng.u32(11..=64).min(63));
        }
    });
    read(&json)
}

#[test]
fn every_kind_of_value_has_places_in_the_sample() {
    let count = |takes: fn(&Takes) -> bool| TAKES.values().filter(|place| takes(place)).count();
    assert!(count(|place| place.text) > 60 && count(|place| place.null) > 40);
    assert!(count(|place| place.count) > 100 && count(|place| place.negative) > 40);
    // The chart of days, the grid and each list hold something.
    let mut filled: BTreeMap<String, bool> = BTreeMap::new();
    fn look(place: &str, json: &Value, filled: &mut BTreeMap<String, bool>) {
        match json {
            Value::Array(values) => {
                *filled.entry(place.to_owned()).or_default() |= !values.is_empty();
                values.iter().for_each(|value| look(place, value, filled));
            }
            Value::Object(values) => {
                values.iter().for_each(|(name, value)| look(&format!("{place}/{name}"), value, filled));
            }
            _ => {}
        }
    }
    look("", &RICH, &mut filled);
    filled.retain(|_, is_filled| !*is_filled);
    assert_eq!(filled, BTreeMap::new());
}

#[test]
fn a_report_reads_back_what_it_writes() {
    assert_eq!(serde_json::to_value(rich()).unwrap(), *RICH);
}
