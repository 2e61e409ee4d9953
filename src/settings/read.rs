//! Files that settings name, read to their end.
//!
//! In: a path. Out: its text. What is no regular file is refused at once, since nobody may ever write to a pipe of
//! that name; what this process was given open, and `/dev/null`, are read.

use std::fs;
use std::io;
use std::path::Path;

/// The text of the file.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let found = fs::metadata(path)?;
    if !found.is_file() && !found.is_dir() && !is_given(path) {
        return Err(io::Error::other("it is no regular file"));
    }
    fs::read_to_string(path)
}

/// Whether the path means standard input, what a shell's `<(…)` made, or nothing.
fn is_given(path: &Path) -> bool {
    let parent = path.parent().and_then(Path::to_str);
    [Path::new("/dev/stdin"), Path::new("/dev/null")].contains(&path)
        || matches!(parent, Some("/dev/fd" | "/proc/self/fd"))
}
