//! Files that settings name, read to their end.
//!
//! In: a path. Out: its text. What is no regular file is refused at once, since nobody may ever write to a pipe of
//! that name; what this process was given open, and `/dev/null`, are read.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

/// The text of the file.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    if is_given(path) {
        return fs::read_to_string(path);
    }
    let mut options = OpenOptions::new();
    options.read(true);
    // The open itself would wait for a writer.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        rustix::fs::OFlags::NONBLOCK.bits().cast_signed(),
    );
    let mut file = options.open(path)?;
    let found = file.metadata()?;
    if !found.is_file() && !found.is_dir() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Whether the path means standard input, what a shell's `<(…)` made, or nothing.
fn is_given(path: &Path) -> bool {
    let parent = path.parent().and_then(Path::to_str);
    [Path::new("/dev/stdin"), Path::new("/dev/null")].contains(&path)
        || matches!(parent, Some("/dev/fd" | "/proc/self/fd"))
}
