//! A document as every format lays it out: sections of sentences and tables.

use crate::render::clean;
use crate::render::wording::NO_BREAK;

/// Characters of a text from data that a report shows: a name of a megabyte would hide everything else.
const LONGEST: usize = 200;

/// A part of a sentence or cell.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::render) enum Inline {
    /// The program's own: may hold `–` and `…`, and no sign that marks something up.
    Words(String),
    /// The program's own, to be noticed.
    Strong(String),
    /// The program's own, of what became worse or is new; alone in its cell.
    Alarm(&'static str),
    Data(String),
    /// A name for machines, such as an id or an error's code; from data, too.
    Code(String),
    /// An https link of plain characters.
    Link(String),
}

/// A sentence, a part of one, or a cell.
#[derive(Debug, Default, Clone, PartialEq)]
pub(in crate::render) struct Phrase(pub(in crate::render) Vec<Inline>);

impl Phrase {
    pub(in crate::render) fn words(mut self, words: impl Into<String>) -> Self {
        self.0.push(Inline::Words(words.into()));
        self
    }

    /// The program's own words, to be noticed.
    pub(in crate::render) fn strong(mut self, words: impl Into<String>) -> Self {
        self.0.push(Inline::Strong(words.into()));
        self
    }

    /// A word of the program's own for what became worse or is new.
    pub(in crate::render) fn alarm(word: &'static str) -> Self {
        Self(vec![Inline::Alarm(word)])
    }

    /// Text from data, however long, as it stands once it is cleaned.
    pub(in crate::render) fn whole(mut self, text: &str) -> Self {
        self.0.push(Inline::Data(clean(text).into_owned()));
        self
    }
    pub(in crate::render) fn data(self, text: &str) -> Self {
        self.foreign(text, Inline::Data)
    }
    /// Text from data, where there is no room for more than so many characters.
    pub(in crate::render) fn short_data(self, text: &str, most: usize) -> Self {
        let cleaned = clean(text);
        match cleaned.trim().char_indices().nth(most) {
            Some((end, _)) => self.data(cleaned.trim()[..end].trim_end()).words("…"),
            None => self.data(&cleaned),
        }
    }
    pub(in crate::render) fn code(self, text: &str) -> Self {
        self.foreign(text, Inline::Code)
    }

    /// A link where it is a plain https one; the text of it otherwise.
    pub(in crate::render) fn link(self, text: &str) -> Self {
        self.foreign(text, |text| if is_plain_link(&text) { Inline::Link(text) } else { Inline::Data(text) })
    }

    /// What there is to read, without marks and with plain spaces.
    pub(in crate::render) fn to_plain_text(&self) -> String {
        let text = |span: &Inline| match span {
            Inline::Words(text)
            | Inline::Strong(text)
            | Inline::Data(text)
            | Inline::Code(text)
            | Inline::Link(text) => text.clone(),
            Inline::Alarm(word) => (*word).to_owned(),
        };
        self.0.iter().map(text).collect::<String>().replace(NO_BREAK, " ")
    }

    /// Whether there is nothing to read.
    pub(in crate::render) fn is_blank(&self) -> bool {
        self.0.iter().all(|span| matches!(span, Inline::Words(words) if words.is_empty()))
    }

    fn foreign(mut self, text: &str, make: impl Fn(String) -> Inline) -> Self {
        let text = clean(text);
        let text = text.trim();
        if text.is_empty() {
            return self.words("(blank)");
        }
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => {
                self.0.push(Inline::Data(text[..end].to_owned()));
                self.0.push(Inline::Words("…".to_owned()));
            }
            None => self.0.push(make(text.to_owned())),
        }
        self
    }

    /// Several, with a comma between two.
    pub(in crate::render) fn list(self, phrases: impl IntoIterator<Item = Self>) -> Self {
        phrases.into_iter().enumerate().fold(self, |whole, (place, phrase)| {
            let whole = if place > 0 { whole.words(", ") } else { whole };
            whole.and(phrase)
        })
    }
    pub(in crate::render) fn and(mut self, that: Self) -> Self {
        self.0.extend(that.0);
        self
    }
}

impl From<&str> for Phrase {
    fn from(words: &str) -> Self {
        Self::default().words(words)
    }
}

impl From<String> for Phrase {
    fn from(words: String) -> Self {
        Self::default().words(words)
    }
}

/// Whether a link can stand between `<` and `>` and says where it goes: no user before the host.
fn is_plain_link(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#&=%+,;".contains(c);
    text.strip_prefix("https://").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        && text.chars().all(is_plain)
}

/// What stands in a table's cell.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::render) enum GridCell {
    /// A text; may be empty.
    Phrase(Phrase),
    /// A figure that cannot be told.
    Absent,
    /// A bar, from 0 to 1.
    Bar(f64),
    /// Weeks, each failed of rated.
    Spark(Vec<(u64, u64)>),
    /// A state: its sign and its word.
    State(Tone, &'static str),
}

/// How much something concerns the reader: told by a sign and a word, and by colour where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::render) enum Tone {
    /// To be fixed by the reader.
    Act,
    /// To be looked into.
    Look,
    /// To be fixed by somebody else.
    Wait,
    /// Not known.
    Unsure,
    /// It is over.
    Over,
    /// Nothing.
    Fine,
    /// Not good, and no news.
    Usual,
}

impl Tone {
    /// Its sign.
    pub(in crate::render) fn sign(self) -> &'static str {
        match self {
            Self::Act => "✖",
            Self::Look | Self::Unsure => "?",
            Self::Wait => "◷",
            Self::Over | Self::Fine => "✓",
            Self::Usual => "·",
        }
    }

    /// Its sign where there is nothing but ASCII.
    pub(in crate::render) fn ascii(self) -> &'static str {
        match self {
            Self::Act => "!",
            Self::Look | Self::Unsure => "?",
            Self::Wait => "~",
            Self::Over | Self::Fine => "+",
            Self::Usual => ".",
        }
    }

    /// Its name, of a class of the page.
    pub(in crate::render) fn name(self) -> &'static str {
        match self {
            Self::Act => "act",
            Self::Look => "look",
            Self::Wait => "wait",
            Self::Unsure => "unsure",
            Self::Over => "over",
            Self::Fine => "fine",
            Self::Usual => "usual",
        }
    }
}

/// Something that is told by itself, with what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::render) struct Card {
    pub(in crate::render) tone: Tone,
    pub(in crate::render) title: Phrase,
    pub(in crate::render) lines: Vec<Phrase>,
}

impl<T: Into<Phrase>> From<T> for GridCell {
    fn from(phrase: T) -> Self {
        Self::Phrase(phrase.into())
    }
}

impl From<Option<String>> for GridCell {
    fn from(words: Option<String>) -> Self {
        words.map_or(Self::Absent, Self::from)
    }
}

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::render) enum Align {
    /// At its start; cut where it is narrow.
    Text,
    /// At its start; goes on in a line below where it is narrow, so that all of it is there.
    Broken,
    /// At its start, and cut only where nothing else helps: half an id finds nothing.
    Whole,
    Number,
    /// `12 of 78`: at the `of`.
    Share,
    /// A bar that takes what room there is.
    Bar,
    /// A sign for each week.
    Spark,
}

/// Where a column stands if there is little room. Columns of one rank come and go together, the smaller
/// ranks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::render) enum Presence {
    Table,
    /// In the table if there is room, or not at all.
    IfRoom(u8),
    /// In the table if there is room, or in a line below the row.
    OrBelow(u8),
}

impl Presence {
    pub(in crate::render) fn rank(self) -> Option<u8> {
        match self {
            Self::Table => None,
            Self::IfRoom(rank) | Self::OrBelow(rank) => Some(rank),
        }
    }
}
#[derive(Debug, Clone, PartialEq)]
pub(in crate::render) struct Column {
    pub(in crate::render) title: &'static str,
    pub(in crate::render) align: Align,
    pub(in crate::render) place: Presence,
}
#[derive(Debug, Default, Clone, PartialEq)]
pub(in crate::render) struct Row {
    pub(in crate::render) cells: Vec<GridCell>,
    /// What is too long for a cell: lines below the row, or a list below the table.
    pub(in crate::render) below: Vec<Phrase>,
    pub(in crate::render) is_total: bool,
}
#[derive(Debug, Default, Clone, PartialEq)]
pub(in crate::render) struct Grid {
    pub(in crate::render) columns: Vec<Column>,
    pub(in crate::render) rows: Vec<Row>,
}

impl Grid {
    pub(in crate::render) fn column(mut self, title: &'static str, align: Align, place: Presence) -> Self {
        self.columns.push(Column { title, align, place });
        self
    }
    pub(in crate::render) fn row(&mut self, cells: Vec<GridCell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(Row { cells, ..Row::default() });
    }
}

/// A part of a section, from the top.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::render) enum Block {
    /// What all of it comes to, in a sentence.
    Verdict(String),
    /// Whether there is anything to do: a sign, a word and what it is.
    Headline(Tone, &'static str, Phrase),
    Card(Card),
    Heading(&'static str),
    /// A sentence or a few.
    Paragraph(Phrase),
    Item(Phrase),
    /// A line, however long: people pick it out with `grep`.
    Line(Phrase),
    /// A word and what it means.
    Term(&'static str, String),
    /// Commands that may be typed as they stand.
    Commands(Vec<String>),
    Grid(Grid),
}

/// What a section is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::render) enum Topic {
    /// What stands without a title: the top of a report, or all that a short document says.
    Summary,
    Incidents,
    Connections,
    Changes,
    Rates,
    Failing,
    Errors,
    Durations,
    Retries,
    Slowest,
    Unfinished,
    Masked,
    Trend,
    Coverage,
}

impl Topic {
    pub(in crate::render) fn title(self) -> Option<&'static str> {
        Some(match self {
            Self::Summary => return None,
            Self::Incidents => "Incidents",
            Self::Connections => "Connections",
            Self::Changes => "What changed",
            Self::Rates => "Failure rates by connection",
            Self::Failing => "Failing now",
            Self::Errors => "Errors by who can act",
            Self::Durations => "Durations",
            Self::Retries => "Retries",
            Self::Slowest => "Slowest runs",
            Self::Unfinished => "Unfinished runs",
            Self::Masked => "Masked failures",
            Self::Trend => "Weekly trend",
            Self::Coverage => "What the numbers stand on",
        })
    }
}

/// A part of a document.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::render) struct Section {
    pub(in crate::render) topic: Topic,
    pub(in crate::render) blocks: Vec<Block>,
}

impl Section {
    pub(in crate::render) fn new(topic: Topic) -> Self {
        Self { topic, blocks: Vec::new() }
    }
    pub(in crate::render) fn verdict(&mut self, sentence: String) {
        self.blocks.push(Block::Verdict(sentence));
    }
    pub(in crate::render) fn headline(&mut self, tone: Tone, word: &'static str, what: Phrase) {
        self.blocks.push(Block::Headline(tone, word, what));
    }
    pub(in crate::render) fn card(&mut self, card: Card) {
        self.blocks.push(Block::Card(card));
    }
    pub(in crate::render) fn heading(&mut self, heading: &'static str) {
        self.blocks.push(Block::Heading(heading));
    }
    pub(in crate::render) fn say(&mut self, phrase: impl Into<Phrase>) {
        self.blocks.push(Block::Paragraph(phrase.into()));
    }
    pub(in crate::render) fn item(&mut self, phrase: impl Into<Phrase>) {
        self.blocks.push(Block::Item(phrase.into()));
    }
    pub(in crate::render) fn line(&mut self, phrase: impl Into<Phrase>) {
        self.blocks.push(Block::Line(phrase.into()));
    }
    pub(in crate::render) fn term(&mut self, word: &'static str, meaning: impl Into<String>) {
        self.blocks.push(Block::Term(word, meaning.into()));
    }

    /// A table more, without the columns that can tell nothing.
    pub(in crate::render) fn grid(&mut self, mut grid: Grid) {
        let is_told = |at: usize| {
            grid.columns[at].place == Presence::Table
                || grid.rows.iter().any(|row| row.cells[at] != GridCell::Absent)
        };
        let is_told: Vec<bool> = (0..grid.columns.len()).map(is_told).collect();
        let keep = || is_told.iter().copied();
        let (mut of_columns, rows) = (keep(), &mut grid.rows);
        grid.columns.retain(|_| of_columns.next() == Some(true));
        for row in rows {
            let mut of_cells = keep();
            row.cells.retain(|_| of_cells.next() == Some(true));
        }
        self.blocks.push(Block::Grid(grid));
    }
}

/// Sections, from the top; a page of a report, or the few lines of a command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document(pub(in crate::render) Vec<Section>);

impl From<Section> for Document {
    fn from(section: Section) -> Self {
        Self(vec![section])
    }
}
