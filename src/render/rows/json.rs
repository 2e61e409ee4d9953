//! Rows as JSON, for programs: one array of objects, or one object per line.
//!
//! In: the rows of a query. Out: bytes. Text is carried exactly; what would steer a terminal is escaped, which
//! JSON reads back as it was. NULL and what is no finite number are null, bytes are hexadecimal text.

use std::collections::HashSet;
use std::io::{self, Write};

use crate::query::{Cell, Sink};

use super::write_hex;
use crate::render::clean::replacement;

/// Writes JSON.
pub(crate) struct JsonRows<W: Write> {
    out: W,
    is_array: bool,
    /// `{"name":` and `,"name":`, ready to be written.
    keys: Vec<Vec<u8>>,
    has_rows: bool,
}

impl<W: Write> JsonRows<W> {
    pub(crate) fn array(out: W) -> Self {
        Self { out, is_array: true, keys: Vec::new(), has_rows: false }
    }

    pub(crate) fn lines(out: W) -> Self {
        Self { is_array: false, ..Self::array(out) }
    }
}

impl<W: Write> Sink for JsonRows<W> {
    fn columns(&mut self, names: &[String]) -> io::Result<()> {
        for (at, name) in unique(names).iter().enumerate() {
            let mut key = vec![if at == 0 { b'{' } else { b',' }];
            write_text(&mut key, name)?;
            key.push(b':');
            self.keys.push(key);
        }
        Ok(())
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        match (self.is_array, self.has_rows) {
            (true, false) => self.out.write_all(b"[\n")?,
            (true, true) => self.out.write_all(b",\n")?,
            (false, _) => {}
        }
        self.has_rows = true;
        for (key, cell) in self.keys.iter().zip(cells) {
            self.out.write_all(key)?;
            match cell {
                Cell::Integer(number) => write!(self.out, "{number}")?,
                Cell::Real(number) if number.is_finite() => {
                    serde_json::to_writer(&mut self.out, number).map_err(io::Error::from)?
                }
                Cell::Null | Cell::Real(_) => self.out.write_all(b"null")?,
                Cell::Text(text) => write_text(&mut self.out, text)?,
                Cell::Blob(bytes) => {
                    let mut hex = String::new();
                    write_hex(&mut hex, bytes);
                    write!(self.out, "\"{hex}\"")?;
                }
            }
        }
        self.out.write_all(if self.is_array { b"}" } else { b"}\n" })
    }

    fn end(&mut self) -> io::Result<()> {
        match (self.is_array, self.has_rows) {
            (true, false) => self.out.write_all(b"[]\n")?,
            (true, true) => self.out.write_all(b"\n]\n")?,
            (false, _) => {}
        }
        self.out.flush()
    }
}

/// The names, each once: of two columns of one name the second is `name_2`.
fn unique(names: &[String]) -> Vec<String> {
    let mut taken: HashSet<String> = names.iter().cloned().collect();
    let mut seen = HashSet::new();
    let mut number = |name: &String| {
        if seen.insert(name.clone()) {
            return name.clone();
        }
        let free = (2_u32..).map(|number| format!("{name}_{number}")).find(|name| !taken.contains(name));
        let free = free.unwrap_or_default();
        taken.insert(free.clone());
        free
    };
    names.iter().map(&mut number).collect()
}

/// A JSON string. JSON asks for the escaping of the first control characters only; the others and those that
/// change the direction of text are escaped here too.
fn write_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    let is_steering = |c: char| !c.is_ascii_control() && replacement(c) != Some(c) || c == '\u{7f}';
    if !text.contains(is_steering) {
        return serde_json::to_writer(out, text).map_err(io::Error::from);
    }
    let json = serde_json::to_string(text).map_err(io::Error::from)?;
    let mut units = [0; 2];
    for part in json.split_inclusive(is_steering) {
        let (plain, steering) = match part.char_indices().next_back() {
            Some((at, c)) if is_steering(c) => (&part[..at], Some(c)),
            _ => (part, None),
        };
        out.write_all(plain.as_bytes())?;
        for unit in steering.iter().flat_map(|c| c.encode_utf16(&mut units).to_vec()) {
            write!(out, "\\u{unit:04x}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn written(is_array: bool, names: &[&str], rows: &[Vec<Cell<'_>>]) -> String {
        let mut bytes = Vec::new();
        let mut out = if is_array { JsonRows::array(&mut bytes) } else { JsonRows::lines(&mut bytes) };
        out.columns(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        for row in rows {
            out.row(row).unwrap();
        }
        out.end().unwrap();
        drop(out);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_array_holds_an_object_per_row_with_its_keys_in_order() {
        let rows = [
            vec![Cell::Integer(i64::MAX), Cell::Text("a\"b\n".into()), Cell::Null],
            vec![Cell::Real(1.0), Cell::Blob(&[0, 255]), Cell::Real(f64::INFINITY)],
        ];
        let expected = "[\n{\"z\":9223372036854775807,\"a\":\"a\\\"b\\n\",\"n\":null},\n\
                        {\"z\":1.0,\"a\":\"00ff\",\"n\":null}\n]\n";
        assert_eq!(written(true, &["z", "a", "n"], &rows), expected);
        assert_eq!(written(true, &["z"], &[]), "[]\n");
    }

    #[test]
    fn lines_hold_an_object_each() {
        let rows = [vec![Cell::Integer(1)], vec![Cell::Integer(2)]];
        assert_eq!(written(false, &["a"], &rows), "{\"a\":1}\n{\"a\":2}\n");
        assert_eq!(written(false, &["a"], &[]), "");
    }

    #[test]
    fn no_key_stands_twice() {
        let names = ["a", "a", "a_2", "a", ""].map(str::to_owned);
        assert_eq!(unique(&names), ["a", "a_3", "a_2", "a_4", ""]);
    }

    proptest! {
        #[test]
        fn text_is_carried_exactly_and_steers_no_terminal(
            text in "[\u{0}-\u{2f}\u{7f}-\u{9f}\u{200b}-\u{202e}\u{feff}\u{e0001}ü😀]{0,20}|.*",
        ) {
            let line = written(false, &[&text], &[vec![Cell::Text(text.as_str().into())]]);
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read, json!({ text.as_str(): text.as_str() }));
            let line = line.trim_end_matches('\n');
            prop_assert!(line.chars().all(|c| replacement(c) == Some(c)), "{}", line.escape_debug());
        }

        #[test]
        fn numbers_are_carried_exactly(integer in any::<i64>(), real in any::<f64>()) {
            let line = written(false, &["i", "r"], &[vec![Cell::Integer(integer), Cell::Real(real)]]);
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read["i"].as_i64(), Some(integer));
            let written = line.rsplit_once("\"r\":").unwrap().1.trim_end_matches("}\n");
            let bits = written.parse().map(f64::to_bits).ok();
            prop_assert_eq!(bits, Some(real.to_bits()).filter(|_| real.is_finite()));
        }
    }
}
