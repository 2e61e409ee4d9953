//! How often the report names a connection rightly, and how often wrongly.
//!
//! `cargo bench --bench detector` simulates fleets with and without a change, week after week, and asks the real
//! detector. A number behind `--` is how many fleets of each kind. Usual rates differ from connection to
//! connection (beta distributed); failures come independently, or in bursts of three. It ends with an error where
//! quiet weeks are named more often than is promised: 5 % of them, 10 % where failures come in bursts.

use std::error::Error;
use std::io::Write as _;

use run_archive::detector::{Record, judge};

const FLEETS: usize = 1_000;
const BASELINE_WEEKS: usize = 8;
/// Connections, and runs a week of each.
const SIZES: [(usize, usize); 4] = [(20, 7), (20, 17), (200, 7), (200, 17)];
/// The usual rates of a fleet: most connections fail seldom, some often; all alike; hardly any ever fails.
const RATES: [(&str, f64, f64); 3] =
    [("mixed, 7 % in the mean", 0.8, 10.0), ("alike, 10 %", 2.0, 18.0), ("seldom, 3 %", 1.0, 30.0)];
/// The usual rate of the one connection that changes.
const USUAL: f64 = 0.02;
const WRONG_NAMES: f64 = 0.048;
const MOST_WRONG: f64 = 0.05;
const MOST_WRONG_IN_BURSTS: f64 = 0.10;

#[derive(Clone, Copy, PartialEq)]
enum World {
    Quiet,
    Bursts,
    Half,
    LastThreeDays,
    All,
}

impl World {
    const ALL: [Self; 5] = [Self::Quiet, Self::Bursts, Self::Half, Self::LastThreeDays, Self::All];

    fn name(self) -> &'static str {
        match self {
            Self::Quiet => "nothing changes",
            Self::Bursts => "nothing changes, failures in bursts of 3",
            Self::Half => "one connection: 2 to 50 %",
            Self::LastThreeDays => "one connection: the last 3 days all fail",
            Self::All => "one connection: the whole week fails",
        }
    }

    fn is_change(self) -> bool {
        !matches!(self, Self::Quiet | Self::Bursts)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same fleets in every run.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Marsaglia and Tsang 2000.
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let uniform = self.uniform();
            return self.gamma(shape + 1.0) * uniform.powf(1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    fn beta(&mut self, a: f64, b: f64) -> f64 {
        let x = self.gamma(a);
        x / (x + self.gamma(b))
    }

    /// Whether each of so many runs failed.
    fn runs(&mut self, count: usize, rate: f64, in_bursts: bool) -> Vec<bool> {
        let length = if in_bursts { 3.0 } else { 1.0 };
        // So that a part `rate` of all runs fails, however long a burst is.
        let begins = rate / (length - (length - 1.0) * rate);
        let mut left = 0;
        let mut run = || {
            if left > 0 {
                left -= 1;
                return true;
            }
            let fails = self.uniform() < begins;
            left = if fails { length as usize - 1 } else { 0 };
            fails
        };
        (0..count).map(|_| run()).collect()
    }
}

fn record(random: &mut Random, per_week: usize, rate: f64, world: World, is_changed: bool) -> Record {
    let before = random.runs(per_week * BASELINE_WEEKS, rate, world == World::Bursts);
    let mut now = random.runs(per_week, rate, world == World::Bursts);
    if is_changed {
        match world {
            World::Quiet | World::Bursts => {}
            World::Half => now = random.runs(per_week, 0.5, false),
            World::LastThreeDays => {
                let good = per_week - (per_week * 3).div_ceil(7);
                now[good..].fill(true);
            }
            World::All => now.fill(true),
        }
    }
    Record::of(before.chunks(per_week), &before, &now)
}

/// The parts of fleets in which the changed connection is named, and in which another one is.
fn measure(fleets: usize, size: (usize, usize), rates: (f64, f64), world: World) -> (f64, f64) {
    let mut random = Random(42);
    let (mut named, mut wrong) = (0, 0);
    for _ in 0..fleets {
        let records: Vec<Record> = (0..size.0)
            .map(|index| {
                let is_changed = index == 0 && world.is_change();
                let rate = if is_changed { USUAL } else { random.beta(rates.0, rates.1) };
                record(&mut random, size.1, rate, world, is_changed)
            })
            .collect();
        let judged = judge(&records, WRONG_NAMES);
        let is_wrong = |index: usize| index > 0 || !world.is_change();
        named += usize::from(world.is_change() && judged[0].is_named);
        wrong +=
            usize::from(judged.iter().enumerate().any(|(index, found)| found.is_named && is_wrong(index)));
    }
    (named as f64 / fleets as f64, wrong as f64 / fleets as f64)
}

fn main() -> Result<(), Box<dyn Error>> {
    let fleets = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(FLEETS);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{fleets} fleets each; the part in which it is named, and in brackets that in which another is"
    )?;
    let sizes: Vec<String> = SIZES.iter().map(|(count, runs)| format!("{count} x {runs}")).collect();
    let mut too_many = Vec::new();
    for (name, a, b) in RATES {
        writeln!(out, "\n{:<42}{:>14}{:>14}{:>14}{:>14}", name, sizes[0], sizes[1], sizes[2], sizes[3])?;
        for world in World::ALL {
            write!(out, "{:<42}", world.name())?;
            for size in SIZES {
                let (named, wrong) = measure(fleets, size, (a, b), world);
                let told = if world.is_change() {
                    format!("{named:.2} ({wrong:.2})")
                } else {
                    format!("({wrong:.3})")
                };
                write!(out, "{told:>14}")?;
                let most = if world == World::Bursts { MOST_WRONG_IN_BURSTS } else { MOST_WRONG };
                // Three standard errors of what is simulated.
                let by_chance = 3.0 * (most * (1.0 - most) / fleets as f64).sqrt();
                if !world.is_change() && wrong > most + by_chance {
                    too_many.push(format!("{name}, {}: {wrong:.3}", world.name()));
                }
            }
            writeln!(out)?;
        }
    }
    if too_many.is_empty() { Ok(()) } else { Err(too_many.join("; ").into()) }
}
