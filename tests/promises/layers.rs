//! The data goes one way: which module may use which, and which file of a module which other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each module may name by `crate::`; `error`, `time` and a module's own parts it always may.
const ALLOWED: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("cli", &["api"]),
    (
        "commands",
        &["api", "emulator", "import", "query", "render", "report", "settings", "store", "sync", "verify"],
    ),
    ("detector", &[]),
    ("emulator", &["api"]),
    ("error", &[]),
    ("import", &["api", "store", "sync"]),
    ("lib", &[]),
    ("logging", &["render", "settings"]),
    ("main", &[]),
    ("normalize", &["api"]),
    ("program", &["cli", "commands", "logging", "settings", "sync"]),
    ("query", &["store"]),
    ("render", &["api", "import", "query", "report", "store", "sync", "verify"]),
    ("report", &["detector", "query"]),
    ("settings", &["api", "cli"]),
    ("store", &["api", "normalize"]),
    ("sync", &["api", "normalize", "store", "walk"]),
    ("time", &[]),
    ("verify", &["api", "normalize", "query", "store", "sync", "walk"]),
    ("walk", &["api"]),
];

/// Files of one module that use each other in a circle and are still to be taken apart.
const KNOWN_CIRCLES: &[&[&str]] = &[&["import", "import/origin"]];

/// A file of `src`, by the path of its module: `["api", "wire"]`.
type Module = Vec<String>;

/// What is used of a file's code, without its comments and without its tests.
struct Source {
    file: PathBuf,
    code: String,
}

/// Every file of the program by its module, without those that only tests are compiled with.
fn program() -> BTreeMap<Module, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20);
    let mut program = BTreeMap::new();
    let mut only_tests = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().with_extension("");
        let module: Module = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
            let name = pair[1].rsplit_once("mod ").and_then(|(_, name)| name.strip_suffix(';'));
            only_tests.extend(name.map(|name| [module.clone(), vec![name.to_owned()]].concat()));
        }
        let end = lines.windows(2).position(|pair| {
            pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
        });
        let lines = &lines[..end.unwrap_or(lines.len())];
        let code: Vec<&str> =
            lines.iter().copied().filter(|line| !line.trim_start().starts_with("//")).collect();
        program.insert(module, Source { file, code: code.join("\n") });
    }
    program.retain(|module, _| !only_tests.iter().any(|tests| module.starts_with(tests)));
    program
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// A path that code names, from the root of the crate, and whether a `pub use` names it.
struct Used {
    path: Vec<String>,
    is_reexport: bool,
}

/// The paths in this code that begin with `crate`, `super`, `self` or a module that is declared in it.
fn used_paths(module: &Module, code: &str) -> Vec<Used> {
    let children: BTreeSet<&str> = code
        .lines()
        .filter_map(|line| line.rsplit_once("mod ")?.1.strip_suffix(';'))
        .filter(|name| name.chars().all(is_of_word))
        .collect();
    let mut used = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("::") {
        let before = &rest[..at];
        let start = before.rfind(|c| !is_of_word(c)).map_or(0, |at| at + 1);
        let first = &before[start..];
        let parents = match first {
            "crate" => Some(Vec::new()),
            "self" => Some(module.clone()),
            "super" => Some(module[..module.len() - 1].to_vec()),
            child if children.contains(child) => Some([module.clone(), vec![child.to_owned()]].concat()),
            _ => None,
        };
        rest = &rest[at + 2..];
        let Some(parents) = parents else { continue };
        let statement = before[..start].rsplit([';', '}']).next().unwrap_or_default();
        let is_reexport = statement.contains("pub") && statement.trim_end().ends_with("use");
        let mut paths = Vec::new();
        rest = &rest[read_tree(rest, &parents, &mut paths)..];
        used.extend(paths.into_iter().map(|path| Used { path, is_reexport }));
    }
    used
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Reads what follows `::`, a name or a list in braces, each with what is below it; gives its length.
fn read_tree(text: &str, parents: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    if let Some(list) = text.strip_prefix('{') {
        let mut at = 1;
        while !text[at..].starts_with('}') {
            at += text[at..].len()
                - text[at..].trim_start_matches(|c: char| c == ',' || c.is_whitespace()).len();
            if text[at..].starts_with('}') {
                break;
            }
            at += read_tree(&text[at..], parents, paths);
            // What is left of the item: `as Other`.
            at += text[at..].find([',', '}']).unwrap_or(list.len());
        }
        return at + 1;
    }
    let end = text.find(|c| !is_of_word(c)).unwrap_or(text.len());
    let path = match &text[..end] {
        "super" => parents[..parents.len() - 1].to_vec(),
        "self" => parents.to_vec(),
        name => [parents, &[name.to_owned()]].concat(),
    };
    match text[end..].strip_prefix("::") {
        Some(below) if below.starts_with(|c| is_of_word(c) || c == '{') => {
            end + 2 + read_tree(below, &path, paths)
        }
        _ => {
            paths.push(path);
            end
        }
    }
}

/// The file that a path leads to, through what other files hand on by `pub use`.
fn home<'a>(
    path: &[String],
    program: &'a BTreeMap<Module, Source>,
    handed_on: &BTreeMap<Vec<String>, Vec<String>>,
) -> Option<&'a Module> {
    let length = (1..=path.len()).rev().find(|&length| program.contains_key(&path[..length]))?;
    match path.get(..length + 1).and_then(|name| handed_on.get(name)) {
        Some(other) if *other != path => home(other, program, handed_on),
        _ => program.get_key_value(&path[..length]).map(|(module, _)| module),
    }
}

/// Which file uses which of the same module.
fn uses_within_modules(program: &BTreeMap<Module, Source>) -> BTreeMap<&Module, BTreeSet<&Module>> {
    let used: BTreeMap<_, _> =
        program.iter().map(|(module, source)| (module, used_paths(module, &source.code))).collect();
    let handed_on: BTreeMap<Vec<String>, Vec<String>> = used
        .iter()
        .flat_map(|(module, used)| used.iter().map(move |used| (module, used)))
        .filter(|(_, used)| used.is_reexport)
        .map(|(module, used)| ([&module[..], &used.path[used.path.len() - 1..]].concat(), used.path.clone()))
        .collect();
    let mut uses = BTreeMap::<_, BTreeSet<_>>::new();
    for (module, used) in &used {
        for used in used {
            // A file that hands a name on does not use it, unless the name stands in its code again.
            let name = used.path.last().unwrap();
            let unquoted = program[*module].code.lines().flat_map(|line| line.split('"').step_by(2));
            let mut words = unquoted.flat_map(|part| part.split(|c| !is_of_word(c)));
            let is_use = !used.is_reexport || words.by_ref().filter(|word| word == name).nth(1).is_some();
            let other = home(&used.path, program, &handed_on).filter(|_| is_use);
            if let Some(other) = other.filter(|other| other != module && other[0] == module[0]) {
                uses.entry(*module).or_default().insert(other);
            }
        }
    }
    uses
}

/// All that can be reached from a file.
fn reach<'a>(from: &'a Module, uses: &BTreeMap<&'a Module, BTreeSet<&'a Module>>) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(module) = next.pop() {
        let more = uses.get(module).into_iter().flatten().copied();
        next.extend(more.filter(|&other| reached.insert(other)));
    }
    reached
}

#[test]
fn no_two_files_of_a_module_use_each_other() {
    let program = program();
    let uses = uses_within_modules(&program);
    let reached: BTreeMap<&Module, _> = program.keys().map(|module| (module, reach(module, &uses))).collect();
    let mut circles = BTreeSet::new();
    for (module, others) in &reached {
        if others.contains(module) {
            let circle: BTreeSet<String> = others
                .iter()
                .filter(|other| reached[**other].contains(module))
                .map(|other| other.join("/"))
                .collect();
            circles.insert(circle);
        }
    }
    let is_within =
        |circle: &BTreeSet<String>, known: &[&str]| circle.iter().all(|file| known.contains(&file.as_str()));
    let is_new = |circle: &&BTreeSet<String>| !KNOWN_CIRCLES.iter().any(|known| is_within(circle, known));
    for circle in circles.iter().filter(is_new) {
        for (module, others) in uses.iter().filter(|(module, _)| circle.contains(&module.join("/"))) {
            let within = others.iter().map(|other| other.join("/")).filter(|other| circle.contains(other));
            println!("{} uses {}", module.join("/"), within.collect::<Vec<_>>().join(", "));
        }
    }
    let new: Vec<_> = circles.iter().filter(is_new).collect();
    assert!(new.is_empty(), "these use each other in a circle: {new:#?}");
    let is_gone = |known: &&&[&str]| !circles.iter().any(|circle| is_within(circle, known));
    let gone: Vec<_> = KNOWN_CIRCLES.iter().filter(is_gone).collect();
    assert!(gone.is_empty(), "these circles are open: take them out of the list: {gone:#?}");
}

#[test]
fn no_module_uses_one_that_comes_after_it() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut unused: BTreeSet<(&str, &str)> =
        ALLOWED.iter().flat_map(|(module, may)| may.iter().map(move |other| (*module, *other))).collect();
    for (path, source) in &program() {
        let module = path[0].as_str();
        let may = allowed.get(module).unwrap_or_else(|| panic!("{module} is not in the list"));
        for used in used_paths(path, &source.code) {
            // `main` and `lib` stand at the root: what they name is declared or re-exported there.
            let Some(name) = used.path.first().map(String::as_str).filter(|name| allowed.contains_key(name))
            else {
                continue;
            };
            let is_free = name == module || name == "error" || name == "time";
            assert!(is_free || may.contains(&name), "{} uses {name}", source.file.display());
            unused.retain(|permission| *permission != (module, name));
        }
    }
    assert!(unused.is_empty(), "nobody uses these permissions: {unused:?}");
}

#[test]
fn types_of_libraries_stay_in_the_module_that_knows_them() {
    let homes: &[(&str, &[&str])] = &[
        ("reqwest::", &["api"]),
        ("rusqlite::", &["query", "store"]),
        (" hyper::", &["emulator"]),
        ("clap::", &["cli"]),
        ("clap_complete::", &["cli"]),
        ("clap_mangen::", &["cli"]),
        ("rustix::", &["commands", "store"]),
        ("terminal_size::", &["render"]),
    ];
    for (module, source) in &program() {
        for (library, home) in homes {
            let is_home = home.contains(&module[0].as_str());
            assert!(is_home || !source.code.contains(library), "{} uses {library}", source.file.display());
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
    for (module, source) in &program() {
        let name = module.join("/") + ".rs";
        for (opening, may) in may_open {
            let is_free = may.contains(&name.as_str());
            assert!(is_free || !source.code.contains(opening), "{name} uses {opening}");
        }
    }
}
