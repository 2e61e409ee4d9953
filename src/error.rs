//! What a command ends with: an exit code and, if it is an error, one line and perhaps a hint.
//!
//! In: the error of a module, with its exit code chosen by the command. Out: `error: …` and `hint: …` on
//! standard error, through the log, so that `--log-format json` holds for them too.

use std::borrow::Cow;
use std::fmt;
use std::io;

use serde::{Serialize, Serializer};

/// How the program ends. The numbers are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ExitCode {
    Done = 0,
    /// Failed; nothing that was stored before is lost.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Done in part: some connections failed or some records were set aside; the rest is stored.
    Partial = 3,
    Refused = 4,
    /// Another `archive` process holds this database, or another program has it open.
    Held = 5,
    /// A report found a failure rate above `--fail-over`.
    Alarm = 6,
}

impl ExitCode {
    /// The number that the shell sees.
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl Serialize for ExitCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        code.number().into()
    }
}

/// The error that a command ends with. Display is the whole chain of causes on one line.
#[derive(Debug)]
pub(crate) struct CommandError {
    exit: ExitCode,
    error: anyhow::Error,
    excerpt: Option<String>,
    hint: Option<Cow<'static, str>>,
}

impl CommandError {
    pub(crate) fn new(exit: ExitCode, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), excerpt: None, hint: None }
    }

    /// What to do about it, as one sentence without a period.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The lines that the error is about, with what points at the place.
    #[must_use]
    pub(crate) fn with_excerpt(mut self, excerpt: impl Into<String>) -> Self {
        self.excerpt = Some(excerpt.into());
        self
    }

    pub(crate) fn exit(&self) -> ExitCode {
        self.exit
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Says the error and its hint on standard error; logging must have been started.
    pub(crate) fn report(&self) {
        let exit_code = self.exit.number();
        let excerpt = self.excerpt.as_deref();
        tracing::error!(target: "run_archive::error", exit_code, excerpt, hint = self.hint(), "{self}");
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = String::new();
        for cause in self.error.chain() {
            let cause = cause.to_string();
            // Some errors tell their cause themselves, and name it as their source as well.
            if said.is_empty() {
                said = cause;
            } else if !said.ends_with(&cause) {
                said = format!("{said}: {cause}");
            }
        }
        f.write_str(&said)
    }
}

/// Whether there is no room: on the disk, within a quota, or within the limit on file sizes (`ulimit -f`).
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// What no one has judged yet is a failure: exit code 1.
impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        Self::new(ExitCode::Failed, error)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn exit_codes_keep_their_numbers() {
        use ExitCode::{Alarm, Done, Failed, Held, Partial, Refused, Usage};
        let codes = [Done, Failed, Usage, Partial, Refused, Held, Alarm];
        assert_eq!(codes.map(ExitCode::number), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn an_error_is_one_line_with_all_its_causes() {
        let cause = anyhow!("disk full").context("writing page 3").context("syncing connection a");
        let error = CommandError::from(cause).with_hint("free some space");
        assert_eq!(error.to_string(), "syncing connection a: writing page 3: disk full");
        assert_eq!((error.exit(), error.hint()), (ExitCode::Failed, Some("free some space")));
    }

    #[test]
    fn a_cause_that_an_error_tells_itself_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("copying a.db: {source}")]
        struct Copying {
            source: io::Error,
        }
        let error = Copying { source: io::Error::other("no room") };
        assert_eq!(CommandError::new(ExitCode::Failed, error).to_string(), "copying a.db: no room");
    }
}
