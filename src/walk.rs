//! One walk over a connection's listing: a state machine without I/O.
//!
//! In: what each page held, in whatever order the answers come. Out: what to ask next, or the end and
//! whether the listing is proved complete. Requests belong to `api`, storage to `store`, the loop to
//! `sync`.
//!
//! The proof. Runs that stay listed keep their order while others come and go around them. A page is
//! *linked* when it holds an entry that is already linked, or starts the listing: between that entry
//! and the page's last one nothing can be missing, whenever the page was answered. So positions only
//! guide what to ask; which entries follow which is known by ids alone. The walk is complete when a
//! linked page shows that nothing follows. A page that holds no linked entry proves nothing: the walk
//! steps back until one does. Assumed of the platform is only that it gives at least two runs of two.
//!
//! A short way (what began since the last complete walk) assumes one thing more where a page does not hold
//! the whole listing: that a listing whose every page seen shows one order, as its last complete walk did, is
//! in that order where it was not seen. One entry shows no order. `exhaustive` tries every short listing.

use std::fmt;

use crate::api::wire::More;

mod chain;
#[cfg(test)]
mod exhaustive;
mod order;
mod page;
mod patience;
pub(crate) mod plan;
#[cfg(test)]
mod tests;

use chain::Chain;
pub(crate) use order::Order;
use page::PendingPage;
pub(crate) use page::{Ask, Checkpoint, Entry, Key};
use patience::WalkPatience;

/// How many entries that were the last of an oldest-first listing are asked for again: one shows no order.
const OVERLAP: usize = 4;
/// How often something may stand where a listing seemed to end before it is its pages that end there.
const MOST_SINGLES: u32 = 4;
/// Entries that a page is taken to hold before one has come.
const USUAL_PAGE: u64 = 64;

/// What a walk is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plan {
    /// The whole listing, from its start.
    Full,
    /// A full walk that was interrupted, from its checkpoint to the end.
    Resume(Checkpoint),
    /// A listing whose newest runs come first: until a page holds only runs that were proved. `listed` is how
    /// many were listed when that was last known.
    Newest { listed: Option<u64> },
    /// A listing whose newest runs come last: what follows the end seen last.
    Oldest(Checkpoint),
    /// A listing that may fit one page, whatever its order: from its start to its end.
    OnePage { listed: u64 },
}

/// How a walk may end before it has seen the whole listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShortWay {
    /// At a page of proved runs that shows the newest first.
    NewestFirst { listed: Option<u64> },
    /// At the end of a listing that shows the oldest first where the end was seen last.
    OldestFirst,
    /// At the listing's end only, which a page of one proved run shows.
    OnePage { listed: u64 },
}

/// How a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
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

/// Looking for linked entries where they were expected and not found.
#[derive(Debug, Clone, Copy)]
struct Seek {
    from: u64,
    skip: u64,
    back: u64,
    is_forward: bool,
}

/// What was asked for and what has come, whatever it was: kept when a walk starts over.
#[derive(Debug, Default)]
struct Traffic {
    /// What is asked for, and how many answers had come by then.
    in_flight: Vec<(Ask, u64)>,
    answers: u64,
    /// The most entries that any answer held.
    widest: u64,
}

/// Where in the listing the walk reads.
#[derive(Debug)]
struct Reading {
    /// The position after the last linked entry, when it was last seen.
    cursor: u64,
    /// The length of the last page that brought something.
    stride: u64,
    seek: Option<Seek>,
    /// A position that should answer empty if the listing ends where it seems to.
    suspected_end: Option<u64>,
    /// Whether the walk has stepped back, and reads pages again that it knows, one by one.
    is_rereading: bool,
    can_read_ahead: bool,
    /// The lowest position that answered with an empty page.
    empty_from: Option<u64>,
    /// How often something stood where the listing seemed to end.
    singles: u32,
    /// Whether pages do not overlap, because the platform gives single runs.
    is_single: bool,
    is_end_linked: bool,
}

impl Reading {
    fn from(cursor: u64) -> Self {
        Self {
            cursor,
            stride: USUAL_PAGE,
            seek: None,
            suspected_end: None,
            is_rereading: false,
            can_read_ahead: false,
            empty_from: None,
            singles: 0,
            is_single: false,
            is_end_linked: false,
        }
    }

    fn go_on_at(&mut self, cursor: u64) {
        self.cursor = cursor;
        self.seek = None;
        self.suspected_end = None;
    }
}

/// How a page was joined to the chain.
#[derive(Debug)]
struct Joined {
    /// Whether it is the page that the walk could not go on without.
    is_target: bool,
    /// Entries that were not linked before.
    fresh: usize,
    /// The last place in the chain that one of its entries had before.
    last_place: u64,
    /// Whether its last entry is the last of the chain.
    ends_chain: bool,
}

/// The state machine. Ask [`Walk::plan_asks`], hand in answers with [`Walk::take_page`], until
/// [`Walk::end`] says how it ended.
#[derive(Debug)]
pub(crate) struct Walk {
    /// `None`: the whole listing is walked.
    short_way: Option<ShortWay>,
    /// Whether the walk covers the listing from its start, by itself or by what it resumes.
    is_full: bool,
    top: u32,
    window: usize,
    chain: Chain,
    order_seen: Option<Order>,
    patience: WalkPatience,
    traffic: Traffic,
    reading: Reading,
    pending: Vec<PendingPage>,
    doubt: Option<Doubt>,
    end: Option<End>,
}

impl Walk {
    /// A walk that asks for `top` runs a page and keeps up to `window` requests under way.
    pub(crate) fn new(plan: Plan, top: u32, window: usize) -> Self {
        let (short_way, start) = match plan {
            Plan::Full => (None, None),
            Plan::Resume(checkpoint) => (None, Some(checkpoint)),
            Plan::Newest { listed } => (Some(ShortWay::NewestFirst { listed }), None),
            Plan::OnePage { listed } => (Some(ShortWay::OnePage { listed }), None),
            // A listing that was empty at its end has no end to go on from.
            Plan::Oldest(end) if end.anchors.is_empty() => (Some(ShortWay::OnePage { listed: 0 }), None),
            // What an earlier walk linked is not counted again, and the order it saw must be seen again.
            Plan::Oldest(end) => {
                (Some(ShortWay::OldestFirst), Some(Checkpoint { linked: 0, order: None, ..end }))
            }
        };
        let start = start.filter(|checkpoint| !checkpoint.anchors.is_empty());
        let (cursor, order_seen) = start.as_ref().map_or((0, None), |start| (start.position, start.order));
        Self {
            short_way,
            is_full: short_way.is_none(),
            top: top.max(1),
            window: window.max(1),
            chain: start.map_or_else(Chain::default, Chain::resume),
            order_seen,
            patience: WalkPatience::default(),
            traffic: Traffic::default(),
            reading: Reading::from(cursor),
            pending: Vec::new(),
            doubt: None,
            end: None,
        }
    }

    /// How the walk ended, once it has.
    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether it ended in a way that proves something.
    pub(crate) fn has_proved(&self) -> bool {
        matches!(self.end, Some(End::Complete | End::JoinedProved))
    }

    /// Whether the walk covers the whole listing; an incremental one becomes full where it must.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether it went, or with what it resumes went, from the listing's start to its end.
    pub(crate) fn covers_listing(&self) -> bool {
        self.end == Some(End::Complete) && (self.is_full || !self.chain.is_resumed)
    }

    /// Whether the end of the listing was seen, from wherever the walk came.
    pub(crate) fn has_seen_the_end(&self) -> bool {
        let is_one_page = matches!(self.short_way, Some(ShortWay::OnePage { .. }));
        let ends_at_the_end = self.chain.is_resumed || is_one_page;
        self.end == Some(End::Complete) || self.end == Some(End::JoinedProved) && ends_at_the_end
    }

    /// Where another walk can go on from what is linked now.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            position: self.reading.cursor,
            order: self.order_seen,
            is_end_linked: self.reading.is_end_linked,
            ..self.chain.checkpoint()
        }
    }

    /// Asks for smaller pages from now on.
    pub(crate) fn shrink_pages(&mut self, top: u32) {
        self.top = top.clamp(1, self.top);
    }

    pub(crate) fn page_size(&self) -> u32 {
        self.top
    }

    /// A request that brought no page: it may be planned again.
    pub(crate) fn give_up(&mut self, ask: Ask) {
        self.traffic.in_flight.retain(|(other, _)| *other != ask);
    }

    /// What to request now, beside what is under way.
    pub(crate) fn plan_asks(&mut self) -> Vec<Ask> {
        let mut asks = Vec::new();
        if self.end.is_some() {
            return asks;
        }
        let target = self.target();
        let (reading, traffic) = (&self.reading, &self.traffic);
        let is_awaited = traffic.in_flight.iter().any(|(ask, _)| {
            ask.skip == target
                || reading.can_read_ahead && ask.skip < target && target + 1 < ask.skip + reading.stride
        });
        if !is_awaited {
            asks.push(Ask { skip: target, top: self.top });
        }

        if reading.can_read_ahead && reading.seek.is_none() && reading.suspected_end.is_none() {
            // Pages overlap by one entry, so that each can be joined to the one before it.
            let step = (reading.stride - 1).max(1);
            let mut skip = target;
            for _ in 1..self.window {
                skip += step;
                let is_known = traffic.in_flight.iter().any(|(ask, _)| ask.skip == skip)
                    || self.pending.iter().any(|page| page.ask.skip == skip);
                let is_past = reading.empty_from.is_some_and(|empty| skip >= empty);
                if traffic.in_flight.len() + asks.len() >= self.window || is_past {
                    break;
                }
                if !is_known {
                    asks.push(Ask { skip, top: self.top });
                }
            }
        }
        let answers = self.traffic.answers;
        self.traffic.in_flight.extend(asks.iter().map(|ask| (*ask, answers)));
        asks
    }

    /// The position whose answer the walk cannot go on without.
    fn target(&self) -> u64 {
        let reading = &self.reading;
        match (reading.seek, reading.suspected_end) {
            (Some(seek), _) => seek.skip,
            (None, Some(end)) => end,
            (None, None) if reading.is_single => reading.cursor,
            (None, None) if self.short_way == Some(ShortWay::OldestFirst) && self.chain.pages == 0 => {
                reading.cursor.saturating_sub(OVERLAP.min(self.chain.len()) as u64)
            }
            (None, None) => reading.cursor.saturating_sub(1),
        }
    }

    /// Takes an answer: the entries in the order sent, and what the page says of a following one.
    pub(crate) fn take_page(&mut self, ask: Ask, entries: Vec<Entry>, more: More) {
        let sent = self.traffic.in_flight.iter().find(|(other, _)| *other == ask);
        let asked = sent.map_or(0, |&(_, answers)| answers);
        self.give_up(ask);
        self.traffic.answers += 1;
        if self.end.is_some() {
            return;
        }
        let target = self.target();
        if entries.is_empty() {
            self.take_empty(ask.skip, target);
            return;
        }

        let number = self.traffic.answers;
        let page = PendingPage { ask, number, asked, entries, more };
        let (received, order) = (page.received(), page.order());
        let last_start = page.entries.last().and_then(|entry| entry.started_at);
        self.traffic.widest = self.traffic.widest.max(received);
        self.order_seen = Order::merge(self.order_seen, order);
        self.pending.push(page);
        self.link_pending_pages();
        let is_pending = self.pending.iter().any(|page| page.number == number);
        if self.end.is_none() && is_pending && target == ask.skip {
            // New runs push what was walked before an interruption down a newest-first listing.
            let is_above =
                self.order_seen == Some(Order::NewestFirst) && last_start > self.chain.last_started_at;
            self.miss(ask.skip, received, is_above && self.chain.pages == 0);
            // A miss may have made the page fit, as the next of single runs.
            self.link_pending_pages();
        }
        // Pages that never fit are of a listing as it no longer is: they would only take memory.
        if self.pending.len() > 2 * self.window {
            self.pending.remove(0);
        }
    }

    /// An empty page is an end whatever its links say.
    fn take_empty(&mut self, skip: u64, target: u64) {
        let reading = &mut self.reading;
        reading.empty_from = Some(reading.empty_from.map_or(skip, |empty| empty.min(skip)));
        let is_expected = reading.suspected_end.is_some_and(|end| skip <= end)
            || reading.is_single && skip == reading.cursor;
        if skip == 0 || is_expected {
            self.is_full |= skip == 0;
            self.finish(End::Complete);
        } else if skip == target {
            self.miss(skip, 0, false);
        }
    }

    /// Links pages that are pending as long as one of them can be joined to the chain, the one of the lowest
    /// position first.
    fn link_pending_pages(&mut self) {
        while self.end.is_none() {
            let target = self.target();
            let fits = |page: &PendingPage| {
                page.ask.skip == 0 && self.chain.is_empty() && !self.chain.is_resumed
                    || self.reading.is_single && page.ask.skip == self.reading.cursor
                    || self.holds_linked(page, page.ask.skip == target)
            };
            let fitting = self.pending.iter().enumerate().filter(|(_, page)| fits(page));
            let Some((at, _)) = fitting.min_by_key(|(_, page)| page.ask) else {
                return;
            };
            let page = self.pending.swap_remove(at);
            if let Some(joined) = self.join(&page) {
                self.advance(&page, &joined);
                self.end_at(&page, &joined);
            }
        }
    }

    /// Whether the page holds an entry that is linked: where it was asked for ahead, about where that
    /// entry must be, or a listing in another order for each answer would seem to hang together.
    fn holds_linked(&self, page: &PendingPage, is_target: bool) -> bool {
        (page.ask.skip..).zip(&page.entries).any(|(position, entry)| {
            self.chain.place(entry.key).is_some_and(|place| {
                let expected = self.reading.cursor.saturating_sub(self.chain.after(place) + 1);
                is_target || position.abs_diff(expected) <= self.chain.longest
            })
        })
    }

    /// Joins a page to the chain and links what follows; `None` where the page says that the walk must go another
    /// way, or is too old to say anything.
    fn join(&mut self, page: &PendingPage) -> Option<Joined> {
        let is_target = page.ask.skip == self.target();
        self.chain.pages += 1;
        let places: Vec<Option<u64>> = page.entries.iter().map(|entry| self.chain.place(entry.key)).collect();
        let is_in_place = self.is_in_place(page, &places);
        let shows_newest_first = matches!(self.order_seen, Some(Order::NewestFirst | Order::Unordered));
        if self.short_way == Some(ShortWay::OldestFirst) && (!is_in_place || shows_newest_first) {
            // The end seen last is no longer what it was, or not of this order, so what began since may stand anywhere
            // in the listing.
            self.leave_short_way();
            return None;
        }
        if !is_in_place {
            self.doubt.get_or_insert(Doubt::TwoPlaces);
        }

        let fresh_from = places.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let fresh = &page.entries[fresh_from..];
        let last_place = places.iter().flatten().max().copied();
        let joins_the_end = last_place.is_none_or(|last| self.chain.after(last) == 0);
        if !fresh.is_empty() && !joins_the_end && !self.chain.is_younger(page) {
            // An older page: what it has between two linked entries was gone when they were linked.
            return None;
        }
        if self.chain.has_come_round(fresh) {
            self.finish(End::Unproved(Doubt::TwoPlaces));
            return None;
        }
        self.chain.link(fresh, page.number);
        Some(Joined {
            is_target,
            fresh: fresh.len(),
            last_place: last_place.unwrap_or(0),
            ends_chain: self.chain.ends_with(page.entries.last().map(|entry| entry.key)),
        })
    }

    /// Moves on to where the walk reads next.
    fn advance(&mut self, page: &PendingPage, joined: &Joined) {
        let received = page.received();
        let reading = &mut self.reading;
        if joined.fresh > 0 {
            self.patience.renew();
            self.chain.longest = self.chain.longest.max(received);
            reading.stride = received;
            // A page much shorter than others is likely the last: no reading past it.
            reading.can_read_ahead =
                self.short_way.is_none() && received > 1 && 2 * received > self.chain.longest;
            if received > 1 {
                reading.singles = 0;
            }
        }
        if joined.ends_chain {
            reading.is_rereading = false;
            reading.go_on_at(page.ask.skip + received);
        } else if joined.is_target {
            // The page lies before the end of the chain: the listing has grown in front of it. After
            // stepping back, what followed may be gone, so there the walk goes on from the page itself.
            reading.is_rereading |= reading.seek.is_some();
            let ahead = if reading.is_rereading { 0 } else { self.chain.after(joined.last_place) };
            reading.go_on_at(page.ask.skip + received + ahead);
        }
    }

    /// Ends the walk where the page shows that nothing follows, or that what follows was proved before. A page
    /// that neither ends it nor brings anything costs patience.
    fn end_at(&mut self, page: &PendingPage, joined: &Joined) {
        let is_last = page.more == More::NoNext && page.received() < u64::from(page.ask.top);
        if (is_last || page.is_single()) && self.lacks_order(page) {
            return;
        }
        self.heed_order(page);
        if is_last {
            self.reading.is_end_linked = true;
            self.finish(End::Complete);
        } else if self.stops_at(page, joined.ends_chain) {
            self.finish(End::JoinedProved);
        } else if page.is_single() && !self.reading.is_single {
            // Asked for two or more, given one: nothing follows it. An empty page is to confirm that.
            self.reading.cursor = page.ask.skip + 1;
            if self.reading.empty_from.is_some_and(|empty| empty <= self.reading.cursor) {
                self.finish(End::Complete);
            } else {
                self.reading.suspected_end = Some(self.reading.cursor);
            }
        }
        if self.end.is_none() && joined.fresh == 0 {
            self.spend_patience_on(page);
        }
    }

    /// A page with nothing new: the listing has shifted, or the platform does not heed `$skip`.
    fn spend_patience_on(&mut self, page: &PendingPage) {
        let (Some(first), Some(last)) = (page.entries.first(), page.entries.last()) else {
            return;
        };
        let ends = (first.key, last.key);
        let is_in_doubt = self.doubt.is_some();
        if self.patience.spend_on_page(ends, page.ask.skip, self.reading.is_rereading, is_in_doubt) {
            self.finish(End::Unproved(Doubt::NothingUnseen(page.ask.skip)));
        }
    }

    /// Whether nothing seems to follow the page, but nothing has shown yet that the listing is in the order
    /// that this way relies on. Then more of what was seen last time is asked for.
    fn lacks_order(&mut self, page: &PendingPage) -> bool {
        let shows_oldest_first = matches!(self.order_seen, Some(Order::OldestFirst | Order::Unordered));
        if self.short_way != Some(ShortWay::OldestFirst) || shows_oldest_first {
            return false;
        }
        let is_spent = self.patience.spend();
        let skip = page.ask.skip;
        if skip == 0 || is_spent {
            // All that is left of the listing shows no order.
            self.leave_short_way();
            return true;
        }
        let back = self.reading.seek.map_or(2 * OVERLAP as u64, |seek| seek.back.saturating_mul(2));
        self.reading.seek =
            Some(Seek { from: skip, skip: skip.saturating_sub(back), back, is_forward: false });
        true
    }

    /// A page that does not show the newest first: what follows it may be anything, so the walk goes on to
    /// the listing's end.
    fn heed_order(&mut self, page: &PendingPage) {
        let is_newest_first = matches!(self.short_way, Some(ShortWay::NewestFirst { .. }));
        if is_newest_first && page.order().is_some_and(|order| order != Order::NewestFirst) {
            self.leave_short_way();
        }
    }

    /// The whole listing must be walked. A walk that began at its start has nothing to begin again.
    fn leave_short_way(&mut self) {
        if self.chain.is_resumed {
            self.start_over();
            self.patience.forget_restarts();
        } else {
            self.short_way = None;
            self.is_full = true;
        }
    }

    /// Whether the page says that everything from here on was proved by an earlier walk.
    fn stops_at(&self, page: &PendingPage, ends_chain: bool) -> bool {
        // Asked for two or more, and given the one that was known to be the last: nothing follows it.
        let is_end = page.is_single() && ends_chain;
        let has_all = |listed: u64| self.chain.runs >= listed;
        let stops = match self.short_way {
            None => false,
            Some(ShortWay::OldestFirst) => is_end,
            Some(ShortWay::OnePage { listed }) => is_end && has_all(listed),
            Some(ShortWay::NewestFirst { listed }) => {
                page.order() == Some(Order::NewestFirst) || is_end && listed.is_some_and(has_all)
            }
        };
        stops && page.entries.iter().all(|entry| entry.is_proved)
    }

    /// Entries that are linked already must stand in the order they were linked in. With nothing else
    /// between them, too, where the page is younger than all of them: an older page may still hold a run
    /// that was gone when its neighbours were linked.
    fn is_in_place(&self, page: &PendingPage, places: &[Option<u64>]) -> bool {
        let known: Vec<u64> = places.iter().flatten().copied().collect();
        let first = places.iter().position(Option::is_some).unwrap_or(0);
        let is_in_order = known.windows(2).all(|pair| pair[0] < pair[1]);
        let is_unbroken = places[first..].iter().take(known.len()).all(Option::is_some);
        !page.holds_twice() && is_in_order && (is_unbroken || !self.chain.is_younger(page))
    }

    /// The page that had to join holds nothing linked (`received` 0: it is empty). `is_above`: what was
    /// linked last must be further down.
    fn miss(&mut self, skip: u64, received: u64, is_above: bool) {
        self.reading.can_read_ahead = false;
        if self.patience.spend() {
            self.finish(End::Unproved(Doubt::KeptShifting));
            return;
        }
        if self.reading.suspected_end.take().is_some() {
            // Something stands where the listing seemed to end: runs were added, or pages hold one run.
            self.reading.singles += 1;
            if self.reading.singles > MOST_SINGLES && self.traffic.widest <= 1 {
                self.reading.is_single = true;
                self.doubt.get_or_insert(Doubt::SingleRuns);
            }
            return;
        }

        let goes_down = is_above && received > 1;
        let seek = self.reading.seek;
        if skip == 0 || seek.is_some_and(|seek| seek.is_forward) && !goes_down {
            // Every page down to where it must be was seen: nothing that was linked is listed any more.
            self.start_over();
            return;
        }
        let first_step = (self.reading.stride / 4).max(1);
        self.reading.seek = Some(match seek {
            seek if goes_down => {
                let from = seek.map_or(skip, |seek| seek.from);
                Seek { from, skip: skip + received - 1, back: first_step, is_forward: true }
            }
            Some(Seek { is_forward: false, from, back, .. }) => {
                let back = back.saturating_mul(2);
                Seek { from, skip: from.saturating_sub(back), back, is_forward: false }
            }
            _ => {
                let from = skip;
                Seek { from, skip: skip.saturating_sub(first_step), back: first_step, is_forward: false }
            }
        });
    }

    /// Nothing that was linked is listed any more, or the order is another one: the walk begins again at the
    /// listing's start. Pages stored before do not count for it and are asked for again. What is kept is what is
    /// under way and what any answer held; all else was said of the listing as it was.
    fn start_over(&mut self) {
        let Some(patience) = self.patience.after_restart() else {
            self.finish(End::Unproved(Doubt::KeptShifting));
            return;
        };
        let traffic = std::mem::take(&mut self.traffic);
        *self = Self { traffic, patience, ..Self::new(Plan::Full, self.top, self.window) };
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
