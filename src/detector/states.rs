//! The state of a connection, run by run.
//!
//! In: the rated runs of a connection in the order of their starts. Out: when it entered each state, by its runs
//! alone, so that the same archive gives the same states. Pure arithmetic; no clock.
//!
//! A state is left by other rules than it was entered by, so that a single run does not turn it back and forth.

use serde::{Deserialize, Serialize};

/// Failures in a row by which a connection is broken.
const FAILURES_IN_A_ROW: usize = 3;
/// Successes in a row by which a connection that was broken has recovered.
pub(super) const SUCCESSES_IN_A_ROW: usize = 3;
/// Runs that a state is judged by.
const LATEST: usize = 10;
/// Failures among the latest runs by which a connection is broken: 80 %.
const BROKEN: usize = 8;
/// Failures among the latest runs by which a connection is flaky: 20 %.
const FLAKY: usize = 2;
/// Turns from failure to success or back among the latest runs by which a connection is flaky: one row of failures
/// has two of them, before and behind it.
const TURNS: usize = 3;

/// How a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is wrong.
    Fine,
    /// Its newest three rated runs failed, or eight of the last ten.
    Broken,
    /// It fails now and then: from 20 to 80 % of the last ten, by turns.
    Flaky,
    /// It was broken, and its newest three rated runs did not fail.
    Recovered,
    /// It runs no longer: told by its pauses, not by how its runs came out.
    Stopped,
}

impl State {
    /// Whether bad runs go on in it.
    pub(super) fn is_bad(self) -> bool {
        matches!(self, Self::Broken | Self::Flaky)
    }
}

/// That a connection entered a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entered {
    /// The state.
    pub state: State,
    /// The place of the run by which it was told, among all rated runs.
    pub told_by: usize,
    /// The place of the first run of the state: of the first failure of those in a row, as far as they reach back.
    pub since: usize,
}

/// Every state that a connection entered, the oldest first; `failed` says of each rated run whether it failed.
pub fn replay(failed: &[bool]) -> Vec<Entered> {
    let mut entered = Vec::new();
    let mut state = State::Fine;
    for told_by in 0..failed.len() {
        let known = &failed[..=told_by];
        let next = follow(state, known);
        if next != state {
            entered.push(Entered { state: next, told_by, since: first_of(next, known) });
            state = next;
        }
    }
    entered
}

/// The state once the last of these runs is known.
fn follow(state: State, known: &[bool]) -> State {
    let latest = &known[known.len().saturating_sub(LATEST)..];
    let count = latest.iter().filter(|failed| **failed).count();
    let turns = latest.windows(2).filter(|pair| pair[0] != pair[1]).count();
    // A row of thousands is not counted to its end at each of its runs.
    let in_a_row = |failed: bool| latest.iter().rev().take_while(|other| **other == failed).count();
    let is_broken = in_a_row(true) >= FAILURES_IN_A_ROW || latest.len() == LATEST && count >= BROKEN;
    let is_flaky = latest.len() == LATEST && count >= FLAKY && turns >= TURNS;
    let is_clean = latest.len() == LATEST && count == 0;
    match state {
        _ if is_broken => State::Broken,
        State::Broken if in_a_row(false) >= SUCCESSES_IN_A_ROW => State::Recovered,
        State::Broken => State::Broken,
        // The failures of the break-down are still among the latest runs: they do not make it flaky.
        State::Recovered if is_clean => State::Fine,
        State::Recovered if is_flaky && !known.last().is_some_and(|failed| *failed) => State::Recovered,
        State::Fine | State::Recovered if is_flaky => State::Flaky,
        State::Flaky if count >= 1 => State::Flaky,
        State::Flaky => State::Fine,
        State::Fine | State::Recovered | State::Stopped => state,
    }
}

/// The place of the first run of a state that the last of these runs told.
fn first_of(state: State, known: &[bool]) -> usize {
    let in_a_row = |failed: bool| known.iter().rev().take_while(|other| **other == failed).count();
    match state {
        State::Broken if in_a_row(true) >= FAILURES_IN_A_ROW => known.len() - in_a_row(true),
        State::Recovered => known.len() - in_a_row(false),
        State::Broken | State::Flaky => {
            let from = known.len().saturating_sub(LATEST);
            let first = known[from..].iter().position(|failed| *failed).unwrap_or(0);
            from + first
        }
        State::Fine | State::Stopped => known.len() - 1,
    }
}

/// The place of the run from which on a connection fails more often than `usual`: where the runs are likeliest to
/// have changed (a likelihood change point; Hinkley, Biometrika 57, 1970). `None` where nothing failed.
pub fn find_onset(failed: &[bool], usual: f64) -> Option<usize> {
    let usual = usual.clamp(1e-4, 1.0 - 1e-4);
    let log_likelihood = |failures: f64, runs: f64, rate: f64| {
        let part = |count: f64, rate: f64| if count > 0.0 { count * rate.ln() } else { 0.0 };
        part(failures, rate) + part(runs - failures, 1.0 - rate)
    };
    let mut best: Option<(f64, usize)> = None;
    let mut failures = 0.0;
    for (place, is_failed) in failed.iter().enumerate().rev() {
        if !is_failed {
            continue;
        }
        failures += 1.0;
        let runs = (failed.len() - place) as f64;
        let rate = failures / runs;
        if rate <= usual {
            continue;
        }
        let gain = log_likelihood(failures, runs, rate) - log_likelihood(failures, runs, usual);
        // Of equally likely places the earliest.
        if best.is_none_or(|(most, _)| gain >= most) {
            best = Some((gain, place));
        }
    }
    best.map(|(_, place)| place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn runs(text: &str) -> Vec<bool> {
        text.chars().map(|run| run == 'x').collect()
    }

    fn states(text: &str) -> Vec<(State, usize, usize)> {
        replay(&runs(text)).iter().map(|entered| (entered.state, entered.told_by, entered.since)).collect()
    }

    #[test]
    fn a_connection_that_breaks_and_is_mended_is_broken_then_recovered_then_fine() {
        assert_eq!(states("......xx.."), []);
        assert_eq!(states(".....xxx"), [(State::Broken, 7, 5)]);
        assert_eq!(states(".....xxxx.x.."), [(State::Broken, 7, 5)]);
        assert_eq!(states(".....xxxx...")[1], (State::Recovered, 11, 9));
        assert_eq!(
            states(".....xxxx.............").iter().map(|entered| entered.0).collect::<Vec<_>>(),
            [State::Broken, State::Recovered, State::Fine]
        );
    }

    #[test]
    fn a_connection_that_fails_by_turns_is_flaky_until_ten_runs_are_clean() {
        let entered = states("..x..x..x..x");
        assert_eq!(entered, [(State::Flaky, 9, 2)]);
        assert_eq!(states("..x..x..x..x.........").len(), 1);
        assert_eq!(states("..x..x..x..x..........").last().unwrap().0, State::Fine);
    }

    #[test]
    fn the_onset_is_the_first_failure_of_the_likeliest_change() {
        assert_eq!(find_onset(&runs("........xxxx"), 0.02), Some(8));
        assert_eq!(find_onset(&runs("..x.........x.xx.x"), 0.05), Some(12));
        assert_eq!(find_onset(&runs("........"), 0.02), None);
    }

    proptest! {
        #[test]
        fn a_state_is_entered_once_and_told_by_the_run_that_makes_it(runs in prop::collection::vec(any::<bool>(), 0..80)) {
            let entered = replay(&runs);
            for pair in entered.windows(2) {
                prop_assert!(pair[0].told_by < pair[1].told_by && pair[0].state != pair[1].state);
            }
            for one in &entered {
                prop_assert!(one.since <= one.told_by);
                let again = replay(&runs[..=one.told_by]);
                prop_assert_eq!(again.last(), Some(one), "what comes later changes nothing of it");
            }
        }

        #[test]
        fn an_onset_is_a_failure(runs in prop::collection::vec(any::<bool>(), 0..60), usual in 0.0_f64..1.0) {
            if let Some(place) = find_onset(&runs, usual) {
                prop_assert!(runs[place]);
            }
        }
    }
}
