//! What saved answers may change: children that are no objects, times that cannot be read, and answers of the
//! synchronization kinds, which never become exports.

use std::fs;

use run_archive::emulator::Emulator;
use serde_json::{Value, json};

use crate::common::{Archive, CONNECTION, Ended, fixture, platform, run, run_of_json};

const ID: &str = "SYN-saved-connection";

fn import(archive: &Archive, text: impl AsRef<[u8]>, more: &[&str]) -> Ended {
    fs::write(archive.folder().join("saved.json"), text).unwrap();
    let mut command = archive.command();
    command.args(["import", "saved.json", "--format", "json"]).args(more);
    run(command)
}

/// The published sample as `ConvertTo-Json` of PowerShell 5 writes it at its depth of 2: dates of its own, and
/// what lies deeper as a text.
fn through_powershell() -> Value {
    let mut page: Value = serde_json::from_str(&fixture("list-runs-200.json")).unwrap();
    page["runs"][0]["jobs"] = json!("@{id=899537ea; state=Completed; tasks=System.Object[]}");
    page["runs"][0]["startDateTime"] = json!("/Date(1694692806872)/");
    page["runs"][0]["endDateTime"] = json!("/Date(1694693231413)/");
    page
}

/// What stands in the tables of the one run.
fn stored(archive: &Archive) -> String {
    archive.value(
        "SELECT (SELECT count(*) FROM jobs) || ' ' || (SELECT count(*) FROM tasks) || ' '
                || (SELECT count(*) FROM errors) || ' ' || has_failure || ' ' || ifnull(started_at, 'never') || ' '
                || ifnull(duration_ms, 'no')
         FROM runs",
    )
}

#[test]
fn children_that_came_as_text_leave_the_archived_ones_and_the_exit_says_so() {
    let damages: [fn(&mut Value); 6] = [
        |page| *page = through_powershell(),
        |page| page["runs"][0]["jobs"] = json!(["@{id=899537ea}"]),
        |page| page["runs"][0]["jobs"][0]["tasks"] = json!(["@{id=fe2f628d; error=}"]),
        |page| page["runs"][0]["jobs"][0]["tasks"] = json!("System.Object[]"),
        |page| page["runs"][0]["jobs"][0]["tasks"][0]["error"] = json!("@{errorCode=TAE_BRW_1000}"),
        |page| page["runs"][0]["startDateTime"] = json!("09/14/2023 12:00:06"),
    ];
    for damage in damages {
        let archive = Archive::new();
        import(&archive, fixture("list-runs-200.json"), &[]).expect(0);
        let before = stored(&archive);
        let mut page: Value = serde_json::from_str(&fixture("list-runs-200.json")).unwrap();
        damage(&mut page);
        let received = page["runs"][0].to_string();
        for times in 1..=2 {
            let told = import(&archive, page.to_string(), &[]).expect(3).json();
            let counts =
                ["received", "new", "changed", "unchanged", "rejected"].map(|name| told[name].as_u64());
            assert_eq!(counts, [1, 0, 0, 0, 1].map(Some), "{received}");
            assert_eq!(stored(&archive), before, "import {times} of {received}");
            let drift: Vec<String> = archive.column("SELECT what || ' ' || runs FROM drift");
            let is_told = !drift.is_empty() && drift.iter().all(|note| note == "type 1");
            assert!(is_told, "import {times} of {received}: {drift:?}");
        }
        // What was received is there to the letter, once.
        assert_eq!(archive.column::<String>("SELECT raw FROM rejects"), [received.as_str()]);
        let reason: String = archive.value("SELECT reason FROM rejects");
        assert!(reason.contains("could not be read"), "{reason}");
        // A later version that tries again does not lose it.
        archive.column::<i64>("UPDATE rejects SET version = 'earlier' RETURNING 1");
        let mut retry = archive.command();
        retry.args(["rejects", "--retry"]);
        run(retry);
        assert_eq!(archive.count("rejects"), 1, "{received}");
        assert_eq!(stored(&archive), before, "retried: {received}");
        archive.assert_sound();
    }
}

#[test]
fn a_run_first_met_with_children_of_text_is_kept_whole_and_told() {
    let archive = Archive::new();
    let page = through_powershell();
    import(&archive, page.to_string(), &[]).expect(3);
    assert_eq!(archive.count("jobs"), 0);
    let extra: String = archive.value("SELECT extra FROM runs");
    let extra: Value = serde_json::from_str(&extra).unwrap();
    assert_eq!(extra["jobs"], page["runs"][0]["jobs"]);
    let drift =
        archive.column::<String>("SELECT object || ' ' || field || ' ' || what || ' ' || value FROM drift");
    assert_eq!(drift, ["run jobs type text"]);
    // The whole page mends it.
    let told = import(&archive, fixture("list-runs-200.json"), &[]).expect(0).json();
    assert_eq!(told["changed"], 1);
    assert_eq!((archive.count("jobs"), archive.count("tasks"), archive.count("errors")), (1, 1, 1));
}

#[test]
fn a_sync_that_meets_children_of_text_keeps_the_archived_ones_and_ends_with_3() {
    let whole = r#"{"id":"a","state":"Completed","startDateTime":"2026-01-05T00:00:00Z","jobs":[{"id":"j","tasks":[{"id":"t","error":{"errorCode":"E"}}]}]}"#;
    let odd = whole.replace(r#"{"errorCode":"E"}"#, r#""E""#);
    let archive = Archive::new();
    let emulator = Emulator::start(platform([run_of_json("a", "2026-01-05T00:00:00Z", whole)])).unwrap();
    run(archive.sync(&emulator)).expect(0);
    let changed = run_of_json("a", "2026-01-05T00:00:00Z", &odd);
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.replace(changed);
    for _ in 0..2 {
        run(archive.sync(&emulator)).expect(3);
        assert_eq!(archive.column::<String>("SELECT error_code FROM errors"), ["E"]);
        assert_eq!(archive.column::<Option<String>>("SELECT unlisted_at FROM runs"), [None]);
    }
    assert_eq!(archive.column::<String>("SELECT raw FROM rejects"), [odd]);
}

/// A run as the Synchronization API gives it, with what a test adds.
fn synchronized(members: Value) -> Value {
    let mut run = json!({
        "id": "r", "connectionId": ID, "state": "Completed", "result": "Success",
        "startDateTime": "2026-01-05T00:00:00Z",
        "jobs": [{"id": "j", "tasks": [{"id": "t", "result": "Success"}]}]
    });
    for (name, value) in members.as_object().unwrap() {
        match name.as_str() {
            "task" => {
                run["jobs"][0]["tasks"][0].as_object_mut().unwrap().extend(value.as_object().unwrap().clone())
            }
            name => run[name] = value.clone(),
        }
    }
    run
}

fn page(path: &str, run: &Value) -> String {
    let href = format!("https://api.bentley.com/{path}/runs?$skip=0&$top=100");
    json!({"runs": [run], "_links": {"self": {"href": href}}}).to_string()
}

#[test]
fn a_saved_answer_of_a_synchronization_is_never_stored_as_an_exports() {
    let plain = synchronized(json!({}));
    let of_storage = synchronized(json!({"task": {"storageFileId": "f"}}));
    let of_manifest = synchronized(json!({"phase": "MasterFile", "task": {"sourceFileId": "f"}}));
    let phase = synchronized(json!({"phase": "MasterFile"}));
    let error = synchronized(json!({"error": {"errorKey": "UserNotAuthenticated"}}));
    let connector = {
        let mut run = synchronized(json!({}));
        run["jobs"][0]["connectorType"] = json!("DWG");
        run
    };
    let minimal = json!({"id": "r", "connectionId": ID, "state": "Completed", "result": "Success"});
    let bare = |run: &Value| json!({"run": run}).to_string();
    // The published sample of an export, without the links that name it.
    let mut published: Value = serde_json::from_str(&fixture("list-runs-200.json")).unwrap();
    published.as_object_mut().unwrap().remove("_links");
    published["runs"][0]["connectionId"] = json!(ID);
    let named = |segment: &str| format!("synchronization/imodels/{segment}/{ID}");
    let placeholder = |segment: &str| format!("synchronization/imodels/{segment}/{{connectionId}}");
    for (text, expected) in [
        (page(&named("manifestconnections"), &plain), Some("manifest")),
        (page(&named("storageConnections"), &plain), Some("storage")),
        (page(&placeholder("manifestconnections"), &plain), Some("manifest")),
        (page(&placeholder("manifestconnections"), &minimal), Some("manifest")),
        (page(&placeholder("storageconnections"), &of_storage), Some("storage")),
        // The published link of storage runs says neither the kind nor the id.
        (page(&placeholder("connection"), &of_storage), Some("storage")),
        (page(&placeholder("connection"), &of_manifest), Some("manifest")),
        (page(&placeholder("connection"), &plain), None),
        (page(&placeholder("connections"), &plain), None),
        (bare(&of_storage), Some("storage")),
        (bare(&of_manifest), Some("manifest")),
        (json!({"runs": [of_manifest, plain]}).to_string(), Some("manifest")),
        (json!({"runs": [of_manifest, of_storage]}).to_string(), None),
        (bare(&phase), None),
        (bare(&error), None),
        (bare(&connector), None),
        (bare(&minimal), None),
        (bare(&plain), Some("export")),
        // What an empty or a short list lacks says nothing; a file that only exports write does.
        (bare(&synchronized(json!({"jobs": []}))), None),
        (bare(&synchronized(json!({"jobs": [{"id": "j", "tasks": []}]}))), None),
        (
            json!({"runs": [{"id": "r", "connectionId": ID, "jobs": [{"id": "j", "tasks": [{"id": "t"}]}]}]})
                .to_string(),
            None,
        ),
        (bare(&synchronized(json!({"task": {"exportOutputFileId": "f"}}))), Some("export")),
        (bare(&synchronized(json!({"phase": "MasterFile", "task": {"exportOutputFileId": "f"}}))), None),
        (published.to_string(), Some("export")),
        (page(&format!("export/connections/{ID}"), &connector), Some("export")),
        (page("export/connections/{connectionId}", &minimal), Some("export")),
    ] {
        let archive = Archive::new();
        let ended = import(&archive, &text, &[]);
        let Some(kind) = expected else {
            let ended = ended.expect(2);
            assert!(ended.stderr.contains(&format!("--connection export:{ID}")), "{}", ended.stderr);
            assert!(!archive.path().exists(), "{text}");
            // Said, it is stored as what was said.
            import(&archive, &text, &["--connection", &format!("storage:{ID}")]).expect(0);
            let stored = archive.column::<String>("SELECT kind || ' ' || id FROM connections");
            assert_eq!(stored, [format!("storage {ID}")], "{text}");
            continue;
        };
        ended.expect(0);
        let stored = archive.column::<String>("SELECT kind || ' ' || id FROM connections");
        assert_eq!(stored, [format!("{kind} {ID}")], "{text}");
    }
}

#[test]
fn an_answer_that_leaves_its_kind_open_belongs_to_the_one_archived_connection_of_its_id() {
    let minimal = json!({"run": {"id": "r", "connectionId": ID, "state": "Completed"}}).to_string();
    for kind in ["export", "storage", "manifest"] {
        let archive = Archive::new();
        let connection = format!("{kind}:{ID}");
        import(&archive, &minimal, &["--connection", &connection]).expect(0);
        import(&archive, &minimal, &[]).expect(0);
        assert_eq!((archive.count("connections"), archive.count("runs")), (1, 1), "{kind}");
    }
    // Of two of that id neither is the one; and an export is not what a synchronization's answer means.
    let archive = Archive::new();
    for kind in ["export", "manifest"] {
        import(&archive, &minimal, &["--connection", &format!("{kind}:{ID}")]).expect(0);
    }
    import(&archive, &minimal, &[]).expect(2);
    let archive = Archive::new();
    import(&archive, &minimal, &["--connection", &format!("export:{ID}")]).expect(0);
    import(&archive, json!({"run": synchronized(json!({"phase": "MasterFile"}))}).to_string(), &[]).expect(2);
    import(&archive, json!({"run": synchronized(json!({"task": {"storageFileId": "f"}}))}).to_string(), &[])
        .expect(0);
    let stored = archive.column::<String>("SELECT kind FROM connections ORDER BY kind");
    assert_eq!(stored, ["export", "storage"]);
}

#[test]
fn of_several_archived_connections_of_an_id_only_a_field_of_one_kind_says_which() {
    let minimal = json!({"run": {"id": "r", "connectionId": ID, "state": "Completed"}}).to_string();
    let of_run = |run: Value| json!({"runs": [run]}).to_string();
    let all = ["export", "storage", "manifest"];
    for archived in [["storage", "manifest"], ["export", "storage"], ["export", "manifest"]] {
        let archive = Archive::new();
        for kind in archived {
            import(&archive, &minimal, &["--connection", &format!("{kind}:{ID}")]).expect(0);
        }
        // A whole run without any field of one kind, which would be an export's if none were archived.
        for run in [json!({}), json!({"jobs": []}), json!({"task": {"state": "Completed"}})] {
            let text = of_run(synchronized(run));
            let told = import(&archive, &text, &[]).expect(2).stderr;
            assert!(all.iter().all(|kind| told.contains(&format!("{kind}:{ID}"))), "{told}");
            assert_eq!((archive.count("connections"), archive.count("runs")), (2, 2), "{text}");
        }
    }
    let archive = Archive::new();
    for kind in all {
        import(&archive, &minimal, &["--connection", &format!("{kind}:{ID}")]).expect(0);
    }
    for (field, kind) in
        [("exportOutputFileId", "export"), ("storageFileId", "storage"), ("sourceFileId", "manifest")]
    {
        let mut run = synchronized(json!({"task": {field: "f"}}));
        run["id"] = json!(kind);
        import(&archive, of_run(run), &[]).expect(0);
        let stored: String = archive.value(&format!(
            "SELECT kind FROM runs JOIN connections USING (connection_key) WHERE runs.id = '{kind}'"
        ));
        assert_eq!(stored, kind);
    }
    assert_eq!(archive.count("connections"), 3);
}
