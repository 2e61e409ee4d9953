//! Rows as a Markdown table, for issues and wikis.
//!
//! In: the rows of a query. Out: text. What stands in a cell is shown as it is: nothing in it becomes markup,
//! HTML, a link, an image or a mention. Columns of numbers are aligned at their end, told by the first rows.

use std::io::{self, Write};

use crate::query::{Cell, Sink};

use super::{FirstRows, show};
use crate::render::clean::escape_markdown;

/// Writes a Markdown table.
pub(crate) struct MarkdownRows<W: Write> {
    out: W,
    first: FirstRows,
}

impl<W: Write> MarkdownRows<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, first: FirstRows::default() }
    }

    fn write_line(&mut self, cells: &[String]) -> io::Result<()> {
        let mut line = String::from("|");
        for cell in cells {
            line.push(' ');
            line.push_str(&escape_markdown(cell));
            line.push_str(" |");
        }
        line.push('\n');
        self.out.write_all(line.as_bytes())
    }

    /// The header, then the rows that were held back for it.
    fn write_first(&mut self) -> io::Result<()> {
        let Some(first) = self.first.take() else { return Ok(()) };
        self.write_line(&first.names)?;
        let dashes = first.are_numbers().map(|is_number| if is_number { " ---: |" } else { " --- |" });
        writeln!(self.out, "|{}", dashes.collect::<String>())?;
        first.rows.iter().try_for_each(|row| self.write_line(row))
    }
}

impl<W: Write> Sink for MarkdownRows<W> {
    fn columns(&mut self, names: &[String]) -> io::Result<()> {
        self.first = FirstRows::new(names, usize::MAX);
        Ok(())
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        if self.first.hold(cells) {
            return Ok(());
        }
        self.write_first()?;
        self.write_line(&cells.iter().map(|cell| show(cell, usize::MAX)).collect::<Vec<_>>())
    }

    fn end(&mut self) -> io::Result<()> {
        self.write_first()?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::render::clean;

    fn written(names: &[&str], rows: &[Vec<Cell<'_>>]) -> String {
        let mut bytes = Vec::new();
        let mut out = MarkdownRows::new(&mut bytes);
        out.columns(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        for row in rows {
            out.row(row).unwrap();
        }
        out.end().unwrap();
        drop(out);
        String::from_utf8(bytes).unwrap()
    }

    /// Bars that are not behind a backslash that counts.
    fn bars(line: &str) -> usize {
        let mut is_escaped = false;
        let is_bar = |c: char| {
            let is_bar = c == '|' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_bar
        };
        line.chars().map(is_bar).filter(|&is_bar| is_bar).count()
    }

    #[test]
    fn numbers_are_aligned_at_their_end() {
        let rows = [
            vec![Cell::Text("a|b".into()), Cell::Integer(-1), Cell::Null],
            vec![Cell::Text("c\nd".into()), Cell::Null, Cell::Null],
        ];
        let expected = "| x | n | e |\n| --- | ---: | --- |\n| a\\|b | -1 |  |\n| c d |  |  |\n";
        assert_eq!(written(&["x", "n", "e"], &rows), expected);
        assert_eq!(written(&["x"], &[]), "| x |\n| --- |\n");
    }

    #[test]
    fn nothing_in_a_cell_is_markup() {
        for (text, expected) in [
            ("<b onclick=\"x\">", "&lt;b onclick\\=\"x\"&gt;"),
            ("&lt;", "&amp;lt;"),
            ("![a](b)", "\\!\\[a\\](b)"),
            ("**a** _b_ `c` ~~d~~", "\\*\\*a\\*\\* \\_b\\_ \\`c\\` \\~\\~d\\~\\~"),
            ("https://x.example", "https\\://x.example"),
            ("WWW.x.example, www.y", "WWW\\.x.example, www\\.y"),
            ("@team, a@b.example", "@\u{2060}team, a@\u{2060}b.example"),
            ("#1", "\\#\u{2060}1"),
            ("a\\|b", "a\\\\\\|b"),
            ("{{ x }} $y$", "\\{\\{ x \\}\\} \\$y\\$"),
            ("a: b. c", "a: b. c"),
            ("failure_rate _a_ __b__", "failure_rate \\_a\\_ \\_\\_b\\_\\_"),
        ] {
            assert_eq!(escape_markdown(text), expected, "{text}");
        }
    }

    /// What a reader of Markdown sees in the second row's first cell, if it is nothing but text.
    fn shown(markdown: &str) -> Option<String> {
        use pulldown_cmark::{Event, Options, Parser, Tag};

        let mut cells: Vec<String> = Vec::new();
        // Curly quotes and long dashes are still text.
        for event in Parser::new_ext(markdown, Options::all() - Options::ENABLE_SMART_PUNCTUATION) {
            match event {
                Event::Start(Tag::TableCell) => cells.push(String::new()),
                Event::Text(text) => cells.last_mut()?.push_str(&text),
                Event::Start(Tag::Table(_) | Tag::TableHead | Tag::TableRow) | Event::End(_) => {}
                _ => return None,
            }
        }
        Some(cells.swap_remove(1))
    }

    proptest! {
        #[test]
        fn a_reader_of_markdown_sees_the_text_and_nothing_else(
            text in "[-!#-/:-@\\[-`{-~ ab1\n]{0,12}|(<a>|https://|www\\.|@|\\]\\(|!\\[|\\*\\*|_|~~|\\$|==|&lt;|a| ){0,12}|.*",
        ) {
            let markdown = written(&["a"], &[vec![Cell::Text(text.as_str().into())]]);
            let shown = shown(&markdown).map(|text| text.replace('\u{2060}', ""));
            // Blanks at the ends are no part of a cell.
            let blank = |c: char| c == ' ';
            let expected = clean(&text);
            prop_assert_eq!(
                shown.as_deref().map(|text| text.trim_matches(blank)),
                Some(expected.trim_matches(blank)),
                "{}", markdown
            );
        }

        #[test]
        fn every_line_has_as_many_bars(
            cells in prop::collection::vec(prop::collection::vec("[|\\\\`<\\n\\ra\u{2028}]{0,8}|.*", 3..=3), 0..6),
        ) {
            let rows: Vec<Vec<Cell<'_>>> = cells
                .iter()
                .map(|row| row.iter().map(|cell| Cell::Text(cell.as_str().into())).collect())
                .collect();
            let text = written(&["a|", "b\\", "c\n"], &rows);
            prop_assert_eq!(text.lines().count(), 2 + rows.len());
            for line in text.lines() {
                prop_assert_eq!(bars(line), 4, "{}", line);
                prop_assert!(!line.contains('<') && !line.contains('>'), "{}", line);
            }
        }
    }
}
