//! One walk over a connection's listing: a state machine without I/O.
//!
//! In: what each page held, in whatever order the answers come. Out: what to ask next, or the end and
//! whether the listing is proved complete. Requests belong to `api`, storage to `store`, the loop to
//! `sync`.
//!
//! The proof. Runs that stay listed keep their order while others come and go around them. A page is
//! *chained* when it holds an entry that is already chained, or starts the listing: between that entry
//! and the page's last one nothing can be missing, whenever the page was answered. So positions only
//! guide what to ask; which entries follow which is told by ids alone. The walk is complete when a
//! chained page shows that nothing follows. A page that holds no chained entry proves nothing: the walk
//! steps back until one does. Assumed of the platform is only that it gives at least two runs of two.
//!
//! A short way (what began since the last complete walk) assumes one thing more where a page does not hold
//! the whole listing: that a listing whose every page seen shows one order, as its last complete walk did, is
//! in that order where it was not seen. One entry shows no order. `exhaustive` tries every short listing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::api::wire::More;
use crate::time::UtcText;

#[cfg(test)]
mod exhaustive;
pub mod plan;

/// How many chained entries are remembered: what a listing may shift by between two answers.
const REMEMBERED: usize = 8_192;
/// How many of them a checkpoint carries.
const ANCHORS: usize = 32;
/// How many entries that were the last of an oldest-first listing are asked for again: one shows no order.
const OVERLAP: usize = 4;
/// Answers in a row that bring nothing before the walk gives up.
const PATIENCE: u32 = 48;
/// Positions that may be answered with one and the same page: runs added in front move it along.
const SAME_PAGE: usize = 5;
/// Patience with a walk that proves nothing any more.
const DOUBTFUL_PATIENCE: u32 = 4;
/// How often something may stand where a listing seemed to end before it is its pages that end there.
const MOST_SINGLES: u32 = 4;
/// How often a listing may lose everything that was chained.
const RESTARTS: u32 = 3;

/// What an entry of a listing is known by: the XXH3-128 of its id, or of its text where it has none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(pub u128);

impl From<Key> for String {
    fn from(key: Key) -> Self {
        format!("{:032x}", key.0)
    }
}

impl TryFrom<String> for Key {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One entry of a page, as far as the walk cares.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What it is known by.
    pub key: Key,
    /// Its start, where it has a real one: tells the listing's order.
    pub started_at: Option<UtcText>,
    /// Archived where an earlier walk proved that nothing is missing: a sign to stop.
    pub is_proved: bool,
    /// Whether it is a run at all; entries that are not are set aside, and counted apart.
    pub is_readable: bool,
}

/// What to ask the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ask {
    /// `$skip`.
    pub skip: u64,
    /// `$top`.
    pub top: u32,
}

/// The order of a listing by start, as observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// The newest run first.
    NewestFirst,
    /// The oldest run first.
    OldestFirst,
    /// Neither.
    None,
}

impl Order {
    /// The word stored for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewestFirst => "newest first",
            Self::OldestFirst => "oldest first",
            Self::None => "none",
        }
    }

    /// Reads the stored word.
    pub fn from_stored(word: &str) -> Option<Self> {
        [Self::NewestFirst, Self::OldestFirst, Self::None].into_iter().find(|order| order.as_str() == word)
    }
}

/// Where a walk goes on, or starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The position after the last chained entry, when it was last seen.
    pub position: u64,
    /// The last chained entries, oldest in the chain first.
    pub anchors: Vec<Key>,
    /// How many runs were linked so far.
    #[serde(rename = "chained")]
    pub linked: u64,
    /// The oldest start among them.
    pub oldest_started_at: Option<UtcText>,
    /// The newest start among them: the watermark up to which a newest-first listing is stored whole.
    pub newest_started_at: Option<UtcText>,
    /// The start of the last one, which tells on which side of it a page lies.
    pub last_started_at: Option<UtcText>,
    /// The order observed so far.
    pub order: Option<Order>,
    /// The most entries that a page held; 0 where that is not known.
    #[serde(default)]
    pub longest: u64,
    /// Whether the listing ended at a page whose links said so.
    #[serde(default)]
    pub is_end_linked: bool,
}

/// What a walk is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// The whole listing, from its start.
    Full,
    /// A full walk that was interrupted, from its checkpoint to the end.
    Resume(Checkpoint),
    /// A listing whose newest runs come first: until a page holds only settled runs. `listed` is how
    /// many were listed when that was last known.
    Newest {
        /// Runs listed when last known.
        listed: Option<u64>,
    },
    /// A listing whose newest runs come last: what follows the end seen last.
    Oldest(Checkpoint),
    /// A listing that may fit one page, whatever its order: from its start to its end.
    OnePage {
        /// Runs listed when last known.
        listed: u64,
    },
}

/// How a walk may end before it has seen the whole listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShortWay {
    /// At a page of settled runs that shows the newest first.
    NewestFirst,
    /// At the end of a listing that shows the oldest first where the end was seen last.
    OldestFirst,
    /// At the listing's end only, which a page of one settled run shows.
    OnePage,
}

/// How a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Everything that was listed throughout it was received.
    Complete,
    /// It reached runs through which a complete walk once went: nothing can be missing either.
    JoinedProved,
    /// It could not be proved.
    Unproved(Doubt),
}

/// Why a walk proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// Pages came again for other positions.
    NothingUnseen(u64),
    /// An id stood at two places, on one page or among others.
    TwoPlaces,
    /// Nothing was left that pages could be joined by, again and again.
    KeptShifting,
    /// The platform gives one run a page: pages cannot overlap.
    SingleRuns,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingUnseen(skip) => {
                write!(
                    f,
                    "the page at $skip={skip} held nothing new: the platform ignores or limits $skip, so what is behind \
                     it cannot be reached"
                )
            }
            Self::TwoPlaces => f.write_str(
                "a run was met at two places: it is listed twice or the order changed, so another may be missing",
            ),
            Self::KeptShifting => f.write_str("the listing kept shifting while it was walked"),
            Self::SingleRuns => f.write_str("pages of a single run cannot overlap"),
        }
    }
}

/// A page as the walk needs it.
#[derive(Debug)]
struct Page {
    ask: Ask,
    /// Which answer it was, and how many had come when it was asked for.
    number: u64,
    asked: u64,
    entries: Vec<Entry>,
    more: More,
}

/// Looking for chained entries where they were expected and not found.
#[derive(Debug, Clone, Copy)]
struct Seek {
    from: u64,
    skip: u64,
    back: u64,
    is_forward: bool,
}

/// The state machine. Ask [`Walk::plan_asks`], hand in answers with [`Walk::take_page`], until
/// [`Walk::end`] tells how it ended.
#[derive(Debug)]
pub struct Walk {
    /// `None`: the whole listing is walked.
    short_way: Option<ShortWay>,
    listed_before: Option<u64>,
    /// Whether the walk covers the listing from its start, by itself or by what it resumes.
    is_full: bool,
    top: u32,
    window: usize,

    remembered: VecDeque<Key>,
    index: HashMap<Key, u64>,
    next_index: u64,
    /// Whether a page was chained in this process: before that, only one request is made.
    is_underway: bool,
    is_resumed: bool,
    chained: u64,
    cursor: u64,
    /// The length of the last page that brought something, and of the longest one.
    stride: u64,
    longest: u64,
    oldest_started_at: Option<UtcText>,
    newest_started_at: Option<UtcText>,
    last_started_at: Option<UtcText>,
    newest_first_seen: bool,
    oldest_first_seen: bool,

    /// What was asked for, and how many answers had come by then.
    in_flight: Vec<(Ask, u64)>,
    answers: u64,
    /// The number of the answer that was chained last.
    last_chained: u64,
    loose: Vec<Page>,
    /// The lowest position that answered with an empty page.
    empty_from: Option<u64>,
    /// A position that should answer empty if the listing ends where it seems to.
    suspected_end: Option<u64>,
    seek: Option<Seek>,
    /// Having stepped back, the walk follows what it knows page by page.
    is_retracing: bool,
    can_read_ahead: bool,
    /// Pages do not overlap, because the platform gives single runs.
    is_single: bool,
    singles: u32,
    /// The most entries that any answer held.
    widest: u64,
    quiet: u32,
    /// Pages with nothing unseen by their first and last entry: the positions they were given for.
    quiet_pages: HashMap<(Key, Key), HashSet<u64>>,
    restarts: u32,
    /// One page's keys, replaced at each doubling: an endless listing comes round to it (Brent).
    landmark: HashSet<Key>,
    pages: u64,
    is_end_linked: bool,
    doubt: Option<Doubt>,
    end: Option<End>,
}

impl Walk {
    /// A walk that asks for `top` runs a page and keeps up to `window` requests under way.
    pub fn new(plan: Plan, top: u32, window: usize) -> Self {
        let (short_way, listed_before, start) = match plan {
            Plan::Full => (None, None, None),
            Plan::Resume(checkpoint) => (None, None, Some(checkpoint)),
            Plan::Newest { listed } => (Some(ShortWay::NewestFirst), listed, None),
            Plan::OnePage { listed } => (Some(ShortWay::OnePage), Some(listed), None),
            // A listing that was empty at its end has no end to go on from.
            Plan::Oldest(end) if end.anchors.is_empty() => (Some(ShortWay::OnePage), Some(0), None),
            // What an earlier walk chained is not counted again, and the order it saw must be seen again.
            Plan::Oldest(end) => {
                let end = Checkpoint { linked: 0, order: None, ..end };
                (Some(ShortWay::OldestFirst), None, Some(end))
            }
        };
        let start = start.filter(|checkpoint| !checkpoint.anchors.is_empty());
        let is_resumed = start.is_some();
        let start = start.unwrap_or_default();
        let mut walk = Self {
            short_way,
            listed_before,
            is_full: short_way.is_none(),
            top: top.max(1),
            window: window.max(1),
            remembered: VecDeque::new(),
            index: HashMap::new(),
            next_index: 0,
            is_underway: false,
            is_resumed,
            chained: start.linked,
            cursor: start.position,
            stride: 64,
            longest: start.longest,
            oldest_started_at: start.oldest_started_at,
            newest_started_at: start.newest_started_at,
            last_started_at: start.last_started_at,
            newest_first_seen: matches!(start.order, Some(Order::NewestFirst | Order::None)),
            oldest_first_seen: matches!(start.order, Some(Order::OldestFirst | Order::None)),
            in_flight: Vec::new(),
            answers: 0,
            last_chained: 0,
            loose: Vec::new(),
            empty_from: None,
            suspected_end: None,
            seek: None,
            is_retracing: false,
            can_read_ahead: false,
            is_single: false,
            singles: 0,
            widest: 0,
            quiet: 0,
            quiet_pages: HashMap::new(),
            restarts: 0,
            landmark: HashSet::new(),
            pages: 0,
            is_end_linked: false,
            doubt: None,
            end: None,
        };
        for key in start.anchors {
            walk.remember(key);
        }
        walk
    }

    /// How the walk ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether it ended in a way that proves something.
    pub fn has_proved(&self) -> bool {
        matches!(self.end, Some(End::Complete | End::JoinedProved))
    }

    /// Whether the walk covers the whole listing; an incremental one becomes full where it must.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether it went, or with what it resumes went, from the listing's start to its end.
    pub fn covers_listing(&self) -> bool {
        self.end == Some(End::Complete) && (self.is_full || !self.is_resumed)
    }

    /// Whether the end of the listing was seen, from wherever the walk came.
    pub fn has_seen_the_end(&self) -> bool {
        let ends_at_the_end = self.is_resumed || self.short_way == Some(ShortWay::OnePage);
        self.end == Some(End::Complete) || self.end == Some(End::JoinedProved) && ends_at_the_end
    }

    /// The order observed so far; `None` while nothing tells.
    pub fn order(&self) -> Option<Order> {
        match (self.newest_first_seen, self.oldest_first_seen) {
            (true, true) => Some(Order::None),
            (true, false) => Some(Order::NewestFirst),
            (false, true) => Some(Order::OldestFirst),
            (false, false) => None,
        }
    }

    /// Where another walk can go on from what is chained now.
    pub fn checkpoint(&self) -> Checkpoint {
        let skipped = self.remembered.len().saturating_sub(ANCHORS);
        Checkpoint {
            position: self.cursor,
            anchors: self.remembered.iter().skip(skipped).copied().collect(),
            linked: self.chained,
            oldest_started_at: self.oldest_started_at,
            newest_started_at: self.newest_started_at,
            last_started_at: self.last_started_at,
            order: self.order(),
            longest: self.longest,
            is_end_linked: self.is_end_linked,
        }
    }

    /// Asks for smaller pages from now on.
    pub fn shrink_pages(&mut self, top: u32) {
        self.top = top.clamp(1, self.top);
    }

    /// The size asked for.
    pub fn page_size(&self) -> u32 {
        self.top
    }

    /// A request that brought no page: it may be planned again.
    pub fn give_up(&mut self, ask: Ask) {
        self.in_flight.retain(|(other, _)| *other != ask);
    }

    /// What to request now, beside what is under way.
    pub fn plan_asks(&mut self) -> Vec<Ask> {
        let mut asks = Vec::new();
        if self.end.is_some() {
            return asks;
        }
        let target = self.target();
        let is_awaited = self.in_flight.iter().any(|(ask, _)| {
            ask.skip == target
                || self.can_read_ahead && ask.skip < target && target + 1 < ask.skip + self.stride
        });
        if !is_awaited {
            asks.push(Ask { skip: target, top: self.top });
        }
        if self.can_read_ahead && self.seek.is_none() && self.suspected_end.is_none() {
            // Pages overlap by one entry, so that each can be joined to the one before it.
            let step = (self.stride - 1).max(1);
            let mut skip = target;
            for _ in 1..self.window {
                skip += step;
                let is_known = self.in_flight.iter().any(|(ask, _)| ask.skip == skip)
                    || self.loose.iter().any(|page| page.ask.skip == skip);
                let is_past = self.empty_from.is_some_and(|empty| skip >= empty);
                if self.in_flight.len() + asks.len() >= self.window || is_past {
                    break;
                }
                if !is_known {
                    asks.push(Ask { skip, top: self.top });
                }
            }
        }
        self.in_flight.extend(asks.iter().map(|ask| (*ask, self.answers)));
        asks
    }

    /// The position whose answer the walk cannot go on without.
    fn target(&self) -> u64 {
        match (self.seek, self.suspected_end) {
            (Some(seek), _) => seek.skip,
            (None, Some(end)) => end,
            (None, None) if self.is_single => self.cursor,
            (None, None) if self.short_way == Some(ShortWay::OldestFirst) && !self.is_underway => {
                self.cursor.saturating_sub(OVERLAP.min(self.remembered.len()) as u64)
            }
            (None, None) => self.cursor.saturating_sub(1),
        }
    }

    /// Takes an answer: the entries in the order sent, and what the page says of a following one.
    pub fn take_page(&mut self, ask: Ask, entries: Vec<Entry>, more: More) {
        let asked = self.in_flight.iter().find(|(other, _)| *other == ask).map_or(0, |&(_, answers)| answers);
        self.give_up(ask);
        self.answers += 1;
        if self.end.is_some() {
            return;
        }
        let target = self.target();
        let (is_empty, received) = (entries.is_empty(), entries.len() as u64);
        if is_empty {
            self.take_empty(ask.skip, target);
            return;
        }
        self.widest = self.widest.max(received);
        self.observe_order(&entries);
        self.loose.push(Page { ask, number: self.answers, asked, entries, more });
        self.chain_loose_pages();
        let missed =
            self.loose.iter().find(|page| page.number == self.answers).filter(|_| target == ask.skip);
        if let (None, Some(page)) = (&self.end, missed) {
            let last_start = page.entries.last().and_then(|entry| entry.started_at);
            // New runs push what was walked before an interruption down a newest-first listing.
            let is_above = self.order() == Some(Order::NewestFirst) && last_start > self.last_started_at;
            self.miss(ask.skip, received, is_above && !self.is_underway);
            // A miss may have made the page fit, as the next of single runs.
            self.chain_loose_pages();
        }
        if self.loose.len() > 2 * self.window {
            self.loose.remove(0);
        }
    }

    /// An empty page is an end whatever its links say.
    fn take_empty(&mut self, skip: u64, target: u64) {
        self.empty_from = Some(self.empty_from.map_or(skip, |empty| empty.min(skip)));
        let is_expected =
            self.suspected_end.is_some_and(|end| skip <= end) || self.is_single && skip == self.cursor;
        if skip == 0 || is_expected {
            if skip == 0 {
                self.is_full = true;
            }
            self.finish(End::Complete);
        } else if skip == target {
            self.miss(skip, 0, false);
        }
    }

    fn chain_loose_pages(&mut self) {
        while self.end.is_none() {
            let target = self.target();
            let fits = |page: &Page| {
                page.ask.skip == 0 && self.next_index == 0 && !self.is_resumed
                    || self.is_single && page.ask.skip == self.cursor
                    || self.holds_chained(page, page.ask.skip == target)
            };
            let fitting = self.loose.iter().enumerate().filter(|(_, page)| fits(page));
            let Some((at, _)) = fitting.min_by_key(|(_, page)| page.ask) else {
                return;
            };
            let page = self.loose.swap_remove(at);
            self.chain(page);
        }
    }

    /// Whether the page holds an entry that is chained: where it was asked for ahead, about where that
    /// entry must be, or a listing in another order for each answer would seem to hang together.
    fn holds_chained(&self, page: &Page, is_target: bool) -> bool {
        let positions = page.ask.skip..;
        positions.zip(&page.entries).any(|(position, entry)| {
            self.index.get(&entry.key).is_some_and(|index| {
                let expected = self.cursor.saturating_sub(self.next_index - index);
                is_target || position.abs_diff(expected) <= self.longest
            })
        })
    }

    fn chain(&mut self, page: Page) {
        let is_target = page.ask.skip == self.target();
        let received = page.entries.len() as u64;
        self.is_underway = true;
        self.pages += 1;
        let places: Vec<Option<u64>> =
            page.entries.iter().map(|entry| self.index.get(&entry.key).copied()).collect();
        let is_in_place = self.is_in_place(&page, &places);
        if self.short_way == Some(ShortWay::OldestFirst) && (!is_in_place || self.newest_first_seen) {
            // The end seen last is no longer what it was, or not of this order: only the whole listing tells.
            self.leave_short_way();
            return;
        }
        if !is_in_place {
            self.doubt.get_or_insert(Doubt::TwoPlaces);
        }
        let fresh_from = places.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let fresh = &page.entries[fresh_from..];
        let joins_the_end = places.iter().flatten().max().is_none_or(|&last| last + 1 == self.next_index);
        if !fresh.is_empty() && !joins_the_end && page.asked < self.last_chained {
            // An older page: what it has between two chained entries was gone when they were chained.
            return;
        }
        if !fresh.is_empty() {
            self.last_chained = self.last_chained.max(page.number);
        }
        if fresh.iter().any(|entry| self.landmark.contains(&entry.key)) {
            self.finish(End::Unproved(Doubt::TwoPlaces));
            return;
        }
        for entry in fresh {
            self.remember(entry.key);
            self.chained += u64::from(entry.is_readable);
            if let Some(started) = entry.started_at {
                self.oldest_started_at =
                    Some(self.oldest_started_at.map_or(started, |oldest| oldest.min(started)));
                self.newest_started_at =
                    Some(self.newest_started_at.map_or(started, |newest| newest.max(started)));
                self.last_started_at = Some(started);
            }
        }
        if self.pages.is_power_of_two() && !fresh.is_empty() {
            self.landmark = fresh.iter().map(|entry| entry.key).collect();
        }
        let ends_chain = page.entries.last().map(|entry| entry.key) == self.remembered.back().copied();
        if !fresh.is_empty() {
            self.quiet = 0;
            self.quiet_pages.clear();
            self.stride = received;
            self.longest = self.longest.max(received);
            // A page much shorter than others is likely the last: no reading past it.
            self.can_read_ahead = self.short_way.is_none() && received > 1 && 2 * received > self.longest;
            if received > 1 {
                self.singles = 0;
            }
        }
        if ends_chain {
            self.is_retracing = false;
            self.cursor = page.ask.skip + received;
            self.seek = None;
            self.suspected_end = None;
        } else if is_target {
            // The page lies before the end of the chain: the listing has grown in front of it. After
            // stepping back, what followed may be gone, so there the walk goes on from the page itself.
            let last = places.iter().flatten().max().copied().unwrap_or(0);
            self.is_retracing |= self.seek.is_some();
            let ahead = if self.is_retracing { 0 } else { self.next_index - 1 - last };
            self.cursor = page.ask.skip + received + ahead;
            self.seek = None;
            self.suspected_end = None;
        }
        let is_last = page.more == More::NoNext && received < u64::from(page.ask.top);
        if (is_last || received == 1 && page.ask.top > 1) && self.lacks_order(&page) {
            return;
        }
        self.heed_order(&page);
        if is_last {
            self.is_end_linked = true;
            self.finish(End::Complete);
        } else if self.stops_at(&page, ends_chain) {
            self.finish(End::JoinedProved);
        } else if received == 1 && page.ask.top > 1 && !self.is_single {
            // Asked for two or more, given one: nothing follows it. An empty page is to confirm that.
            self.cursor = page.ask.skip + 1;
            if self.empty_from.is_some_and(|empty| empty <= self.cursor) {
                self.finish(End::Complete);
            } else {
                self.suspected_end = Some(self.cursor);
            }
        }
        if self.end.is_none() && page.entries.len() > fresh_from {
            return;
        }
        self.note_quiet_page(&page);
    }

    /// A page with nothing unseen: the listing has shifted, or the platform does not heed `$skip`.
    fn note_quiet_page(&mut self, page: &Page) {
        let (Some(first), Some(last)) = (page.entries.first(), page.entries.last()) else {
            return;
        };
        let positions = self.quiet_pages.entry((first.key, last.key)).or_default();
        positions.insert(page.ask.skip);
        let is_stuck = positions.len() > SAME_PAGE;
        // What is retraced is finite.
        self.quiet += u32::from(!self.is_retracing);
        let patience = if self.doubt.is_some() { DOUBTFUL_PATIENCE } else { PATIENCE };
        if self.end.is_none() && (is_stuck || self.quiet > patience) {
            self.finish(End::Unproved(Doubt::NothingUnseen(page.ask.skip)));
        }
    }

    /// Whether nothing seems to follow the page, but nothing has shown yet that the listing is in the order
    /// that this way relies on. Then more of what was seen last time is asked for.
    fn lacks_order(&mut self, page: &Page) -> bool {
        if self.short_way != Some(ShortWay::OldestFirst) || self.oldest_first_seen {
            return false;
        }
        self.quiet += 1;
        let skip = page.ask.skip;
        if skip == 0 || self.quiet > PATIENCE {
            // All that is left of the listing shows no order.
            self.leave_short_way();
            return true;
        }
        let back = self.seek.map_or(2 * OVERLAP as u64, |seek| seek.back.saturating_mul(2));
        self.seek = Some(Seek { from: skip, skip: skip.saturating_sub(back), back, is_forward: false });
        true
    }

    /// A page that does not show the newest first: what follows it may be anything, so the walk goes on to
    /// the listing's end.
    fn heed_order(&mut self, page: &Page) {
        let order = order_of(page.entries.iter().map(|entry| entry.started_at));
        if self.short_way == Some(ShortWay::NewestFirst)
            && order.is_some_and(|order| order != Order::NewestFirst)
        {
            self.leave_short_way();
        }
    }

    /// The whole listing must be walked. A walk that began at its start has nothing to begin again.
    fn leave_short_way(&mut self) {
        if self.is_resumed {
            self.restart();
            self.restarts = 0;
        } else {
            self.short_way = None;
            self.is_full = true;
        }
    }

    /// Whether the page says that everything from here on was proved by an earlier walk.
    fn stops_at(&self, page: &Page, ends_chain: bool) -> bool {
        let is_all_settled = page.entries.iter().all(|entry| entry.is_proved);
        // Asked for two or more, and given the one that was known to be the last: nothing follows it.
        let is_end = page.entries.len() == 1 && page.ask.top > 1 && ends_chain;
        let has_all = self.listed_before.is_some_and(|listed| self.chained >= listed);
        let order = order_of(page.entries.iter().map(|entry| entry.started_at));
        is_all_settled
            && match self.short_way {
                None => false,
                Some(ShortWay::OldestFirst) => is_end,
                Some(ShortWay::OnePage) => is_end && has_all,
                Some(ShortWay::NewestFirst) => order == Some(Order::NewestFirst) || is_end && has_all,
            }
    }

    /// Entries that are chained already must stand in the order they were chained in. With nothing else
    /// between them, too, where the page is younger than all of them: an older page may still hold a run
    /// that was gone when its neighbours were chained.
    fn is_in_place(&self, page: &Page, places: &[Option<u64>]) -> bool {
        let known: Vec<u64> = places.iter().flatten().copied().collect();
        let first = places.iter().position(Option::is_some).unwrap_or(0);
        let is_in_order = known.windows(2).all(|pair| pair[0] < pair[1]);
        let is_unbroken = places[first..].iter().take(known.len()).all(Option::is_some);
        let is_younger = page.asked >= self.last_chained;
        let mut keys: Vec<Key> = page.entries.iter().map(|entry| entry.key).collect();
        keys.sort_unstable();
        let is_twice = keys.windows(2).any(|pair| pair[0] == pair[1]);
        !is_twice && is_in_order && (is_unbroken || !is_younger)
    }

    /// The page that had to join holds nothing chained (`received` 0: it is empty). `is_above`: what was
    /// chained last must be further down.
    fn miss(&mut self, skip: u64, received: u64, is_above: bool) {
        self.quiet += 1;
        self.can_read_ahead = false;
        if self.quiet > PATIENCE {
            self.finish(End::Unproved(Doubt::KeptShifting));
            return;
        }
        if self.suspected_end.take().is_some() {
            // Something stands where the listing seemed to end: runs were added, or pages hold one run.
            self.singles += 1;
            if self.singles > MOST_SINGLES && self.widest <= 1 {
                self.is_single = true;
                self.doubt.get_or_insert(Doubt::SingleRuns);
            }
            return;
        }
        if skip == 0 {
            self.restart();
            return;
        }
        if self.seek.is_some_and(|seek| seek.is_forward) && !(is_above && received > 1) {
            // Every page down to where it must be was seen: nothing that was chained is listed any more.
            self.restart();
            return;
        }
        let first_step = (self.stride / 4).max(1);
        self.seek = Some(match self.seek {
            seek if is_above && received > 1 => {
                let from = seek.map_or(skip, |seek| seek.from);
                Seek { from, skip: skip + received - 1, back: first_step, is_forward: true }
            }
            Some(Seek { is_forward: false, from, back, .. }) => {
                let back = back.saturating_mul(2);
                Seek { from, skip: from.saturating_sub(back), back, is_forward: false }
            }
            _ => Seek {
                from: skip,
                skip: skip.saturating_sub(first_step),
                back: first_step,
                is_forward: false,
            },
        });
    }

    /// Nothing that was chained is listed any more, or the order is another one: from the start.
    fn restart(&mut self) {
        self.restarts += 1;
        if self.restarts > RESTARTS {
            self.finish(End::Unproved(Doubt::KeptShifting));
            return;
        }
        // Pages stored before do not count for this walk: they are asked for again. What is kept is what the
        // platform was seen to do, whatever it lists, and what is still under way; an empty page, a page that
        // came again, or pages of single runs are of the listing as it was.
        *self = Self {
            in_flight: std::mem::take(&mut self.in_flight),
            answers: self.answers,
            widest: self.widest,
            restarts: self.restarts,
            ..Self::new(Plan::Full, self.top, self.window)
        };
    }

    fn remember(&mut self, key: Key) {
        self.remembered.push_back(key);
        self.index.insert(key, self.next_index);
        self.next_index += 1;
        if self.remembered.len() > REMEMBERED
            && let Some(oldest) = self.remembered.pop_front()
            && self.index.get(&oldest).is_some_and(|&index| index + (REMEMBERED as u64) < self.next_index)
        {
            self.index.remove(&oldest);
        }
    }

    fn observe_order(&mut self, entries: &[Entry]) {
        match order_of(entries.iter().map(|entry| entry.started_at)) {
            Some(Order::NewestFirst) => self.newest_first_seen = true,
            Some(Order::OldestFirst) => self.oldest_first_seen = true,
            Some(Order::None) => (self.newest_first_seen, self.oldest_first_seen) = (true, true),
            None => {}
        }
    }

    fn finish(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(match (end, self.doubt.take()) {
                (End::Complete | End::JoinedProved, Some(doubt)) => End::Unproved(doubt),
                (end, _) => end,
            });
        }
    }
}

/// The order of starts, where there are two that differ.
fn order_of(starts: impl Iterator<Item = Option<UtcText>>) -> Option<Order> {
    let (mut rises, mut falls) = (false, false);
    let mut last: Option<UtcText> = None;
    for started in starts.flatten() {
        if let Some(last) = last {
            rises |= last < started;
            falls |= last > started;
        }
        last = Some(started);
    }
    match (rises, falls) {
        (true, true) => Some(Order::None),
        (true, false) => Some(Order::OldestFirst),
        (false, true) => Some(Order::NewestFirst),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::FileFailurePersistence;
    use std::collections::{BTreeSet, VecDeque};

    /// A platform in memory: runs are numbers, larger is newer.
    #[derive(Debug, Clone)]
    struct Listing {
        /// In listed order, newest first.
        runs: VecDeque<u64>,
        order: Order,
        cap: usize,
        links: Links,
        short_pages: bool,
        next_newest: u64,
        next_oldest: u64,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Links {
        Honest,
        AlwaysNext,
        Absent,
    }

    #[derive(Debug, Clone, Copy)]
    enum Shift {
        Newest(u8),
        Oldest(u8),
        Remove(prop::sample::Index),
        RemoveHead(u8),
    }

    impl Listing {
        fn new(count: u64, order: Order, cap: usize, links: Links, short_pages: bool) -> Self {
            let first = 1_000_000;
            Self {
                runs: (first..first + count).rev().collect(),
                order,
                cap,
                links,
                short_pages,
                next_newest: first + count,
                next_oldest: first - 1,
            }
        }

        fn listed(&self) -> Vec<u64> {
            let mut runs: Vec<u64> = self.runs.iter().copied().collect();
            match self.order {
                Order::NewestFirst => {}
                Order::OldestFirst => runs.reverse(),
                // A fixed order that has nothing to do with time.
                Order::None => {
                    runs.sort_by_key(|run| run.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17))
                }
            }
            runs
        }

        fn page(&self, ask: Ask, luck: u64) -> (Vec<Entry>, More) {
            let listed = self.listed();
            let mut size = self.cap.min(ask.top as usize);
            if self.short_pages && size > 2 {
                size = 2 + (luck as usize) % (size - 1);
            }
            let from = (ask.skip as usize).min(listed.len());
            let to = (from + size).min(listed.len());
            let entries = listed[from..to].iter().map(|&run| entry(run)).collect();
            let more = match self.links {
                Links::Absent => More::Unsaid,
                Links::Honest if to == listed.len() => More::NoNext,
                _ => More::Next,
            };
            (entries, more)
        }

        fn shift(&mut self, shift: Shift) {
            match shift {
                Shift::Newest(count) => {
                    for _ in 0..count {
                        self.runs.push_front(self.next_newest);
                        self.next_newest += 1;
                    }
                }
                Shift::Oldest(count) => {
                    for _ in 0..count {
                        self.runs.push_back(self.next_oldest);
                        self.next_oldest -= 1;
                    }
                }
                Shift::Remove(index) if !self.runs.is_empty() => {
                    let at = index.index(self.runs.len());
                    self.runs.remove(at);
                }
                Shift::RemoveHead(count) => {
                    for _ in 0..count {
                        self.runs.pop_back();
                    }
                }
                Shift::Remove(_) => {}
            }
        }
    }

    fn started(run: u64) -> UtcText {
        UtcText::from_datetime(&chrono::DateTime::from_timestamp(run as i64, 0).unwrap()).unwrap()
    }

    fn entry(run: u64) -> Entry {
        Entry { key: Key(run.into()), started_at: Some(started(run)), is_proved: false, is_readable: true }
    }

    /// Drives a walk to its end: answers come in any order, and the listing shifts before each.
    struct Outcome {
        end: Option<End>,
        stored: BTreeSet<u64>,
        always_listed: BTreeSet<u64>,
        requests: usize,
        walk: Walk,
    }

    fn drive(
        mut walk: Walk,
        listing: &mut Listing,
        shifts: &[Vec<Shift>],
        luck: &[u64],
        most: usize,
        settled: &BTreeSet<u64>,
    ) -> Outcome {
        let mut stored = BTreeSet::new();
        let mut always_listed: BTreeSet<u64> = listing.runs.iter().copied().collect();
        let mut under_way = Vec::new();
        let mut requests = 0;
        while walk.end().is_none() && requests < most {
            under_way.extend(walk.plan_asks());
            assert!(!under_way.is_empty(), "a walk that has not ended asks for something: {walk:?}");
            let chance = luck[requests % luck.len()];
            let ask = under_way.swap_remove(chance as usize % under_way.len());
            for shift in shifts.get(requests).into_iter().flatten() {
                listing.shift(*shift);
            }
            let listed_now: BTreeSet<u64> = listing.runs.iter().copied().collect();
            always_listed.retain(|run| listed_now.contains(run));
            let (mut entries, more) = listing.page(ask, chance / 7);
            for entry in &mut entries {
                stored.insert(entry.key.0 as u64);
                entry.is_proved = settled.contains(&(entry.key.0 as u64));
            }
            walk.take_page(ask, entries, more);
            requests += 1;
        }
        Outcome { end: walk.end().cloned(), stored, always_listed, requests, walk }
    }

    fn any_shift() -> impl Strategy<Value = Shift> {
        prop_oneof![
            3 => (1_u8..4).prop_map(Shift::Newest),
            2 => (1_u8..4).prop_map(Shift::Oldest),
            4 => any::<prop::sample::Index>().prop_map(Shift::Remove),
            2 => (1_u8..4).prop_map(Shift::RemoveHead),
        ]
    }

    fn any_listing() -> impl Strategy<Value = Listing> {
        let order = prop::sample::select(vec![Order::NewestFirst, Order::OldestFirst, Order::None]);
        let links = prop::sample::select(vec![Links::Honest, Links::AlwaysNext, Links::Absent]);
        (0_u64..120, order, 2_usize..25, links, any::<bool>())
            .prop_map(|(count, order, cap, links, short)| Listing::new(count, order, cap, links, short))
    }

    fn any_shifts() -> impl Strategy<Value = Vec<Vec<Shift>>> {
        prop::collection::vec(prop::collection::vec(any_shift(), 0..3), 0..40)
    }

    fn any_luck() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(any::<u64>(), 1..64)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))), ..ProptestConfig::default() })]

        #[test]
        fn what_was_listed_throughout_a_walk_is_stored_by_it(
            mut listing in any_listing(), shifts in any_shifts(), luck in any_luck(), window in 1_usize..6,
        ) {
            let walk = Walk::new(Plan::Full, 1_000, window);
            let outcome = drive(walk, &mut listing, &shifts, &luck, 2_000, &BTreeSet::new());
            prop_assert!(outcome.end.is_some(), "the walk ends");
            if outcome.end == Some(End::Complete) {
                let missed: Vec<_> = outcome.always_listed.difference(&outcome.stored).collect();
                prop_assert!(missed.is_empty(), "missed {:?}", missed);
            } else {
                // Shifts by whole pages again and again may leave it unproved: then nothing is claimed.
                prop_assert!(!shifts.is_empty(), "{:?}", outcome.end);
            }
        }

        #[test]
        fn a_listing_that_stands_still_is_walked_completely_and_without_waste(
            mut listing in any_listing(), luck in any_luck(), window in 1_usize..6,
        ) {
            listing.short_pages = false;
            let pages = (listing.runs.len() as f64 / (listing.cap - 1) as f64).ceil() as usize;
            let outcome = drive(Walk::new(Plan::Full, 1_000, window), &mut listing, &[], &luck, 2_000, &BTreeSet::new());
            prop_assert_eq!(outcome.end, Some(End::Complete));
            prop_assert_eq!(&outcome.stored, &listing.runs.iter().copied().collect());
            prop_assert_eq!(outcome.walk.checkpoint().linked, listing.runs.len() as u64);
            prop_assert!(outcome.requests <= pages + 2 * window + 2, "{} requests for {} pages", outcome.requests, pages);
        }

        #[test]
        fn an_interrupted_walk_goes_on_where_it_was(
            mut listing in any_listing(), shifts in any_shifts(), between in prop::collection::vec(any_shift(), 0..12),
            luck in any_luck(), window in 1_usize..6, stop_after in 1_usize..12,
        ) {
            let first = drive(Walk::new(Plan::Full, 1_000, window), &mut listing, &shifts, &luck, stop_after, &BTreeSet::new());
            if first.end.is_none() {
                let mut always_listed = first.always_listed.clone();
                for shift in between {
                    listing.shift(shift);
                }
                let resumed = Walk::new(Plan::Resume(first.walk.checkpoint()), 1_000, window);
                let second = drive(resumed, &mut listing, &[], &luck, 2_000, &BTreeSet::new());
                // Runs that appear between others of an unordered listing look like a change of order.
                let is_doubted = matches!(second.end, Some(End::Unproved(_))) && listing.order == Order::None;
                prop_assert!(second.end == Some(End::Complete) || is_doubted, "{:?}", second.end);
                always_listed.retain(|run| second.always_listed.contains(run));
                let stored: BTreeSet<u64> = first.stored.union(&second.stored).copied().collect();
                let missed: Vec<_> = always_listed.difference(&stored).collect();
                prop_assert!(missed.is_empty() || is_doubted, "missed {:?}", missed);
            }
        }

        #[test]
        fn a_later_walk_brings_what_began_since_and_asks_little(
            mut listing in any_listing(), shifts in any_shifts(), since in prop::collection::vec(any_shift(), 0..12),
            began in 0_u8..30, luck in any_luck(),
        ) {
            listing.short_pages = false;
            // Runs that appear at the oldest end are for the next full walk to find.
            let is_later = |shift: &Shift| !matches!(shift, Shift::Oldest(_));
            let shifts: Vec<Vec<Shift>> =
                shifts.into_iter().map(|shifts| shifts.into_iter().filter(is_later).collect()).collect();
            let first = drive(Walk::new(Plan::Full, 1_000, 4), &mut listing, &shifts, &luck, 2_000, &BTreeSet::new());
            // A few runs in no order may look ordered by chance: only a full walk finds that out.
            if first.end != Some(End::Complete) || first.walk.order().is_some_and(|order| order != listing.order) {
                return Ok(());
            }
            for shift in since.into_iter().filter(is_later) {
                listing.shift(shift);
            }
            // Up to the watermark: runs that began while the listing was walked are not proved by it.
            let watermark = first.walk.checkpoint().newest_started_at;
            let settled: BTreeSet<u64> =
                first.stored.iter().copied().filter(|&run| Some(started(run)) <= watermark).collect();
            let unseen: u64 = listing.runs.iter().filter(|run| !settled.contains(run)).count() as u64;
            listing.shift(Shift::Newest(began));
            let known = plan::ListingKnown {
                order: first.walk.order(),
                end: Some(first.walk.checkpoint()),
                listed: first.walk.checkpoint().linked,
                is_proved: true,
                ..plan::ListingKnown::default()
            };
            let plan = plan::plan_incremental(&known, 1_000).unwrap_or(Plan::Full);
            let is_short_way = matches!(plan, Plan::Newest { .. } | Plan::Oldest(_));
            let order = first.walk.order();
            let second = drive(Walk::new(plan, 1_000, 4), &mut listing, &[], &luck, 2_000, &settled);
            prop_assert!(matches!(second.end, Some(End::Complete | End::JoinedProved)), "{:?}", second.end);
            let stored: BTreeSet<u64> = settled.union(&second.stored).copied().collect();
            let missed: Vec<_> = listing.runs.iter().filter(|run| !stored.contains(run)).collect();
            prop_assert!(missed.is_empty(), "missed {:?} with {:?}", missed, order);
            if is_short_way && order == Some(Order::NewestFirst) && listing.cap > 4 && second.end == Some(End::JoinedProved) {
                let news = (unseen + u64::from(began)) as usize;
                let pages = news.div_ceil(listing.cap - 1) + 2;
                prop_assert!(second.requests <= pages, "{} requests for {} new", second.requests, news);
            }
        }
    }

    #[test]
    fn nothing_new_costs_one_request_and_a_second_where_only_one_entry_tells_the_end() {
        for (order, links) in [
            (Order::NewestFirst, Links::Honest),
            (Order::NewestFirst, Links::AlwaysNext),
            (Order::NewestFirst, Links::Absent),
            (Order::OldestFirst, Links::Honest),
            (Order::OldestFirst, Links::AlwaysNext),
            (Order::OldestFirst, Links::Absent),
        ] {
            for count in [1, 2, 49, 50, 51, 500, 1_000, 1_500] {
                let mut listing = Listing::new(count, order, 50, links, false);
                let first =
                    drive(Walk::new(Plan::Full, 1_000, 4), &mut listing, &[], &[3], 100, &BTreeSet::new());
                assert_eq!(first.end, Some(End::Complete));
                let known = plan::ListingKnown {
                    order: first.walk.order(),
                    end: Some(first.walk.checkpoint()),
                    listed: count,
                    is_proved: true,
                    ..plan::ListingKnown::default()
                };
                let plan = plan::plan_incremental(&known, 50).unwrap();
                let second = drive(Walk::new(plan, 1_000, 4), &mut listing, &[], &[3], 100, &first.stored);
                assert!(matches!(second.end, Some(End::JoinedProved | End::Complete)), "{:?}", second.end);
                // Where links do not tell the end of a listing whose newest runs come last, one entry does.
                let is_silent = order == Order::OldestFirst && links != Links::Honest && count > 1;
                assert_eq!(second.requests, 1 + usize::from(is_silent), "{order:?} {links:?} {count}");
            }
        }
    }

    #[test]
    fn a_platform_that_ignores_limits_or_wraps_skip_ends_the_walk_unproved() {
        type Twist = fn(u64, u64) -> u64;
        let twists: [(&str, Twist); 3] = [
            ("ignores", |_, _| 0),
            ("clamps", |skip, _| skip.min(100)),
            ("wraps", |skip, count| skip % count),
        ];
        for (name, twist) in twists {
            for count in [2_u64, 3, 50, 51, 1_000] {
                let listing = Listing::new(count, Order::NewestFirst, 50, Links::AlwaysNext, false);
                let mut walk = Walk::new(Plan::Full, 1_000, 4);
                let mut requests = 0;
                while walk.end().is_none() {
                    for ask in walk.plan_asks() {
                        requests += 1;
                        assert!(requests < 300, "{name} {count}: {walk:?}");
                        let (entries, more) = listing.page(Ask { skip: twist(ask.skip, count), ..ask }, 0);
                        walk.take_page(ask, entries, more);
                    }
                }
                let is_whole = name == "clamps" && count < 100;
                assert_eq!(
                    matches!(walk.end(), Some(End::Unproved(_))),
                    !is_whole,
                    "{name} {count}: {:?}",
                    walk.end()
                );
            }
        }
    }

    #[test]
    fn a_known_run_is_no_stop_sign_before_a_walk_went_through_it() {
        let mut listing = Listing::new(300, Order::NewestFirst, 50, Links::AlwaysNext, false);
        let interrupted =
            drive(Walk::new(Plan::Full, 1_000, 1), &mut listing, &[], &[0], 2, &BTreeSet::new());
        assert!(interrupted.end.is_none() && interrupted.stored.len() == 99);
        // Archived, but settled is what the caller says of runs that a walk has proved: none here.
        let next = drive(
            Walk::new(Plan::Newest { listed: None }, 1_000, 4),
            &mut listing,
            &[],
            &[0],
            100,
            &BTreeSet::new(),
        );
        assert_eq!((next.end, next.stored.len()), (Some(End::Complete), 300));
    }

    #[test]
    fn a_walk_whose_every_run_was_dropped_while_it_was_interrupted_starts_over() {
        // What was chained has gone from the end, or from above others that stay.
        for stay in [0_u64, 4] {
            let mut listing = Listing::new(6 + stay, Order::NewestFirst, 3, Links::Honest, false);
            let first = drive(Walk::new(Plan::Full, 1_000, 1), &mut listing, &[], &[0], 2, &BTreeSet::new());
            assert_eq!((first.end, first.stored.len()), (None, 5));
            listing.runs.drain(..6);
            listing.shift(Shift::Newest(18));
            let walk = Walk::new(Plan::Resume(first.walk.checkpoint()), 1_000, 4);
            let second = drive(walk, &mut listing, &[], &[0], 100, &BTreeSet::new());
            assert_eq!((second.end, second.stored.len() as u64), (Some(End::Complete), 18 + stay));
            assert!(second.requests < 40, "{} requests", second.requests);
        }
    }

    #[test]
    fn a_listing_whose_order_changed_is_walked_whole() {
        for (before, after) in [
            (Order::NewestFirst, Order::OldestFirst),
            (Order::OldestFirst, Order::NewestFirst),
            (Order::OldestFirst, Order::None),
            (Order::NewestFirst, Order::None),
        ] {
            let mut listing = Listing::new(300, before, 50, Links::Absent, false);
            let first =
                drive(Walk::new(Plan::Full, 1_000, 4), &mut listing, &[], &[0], 100, &BTreeSet::new());
            let plan = match before {
                Order::NewestFirst => Plan::Newest { listed: Some(300) },
                _ => Plan::Oldest(first.walk.checkpoint()),
            };
            listing.order = after;
            listing.shift(Shift::Newest(3));
            let second = drive(Walk::new(plan, 1_000, 4), &mut listing, &[], &[0], 100, &first.stored);
            assert_eq!(
                (second.end.as_ref(), second.stored.len(), second.walk.is_full()),
                (Some(&End::Complete), 303, true),
                "{before:?} {after:?}"
            );
        }
    }

    #[test]
    fn a_reshuffled_listing_is_never_called_complete_by_count() {
        let mut complete = 0;
        for seed in 0..200_u64 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let listing = Listing::new(40, Order::NewestFirst, 15, Links::AlwaysNext, false);
            let mut walk = Walk::new(Plan::Full, 1_000, 1);
            let mut stored = BTreeSet::new();
            while walk.end().is_none() {
                for ask in walk.plan_asks() {
                    let mut order = listing.listed();
                    rng.shuffle(&mut order);
                    let page: Vec<u64> = order.into_iter().skip(ask.skip as usize).take(15).collect();
                    stored.extend(page.iter().copied());
                    walk.take_page(ask, page.into_iter().map(entry).collect(), More::Next);
                }
            }
            let is_claimed =
                matches!(walk.end(), Some(End::Complete)) && walk.checkpoint().linked <= stored.len() as u64;
            complete += usize::from(is_claimed && stored.len() < 40);
        }
        assert_eq!(complete, 0, "complete was claimed of listings that were not stored whole");
    }

    #[test]
    fn single_run_pages_are_stored_and_called_unproved() {
        let mut listing = Listing::new(7, Order::NewestFirst, 1, Links::AlwaysNext, false);
        let outcome = drive(Walk::new(Plan::Full, 1_000, 4), &mut listing, &[], &[0], 100, &BTreeSet::new());
        assert_eq!((outcome.end, outcome.stored.len()), (Some(End::Unproved(Doubt::SingleRuns)), 7));
        let mut one = Listing::new(1, Order::NewestFirst, 50, Links::AlwaysNext, false);
        let outcome = drive(Walk::new(Plan::Full, 1_000, 4), &mut one, &[], &[0], 100, &BTreeSet::new());
        assert_eq!((outcome.end, outcome.requests), (Some(End::Complete), 2));
    }
}
