//! The clock of a sync.

use std::time::SystemTime;

use crate::time::UtcText;

/// The clock, in the form that is stored.
pub fn now() -> UtcText {
    UtcText::of_clock(SystemTime::now())
}
