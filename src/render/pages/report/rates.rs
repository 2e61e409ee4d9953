//! Failure rates by connection, connections that fail now, and the weekly trend.

use super::lists::{CONNECTIONS, beyond, more};
use crate::render::document::Align::{Bar, Number, Share, Text, Whole};
use crate::render::document::Presence::{IfRoom, Table};
use crate::render::document::{Grid, GridCell, Phrase, Row, Section, Topic};
use crate::render::render_count;
use crate::render::wording::{self, counted, duration, moment, percent, share};
use crate::report::figures::{ComparedRate, Direction, Rate, Report};

/// What is shown beside a rate and not counted in it, and how it is read.
type Uncounted = (&'static str, fn(&Rate) -> u64);

const UNCOUNTED: [Uncounted; 4] = [
    ("unfinished", |rate| rate.unfinished),
    ("canceled", |rate| rate.canceled),
    ("skipped", |rate| rate.skipped),
    ("undetermined", |rate| rate.undetermined),
];

pub(super) fn rates(report: &Report) -> Section {
    let mut section = Section::new(Topic::Rates);
    let total = &report.total;
    // Runs that no rate counts have a column each, but only where there are such runs: in most reports there
    // are none.
    let uncounted: Vec<Uncounted> = UNCOUNTED.into_iter().filter(|(_, of)| of(&total.now) > 0).collect();
    let has_partly = total.now.partly_succeeded > 0;
    // How many failed of how many stands in the table of connections above, where there is one.
    let has_failed = report.states.is_empty();
    let mut grid = Grid::default().column("connection", Text, Table);
    if has_failed {
        grid = grid.column("failed", Share, Table);
    }
    grid = grid
        .column("rate", Number, Table)
        .column("95% interval", Number, IfRoom(1))
        .column("before", Number, IfRoom(2))
        .column("change", Number, IfRoom(0))
        .column("", Text, IfRoom(0));
    if has_partly {
        grid = grid.column("partly succeeded", Number, IfRoom(8));
    }
    for (rank, (title, _)) in (3..).zip(&uncounted) {
        grid = grid.column(title, Number, IfRoom(rank));
    }
    let cells = |name: Phrase, rate: &ComparedRate| {
        let now = &rate.now;
        let mut cells = compared_cells(name, rate);
        if !has_failed {
            cells.remove(1);
        }
        if has_partly {
            cells.push(render_count(now.partly_succeeded).into());
        }
        cells.extend(uncounted.iter().map(|(_, of)| render_count(of(now)).into()));
        cells
    };
    for connection in report.connections.iter().take(CONNECTIONS) {
        grid.row(cells(Phrase::default().data(&connection.connection), &connection.rate));
    }
    if report.connections.len() != 1 {
        let cells = cells(Phrase::default().strong("all connections"), total);
        grid.rows.push(Row { cells, is_total: true, ..Row::default() });
    }
    let shown = report.connections.iter().take(CONNECTIONS).map(|connection| &connection.rate);
    let is_unsupported = |rate: &ComparedRate| {
        rate.difference.is_some() && !matches!(rate.direction, Direction::Better | Direction::Worse)
    };
    let has_unsupported = shown.chain([total]).any(is_unsupported);
    section.grid(grid);
    more(&mut section, beyond(report.connections.len(), CONNECTIONS), "failure-rates");
    let mut notes = Vec::new();
    if !uncounted.is_empty() {
        let each = uncounted.iter().map(|(title, of)| format!("{} {title}", render_count(of(&total.now))));
        notes.push(format!("Not counted in a rate: {}.", each.collect::<Vec<_>>().join(", ")));
    }
    if has_unsupported {
        notes.push("A change in parentheses is not supported by a test.".to_owned());
    }
    if !notes.is_empty() {
        section.say(notes.join(" "));
    }
    section
}

/// A rate beside the one before, in the columns that every table of rates has.
fn compared_cells(name: Phrase, rate: &ComparedRate) -> Vec<GridCell> {
    vec![
        GridCell::Phrase(name),
        failed_of_rated(&rate.now).into(),
        rate.now.failure_rate.map(percent).into(),
        rate.now.interval.map(wording::interval).into(),
        rate.before.failure_rate.map(percent).into(),
        wording::change(rate).into(),
        describe_direction(rate.direction).into(),
    ]
}

/// `4 of 19`, or why there is no share.
fn failed_of_rated(rate: &Rate) -> String {
    match (rate.rated, rate.runs) {
        (0, 0) => "no run".to_owned(),
        (0, _) => "none rated".to_owned(),
        (rated, _) => share(rate.failed, rated),
    }
}

fn describe_direction(direction: Direction) -> Phrase {
    let word = wording::direction(direction);
    if direction == Direction::Worse { Phrase::alarm(word) } else { word.into() }
}

/// Absent where there is nothing to say.
pub(super) fn failing(report: &Report) -> Option<Section> {
    let failing = &report.failing;
    let mut section = Section::new(Topic::Failing);
    if !failing.streaks.is_empty() {
        let mut grid = Grid::default()
            .column("connection", Text, Table)
            .column("in a row", Number, Table)
            .column("since", Whole, Table)
            .column("last success", Whole, IfRoom(0))
            .column("ago", Number, IfRoom(1));
        for streak in failing.streaks.iter().take(CONNECTIONS) {
            let at = |time| moment(&time, &report.zone, &report.as_of);
            grid.row(vec![
                Phrase::default().data(&streak.connection).into(),
                render_count(streak.failures).into(),
                streak.failing_since.map(at).into(),
                streak.last_success_at.map_or_else(|| "never".to_owned(), at).into(),
                streak.since_last_success_ms.map(duration).into(),
            ]);
        }
        section.grid(grid);
        more(&mut section, beyond(failing.streaks.len(), CONNECTIONS), "failing-streaks");
    // Said only where something was rated: without a rated run nothing is known of the connections.
    } else if report.total.now.rated > 0 {
        section.say("No connection: the newest rated run of each succeeded.");
    }
    if failing.recoveries > 0 {
        let after =
            failing.mean_time_to_recovery_ms.map(|mean| format!(", on average after {}", duration(mean)));
        section.say(format!(
            "{} from failure to success in this period{}.",
            match failing.recoveries {
                1 => "1 recovery".to_owned(),
                many => format!("{} recoveries", render_count(many)),
            },
            after.unwrap_or_default()
        ));
    }
    (!section.blocks.is_empty()).then_some(section)
}

pub(super) fn trend(report: &Report) -> Section {
    let mut section = Section::new(Topic::Trend);
    let weeks = counted(report.weeks.len() as u64, "week");
    if report.weeks.iter().all(|week| week.rate.runs == 0) {
        section.say(format!("No run started in the {weeks} that end with this period."));
        return section;
    }
    if report.weeks.iter().all(|week| week.rate.rated == 0) {
        section.say(format!("No run of the {weeks} that end with this period can be rated."));
        return section;
    }
    let mut grid = Grid::default()
        .column("week from", Whole, Table)
        .column("failed", Share, Table)
        .column("rate", Number, Table)
        .column("", Bar, IfRoom(0))
        .column("95% interval", Number, IfRoom(2))
        .column("median run", Number, IfRoom(1))
        .column("p95 run", Number, IfRoom(3));
    // The worst week has the longest bar; where nothing failed there is none.
    let most = report.weeks.iter().filter_map(|week| week.rate.failure_rate).fold(0.0, f64::max);
    for week in &report.weeks {
        let rate = &week.rate;
        let bar = rate.failure_rate.filter(|_| most > 0.0).map(|rate| rate / most);
        grid.row(vec![
            wording::day(&week.period.since, &report.zone, &report.as_of).into(),
            failed_of_rated(rate).into(),
            rate.failure_rate.map(percent).into(),
            bar.map_or_else(|| "".into(), GridCell::Bar),
            rate.interval.map(wording::interval).into(),
            week.durations.map(|durations| duration(durations.p50_ms)).into(),
            week.durations.map(|durations| duration(durations.p95_ms)).into(),
        ]);
    }
    section.grid(grid);
    section
}
