//! Rows as a table for people, however many there are.
//!
//! In: the rows of a query. Out: text that fits the screen. The first thousand rows say how wide the columns
//! are, the others follow in these widths, so that the table takes no more memory than they do.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, TableStyle, Width};

use crate::query::{Cell, Sink};

use super::rows::{FIRST_ROWS, FirstRows, show};
use super::{GAP, Screen, clean};

/// Longer texts are cut: nobody reads them in a table, and other formats have them whole.
const MOST_CHARACTERS: usize = 2_000;
/// A text column is not made narrower than this while another one is wider.
const NARROW: u16 = 8;

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
}

impl<W: Write> TableRows<W> {
    /// An empty table so far.
    pub fn new(out: W, screen: Screen) -> Self {
        Self { out, screen, first: FirstRows::default(), columns: Vec::new(), rows: Vec::new() }
    }

    fn cells(row: &[String]) -> impl Iterator<Item = String> + '_ {
        row.iter().map(|cell| match cell.char_indices().nth(MOST_CHARACTERS) {
            Some((end, _)) => clean(&cell[..end]).into_owned() + "...",
            None => clean(cell).into_owned(),
        })
    }

    fn write_first(&mut self) -> io::Result<()> {
        let Some(first) = self.first.take() else { return Ok(()) };
        let mut table = comfy_table::Table::new();
        table.set_header(Self::cells(&first.names));
        for row in &first.rows {
            table.add_row(Self::cells(row));
        }
        let widths = table.column_max_content_widths();
        self.columns =
            first.are_numbers().zip(widths).map(|(is_number, width)| Column { is_number, width }).collect();
        fit(&mut self.columns, self.screen.width);
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

/// Makes the widest columns of text narrower until all fit, as far as that goes.
fn fit(columns: &mut [Column], screen: u16) {
    let gaps = (columns.len() * usize::from(GAP + 1)).saturating_sub(1);
    let total =
        |columns: &[Column]| columns.iter().map(|column| usize::from(column.width)).sum::<usize>() + gaps;
    let mut cap = columns.iter().filter(|column| !column.is_number).map(|column| column.width).max();
    while let Some(width) = cap
        && total(columns) > usize::from(screen)
        && width > NARROW
    {
        // The width at which they fit is looked for from above, in steps that a long text does not make many.
        let excess = total(columns) - usize::from(screen);
        let widest =
            columns.iter().filter(|column| !column.is_number && column.width >= width).count().max(1);
        let step = u16::try_from((excess / widest).max(1)).unwrap_or(u16::MAX);
        let next = columns
            .iter()
            .filter(|column| !column.is_number && column.width < width)
            .map(|column| column.width)
            .max()
            .unwrap_or(0);
        let width = width.saturating_sub(step).max(next).max(NARROW);
        for column in columns.iter_mut().filter(|column| !column.is_number) {
            column.width = column.width.min(width);
        }
        cap = Some(width);
    }
}

impl<W: Write> Sink for TableRows<W> {
    fn columns(&mut self, names: &[String]) -> io::Result<()> {
        self.first = FirstRows::new(names);
        Ok(())
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        if self.first.hold(cells) {
            return Ok(());
        }
        self.write_first()?;
        self.rows.push(cells.iter().map(show).collect());
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
                prop_assert!(comfy_width(line) <= usize::from(PIPE.width) + 1, "{:?}", line);
            }
        }
    }

    /// As wide as a terminal shows it.
    fn comfy_width(line: &str) -> usize {
        let mut table = comfy_table::Table::new();
        table.add_row([line]);
        table.column_max_content_widths().first().copied().map_or(0, usize::from)
    }
}
