//! A document as GitHub-flavoured Markdown, for an issue, a wiki, a mail or a chat.
//!
//! In: sections. Out: headings, sentences, lists and tables, without HTML. What comes from data
//! goes through [`escape_markdown`], or into a code span where it is a plain name, and never begins a line.

use super::{Align, Block, Document, Grid, GridCell, Inline, Phrase, Section};
use crate::render::clean::escape_markdown;
use crate::render::wording::NO_BREAK;

/// Signs of the longest bar.
const LONG_BAR: f64 = 12.0;

pub(super) fn render(document: &Document) -> String {
    let mut text = String::new();
    document.0.iter().for_each(|section| write_section(section, &mut text));
    text
}

fn write_section(section: &Section, text: &mut String) {
    if let Some(title) = section.topic.title() {
        start_block(text);
        text.push_str(&format!("## {title}\n"));
    }
    let mut is_in_list = false;
    for block in &section.blocks {
        let is_item = matches!(block, Block::Item(_) | Block::Line(_) | Block::Term(..));
        if !(is_item && is_in_list) {
            start_block(text);
        }
        is_in_list = is_item;
        match block {
            Block::Heading(heading) => text.push_str(&format!("### {heading}\n")),
            Block::Verdict(words) => text.push_str(&format!("**{}**\n", unglued(&escape_markdown(words)))),
            Block::Headline(tone, word, what) => {
                text.push_str(&format!("**{} {word}:** {}\n", tone.sign(), sentence(what)));
            }
            Block::Card(card) => {
                text.push_str(&format!("### {} {}\n\n", card.tone.sign(), sentence(&card.title)));
                card.lines.iter().for_each(|line| text.push_str(&format!("- {}\n", sentence(line))));
            }
            Block::Paragraph(phrase) => text.push_str(&format!("{}\n", sentence(phrase))),
            Block::Item(phrase) | Block::Line(phrase) => text.push_str(&format!("- {}\n", sentence(phrase))),
            Block::Term(word, meaning) => text.push_str(&format!("- **{word}**: {}\n", unglued(meaning))),
            Block::Commands(commands) => {
                commands.iter().for_each(|command| text.push_str(&format!("    {command}\n")));
            }
            Block::Grid(grid) => write_grid(grid, text),
        }
    }
}

fn start_block(text: &mut String) {
    if !text.is_empty() {
        text.push('\n');
    }
}

fn write_grid(grid: &Grid, text: &mut String) {
    let rows: Vec<Vec<String>> =
        grid.rows.iter().map(|row| row.cells.iter().map(show_cell).collect()).collect();
    let is_blank = |at: usize| grid.columns[at].title.is_empty() && rows.iter().all(|row| row[at].is_empty());
    let drawn: Vec<usize> = (0..grid.columns.len()).filter(|&at| !is_blank(at)).collect();
    let mut line = |cell: &dyn Fn(usize) -> String| {
        let cells: Vec<String> = drawn.iter().map(|&at| cell(at)).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    };
    line(&|at| grid.columns[at].title.to_owned());
    line(&|at| dashes(grid.columns[at].align).to_owned());
    for row in &rows {
        line(&|at| row[at].clone());
    }
    let explained = grid.rows.iter().filter(|row| !row.below.is_empty());
    for (number, row) in explained.enumerate() {
        let below: Vec<String> = row.below.iter().map(show).collect();
        let name = row.cells.first().map(show_cell).unwrap_or_default();
        let blank = if number == 0 { "\n" } else { "" };
        text.push_str(&format!("{blank}- **{name}**: {}\n", below.join(" ")));
    }
}

fn dashes(align: Align) -> &'static str {
    match align {
        Align::Text | Align::Broken | Align::Whole | Align::Bar | Align::Spark => ":---",
        Align::Number | Align::Share => "---:",
    }
}

fn show_cell(cell: &GridCell) -> String {
    match cell {
        GridCell::Phrase(phrase) => show(phrase),
        GridCell::Absent => "–".to_owned(),
        GridCell::Spark(weeks) => weeks.iter().map(spark).collect(),
        GridCell::State(tone, word) => format!("{} {word}", tone.sign()),
        // A share that is no number becomes no bar.
        GridCell::Bar(share) => "█".repeat((share.clamp(0.0, 1.0) * LONG_BAR).round() as usize),
    }
}

/// A week: how much of it failed, in eighths; nothing where nothing was rated.
fn spark(&(failed, rated): &(u64, u64)) -> char {
    const BARS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    match rated {
        0 => '\u{2007}',
        _ => BARS[(failed as f64 / rated as f64 * 8.0).ceil().clamp(0.0, 8.0) as usize],
    }
}

fn sentence(phrase: &Phrase) -> String {
    unglued(&show(phrase))
}

/// Only in a narrow cell does a number need to be held to its unit.
fn unglued(text: &str) -> String {
    text.replace(NO_BREAK, " ")
}

fn show(phrase: &Phrase) -> String {
    let show = |span: &Inline| match span {
        Inline::Words(words) => words.clone(),
        Inline::Alarm(word) => (*word).to_owned(),
        Inline::Strong(words) => format!("**{}**", escape_markdown(words)),
        Inline::Data(text) => escape_markdown(text),
        Inline::Code(text) if is_plain_name(text) => format!("`{text}`"),
        Inline::Code(text) => escape_markdown(text),
        Inline::Link(link) => format!("<{link}>"),
    };
    phrase.0.iter().map(show).collect()
}

/// Whether a name says the same in a code span, in a table and outside: no backtick, no bar.
fn is_plain_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/ ".contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};

    use crate::render::{clean, pages, sample};
    use crate::report::figures::Report;

    fn render(report: &Report) -> String {
        pages::report::document(report).to_markdown()
    }

    fn read(text: &str) -> impl Iterator<Item = Event<'_>> {
        Parser::new_ext(text, Options::all().difference(Options::ENABLE_SMART_PUNCTUATION))
    }

    /// Whether this is one of the marks that the report sets itself.
    fn is_own(event: &Event<'_>) -> bool {
        match event {
            Event::Start(Tag::Link { link_type, dest_url, .. }) => {
                *link_type == LinkType::Autolink && dest_url.starts_with("https://")
            }
            Event::Start(tag) => matches!(
                tag,
                Tag::Paragraph
                    | Tag::Heading { .. }
                    | Tag::List(None)
                    | Tag::Item
                    | Tag::Strong
                    | Tag::Table(_)
                    | Tag::TableHead
                    | Tag::TableRow
                    | Tag::TableCell
            ),
            Event::End(_) | Event::Text(_) | Event::Code(_) => true,
            _ => false,
        }
    }

    /// What a reader sees of each cell, item and paragraph.
    fn seen(text: &str) -> Vec<String> {
        let mut seen = vec![String::new()];
        for event in read(text) {
            match event {
                Event::Text(text) | Event::Code(text) => {
                    if let Some(last) = seen.last_mut() {
                        last.push_str(&text);
                    }
                }
                Event::End(TagEnd::TableCell | TagEnd::Item | TagEnd::Paragraph) => seen.push(String::new()),
                _ => {}
            }
        }
        seen
    }

    #[test]
    fn a_page_of_markdown() {
        insta::assert_snapshot!(render(&sample::rich()));
    }

    #[test]
    fn poor_reports_read_well() {
        insta::assert_snapshot!(
            [sample::empty(), sample::without_runs(), sample::only_unfinished()]
                .map(|report| render(&report))
                .join("\n=====\n\n")
        );
    }

    #[test]
    fn the_headings_are_the_sections() {
        let text = render(&sample::rich());
        let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let expected = [
            "Incidents",
            "Connections",
            "What changed",
            "Failure rates by connection",
            "Failing now",
            "Errors by who can act",
            "Durations",
            "Retries",
            "Slowest runs",
            "Unfinished runs",
            "Masked failures",
            "Weekly trend",
            "What the numbers stand on",
        ];
        assert_eq!(headings, expected);
    }

    #[test]
    fn only_a_plain_https_link_is_one() {
        let mut report = sample::rich();
        let links = |report: &Report| {
            let text = render(report);
            let is_link = |event: &Event<'_>| matches!(event, Event::Start(Tag::Link { .. }));
            read(&text).filter(is_link).count()
        };
        // Of the list of errors, and of the incident that one of them is the cause of.
        assert_eq!(links(&report), 2);
        report.incidents.clear();
        for link in [
            "http://a.example",
            "javascript:alert(1)",
            "https://u@evil.example/",
            "https://a|b",
            "https://a b",
        ] {
            report.errors.users[0].kb_article_link = Some(link.into());
            assert_eq!(links(&report), 0, "{link}");
        }
    }

    #[test]
    fn a_megabyte_of_text_is_cut() {
        let text = render(&sample::with_texts(|| "*".repeat(1 << 20)));
        assert!(text.len() < 200_000, "{}", text.len());
    }

    #[test]
    fn hostile_text_is_shown_as_it_is() {
        for hostile in sample::HOSTILE.iter().filter(|text| !clean(text).trim().is_empty()) {
            let text = render(&sample::with_texts(|| (*hostile).to_owned()));
            let expected = clean(hostile).trim().replace("  ", " ");
            // Names stand in cells of their own; the joiner that breaks up a mention is not seen.
            let cells: Vec<String> = seen(&text).iter().map(|cell| cell.replace('\u{2060}', "")).collect();
            let found = cells.iter().filter(|cell| cell.replace("  ", " ") == expected).count();
            assert!(found > 10, "{hostile:?}: {found}\n{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_from_data_is_markup(seed: u64) {
            let text = render(&sample::any(seed));
            for event in read(&text) {
                prop_assert!(is_own(&event), "{event:?}\n{text}");
            }
            let is_plain = |c: char| c == '\n' || c == '\u{2060}' || clean(c.encode_utf8(&mut [0; 4])) == c.to_string();
            prop_assert!(text.chars().all(is_plain));
        }

        #[test]
        fn every_row_of_a_table_has_as_many_cells(seed: u64) {
            let text = render(&sample::any(seed));
            let (mut columns, mut cells) = (0, 0);
            for event in read(&text) {
                match event {
                    Event::Start(Tag::Table(alignments)) => columns = alignments.len(),
                    Event::Start(Tag::TableHead | Tag::TableRow) => cells = 0,
                    Event::Start(Tag::TableCell) => cells += 1,
                    Event::End(TagEnd::TableHead | TagEnd::TableRow) => prop_assert_eq!(cells, columns),
                    _ => {}
                }
            }
            // The parser forgives a row that is too long; a line does not.
            let mut bars = 0;
            for line in text.lines() {
                let mut is_escaped = false;
                let mut unescaped = 0;
                for c in line.chars() {
                    unescaped += usize::from(c == '|' && !is_escaped);
                    is_escaped = c == '\\' && !is_escaped;
                }
                if line.starts_with('|') {
                    prop_assert!(bars == 0 || bars == unescaped, "{}", line);
                    bars = unescaped;
                } else {
                    prop_assert_eq!(unescaped, 0, "{}", line);
                    bars = 0;
                }
            }
        }
    }
}
