//! Signed URLs in what the platform sends: shown without their signatures, kept with them.

use run_archive::emulator::Emulator;

use crate::common::{Archive, platform, run, run_of_json};

const SECRET: &str = "aB%2Bc9KzQ8signatureValue%3D";

#[test]
fn a_signature_is_shown_nowhere_and_kept_wherever_programs_read() {
    let url = format!("https://acc.blob.core.windows.net/c/f.ifc?sv=2020-08-04&sig={SECRET}&sp=r");
    let json = format!(
        r#"{{"id":"a","state":"Completed","result":"Error","startDateTime":"2026-01-05T00:00:00Z","endDateTime":"2026-01-05T00:01:00Z","log":"{url}","jobs":[{{"id":"j","result":"Error","tasks":[{{"id":"t","result":"Error","error":{{"errorCode":"E at {url}","descriptionKey":"K","description":"put {url}","message":"m {url}","kbArticleLink":"{url}"}}}}]}}]}}"#
    );
    let archive = Archive::new();
    let odd = format!(r#"{{"id":7,"log":"{url}"}}"#);
    let emulator = Emulator::start(platform([
        run_of_json("a", "2026-01-05T00:00:00Z", &json),
        run_of_json("b", "2026-01-04T00:00:00Z", &odd),
    ]))
    .unwrap();
    for format in ["text", "json"] {
        let mut sync = archive.sync(&emulator);
        sync.args(["-vv", "--log-format", format, "--full"]);
        let ended = run(sync).expect(3);
        assert!(!ended.stderr.contains("signatureValue"), "{}", ended.stderr);
    }
    let ask = |arguments: &[&str]| {
        let mut command = archive.command();
        command.args(arguments);
        run(command).expect(0).stdout
    };
    let errors = "SELECT * FROM error_details";
    for shown in [
        ask(&["query", "--sql", errors]),
        ask(&["query", "--sql", errors, "--format", "markdown"]),
        ask(&["query", "rejects"]),
        ask(&["query", "error-codes"]),
        ask(&["report", "--since", "2026-01-01", "--until", "2026-02-01"]),
        ask(&["report", "--since", "2026-01-01", "--until", "2026-02-01", "--format", "markdown"]),
        ask(&["report", "--since", "2026-01-01", "--until", "2026-02-01", "--format", "html"]),
        ask(&["status"]),
    ] {
        assert!(!shown.contains("signatureValue"), "{shown}");
    }
    for exact in [
        ask(&["query", "--sql", errors, "--format", "json"]),
        ask(&["query", "--sql", errors, "--format", "csv"]),
        ask(&["query", "--sql", "SELECT extra FROM runs", "--format", "ndjson"]),
        archive.value("SELECT raw FROM rejects"),
        archive.value("SELECT message FROM errors"),
    ] {
        assert!(exact.contains(SECRET), "{exact}");
    }
}

#[test]
fn a_secret_in_any_known_spelling_is_shown_nowhere_and_kept() {
    let secrets = [
        "https://h/f?q-signature=SECRETS&a=1",
        "https://h/f?x-oss-signature=SECRETS",
        "https://h/f?hmac=SECRETS",
        "https://me:SECRETS@h/f",
        "https://h/f?a=1;sig=SECRETS",
        "sig=SECRETS0123456789abcdef",
        "AccountName=a;AccountKey=SECRETS==;b=2",
        "Endpoint=sb://h/;SharedAccessKey=SECRETS=",
        "SharedAccessSignature=SECRETS",
        "https://h/f#access_token=SECRETS",
        "Authorization: Bearer SECRETS",
        "password=SECRETS",
        "Server=s;pwd=SECRETS;b=2",
        "https://h/f?%73ig=SECRETS",
    ];
    let archive = Archive::new();
    let page: Vec<_> = secrets
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let error = serde_json::json!({"errorCode": "E", "message": text, "descriptionKey": "K"});
            serde_json::json!({
                "id": format!("r{number}"), "state": "Completed", "result": "Error",
                "startDateTime": "2026-01-05T00:00:00Z",
                "jobs": [{"id": "j", "result": "Error", "tasks": [{"id": "t", "result": "Error", "error": error}]}]
            })
        })
        .collect();
    std::fs::write(archive.folder().join("page.json"), serde_json::json!({"runs": page}).to_string())
        .unwrap();
    let ask = |arguments: &[&str]| {
        let mut command = archive.command();
        command.args(arguments);
        run(command).expect(0).stdout
    };
    ask(&["import", "page.json", "--connection", "export:c"]);
    let errors = "SELECT run_key, message FROM errors ORDER BY 1";
    for format in ["table", "markdown"] {
        let shown = ask(&["query", "--sql", errors, "--format", format]);
        assert!(!shown.contains("SECRETS"), "{shown}");
        assert!(shown.matches("[signature").count() >= secrets.len(), "{shown}");
    }
    for format in ["json", "csv"] {
        let exact = ask(&["query", "--sql", errors, "--format", format]);
        assert_eq!(exact.matches("SECRETS").count(), secrets.len(), "{exact}");
    }
}
