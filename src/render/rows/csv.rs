//! Rows as CSV, for spreadsheets and programs: a header line, fields quoted as RFC 4180 says.
//!
//! In: the rows of a query. Out: bytes. A spreadsheet takes a text that begins with `=` for a formula, so such
//! a text gets an apostrophe in front; numbers stay bare. NULL is an empty field, bytes are hexadecimal.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::query::{Cell, Sink};

use super::write_hex;
use crate::render::clean::replacement;

/// Writes CSV.
pub(crate) struct Csv<W: Write> {
    out: csv::Writer<W>,
    field: String,
}

impl<W: Write> Csv<W> {
    /// Lines end with a line feed.
    pub(crate) fn new(out: W) -> Self {
        Self { out: csv::Writer::from_writer(out), field: String::new() }
    }
}

impl<W: Write> Sink for Csv<W> {
    fn columns(&mut self, names: &[String]) -> io::Result<()> {
        self.out.write_record(names.iter().map(|name| neutralize(name).into_owned())).map_err(plain)
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        use std::fmt::Write as _;

        for cell in cells {
            self.field.clear();
            // Writing to a String never fails.
            match cell {
                Cell::Null => {}
                Cell::Integer(number) => write!(self.field, "{number}").unwrap_or_default(),
                Cell::Real(number) => write!(self.field, "{number:?}").unwrap_or_default(),
                Cell::Text(text) => self.field.push_str(&neutralize(text)),
                Cell::Blob(bytes) => write_hex(&mut self.field, bytes),
            }
            self.out.write_field(&self.field).map_err(plain)?;
        }
        self.out.write_record(None::<&[u8]>).map_err(plain)
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// csv's error without its own words: what is said of a closed pipe or a full disk is the system's.
fn plain(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// A text that no spreadsheet takes for a formula, and that steers no terminal; line feeds and tabs stay.
fn neutralize(text: &str) -> Cow<'_, str> {
    let keep = |c: char| if matches!(c, '\n' | '\t') { Some(c) } else { replacement(c) };
    let text = if text.chars().all(|c| keep(c) == Some(c)) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.chars().filter_map(keep).collect())
    };
    if is_formula(&text) { Cow::Owned(format!("'{text}")) } else { text }
}

/// Whether a spreadsheet may read more than text out of it. Blanks in front do not keep it from that.
fn is_formula(text: &str) -> bool {
    let begins = |text: &str| {
        // The wide ones are what East Asian keyboards give.
        text.starts_with(['=', '+', '-', '@', '\t', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
    };
    (begins(text) || begins(text.trim_start())) && !is_number(text)
}

/// `-12`, `+0.5`, `-1e-9`.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole) && fraction.is_none_or(digits) && exponent.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(names: &[&str], rows: &[Vec<Cell<'_>>]) -> String {
        let mut bytes = Vec::new();
        let mut csv = Csv::new(&mut bytes);
        csv.columns(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        for row in rows {
            csv.row(row).unwrap();
        }
        csv.end().unwrap();
        drop(csv);
        String::from_utf8(bytes).unwrap()
    }

    fn text(text: &str) -> Cell<'_> {
        Cell::Text(text.into())
    }

    #[test]
    fn fields_are_quoted_where_they_must_be_and_numbers_are_bare() {
        let row = vec![
            Cell::Integer(-1),
            Cell::Real(-0.5),
            Cell::Real(2.0),
            text("a, \"b\"\nc\r"),
            Cell::Null,
            Cell::Blob(&[0, 255]),
        ];
        let expected = "i,r,w,t,n,b\n-1,-0.5,2.0,\"a, \"\"b\"\"\nc\",,00ff\n";
        assert_eq!(written(&["i", "r", "w", "t", "n", "b"], &[row]), expected);
        // A lone empty field is no empty line.
        assert_eq!(written(&["n"], &[vec![Cell::Null]]), "n\n\"\"\n");
    }

    #[test]
    fn a_text_is_never_a_formula_and_a_number_in_it_stays_one() {
        for formula in [
            "=1+1",
            "+1+1",
            "-1+1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "  =1",
            "\u{a0}=1",
            "\u{0}=1",
            "\u{feff}=1",
            "\u{202e}@x",
            "\u{ff1d}1",
            "-",
            "--1",
            "-1e",
            "-.5",
            "-1,5",
            " -1",
            "+49 30 123",
        ] {
            assert!(neutralize(formula).starts_with('\''), "{formula:?}");
        }
        for plain in
            ["-1", "+1", "-1.5", "-1e-9", "+1.0E+3", "a=b", "", "'=1", "1-1", "ü", "日本語", "a\tb\nc"]
        {
            assert_eq!(neutralize(plain), plain);
        }
        assert_eq!(written(&["=cmd()"], &[]), "'=cmd()\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_never_begins_as_a_formula(
            rows in prop::collection::vec(
                prop::collection::vec("[-=+@\\t\\r\\n ',\"a0\u{202e}\u{0}]{0,6}|.*", 3..=3),
                0..8,
            ),
        ) {
            let cells: Vec<Vec<Cell<'_>>> =
                rows.iter().map(|row| row.iter().map(|cell| text(cell)).collect()).collect();
            let written = written(&["a", "b", "c"], &cells);
            let mut reader = csv::Reader::from_reader(written.as_bytes());
            let read: Vec<Vec<String>> = reader
                .records()
                .map(|record| record.unwrap().iter().map(str::to_owned).collect())
                .collect();
            let expected: Vec<Vec<String>> =
                rows.iter().map(|row| row.iter().map(|cell| neutralize(cell).into_owned()).collect()).collect();
            prop_assert_eq!(&read, &expected);
            for cell in read.iter().flatten() {
                let is_number = cell.parse::<f64>().is_ok();
                let first = cell.trim_start().chars().next();
                prop_assert!(is_number || !first.is_some_and(|c| "=+-@".contains(c)), "{cell:?}");
                prop_assert!(cell.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'), "{cell:?}");
            }
        }
    }
}
