//! `archive init`, `archive completions` and `archive man`: what a newcomer begins with.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};
use run_archive::emulator::{Answer, Emulator, Imodel, Itwin, On, Platform, Scripted, history};

use crate::common::{Archive, Ended, run, skip};

const COMMANDS: [&str; 9] =
    ["init", "sync", "import", "status", "query", "report", "demo", "completions", "man"];

/// A platform of one iTwin with five connections, which knows the service application `service-1`.
fn start() -> (Emulator, String) {
    let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    let mut platform = history::platform(now, 2);
    platform.access.clients.insert("service-1".to_owned(), "hush-3f7e".to_owned());
    let itwin = platform.itwins.keys().next().unwrap().clone();
    (Emulator::start(platform).unwrap(), itwin)
}

fn secret(archive: &Archive) -> PathBuf {
    let path = archive.folder().join("secret");
    std::fs::write(&path, "hush-3f7e\n").unwrap();
    set_private(&path);
    path
}

#[cfg(unix)]
fn set_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
fn set_private(_: &Path) {}

#[cfg(unix)]
fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777 == 0o600
}

#[cfg(not(unix))]
fn is_private(path: &Path) -> bool {
    path.is_file()
}

/// The default place of the configuration.
fn file(archive: &Archive) -> PathBuf {
    archive.folder().join(".config/archive/archive.toml")
}

fn init(archive: &Archive, emulator: &Emulator, arguments: &[&str]) -> Command {
    let mut command = archive.command();
    command.env_remove("ARCHIVE_DB");
    command.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url());
    command.arg("init").args(arguments);
    command
}

/// With the credentials of the service application, by files.
fn init_as_service(archive: &Archive, emulator: &Emulator, arguments: &[&str]) -> Command {
    let secret = secret(archive);
    let mut command = init(archive, emulator, arguments);
    command.args(["--client-id", "service-1", "--client-secret-file"]).arg(secret);
    command
}

/// The command with nothing in its environment but a home.
fn bare(archive: &Archive, arguments: &[&str]) -> Command {
    let mut command = archive.command();
    command.env_remove("ARCHIVE_DB").args(arguments);
    command
}

fn assert_nothing_written(archive: &Archive) {
    assert!(!archive.folder().join(".config").exists());
}

/// Neither stream shows the secret.
fn assert_silent(ended: &Ended) {
    assert!(
        !ended.stdout.contains("hush") && !ended.stderr.contains("hush"),
        "{}{}",
        ended.stdout,
        ended.stderr
    );
}

#[test]
fn what_init_writes_is_enough_for_a_sync() {
    let (emulator, itwin) = start();
    let archive = Archive::new();
    let db = archive.path();
    let arguments = ["--itwin", &itwin, "--time-zone", "europe/berlin", "--db", db.to_str().unwrap()];
    let told = run(init_as_service(&archive, &emulator, &arguments)).expect(0);
    assert_silent(&told);
    for text in ["accepts the credentials", "iTwin Northern District programme lists 5 iModels", "wrote "] {
        assert!(told.stderr.contains(text), "{text} in {}", told.stderr);
    }
    for text in ["archive sync --estimate\n", "archive sync\n", "5 * * * *  /", "-q sync\n"] {
        assert!(told.stdout.contains(text), "{text} in {}", told.stdout);
    }
    let text = std::fs::read_to_string(file(&archive)).unwrap();
    assert!(text.contains("# Northern District programme\n") && !text.contains("hush"), "{text}");
    assert!(text.contains("\ntime_zone = \"Europe/Berlin\"\n"), "{text}");
    assert!(is_private(&file(&archive)));
    run(bare(&archive, &["sync"])).expect(0);
    assert_eq!(archive.count("connections"), 5);
    assert!(archive.count("runs") > 1_000);
}

#[test]
fn every_setting_of_the_file_holds_when_its_mark_is_taken_away() {
    let (emulator, itwin) = start();
    let archive = Archive::new();
    let arguments = ["--itwin", &itwin, "--imodel", "m", "--no-check", "--config", "etc/new/a.toml"];
    let told = run(init(&archive, &emulator, &arguments)).expect(0);
    assert!(emulator.requests().is_empty());
    assert!(told.stdout.contains("--config ") && told.stdout.contains("No credentials are named yet"));
    let path = archive.folder().join("etc/new/a.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut taken = 0;
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => {
            taken += 1;
            format!("{setting}\n")
        }
        _ => format!("{line}\n"),
    });
    let whole: String = lines.collect();
    std::fs::write(&path, &whole).unwrap();
    // Of 20 settings itwins, imodels, api_url and issuer_url are chosen.
    assert_eq!(taken, 20 - 4, "{text}");
    let status = ["status", "--config", "etc/new/a.toml", "--db", "none.db"];
    let told = run(bare(&archive, &status)).expect(1);
    assert!(told.stderr.contains("none.db") && !told.stderr.contains("settings"), "{}", told.stderr);
}

#[test]
fn a_file_that_exists_is_left_alone_unless_forced() {
    let (emulator, itwin) = start();
    let archive = Archive::new();
    let path = file(&archive);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "# mine\n").unwrap();
    let told = run(init_as_service(&archive, &emulator, &["--itwin", &itwin])).expect(2);
    assert!(
        told.stderr.contains("archive.toml exists") && told.stderr.contains("--force"),
        "{}",
        told.stderr
    );
    assert!(emulator.requests().is_empty());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine\n");
    run(init_as_service(&archive, &emulator, &["--itwin", &itwin, "--force"])).expect(0);
    assert!(std::fs::read_to_string(&path).unwrap().contains(&itwin));
    assert!(is_private(&path));
}

#[test]
fn refused_credentials_write_nothing_and_end_with_4() {
    let (emulator, itwin) = start();
    let archive = Archive::new();
    let mut command = init(&archive, &emulator, &["--itwin", &itwin]);
    command.env("ITP_SERVICE_CLIENT_ID", "service-1").env("ITP_SERVICE_CLIENT_SECRET", "wrong-canary");
    let told = run(command).expect(4);
    assert!(
        !told.stderr.contains("canary") && told.stderr.contains("nothing was written"),
        "{}",
        told.stderr
    );
    assert_nothing_written(&archive);
    let mut command = init(&archive, &emulator, &["--itwin", &itwin]);
    command.env("ITP_ACCESS_TOKEN", "stale-canary");
    let told = run(command).expect(4);
    assert!(!told.stderr.contains("canary"), "{}", told.stderr);
    assert_nothing_written(&archive);
}

#[test]
fn a_platform_out_of_reach_writes_nothing_and_says_how_to_go_on() {
    let archive = Archive::new();
    let (emulator, itwin) = start();
    let url = emulator.url();
    drop(emulator);
    let mut command = archive.command();
    command.env("ITP_API_URL", &url).env("ITP_ISSUER_URL", &url).env("ITP_ACCESS_TOKEN", "token");
    command.args(["init", "--itwin", &itwin]);
    let told = run(command).expect(1);
    assert!(told.stderr.contains("--no-check"), "{}", told.stderr);
    assert_nothing_written(&archive);
}

#[test]
fn an_itwin_that_lists_nothing_or_is_hidden_is_told_and_the_file_is_written() {
    let (emulator, _) = start();
    emulator.platform().itwins.insert("empty".to_owned(), Itwin::new("New\n\u{1b}[2Jdb = \"/evil\""));
    let hidden = Itwin { status: Some(403), ..Itwin::new("Hidden") };
    emulator.platform().itwins.insert("hidden".to_owned(), hidden);
    for (id, said) in [("empty", "a role"), ("hidden", "403"), ("unknown", "404")] {
        let archive = Archive::new();
        let told = run(init_as_service(&archive, &emulator, &["--itwin", id])).expect(3);
        assert!(told.stderr.contains(said) && !told.stderr.contains('\u{1b}'), "{}", told.stderr);
        let text = std::fs::read_to_string(file(&archive)).unwrap();
        assert!(text.contains(&format!("\"{id}\"")) && !text.contains("\ndb"), "{text}");
        run(bare(&archive, &["status"])).expect(1);
    }
}

#[test]
fn the_list_of_itwins_may_be_forbidden_where_a_chosen_one_is_not() {
    for code in [403, 404] {
        let (emulator, itwin) = start();
        let answer =
            Answer::Status { code, headers: Vec::new(), body: r#"{"error":{"code":"No"}}"#.to_owned() };
        emulator.platform().faults.script.push(Scripted::always(On::ListItwins, answer));
        let archive = Archive::new();
        let told = run(init_as_service(&archive, &emulator, &["--itwin", &itwin])).expect(0);
        assert!(told.stderr.contains("does not list iTwins"), "{}", told.stderr);
        let archive = Archive::new();
        let told = run(init_as_service(&archive, &emulator, &["--itwin", "unknown"])).expect(1);
        assert!(told.stderr.contains("nothing was written"), "{}", told.stderr);
        assert_nothing_written(&archive);
    }
}

#[test]
fn imodels_and_connections_are_checked_too() {
    let (emulator, itwin) = start();
    let (connection, imodel) = {
        let mut platform = emulator.platform();
        let (id, held) = platform.connections.iter().next().unwrap();
        let (id, held) = (id.clone(), held.clone());
        platform.connections.insert("-hyphen".to_owned(), held.clone());
        platform.imodels.insert("bare".to_owned(), Imodel::new(&itwin, "Bare"));
        (id, held.imodel_id)
    };
    let archive = Archive::new();
    let arguments = ["--imodel", &imodel, "--connection", &connection, "--connection", "-hyphen"];
    let told = run(init_as_service(&archive, &emulator, &arguments)).expect(0);
    assert!(told.stderr.contains("lists 2 export connections"), "{}", told.stderr);
    assert!(told.stderr.contains("connection -hyphen is "), "{}", told.stderr);
    run(bare(&archive, &["sync", "--estimate"])).expect(0);
    let archive = Archive::new();
    let arguments = ["--imodel", "bare", "--kind", "storage"];
    let told = run(init_as_service(&archive, &emulator, &arguments)).expect(3);
    assert!(told.stderr.contains("iModel bare lists no storage connections"), "{}", told.stderr);
}

#[test]
fn without_a_terminal_too_little_is_wrong_usage_that_names_the_flags() {
    let (emulator, itwin) = start();
    let archive = Archive::new();
    let told = run(init_as_service(&archive, &emulator, &[])).expect(2);
    assert!(told.stderr.contains("--itwin ID"), "{}", told.stderr);
    let told = run(init(&archive, &emulator, &["--itwin", &itwin])).expect(2);
    assert!(told.stderr.contains("--client-secret-file"), "{}", told.stderr);
    let told = run(init(&archive, &emulator, &["--itwin", &itwin, "--client-id", "service-1"])).expect(2);
    assert!(told.stderr.contains("--client-secret-file"), "{}", told.stderr);
    let wrong = ["--itwin", &itwin, "--client-id", "s", "--client-secret-file", "hush-3f7e"];
    assert_silent(&run(init(&archive, &emulator, &wrong)).expect(2));
    run(init(&archive, &emulator, &["--itwin", &itwin, "--no-check", "--itwin="])).expect(2);
    assert_nothing_written(&archive);
    assert!(emulator.requests().is_empty());
}

#[test]
fn quiet_says_nothing_while_all_is_well_and_the_environment_chooses_the_scope() {
    let (emulator, itwin) = start();
    let archive = Archive::new();
    let mut command = init_as_service(&archive, &emulator, &["-q"]);
    command.env("ITP_ITWIN_ID", &itwin);
    let told = run(command).expect(0);
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", ""));
    assert!(std::fs::read_to_string(file(&archive)).unwrap().contains(&itwin));
}

/// A command on a pseudo-terminal, of which `script` makes one.
struct Terminal {
    child: std::process::Child,
    shown: String,
}

impl Terminal {
    /// `None` where there is no `script` that knows these options.
    fn start(archive: &Archive, emulator: &Emulator, variables: &[(&str, &str)]) -> Option<Self> {
        let program = env!("CARGO_BIN_EXE_archive");
        let mut command = Command::new("script");
        command.args(["-qec", &format!("'{program}' init"), "/dev/null"]);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", archive.folder());
        command.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url());
        command.envs(variables.iter().copied()).current_dir(archive.folder());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let help = Command::new("script").arg("--help").output();
        if !help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--return")) {
            skip("there is no script of util-linux, which makes a terminal");
            return None;
        }
        Some(Self { child: command.spawn().unwrap(), shown: String::new() })
    }

    /// Waits for a question, then answers it; what was shown before is forgotten.
    fn answer(&mut self, question: &str, answer: &str) {
        let mut byte = [0];
        let mut bytes = Vec::new();
        while !String::from_utf8_lossy(&bytes).contains(question) {
            let read = self.child.stdout.as_mut().unwrap().read(&mut byte).unwrap();
            assert!(read > 0, "{question} never came: {}", String::from_utf8_lossy(&bytes));
            bytes.push(byte[0]);
        }
        self.shown += &String::from_utf8_lossy(&bytes);
        self.child.stdin.as_mut().unwrap().write_all(answer.as_bytes()).unwrap();
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = Vec::new();
        self.child.stdout.as_mut().unwrap().read_to_end(&mut rest).unwrap();
        self.shown += &String::from_utf8_lossy(&rest);
        (self.child.wait().unwrap().code(), self.shown)
    }
}

#[test]
fn on_a_terminal_it_asks_and_a_typed_secret_stays_unseen() {
    let (emulator, itwin) = start();
    emulator.platform().itwins.insert("zz-empty".to_owned(), Itwin::new("Another"));
    let archive = Archive::new();
    let Some(mut terminal) = Terminal::start(&archive, &emulator, &[]) else { return };
    terminal.answer("Client id of the service application: ", "service-1\n");
    terminal.answer("unseen): ", "\n");
    terminal.answer("(it is not shown): ", "hush-3f7e\n");
    terminal.answer("or ids: ", "nonsense\n");
    terminal.answer("404", "");
    terminal.answer("or ids: ", "1\n");
    terminal.answer("archive.db]: ", "data.db\n");
    terminal.answer("[UTC]: ", "Europe/Berlin\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("hush"), "{shown}");
    for text in ["They see 2 iTwins:", "1  Northern District programme", "archive sync --estimate"] {
        assert!(shown.contains(text), "{text} in {shown}");
    }
    let text = std::fs::read_to_string(file(&archive)).unwrap();
    assert!(text.contains(&itwin) && text.contains("Europe/Berlin") && !text.contains("hush"), "{text}");
    let secret = file(&archive).with_file_name("client-secret");
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "hush-3f7e\n");
    assert!(is_private(&secret) && is_private(&file(&archive)));
    run(bare(&archive, &["sync"])).expect(0);
    assert!(archive.folder().join("data.db").exists());
}

#[test]
fn the_end_of_the_answers_writes_nothing() {
    let (emulator, _) = start();
    emulator.platform().access.tokens.insert("token".to_owned());
    let archive = Archive::new();
    let variables = [("ITP_ACCESS_TOKEN", "token")];
    let Some(mut terminal) = Terminal::start(&archive, &emulator, &variables) else { return };
    terminal.answer("those of the environment", "");
    terminal.answer("[1]: ", "\u{4}");
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("nothing was written"), "{shown}");
    assert_nothing_written(&archive);
}

#[test]
fn completions_are_written_for_every_shell_without_any_settings() {
    let archive = Archive::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(bare(&archive, &["--config", "none.toml", "completions", shell])).expect(0).stdout;
        for command in COMMANDS {
            assert!(script.contains(command), "{command} for {shell}");
        }
        // Only a shell that is there can say whether it reads its own.
        if ["bash", "zsh", "fish"].contains(&shell) {
            let path = archive.folder().join("script");
            std::fs::write(&path, script).unwrap();
            match Command::new(shell).arg("-n").arg(&path).output() {
                Ok(read) => {
                    assert!(read.status.success(), "{shell}: {}", String::from_utf8_lossy(&read.stderr))
                }
                Err(_) => skip(&format!("there is no {shell} to read its completions")),
            }
        }
    }
    run(bare(&archive, &["completions", "csh"])).expect(2);
}

#[test]
fn the_manual_has_a_page_of_every_command_that_renders_without_a_warning() {
    let archive = Archive::new();
    let whole = run(bare(&archive, &["--config", "none.toml", "man"])).expect(0).stdout;
    let mut pages = vec![whole.clone()];
    for command in COMMANDS {
        assert!(whole.contains(&format!("archive\\-{command}")), "{command} in {whole}");
        pages.push(run(bare(&archive, &["man", command])).expect(0).stdout);
    }
    let told = run(bare(&archive, &["man", "snyc"])).expect(2);
    assert!(told.stderr.contains("'snyc'") && told.stderr.contains("sync"), "{}", told.stderr);
    for page in pages {
        assert!(page.is_ascii(), "{page}");
        let path = archive.folder().join("page.1");
        std::fs::write(&path, &page).unwrap();
        match Command::new("groff").args(["-man", "-ww", "-Tutf8", "-z"]).arg(&path).output() {
            Ok(read) => assert!(read.stderr.is_empty(), "{}\n{page}", String::from_utf8_lossy(&read.stderr)),
            Err(_) => skip("there is no groff to render the manual"),
        }
    }
}

#[test]
fn a_reader_that_left_is_no_error_to_the_manual() {
    let archive = Archive::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = bare(&archive, &["man"]);
    command.stdout(writer).stderr(Stdio::piped());
    let ended = command.output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0));
}

#[test]
fn a_platform_that_is_no_platform_is_told_as_such() {
    let archive = Archive::new();
    let emulator = Emulator::start(Platform::default()).unwrap();
    let mut command = init(&archive, &emulator, &["--itwin", "any"]);
    command.env("ITP_API_URL", format!("{}/nowhere", emulator.url())).env("ITP_ACCESS_TOKEN", "token");
    let told = run(command).expect(1);
    assert!(told.stderr.contains("ITP_API_URL"), "{}", told.stderr);
    assert_nothing_written(&archive);
}
