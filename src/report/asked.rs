//! What a report is asked for.

use crate::time::UtcText;
use crate::time::period::BASELINE;
use crate::time::period::Period;
use crate::time::zone::Zone;

/// What a report is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub period: Period,
    pub compared_with: Period,
    /// What is usual is told by it: it ends where the period begins.
    pub baseline: Period,
    pub zone: Zone,
    /// The instant that ages are counted to.
    pub as_of: UtcText,
    /// Whether that is what the clock shows.
    pub is_of_now: bool,
    /// Connections as `kind:id`; empty: all.
    pub connections: Vec<String>,
    pub min_runs: u64,
    /// Above this failure rate, from 0 to 1, there is an alarm.
    pub fail_over: Option<f64>,
}

impl Asked {
    /// The last seven full days of UTC, compared with those before, of all connections.
    ///
    /// # Errors
    /// They would begin before the year 1.
    pub(crate) fn last_week(as_of: UtcText) -> Result<Self, String> {
        let zone = Zone::UTC;
        let period = Period::parse(None, None, &zone, &as_of)?;
        let compared_with = period.before(&zone)?;
        let baseline = period.baseline(BASELINE, &zone)?;
        let connections = Vec::new();
        let is_of_now = true;
        Ok(Self {
            period,
            compared_with,
            baseline,
            zone,
            as_of,
            is_of_now,
            connections,
            min_runs: 1,
            fail_over: None,
        })
    }
}
