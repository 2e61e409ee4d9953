//! One function per subcommand: settings in, exit code out.

mod backup;
mod compact;
mod demo;
mod hints;
mod import;
mod init;
mod known;
mod print;
mod prune;
mod query;
mod rejects;
mod report;
mod restore;
mod sink;
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

pub(crate) use hints::hint_for;
pub(crate) use known::{choose_connection, known_connections, unknown};
pub(crate) use print::{print, print_json};

use crate::error::{CommandError, ExitCode};
use crate::render;
use crate::time::UtcText;

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

/// Refuses a clock whose year no text of the archive can hold: what is read would all lie in the past or in the
/// future, and the library that runs the migrations panics.
pub(crate) fn require_clock(now: &UtcText) -> Result<(), CommandError> {
    if UtcText::MIN < *now && *now < UtcText::MAX {
        return Ok(());
    }
    let error = anyhow::anyhow!("the clock of this machine shows a time outside the years 1 to 9999");
    let hint = "set the clock, and begin again; nothing was read or written";
    Err(CommandError::new(ExitCode::Failed, error).with_hint(hint))
}

/// Prints what the command line says of itself: completions, a manual page.
pub(crate) fn show(text: &str) -> Result<ExitCode, CommandError> {
    render::print(text)?;
    Ok(ExitCode::Done)
}
