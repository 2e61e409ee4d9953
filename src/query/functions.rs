//! The functions that queries have beside SQLite's own: `percentile`, `median` and `nearest_rank`.
//!
//! In: the values of a group or a window. Out: one value. The first two are those of SQLite's own shell
//! (`ext/misc/percentile.c`, part of SQLite where it is compiled in): interpolated, always REAL. The third
//! is what the reports mean by a percentile: a value that occurred. NULL is no value.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Order};

use rusqlite::functions::{Aggregate, Context, FunctionFlags, WindowAggregate};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Error, Result, ToSql};

/// Values that may be held at a time, by all groups together: 512 MiB, which SQLite's own limit on memory
/// does not see.
const MOST_VALUES: usize = 32 << 20;

/// Adds the functions to a connection.
pub(super) fn register(connection: &Connection) -> Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    let held = Arc::new(AtomicUsize::new(0));
    for (name, kind, arguments) in [
        ("percentile", Kind::Percentile, 2),
        ("median", Kind::Median, 1),
        ("nearest_rank", Kind::NearestRank, 2),
    ] {
        let function = Quantile { name, kind, held: Arc::clone(&held) };
        connection.create_window_function(name, arguments, flags, function)?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Percentile,
    Median,
    NearestRank,
}

struct Quantile {
    name: &'static str,
    kind: Kind,
    held: Arc<AtomicUsize>,
}

/// The values of one group.
struct Group {
    numbers: Numbers,
    /// From 0 to 1.
    fraction: Option<f64>,
    /// Windows take values away again: from the first look on the values are kept in order.
    is_sorted: bool,
    held: Arc<AtomicUsize>,
    /// Of `held`, those of this group.
    reserved: usize,
}

/// Whole numbers take half the room until another kind of number comes.
enum Numbers {
    Whole(Vec<i64>),
    Any(Vec<Number>),
}

/// A number as SQLite has it.
#[derive(Debug, Clone, Copy)]
enum Number {
    Integer(i64),
    Real(f64),
}

impl Number {
    fn as_f64(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Real(number) => number,
        }
    }

    /// As SQLite compares numbers: exactly, whatever their types. Of equal ones the integer is first.
    fn compare(&self, other: &Self) -> Ordering {
        match (*self, *other) {
            (Self::Integer(one), Self::Integer(other)) => one.cmp(&other),
            // NaN is NULL in SQLite and never comes here.
            (Self::Real(one), Self::Real(other)) => one.partial_cmp(&other).unwrap_or(Ordering::Equal),
            (Self::Integer(one), Self::Real(other)) => compare_mixed(one, other),
            (Self::Real(one), Self::Integer(other)) => compare_mixed(other, one).reverse(),
        }
    }
}

/// An integer with a real, without losing a digit of either.
fn compare_mixed(integer: i64, real: f64) -> Ordering {
    // 2^63: beyond any integer.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if real >= BEYOND {
        return Ordering::Less;
    }
    if real < -BEYOND {
        return Ordering::Greater;
    }
    // It is within the integers now.
    let whole = real.trunc() as i64;
    match integer.cmp(&whole) {
        Ordering::Equal if real > real.trunc() => Ordering::Less,
        Ordering::Equal if real < real.trunc() => Ordering::Greater,
        Ordering::Equal => Ordering::Less,
        unequal => unequal,
    }
}

impl Numbers {
    fn len(&self) -> usize {
        match self {
            Self::Whole(numbers) => numbers.len(),
            Self::Any(numbers) => numbers.len(),
        }
    }

    fn push(&mut self, number: Number, is_sorted: bool) {
        if let (Self::Whole(numbers), Number::Real(_)) = (&*self, number) {
            *self = Self::Any(numbers.iter().copied().map(Number::Integer).collect());
        }
        match (self, number) {
            (Self::Whole(numbers), Number::Integer(number)) => {
                let at =
                    if is_sorted { numbers.partition_point(|&known| known <= number) } else { numbers.len() };
                numbers.insert(at, number);
            }
            (Self::Any(numbers), number) => {
                let is_before = |known: &Number| known.compare(&number) != Ordering::Greater;
                let at = if is_sorted { numbers.partition_point(is_before) } else { numbers.len() };
                numbers.insert(at, number);
            }
            // The list was widened above.
            (Self::Whole(_), Number::Real(_)) => {}
        }
    }

    /// Takes away one that was pushed; the list is sorted.
    fn remove(&mut self, number: Number) {
        match (self, number) {
            (Self::Whole(numbers), Number::Integer(number)) => {
                if let Ok(at) = numbers.binary_search(&number) {
                    numbers.remove(at);
                }
            }
            (Self::Any(numbers), number) => {
                if let Ok(at) = numbers.binary_search_by(|known| known.compare(&number)) {
                    numbers.remove(at);
                }
            }
            (Self::Whole(_), Number::Real(_)) => {}
        }
    }

    fn sort(&mut self) {
        match self {
            Self::Whole(numbers) => numbers.sort_unstable(),
            Self::Any(numbers) => numbers.sort_unstable_by(Number::compare),
        }
    }

    /// The value at this place of the sorted list, and the next one if there is one.
    fn select(&mut self, at: usize, is_sorted: bool) -> (Number, Option<Number>) {
        match self {
            Self::Whole(numbers) if is_sorted => {
                (Number::Integer(numbers[at]), numbers.get(at + 1).copied().map(Number::Integer))
            }
            Self::Any(numbers) if is_sorted => (numbers[at], numbers.get(at + 1).copied()),
            Self::Whole(numbers) => {
                let (_, number, above) = numbers.select_nth_unstable(at);
                (Number::Integer(*number), above.iter().min().copied().map(Number::Integer))
            }
            Self::Any(numbers) => {
                let (_, number, above) = numbers.select_nth_unstable_by(at, Number::compare);
                (*number, above.iter().copied().min_by(Number::compare))
            }
        }
    }
}

impl Group {
    fn push(&mut self, number: Number) -> Result<()> {
        if self.reserved == self.numbers.len() {
            // Room is asked for in steps that grow, so that many groups do not wait for one counter.
            let more = (self.reserved / 2).max(16);
            if self.held.fetch_add(more, Order::Relaxed) + more > MOST_VALUES {
                self.held.fetch_sub(more, Order::Relaxed);
                return Err(failure(format!("more than {MOST_VALUES} values are too many to rank")));
            }
            self.reserved += more;
        }
        self.numbers.push(number, self.is_sorted);
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.held.fetch_sub(self.reserved, Order::Relaxed);
    }
}

/// What a function gives: NULL, or a number of either type.
struct Answer(Option<Number>);

impl ToSql for Answer {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(match self.0 {
            None => Value::Null,
            Some(Number::Integer(number)) => Value::Integer(number),
            Some(Number::Real(number)) => Value::Real(number),
        }))
    }
}

fn failure(text: String) -> Error {
    Error::UserFunctionError(text.into())
}

impl Quantile {
    /// The second argument, as a fraction of one.
    fn fraction(&self, context: &Context<'_>) -> Result<f64> {
        if self.kind == Kind::Median {
            return Ok(0.5);
        }
        let percent = match context.get_raw(1) {
            ValueRef::Integer(number) => Some(number as f64),
            ValueRef::Real(number) => Some(number),
            // A text that is a number counts as one.
            ValueRef::Text(text) => std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()),
            ValueRef::Null | ValueRef::Blob(_) => None,
        };
        let within =
            percent.map(|percent: f64| percent / 100.0).filter(|percent| (0.0..=1.0).contains(percent));
        within.ok_or_else(|| {
            failure(format!("the fraction argument to {}() is not between 0.0 and 100.0", self.name))
        })
    }

    /// The first argument; `None` for NULL.
    fn number(&self, context: &Context<'_>) -> Result<Option<Number>> {
        match context.get_raw(0) {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(number) => Ok(Some(Number::Integer(number))),
            ValueRef::Real(number) if number.is_infinite() && self.kind != Kind::NearestRank => {
                Err(failure(format!("Inf input to {}()", self.name)))
            }
            ValueRef::Real(number) => Ok(Some(Number::Real(number))),
            ValueRef::Text(_) | ValueRef::Blob(_) => {
                Err(failure(format!("input to {}() is not numeric", self.name)))
            }
        }
    }

    fn answer(&self, group: &mut Group) -> Answer {
        let (Some(fraction), count @ 1..) = (group.fraction, group.numbers.len()) else {
            return Answer(None);
        };
        if self.kind == Kind::NearestRank {
            let (number, _) = group.numbers.select(nearest_rank(fraction, count) - 1, group.is_sorted);
            return Answer(Some(number));
        }
        let place = fraction * (count - 1) as f64;
        // Rounded down, and not below zero.
        let at = (place as usize).min(count - 1);
        let (number, next) = group.numbers.select(at, group.is_sorted);
        let (low, rest) = (number.as_f64(), place - at as f64);
        let value = match next {
            Some(next) if rest != 0.0 => low + (next.as_f64() - low) * rest,
            _ => low,
        };
        // Two numbers far apart: SQLite says NULL for what is no number.
        Answer(Some(Number::Real(value)).filter(|_| !value.is_nan()))
    }
}

/// ceil(fraction · count), from 1 to count.
fn nearest_rank(fraction: f64, count: usize) -> usize {
    let exact = fraction * count as f64;
    // 0.07 · 100 is a little more than 7: what is a whole number but for that is taken as one.
    let whole = exact.round();
    let rank = if (exact - whole).abs() <= exact * 1e-12 { whole } else { exact.ceil() };
    (rank as usize).clamp(1, count)
}

impl Aggregate<Group, Answer> for Quantile {
    fn init(&self, _: &mut Context<'_>) -> Result<Group> {
        let held = Arc::clone(&self.held);
        Ok(Group { numbers: Numbers::Whole(Vec::new()), fraction: None, is_sorted: false, held, reserved: 0 })
    }

    fn step(&self, context: &mut Context<'_>, group: &mut Group) -> Result<()> {
        let fraction = self.fraction(context)?;
        // SQLite takes two for the same that differ by a thousandth.
        if (group.fraction.get_or_insert(fraction).to_owned() - fraction).abs() > 0.001 {
            return Err(failure(format!(
                "the fraction argument to {}() is not the same for all input rows",
                self.name
            )));
        }
        match self.number(context)? {
            Some(number) => group.push(number),
            None => Ok(()),
        }
    }

    fn finalize(&self, _: &mut Context<'_>, group: Option<Group>) -> Result<Answer> {
        Ok(group.map_or(Answer(None), |mut group| self.answer(&mut group)))
    }
}

impl WindowAggregate<Group, Answer> for Quantile {
    fn value(&self, group: Option<&mut Group>) -> Result<Answer> {
        let Some(group) = group else { return Ok(Answer(None)) };
        if !group.is_sorted {
            group.numbers.sort();
            group.is_sorted = true;
        }
        Ok(self.answer(group))
    }

    fn inverse(&self, context: &mut Context<'_>, group: &mut Group) -> Result<()> {
        if !group.is_sorted {
            group.numbers.sort();
            group.is_sorted = true;
        }
        if let Some(number) = self.number(context)? {
            group.numbers.remove(number);
        }
        Ok(())
    }
}
