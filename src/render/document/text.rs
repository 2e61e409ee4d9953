//! A document for a terminal, a mail or a log: sections in plain text that fit the screen.
//!
//! In: sections, and what is drawn on. Out: lines no wider than the screen, but for those that a document wants
//! whole. With more room there are more columns and longer names; in a pipe all but the data's own text is
//! ASCII. No colours.

use super::{Align, Block, Card, Column, Document, Grid, GridCell, Inline, Phrase, Presence, Section, Tone};
use crate::render::Screen;
use crate::render::layout::{self, Extent, Side, break_cell, draw_row, fit, gaps, prefix, width};
use crate::render::wording::NO_BREAK;

/// What columns that give way keep where others are let in: less for those of the first ranks.
const COMFORTABLE: LeastWidths = LeastWidths { text: 32, bar: 16 };
const TIGHT: LeastWidths = LeastWidths { text: 20, bar: 6 };
/// What they keep in any case, if the screen has it.
const NARROW: LeastWidths = LeastWidths { text: 10, bar: 6 };
/// What a column keeps that is broken over lines.
const BROKEN: usize = 8;
/// A longer bar is no easier to compare, and takes room from names.
const LONG_BAR: usize = 24;
/// Lines of a text below a row: the table stays a table where descriptions are long.
const LINES_BELOW: usize = 2;

/// The widths of columns that give way.
struct LeastWidths {
    text: usize,
    bar: usize,
}

pub(super) fn render(document: &Document, screen: Screen) -> String {
    let paper = Paper { screen, width: usize::from(screen.width).max(1), is_plain: !screen.is_terminal };
    let mut text = String::new();
    for (at, section) in document.0.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        paper.section(section, &mut text);
    }
    text
}

/// What is written on.
#[derive(Clone, Copy)]
struct Paper {
    screen: Screen,
    width: usize,
    is_plain: bool,
}

impl Paper {
    fn section(&self, section: &Section, text: &mut String) {
        if let Some(title) = section.topic.title() {
            self.wrap(&title.to_uppercase(), "", "", usize::MAX, text);
        }
        for (at, block) in section.blocks.iter().enumerate() {
            match block {
                Block::Heading(heading) => {
                    if at > 0 {
                        text.push('\n');
                    }
                    self.wrap(heading, "", "", usize::MAX, text);
                }
                Block::Verdict(sentence) => self.wrap(&self.own(sentence), "", "", usize::MAX, text),
                Block::Headline(tone, word, what) => {
                    let start = format!("{} {word}: ", self.sign(*tone));
                    self.wrap(&(start + &self.show(what)), "", "  ", usize::MAX, text);
                    text.push('\n');
                }
                Block::Card(card) => self.card(card, at > 0, text),
                Block::Paragraph(phrase) => self.wrap(&self.show(phrase), "", "", usize::MAX, text),
                Block::Item(phrase) => self.wrap(&self.show(phrase), "- ", "  ", usize::MAX, text),
                Block::Term(word, meaning) => {
                    self.wrap(&self.own(&format!("{word}: {meaning}")), "- ", "  ", usize::MAX, text);
                }
                // A line is for programs such as grep, too, and stays one whatever the width of the screen.
                Block::Line(phrase) => {
                    text.push_str(&self.show(phrase));
                    text.push('\n');
                }
                Block::Commands(commands) => {
                    text.push('\n');
                    commands.iter().for_each(|command| text.push_str(&format!("  {command}\n")));
                }
                Block::Grid(grid) => self.grid(grid, section, text),
            }
        }
    }

    fn card(&self, card: &Card, is_next: bool, text: &mut String) {
        if is_next {
            text.push('\n');
        }
        let title = format!("{} {}", self.sign(card.tone), self.show(&card.title));
        self.wrap(&title, "", "  ", usize::MAX, text);
        for line in &card.lines {
            self.wrap(&self.show(line), "  ", "  ", usize::MAX, text);
        }
    }

    fn sign(&self, tone: Tone) -> &'static str {
        if self.is_plain { tone.ascii() } else { tone.sign() }
    }

    fn show(&self, phrase: &Phrase) -> String {
        phrase
            .0
            .iter()
            .map(|span| match span {
                Inline::Words(words) | Inline::Strong(words) => self.own(words),
                Inline::Alarm(word) => (*word).to_owned(),
                Inline::Data(text) | Inline::Code(text) | Inline::Link(text) => text.clone(),
            })
            .collect()
    }

    /// The program's own words, in ASCII if need be.
    fn own(&self, words: &str) -> String {
        if self.is_plain { words.replace('–', "-").replace('…', "...") } else { words.to_owned() }
    }

    fn mark(&self) -> &'static str {
        if self.is_plain { "..." } else { "…" }
    }

    /// Words in lines, the first behind `start` and the others behind `indent`; what is beyond `most` lines is
    /// cut off.
    fn wrap(&self, words: &str, start: &str, indent: &str, most: usize, text: &mut String) {
        let (start, indent) = if indent.len() * 2 < self.width { (start, indent) } else { ("", "") };
        let mut lines = layout::wrap(words, self.width, start, indent);
        if lines.len() > most {
            lines.truncate(most);
            if let Some(line) = lines.last_mut() {
                let mark = self.mark();
                let end = prefix(line, self.width.saturating_sub(width(mark)));
                line.truncate(end);
                line.push_str(mark);
            }
        }
        for line in lines {
            self.line(&line, text);
        }
    }

    fn line(&self, line: &str, text: &mut String) {
        text.push_str(&line.trim_end().replace(NO_BREAK, " "));
        text.push('\n');
    }

    /// The text, or as much of it as fits with a mark that there is more.
    fn cut(&self, text: &str, room: usize) -> String {
        if width(text) <= room {
            return text.to_owned();
        }
        let mark = self.mark();
        match room.checked_sub(width(mark)) {
            Some(rest) if rest > 0 => format!("{}{mark}", text[..prefix(text, rest)].trim_end()),
            _ => text[..prefix(text, room)].to_owned(),
        }
    }

    fn grid(&self, grid: &Grid, section: &Section, text: &mut String) {
        let shown = self.shown(grid);
        // Tables of a section with the same columns get the same widths, so that the eye finds a figure at one place.
        let alike = section.blocks.iter().filter_map(|block| match block {
            Block::Grid(other) if other.columns == grid.columns => Some(self.shown(other)),
            _ => None,
        });
        let natural = alike.fold(vec![0; grid.columns.len()], |widest: Vec<usize>, other| {
            (0..widest.len()).map(|at| widest[at].max(other.natural(at))).collect()
        });
        let widths = self.lay_out(shown.columns, &natural);
        let drawn: Vec<(usize, usize)> =
            widths.iter().enumerate().filter_map(|(at, width)| Some((at, (*width)?))).collect();
        let columns: Vec<(usize, Side)> =
            drawn.iter().map(|&(at, width)| (width, side(grid.columns[at].align))).collect();
        let write_row = |cell: &dyn Fn(usize, usize) -> Vec<String>, text: &mut String| {
            let cells: Vec<Vec<String>> = drawn.iter().map(|&(at, room)| cell(at, room)).collect();
            draw_row(&cells, &columns).iter().for_each(|line| self.line(line, text));
        };

        write_row(&|at, room| self.fill(grid.columns[at].align, grid.columns[at].title, room), text);
        let across = drawn.iter().map(|(_, width)| width).sum::<usize>() + gaps(drawn.len());
        let rule = self.screen.rule((across + edge(&grid.columns)).min(self.width));
        self.line(&rule, text);

        for (row, source) in shown.rows.iter().zip(&grid.rows) {
            if source.is_total {
                self.line(&rule, text);
            }
            let cell = |at: usize, room: usize| match &source.cells[at] {
                GridCell::Bar(share) => vec![self.bar(*share, room)],
                _ => self.fill(grid.columns[at].align, &row[at], room),
            };
            write_row(&cell, text);
            for (at, column) in grid.columns.iter().enumerate() {
                let is_below = matches!(column.place, Presence::OrBelow(_)) && widths[at].is_none();
                if is_below && !row[at].is_empty() {
                    self.wrap(&format!("{} {}", column.title, row[at]), "  ", "  ", LINES_BELOW, text);
                }
            }
            for phrase in &source.below {
                self.wrap(&self.show(phrase), "  ", "  ", LINES_BELOW, text);
            }
        }
    }

    /// A cell's lines: one where the column cuts what is too long.
    fn fill(&self, align: Align, text: &str, room: usize) -> Vec<String> {
        if align == Align::Broken { break_cell(text, room) } else { vec![self.cut(text, room)] }
    }

    /// All cells as text; bars get theirs when their width is known.
    fn shown<'a>(&self, grid: &'a Grid) -> Shown<'a> {
        let cell = |cell: &GridCell| match cell {
            GridCell::Phrase(phrase) => self.show(phrase),
            GridCell::Absent => self.own("–"),
            GridCell::Bar(_) => String::new(),
            GridCell::Spark(weeks) => self.spark(weeks),
            GridCell::State(tone, word) => format!("{} {word}", self.sign(*tone)),
        };
        let mut rows: Vec<Vec<String>> =
            grid.rows.iter().map(|row| row.cells.iter().map(cell).collect()).collect();
        for (at, column) in grid.columns.iter().enumerate() {
            if column.align == Align::Share {
                align_shares(&mut rows, at);
            }
        }
        Shown { columns: &grid.columns, rows }
    }

    /// A sign for each week: how much of it failed, or that nothing was rated.
    fn spark(&self, weeks: &[(u64, u64)]) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let sign = |&(failed, rated): &(u64, u64)| {
            if rated == 0 {
                return ' ';
            }
            // Any failure shows: a week of one failed run in a thousand is not as good as one of none.
            let eighths = (failed as f64 / rated as f64 * 8.0).ceil().clamp(0.0, 8.0) as usize;
            match (self.is_plain, eighths) {
                (_, 0) => '.',
                (false, eighths) => BARS[eighths - 1],
                (true, eighths) => char::from(b'0' + eighths as u8),
            }
        };
        weeks.iter().map(sign).collect()
    }

    /// The width of each column, or nothing for one that is left out: those that are always there, then rank by
    /// rank those that leave the others enough room. No text is so long that it keeps a whole rank out.
    fn lay_out(&self, columns: &[Column], natural: &[usize]) -> Vec<Option<usize>> {
        let screen = self.width.saturating_sub(edge(columns));
        let least = |at: usize, room: &LeastWidths| match columns[at].align {
            Align::Text => natural[at].min(room.text),
            Align::Broken => natural[at].min(BROKEN),
            Align::Bar => natural[at].min(room.bar),
            Align::Whole | Align::Number | Align::Share | Align::Spark => natural[at],
        };
        let told: Vec<usize> = (0..columns.len()).filter(|&at| natural[at] > 0).collect();
        let mut drawn: Vec<usize> =
            told.iter().copied().filter(|&at| columns[at].place == Presence::Table).collect();
        let mut ranks: Vec<u8> = columns.iter().filter_map(|column| column.place.rank()).collect();
        ranks.sort_unstable();
        ranks.dedup();
        for rank in ranks {
            let is_in = |at: usize| drawn.contains(&at) || columns[at].place.rank() == Some(rank);
            let with: Vec<usize> = told.iter().copied().filter(|&at| is_in(at)).collect();
            let room = if rank <= 1 { &TIGHT } else { &COMFORTABLE };
            if with.iter().map(|&at| least(at, room)).sum::<usize>() + gaps(with.len()) <= screen {
                drawn = with;
            }
        }

        let extents: Vec<Extent> = drawn
            .iter()
            .map(|&at| Extent {
                natural: natural[at],
                least: least(at, &NARROW),
                gives_way: matches!(columns[at].align, Align::Text | Align::Broken | Align::Bar),
            })
            .collect();
        let mut fitted = fit(&extents, screen);
        // A number that is broken over lines would be read as two: such a table is wider than a very narrow screen.
        if edge(columns) == 0 {
            shrink(&mut fitted, screen.saturating_sub(gaps(drawn.len())));
        }
        let mut widths = vec![None; columns.len()];
        drawn.iter().zip(fitted).for_each(|(&at, width)| widths[at] = Some(width));
        widths
    }

    fn bar(&self, share: f64, room: usize) -> String {
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        if self.is_plain {
            return "#".repeat((share * room as f64).round() as usize);
        }
        let eighths = (share * room as f64 * 8.0).round() as usize;
        let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
        "█".repeat(eighths / 8) + part
    }
}

/// The rule of a table that is broken over lines is longer than its columns by this, as it has been since the first
/// version.
fn edge(columns: &[Column]) -> usize {
    usize::from(columns.iter().any(|column| column.align == Align::Broken))
}

fn side(align: Align) -> Side {
    match align {
        Align::Text | Align::Broken | Align::Whole | Align::Bar | Align::Spark => Side::Start,
        Align::Number | Align::Share => Side::End,
    }
}

/// Takes what is too much off the widest columns.
fn shrink(widths: &mut [usize], room: usize) {
    for _ in room..widths.iter().sum() {
        if let Some(widest) = widths.iter_mut().max_by_key(|width| **width) {
            *widest = widest.saturating_sub(1);
        }
    }
}

/// A grid's cells as text.
struct Shown<'a> {
    columns: &'a [Column],
    rows: Vec<Vec<String>>,
}

impl Shown<'_> {
    fn natural(&self, at: usize) -> usize {
        let column = &self.columns[at];
        let cells = self.rows.iter().map(|row| width(&row[at])).max().unwrap_or(0);
        let least = if column.align == Align::Bar { LONG_BAR } else { 0 };
        width(column.title).max(cells).max(least)
    }
}

/// Pads what stands after the `of`, so that it stands below the others.
fn align_shares(rows: &mut [Vec<String>], at: usize) {
    const OF: &str = "\u{a0}of\u{a0}";
    let whole = |row: &Vec<String>| row[at].split_once(OF).map(|(_, whole)| width(whole));
    let widest = rows.iter().filter_map(whole).max().unwrap_or(0);
    for row in rows {
        if let Some((part, whole)) = row[at].split_once(OF) {
            row[at] = format!("{part}{OF}{}{whole}", " ".repeat(widest.saturating_sub(width(whole))));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::render::{pages, sample};
    use crate::report::figures::Report;

    fn render(report: &Report, screen: Screen) -> String {
        pages::report::document(report).to_text(screen)
    }

    const PIPE: Screen = Screen { width: 80, is_terminal: false };

    fn widest(text: &str) -> usize {
        text.lines().map(width).max().unwrap_or(0)
    }

    #[test]
    fn a_pipe_of_80_columns() {
        insta::assert_snapshot!(render(&sample::rich(), PIPE));
    }

    #[test]
    fn a_terminal_of_120_columns() {
        insta::assert_snapshot!(render(&sample::rich(), Screen { width: 120, is_terminal: true }));
    }

    #[test]
    fn long_lists_are_cut_and_say_where_the_rest_is() {
        let text = render(&sample::long(), PIPE);
        assert!(text.lines().count() < 320, "{}", text.lines().count());
        for expected in [
            "... and 85 more (archive query failure-rates)",
            "... and 94 more (archive query error-changes)",
            "... and 4,319 more (archive query masked-failures)",
            "... and 85 more (archive query coverage)",
            "... and 95 more (archive query gaps)",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        assert_eq!(widest(&text), 80);
    }

    #[test]
    fn an_empty_archive_has_no_numbers() {
        insta::assert_snapshot!(render(&sample::empty(), PIPE));
    }

    #[test]
    fn a_period_without_runs() {
        insta::assert_snapshot!(render(&sample::without_runs(), PIPE));
    }

    #[test]
    fn a_connection_with_only_unfinished_runs_has_no_rate() {
        insta::assert_snapshot!(render(&sample::only_unfinished(), PIPE));
    }

    #[test]
    fn a_pipe_gets_ascii_around_the_text_of_the_data() {
        let mut number = 0;
        let report = sample::with_texts(|| {
            number += 1;
            format!("text {number}")
        });
        assert!(render(&report, PIPE).is_ascii());
        assert!(!render(&report, Screen { is_terminal: true, ..PIPE }).is_ascii());
    }

    #[test]
    fn a_megabyte_of_text_is_cut() {
        for text in ["x".repeat(1 << 20), "x y ".repeat(1 << 18), "e\u{301}".repeat(1 << 19)] {
            let report = sample::with_texts(|| text.clone());
            let shown = render(&report, PIPE);
            assert!(shown.len() < 100_000, "{}", shown.len());
            assert!(widest(&shown) <= 80);
        }
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_screen(seed: u64, columns in 40_u16..200, is_terminal: bool) {
            let text = render(&sample::any(seed), Screen { width: columns, is_terminal });
            for line in text.lines() {
                prop_assert!(width(line) <= usize::from(columns), "{} in {columns}: {line:?}", width(line));
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
                prop_assert_eq!(crate::render::clean(line), line);
            }
        }

        #[test]
        fn not_even_a_screen_of_no_width_is_too_narrow(seed: u64, width in 0_u16..40) {
            render(&sample::any(seed), Screen { width, is_terminal: true });
        }
    }
}
