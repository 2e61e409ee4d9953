//! Reports of archives that hold little or nothing, and what the command answers to whoever calls it.

use std::io::Read as _;
use std::process::Stdio;

use run_archive::emulator::Emulator;
use run_archive::store;
use serde_json::{Value, json};

use crate::common::{Archive, CONNECTION, Ended, fixture, platform, run, run_in_state, runs};

/// A week around the runs of [`common`](crate::common), which begin with the fifth of January.
const WEEK: [&str; 6] = ["--since", "2026-01-05", "--until", "2026-01-12", "--as-of", "2026-01-12T06:00:00Z"];
const FORMATS: [&str; 4] = ["text", "markdown", "html", "json"];

fn ended(archive: &Archive, arguments: &[&str]) -> Ended {
    let mut command = archive.command();
    command.arg("report").args(arguments);
    run(command)
}

fn told(archive: &Archive, arguments: &[&str]) -> Value {
    let mut all = vec!["--format", "json"];
    all.extend(arguments);
    ended(archive, &all).expect(0).json()
}

fn synced(runs: impl IntoIterator<Item = run_archive::emulator::Run>) -> Archive {
    let archive = Archive::new();
    let emulator = Emulator::start(platform(runs)).unwrap();
    run(archive.sync(&emulator)).expect(0);
    archive
}

/// As many failed runs among as many that succeeded.
fn with_failures(failed: u64, succeeded: u64) -> Archive {
    let failures = (0..failed).map(|number| run_in_state(number, "Completed", "Error"));
    synced(failures.chain(runs(failed, succeeded)))
}

fn imported(name: &str) -> Archive {
    let archive = Archive::new();
    std::fs::write(archive.folder().join("page.json"), fixture(name)).unwrap();
    let mut command = archive.command();
    command.args(["import", "page.json"]);
    run(command).expect(0);
    archive
}

/// A rate without a denominator, and no interval around nothing.
fn assert_no_rate(rate: &Value) {
    for name in ["failure_rate", "interval"] {
        assert!(rate[name].is_null(), "{name}: {rate}");
    }
    assert_eq!(rate["rated"], 0, "{rate}");
}

fn assert_no_figures(report: &Value) {
    let total = &report["total"];
    assert_no_rate(&total["now"]);
    assert_no_rate(&total["before"]);
    assert!(total["difference"].is_null() && total["p_value"].is_null(), "{total}");
    assert_eq!(total["direction"], "not_comparable");
    for name in ["runs", "jobs", "tasks", "queue"] {
        assert_eq!(report["durations"][name], json!({ "now": null, "before": null }), "{name}");
    }
    assert!(report["failing"]["mean_time_to_recovery_ms"].is_null());
    assert_eq!(report["weeks"].as_array().unwrap().len(), 12);
    for week in report["weeks"].as_array().unwrap() {
        assert_no_rate(&week["rate"]);
        assert!(week["durations"].is_null());
    }
    assert_eq!(report["buckets"]["all"].as_array().unwrap().len(), 7);
    for bucket in report["buckets"]["all"].as_array().unwrap() {
        assert_no_rate(&bucket["rate"]);
    }
    let empty = json!([]);
    assert_eq!(report["slowest"], empty);
    assert_eq!(report["errors"], json!({ "users": [], "system": [], "unknown": [], "not_shown": 0 }));
    for (name, changes) in report["changes"].as_object().unwrap() {
        assert_eq!(*changes, empty, "{name}");
    }
}

#[test]
fn an_empty_archive_has_no_figures() {
    let archive = Archive::new();
    store::Archive::open(&archive.path(), 4).unwrap().close().unwrap();
    let report = told(&archive, &WEEK);
    assert_no_figures(&report);
    assert_eq!(report["connections"], json!([]));
    assert_eq!(report["verdict"]["text"], "Nothing is archived yet.");
    assert!(report["verdict"]["complete_as_of"].is_null());
    let coverage = json!({
        "connections": [], "drift": [], "gaps": [], "rejects": 0, "runs_without_start": 0, "last_sync": null,
    });
    assert_eq!(report["coverage"], coverage);
    for format in FORMATS {
        let told = ended(&archive, &[&["--format", format][..], &WEEK].concat()).expect(0);
        assert!(!told.stdout.is_empty() && !told.stdout.contains("NaN"), "{format}: {}", told.stdout);
        assert_eq!(told.stderr, "", "{format}");
    }
}

#[test]
fn a_period_without_runs_has_no_figures_whatever_came_earlier() {
    let archive = synced(runs(0, 20));
    let later = ["--since", "2026-03-02", "--until", "2026-03-09", "--as-of", "2026-03-09T06:00:00Z"];
    let report = told(&archive, &later);
    let total = &report["total"];
    assert_no_rate(&total["now"]);
    assert_no_rate(&total["before"]);
    assert_eq!((&report["slowest"], &report["connections"]), (&json!([]), &json!([])));
    assert_eq!(report["coverage"]["connections"][0]["runs"], 20);
    let text = report["verdict"]["text"].as_str().unwrap();
    assert!(text.starts_with("No run started in this period"), "{text}");
}

#[test]
fn a_connection_with_only_unfinished_runs_has_no_rate() {
    let archive = synced((0..5).map(|number| run_in_state(number, "Executing", "Undetermined")));
    let report = told(&archive, &WEEK);
    let connection = &report["connections"][0];
    assert_no_rate(&connection["now"]);
    assert_eq!((&connection["now"]["runs"], &connection["now"]["unfinished"]), (&json!(5), &json!(5)));
    assert_eq!(connection["direction"], "not_comparable");
    let unfinished = &report["unfinished"];
    assert_eq!((&unfinished["runs"], &unfinished["stuck"]), (&json!(5), &json!(5)));
    assert_eq!(unfinished["oldest"][0]["run_id"], "run-00000");
    assert_eq!(unfinished["oldest"][0]["age_ms"], 7 * 86_400_000 + 6 * 3_600_000);
}

#[test]
fn a_run_is_stuck_after_more_than_a_day() {
    let archive = synced([run_in_state(0, "Executing", "Undetermined")]);
    for (as_of, stuck) in
        [("2026-01-06T00:00:00Z", 0), ("2026-01-06T00:00:00.0009999Z", 0), ("2026-01-06T00:00:00.001Z", 1)]
    {
        let report = told(&archive, &["--as-of", as_of]);
        assert_eq!(report["unfinished"]["stuck"], stuck, "{as_of}");
    }
}

#[test]
fn a_gap_is_told_and_whether_it_touches_the_period() {
    let archive = Archive::new();
    let first = Emulator::start(platform(runs(0, 100))).unwrap();
    run(archive.sync(&first)).expect(0);
    let second = Emulator::start(platform(runs(500, 100))).unwrap();
    run(archive.sync(&second)).expect(0);
    // From 01:39 to 08:20 of the fifth of January.
    for (since, until, touches) in [
        ("2026-01-05", "2026-01-06", true),
        ("2026-01-06", "2026-01-07", true),
        ("2026-01-07", "2026-01-08", false),
        ("2026-01-05T08:20", "2026-01-05T08:21", true),
        ("2026-01-05T08:21", "2026-01-05T08:22", false),
        ("2026-01-05T01:38", "2026-01-05T01:39", false),
        ("2026-01-05T01:38", "2026-01-05T01:40", true),
    ] {
        let report = told(&archive, &["--since", since, "--until", until]);
        let gaps = &report["coverage"]["gaps"];
        assert_eq!(gaps.as_array().unwrap().len(), 1);
        assert_eq!(gaps[0]["after"], "2026-01-05T01:39:00.0000000Z");
        assert_eq!(gaps[0]["until"], "2026-01-05T08:20:00.0000000Z");
        assert_eq!(gaps[0]["touches_period"], touches, "{since} {until}");
        assert_eq!(report["coverage"]["connections"][0]["gaps"], 1);
        assert_eq!(report["coverage"]["connections"][0]["unlisted"], 100);
    }
}

#[test]
fn the_report_says_up_to_when_everything_listed_is_archived() {
    let archive = synced(runs(0, 3));
    let began: String = archive.value("SELECT started_at FROM walks");
    let report = told(&archive, &WEEK);
    assert_eq!(report["verdict"]["complete_as_of"], began);
    assert_eq!(report["verdict"]["is_period_covered"], true);
    assert_eq!(report["coverage"]["connections"][0]["complete_as_of"], began);
    assert_eq!(report["coverage"]["last_sync"]["command"], "sync");
    assert_eq!(report["coverage"]["last_sync"]["outcome"], "done");
    // To the tick: a period that ends later is not covered.
    let covers = |until: &str| {
        told(&archive, &["--since", "2026-01-05", "--until", until])["verdict"]["is_period_covered"].clone()
    };
    assert_eq!(covers(&began), true);
    let tick = format!("{}1Z", &began[..26]);
    assert_eq!(covers(&tick), tick <= began);
}

#[test]
fn the_sample_of_the_platform_is_a_masked_failure_in_every_format() {
    let archive = imported("list-runs-200.json");
    let period = ["--since", "2023-09-11", "--until", "2023-09-18", "--as-of", "2023-09-18T06:00:00Z"];
    let report = told(&archive, &period);
    let id = "75d94fca-4a9b-4ff0-8f3a-eeedbc1fea97";
    let connection = report["coverage"]["connections"][0]["connection_id"].clone();
    let run = json!({
        "connection": connection,
        "connection_id": connection,
        "kind": "export",
        "run_id": id,
        "started_at": "2023-09-14T12:00:06.8727565Z",
        "failed_jobs": 1,
        "failed_tasks": 1,
        "errors": 1,
        "error_keys": "FailedToExport",
    });
    let masked = json!({ "runs": 1, "succeeded": 1, "runs_before": 0, "newest": [run] });
    assert_eq!(report["masked"], masked);
    assert_eq!(report["total"]["now"]["failed"], 0);
    assert_eq!(report["errors"]["system"][0]["error_code"], "TAE_BRW_1000");
    assert_eq!(report["slowest"][0]["duration_ms"], 424_541);
    assert_eq!(report["durations"]["queue"]["now"]["p50_ms"], 2_928);
    for format in FORMATS {
        let told = ended(&archive, &[&["--format", format][..], &period].concat()).expect(0).stdout;
        assert!(told.to_lowercase().contains("masked") && told.contains(id), "{format}: {told}");
    }
}

#[test]
fn the_same_archive_and_the_same_instant_give_the_same_bytes() {
    let archive = with_failures(7, 30);
    for format in FORMATS {
        let bytes = || ended(&archive, &[&["--format", format][..], &WEEK].concat()).expect(0).stdout;
        assert_eq!(bytes(), bytes(), "{format}");
    }
}

#[test]
fn a_period_that_cannot_be_read_is_wrong_usage_and_says_so() {
    let archive = with_failures(1, 1);
    for (arguments, said) in [
        (&["--since", "soon"][..], "soon"),
        (&["--since", "2026-02-30"], "2026-02-30"),
        (&["--since", "2026-01-12", "--until", "2026-01-05"], "empty"),
        (&["--since", "2026-01-05", "--until", "2026-01-05"], "empty"),
        (&["--since", "0d"], "0d"),
        (&["--tz", "Mars/Olympus"], "Mars/Olympus"),
        (&["--compare", "yore"], "yore"),
        (&["--compare", "2026-01-05..2026-01-04"], "empty"),
        (&["--as-of", "whenever"], "whenever"),
        (&["--connection", "nobody"], "nobody"),
        (&["--fail-over", "-1"], "-1"),
        (&["--fail-over", "101"], "101"),
        (&["--fail-over", "NaN"], "NaN"),
        (&["--min-runs", "-1"], "-1"),
        (&["--format", "pdf"], "pdf"),
    ] {
        let told = ended(&archive, arguments).expect(2);
        assert_eq!(told.stdout, "", "{arguments:?}");
        assert!(told.stderr.contains(said), "{arguments:?}: {}", told.stderr);
    }
}

#[test]
fn a_rate_above_the_threshold_is_an_alarm_and_an_equal_one_is_none() {
    // 3 of 12 failed: a quarter.
    let archive = with_failures(3, 9);
    let code = |more: &[&str]| ended(&archive, &[&WEEK, more].concat()).code;
    for (arguments, expected) in [
        (&[][..], 0),
        (&["--fail-over", "25"], 0),
        (&["--fail-over", "24.99"], 6),
        (&["--fail-over", "0"], 6),
        (&["--fail-over", "100"], 0),
        (&["--fail-over", "20", "--min-runs", "12"], 6),
        (&["--fail-over", "20", "--min-runs", "13"], 0),
        (&["--fail-over", "20", "--connection", CONNECTION], 6),
    ] {
        assert_eq!(code(arguments), Some(expected), "{arguments:?}");
    }
    // The report is told all the same, and the alarm on standard error.
    let alarm = ended(&archive, &[&["--format", "json", "--fail-over", "20"][..], &WEEK].concat()).expect(6);
    let alarms = alarm.json()["verdict"]["alarms"].clone();
    assert_eq!(alarms.as_array().unwrap().len(), 2, "{alarms}");
    assert_eq!(alarms[0]["connection_id"], Value::Null);
    assert_eq!(alarms[1]["connection_id"], CONNECTION);
    assert_eq!(alarms[0]["failure_rate"], 0.25);
    assert!(alarm.stderr.contains("25.0%"), "{}", alarm.stderr);
    // Nothing to rate is no alarm.
    let empty = ["--since", "2026-02-02", "--until", "2026-02-09", "--fail-over", "0"];
    ended(&archive, &empty).expect(0);
}

#[test]
fn without_an_archive_there_is_no_report_and_none_is_made() {
    let archive = Archive::new();
    for format in FORMATS {
        let told = ended(&archive, &["--format", format]).expect(1);
        assert_eq!(told.stdout, "");
    }
    assert!(!archive.path().exists());
    assert_eq!(std::fs::read_dir(archive.folder()).unwrap().count(), 0);
}

#[test]
fn a_reader_that_goes_away_ends_the_report_quietly() {
    // More than a pipe takes.
    let archive = with_failures(10, 400);
    for format in FORMATS {
        let mut command = archive.command();
        command.args(["report", "--format", format]).args(["--since", "2024-01-01", "--until", "2026-01-12"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        output.read_exact(&mut [0]).unwrap();
        drop(output);
        let ended = child.wait_with_output().unwrap();
        assert_eq!(
            (ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()),
            (Some(0), ""),
            "{format}"
        );
    }
}
