//! The same questions in the shell that comes with SQLite, where one is installed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use run_archive::query::{Catalog, Value as Parameter};
use serde_json::Value;

use super::reading::Parameters;

const END: &str = "-- that is all --";

/// What is there to run the files of `queries/` with.
pub fn is_installed() -> bool {
    Command::new("sqlite3")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("queries").join(format!("{name}.sql"))
}

/// The rows of each query, from one shell that reads the files as they are.
pub fn answers(database: &Path, questions: &[(&str, &Parameters)]) -> Vec<Vec<Value>> {
    let mut script = ".mode json\n".to_owned();
    for (name, parameters) in questions {
        script += ".parameter clear\n";
        for (parameter, value) in *parameters {
            script += &format!(".parameter set :{parameter} {}\n", argument(value));
        }
        script += &statement(name);
        script += &format!(".print \"{END}\"\n");
    }
    let mut shell = Command::new("sqlite3");
    shell.args(["-batch", "-bail", "-readonly"]).arg(database).env_clear();
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let mut input = shell.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(script.as_bytes()).unwrap());
    let output = shell.wait_with_output().unwrap();
    writer.join().unwrap();
    let (said, problems) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && problems.is_empty(), "{problems}\n{said}");
    let mut parts: Vec<&str> = said.split(&format!("{END}\n")).collect();
    assert_eq!(parts.pop(), Some(""));
    assert_eq!(parts.len(), questions.len());
    // No rows are nothing, not an empty array.
    let rows = |part: &str| if part.is_empty() { Vec::new() } else { serde_json::from_str(part).unwrap() };
    parts.into_iter().map(rows).collect()
}

/// The file as it is; of a query that is a file with given parameters, the statement that the program runs.
fn statement(name: &str) -> String {
    let file = file(name);
    if file.exists() {
        return format!(".read \"{}\"\n", file.display());
    }
    let catalog = Catalog::built_in();
    format!("{}\n;\n", catalog.find(name).unwrap().sql.trim_end().trim_end_matches(';'))
}

/// A value as SQL, as one argument in the shell's quotes.
fn argument(value: &Parameter) -> String {
    match value {
        Parameter::Integer(number) => number.to_string(),
        Parameter::Text(text) => {
            let sql = format!("'{}'", text.replace('\'', "''"));
            format!("\"{}\"", sql.replace('\\', "\\\\").replace('"', "\\\""))
        }
        other => panic!("{other:?} is no parameter of these"),
    }
}
