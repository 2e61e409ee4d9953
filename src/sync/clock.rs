//! The clock of a sync.

use chrono::Utc;

use crate::time::UtcText;

/// The clock, in the form that is stored.
pub fn now() -> UtcText {
    // A clock outside the years 1 to 9999 is no clock.
    UtcText::from_datetime(&Utc::now())
        .unwrap_or_else(|| unreachable!("the clock shows a year of four digits"))
}
