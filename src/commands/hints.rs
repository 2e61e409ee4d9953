//! The errors that a command can end with: which exit code each has, and what is to be done about it.

use std::path::Path;

use crate::api::{Obstacle, Reason, SetupError};
use crate::error::{CommandError, ExitCode};
use crate::query::{Error as QueryError, Excerpt};
use crate::render::pages::verify::describe_way_out;
use crate::settings::CredentialsSource;
use crate::store;

/// How a certificate begins in a file of authorities.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// What to do about an answer that ends a command, where one thing is to be done.
pub(crate) fn hint_for(reason: Reason, credentials: &CredentialsSource) -> Option<String> {
    let hint = match reason {
        Reason::Refused => credentials.to_string(),
        Reason::Forbidden => {
            "give the service application a role on the iTwin that lets it read the iModel".to_owned()
        }
        Reason::BudgetSpent { .. } | Reason::ShareSpent | Reason::PauseTooLong { .. } => {
            "what came is stored and the next sync goes on from there; --time-budget \
            gives it more time"
                .to_owned()
        }
        Reason::Unreachable(Obstacle::Certificate) => {
            problem_of_trust().unwrap_or_else(|| way_round(Obstacle::Certificate).to_owned())
        }
        Reason::Unreachable(obstacle) => way_round(obstacle).to_owned(),
        _ => return None,
    };
    Some(hint)
}

/// What is wrong with the file that `SSL_CERT_FILE` names, where it is set and nothing in it can be trusted.
fn problem_of_trust() -> Option<String> {
    let path = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty())?;
    let path = Path::new(&path);
    let problem = match std::fs::read(path) {
        Err(error) => format!("cannot be read ({error})"),
        Ok(text) if !text.windows(PEM.len()).any(|bytes| bytes == PEM) => {
            "holds no certificate (-----BEGIN CERTIFICATE-----)".to_owned()
        }
        Ok(_) => return None,
    };
    Some(format!(
        "SSL_CERT_FILE is set, but {} {problem}; else check the URL and this machine's clock",
        path.display()
    ))
}

pub(crate) fn way_round(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::ProxyRefuses => {
            "put the user and password that the proxy asks for into HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT), \
             or ask who runs it to let the host through"
        }
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

impl From<QueryError> for CommandError {
    fn from(error: QueryError) -> Self {
        use QueryError as E;
        // The place in the statement is shown below the error, so it is taken before the error is handed on.
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
        // What is in the way of a foreign file's use has a way out of its own, and the system's word on a
        // file is all there is.
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
        E::InTheWay(_) => Some("rename it or remove it, and begin again"),
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
        let is_about_trust = matches!(error, SetupError::Https(_));
        let error = Self::new(ExitCode::Usage, error);
        if !is_about_trust {
            return error;
        }
        let install = || "install the package ca-certificates, or set SSL_CERT_FILE".to_owned();
        error.with_hint(problem_of_trust().unwrap_or_else(install))
    }
}
