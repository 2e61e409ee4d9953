//! What holds where neither flag nor environment nor file says otherwise.

use std::time::Duration;

/// Where the platform is, in the environment that customers use; others are named by `ITP_API_URL`.
pub(super) const DEFAULT_API_URL: &str = "https://api.bentley.com";
pub(super) const DEFAULT_ISSUER_URL: &str = "https://ims.bentley.com";
/// Runs asked for in one page: about 2 MB of JSON.
pub(crate) const DEFAULT_PAGE_SIZE: u32 = 1000;
/// Connections, and pages of one connection, at a time.
pub(crate) const DEFAULT_AT_A_TIME: u32 = 4;
/// How long a sync may take: an hour, as the README's crontab begins one every hour.
pub(super) const DEFAULT_TIME_BUDGET: Duration = Duration::from_secs(60 * 60);
/// After how long a walk is a full one: so long at most a change stays unseen that was made to a run older than
/// an incremental walk looks back.
pub(crate) const DEFAULT_FULL_EVERY: Duration = Duration::from_secs(7 * 24 * 60 * 60);
pub(super) const DEFAULT_CACHE_MIB: u32 = 64;
