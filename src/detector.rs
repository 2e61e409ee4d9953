//! What is wrong with which connection, since when, and how surely: pure arithmetic on the runs of a fleet.
//!
//! In: the runs of each connection in a baseline and in a period. Out: incidents. `states` replays how a connection
//! does, run by run; `durations` and `silence` say whether runs became longer or stopped; `summary` is what all of
//! this comes to for one connection; `rates` judges failures of the connections of a fleet against what each
//! usually does; `incidents` names what is improbable. No clock is read, nothing is asked.

mod durations;
mod incidents;
mod rates;
mod silence;
pub mod states;
mod summary;

pub use durations::Moved;
pub use incidents::{Budget, Findings, Found, Kind, find};
pub use rates::{Judgement, Record, Tally, judge};
pub use silence::Silence;
pub use summary::{Look, Looks, Outcome, Place, Run, Shift, Spell, Stuck, Summary, Window};
