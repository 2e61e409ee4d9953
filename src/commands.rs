//! One function per subcommand: settings in, exit code out.

mod backup;
mod compact;
mod demo;
mod import;
mod init;
mod prune;
mod query;
mod rejects;
mod report;
mod restore;
mod status;
mod sync;
mod verify;

pub(crate) use backup::backup;
pub(crate) use compact::compact;
pub(crate) use demo::demo;
pub(crate) use import::import;
pub(crate) use init::init;
pub(crate) use prune::prune;
pub(crate) use query::query;
pub(crate) use rejects::rejects;
pub(crate) use report::report;
pub(crate) use restore::restore;
pub(crate) use status::status;
pub(crate) use sync::sync;
pub(crate) use verify::verify;

use std::path::Path;

use serde::Serialize;

use crate::api::{ConnectionId, Obstacle, Reason, SetupError};
use crate::error::{CommandError, ExitCode};
use crate::query::{Error as QueryError, Excerpt};
use crate::render::pages::verify::describe_way_out;
use crate::render::{self, Document, Screen};
use crate::settings::{CredentialsSource, Format};
use crate::store::fleet::{self, Choice, KnownConnection};
use crate::store::{self, Reader};

/// Connections of one name that an error lists.
const MOST_NAMED: usize = 5;

/// What to do about an answer that ends a command, where one thing is to be done.
fn hint_for(reason: Reason, credentials: &CredentialsSource) -> Option<String> {
    let hint = match reason {
        Reason::Refused => credentials.to_string(),
        Reason::Forbidden => {
            "give the service application a role on the iTwin that lets it read the iModel".to_owned()
        }
        Reason::BudgetSpent { .. } | Reason::ShareSpent => {
            "what came is stored and the next sync goes on from there; --time-budget \
            gives it more time"
                .to_owned()
        }
        Reason::Unreachable(obstacle) => way_round(obstacle).to_owned(),
        _ => return None,
    };
    Some(hint)
}

/// Keeps the memory of this process, which holds credentials, out of core dumps. A limit of one byte does
/// what none at all does not: Linux then starts no program that a pipe in `core_pattern` names either.
pub(crate) fn forbid_core_dumps() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let least = if cfg!(target_os = "linux") { 1 } else { 0 };
        // A hard limit below that forbids them already.
        setrlimit(Resource::Core, Rlimit { current: Some(least), maximum: Some(least) }).ok();
    }
}

fn way_round(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::Certificate => {
            "name the file of the authority that signed it with SSL_CERT_FILE, if that is a proxy or a server of \
             your own; else check the URL and this machine's clock"
        }
        Obstacle::NoTls => {
            "check host and port in ITP_API_URL, ITP_ISSUER_URL or [platform], and HTTPS_PROXY"
        }
        Obstacle::UnknownHost => {
            "check the name in ITP_API_URL, ITP_ISSUER_URL, [platform] or HTTPS_PROXY, and this machine's network; \
             where only a proxy leads out, name it with HTTPS_PROXY"
        }
        Obstacle::Proxy => {
            "set HTTPS_PROXY to a proxy that begins with http:// or https://, or name the host in NO_PROXY"
        }
    }
}

/// Makes a write past the limit on file sizes (`ulimit -f`) fail as on a full disk, where it would end the
/// process with a core dump: a signal that is taken does not. The handler stays when the runtime has gone.
pub(crate) fn survive_file_size_limit() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        // Without it the limit ends the process as it ends any other.
        let Ok(runtime) = runtime else { return };
        let _inside = runtime.enter();
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())));
    }
}

/// Prints what the command line says of itself: completions, a manual page.
pub(crate) fn show(text: &str) -> Result<ExitCode, CommandError> {
    render::print(text)?;
    Ok(ExitCode::Done)
}

/// What a command has to say, in the format asked for.
fn print(
    format: Format,
    json: &impl Serialize,
    document: impl FnOnce() -> Document,
) -> Result<(), CommandError> {
    match format {
        Format::Json => print_json(json),
        Format::Markdown => render::print(&document().to_markdown()),
        Format::Text => render::print(&document().to_text(Screen::of_stdout())),
    }
}

/// One line of JSON. Its keys are in the order of the alphabet, as they have always been.
fn print_json(json: &impl Serialize) -> Result<(), CommandError> {
    let value = serde_json::to_value(json).map_err(anyhow::Error::new)?;
    render::print(&format!("{value}\n"))
}

/// The archived connections that these names and ids mean; one that means none, or several, is an error.
fn known_connections(path: &Path, typed: &[ConnectionId]) -> Result<Vec<ConnectionId>, CommandError> {
    if typed.is_empty() {
        return Ok(Vec::new());
    }
    let known = Reader::open(path)?.read_connections()?;
    typed
        .iter()
        .map(|typed| choose_connection(&known, typed)?.ok_or_else(|| unknown(&known, typed)))
        .collect()
}

/// The archived connection that a name or an id means, if it means one.
fn choose_connection(
    known: &[KnownConnection],
    typed: &ConnectionId,
) -> Result<Option<ConnectionId>, CommandError> {
    match fleet::choose(known, &typed.to_string()) {
        Choice::One(found) => Ok(Some(found.id.clone())),
        Choice::Unknown => Ok(None),
        Choice::Several(found) => {
            let list = found.iter().take(MOST_NAMED).map(|found| format!("{} ({})", found.name, found.id));
            let list = list.collect::<Vec<_>>().join(", ");
            let error = anyhow::anyhow!("{} archived connections are called {typed}", found.len());
            let more = if found.len() > MOST_NAMED { " and others" } else { "" };
            Err(CommandError::new(ExitCode::Usage, error).with_hint(format!("say which: {list}{more}")))
        }
    }
}

fn unknown(known: &[KnownConnection], typed: &ConnectionId) -> CommandError {
    let text = typed.to_string();
    let names = known.iter().flat_map(|known| [Some(known.name.as_str()), known.display_name.as_deref()]);
    let likeness = |name: &str| strsim::jaro_winkler(&text.to_lowercase(), &name.to_lowercase());
    let close = names.flatten().map(|name| (likeness(name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match close {
        Some((likeness, name)) if likeness > 0.8 => {
            format!("did you mean {name:?}? archive status lists those that are")
        }
        _ => "archive status lists those that are".to_owned(),
    };
    let error = anyhow::anyhow!("connection {typed} is not in this archive");
    CommandError::new(ExitCode::Usage, error).with_hint(hint)
}

impl From<QueryError> for CommandError {
    fn from(error: QueryError) -> Self {
        use QueryError as E;
        let excerpt = match &error {
            E::Sql { excerpt, .. } => excerpt.as_ref().map(Excerpt::to_string),
            _ => None,
        };
        let (exit, hint) = match error {
            E::Store(error) => return error.into(),
            E::Refused(_)
            | E::Empty
            | E::Several
            | E::Sql { .. }
            | E::UnknownParameter { .. }
            | E::Unnamed(_)
            | E::Step { .. }
            | E::File { .. } => (ExitCode::Usage, None),
            E::Timeout(_) => (ExitCode::Failed, Some("--timeout says how long a query may take")),
            E::Memory => (ExitCode::Failed, Some("ask for fewer rows or columns at a time")),
            E::NoQuery(_) => (ExitCode::Failed, None),
            E::Row { .. } => {
                (ExitCode::Failed, Some("archive verify --offline tells whether the file is sound"))
            }
            E::Sink(_) => (ExitCode::Failed, None),
        };
        let mut error = Self::new(exit, error);
        if let Some(excerpt) = excerpt {
            error = error.with_excerpt(excerpt);
        }
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl From<store::Error> for CommandError {
    fn from(error: store::Error) -> Self {
        use store::Error as E;
        let exit = match &error {
            E::Held { .. } => ExitCode::Held,
            E::Exists(_) => ExitCode::Usage,
            _ => ExitCode::Failed,
        };
        let hint = match &error {
            E::Foreign { finding, .. } => Some(describe_way_out(finding)),
            error => hint_for_store(error).map(str::to_owned),
        };
        let error = Self::new(exit, error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// What to do about an archive that cannot be opened, read or written, where one thing is to be done.
fn hint_for_store(error: &store::Error) -> Option<&'static str> {
    use store::Error as E;
    match error {
        E::Foreign { .. } | E::Io { .. } => None,
        E::Inconsistent { .. } => {
            Some("archive verify --repair makes it right; the next sync goes on from there")
        }
        E::TooLong { .. } => Some("archive verify --offline tells what was altered; nothing was changed"),
        E::Held { .. } => Some("it lets go when it ends; this run has changed nothing"),
        E::Missing(_) => Some("archive sync makes it; --db or ARCHIVE_DB says where it is"),
        E::NotADatabase(_) | E::NotAnArchive(_) => Some("choose another file with --db or ARCHIVE_DB"),
        E::Newer { .. } => Some("install the newer version of archive"),
        E::Older(_) => Some("archive sync or archive import brings it up to date"),
        E::Damaged { .. } => Some(
            "archive restore FILE puts a copy in its place and keeps it; sqlite3's .recover reads what is left",
        ),
        E::Full(_) => Some(
            "make room, or raise the limit on file sizes where there is one (ulimit -f); the next sync goes on where this one stopped",
        ),
        E::Exists(_) => Some("choose another name, or give --replace"),
        E::NoConnection { .. } => Some("archive restore FILE puts a copy in its place; nothing was changed"),
        E::Busy(_) => Some(
            "close that program, or let it end; what is archived stays, and the next sync goes on from there",
        ),
        E::Sqlite { .. } => Some("archive verify --offline tells whether the file is sound"),
        E::Unreadable { .. } => Some("its owner can give the right to read it, or a copy by archive backup"),
        E::NotWhole { why: store::NotWhole::Writer, .. } => Some("ask again once it has ended"),
        E::NotWhole { .. } => {
            Some("ask again once no sync is at work; the next archive sync of its owner puts it in order")
        }
        E::Moved(_) => Some("ask again; the archive itself is in order"),
        E::SeveralNames { .. } => Some("remove the other names, or copy the file and let --db name the copy"),
        E::LockFile { .. } => Some("remove it; archive makes its own"),
        E::NoLocks { .. } => {
            Some("keep the database on a local disk, and copy it elsewhere with archive backup")
        }
        E::ReadOnly { .. } => {
            Some("let this account write the file and its folder, or choose another file with --db")
        }
    }
}

impl From<SetupError> for CommandError {
    fn from(error: SetupError) -> Self {
        Self::new(ExitCode::Usage, error)
    }
}
