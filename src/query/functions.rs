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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn connection() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        connection
    }

    /// The one value of the one row, or the error's text.
    fn value(sql: &str) -> std::result::Result<Value, String> {
        connection().query_row(sql, [], |row| row.get(0)).map_err(|error| match error {
            Error::SqliteFailure(_, Some(text)) => text,
            error => error.to_string(),
        })
    }

    fn of(function: &str, values: &str) -> std::result::Result<Value, String> {
        value(&format!("WITH t (x) AS (VALUES {values}) SELECT {function} FROM t"))
    }

    #[test]
    fn percentile_and_median_are_those_of_sqlites_shell() {
        // Answers of SQLite 3.54 with SQLITE_ENABLE_PERCENTILE.
        let cases = [
            ("median(x)", "(1), (2), (3), (10)", 2.5),
            ("median(x)", "(7)", 7.0),
            ("median(x)", "(3), (1), (2)", 2.0),
            ("percentile(x, 50)", "(3), (1), (2)", 2.0),
            ("percentile(x, 0)", "(3), (1), (2)", 1.0),
            ("percentile(x, 100)", "(3), (1), (2)", 3.0),
            ("percentile(x, 25)", "(1), (2), (3), (4)", 1.75),
            ("percentile(x, 95)", "(1), (2), (3), (4), (5), (6), (7), (8), (9), (10)", 9.55),
            ("percentile(x, '50')", "(1), (2)", 1.5),
            ("percentile(x, 50)", "(1), (NULL), (2.5)", 1.75),
            // Two that differ by less than a thousandth of the whole are the same: the first counts.
            ("percentile(x, 50 + x / 100.0)", "(1), (2)", 1.5001),
        ];
        for (function, values, expected) in cases {
            let Ok(Value::Real(found)) = of(function, values) else { panic!("{function} of {values}") };
            assert!((found - expected).abs() < 1e-9, "{function} of {values} is {found}");
        }
    }

    #[test]
    fn nearest_rank_is_a_value_that_occurred_with_its_type() {
        let ten = "(1), (2), (3), (4), (5), (6), (7), (8), (9), (10)";
        for (percent, expected) in
            [("0", 1), ("0.1", 1), ("10", 1), ("10.1", 2), ("50", 5), ("95", 10), ("100", 10)]
        {
            assert_eq!(
                of(&format!("nearest_rank(x, {percent})"), ten),
                Ok(Value::Integer(expected)),
                "{percent}"
            );
        }
        assert_eq!(of("nearest_rank(x, 50)", "(1), (2.5), (NULL), (3)"), Ok(Value::Real(2.5)));
        assert_eq!(of("nearest_rank(x, 60)", "(1), (2.5), (3)"), Ok(Value::Real(2.5)));
        assert_eq!(of("nearest_rank(x, 100)", "(1), (2.5), (3)"), Ok(Value::Integer(3)));
        // Integers that a REAL cannot tell apart.
        let large = "(9007199254740993), (9007199254740992), (0.5)";
        assert_eq!(of("nearest_rank(x, 100)", large), Ok(Value::Integer(9_007_199_254_740_993)));
        assert_eq!(of("nearest_rank(x, 100)", "(1), (1e999)"), Ok(Value::Real(f64::INFINITY)));
    }

    #[test]
    fn nothing_is_null() {
        for function in ["median(x)", "percentile(x, 50)", "nearest_rank(x, 50)"] {
            assert_eq!(of(function, "(NULL), (NULL)"), Ok(Value::Null), "{function}");
            assert_eq!(
                value(&format!("SELECT {function} FROM (SELECT 1 AS x) WHERE x > 1")),
                Ok(Value::Null)
            );
            let window = format!(
                "WITH t (x) AS (VALUES (1)) SELECT {function} OVER (ROWS BETWEEN 1 FOLLOWING AND 2 FOLLOWING) FROM t"
            );
            assert_eq!(value(&window), Ok(Value::Null), "{window}");
        }
    }

    #[test]
    fn what_cannot_be_ranked_is_an_error_that_says_so() {
        for (function, values, expected) in [
            ("median(x)", "('1')", "input to median() is not numeric"),
            ("percentile(x, 50)", "(1), (x'00')", "input to percentile() is not numeric"),
            ("nearest_rank(x, 50)", "('a')", "input to nearest_rank() is not numeric"),
            ("percentile(x, 50)", "(1e999)", "Inf input to percentile()"),
            (
                "percentile(1, x)",
                "(50), (60)",
                "the fraction argument to percentile() is not the same for all input rows",
            ),
            (
                "percentile(x, 100.1)",
                "(1)",
                "the fraction argument to percentile() is not between 0.0 and 100.0",
            ),
            (
                "percentile(x, -1)",
                "(1)",
                "the fraction argument to percentile() is not between 0.0 and 100.0",
            ),
            (
                "percentile(x, 'a')",
                "(NULL)",
                "the fraction argument to percentile() is not between 0.0 and 100.0",
            ),
            (
                "nearest_rank(x, NULL)",
                "(1)",
                "the fraction argument to nearest_rank() is not between 0.0 and 100.0",
            ),
        ] {
            assert_eq!(of(function, values), Err(expected.to_owned()), "{function} of {values}");
        }
        let text = of("median(x, 50)", "(1)").unwrap_err();
        assert!(text.contains("wrong number of arguments"), "{text}");
    }

    /// As the definition says, in the plainest way.
    fn interpolated(values: &[f64], percent: f64) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let place = percent / 100.0 * (sorted.len() - 1) as f64;
        let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        low + (high - low) * (place - place.floor())
    }

    fn list<T: ToString>(values: &[T]) -> String {
        values.iter().map(|value| format!("({})", value.to_string())).collect::<Vec<_>>().join(", ")
    }

    proptest! {
        #[test]
        fn functions_agree_with_plain_rust(
            values in prop::collection::vec(-1000_i64..1000, 1..40),
            percent in 0_i64..=100,
            before in 0_usize..5,
            after in 0_usize..5,
        ) {
            let reals: Vec<f64> = values.iter().map(|&value| value as f64).collect();
            let Ok(Value::Real(found)) = of(&format!("percentile(x, {percent})"), &list(&values)) else { panic!() };
            prop_assert!((found - interpolated(&reals, percent as f64)).abs() < 1e-9);
            let Ok(Value::Real(found)) = of("median(x)", &list(&values)) else { panic!() };
            prop_assert!((found - interpolated(&reals, 50.0)).abs() < 1e-9);

            let ranked = |values: &[i64]| {
                let mut sorted = values.to_vec();
                sorted.sort_unstable();
                // In whole numbers: no rounding to argue about.
                let rank = (percent as usize * sorted.len()).div_ceil(100).max(1);
                sorted[rank - 1]
            };
            let found = of(&format!("nearest_rank(x, {percent})"), &list(&values)).unwrap();
            prop_assert_eq!(found, Value::Integer(ranked(&values)));

            // Over a window that slides: values come and go.
            let sql = format!(
                "WITH t (x) AS (VALUES {}) SELECT nearest_rank(x, {percent}) OVER w, percentile(x + 0.5, {percent}) OVER w \
                 FROM t WINDOW w AS (ROWS BETWEEN {before} PRECEDING AND {after} FOLLOWING)",
                list(&values)
            );
            let connection = connection();
            let mut statement = connection.prepare(&sql).unwrap();
            let found: Vec<(i64, f64)> = statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap()
                .collect::<Result<_>>()
                .unwrap();
            for (at, (rank, percentile)) in found.into_iter().enumerate() {
                let frame = at.saturating_sub(before)..(at + after + 1).min(values.len());
                prop_assert_eq!(rank, ranked(&values[frame.clone()]));
                prop_assert!((percentile - 0.5 - interpolated(&reals[frame], percent as f64)).abs() < 1e-9);
            }
        }

        #[test]
        fn integers_and_reals_are_compared_exactly(integer in any::<i64>(), real in any::<f64>(), near in -2_i64..=2) {
            for real in [real, integer.saturating_add(near) as f64, integer as f64 + 0.5] {
                if real.is_nan() {
                    continue;
                }
                let (one, other) = (Number::Integer(integer), Number::Real(real));
                let greater: bool = connection()
                    .query_row("SELECT ?1 > ?2", (integer, real), |row| row.get(0))
                    .unwrap();
                prop_assert_eq!(one.compare(&other) == Ordering::Greater, greater);
                // Of equal ones the integer is first.
                prop_assert_eq!(one.compare(&other) == Ordering::Less, !greater);
                prop_assert_eq!(other.compare(&one), one.compare(&other).reverse());
            }
        }
    }

    #[test]
    fn too_many_values_are_refused_and_room_is_given_back() {
        let held = Arc::new(AtomicUsize::new(MOST_VALUES - 100));
        let group = || Group {
            numbers: Numbers::Whole(Vec::new()),
            fraction: None,
            is_sorted: false,
            held: Arc::clone(&held),
            reserved: 0,
        };
        let mut one = group();
        for _ in 0..50 {
            one.push(Number::Integer(1)).unwrap();
        }
        let mut other = group();
        let refused = (0..200).map(|_| other.push(Number::Real(1.0))).find_map(Result::err).unwrap();
        assert!(refused.to_string().contains("too many to rank"), "{refused}");
        drop((one, other));
        assert_eq!(held.load(Order::Relaxed), MOST_VALUES - 100);
    }

    #[test]
    #[ignore = "measures: cargo test --release -- --ignored a_million"]
    fn a_million_values_are_ranked_in_less_than_200_ms() {
        let connection = connection();
        connection
            .execute_batch(
                "CREATE TABLE t AS WITH RECURSIVE n (x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n WHERE x < 999999)
                 SELECT x * 7919 % 1000003 AS x FROM n",
            )
            .unwrap();
        for function in
            ["count(x)", "median(x)", "percentile(x, 95)", "nearest_rank(x, 95)", "nearest_rank(x + 0.5, 95)"]
        {
            let began = Instant::now();
            let _: Value =
                connection.query_row(&format!("SELECT {function} FROM t"), [], |row| row.get(0)).unwrap();
            let passed = began.elapsed();
            assert!(passed < Duration::from_millis(200), "{function}: {passed:?}");
        }
    }
}
