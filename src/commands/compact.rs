//! `archive compact`: the file without the room that pruned rows have left.
//!
//! In: an archive. Out: its size before and after. Nothing is begun where the disk has no room for it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::error::{CommandError, ExitCode};
use crate::render::pages::keep::{Compacted, milliseconds};
use crate::render::render_size;
use crate::settings::{self, Format};
use crate::store::{Archive, Reader};

pub(crate) fn compact(settings: settings::Compact) -> Result<ExitCode, CommandError> {
    let began = Instant::now();
    drop(Reader::open(&settings.db)?);
    let mut archive = Archive::open(&settings.db, settings.cache_mib)?;
    let path = archive.path().to_owned();
    let before = size(&path);
    let used = archive.read_used_bytes()?;
    check_room(&path, used)?;
    archive.compact()?;
    archive.close()?;
    let done = Compacted {
        exit_code: ExitCode::Done,
        file: path.display().to_string(),
        bytes_before: before,
        bytes_after: size(&path),
        duration_ms: milliseconds(began.elapsed()),
    };
    tracing::info!(target: "run_archive::summary", "{}", done.describe());
    if settings.format == Format::Json {
        super::print_json(&done)?;
    }
    Ok(ExitCode::Done)
}

fn size(path: &Path) -> u64 {
    path.metadata().map(|metadata| metadata.len()).unwrap_or_default()
}

/// Refuses to begin where the disk is too full. SQLite writes the pages in use twice: into a temporary file, and
/// into the log beside the archive.
fn check_room(path: &Path, used: u64) -> Result<(), CommandError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = temporary_folder();
    let needed: Vec<(&Path, u64)> = if is_same_disk(folder, &temporary) {
        vec![(folder, used.saturating_mul(2))]
    } else {
        vec![(folder, used), (&temporary, used)]
    };
    for (folder, needed) in needed {
        // Where the system does not say how much is free, compacting is tried: SQLite leaves the archive as it was
        // when the disk is full.
        let Some(free) = free_bytes(folder) else { continue };
        if free < needed {
            let (needs, has) = (render_size(needed), render_size(free));
            let error =
                anyhow::anyhow!("{} has {has} free, and compacting needs {needs} there", folder.display());
            let hint =
                "make room, or let SQLITE_TMPDIR name a folder on another disk; the archive is as it was";
            return Err(CommandError::new(ExitCode::Failed, error).with_hint(hint));
        }
    }
    Ok(())
}

/// The folder of SQLite's temporary files; SQLite takes the first of these that is there.
fn temporary_folder() -> PathBuf {
    let named = ["SQLITE_TMPDIR", "TMPDIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let usual = ["/var/tmp", "/usr/tmp", "/tmp"].into_iter().map(PathBuf::from);
    named.chain(usual).find(|folder| folder.is_dir()).unwrap_or_else(|| PathBuf::from("."))
}

#[cfg(unix)]
fn is_same_disk(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let disk = |folder: &Path| folder.metadata().ok().map(|metadata| metadata.dev());
    disk(one) == disk(other)
}

#[cfg(not(unix))]
fn is_same_disk(_: &Path, _: &Path) -> bool {
    true
}

#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}
