//! Values that read themselves, from the command line and from the configuration file alike.
//!
//! In: a text or a number. Out: a value that is within its limits, or what is wrong with it, in words that
//! fit after the name of the flag or the key.

use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::api::Kind;

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole<const MIN: u32, const MAX: u32>(u32);

/// Runs asked for in one page. 10,000 runs are some 20 MB, a third of the longest answer that the client reads.
pub(crate) type PageSize = Whole<1, 10_000>;
/// Pages, or connections, at a time. With 64 the platform's lowest quota, 500 a minute, is used up in seconds.
pub(crate) type AtATime = Whole<1, 64>;

impl<const MIN: u32, const MAX: u32> Whole<MIN, MAX> {
    pub(crate) fn get(self) -> u32 {
        self.0
    }

    fn within(number: i64) -> Option<Self> {
        u32::try_from(number).ok().filter(|number| (MIN..=MAX).contains(number)).map(Self)
    }
}

impl<const MIN: u32, const MAX: u32> FromStr for Whole<MIN, MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok().and_then(Self::within);
        number.ok_or_else(|| format!("a whole number from {MIN} to {MAX} is needed"))
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(from)?;
        let problem = || D::Error::custom(format_args!("{number} is not a whole number from {MIN} to {MAX}"));
        Self::within(number).ok_or_else(problem)
    }
}

/// How long something may take, such as `90s` or `1h 30m`: more than nothing, and no more than a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeBudget(pub Duration);

/// The longest time budget: longer is a slip.
const MAX_TIME_BUDGET: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl FromStr for TimeBudget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<TimeLength>()?.0 {
            Duration::ZERO => Err("no time is left for anything".to_owned()),
            length if length > MAX_TIME_BUDGET => Err("that is longer than a year".to_owned()),
            length => Ok(Self(length)),
        }
    }
}

/// A length of time in words such as `90s` or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeLength(pub Duration);

impl FromStr for TimeLength {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = humantime::parse_duration(text).map(Self);
        read.map_err(|error| format!("{error} (write it like 90s, 20m or 1h 30m)"))
    }
}

/// A number of bytes such as `500MB`, `2GiB` or `0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const UNITS: [(&str, u64); 9] = [
            ("kib", 1 << 10),
            ("mib", 1 << 20),
            ("gib", 1 << 30),
            ("tib", 1 << 40),
            ("kb", 1_000),
            ("mb", 1_000_000),
            ("gb", 1_000_000_000),
            ("tb", 1_000_000_000_000),
            ("b", 1),
        ];
        // `kib` comes before `b`, or its last letter would be taken for the unit.
        let small = text.trim().to_ascii_lowercase();
        let unit = UNITS.into_iter().find_map(|(unit, bytes)| Some((small.strip_suffix(unit)?, bytes)));
        let (number, bytes) = unit.unwrap_or((&small, 1));
        let number: Option<u64> = number.trim_end().parse().ok();
        let size = number.and_then(|number| number.checked_mul(bytes)).map(Self);
        size.ok_or_else(|| format!("{text:?} is no size (write it like 500MB, 2GiB or 0)"))
    }
}

/// From 0 to 100, with or without `%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Percent(pub f64);

impl FromStr for Percent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = text.trim_end_matches('%').parse().ok();
        let percent = percent.filter(|percent| (0.0..=100.0).contains(percent)).map(Self);
        percent.ok_or("a number from 0 to 100 is needed")
    }
}

/// A query's parameter and its value: `KEY=VALUE`, or `:KEY=VALUE` as SQL writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenParameter {
    /// Without the colon.
    pub name: String,
    pub value: String,
}

impl FromStr for GivenParameter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
        match name.trim_start_matches(':') {
            "" => Err("the parameter has no name"),
            name => Ok(Self { name: name.to_owned(), value: value.to_owned() }),
        }
    }
}

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Export => "Exports an iModel",
            Self::Storage => "Synchronizes files of the platform's storage",
            Self::Manifest => "Synchronizes files that a manifest names",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_both_kinds_of_units() {
        let sizes = ["0", "12", "12 B", "500MB", "2GiB", "2 gib", " 3kb "];
        let sizes = sizes.map(|text| text.parse::<Size>().unwrap().0);
        assert_eq!(sizes, [0, 12, 12, 500_000_000, 2 << 30, 2 << 30, 3_000]);
        for text in ["", "MB", "-1", "1.5GiB", "1 gig", "99999999999999999999", "99999999TiB"] {
            let told = text.parse::<Size>().unwrap_err();
            assert!(told.ends_with("is no size (write it like 500MB, 2GiB or 0)"), "{told}");
        }
    }
}
