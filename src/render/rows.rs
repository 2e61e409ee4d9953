//! What the formats of a query's rows share: cells as text for people, and the first rows, held back until
//! they tell which columns are numbers.

mod csv;
mod json;
mod markdown;
mod table;

pub(crate) use csv::Csv;
pub(crate) use json::JsonRows;
pub(crate) use markdown::MarkdownRows;
pub(crate) use table::TableRows;

use crate::query::Cell;

/// Rows that are looked at before the first is written.
pub(super) const FIRST_ROWS: usize = 1_000;
/// And bytes of them: a value may be long.
const FIRST_BYTES: usize = 16 << 20;

/// A cell as people read it: NULL is empty, bytes are hexadecimal. Not yet cleaned. What is longer than `most`
/// characters is cut.
pub(super) fn show(cell: &Cell<'_>, most: usize) -> String {
    let cut = |text: &str| match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    };
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => show_real(*number),
        Cell::Text(text) => cut(text),
        Cell::Blob(bytes) => {
            let mut hex = String::new();
            write_hex(&mut hex, &bytes[..bytes.len().min(most)]);
            cut(&hex)
        }
    }
}

/// At most six decimals; programs get all of them.
fn show_real(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() || size >= 1e15 || (size < 1e-4 && size > 0.0) {
        return format!("{number:?}");
    }
    let text = format!("{number:.6}");
    let trimmed = text.trim_end_matches('0');
    if trimmed.ends_with('.') { format!("{trimmed}0") } else { trimmed.to_owned() }
}

pub(super) fn write_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    text.reserve(bytes.len() * 2);
    for byte in bytes {
        text.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// The header and the first rows, until somebody takes them.
#[derive(Default)]
pub(super) struct FirstRows(Option<Held>);

/// What was held back.
pub(super) struct Held {
    pub(super) names: Vec<String>,
    /// `None` where nothing but NULL was met.
    are_numbers: Vec<Option<bool>>,
    pub(super) rows: Vec<Vec<String>>,
    bytes: usize,
    most_characters: usize,
}

impl Held {
    /// Whether each column is one of numbers.
    pub(super) fn are_numbers(&self) -> impl Iterator<Item = bool> {
        self.are_numbers.iter().map(|is_number| *is_number == Some(true))
    }
}

impl FirstRows {
    /// Of cells as [`show`] gives them.
    pub(super) fn new(names: &[String], most_characters: usize) -> Self {
        Self(Some(Held {
            names: names.to_owned(),
            are_numbers: vec![None; names.len()],
            rows: Vec::new(),
            bytes: 0,
            most_characters,
        }))
    }

    /// Whether the row was kept; it is not where there are enough, or they were taken.
    pub(super) fn hold(&mut self, cells: &[Cell<'_>]) -> bool {
        let Some(held) = &mut self.0 else { return false };
        if held.rows.len() == FIRST_ROWS || held.bytes > FIRST_BYTES {
            return false;
        }
        for (is_number, cell) in held.are_numbers.iter_mut().zip(cells) {
            match cell {
                Cell::Null => {}
                Cell::Integer(_) | Cell::Real(_) => *is_number = Some(is_number.unwrap_or(true)),
                Cell::Text(_) | Cell::Blob(_) => *is_number = Some(false),
            }
        }
        let row: Vec<String> = cells.iter().map(|cell| show(cell, held.most_characters)).collect();
        held.bytes += row.iter().map(String::len).sum::<usize>();
        held.rows.push(row);
        true
    }

    /// Nothing the second time.
    pub(super) fn take(&mut self) -> Option<Held> {
        self.0.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_six_decimals_at_most() {
        let numbers = [0.0, 0.5, -2.0, 1.0 / 3.0, 1_234_567.891, 1e16, 1e-9, 0.000_123_456_7, f64::INFINITY];
        let expected = ["0.0", "0.5", "-2.0", "0.333333", "1234567.891", "1e16", "1e-9", "0.000123", "inf"];
        assert_eq!(numbers.map(|number| show(&Cell::Real(number), 9)), expected);
        assert_eq!(show(&Cell::Blob(&[0, 171]), 9), "00ab");
    }

    #[test]
    fn long_values_are_cut_and_few_are_held() {
        assert_eq!(show(&Cell::Text("äöü".into()), 3), "äöü");
        assert_eq!(show(&Cell::Text("äöüx".into()), 3), "äöü...");
        assert_eq!(show(&Cell::Blob(&[1, 2]), 3), "010...");
        let mut first = FirstRows::new(&["a".to_owned()], usize::MAX);
        let long = "x".repeat(FIRST_BYTES);
        let row = [Cell::Text(long.as_str().into())];
        assert_eq!([(); 3].map(|()| first.hold(&row)), [true, true, false]);
    }

    #[test]
    fn a_column_is_of_numbers_if_it_holds_nothing_else() {
        let mut first = FirstRows::new(&["a", "b", "c", "d"].map(str::to_owned), 9);
        let text = || Cell::Text("x".into());
        assert!(first.hold(&[Cell::Null, Cell::Integer(1), text(), Cell::Null]));
        assert!(first.hold(&[Cell::Real(1.0), text(), Cell::Integer(1), Cell::Null]));
        let held = first.take().unwrap();
        assert_eq!(held.are_numbers().collect::<Vec<_>>(), [true, false, false, false]);
        assert_eq!(held.rows.len(), 2);
        assert!(first.take().is_none() && !first.hold(&[]));
    }
}
