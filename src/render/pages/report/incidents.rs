//! What is wrong, incident by incident, and whether there is anything to do.

use super::lists::{INCIDENTS, beyond, more};
use crate::render::document::{Card, Phrase, Section, Tone, Topic};
use crate::render::render_count;
use crate::render::wording::{self, counted, duration, error_names, moment, relative, share};
use crate::report::figures::{Actor, Attention, Incident, Kind, Report, RunAt};

/// Characters of a name in the headline, which has two lines.
const HEADLINE_NAME: usize = 40;
/// Connections that an incident of many names.
const NAMED: usize = 3;

/// What there is to do, in at most two lines; nothing where nothing is archived.
pub(super) fn headline(report: &Report) -> Option<Phrase> {
    let attention = report.verdict.attention?;
    let open = |actor| report.incidents.iter().filter(move |one| one.is_open && one.actor == actor);
    let (yours, unknown, theirs) = (open(Actor::Users), open(Actor::Unknown), open(Actor::Platform));
    let [yours, unknown, theirs] = [yours.collect(), unknown.collect(), theirs.collect::<Vec<&Incident>>()];

    let platform = |count: usize| match count {
        0 => String::new(),
        1 => " 1 is the platform's.".to_owned(),
        many => format!(" {} are the platform's.", render_count(many as u64)),
    };
    let look = |count: usize| match count {
        0 => String::new(),
        many => format!(" {} to look into.", render_count(many as u64)),
    };
    Some(match attention {
        Attention::Act => {
            told(&yours, "to fix, yours", report).words(look(unknown.len())).words(platform(theirs.len()))
        }
        Attention::Look => told(&unknown, "to look into", report).words(platform(theirs.len())),
        Attention::Wait => told(&theirs, "to wait for, the platform's", report),
        Attention::Unsure => "nothing is known to be wrong, but not all of the period is archived.".into(),
        Attention::Over => {
            let over: Vec<&Incident> = report.incidents.iter().collect();
            Phrase::from("nothing to do; over: ").and(told_one(over[0], report)).words(match over.len() {
                1 => ".".to_owned(),
                many => format!(", and {} more.", render_count(many as u64 - 1)),
            })
        }
        Attention::Quiet => "nothing to do.".into(),
    })
}

/// `1 thing to fix, yours: Riverside Hospital, SavedViewNotFound, since Fri 20 Nov 01:57.`
fn told(incidents: &[&Incident], what: &str, report: &Report) -> Phrase {
    let Some(first) = incidents.first() else { return Phrase::default() };
    let count = counted(incidents.len() as u64, "thing");
    let first_of = if incidents.len() == 1 { ": " } else { "; the first: " };
    Phrase::from(format!("{count} {what}{first_of}")).and(told_one(first, report)).words(".")
}

fn told_one(incident: &Incident, report: &Report) -> Phrase {
    let mut phrase = Phrase::default();
    if let Some(subject) = incident.connections.first() {
        phrase = phrase.short_data(&subject.connection, HEADLINE_NAME);
    }
    if let others @ 1.. = incident.connections.len().saturating_sub(1) {
        phrase = phrase.words(format!(" and {} more", render_count(others as u64)));
    }
    phrase = phrase.words(", ");
    phrase = match cause_name(incident) {
        Some(name) => phrase.short_data(name, HEADLINE_NAME),
        None => phrase.words(word(incident.kind)),
    };
    match incident.since {
        Some(since) => phrase.words(format!(", since {}", moment(&since, &report.zone, &report.as_of))),
        None => phrase,
    }
}

fn cause_name(incident: &Incident) -> Option<&str> {
    let cause = incident.cause.as_ref()?;
    let names = error_names(cause.description_key.as_deref(), cause.error_code.as_deref());
    names.first().copied()
}

/// What is wrong, in a word or two.
pub(super) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Failing => "failing",
        Kind::Flaky => "flaky",
        Kind::Stopped => "stopped",
        Kind::Partial => "only partly succeeding",
        Kind::Masked => "hiding failures",
        Kind::Canceled => "canceled",
        Kind::Slower => "slower",
        Kind::FailsSooner => "failing sooner",
        Kind::Stuck => "stuck",
    }
}

/// Absent where nothing is wrong.
pub(super) fn incidents(report: &Report) -> Option<Section> {
    if report.incidents.is_empty() {
        return None;
    }
    let mut section = Section::new(Topic::Incidents);
    for incident in report.incidents.iter().take(INCIDENTS) {
        section.card(card(incident, report));
    }
    more(&mut section, beyond(report.incidents.len(), INCIDENTS), "incidents");
    Some(section)
}

fn card(incident: &Incident, report: &Report) -> Card {
    let names = incident.connections.iter().take(NAMED);
    let names = Phrase::default().list(names.map(|subject| Phrase::default().data(&subject.connection)));
    let names = match beyond(incident.connections.len(), NAMED) {
        0 => names,
        hidden => names.words(format!(" and {} more", render_count(hidden))),
    };
    let over = if incident.is_open { "" } else { ", over" };
    let title = names.words(format!(": {}{over}", word(incident.kind)));
    let lines = [
        cause(incident),
        Some(extent(incident)),
        onset(incident, report),
        history(incident, report),
        description(incident),
    ];
    Card { tone: tone(incident), title, lines: lines.into_iter().flatten().collect() }
}

pub(super) fn tone(incident: &Incident) -> Tone {
    match (incident.is_open, incident.actor) {
        (false, _) => Tone::Over,
        (true, Actor::Users) => Tone::Act,
        (true, Actor::Unknown) => Tone::Look,
        (true, Actor::Platform) => Tone::Wait,
    }
}

/// Why, and who can act.
fn cause(incident: &Incident) -> Option<Phrase> {
    let who = match incident.actor {
        Actor::Users => ". You can fix it",
        Actor::Platform => ". The platform has to fix it",
        Actor::Unknown => "",
    };
    let Some(cause) = &incident.cause else {
        let is_failure = matches!(incident.kind, Kind::Failing | Kind::Flaky | Kind::FailsSooner);
        return is_failure.then(|| "Failed without an error that says why.".into());
    };
    let names = error_names(cause.description_key.as_deref(), cause.error_code.as_deref());
    let places: Vec<&str> = [cause.phase.as_deref(), cause.category.as_deref()]
        .into_iter()
        .flatten()
        .filter(|place| !place.trim().is_empty())
        .collect();
    let mut phrase = super::errors::name(&names);
    if !places.is_empty() {
        phrase = phrase.words(", ").data(&places.join(" / "));
    }
    Some(phrase.words(format!("{who}.")))
}

/// How many of how many, against what was to be expected; what it cost.
fn extent(incident: &Incident) -> Phrase {
    let affected = share(incident.affected, incident.of);
    let expected = match incident.expected {
        Some(expected) if incident.kind != Kind::Stopped => {
            format!(", where {} were to be expected", wording::expected(expected))
        }
        _ => String::new(),
    };
    let lost = match incident.lost_ms {
        0 => String::new(),
        lost => format!(" {} lost.", duration(lost)),
    };
    let moved = |what: &str| match incident.durations {
        Some(moved) => format!(
            "{what} {} (median), {} before{}.",
            duration(moved.now_ms),
            duration(moved.before_ms),
            relative(moved.now_ms, moved.before_ms).map(|text| format!(" ({text})")).unwrap_or_default()
        ),
        None => format!("{what} a different time."),
    };
    match incident.kind {
        Kind::Failing | Kind::Flaky => format!("{affected} runs failed{expected}.{lost}"),
        Kind::Partial => format!("{affected} runs that did not fail succeeded only partly{expected}."),
        Kind::Masked => {
            format!("{affected} runs say Success although something in them failed{expected}.")
        }
        Kind::Canceled => format!("{affected} runs were canceled{expected}.{lost}"),
        Kind::Slower => moved("Runs that succeed take"),
        Kind::FailsSooner => moved("Runs that fail do so after"),
        Kind::Stopped => match (incident.silence, incident.expected) {
            (Some(silence), Some(expected)) => format!(
                "No run for {}; its longest pause before was {}, and {} runs were to be expected.",
                duration(silence.length_ms),
                duration(silence.longest_ms),
                wording::expected(expected)
            ),
            _ => "It runs no longer.".to_owned(),
        },
        Kind::Stuck => match incident.stuck {
            Some(stuck) => format!(
                "{} not ended, the oldest for {}; the longest that ended took {}.",
                match incident.affected {
                    1 => "1 run has".to_owned(),
                    many => format!("{} runs have", render_count(many)),
                },
                duration(stuck.age_ms),
                duration(stuck.longest_ms)
            ),
            None => "A run does not end.".to_owned(),
        },
    }
    .into()
}

/// Since which run, and after which; until which where it is over.
fn onset(incident: &Incident, report: &Report) -> Option<Phrase> {
    let at = |run: &RunAt| moment(&run.started_at, &report.zone, &report.as_of);
    let told = |phrase: Phrase, words: &str, run: &Option<RunAt>| match run {
        Some(run) => phrase.words(format!("{words} {}, run ", at(run))).code(&run.run_id),
        None => phrase,
    };
    if incident.kind == Kind::Stopped {
        let phrase = told(Phrase::default(), "Last run", &incident.last_good);
        return incident.last_good.is_some().then(|| phrase.words("."));
    }
    incident.first_bad.as_ref()?;
    let mut phrase = told(Phrase::default(), "Since", &incident.first_bad);
    phrase = match (&incident.last_good, incident.kind) {
        (None, Kind::Stuck) => phrase,
        (None, _) => phrase.words("; no good run before it is known"),
        (Some(_), _) => told(phrase, "; last good", &incident.last_good),
    };
    phrase = told(phrase, "; over since", &incident.over);
    Some(phrase.words("."))
}

/// Whether the same error was here before, and where else it is.
fn history(incident: &Incident, report: &Report) -> Option<Phrase> {
    incident.cause.as_ref()?;
    let here = match &incident.seen_before {
        Some(seen) => format!(
            "Seen here before in {}, last {}",
            counted(seen.runs, "run"),
            moment(&seen.last_at, &report.zone, &report.as_of)
        ),
        None => "Never seen here before".to_owned(),
    };
    let elsewhere = match incident.elsewhere {
        Some(found) => format!(
            "; in the period also in {} of {}",
            counted(found.runs, "run"),
            counted(found.connections, "other connection")
        ),
        None => "; nowhere else in the period".to_owned(),
    };
    Some(format!("{here}{elsewhere}.").into())
}

fn description(incident: &Incident) -> Option<Phrase> {
    let cause = incident.cause.as_ref()?;
    let text = cause.description.as_deref().filter(|text| !text.trim().is_empty());
    let phrase = text.map(|text| Phrase::from("Its text: ").data(text));
    match &cause.kb_article_link {
        Some(link) => Some(phrase.map_or_else(|| "Help: ".into(), |phrase| phrase.words(" ")).link(link)),
        None => phrase,
    }
}
