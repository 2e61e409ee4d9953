//! The data goes one way: which module may use which.

use std::collections::BTreeMap;
use std::path::Path;

/// What each module may name by `crate::`; `error`, `time` and a module's own parts it always may.
const ALLOWED: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("cli", &[]),
    (
        "commands",
        &["api", "emulator", "import", "query", "render", "report", "settings", "store", "sync", "verify"],
    ),
    ("emulator", &["api"]),
    ("error", &[]),
    ("import", &["api", "store", "sync"]),
    ("lib", &[]),
    ("logging", &["render", "settings"]),
    ("main", &[]),
    ("normalize", &["api"]),
    ("query", &["store"]),
    ("render", &["api", "import", "query", "report", "store", "sync", "verify"]),
    ("report", &["query", "store"]),
    ("settings", &["api", "cli"]),
    ("store", &["api", "normalize"]),
    ("sync", &["api", "normalize", "store", "walk"]),
    ("time", &[]),
    ("verify", &["api", "normalize", "query", "store", "sync", "walk"]),
    ("walk", &["api"]),
];

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// A file's code without its comments and without the tests below it.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_module_uses_one_that_comes_after_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20);
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().with_extension("");
        let module = relative.iter().next().unwrap().to_str().unwrap().to_owned();
        let may = allowed.get(module.as_str()).unwrap_or_else(|| panic!("{module} is not in the list"));
        let text = code(&file);
        for used in text.split("crate::").skip(1) {
            let words = used.strip_prefix('{').map_or_else(
                || vec![used],
                |list| list.split('}').next().unwrap_or_default().split(", ").collect(),
            );
            for word in words {
                let name: String = word.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let is_free = name.is_empty() || name == module || name == "error" || name == "time";
                assert!(is_free || may.contains(&name.as_str()), "{} uses {name}", file.display());
            }
        }
    }
}

#[test]
fn types_of_libraries_stay_in_the_module_that_knows_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let homes: &[(&str, &[&str])] = &[
        ("reqwest::", &["api"]),
        ("rusqlite::", &["query", "store"]),
        (" hyper::", &["emulator"]),
        ("clap::", &["cli", "main"]),
        ("clap_complete::", &["cli"]),
        ("clap_mangen::", &["cli"]),
        ("rustix::", &["commands", "store"]),
        ("terminal_size::", &["render"]),
    ];
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().with_extension("");
        let module = relative.iter().next().unwrap().to_str().unwrap().to_owned();
        let text = code(&file);
        for (library, home) in homes {
            assert!(
                !text.contains(library) || home.contains(&module.as_str()),
                "{} uses {library}",
                file.display()
            );
        }
    }
}

#[test]
fn database_files_are_opened_in_one_place() {
    // Closing a file by hand that SQLite has open drops SQLite's locks: only `store/handle.rs` knows whether
    // it has. The others open files that are not, or not yet, a database of this process.
    let may_open: &[(&str, &[&str])] = &[
        ("Connection::open", &["store/backup.rs", "store/handle.rs", "store/restore.rs", "store/schema.rs"]),
        ("File::open", &["render/output.rs", "store/backup.rs", "store/new.rs", "store/staging.rs"]),
        // A damaged archive, which SQLite has not open then.
        ("File::options", &["store/restore.rs"]),
        ("OpenOptions::new", &["commands/import.rs", "render/output.rs", "store/handle.rs", "store/lock.rs"]),
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let text = code(&file);
        for (opening, may) in may_open {
            assert!(!text.contains(opening) || may.contains(&name.as_str()), "{name} uses {opening}");
        }
    }
}
