//! Rows as a table for people, however many there are.
//!
//! In: the rows of a query. Out: text that fits the screen. The first thousand rows say how wide the columns
//! are, the others follow in these widths, so that the table takes no more memory than they do.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, TableStyle, Width};

use crate::query::{Cell, Sink};

use super::{FIRST_ROWS, FirstRows, show};
use crate::render::clean;
use crate::render::layout::{GAP, Screen};

/// Longer texts are cut: nobody reads them in a table, and other formats have them whole.
const MOST_CHARACTERS: usize = 2_000;
/// A column of text is not made narrower than this.
const NARROW: u16 = 8;
/// Nor than this, which a time needs, where the table is wider than the screen anyway.
const READABLE: u16 = 28;

/// Writes a table.
pub struct TableRows<W: Write> {
    out: W,
    screen: Screen,
    first: FirstRows,
    columns: Vec<Column>,
    /// Rows that are not yet drawn.
    rows: Vec<Vec<String>>,
}

/// How a column is drawn, once that is known.
struct Column {
    is_number: bool,
    width: u16,
    /// The least width that it is legible in.
    least: u16,
}

impl<W: Write> TableRows<W> {
    /// An empty table so far.
    pub fn new(out: W, screen: Screen) -> Self {
        Self { out, screen, first: FirstRows::default(), columns: Vec::new(), rows: Vec::new() }
    }

    fn cells(row: &[String]) -> impl Iterator<Item = String> + '_ {
        row.iter().map(|cell| clean(cell).into_owned())
    }

    fn write_first(&mut self) -> io::Result<()> {
        let Some(first) = self.first.take() else { return Ok(()) };
        let names: Vec<String> = Self::cells(&first.names).collect();
        let mut table = comfy_table::Table::new();
        for row in &first.rows {
            table.add_row(Self::cells(row));
        }
        let mut widths = table.column_max_content_widths();
        widths.resize(names.len(), 1);
        let columns = first.are_numbers().zip(&names).zip(widths).map(|((is_number, name), values)| {
            let name_width = width(name);
            // The name above numbers is broken after its underscores where that saves room.
            let least = match is_number {
                true => values.max(parts(name).map(width).max().unwrap_or(1)),
                false => NARROW.min(values.max(name_width)),
            };
            Column { is_number, width: values.max(name_width), least }
        });
        self.columns = columns.collect();
        fit(&mut self.columns, self.screen.width);
        let header = names.iter().zip(&self.columns).map(|(name, column)| match column.is_number {
            true => break_name(name, column.width),
            false => name.clone(),
        });
        table.set_header(header);
        self.write(table)
    }

    /// Draws the rows that are waiting. Numbers are never broken: a longer one makes its column wider.
    fn write_rows(&mut self) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut table = comfy_table::Table::new();
        for row in self.rows.drain(..) {
            table.add_row(Self::cells(&row));
        }
        for (column, width) in self.columns.iter_mut().zip(table.column_max_content_widths()) {
            if column.is_number {
                column.width = column.width.max(width);
            }
        }
        self.write(table)
    }

    fn write(&mut self, mut table: comfy_table::Table) -> io::Result<()> {
        let line = if self.screen.is_terminal { '─' } else { '-' };
        table
            .load_style(TableStyle::new().header_separator(LineStyle::none().fill(line).junction(line)))
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::MAX)
            .force_no_tty();
        for (drawn, column) in table.column_iter_mut().zip(&self.columns) {
            drawn.set_padding((0, GAP));
            drawn.set_constraint(ColumnConstraint::Absolute(Width::Fixed(column.width.saturating_add(GAP))));
            if column.is_number {
                drawn.set_cell_alignment(CellAlignment::Right);
            }
        }
        self.out.write_all(table.trim_fmt().as_bytes())?;
        self.out.write_all(b"\n")
    }
}

/// Makes columns narrower until all fit, as far as that goes: those of numbers first, then the widest of text.
fn fit(columns: &mut [Column], screen: u16) {
    let room = usize::from(screen).saturating_sub((columns.len() * usize::from(GAP + 1)).saturating_sub(1));
    let total = |columns: &[Column]| columns.iter().map(|column| usize::from(column.width)).sum::<usize>();
    if total(columns) <= room {
        return;
    }
    let least: usize = columns.iter().map(|column| usize::from(column.least)).sum();
    let narrowest = if least > room { READABLE } else { NARROW };
    for column in columns.iter_mut().filter(|column| column.is_number) {
        column.width = column.least;
    }
    let texts = |columns: &[Column]| {
        let mut widths: Vec<u16> =
            columns.iter().filter(|column| !column.is_number).map(|column| column.width).collect();
        widths.sort_unstable_by(|one, other| other.cmp(one));
        widths
    };
    // The widest ones are cut to one width: the largest at which all fit.
    let widths = texts(columns);
    let mut excess = total(columns).saturating_sub(room);
    let mut cap = widths.first().copied().unwrap_or(0);
    for (at, width) in widths.iter().enumerate() {
        let (count, next) = (at + 1, widths.get(at + 1).copied().unwrap_or(0));
        let step = usize::from(width - next);
        if excess <= step * count {
            cap = width - u16::try_from(excess.div_ceil(count)).unwrap_or(u16::MAX);
            excess = 0;
            break;
        }
        excess -= step * count;
        cap = next;
    }
    let cap = if excess > 0 { narrowest } else { cap.max(narrowest) };
    for column in columns.iter_mut().filter(|column| !column.is_number) {
        column.width = column.width.min(cap);
    }
}

/// As wide as a terminal shows it.
fn width(text: &str) -> u16 {
    let mut table = comfy_table::Table::new();
    table.add_row([text]);
    table.column_max_content_widths().first().copied().unwrap_or(0)
}

/// A name in the parts that end with an underscore, or with the name.
fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split_inclusive('_')
}

/// The name over as many lines as the width asks for.
fn break_name(name: &str, most: u16) -> String {
    let mut lines = vec![String::new()];
    for part in parts(name) {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && width(&lines[last]) + width(part) > most {
            lines.push(part.to_owned());
        } else {
            lines[last].push_str(part);
        }
    }
    lines.join("\n")
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
                prop_assert!(width(line) <= PIPE.width + 1, "{:?}", line);
            }
        }
    }
}
