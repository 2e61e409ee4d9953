//! Columns fitted to a width.

use std::io::{self, IsTerminal as _};

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, TableStyle};

use super::clean;

/// Columns where nobody says how wide the terminal is.
const DEFAULT_WIDTH: u16 = 80;
/// Blanks after each column; comfy-table adds one between two of them.
pub(super) const GAP: u16 = 1;

/// What a table is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Columns.
    pub width: u16,
    /// Whether more than ASCII may be drawn around the text.
    pub is_terminal: bool,
}

impl Screen {
    /// A file or a pipe.
    pub const PLAIN: Self = Self { width: DEFAULT_WIDTH, is_terminal: false };

    /// Standard output: the terminal's width, or 80 columns of ASCII in a pipe.
    pub fn of_stdout() -> Self {
        let width = comfy_table::Table::new().width().filter(|&width| width > 0);
        Self { width: width.unwrap_or(DEFAULT_WIDTH), is_terminal: io::stdout().is_terminal() }
    }
}

/// One column of a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// What stands above it.
    pub title: String,
    /// Numbers are aligned at their end and never broken.
    pub is_number: bool,
}

impl Column {
    /// A column of text.
    pub fn text(title: impl Into<String>) -> Self {
        Self { title: title.into(), is_number: false }
    }

    /// A column of numbers.
    pub fn number(title: impl Into<String>) -> Self {
        Self { title: title.into(), is_number: true }
    }
}

/// Rows below a header.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Table {
    /// The columns, from the left.
    pub columns: Vec<Column>,
    /// The rows, as many cells each as there are columns; untrusted text is welcome.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// The table as lines that fit the screen; cells that do not fit are broken over several lines.
    pub fn render(&self, screen: Screen) -> String {
        let line = if screen.is_terminal { '─' } else { '-' };
        let mut table = comfy_table::Table::new();
        table
            .load_style(TableStyle::new().header_separator(LineStyle::none().fill(line).junction(line)))
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(screen.width)
            .force_no_tty()
            .set_header(self.columns.iter().map(|column| clean(&column.title).into_owned()));
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| clean(cell).into_owned()));
        }
        for (drawn, column) in table.column_iter_mut().zip(&self.columns) {
            drawn.set_padding((0, GAP));
            if column.is_number {
                drawn.set_cell_alignment(CellAlignment::Right);
                drawn.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table.trim_fmt() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PIPE: Screen = Screen { width: 80, is_terminal: false };

    fn status() -> Table {
        Table {
            columns: vec![Column::text("connection"), Column::number("runs"), Column::text("problem")],
            rows: vec![
                vec!["a".into(), "1,234,567".into(), "none".into()],
                vec!["-bB_\x1b[31m".into(), "7".into(), "403\nForbidden\u{202e}".into()],
            ],
        }
    }

    proptest! {
        #[test]
        fn a_table_is_ascii_lines_that_fit(
            cells in prop::collection::vec(prop::collection::vec("[ -~]{0,40}", 3..=3), 0..5),
            width in 30_u16..200,
        ) {
            let columns = ["a", "b", "c"].map(Column::text).to_vec();
            let text = Table { columns, rows: cells }.render(Screen { width, is_terminal: false });
            prop_assert!(text.is_ascii());
            for line in text.lines() {
                prop_assert!(line.len() <= usize::from(width), "{line:?} in {width}");
            }
        }
    }

    #[test]
    fn a_table_has_a_header_line_and_aligns_numbers_at_their_end() {
        let expected = "\
connection       runs  problem
-------------------------------------
a           1,234,567  none
-bB_[31m            7  403 Forbidden
";
        assert_eq!(status().render(PIPE), expected);
        assert!(status().render(Screen { is_terminal: true, ..PIPE }).contains("\n─────"));
    }

    #[test]
    fn a_long_cell_is_broken_and_a_number_never() {
        let mut table = status();
        table.rows[0][2] = "the listing cannot be reached ".repeat(5);
        let text = table.render(Screen { width: 50, is_terminal: false });
        assert!(text.lines().all(|line| line.len() <= 50), "{text}");
        assert!(text.contains(" 1,234,567  the listing"), "{text}");
    }

    #[test]
    fn a_table_without_rows_is_its_header() {
        let table = Table { rows: vec![], ..status() };
        assert_eq!(table.render(PIPE).lines().count(), 2);
    }
}
