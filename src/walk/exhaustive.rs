//! The walk's proof, tried on every short listing: beside the random check in `walk`, which tries long ones.
//!
//! A platform in memory lists up to five runs in every order, in pages of every size, with links of three
//! kinds. It is synced once or twice as `sync` does, by the decisions of `plan`; between any two answers one
//! run appears or goes, at any answer the sync is killed, and the next one goes on. No walk may be called
//! complete, and no connection quiet, while a run is missing that was listed throughout. What is assumed of
//! the platform: at least two runs where there are two. Where the platform gives less than it is asked for,
//! a short way assumes also that what it does not see is in the order it sees; such cases are told apart by
//! [`Case::is_beyond_a_short_way`] and counted: 1,486 of 303,197 claims, in 273,945 histories.

use std::collections::VecDeque;
use std::sync::LazyLock;

use super::plan::{self, Course, Lacking, LastRunKnown, ListingKnown};
use super::*;
use crate::time::UtcText;

/// Runs as bits: larger numbers started later.
type Runs = u32;

/// Runs of the listings; those that appear later are older or newer than all of these.
const FIRST: u8 = 4;
const OLDER: u8 = 1;
const NEWER: u8 = 20;

fn bit(run: u8) -> Runs {
    1 << run
}

fn bits(runs: &[u8]) -> Runs {
    runs.iter().fold(0, |bits, run| bits | bit(*run))
}

/// What happens to a listing between two answers.
#[derive(Debug, Clone, Copy)]
enum Shift {
    Front(u8),
    Back(u8),
    Remove(usize),
}

#[derive(Debug, Clone)]
struct Platform {
    listing: Vec<u8>,
    /// The most it puts on a page.
    cap: usize,
    links: Links,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Links {
    Honest,
    /// A walk takes pages that say nothing for pages that name a next one.
    AlwaysNext,
}

impl Platform {
    fn page(&self, ask: Ask) -> (&[u8], More) {
        let from = (ask.skip as usize).min(self.listing.len());
        let to = (from + self.cap.min(ask.top as usize)).min(self.listing.len());
        let more = match self.links {
            Links::Honest if to == self.listing.len() => More::NoNext,
            Links::Honest | Links::AlwaysNext => More::Next,
        };
        (&self.listing[from..to], more)
    }

    fn shift(&mut self, shift: Shift) {
        match shift {
            Shift::Front(run) => self.listing.insert(0, run),
            Shift::Back(run) => self.listing.push(run),
            Shift::Remove(at) => drop(self.listing.remove(at)),
        }
    }

    fn newest(&self) -> Option<u8> {
        self.listing.iter().copied().max()
    }

    fn is_sorted(&self) -> bool {
        let falls = self.listing.is_sorted_by(|a, b| a > b);
        falls || self.listing.is_sorted_by(|a, b| a < b)
    }
}

/// What an archive holds of the connection.
#[derive(Debug, Clone, Default)]
struct Archive {
    archived: Runs,
    proved: Runs,
    /// Archived and not known to be unlisted.
    listed: Runs,
    known: ListingKnown,
    last_run: Option<Option<u8>>,
    open: Option<(Checkpoint, Walked)>,
}

/// What one walk met, and what was listed all the time since it began.
#[derive(Debug, Clone, Copy, Default)]
struct Walked {
    met: Runs,
    throughout: Runs,
}

/// One history: what is asked for, and what happens meanwhile.
#[derive(Debug, Clone)]
struct Case {
    platform: Platform,
    archive: Archive,
    top: u32,
    window: usize,
    /// Whether a list says what the connection's last run is.
    tells_last_run: bool,
    /// What a list said before the sync.
    named: Option<u8>,
    shift: Option<(usize, Shift)>,
    kill: Option<usize>,
    answers: usize,
    /// Walks that were called complete, and connections that were left alone.
    claims: usize,
    hidden: usize,
}

struct Killed;

impl Case {
    /// Whether a short way may end without having seen what is missing: where the platform gave less than it was
    /// asked for, and either the listing is in no order, or what appeared is older than what was archived: the
    /// next walk of the whole listing finds it. Never the run that the connection names as its last.
    fn is_beyond_a_short_way(&self, missing: Runs) -> bool {
        let is_named = self.named.is_some_and(|run| missing & bit(run) != 0);
        let is_older = missing < self.archive.archived & !missing;
        self.platform.cap < self.platform.listing.len()
            && (is_older || !self.platform.is_sorted())
            && !is_named
    }

    fn claim(&mut self, throughout: Runs, what: &str, may_hide: bool) {
        self.claims += 1;
        let missing = throughout & !self.archive.archived;
        if missing != 0 {
            assert!(may_hide && self.is_beyond_a_short_way(missing), "{what}: missing {missing:b}: {self:?}");
            self.hidden += 1;
        }
    }

    /// Syncs, as often as it takes to go on where it was killed; gives how many answers that took.
    fn run(&mut self) -> usize {
        while self.sync().is_err() {}
        self.answers
    }

    /// One sync of the connection, as `sync::connection` does it.
    fn sync(&mut self) -> Result<(), Killed> {
        let last_run = self.tells_last_run.then(|| self.platform.newest());
        self.named = last_run.flatten();
        let known = &mut self.archive.known;
        known.listed = self.archive.listed.count_ones().into();
        known.is_full_due = !known.is_proved;
        known.is_open = self.archive.open.is_some();
        let known = known.clone();
        if let Some(last_run) = last_run {
            let is_repeated = self.archive.last_run == Some(last_run);
            if plan::is_unchanged(&known, self.last_run_known(last_run), is_repeated) {
                self.claim(bits(&self.platform.listing), "quiet", false);
                return Ok(());
            }
        }
        match plan::plan_course(&known, false) {
            Course::Whole => self.walk(Plan::Full, last_run, true),
            Course::Incremental => self.incremental(last_run),
            Course::IncrementalThenResume => {
                self.incremental(last_run)?;
                self.resume()
            }
            Course::Resume { then_incremental } => {
                self.resume()?;
                if then_incremental { self.incremental(last_run) } else { Ok(()) }
            }
        }
    }

    fn incremental(&mut self, last_run: Option<Option<u8>>) -> Result<(), Killed> {
        self.archive.known.listed = self.archive.listed.count_ones().into();
        let plan = plan::plan_incremental(&self.archive.known, self.top);
        self.walk(plan.unwrap_or(Plan::Full), last_run, true)
    }

    fn resume(&mut self) -> Result<(), Killed> {
        match self.archive.open.clone() {
            Some((checkpoint, _)) => self.walk(Plan::Resume(checkpoint), None, false),
            None => Ok(()),
        }
    }

    fn last_run_known(&self, last_run: Option<u8>) -> LastRunKnown {
        match last_run {
            None => LastRunKnown::Never { has_runs: self.archive.archived != 0 },
            Some(run) if self.archive.archived & bit(run) == 0 => LastRunKnown::Unknown,
            Some(run) if self.archive.listed & bit(run) == 0 => LastRunKnown::Gone,
            Some(_) => LastRunKnown::Archived,
        }
    }

    fn walk(&mut self, plan: Plan, last_run: Option<Option<u8>>, is_new: bool) -> Result<(), Killed> {
        let mut walked = Walked { met: 0, throughout: bits(&self.platform.listing) };
        if let (false, Some((_, before))) = (is_new, &self.archive.open) {
            walked = *before;
        }
        let mut walk = Walk::new(plan, self.top, self.window);
        let mut under_way: VecDeque<Ask> = VecDeque::new();
        while walk.end().is_none() {
            under_way.extend(walk.plan_asks());
            let ask = under_way.pop_front().unwrap();
            self.answers += 1;
            assert!(self.answers < 200, "the walk goes on for ever: {self:?} {walk:?}");
            if let Some((at, shift)) = self.shift
                && at == self.answers
            {
                self.platform.shift(shift);
                walked.throughout &= bits(&self.platform.listing);
                if let Some((_, open)) = &mut self.archive.open {
                    open.throughout &= bits(&self.platform.listing);
                }
            }
            let (runs, more) = self.platform.page(ask);
            let entries = runs.iter().map(|&run| entry(run, self.archive.proved & bit(run) != 0)).collect();
            let met = bits(runs);
            walk.take_page(ask, entries, more);
            walked.met |= met;
            self.archive.archived |= met;
            self.archive.listed |= met;
            if walk.is_full() {
                let checkpoint = Some(walk.checkpoint()).filter(|at| at.linked > 0);
                self.archive.open = checkpoint.map(|checkpoint| (checkpoint, walked));
            }
            if self.kill == Some(self.answers) {
                return Err(Killed);
            }
        }
        let mut is_complete = matches!(walk.end(), Some(End::Complete | End::JoinedProved));
        if let (true, Some(Some(run))) = (is_complete, last_run)
            && plan::must_ask_for(self.last_run_known(Some(run)))
            && self.platform.listing.contains(&run)
        {
            self.archive.archived |= bit(run);
            self.archive.listed |= bit(run);
            match plan::plan_after_lacking(walk.covers_listing()) {
                Lacking::WalkWhole => return self.walk(Plan::Full, last_run, true),
                Lacking::NotComplete => is_complete = false,
            }
        }
        if walk.is_full() {
            self.archive.open = None;
        }
        let archive = &mut self.archive;
        archive.known.order = walk.checkpoint().order.or(archive.known.order);
        if !is_complete {
            return Ok(());
        }
        archive.proved = archive.archived;
        if walk.covers_listing() {
            archive.known.is_proved = true;
            archive.listed = walked.met;
        }
        if walk.has_seen_the_end() {
            archive.known.end = Some(walk.checkpoint());
        }
        if let Some(last_run) = last_run
            && last_run.is_none_or(|run| archive.archived & bit(run) != 0)
        {
            archive.last_run = Some(last_run);
        }
        let is_short = !walk.covers_listing();
        self.claim(walked.throughout, "complete", is_short);
        Ok(())
    }
}

/// When each run started, parsed once.
static STARTS: LazyLock<Vec<Option<UtcText>>> = LazyLock::new(|| {
    let start = |run| UtcText::from_stored(&format!("2026-01-01T00:{run:02}:00.0000000Z"));
    (0..32).map(start).collect()
});

fn entry(run: u8, is_proved: bool) -> Entry {
    let started_at = STARTS[usize::from(run)];
    Entry { key: Key(run.into()), started_at, is_proved, is_readable: true }
}

fn permutations(runs: &[u8]) -> Vec<Vec<u8>> {
    if runs.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for at in 0..runs.len() {
        let mut rest = runs.to_vec();
        let run = rest.remove(at);
        for mut tail in permutations(&rest) {
            tail.insert(0, run);
            all.push(tail);
        }
    }
    all
}

/// Every single shift of a listing of so many runs.
fn shifts(listed: usize) -> impl Iterator<Item = Shift> {
    let inserted = [OLDER, NEWER].into_iter().flat_map(|run| [Shift::Front(run), Shift::Back(run)]);
    inserted.chain((0..listed).map(Shift::Remove))
}

/// What is asked for, and the most that the platform gives: it heeds `$top`, or gives less.
fn sizes() -> impl Iterator<Item = (u32, usize)> {
    let heeded = (2..=6).map(|size| (size, size as usize));
    heeded.chain((2..=5).map(|cap| (1_000, cap)))
}

const LINKS: [Links; 2] = [Links::Honest, Links::AlwaysNext];

/// Counts of what was tried.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tried {
    histories: usize,
    claims: usize,
    hidden: usize,
}

impl Tried {
    /// Says how much was tried, and that it was no less than the comment above and the README say.
    #[expect(clippy::print_stdout, reason = "how much was tried is what a reader of the proof asks")]
    fn tell(&self, at_least: usize) {
        println!("{self:?}");
        assert!(self.histories >= at_least && self.claims >= self.histories, "{self:?}");
        assert!(self.hidden * 100 < self.claims, "{self:?}");
    }

    fn run(&mut self, mut case: Case) -> usize {
        let answers = case.run();
        self.histories += 1;
        self.claims += case.claims;
        self.hidden += case.hidden;
        answers
    }

    /// The history itself, then with every shift between two answers and a kill at every answer.
    fn run_disturbed(&mut self, case: &Case, with_both: bool) {
        let answers = self.run(case.clone());
        let kill = |tried: &mut Self, case: &Case, answers: usize| {
            for at in 1..answers {
                tried.run(Case { kill: Some(at), ..case.clone() });
            }
        };
        kill(self, case, answers);
        for at in 2..=answers {
            for shift in shifts(case.platform.listing.len()) {
                let case = Case { shift: Some((at, shift)), ..case.clone() };
                let answers = self.run(case.clone());
                if with_both {
                    kill(self, &case, answers);
                }
            }
        }
    }
}

fn case(listing: Vec<u8>, archive: Archive, (top, cap): (u32, usize), links: Links) -> Case {
    Case {
        platform: Platform { listing, cap, links },
        archive,
        top,
        window: 1,
        tells_last_run: false,
        named: None,
        shift: None,
        kill: None,
        answers: 0,
        claims: 0,
        hidden: 0,
    }
}

/// A first sync of every listing of up to five runs.
#[test]
fn every_first_walk_of_a_short_listing_has_what_was_listed_throughout() {
    let mut tried = Tried::default();
    for count in 0..=5 {
        let runs: Vec<u8> = (FIRST..FIRST + count).collect();
        for listing in permutations(&runs) {
            for size in sizes() {
                for links in LINKS {
                    tried.run_disturbed(&case(listing.clone(), Archive::default(), size, links), count <= 4);
                }
            }
        }
    }
    tried.tell(83_693);
}

/// A second sync, after a first one that saw another listing: what was archived stays, goes, and stands
/// anywhere beside what is new.
#[test]
fn every_walk_after_another_has_what_was_listed_throughout() {
    let mut tried = Tried::default();
    for archived in 0..=4 {
        let before: Vec<u8> = (FIRST..FIRST + archived).collect();
        let both: Vec<Vec<u8>> = vec![before.clone(), before.iter().rev().copied().collect()];
        let orders = if archived <= 3 { permutations(&before) } else { both };
        for listing in orders {
            for size in sizes() {
                for links in LINKS {
                    second(&mut tried, &listing, size, links);
                }
            }
        }
    }
    tried.tell(190_252);
}

fn second(tried: &mut Tried, before: &[u8], size: (u32, usize), links: Links) {
    let newest = FIRST + before.len() as u8;
    for tells_last_run in [false, true] {
        let mut first = case(before.to_vec(), Archive::default(), size, links);
        first.tells_last_run = tells_last_run;
        first.run();
        for gone in std::iter::once(None).chain((0..before.len()).map(Some)) {
            let mut kept = before.to_vec();
            gone.map(|at| kept.remove(at));
            for new in 0..=(5 - kept.len() as u8).min(2) {
                let runs: Vec<u8> = kept.iter().copied().chain(newest..newest + new).collect();
                for listing in permutations(&runs) {
                    let mut case = case(listing, first.archive.clone(), size, links);
                    case.tells_last_run = tells_last_run;
                    if runs.len() <= 3 {
                        tried.run_disturbed(&case, false);
                    } else {
                        tried.run(case);
                    }
                }
            }
        }
    }
}
