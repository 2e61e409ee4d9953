//! One id may be that of two connections, each of another kind: no figure of one is counted for the other.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::common::{Archive, run};

/// A filled archive, and the same one in which a storage connection has the id of an export: its first two
/// connections by key, which have different runs.
struct Twins {
    apart: Archive,
    twins: Archive,
    /// The export's id, which both have among the twins.
    export: String,
    /// The id that the storage connection has where they are apart.
    storage: String,
    storage_name: String,
}

impl Twins {
    fn new() -> Self {
        let apart = Archive::new();
        let mut command = apart.command();
        command.args(["demo", "--db"]).arg(apart.path());
        run(command).expect(0);
        let database = Connection::open(apart.path()).unwrap();
        database.execute("UPDATE connections SET kind = 'storage' WHERE connection_key = 2", []).unwrap();
        let twins = Archive::new();
        database.execute("VACUUM INTO ?1", [twins.path().to_str().unwrap()]).unwrap();
        let of = |column: &str, key: i64| -> String {
            let sql = format!("SELECT {column} FROM connections WHERE connection_key = ?1");
            database.query_row(&sql, [key], |row| row.get(0)).unwrap()
        };
        let (export, storage, storage_name) = (of("id", 1), of("id", 2), of("name", 2));
        let sql = "UPDATE connections SET id = ?1 WHERE connection_key = 2";
        Connection::open(twins.path()).unwrap().execute(sql, [&export]).unwrap();
        Self { apart, twins, export, storage, storage_name }
    }

    /// What the two archives answer; of the first with the id that the second has instead.
    fn answers(&self, arguments: &[&str], storage: &str) -> [Value; 2] {
        let ask = |archive: &Archive, id: &str| {
            let arguments = arguments.iter().map(|argument| argument.replace("STORAGE", id));
            let mut command = archive.command();
            command.args(arguments);
            let ended = run(command);
            assert!(matches!(ended.code, Some(0 | 6)), "{}", ended.stderr);
            ended.json()
        };
        let mut apart = ask(&self.apart, storage);
        rename(&mut apart, &self.storage, &self.export);
        [apart, ask(&self.twins, &storage.replace(&self.storage, &self.export))]
    }
}

fn rename(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, from, to)),
        Value::Object(values) => values.values_mut().for_each(|value| rename(value, from, to)),
        _ => {}
    }
}

#[test]
fn two_kinds_of_one_id_have_their_own_figures_in_a_report() {
    let twins = Twins::new();
    // The default compares two weeks; the other holds every run.
    let all = ["--since", "2020-01-01", "--until", "2030-01-01", "--as-of", "2030-01-01T00:00:00Z"];
    for period in [&[][..], &all] {
        let base = [&["report", "--format", "json", "--fail-over", "10"], period].concat();
        let [mut apart, mut found] = twins.answers(&base, "");
        // Two reports of now are made at two instants.
        for report in [&mut apart, &mut found] {
            scrub(report);
        }
        assert_eq!(found, apart);
        let days: i64 = found["buckets"]["all"].as_array().unwrap().iter().map(runs).sum();
        assert_eq!(found["total"]["now"]["runs"], days);
        assert_eq!(found["connections"].as_array().unwrap().len(), 5);

        // Asked for alone, it is counted alone and goes by its own name.
        let storage = format!("storage:{}", twins.storage);
        let only = [&base[..], &["--connection", "STORAGE"]].concat();
        let [mut apart, mut found] = twins.answers(&only, &storage);
        for report in [&mut apart, &mut found] {
            scrub(report);
        }
        assert_eq!(found, apart);
        assert_eq!(found["restricted_to"], json!([twins.storage_name]));
        assert_eq!(found["coverage"]["connections"].as_array().unwrap().len(), 1);
    }
}

fn runs(bucket: &Value) -> i64 {
    bucket["rate"]["runs"].as_i64().unwrap()
}

/// Takes out what the clock tells.
fn scrub(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(scrub),
        Value::Object(values) => {
            values.retain(|name, _| name != "as_of" && !name.ends_with("age_ms"));
            values.remove("since_last_success_ms");
            values.values_mut().for_each(scrub);
        }
        _ => {}
    }
}

#[test]
fn two_kinds_of_one_id_have_their_own_rows_in_every_query() {
    let twins = Twins::new();
    let mut list = twins.apart.command();
    list.args(["query", "--format", "json"]);
    let list = run(list).expect(0).json();
    let mut asked = 0;
    for query in list.as_array().unwrap() {
        let name = query["name"].as_str().unwrap();
        let columns: Vec<&str> = query["columns"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|column| column["name"].as_str())
            .collect();
        assert_eq!(columns.contains(&"kind"), columns.contains(&"connection_id"), "{name}");
        let takes = |wanted: &str| {
            query["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == wanted)
        };
        if !takes("connection") {
            continue;
        }
        asked += 1;
        let base = ["query", name, "--format", "json"];
        let [mut apart, mut found] = twins.answers(&base, "");
        scrub(&mut apart);
        scrub(&mut found);
        sort(&mut apart);
        sort(&mut found);
        assert_eq!(found, apart, "{name}");

        let storage = format!("storage:{}", twins.storage);
        for only in [["--connection", "STORAGE"], ["--param", "connection=STORAGE"]] {
            let [mut apart, mut found] = twins.answers(&[&base[..], &only].concat(), &storage);
            scrub(&mut apart);
            scrub(&mut found);
            assert_eq!(found, apart, "{name} {only:?}");
        }
        // An id alone is the export's, where there is one.
        let export = format!("connection={}", twins.export);
        let mut command = twins.twins.command();
        command.args(base).args(["--param", &export]);
        let mut alone = run(command).expect(0).json();
        let mut command = twins.twins.command();
        command.args(base).args(["--param", &export.replace('=', "=export:")]);
        let mut with_kind = run(command).expect(0).json();
        scrub(&mut alone);
        scrub(&mut with_kind);
        assert_eq!(alone, with_kind, "{name}");
        if columns.contains(&"kind") {
            let kinds = alone.as_array().unwrap().iter().map(|row| &row["kind"]);
            assert!(kinds.into_iter().all(|kind| kind == "export"), "{name}: {alone}");
        }
    }
    assert!(asked > 15, "{asked}");
}

/// The order among the two may differ: their ids tell names apart where names are equal.
fn sort(rows: &mut Value) {
    rows.as_array_mut().unwrap().sort_by_key(Value::to_string);
}

#[test]
fn status_tells_two_kinds_of_one_id_apart() {
    let twins = Twins::new();
    let [mut apart, mut found] = twins.answers(&["status", "--format", "json"], "");
    for status in [&mut apart, &mut found] {
        let rows = status["connections"].as_array().unwrap().iter();
        let rows: Vec<Value> = rows
            .map(|row| json!([row["name"], row["runs"], row["unfinished"], row["newest_started_at"]]))
            .collect();
        *status = Value::from(rows);
        sort(status);
    }
    assert_eq!(found, apart);
    assert!(!found.as_array().unwrap().is_empty());
}

#[test]
fn a_word_that_a_query_does_not_know_is_wrong_usage_and_not_an_empty_answer() {
    let archive = Archive::new();
    let mut demo = archive.command();
    demo.args(["demo", "--db"]).arg(archive.path());
    run(demo).expect(0);
    for (name, parameter) in [
        ("failure-rates", "by=weekly"),
        ("durations", "by=everything"),
        ("durations", "of=runs"),
        ("job-durations", "by=day"),
    ] {
        let mut command = archive.command();
        command.args(["query", name, "--param", parameter]);
        let ended = run(command).expect(2);
        assert!(ended.stderr.contains("it is one of: "), "{name} {parameter}: {}", ended.stderr);
    }
    // Each name knows the days of a time zone.
    for name in ["failure-rates-by-connection-and-day", "failure-rates-by-day", "failure-rates-by-week"] {
        let mut command = archive.command();
        command.args(["query", name, "--tz", "Europe/Berlin", "--format", "json"]);
        run(command).expect(0);
    }
}
