//! Figures and foreign text to what a terminal shows: tables, numbers, sizes, lengths of time.
//!
//! In: finished values. Out: text; nothing is computed but widths. What the platform sends is untrusted,
//! so every cell of a table goes through [`clean`]. [`print()`] is the way to standard output.

mod csv;
mod document;
pub mod html;
mod json_rows;
pub mod markdown;
mod markdown_rows;
mod output;
mod rows;
#[cfg(test)]
mod sample;
mod sections;
mod signature;
mod table_rows;
pub mod text;
pub mod wording;

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, TableStyle};

pub use csv::Csv;
pub use json_rows::JsonRows;
pub use markdown_rows::{MarkdownRows, escape_markdown};
pub use output::Output;
pub(crate) use signature::blank_signatures;
pub use table_rows::TableRows;
pub use wording::verdict;

use crate::error::{CommandError, ExitCode};

/// Columns where nobody says how wide the terminal is.
const DEFAULT_WIDTH: u16 = 80;
/// Blanks after each column; comfy-table adds one between two of them.
const GAP: u16 = 1;

/// Untrusted text for people: control characters, bidirectional and zero-width ones dropped, line ends and
/// tabs made blanks, and the signatures of signed URLs blanked.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| replacement(c) == Some(c)) {
        return blank_signatures(text);
    }
    // What is dropped may have stood inside a signature's name.
    let kept: String = text.chars().filter_map(replacement).collect();
    Cow::Owned(blank_signatures(&kept).into_owned())
}

fn replacement(c: char) -> Option<char> {
    match c {
        '\n' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
        // Soft hyphen, Arabic letter mark, Mongolian vowel separator; zero-width blanks and joiners,
        // directional marks; embeddings and overrides; isolates and other invisible ones; the byte order
        // mark; annotations; tags.
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => None,
        c if c.is_control() => None,
        c => Some(c),
    }
}

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

/// `1,234,567`.
pub fn render_count(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `512 B`, `12.3 MiB`; what is beyond the last digit is cut off.
pub fn render_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = bytes.ilog2() / 10;
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power as usize - 1])
}

/// `850 ms`, `1.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`; what is beyond is cut off.
pub fn render_duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let (large, small) = match seconds {
        0 => return format!("{} ms", length.as_millis()),
        1..60 => return format!("{seconds}.{} s", length.subsec_millis() / 100),
        60..3600 => ((seconds / 60, "min"), (seconds % 60, "s")),
        3600..86_400 => ((seconds / 3600, "h"), (seconds % 3600 / 60, "min")),
        _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3600, "h")),
    };
    match small.0 {
        0 => format!("{} {}", large.0, large.1),
        _ => format!("{} {} {} {}", large.0, large.1, small.0, small.1),
    }
}

/// Writes data to standard output. A reader that left is no error: there is nothing more to say, and
/// the command ends as it would have. Clear the progress display first.
///
/// # Errors
/// Anything else, such as a full disk behind a redirection; exit code 1.
pub fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let error = anyhow::Error::new(error).context("writing to standard output");
            Err(CommandError::new(ExitCode::Failed, error))
        }
        _ => Ok(()),
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

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(clean("\x1b[31mred\x1b[0m\x07\u{9b}2J\x7f"), "[31mred[0m2J");
        assert_eq!(clean("a\r\nb\tc\u{2028}d"), "a b c d");
        assert_eq!(clean("ab\u{202e}gpj.exe\u{2066}\u{200b}\u{200f}\u{feff}\u{61c}"), "abgpj.exe");
    }

    #[test]
    fn ordinary_text_of_any_script_is_left_alone() {
        for text in ["", "Straße 5", "日本語", "مشروع", "é👍🏽", "a\u{301}"] {
            assert!(matches!(clean(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn cleaned_text_holds_nothing_that_steers_a_terminal(
            parts in prop::collection::vec(prop_oneof![
                any::<String>(),
                any::<char>().prop_map(String::from),
                (0_u32..0x20).prop_filter_map("no char", char::from_u32).prop_map(String::from),
                (0x7f_u32..0xa0).prop_filter_map("no char", char::from_u32).prop_map(String::from),
                (0x2000_u32..0x2070).prop_filter_map("no char", char::from_u32).prop_map(String::from),
            ], 0..20),
        ) {
            let text = parts.concat();
            let cleaned = clean(&text);
            for c in cleaned.chars() {
                let code = u32::from(c);
                prop_assert!(code >= 0x20 && !(0x7f..0xa0).contains(&code), "{code:x}");
                prop_assert!(!(0x200b..=0x200f).contains(&code) && !(0x2028..=0x202e).contains(&code), "{code:x}");
                prop_assert!(!(0x2060..=0x206f).contains(&code) && code != 0xfeff && code != 0x61c, "{code:x}");
            }
            // What is left stands in the order it came in, blanks aside.
            let mut rest = text.chars();
            prop_assert!(cleaned.chars().filter(|&c| c != ' ').all(|c| rest.any(|other| other == c)));
            prop_assert_eq!(clean(&cleaned), cleaned.as_ref());
        }

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

    #[test]
    fn thousands_are_separated() {
        let numbers = [0, 7, 999, 1000, 12_345, 1_234_567, -1, -1000, i64::MIN];
        let texts = numbers.map(render_count);
        let expected = ["0", "7", "999", "1,000", "12,345", "1,234,567", "-1", "-1,000"];
        assert_eq!(texts[..8], expected);
        assert_eq!(texts[8], "-9,223,372,036,854,775,808");
    }

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        let sizes = [0, 1023, 1024, 1536, 12_897_485, 2_040_109_466, u64::MAX].map(render_size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "12.3 MiB", "1.9 GiB", "15.9 EiB"]);
    }

    #[test]
    fn lengths_of_time_are_told_in_two_units_at_most() {
        let lengths = [0, 850, 1_250, 59_999, 60_000, 185_000, 7_800_000, 86_400_000, 274_000_000];
        let texts = lengths.map(|ms| render_duration(Duration::from_millis(ms)));
        let expected =
            ["0 ms", "850 ms", "1.2 s", "59.9 s", "1 min", "3 min 5 s", "2 h 10 min", "1 d", "3 d 4 h"];
        assert_eq!(texts, expected);
    }
}
