//! `archive init`: asks what is missing, asks the platform whether it works, writes the configuration.

mod check;
mod dialogue;

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use self::check::SetupFinding;
use self::dialogue::Dialogue;
use super::sync::run_async;
use crate::api::wire::Named;
use crate::api::{self, Credentials};
use crate::error::{CommandError, ExitCode};
use crate::render;
use crate::settings::{self, Given, Setup};

/// Where a secret is kept that was typed, beside the configuration.
const SECRET_FILE: &str = "client-secret";

pub(crate) fn init(settings: settings::Init) -> Result<ExitCode, CommandError> {
    let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    // Standard input is not locked here, because `read_unseen` locks it to read a secret.
    let mut input = io::BufReader::new(io::stdin());
    #[cfg(unix)]
    let unseen: Option<&mut dialogue::Unseen<'_>> = Some(&mut read_unseen);
    #[cfg(not(unix))]
    let unseen = None;
    let mut dialogue = Dialogue { input: &mut input, output: &mut io::stderr(), unseen };
    let chosen = choose(&settings, is_terminal.then_some(&mut dialogue))?;
    write(&settings, &chosen)?;
    log_findings(&chosen.findings);
    tracing::info!(target: "run_archive::summary", "wrote {}", settings.file.display());
    if let Some((path, _)) = &chosen.secret {
        tracing::info!(target: "run_archive::summary", "wrote {}", path.display());
    }
    if !settings.quiet {
        render::print(&next_steps(&settings, &chosen.given))?;
    }
    let is_well = chosen.findings.iter().all(|finding| finding.hint.is_none());
    Ok(if is_well { ExitCode::Done } else { ExitCode::Partial })
}

/// Logs what the platform said of each thing chosen. Findings with the same hint show it once, after the last.
fn log_findings(findings: &[SetupFinding]) {
    for (index, finding) in findings.iter().enumerate() {
        let is_last = findings[index + 1..].iter().all(|later| later.hint != finding.hint);
        let hint = finding.hint.filter(|_| is_last);
        match finding {
            SetupFinding { hint: None, message, .. } => {
                tracing::info!(target: "run_archive::summary", "{message}");
            }
            SetupFinding { is_seen: true, message, .. } => tracing::warn!(hint, "{message}"),
            SetupFinding { message, .. } => tracing::error!(hint, "{message}"),
        }
    }
}

/// Asks for a line on the terminal that is not shown. The echo is off before the question is there, so that
/// nothing typed after it is seen or lost; the crates for this (rpassword, console) ask first.
#[cfg(unix)]
fn read_unseen(question: &str) -> io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut unseen = before.clone();
    unseen.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &unseen)?;
    let mut line = String::new();
    let mut output = io::stderr();
    let asked = write!(output, "{question}").and_then(|()| output.flush());
    let read = asked.and_then(|()| stdin.read_line(&mut line));
    tcsetattr(&stdin, OptionalActions::Now, &before)?;
    // The terminal did not show the line end that was typed.
    writeln!(output)?;
    read.map(|_| line)
}

/// What is to be written, and what the platform said of it.
#[derive(Debug)]
struct Choices {
    given: Given,
    setup: Setup,
    findings: Vec<SetupFinding>,
    /// A secret that was typed, and where it goes.
    secret: Option<(PathBuf, secrecy::SecretString)>,
}

/// Joins flags, environment and answers, and asks the platform.
fn choose(settings: &settings::Init, mut person: Option<&mut Dialogue<'_>>) -> Result<Choices, CommandError> {
    let (mut given, mut setup) = (settings.given.clone(), settings.setup.clone());
    let is_asked = setup.is_empty();
    if is_asked && person.is_none() {
        return Err(settings::Error::NothingChosen.into());
    }
    // Flags and environment give all that is needed, so that no question is asked.
    if !is_asked && given.is_enough() {
        person = None;
    }
    let secret = match &mut person {
        Some(person) => ask_secret(settings, person, &mut given)?,
        None => None,
    };

    let credentials = settings.check.then(|| check::credentials(&given)).transpose()?;
    let listed = match &credentials {
        Some(credentials) => {
            let listed = run_async(check::list_itwins(settings, credentials))?;
            Some(listed.map_err(|error| check::name_source(error, &given))?)
        }
        None => None,
    };
    if let Some(listed) = &listed {
        tell_listed(person.as_deref_mut(), listed, is_asked)?;
    }
    let list = listed.as_ref().and_then(|listed| listed.as_deref().ok()).unwrap_or_default();
    let asked = person.as_deref_mut().filter(|_| is_asked);
    let findings = find(settings, asked, credentials.as_ref(), list, &mut setup)
        .map_err(|error| check::name_source(error, &given))?;
    // A service application may be forbidden to list iTwins and still see the one that was named. Where it sees
    // nothing at all, the configuration is not proved to work and is not written.
    if let Some(Err(error)) = listed
        && !findings.iter().any(|finding| finding.is_seen)
    {
        return Err(CommandError::new(ExitCode::Failed, error).with_hint(
            "nothing was written; check the ids and ITP_API_URL, and give the service application a role on the iTwin",
        ));
    }

    if let Some(person) = &mut person {
        if setup.db.is_none() {
            setup.db = person.ask_db(settings)?;
        }
        if setup.time_zone.is_none() {
            setup.time_zone = person.ask_zone()?;
        }
    }
    setup.client_id = given.client_id.clone().filter(|_| given.token.is_none());
    setup.client_secret_file = match &secret {
        Some(_) => Some(PathBuf::from(SECRET_FILE)),
        None => given.secret_file.clone(),
    };
    setup.access_token_file = given.token_file.clone();
    Ok(Choices { given, setup, findings, secret })
}

/// Asks for credentials where they are missing: a secret that was typed, and the file that will hold it.
fn ask_secret(
    settings: &settings::Init,
    person: &mut Dialogue<'_>,
    given: &mut Given,
) -> Result<Option<(PathBuf, secrecy::SecretString)>, CommandError> {
    person.say(&format!(
        "This writes {}. Enter takes what stands in brackets; Ctrl-D ends it.",
        settings.file.display()
    ))?;
    if given.is_enough() {
        if given.is_of_environment() {
            person.say("The credentials are those of the environment.")?;
        }
        return Ok(None);
    }
    let place = settings.file.parent().unwrap_or(Path::new("")).join(SECRET_FILE);
    if !person.ask_credentials(settings, given, &place)? {
        return Ok(None);
    }
    let secret = given.secret.clone().map(|typed| (place.clone(), typed));
    given.secret_file = Some(place);
    Ok(secret)
}

/// Tells the person, or whoever reads the log, whether the platform lists iTwins.
fn tell_listed(
    person: Option<&mut Dialogue<'_>>,
    listed: &Result<Vec<Named>, api::Error>,
    is_asked: bool,
) -> Result<(), CommandError> {
    match (person, listed) {
        (Some(person), Ok(list)) => {
            person.say("The platform accepts the credentials.")?;
            if is_asked {
                person.show_itwins(list)?;
            }
        }
        (Some(person), Err(error)) => {
            person.say(&render::clean(&format!("The platform does not list iTwins ({error}).")))?;
        }
        (None, Ok(_)) => {
            tracing::info!(target: "run_archive::summary", "the platform accepts the credentials");
        }
        (None, Err(error)) => {
            tracing::info!(target: "run_archive::summary", "the platform does not list iTwins ({error})");
        }
    }
    Ok(())
}

/// What the platform says of everything chosen. Somebody who is asked for iTwins is asked again until the platform
/// knows those that were named.
fn find(
    settings: &settings::Init,
    mut asked: Option<&mut Dialogue<'_>>,
    credentials: Option<&Credentials>,
    listed: &[Named],
    setup: &mut Setup,
) -> Result<Vec<SetupFinding>, CommandError> {
    loop {
        if let Some(person) = &mut asked {
            setup.itwins = person.ask_itwins(listed)?;
        }
        for (id, name) in &mut setup.itwins {
            let known = listed.iter().find(|itwin| itwin.id == *id);
            *name =
                known.and_then(|itwin| itwin.name.as_deref()).map(|name| render::clean(name).into_owned());
        }
        let Some(credentials) = credentials else { return Ok(Vec::new()) };
        let findings = run_async(check::find(settings, credentials, setup))??;
        match (&mut asked, findings.iter().find(|finding| finding.is_unknown)) {
            (Some(person), Some(unknown)) => person.say(&render::clean(&unknown.message))?,
            _ => return Ok(findings),
        }
    }
}

/// Writes the configuration, and the secret beside it, each whole or not at all.
fn write(settings: &settings::Init, chosen: &Choices) -> Result<(), CommandError> {
    use secrecy::ExposeSecret as _;
    let path = &settings.file;
    let text = chosen.setup.to_toml(settings.default_db.as_deref())?;
    if settings.force && path.exists() && !path.is_file() {
        let error = anyhow::anyhow!("{} is not a file that can be written over", path.display());
        return Err(CommandError::new(ExitCode::Usage, error));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let configuration = NewFile::new(path, &text)?;
    let secret = match &chosen.secret {
        Some((path, secret)) => Some(NewFile::new(path, &format!("{}\n", secret.expose_secret()))?),
        None => None,
    };
    let kept_secret = secret.map(|secret| secret.keep(settings.force)).transpose()?;
    configuration.keep(settings.force).inspect_err(|_| {
        if let Some(path) = kept_secret {
            // The secret's file is of no use without the configuration; the error that is returned says what failed.
            fs::remove_file(path).ok();
        }
    })?;
    Ok(())
}

/// A file readable by its owner only, not yet in its place.
struct NewFile {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    fn new(path: &Path, text: &str) -> anyhow::Result<Self> {
        // The file that a link leads to is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().unwrap_or(Path::new("."));
        let write = || {
            // tempfile makes the file with mode 0600, so that no other account reads the secret.
            let mut file =
                tempfile::Builder::new().prefix(".archive-").suffix(".part").tempfile_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        let file = write().map_err(|error: io::Error| anyhow::Error::new(error));
        Ok(Self { file: file.with_context(|| format!("writing {}", path.display()))?, path })
    }

    fn keep(self, force: bool) -> Result<PathBuf, CommandError> {
        let kept =
            if force { self.file.persist(&self.path) } else { self.file.persist_noclobber(&self.path) };
        match kept {
            Ok(_) => Ok(self.path),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(settings::Error::Written(self.path).into())
            }
            Err(error) => {
                let error = anyhow::Error::new(error.error);
                Err(error.context(format!("writing {}", self.path.display())).into())
            }
        }
    }
}

/// What to type now, and what to put into a crontab.
fn next_steps(settings: &settings::Init, given: &Given) -> String {
    let config = if settings.is_in_default_place {
        String::new()
    } else {
        format!(" --config {}", shell_word(&settings.file.display().to_string()))
    };
    let program = std::env::current_exe().map_or("archive".to_owned(), |path| path.display().to_string());
    let sync = format!("{} -q sync{config}", shell_word(&program));
    let mut text = format!(
        "\nNext:\n  \
         archive sync{config} --estimate\n  \
         archive sync{config}\n\
         The first says how long a first sync takes. Then, every hour, in a crontab (crontab -e):\n  \
         5 * * * *  {}\n",
        // In a crontab a percent sign ends the line.
        sync.replace('%', "\\%"),
    );
    if given.token.is_some() {
        text.push_str(
            "ITP_ACCESS_TOKEN is good for trying: it expires. For cron, name a service application under\n\
             [credentials].\n",
        );
    } else if given.is_of_environment() && given.secret.is_some() {
        text.push_str(
            "Cron does not know this shell's ITP_SERVICE_CLIENT_SECRET: set it there, or name a file that\n\
             holds it as client_secret_file under [credentials].\n",
        );
    } else if !given.is_enough() {
        text.push_str("No credentials are named yet: see [credentials] in the file.\n");
    }
    text
}

/// A word that a shell reads as it stands.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
