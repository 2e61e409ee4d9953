//! What the emulated platform does wrong, or only unlike its documentation: every unkindness is a setting.
//!
//! Plain data; all kind by default. Lasting habits are fields of [`Faults`], single events are entries of
//! its script. [`super::Platform`] reads them when it answers.

use std::collections::VecDeque;
use std::time::Duration;

use super::listing::Run;
use crate::api::Kind;

/// Runs or connections on a page when no `$top` is sent.
pub(super) const DEFAULT_TOP: u64 = 50;

/// The lasting habits and the scripted events of a platform.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The most runs, connections or iTwins the server puts on a page, whatever is asked.
    pub page_cap: Option<u64>,
    /// A larger `$top` is refused with 422.
    pub top_limit: Option<u64>,
    /// What `_links` says. Lists of iModels, which page by tokens, know `NextNever`, `Absent`, `Null` and
    /// `Hostile`; to the others they are well formed.
    pub links: Links,
    /// Every page is the first one.
    pub ignore_skip: bool,
    /// A larger `$skip` is taken as this one.
    pub clamp_skip: Option<u64>,
    /// `$skip` is taken modulo the number of runs: the listing never ends.
    pub wrap_skip: bool,
    /// Some pages are shorter than asked, by this seed; never under 2 runs where there are 2.
    pub short_pages: Option<u64>,
    /// Listed runs have `id`, `state` and `result` only, whatever `Prefer` says. A run asked for by id is whole.
    pub minimal: bool,
    /// The most iModels the server puts on a page, whatever is asked.
    pub imodel_page_cap: Option<u64>,
    /// `next` of a list of iModels carries where to go on and drops all else that was asked, `iTwinId` too,
    /// as published links do.
    pub bare_links: bool,
    /// `next` of a list of iModels carries `$skip` instead of `$continuationToken`, as it did before 2025.
    /// Without this the list does not look at `$skip`.
    pub skip_paging: bool,
    /// A list of iModels hands out the first page's token again and again: it never ends.
    pub repeat_token: bool,
    /// Bodies are compressed for those who accept it.
    pub gzip: bool,
    /// Added to each answer.
    pub delay: Duration,
    /// Requests to the API (tokens are another host's) in one window; more are refused with 429.
    pub per_minute: Option<u64>,
    /// The length of that window: a minute, unless a test is in a hurry.
    pub quota_window: Duration,
    /// One entry is taken off and applied just before each page of runs is made (refusals take none).
    pub shifts: VecDeque<Vec<Shift>>,
    /// Single events: the first entry that matches a request and has times left answers it.
    pub script: Vec<Scripted>,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            page_cap: None,
            top_limit: None,
            links: Links::WellFormed,
            ignore_skip: false,
            clamp_skip: None,
            wrap_skip: false,
            short_pages: None,
            minimal: false,
            imodel_page_cap: None,
            bare_links: false,
            skip_paging: false,
            repeat_token: false,
            gzip: false,
            delay: Duration::ZERO,
            per_minute: None,
            quota_window: Duration::from_secs(60),
            shifts: VecDeque::new(),
            script: Vec::new(),
        }
    }
}

/// What a page's `_links` look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// `self` always, `prev` after the first page, `next` where there is more; on the emulator's own address.
    #[default]
    WellFormed,
    /// As in the published sample: no `?`, `next` on the last page too, on `api.bentley.com`.
    AsPublished,
    /// Well formed, with `next` on the last page too.
    NextAlways,
    /// Only `self`, whether there is more or not.
    NextNever,
    /// No `_links`.
    Absent,
    /// `"_links":null`.
    Null,
    /// Well formed, with `"next":null` at the end.
    NextNull,
    /// `next` is this address, always.
    Hostile(String),
}

/// Which requests a scripted answer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// Every request, those for tokens included.
    Any,
    /// Requests for a token.
    Token,
    /// Lists of iTwins.
    ListItwins,
    /// Lists of iModels.
    ListImodels,
    /// Lists of connections of any kind.
    ListConnections,
    /// Lists of runs.
    ListRuns,
    /// One run by its id.
    GetRun,
    /// One connection by its id.
    GetConnection,
    /// Any request about the connection with this id.
    Connection(String),
    /// Any request for connections of this kind or for their runs.
    Kind(Kind),
    /// Lists of runs with this `$skip`; without one it is 0.
    ListRunsAt {
        /// The `$skip` asked for.
        skip: u64,
    },
    /// Lists of runs with at least this `$top`; without one it is the default page.
    TopAtLeast(u64),
}

/// One entry of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scripted {
    /// Which requests it is for.
    pub on: On,
    /// So many of them pass by first, to the entries after this one. What an entry before this one answered
    /// is not counted.
    pub skip_first: u32,
    /// So many are then answered; `u32::MAX` is for ever.
    pub times: u32,
    /// With what.
    pub answer: Answer,
}

impl Scripted {
    /// Answers the first such request.
    #[must_use]
    pub fn once(on: On, answer: Answer) -> Scripted {
        Scripted::times(1, on, answer)
    }

    /// Answers the first `times` such requests.
    #[must_use]
    pub fn times(times: u32, on: On, answer: Answer) -> Scripted {
        Scripted { on, skip_first: 0, times, answer }
    }

    /// Answers every such request.
    #[must_use]
    pub fn always(on: On, answer: Answer) -> Scripted {
        Scripted::times(u32::MAX, on, answer)
    }

    /// Lets so many such requests pass first.
    #[must_use]
    pub fn after(mut self, skip_first: u32) -> Scripted {
        self.skip_first = skip_first;
        self
    }

    /// Takes one turn at a request that matches: whether this entry answers it.
    pub(super) fn take_turn(&mut self) -> bool {
        if self.times == 0 {
            return false;
        }
        if self.skip_first > 0 {
            self.skip_first -= 1;
            return false;
        }
        if self.times < u32::MAX {
            self.times -= 1;
        }
        true
    }
}

/// What a scripted request is answered with. None of them looks at the access first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This, to the letter.
    Status {
        /// The status code.
        code: u16,
        /// Headers added.
        headers: Vec<(String, String)>,
        /// The body, sent as JSON unless a header says otherwise.
        body: String,
    },
    /// That status with its documented body; for an undocumented one a body of the same shape.
    Documented(u16),
    /// The connection is dropped without an answer.
    Reset,
    /// The right answer, but the connection dies half way through its body.
    CutBody,
    /// No answer, ever.
    Hang,
    /// The right answer after a while.
    Slow(Duration),
    /// 200 with a gateway's HTML.
    NotJson,
    /// 200 with this body, sent as JSON.
    Raw {
        /// The body.
        body: String,
    },
    /// That status, with a message that repeats the Authorization header received: a nasty gateway.
    EchoAuthorization(u16),
    /// 302 to there.
    Redirect(String),
    /// 429.
    TooManyRequests {
        /// How it says when to come back.
        retry_after: RetryAfter,
    },
}

/// How a 429 says when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// `Retry-After` in seconds.
    Seconds(u64),
    /// `Retry-After` as an HTTP date so many seconds from the moment of the answer (negative: past).
    Date(i64),
    /// Only `iTwinPlatform-RateLimit-Retry-After-Seconds`.
    PlatformHeader(u64),
    /// Not at all.
    None,
}

/// A change of a listing while it is paged. A connection or run that is not there changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shift {
    /// A run begins.
    InsertNewest {
        /// The connection's id.
        connection: String,
        /// The run that begins.
        run: Run,
    },
    /// A run appears before all others.
    InsertOldest {
        /// The connection's id.
        connection: String,
        /// The run that appears.
        run: Run,
    },
    /// The run at this place disappears.
    Remove {
        /// The connection's id.
        connection: String,
        /// Its place counted from the oldest (0).
        index: usize,
    },
}

impl Shift {
    #[must_use]
    pub(crate) fn connection(&self) -> &str {
        match self {
            Shift::InsertNewest { connection, .. }
            | Shift::InsertOldest { connection, .. }
            | Shift::Remove { connection, .. } => connection,
        }
    }
}
