//! Saved pages become the same rows as a sync's, whatever they are saved as; what is broken is told.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use run_archive::emulator::{Emulator, Links};
use rusqlite::types::FromSql;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::common::{Archive, CONNECTION, Ended, ended, fixture, platform, run, run_of_json};

const RUN: &str = "75d94fca-4a9b-4ff0-8f3a-eeedbc1fea97";

/// `archive import` with these arguments.
fn import(archive: &Archive, arguments: &[&str]) -> Command {
    let mut command = archive.command();
    command.arg("import").args(arguments);
    command
}

/// Saves the bytes under this name and imports them; the summary comes as JSON.
fn import_saved(archive: &Archive, name: &str, bytes: impl AsRef<[u8]>, more: &[&str]) -> Ended {
    fs::write(archive.folder().join(name), bytes).unwrap();
    run(import(archive, &[&[name, "--format", "json"], more].concat()))
}

/// A page of these runs, each given as the text that was sent, whose links name its connection.
fn page(runs: &[&str]) -> String {
    page_of(CONNECTION, runs)
}

fn page_of(connection: &str, runs: &[&str]) -> String {
    let link = format!("https://api.bentley.com/export/connections/{connection}/runs?$skip=0&$top=50");
    format!(r#"{{"runs":[{}],"_links":{{"self":{{"href":"{link}"}}}}}}"#, runs.join(","))
}

fn completed(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","state":"Completed","result":"Success","startDateTime":"2026-01-05T00:00:00Z"}}"#
    )
}

fn assert_nothing_was_made(archive: &Archive) {
    assert!(!archive.path().exists(), "a database was made");
    assert!(!archive.folder().join("archive.db.lock").exists(), "a lock was made");
}

fn ids(archive: &Archive) -> Vec<String> {
    archive.column("SELECT id FROM runs ORDER BY id")
}

/// What the platform sent, as it lies in the tables: no keys, no times of this program.
fn content(archive: &Archive) -> Vec<String> {
    let mut rows = Vec::new();
    for (table, without) in [
        ("runs", ["first_seen_at", "walk_key", "connection_key"].as_slice()),
        ("jobs", &[]),
        ("tasks", &[]),
        ("errors", &[]),
    ] {
        let columns: Vec<String> = archive.column(&format!("SELECT name FROM pragma_table_info('{table}')"));
        let quoted: Vec<String> = columns
            .iter()
            .filter(|column| !without.contains(&column.as_str()))
            .map(|column| format!("'{column}='||quote({column})"))
            .collect();
        rows.extend(
            archive.column::<String>(&format!("SELECT '{table} '||{} FROM {table}", quoted.join("||' '||"))),
        );
    }
    rows
}

/// Asserts that the one row of a table holds exactly this, and nothing was left over for `extra`.
#[track_caller]
fn assert_field<T: FromSql + PartialEq + std::fmt::Debug>(archive: &Archive, field: &str, expected: T) {
    let (table, column) = field.split_once('.').unwrap();
    assert_eq!(archive.value::<T>(&format!("SELECT {column} FROM {table}")), expected, "{field}");
}

/// Every value of the platform's published sample, in its table and column.
fn assert_sample_is_stored(archive: &Archive) {
    let text = |field: &str, expected: &str| assert_field(archive, field, expected.to_owned());
    let number = |field: &str, expected: i64| assert_field(archive, field, expected);
    let nothing = |field: &str| assert_field(archive, field, None::<String>);
    text("connections.id", CONNECTION);
    text("runs.id", RUN);
    text("runs.state", "Completed");
    text("runs.result", "Success");
    text("runs.started_at", "2023-09-14T12:00:06.8727565Z");
    text("runs.ended_at", "2023-09-14T12:07:11.4138469Z");
    number("runs.duration_ms", 424_541);
    nothing("runs.extra");
    number("jobs.job_index", 0);
    text("jobs.id", "899537ea-2945-4c98-9737-3bb4891fe8da");
    text("jobs.started_at", "2023-09-14T12:00:09.8010860Z");
    text("jobs.ended_at", "2023-09-14T12:06:31.4310333Z");
    number("jobs.duration_ms", 381_629);
    text("jobs.state", "Completed");
    text("jobs.result", "Error");
    nothing("jobs.connector_type");
    nothing("jobs.extra");
    number("tasks.task_index", 0);
    text("tasks.id", "fe2f628d-1beb-453f-bf49-2468ca48b9a8");
    text("tasks.started_at", "2023-09-14T12:06:03.1050390Z");
    text("tasks.ended_at", "2023-09-14T12:06:31.3820011Z");
    number("tasks.duration_ms", 28_276);
    number("tasks.retry_attempts", 0);
    text("tasks.state", "Completed");
    text("tasks.result", "Error");
    nothing("tasks.export_output_file_id");
    nothing("tasks.extra");
    text("errors.error_code", "TAE_BRW_1000");
    text("errors.message", "Failed to orchestrate file processing.");
    text("errors.details", "Error exit code received from bridge wrapper. Details from wrapper: ''.");
    number("errors.bridge_exit_code", -7_002);
    text("errors.system", "Exporter");
    text("errors.phase", "export_file");
    text("errors.category", "other");
    text("errors.description_key", "FailedToExport");
    text("errors.description", "Failed to export your file.");
    text("errors.kb_article_link", "");
    number("errors.can_user_fix", 0);
    nothing("errors.extra");
    let one_tree = "SELECT count(*) FROM runs JOIN jobs USING (run_key) JOIN tasks USING (run_key, job_index)
                    JOIN errors USING (run_key, job_index, task_index) JOIN connections USING (connection_key)";
    assert_eq!(archive.value::<i64>(one_tree), 1);
    archive.assert_sound();
}

/// An emulated platform that serves the published sample's run to the letter, with links as malformed.
fn sample_platform() -> Emulator {
    #[derive(serde::Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        runs: Vec<&'a RawValue>,
    }
    let text = fixture("list-runs-200.json");
    let page: Page<'_> = serde_json::from_str(&text).unwrap();
    let run = run_of_json(RUN, "2023-09-14T12:00:06.8727565Z", page.runs[0].get());
    let mut platform = platform([run]);
    platform.faults.links = Links::AsPublished;
    Emulator::start(platform).unwrap()
}

#[test]
fn every_field_of_the_published_sample_is_found_in_its_table_after_an_import() {
    let archive = Archive::new();
    let ended = import_saved(&archive, "page.json", fixture("list-runs-200.json"), &[]).expect(0);
    assert_eq!((&ended.json()["new"], &ended.json()["rejected"]), (&json!(1), &json!(0)));
    assert_sample_is_stored(&archive);
}

#[test]
fn every_field_of_the_published_sample_is_found_in_its_table_after_a_sync() {
    let archive = Archive::new();
    run(archive.sync(&sample_platform())).expect(0);
    assert_sample_is_stored(&archive);
}

#[test]
fn an_import_and_a_sync_of_the_same_page_store_the_same_rows() {
    let (imported, synced) = (Archive::new(), Archive::new());
    import_saved(&imported, "page.json", fixture("list-runs-200.json"), &[]).expect(0);
    let emulator = sample_platform();
    run(synced.sync(&emulator)).expect(0);
    assert_eq!(content(&imported), content(&synced));
    // And each finds the other's already there.
    let again = import_saved(&synced, "page.json", fixture("list-runs-200.json"), &[]).expect(0).json();
    assert_eq!((&again["new"], &again["changed"], &again["unchanged"]), (&json!(0), &json!(0), &json!(1)));
    run(imported.sync(&emulator)).expect(0);
    assert_eq!(imported.count("runs"), 1);
    assert_eq!(imported.count("revisions"), 0);
    assert_eq!(content(&imported), content(&synced));
}

#[test]
fn pages_are_read_in_every_encoding_they_may_be_saved_in() {
    let text = page(&[&completed("Brücke-橋-🌉")]);
    let utf_16 = |bytes_of: fn(u16) -> [u8; 2]| -> Vec<u8> {
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes_of).collect()
    };
    for (name, bytes) in [
        ("UTF-8", text.clone().into_bytes()),
        ("UTF-8 with a mark", format!("\u{feff}{text}").into_bytes()),
        ("UTF-16LE with a mark", utf_16(u16::to_le_bytes)),
        ("UTF-16BE with a mark", utf_16(u16::to_be_bytes)),
        ("with Windows line ends", format!("\r\n{}\r\n", text.replace(',', ",\r\n")).into_bytes()),
    ] {
        println!("{name}");
        let archive = Archive::new();
        import_saved(&archive, "page.json", bytes, &[]).expect(0);
        assert_eq!(ids(&archive), ["Brücke-橋-🌉"]);
    }
}

#[test]
fn text_in_no_known_encoding_is_told_and_makes_nothing() {
    let text = page(&[&completed("Brücke")]);
    let latin_1: Vec<u8> = text.chars().map(|character| character as u32 as u8).collect();
    let half = [b"\xff\xfe".as_slice(), b"{\0\"\0r"].concat();
    for bytes in [latin_1, half] {
        let archive = Archive::new();
        let ended = import_saved(&archive, "odd.json", bytes, &[]).expect(1);
        assert!(ended.stderr.contains("odd.json"), "{}", ended.stderr);
        assert!(ended.stderr.contains("UTF-8"), "{}", ended.stderr);
        assert_nothing_was_made(&archive);
    }
}

#[test]
fn a_page_comes_from_standard_input_too() {
    let archive = Archive::new();
    let mut command = import(&archive, &["-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(fixture("list-runs-200.json").as_bytes()).unwrap();
    ended(child.wait_with_output().unwrap()).expect(0);
    assert_sample_is_stored(&archive);
}

#[test]
fn empty_standard_input_is_told_and_makes_nothing() {
    let archive = Archive::new();
    let ended = run(import(&archive, &["-"])).expect(1);
    assert!(
        ended.stderr.contains("standard input") || ended.stderr.contains("reading -"),
        "{}",
        ended.stderr
    );
    assert_nothing_was_made(&archive);
}

#[test]
fn several_pages_in_one_file_are_all_stored() {
    let first = page(&[&completed("a"), &completed("b")]);
    let second = page_of("-other_connection", &[&completed("a"), &completed("c")]);
    for (name, text) in [
        ("one after another", format!("{first}{second}")),
        ("a line each", format!("{first}\n{second}\n")),
        ("an array", format!("[{first}, {second}]")),
    ] {
        println!("{name}");
        let archive = Archive::new();
        let told = import_saved(&archive, "pages.json", text, &[]).expect(0).json();
        assert_eq!((&told["files"], &told["pages"], &told["new"]), (&json!(1), &json!(2), &json!(4)));
        let stored: Vec<String> = archive
            .column("SELECT connections.id||' '||runs.id FROM runs JOIN connections USING (connection_key) ORDER BY 1");
        let [a, b] = ["a", "b"].map(|id| format!("{CONNECTION} {id}"));
        assert_eq!(stored, ["-other_connection a", "-other_connection c", &a, &b]);
    }
}

#[test]
fn the_answer_for_one_run_and_a_bare_run_are_stored_too() {
    let bare = completed("a");
    let named = bare.replacen('{', r#"{"connectionId":"the-connection","#, 1);
    let answer = |run: &str| format!(r#"{{"run":{run}}}"#);
    for (name, text, more) in [
        ("the answer for one run", answer(&bare), ["--connection", "the-connection"].as_slice()),
        ("the answer for one run that names its connection", answer(&named), &[]),
        ("a bare run", bare.clone(), &["--connection", "the-connection"]),
        ("a bare run that names its connection", named.clone(), &[]),
        ("bare runs in an array", format!("[{bare}]"), &["--connection", "the-connection"]),
        ("a page without links", format!(r#"{{"runs":[{bare}]}}"#), &["--connection", "the-connection"]),
        ("a page without links whose runs name theirs", format!(r#"{{"runs":[{named}]}}"#), &[]),
    ] {
        println!("{name}");
        let archive = Archive::new();
        import_saved(&archive, "run.json", text, more).expect(0);
        assert_eq!(ids(&archive), ["a"]);
        assert_eq!(archive.column::<String>("SELECT id FROM connections"), ["the-connection"]);
        let extra: Option<String> = archive.value("SELECT extra FROM runs");
        let is_named = name.contains("name");
        assert_eq!(extra.as_deref(), is_named.then_some(r#"{"connectionId":"the-connection"}"#));
    }
}

#[test]
fn a_broken_file_does_not_stop_the_good_one_beside_it() {
    for order in [["broken.json", "good.json"], ["good.json", "broken.json"]] {
        let archive = Archive::new();
        fs::write(archive.folder().join("good.json"), fixture("list-runs-200.json")).unwrap();
        fs::write(archive.folder().join("broken.json"), &fixture("list-runs-200.json")[..700]).unwrap();
        let ended = run(import(&archive, &order)).expect(3);
        assert!(ended.stderr.contains("broken.json"), "{}", ended.stderr);
        assert_sample_is_stored(&archive);
        assert_eq!(archive.column::<String>("SELECT command||' '||outcome FROM syncs"), ["import partial"]);
        assert_eq!(archive.value::<i64>("SELECT exit_code FROM syncs"), 3);
        assert!(archive.value::<String>("SELECT problem FROM syncs").contains("broken.json"));
    }
}

#[test]
fn only_broken_files_are_told_and_make_nothing() {
    let whole = fixture("list-runs-200.json");
    for (name, text) in [
        ("cut short", &whole[..whole.len() / 2]),
        ("empty", ""),
        ("white space", " \r\n"),
        ("a gateway's page", "<html><body>502</body></html>"),
        ("the platform's error", &fixture("error-401.json")),
        ("another object", r#"{"value":[]}"#),
        ("a number", "7"),
        ("runs that are no list", r#"{"runs":{"id":"a"}}"#),
    ] {
        println!("{name}");
        let archive = Archive::new();
        let ended = import_saved(&archive, "broken.json", text, &["--connection", "c"]).expect(1);
        assert!(ended.stderr.contains("broken.json"), "{}", ended.stderr);
        assert_eq!(ended.json()["exit_code"], 1);
        assert_nothing_was_made(&archive);
    }
}

#[test]
fn files_that_are_not_there_are_told_and_make_nothing() {
    let archive = Archive::new();
    fs::create_dir(archive.folder().join("folder.json")).unwrap();
    let ended = run(import(&archive, &["missing.json", "folder.json"])).expect(1);
    for name in ["missing.json", "folder.json"] {
        assert!(ended.stderr.contains(name), "{name} is not named: {}", ended.stderr);
    }
    assert_nothing_was_made(&archive);
}

#[test]
fn a_page_that_names_no_connection_asks_for_one() {
    let archive = Archive::new();
    let text = format!(r#"{{"runs":[{}]}}"#, completed("a"));
    let ended = import_saved(&archive, "page.json", &text, &[]).expect(2);
    assert!(ended.stderr.contains("page.json"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--connection"), "{}", ended.stderr);
    assert_nothing_was_made(&archive);
    import_saved(&archive, "page.json", &text, &["--connection", "c"]).expect(0);
    assert_eq!(ids(&archive), ["a"]);
}

#[test]
fn a_connection_may_begin_with_a_hyphen() {
    for arguments in [["--connection", "-abc_DEF"].as_slice(), &["--connection=-abc_DEF"]] {
        let archive = Archive::new();
        let text = format!(r#"{{"runs":[{}]}}"#, completed("a"));
        import_saved(&archive, "page.json", text, arguments).expect(0);
        assert_eq!(archive.column::<String>("SELECT id FROM connections"), ["-abc_DEF"]);
    }
}

#[test]
fn the_links_of_a_page_count_for_more_than_the_flag() {
    let archive = Archive::new();
    import_saved(&archive, "page.json", fixture("list-runs-200.json"), &["--connection", "other"]).expect(0);
    assert_eq!(archive.column::<String>("SELECT id FROM connections"), [CONNECTION]);
}

#[test]
fn importing_twice_changes_nothing() {
    let archive = Archive::new();
    let text = page(&[&completed("a"), &completed("b"), "null", r#"{ "state": "x" }"#]);
    import_saved(&archive, "page.json", &text, &[]).expect(3);
    let before = archive.dump();
    let told = import_saved(&archive, "page.json", &text, &[]).expect(3).json();
    assert_eq!(archive.dump(), before);
    assert_eq!((&told["new"], &told["changed"], &told["unchanged"]), (&json!(0), &json!(0), &json!(2)));
    // The same said in other words is no change either.
    let other = page(&[
        r#"{ "result":"Success", "state":"Completed", "startDateTime":"2026-01-05T00:00:00Z", "id":"a" }"#,
    ]);
    let told = import_saved(&archive, "page.json", other, &[]).expect(0).json();
    assert_eq!((&told["changed"], &told["unchanged"]), (&json!(0), &json!(1)));
    assert_eq!(archive.count("revisions"), 0);
}

#[test]
fn a_run_that_changed_keeps_what_it_was_before() {
    let archive = Archive::new();
    let early = r#"{"id":"a","state":"Executing","result":"Undetermined","startDateTime":"2026-01-05T00:00:00Z","jobs":[{"id":"j","state":"Queued","note":7,"tasks":[]}]}"#;
    let late = r#"{"id":"a","state":"Completed","result":"Error","startDateTime":"2026-01-05T00:00:00Z","endDateTime":"2026-01-05T00:01:00Z","jobs":[{"id":"j","state":"Completed","tasks":[{"id":"t","error":{"phase":"p"}}]}]}"#;
    import_saved(&archive, "early.json", page(&[early]), &[]).expect(0);
    let told = import_saved(&archive, "late.json", page(&[late]), &[]).expect(0).json();
    assert_eq!((&told["new"], &told["changed"]), (&json!(0), &json!(1)));
    let before: String = archive.value("SELECT content FROM revisions WHERE number = 1");
    assert_eq!(
        serde_json::from_str::<Value>(&before).unwrap(),
        serde_json::from_str::<Value>(early).unwrap(),
        "the content as it stood"
    );
    assert_eq!(archive.value::<String>("SELECT state||' '||result FROM runs"), "Completed Error");
    assert_eq!(archive.value::<i64>("SELECT duration_ms FROM runs"), 60_000);
    assert_eq!((archive.count("jobs"), archive.count("tasks"), archive.count("errors")), (1, 1, 1));
    archive.assert_sound();
}

#[test]
fn an_old_saved_page_does_not_turn_a_completed_run_into_an_unfinished_one() {
    let archive = Archive::new();
    run(archive.sync(&sample_platform())).expect(0);
    let before = content(&archive);
    for old in [
        format!(
            r#"{{"id":"{RUN}","state":"Executing","result":"Undetermined","startDateTime":"2023-09-14T12:00:06.8727565Z","jobs":[]}}"#
        ),
        format!(r#"{{"id":"{RUN}","state":"Queued"}}"#),
        format!(r#"{{"id":"{RUN}"}}"#),
    ] {
        let told = import_saved(&archive, "old.json", page(&[&old]), &[]).expect(0).json();
        assert_eq!((&told["changed"], &told["unchanged"]), (&json!(0), &json!(1)), "{old}");
    }
    assert_eq!(content(&archive), before);
    assert_eq!(archive.count("revisions"), 0);
}

#[test]
fn a_shorter_answer_does_not_erase_a_fuller_one() {
    let archive = Archive::new();
    import_saved(&archive, "full.json", fixture("list-runs-200.json"), &[]).expect(0);
    for jobs in ["", r#","jobs":null"#, r#","jobs":[]"#] {
        let short = format!(r#"{{"id":"{RUN}","state":"Completed","result":"Success"{jobs}}}"#);
        import_saved(&archive, "short.json", page(&[&short]), &[]).expect(0);
        assert_eq!(
            (archive.count("jobs"), archive.count("tasks"), archive.count("errors")),
            (1, 1, 1),
            "{short}"
        );
        assert_field(&archive, "runs.started_at", "2023-09-14T12:00:06.8727565Z".to_owned());
    }
}

/// What is no run, and why.
const DIRTY: [(&str, &str); 9] = [
    ("null", "not an object"),
    ("5", "not an object"),
    (r#""a text""#, "not an object"),
    ("[ 1, 2 ]", "not an object"),
    ("{}", "no id"),
    (r#"{ "state" : "Completed",  "n": 1.0 }"#, "no id"),
    (r#"{"id":null,"state":"Completed"}"#, "no id"),
    (r#"{"id":"x","state":"Completed","state":"Queued"}"#, "\"state\" occurs twice"),
    (r#"{"id":"y","jobs":[{"id":"j","tasks":[{"a":1,"a":2}]}]}"#, "\"a\" occurs twice"),
];

#[test]
fn dirty_records_are_set_aside_to_the_letter_and_the_good_ones_beside_are_stored() {
    let archive = Archive::new();
    let good = [completed("first"), completed("last")];
    let mut records = vec![good[0].as_str()];
    records.extend(DIRTY.iter().map(|(raw, _)| *raw));
    records.push(&good[1]);
    let ended = import_saved(&archive, "dirty.json", page(&records), &[]).expect(3);
    let told = ended.json();
    assert_eq!((&told["received"], &told["new"], &told["rejected"]), (&json!(11), &json!(2), &json!(9)));
    assert!(ended.stderr.contains("9 set aside"), "{}", ended.stderr);
    assert_eq!(ids(&archive), ["first", "last"]);
    let raw: Vec<String> = archive.column("SELECT raw FROM rejects ORDER BY reject_key");
    assert_eq!(raw, DIRTY.map(|(raw, _)| raw));
    let reasons: Vec<String> = archive.column("SELECT reason FROM rejects ORDER BY reject_key");
    for (reason, (raw, expected)) in reasons.iter().zip(DIRTY) {
        assert!(reason.contains(expected), "{raw}: {reason}");
    }
    assert_eq!(archive.count("jobs"), 0);
    archive.assert_sound();
}

#[test]
fn dirty_records_in_a_bare_array_do_not_hide_the_good_ones_after_them() {
    let good = completed("good");
    for (raw, _) in DIRTY {
        println!("{raw}");
        let archive = Archive::new();
        let text = format!("[{raw},{good}]");
        let ended = import_saved(&archive, "dirty.json", text, &["--connection", "c"]);
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert_eq!(ids(&archive), ["good"]);
    }
}

#[test]
fn a_broken_page_does_not_hide_the_good_one_after_it_in_the_same_file() {
    let good = page(&[&completed("good")]);
    for broken in [r#"{"value":[]}"#, r#"{"runs":{}}"#, "7"] {
        for text in [format!("{broken}\n{good}"), format!("[{broken},{good}]")] {
            let archive = Archive::new();
            let ended = import_saved(&archive, "pages.json", &text, &[]);
            assert_eq!(ended.code, Some(3), "{text}: {}", ended.stderr);
            assert!(ended.stderr.contains("pages.json"), "{}", ended.stderr);
            assert_eq!(ids(&archive), ["good"]);
        }
    }
}

#[test]
fn no_run_is_refused_for_its_times() {
    let cases: [(&str, Option<&str>, bool); 13] = [
        // As sent; as stored; whether the column gives it back, so that `extra` need not keep it.
        (r#""2023-09-14T12:00:06.8727565Z""#, Some("2023-09-14T12:00:06.8727565Z"), true),
        (r#""2023-09-14T12:00:09.801086Z""#, Some("2023-09-14T12:00:09.8010860Z"), true),
        (r#""2023-09-14T12:00:09Z""#, Some("2023-09-14T12:00:09.0000000Z"), true),
        (r#""2023-09-14T14:00:09.5+02:00""#, Some("2023-09-14T12:00:09.5000000Z"), false),
        (r#""2023-09-14T12:00:09.50Z""#, Some("2023-09-14T12:00:09.5000000Z"), false),
        (r#""2023-09-14T12:00:09""#, Some("2023-09-14T12:00:09.0000000Z"), false),
        (r#""2023-09-14T12:00:09.123456789Z""#, Some("2023-09-14T12:00:09.1234567Z"), false),
        (r#""0001-01-01T00:00:00Z""#, None, false),
        (r#""02/15/2022 08:24:45""#, None, false),
        (r#""soon""#, None, false),
        (r#""""#, None, false),
        ("null", None, false),
        ("1694692806", None, false),
    ];
    let archive = Archive::new();
    let runs: Vec<String> = (0..).zip(&cases).map(|(number, (sent, _, _)): (i32, _)| {
        format!(r#"{{"id":"{number:02}","startDateTime":{sent},"endDateTime":"2023-09-14T12:00:10Z","jobs":[{{"startDateTime":{sent}}}]}}"#)
    }).collect();
    let missing = r#"{"id":"missing","state":"Completed"}"#;
    let backwards =
        r#"{"id":"backwards","startDateTime":"2023-09-14T12:00:10Z","endDateTime":"2023-09-14T12:00:09Z"}"#;
    let mut records: Vec<&str> = runs.iter().map(String::as_str).collect();
    records.extend([missing, backwards]);
    import_saved(&archive, "times.json", page(&records), &[]).expect(0);
    assert_eq!(archive.count("rejects"), 0);
    for (number, (sent, stored, is_given_back)) in (0..).zip(cases) {
        for table in ["runs", "jobs"] {
            let of = |column: &str| -> Option<String> {
                archive.value(&format!(
                    "SELECT {table}.{column} FROM {table} JOIN runs AS owner USING (run_key) WHERE owner.id = '{:02}'",
                    number
                ))
            };
            assert_eq!(of("started_at").as_deref(), stored, "{table}: {sent}");
            let extra = (!is_given_back).then(|| format!(r#"{{"startDateTime":{sent}}}"#));
            assert_eq!(of("extra"), extra, "{table}: {sent}");
        }
        let duration: Option<i64> =
            archive.value(&format!("SELECT duration_ms FROM runs WHERE id = '{number:02}'"));
        assert_eq!(duration.is_some(), stored.is_some(), "{sent}");
    }
    for (id, times) in [("missing", 0), ("backwards", 2)] {
        let sql = format!(
            "SELECT (started_at IS NOT NULL) + (ended_at IS NOT NULL) FROM runs WHERE id = '{id}' AND duration_ms IS NULL AND extra IS NULL"
        );
        assert_eq!(archive.value::<i64>(&sql), times, "{id}");
    }
}

#[test]
fn integers_of_any_width_come_back_to_the_digit() {
    let cases: [(&str, Option<i64>); 9] = [
        ("4294967295", Some(4_294_967_295)),
        ("-7002", Some(-7_002)),
        ("9223372036854775807", Some(i64::MAX)),
        ("-9223372036854775808", Some(i64::MIN)),
        ("9223372036854775808", None),
        ("123456789012345678901234567890", None),
        ("1.0", None),
        ("-0", None),
        (r#""3""#, None),
    ];
    for (sent, stored) in cases {
        println!("{sent}");
        let archive = Archive::new();
        let run = format!(
            r#"{{"id":"a","jobs":[{{"tasks":[{{"retryAttempts":{sent},"error":{{"bridgeExitCode":{sent}}}}}]}}]}}"#
        );
        import_saved(&archive, "page.json", page(&[&run]), &[]).expect(0);
        assert_field(&archive, "tasks.retry_attempts", stored);
        assert_field(&archive, "errors.bridge_exit_code", stored);
        let extra = |name: &str| stored.is_none().then(|| format!(r#"{{"{name}":{sent}}}"#));
        assert_field(&archive, "tasks.extra", extra("retryAttempts"));
        assert_field(&archive, "errors.extra", extra("bridgeExitCode"));
    }
}

#[test]
fn unknown_words_are_stored_as_sent_and_unknown_fields_are_kept() {
    let archive = Archive::new();
    let run = r#"{"id":"a","state":"Paused","result":"Perhaps","priority":{"level":9,"why":null},"jobs":[{"id":"j","state":"canceled","result":"Cancelled","connectorType":"IFC4.3","queue":["x",1.50],"tasks":[{"id":"t","state":7,"result":null,"exportOutputFileId":"f","worker":"w\u00fc","error":{"system":"exporter","phase":"new_phase","category":"weird","canUserFix":"no","kbArticleLink":null,"trace":{"a":[]}}}]}]}"#;
    import_saved(&archive, "page.json", page(&[run]), &[]).expect(0);
    let text = |field: &str, expected: &str| assert_field(&archive, field, expected.to_owned());
    text("runs.state", "Paused");
    text("runs.result", "Perhaps");
    text("runs.extra", r#"{"priority":{"level":9,"why":null}}"#);
    text("jobs.state", "canceled");
    text("jobs.result", "Cancelled");
    text("jobs.connector_type", "IFC4.3");
    text("jobs.extra", r#"{"queue":["x",1.50]}"#);
    assert_field(&archive, "tasks.state", None::<String>);
    assert_field(&archive, "tasks.result", None::<String>);
    text("tasks.export_output_file_id", "f");
    text("tasks.extra", r#"{"result":null,"state":7,"worker":"w\u00fc"}"#);
    text("errors.system", "exporter");
    text("errors.phase", "new_phase");
    text("errors.category", "weird");
    assert_field(&archive, "errors.can_user_fix", None::<i64>);
    assert_field(&archive, "errors.kb_article_link", None::<String>);
    text("errors.extra", r#"{"canUserFix":"no","kbArticleLink":null,"trace":{"a":[]}}"#);
    assert_eq!(archive.count("rejects"), 0);
}

#[test]
fn missing_null_and_odd_lists_are_kept_apart() {
    let archive = Archive::new();
    let runs = [
        (r#"{"id":"1"}"#, None),
        (r#"{"id":"2","jobs":null}"#, Some(r#"{"jobs":null}"#)),
        (r#"{"id":"3","jobs":[]}"#, Some(r#"{"jobs":[]}"#)),
        (r#"{"id":"4","jobs":"none"}"#, Some(r#"{"jobs":"none"}"#)),
        (r#"{"id":"5","jobs":[{"id":"j"}, 5]}"#, Some(r#"{"jobs":[{"id":"j"},5]}"#)),
    ];
    // Two of them could not be read as jobs, which is told; all are stored as they came.
    let told = import_saved(&archive, "page.json", page(&runs.map(|(run, _)| run)), &[]).expect(3).json();
    assert_eq!((&told["new"], &told["rejected"]), (&json!(3), &json!(2)));
    let extra: Vec<Option<String>> = archive.column("SELECT extra FROM runs ORDER BY id");
    assert_eq!(extra, runs.map(|(_, extra)| extra.map(str::to_owned)));
    assert_eq!(archive.count("jobs"), 0);
}

#[test]
fn the_summary_as_json_is_one_object_on_standard_output() {
    let archive = Archive::new();
    fs::write(archive.folder().join("broken.json"), "{").unwrap();
    let text = page(&[&completed("a"), &completed("b"), "null"]);
    let ended = import_saved(&archive, "page.json", text, &["broken.json"]).expect(3);
    let told = ended.json();
    let problems = told["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].as_str().unwrap().contains("broken.json"), "{problems:?}");
    let mut rest = told.clone();
    rest.as_object_mut().unwrap().remove("problems");
    let expected = json!({
        "exit_code": 3, "files": 2, "pages": 1, "received": 3,
        "new": 2, "changed": 0, "unchanged": 0, "rejected": 1,
    });
    assert_eq!(rest, expected);
    assert_eq!(ended.stdout.lines().count(), 1);
    let row = "SELECT command||' '||outcome||' '||exit_code||' '||pages||' '||new||' '||rejected FROM syncs";
    assert_eq!(archive.value::<String>(row), "import partial 3 1 2 1");
}

#[test]
fn an_import_says_one_line_or_with_q_nothing_unless_something_is_wrong() {
    let archive = Archive::new();
    fs::write(archive.folder().join("page.json"), fixture("list-runs-200.json")).unwrap();
    let told = run(import(&archive, &["page.json"])).expect(0);
    assert_eq!(told.stdout, "");
    assert_eq!(told.stderr, "done: 1 page from 1 file, 1 new, 0 changed, 0 unchanged, 0 set aside\n");
    let quiet = run(import(&archive, &["-q", "page.json"])).expect(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let wrong = run(import(&archive, &["-q", "missing.json"])).expect(1);
    assert!(wrong.stderr.contains("missing.json"), "{}", wrong.stderr);
}
