//! `archive report`: what it tells of an archive, and what it never makes up.

use std::process::{Command, Stdio};

use run_archive::emulator::{Emulator, Run};

use crate::common::{Archive, CONNECTION, Ended, fixture, platform, run, run_in_state, runs};

const FORMATS: [&str; 4] = ["text", "markdown", "html", "json"];
/// The runs of [`runs`] start on 5 January 2026.
const PERIOD: [&str; 6] =
    ["--since", "2026-01-05", "--until", "2026-01-12", "--as-of", "2026-01-12T06:00:00Z"];

fn report(archive: &Archive, arguments: &[&str]) -> Command {
    let mut command = archive.command();
    command.arg("report").args(arguments);
    command
}

fn told(archive: &Archive, format: &str, arguments: &[&str]) -> Ended {
    let mut command = report(archive, &PERIOD);
    command.args(["--format", format]).args(arguments);
    run(command)
}

fn json(archive: &Archive) -> serde_json::Value {
    told(archive, "json", &[]).expect(0).json()
}

fn archive_of(runs: impl IntoIterator<Item = Run>) -> Archive {
    let archive = Archive::new();
    let emulator = Emulator::start(platform(runs)).unwrap();
    run(archive.sync(&emulator)).expect(0);
    archive
}

#[test]
fn without_an_archive_there_is_no_report_and_none_is_made() {
    let archive = Archive::new();
    let ended = run(report(&archive, &[])).expect(1);
    assert!(ended.stderr.contains("there is no archive"), "{}", ended.stderr);
    assert!(!archive.path().exists());
}

#[test]
fn the_platforms_own_sample_is_a_masked_failure_in_every_format() {
    let archive = Archive::new();
    let page = archive.folder().join("page.json");
    std::fs::write(&page, fixture("list-runs-200.json")).unwrap();
    let mut import = archive.command();
    import.arg("import").arg(&page).args(["--connection", CONNECTION]);
    run(import).expect(0);
    for format in FORMATS {
        let period = ["--since", "2023-09-14", "--until", "2023-09-15", "--as-of", "2023-09-15T06:00:00Z"];
        let mut command = report(&archive, &period);
        command.args(["--format", format]);
        let told = run(command).expect(0).stdout;
        let expected = match format {
            "json" => "\"masked\": {\n    \"runs\": 1,\n    \"succeeded\": 1,",
            _ => "hides a job or task that failed",
        };
        assert!(told.contains(expected), "{format}: {told}");
        // The run itself says Success, and its rate follows what it says.
        assert!(told.contains("0 of 1") || format != "text", "{told}");
    }
}

#[test]
fn an_empty_period_tells_no_rate_in_any_format() {
    let archive = archive_of(runs(0, 3));
    for format in FORMATS {
        let mut command = report(&archive, &["--since", "2025-03-03", "--until", "2025-03-10"]);
        command.args(["--as-of", "2026-01-12T06:00:00Z", "--format", format]);
        let told = run(command).expect(0).stdout;
        assert!(told.contains("No run started in this period"), "{format}: {told}");
        assert!(!told.contains("0.0%") && !told.contains("NaN"), "{format}: {told}");
    }
}

#[test]
fn an_empty_archive_says_so() {
    let archive = Archive::new();
    let page = archive.folder().join("page.json");
    std::fs::write(&page, r#"{"runs":[]}"#).unwrap();
    let mut import = archive.command();
    import.arg("import").arg(&page).args(["--connection", CONNECTION]);
    run(import).expect(0);
    for format in FORMATS {
        let told = told(&archive, format, &[]).expect(0).stdout;
        assert!(!told.contains("0.0%") && told.contains("No run started in this period"), "{format}: {told}");
    }
}

#[test]
fn a_connection_with_only_unfinished_runs_has_no_rate() {
    let archive =
        archive_of([run_in_state(1, "Executing", "Undetermined"), run_in_state(2, "Queued", "Undetermined")]);
    let report = json(&archive);
    assert_eq!(report["total"]["now"]["runs"], 2);
    assert_eq!(report["total"]["now"]["unfinished"], 2);
    assert!(report["total"]["now"]["failure_rate"].is_null() && report["total"]["now"]["interval"].is_null());
    assert_eq!((&report["unfinished"]["runs"], &report["unfinished"]["stuck"]), (&2.into(), &2.into()));
    for format in ["text", "markdown", "html"] {
        let told = told(&archive, format, &[]).expect(0).stdout;
        assert!(told.contains("none of them can be rated yet") && !told.contains("0.0%"), "{format}: {told}");
    }
}

#[test]
fn a_gap_is_told_where_it_touches_the_period() {
    let archive = archive_of(runs(0, 5));
    let gap = "INSERT INTO gaps (connection_key, walk_key, after, until, noticed_at)
               SELECT 1, min(walk_key), '2026-01-06T00:00:00.0000000Z', '2026-01-07T00:00:00.0000000Z',
                      '2026-01-08T00:00:00.0000000Z' FROM walks";
    rusqlite::Connection::open(archive.path()).unwrap().execute(gap, []).unwrap();
    assert_eq!(json(&archive)["coverage"]["gaps"][0]["touches_period"], true);
    for format in ["text", "markdown", "html"] {
        let told = told(&archive, format, &[]).expect(0).stdout;
        let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("may be missing"), "{format}: {told}");
    }
}

#[test]
fn the_same_archive_and_the_same_instant_give_the_same_bytes() {
    let archive = archive_of((0..40).map(|number| {
        run_in_state(number, "Completed", ["Success", "Error", "Canceled"][number as usize % 3])
    }));
    for format in FORMATS {
        let first = told(&archive, format, &["--tz", "Europe/Berlin"]).expect(0).stdout;
        assert_eq!(first, told(&archive, format, &["--tz", "Europe/Berlin"]).expect(0).stdout, "{format}");
        let file = archive.folder().join("report");
        told(&archive, format, &["--tz", "Europe/Berlin", "--output", file.to_str().unwrap()]).expect(0);
        assert_eq!(first, std::fs::read_to_string(&file).unwrap(), "{format}");
    }
}

#[test]
fn every_name_of_the_json_is_kept() {
    let archive = archive_of((0..40).map(|number| {
        run_in_state(number, "Completed", ["Success", "Error", "Canceled"][number as usize % 3])
    }));
    let mut report = json(&archive);
    // These are the clock's of the sync.
    report["verdict"]["text"] = "".into();
    for time in [
        "/verdict/complete_as_of",
        "/coverage/connections/0/complete_as_of",
        "/coverage/last_sync/started_at",
    ] {
        *report.pointer_mut(time).unwrap() = "a time".into();
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap());
}

#[test]
fn a_rate_above_the_threshold_is_an_alarm_and_one_equal_to_it_is_none() {
    // Two of four failed.
    let archive = archive_of(
        (0..4).map(|number| run_in_state(number, "Completed", if number < 2 { "Error" } else { "Success" })),
    );
    let ended = told(&archive, "text", &["--fail-over", "49.9"]).expect(6);
    assert!(ended.stderr.contains("50.0%, above 49.9%"), "{}", ended.stderr);
    assert!(ended.stdout.contains("ALARM"), "{}", ended.stdout);
    told(&archive, "text", &["--fail-over", "50"]).expect(0);
    told(&archive, "text", &["--fail-over", "10", "--min-runs", "4"]).expect(6);
    told(&archive, "text", &["--fail-over", "10", "--min-runs", "5"]).expect(0);
    told(&archive, "text", &["--fail-over", "0"]).expect(6);
}

#[test]
fn a_length_to_compare_with_is_the_time_before_the_period() {
    let archive = archive_of(runs(0, 2));
    for (length, since) in [("8w", "2025-11-10T00:00:00.0000000Z"), ("36h", "2026-01-03T12:00:00.0000000Z")] {
        let compared =
            told(&archive, "json", &["--compare", length]).expect(0).json()["compared_with"].clone();
        let expected = serde_json::json!({"since": since, "until": "2026-01-05T00:00:00.0000000Z"});
        assert_eq!(compared, expected, "{length}");
    }
}

#[test]
fn what_cannot_be_meant_is_wrong_usage() {
    let archive = archive_of(runs(0, 2));
    for wrong in [
        &["--since", "someday"][..],
        &["--since", "2026-02-01", "--until", "2026-01-01"],
        &["--tz", "Mars/Olympus"],
        &["--connection", "unknown"],
        &["--fail-over", "101"],
        &["--fail-over", "NaN"],
        &["--format", "pdf"],
        &["--compare", "2026-02-01..2026-01-01"],
        &["--compare", "0w"],
        &["--as-of", "yesterweek"],
    ] {
        let ended = run(report(&archive, wrong)).expect(2);
        assert!(!ended.stderr.is_empty() && ended.stdout.is_empty(), "{wrong:?}");
    }
}

#[test]
fn a_report_never_replaces_the_archive_nor_leaves_half_a_file() {
    let archive = archive_of(runs(0, 2));
    let before = std::fs::read(archive.path()).unwrap();
    told(&archive, "html", &["--output", archive.path().to_str().unwrap()]).expect(2);
    assert_eq!(std::fs::read(archive.path()).unwrap(), before);
    told(&archive, "html", &["--output", "no/such/folder/report.html"]).expect(1);
    let names: Vec<_> =
        std::fs::read_dir(archive.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name.to_str().unwrap().starts_with("archive.db")), "{names:?}");
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let archive = archive_of(runs(0, 50));
    for format in FORMATS {
        let mut shell = Command::new("bash");
        let script = "set -o pipefail; \"$0\" report --since 2026-01-05 --until 2026-01-12 --format \"$1\" | head -n 1";
        shell.args(["-c", script, env!("CARGO_BIN_EXE_archive"), format]).env("ARCHIVE_DB", archive.path());
        let output = shell.stdin(Stdio::null()).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{format}");
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn only_the_connections_asked_for_are_told() {
    let archive = archive_of(runs(0, 3));
    let page = archive.folder().join("page.json");
    std::fs::write(&page, r#"{"runs":[{"id":"x","state":"Completed","result":"Success"}]}"#).unwrap();
    let mut import = archive.command();
    import.arg("import").arg(&page).args(["--connection", "-other"]);
    run(import).expect(0);
    let of = |id: &str| {
        let report = told(&archive, "json", &["--connection", id]).expect(0).json();
        (report["total"]["now"]["runs"].clone(), report["coverage"]["connections"].as_array().unwrap().len())
    };
    assert_eq!(of(CONNECTION), (3.into(), 1));
    assert_eq!(of("-other"), (0.into(), 1));
}
