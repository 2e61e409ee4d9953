//! Rows as a table for people, however many there are.
//!
//! In: the rows of a query. Out: text that fits the screen. The first thousand rows say how wide the columns
//! are, the others follow in these widths, so that the table takes no more memory than they do.

use std::io::{self, Write};

use super::{FIRST_ROWS, FirstRows, show};
use crate::query::{Cell, Sink};
use crate::render::clean;
use crate::render::layout::{Extent, Screen, Side, break_cell, draw_row, fit, gaps, width};

/// Longer texts are cut: nobody reads them in a table, and other formats have them whole.
const MOST_CHARACTERS: usize = 2_000;
/// A column of text is not made narrower than this.
const NARROW: usize = 8;
/// Where the table is wider than the screen anyway, a column of text keeps this width, which a time in UTC needs.
const READABLE: usize = 28;
/// The rule below the header is longer than the columns by this, as it has been since the first version.
const EDGE: usize = 1;

/// Writes a table.
pub(crate) struct TableRows<W: Write> {
    out: W,
    screen: Screen,
    first: FirstRows,
    columns: Vec<(usize, Side)>,
    rows: Vec<Vec<String>>,
}

impl<W: Write> TableRows<W> {
    pub(crate) fn new(out: W, screen: Screen) -> Self {
        Self { out, screen, first: FirstRows::default(), columns: Vec::new(), rows: Vec::new() }
    }

    fn write_first(&mut self) -> io::Result<()> {
        let Some(first) = self.first.take() else { return Ok(()) };
        let names = cleaned(&first.names);
        let rows: Vec<Vec<String>> = first.rows.iter().map(|row| cleaned(row)).collect();
        let are_numbers: Vec<bool> = first.are_numbers().collect();
        let mut extents: Vec<Extent> =
            (0..names.len()).map(|at| extent(&names[at], are_numbers[at], &rows, at)).collect();
        let room = usize::from(self.screen.width).saturating_sub(EDGE);
        let least = extents.iter().map(|extent| extent.least).sum::<usize>() + gaps(extents.len());
        if least > room {
            // The lines are longer than the screen whatever is done, so that texts may as well be legible.
            for extent in extents.iter_mut().filter(|extent| extent.gives_way) {
                extent.least = extent.natural.min(READABLE);
            }
        }

        let sides = are_numbers.iter().map(|is_number| if *is_number { Side::End } else { Side::Start });
        self.columns = fit(&extents, room).into_iter().zip(sides).collect();
        let header: Vec<Vec<String>> = names
            .iter()
            .zip(&self.columns)
            .map(|(name, (width, side))| match side {
                Side::Start => break_cell(name, *width),
                Side::End => break_name(name, *width),
            })
            .collect();
        let across = self.columns.iter().map(|(width, _)| width).sum::<usize>() + gaps(self.columns.len());
        let rule = self.screen.rule(across + EDGE);
        for line in draw_row(&header, &self.columns).iter().chain([&rule]) {
            writeln!(self.out, "{line}")?;
        }
        rows.iter().try_for_each(|row| self.write_row(row))
    }

    /// Draws the rows that are waiting. Numbers are never broken: a longer one makes its column wider.
    fn write_rows(&mut self) -> io::Result<()> {
        let rows: Vec<Vec<String>> = self.rows.drain(..).map(|row| cleaned(&row)).collect();
        for (at, (room, side)) in self.columns.iter_mut().enumerate() {
            if *side == Side::End {
                *room = (*room).max(widest(&rows, at));
            }
        }
        rows.iter().try_for_each(|row| self.write_row(row))
    }

    fn write_row(&mut self, row: &[String]) -> io::Result<()> {
        let cells: Vec<Vec<String>> =
            row.iter().zip(&self.columns).map(|(cell, (room, _))| break_cell(cell, *room)).collect();
        draw_row(&cells, &self.columns).iter().try_for_each(|line| writeln!(self.out, "{line}"))
    }
}

fn cleaned(cells: &[String]) -> Vec<String> {
    cells.iter().map(|cell| clean(cell).into_owned()).collect()
}

fn widest(rows: &[Vec<String>], at: usize) -> usize {
    rows.iter().map(|row| width(&row[at])).max().unwrap_or(0)
}

/// How wide a column is. The name above numbers is broken after its underscores where that saves room.
fn extent(name: &str, is_number: bool, rows: &[Vec<String>], at: usize) -> Extent {
    let values = widest(rows, at);
    let natural = values.max(width(name));
    let least =
        if is_number { values.max(parts(name).map(width).max().unwrap_or(1)) } else { NARROW.min(natural) };
    Extent { natural, least, gives_way: !is_number }
}

/// A name in the parts that end with an underscore, or with the name.
fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split_inclusive('_')
}

/// The name over as many lines as the width asks for.
fn break_name(name: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in parts(name) {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && width(&lines[last]) + width(part) > most {
            lines.push(part.to_owned());
        } else {
            lines[last].push_str(part);
        }
    }
    lines
}

impl<W: Write> Sink for TableRows<W> {
    fn columns(&mut self, names: &[String]) -> io::Result<()> {
        // A column without a name of its own is called by its whole expression.
        let names = names.iter().map(|name| show(&Cell::Text(name.as_str().into()), MOST_CHARACTERS));
        self.first = FirstRows::new(&names.collect::<Vec<_>>(), MOST_CHARACTERS);
        Ok(())
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        if self.first.hold(cells) {
            return Ok(());
        }
        self.write_first()?;
        self.rows.push(cells.iter().map(|cell| show(cell, MOST_CHARACTERS)).collect());
        if self.rows.len() == FIRST_ROWS { self.write_rows() } else { Ok(()) }
    }

    fn end(&mut self) -> io::Result<()> {
        self.write_first()?;
        self.write_rows()?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PIPE: Screen = Screen { width: 40, is_terminal: false };

    fn written<'a>(names: &[&str], rows: impl IntoIterator<Item = Vec<Cell<'a>>>) -> String {
        let mut bytes = Vec::new();
        let mut out = TableRows::new(&mut bytes, PIPE);
        out.columns(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        for row in rows {
            out.row(&row).unwrap();
        }
        out.end().unwrap();
        drop(out);
        String::from_utf8(bytes).unwrap()
    }

    fn text(text: &str) -> Cell<'_> {
        Cell::Text(text.into())
    }

    #[test]
    fn numbers_are_aligned_at_their_end_and_texts_broken() {
        let long = "the listing of this connection cannot be reached";
        let rows = [
            vec![text("a"), Cell::Integer(1_234_567), text(long)],
            vec![text("b\x1b[31m"), Cell::Null, Cell::Null],
        ];
        let expected = "\
name      runs  problem
----------------------------------------
a      1234567  the listing of this
                connection cannot be
                reached
b[31m
";
        assert_eq!(written(&["name", "runs", "problem"], rows), expected);
        assert_eq!(written(&["a", "b"], []), "a  b\n-----\n");
    }

    #[test]
    fn names_above_numbers_are_broken_where_room_is_scarce() {
        let rows = [vec![text("Harbour Bridge, nightly"), Cell::Integer(12), Cell::Real(0.5)]];
        let expected = "\
connection            partly_  failure_
                    succeeded      rate
----------------------------------------
Harbour Bridge,            12       0.5
nightly
";
        assert_eq!(written(&["connection", "partly_succeeded", "failure_rate"], rows.clone()), expected);
        // Where nothing helps the lines are longer than the screen, and the text stays legible.
        let names = ["connection", "undetermined", "partlysucceeded", "failurerate"];
        let long = "x".repeat(50);
        let row = vec![text(&long), Cell::Integer(1), Cell::Integer(2), Cell::Integer(3)];
        assert_eq!(written(&names, [row]).lines().nth(2).unwrap().split("  ").next().unwrap().len(), 28);
    }

    #[test]
    fn rows_beyond_the_first_thousand_stand_in_the_same_columns() {
        let rows = (0..2_500)
            .map(|number| vec![Cell::Integer(number), text(if number == 7 { "longest" } else { "x" })]);
        let table = written(&["n", "t"], rows);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 2_502);
        assert_eq!((lines[2], lines[1_000], lines[2_501]), ("  0  x", "998  x", "2499  x"));
        assert_eq!((lines[1_001], lines[1_002]), ("999  x", "1000  x"));
    }

    #[test]
    fn a_megabyte_of_text_is_cut() {
        let long = "x".repeat(1 << 20);
        let table = written(&["t"], [vec![text(&long)]]);
        assert_eq!(table.lines().count(), 2 + 2_003_usize.div_ceil(39));
        assert!(table.ends_with("...\n"), "{}", &table[table.len() - 90..]);
    }

    proptest! {
        #[test]
        fn lines_fit_the_screen_and_steer_nothing(
            rows in prop::collection::vec(prop::collection::vec(".{0,60}", 3..=3), 0..6),
        ) {
            let rows = rows.iter().map(|row| row.iter().map(|cell| text(cell)).collect());
            let table = written(&["a", "b", "c"], rows);
            for line in table.lines() {
                prop_assert!(line.chars().all(|c| !c.is_control()), "{:?}", line);
                prop_assert!(width(line) <= usize::from(PIPE.width), "{:?}", line);
            }
        }
    }
}
