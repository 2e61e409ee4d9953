//! What the README says is what the program does.

use std::path::Path;
use std::process::Command;

use crate::common::{Archive, platform, run, runs};
use run_archive::emulator::{Emulator, Imodel, Itwin};

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The text block below a marker such as `<!-- help sync -->`.
fn block(readme: &str, marker: &str) -> String {
    let after = readme.split(marker).nth(1).unwrap_or_else(|| panic!("{marker} is not in the README"));
    let block = after.split("```text\n").nth(1).unwrap();
    block.split("```").next().unwrap().to_owned()
}

fn help(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archive"));
    command.env_clear().env("COLUMNS", "80").args(arguments);
    run(command).expect(0).stdout
}

#[test]
fn the_help_in_the_readme_is_what_the_program_prints() {
    assert_eq!(block(&file("README.md"), "<!-- help sync -->"), help(&["sync", "-h"]));
}

#[test]
fn every_command_has_help_with_an_example_and_a_chapter_in_the_readme() {
    let readme = file("README.md");
    let commands = [
        "init",
        "sync",
        "import",
        "status",
        "report",
        "query",
        "verify",
        "backup",
        "restore",
        "rejects",
        "prune",
        "compact",
        "demo",
        "completions",
        "man",
    ];
    for command in commands {
        let help = help(&[command, "--help"]);
        assert!(help.contains("Examples:"), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
        assert!(readme.contains(&format!("\n## archive {command}\n")), "{command}");
    }
}

#[test]
fn every_table_and_column_stands_in_the_readme() {
    let archive = Archive::new();
    let emulator = Emulator::start(platform(runs(0, 1))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    let readme = file("README.md");
    let tables = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT GLOB 'refinery*' AND name NOT GLOB 'sqlite*'";
    for table in archive.column::<String>(tables) {
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{table}` |")));
        let row = row.unwrap_or_else(|| panic!("{table} is not in the README"));
        for column in archive.column::<String>(&format!("SELECT name FROM pragma_table_xinfo('{table}')")) {
            assert!(row.contains(&format!("`{column}`")), "{table}.{column} is not in the README");
        }
    }
}

#[test]
fn the_configuration_and_the_query_of_the_readme_work_as_they_stand() {
    let readme = file("README.md");
    let archive = Archive::new();
    let mut listed = platform(runs(0, 3));
    let connection = listed.connections.values().next().unwrap().clone();
    listed.itwins.insert(connection.itwin_id.clone(), Itwin::new("Programme"));
    listed.imodels.insert(connection.imodel_id.clone(), Imodel::new(&connection.itwin_id, "Bridge"));
    let emulator = Emulator::start(listed).unwrap();
    let toml = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    std::fs::write(archive.folder().join("archive.toml"), toml).unwrap();
    std::fs::write(archive.folder().join("secret"), "s").unwrap();
    let mut sync = archive.command();
    // What the environment says goes over the file: nothing leaves this machine.
    sync.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url());
    sync.args(["--config", "archive.toml", "sync"]);
    run(sync).expect(0);
    let sql = readme.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    let rate: f64 = database.query_row(sql, [], |row| row.get("failure_rate")).unwrap();
    assert!((0.0..=1.0).contains(&rate));
}
