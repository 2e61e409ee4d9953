//! The walk against listings in memory that shift while they are walked.

use super::*;
use crate::time::UtcText;
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
            Order::Unordered => {
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
    proved: &BTreeSet<u64>,
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
            entry.is_proved = proved.contains(&(entry.key.0 as u64));
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
    let order = prop::sample::select(vec![Order::NewestFirst, Order::OldestFirst, Order::Unordered]);
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
            let is_doubted = matches!(second.end, Some(End::Unproved(_))) && listing.order == Order::Unordered;
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
        if first.end != Some(End::Complete) || first.walk.checkpoint().order.is_some_and(|order| order != listing.order) {
            return Ok(());
        }
        for shift in since.into_iter().filter(is_later) {
            listing.shift(shift);
        }
        // Up to the watermark: runs that began while the listing was walked are not proved by it.
        let watermark = first.walk.checkpoint().newest_started_at;
        let proved: BTreeSet<u64> =
            first.stored.iter().copied().filter(|&run| Some(started(run)) <= watermark).collect();
        let unseen: u64 = listing.runs.iter().filter(|run| !proved.contains(run)).count() as u64;
        listing.shift(Shift::Newest(began));
        let known = plan::ListingKnown {
            order: first.walk.checkpoint().order,
            end: Some(first.walk.checkpoint()),
            listed: first.walk.checkpoint().linked,
            is_proved: true,
            ..plan::ListingKnown::default()
        };
        let plan = plan::plan_incremental(&known, 1_000).unwrap_or(Plan::Full);
        let is_short_way = matches!(plan, Plan::Newest { .. } | Plan::Oldest(_));
        let order = first.walk.checkpoint().order;
        let second = drive(Walk::new(plan, 1_000, 4), &mut listing, &[], &luck, 2_000, &proved);
        prop_assert!(matches!(second.end, Some(End::Complete | End::JoinedProved)), "{:?}", second.end);
        let stored: BTreeSet<u64> = proved.union(&second.stored).copied().collect();
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
                order: first.walk.checkpoint().order,
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
    let twists: [(&str, Twist); 3] =
        [("ignores", |_, _| 0), ("clamps", |skip, _| skip.min(100)), ("wraps", |skip, count| skip % count)];
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
    let interrupted = drive(Walk::new(Plan::Full, 1_000, 1), &mut listing, &[], &[0], 2, &BTreeSet::new());
    assert!(interrupted.end.is_none() && interrupted.stored.len() == 99);
    // Archived, but proved is what the caller says of runs that a walk has proved: none here.
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
    // What was linked has gone from the end, or from above others that stay.
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
        (Order::OldestFirst, Order::Unordered),
        (Order::NewestFirst, Order::Unordered),
    ] {
        let mut listing = Listing::new(300, before, 50, Links::Absent, false);
        let first = drive(Walk::new(Plan::Full, 1_000, 4), &mut listing, &[], &[0], 100, &BTreeSet::new());
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
