//! A digest over the names and values of a run's JSON, whatever order, spacing or escapes it was sent in.
//!
//! In: JSON text. Out: a [`Digest`]: the sum of one XXH3-128 hash for every value, seeded by the way that
//! leads to it. A sum, so that the order of an object's members means nothing; the way, so that nothing
//! may change places. Rows give the same digest as the text they came from, because both tell the same
//! names and values: an archived run proves by it that it is what was received.

use std::borrow::Cow;

use serde_json::value::RawValue;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use super::{Columns, Digest, MAX_DEPTH, Run, Value};
use crate::api::wire::{Object, array, string};

/// The levels of a run, and of the values at the deepest of them.
const LEVELS: usize = MAX_DEPTH + 1;

/// A sum under way, and the way from the run to where values are added.
#[derive(Debug, Clone, Copy, Default)]
struct Way(u64);

#[derive(Debug, Default)]
struct Sum(u128);

impl Way {
    /// One step on: into a member of this name.
    fn member(self, name: &str) -> Self {
        Self(xxh3_64_with_seed(name.as_bytes(), self.0 ^ 1))
    }

    /// One step on: to the element at this place of a list.
    fn element(self, place: usize) -> Self {
        Self(xxh3_64_with_seed(&(place as u64).to_le_bytes(), self.0 ^ 2))
    }
}

impl Sum {
    fn add(&mut self, way: Way, kind: u64, bytes: &[u8]) {
        // The kind of value is part of the seed: the text "1" is not the number 1.
        let seed = way.0 ^ kind.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = self.0.wrapping_add(xxh3_128_with_seed(bytes, seed));
    }

    fn text(&mut self, way: Way, text: &str) {
        self.add(way, 3, text.as_bytes());
    }

    /// A number, true, false or null, to the letter.
    fn token(&mut self, way: Way, token: &str) {
        self.add(way, 4, token.as_bytes());
    }

    /// That there is an object here.
    fn object(&mut self, way: Way) {
        self.add(way, 5, &[]);
    }

    /// That there is a list here, and how long it is.
    fn list(&mut self, way: Way, length: usize) {
        self.add(way, 6, &(length as u64).to_le_bytes());
    }

    /// Any value, with all below it down to so many levels. Deeper than a run may nest is only what a file
    /// was handed over with: there it counts as one word, so that no file exhausts a thread.
    fn value(&mut self, way: Way, value: &RawValue, levels: usize) {
        let raw = value.get();
        let Some(below) = levels.checked_sub(1) else {
            self.token(way, raw);
            return;
        };
        if let Some(text) = string(value) {
            self.text(way, &text);
        } else if let Ok(object) = Object::parse(raw) {
            self.object(way);
            for (name, value) in &object.0 {
                self.value(way.member(name), value, below);
            }
        } else if let Some(elements) = array(value) {
            self.list(way, elements.len());
            for (place, element) in elements.into_iter().enumerate() {
                self.value(way.element(place), element, below);
            }
        } else {
            // A number or a word, or a text that is not Unicode.
            self.token(way, raw);
        }
    }

    fn digest(&self) -> Digest {
        self.0.to_be_bytes()
    }
}

pub(crate) fn digest_of_json(run: &RawValue) -> Digest {
    let mut sum = Sum::default();
    sum.value(Way::default(), run, LEVELS);
    sum.digest()
}

/// The digest of a run's rows: that of the JSON that they give back.
pub(crate) fn digest_of_rows(run: &Run<'_>) -> Digest {
    let mut sum = Sum::default();
    let way = Way::default();
    sum.object(way);
    sum.text(way.member("id"), &run.id);
    columns(&mut sum, way, &run.extra, run);
    if let Some(error) = &run.error {
        object(&mut sum, way.member("error"), &None, error);
    }
    list(&mut sum, way.member("jobs"), &run.jobs, |sum, way, job| {
        columns(sum, way, &job.extra, job);
        list(sum, way.member("tasks"), &job.tasks, |sum, way, task| {
            columns(sum, way, &task.extra, task);
            if let Some(error) = task.error.as_deref() {
                object(sum, way.member("error"), &error.extra, error);
            }
        });
    });
    sum.digest()
}

fn object<'a>(sum: &mut Sum, way: Way, extra: &Option<String>, object: &impl Columns<'a>) {
    sum.object(way);
    columns(sum, way, extra, object);
}

/// Adds what the columns of an object hold, and the members of its `extra`.
fn columns<'a>(sum: &mut Sum, way: Way, extra: &Option<String>, object: &impl Columns<'a>) {
    let in_extra = self::extra(sum, way, extra);
    for (column, value) in object.cells() {
        match value {
            None => {}
            Some(Value::Text(value)) => sum.text(way.member(column.field), value),
            // Where the form that was sent is in `extra`, the column only says what it means.
            Some(Value::Time(_)) if in_extra.iter().any(|name| name == column.field) => {}
            Some(Value::Time(time)) => sum.text(way.member(column.field), &time.as_sent()),
            Some(Value::Integer(number)) => sum.token(way.member(column.field), &number.to_string()),
            Some(Value::Boolean(word)) => sum.token(way.member(column.field), &word.to_string()),
        }
    }
}

/// Adds the members of `extra` and gives their names.
fn extra<'a>(sum: &mut Sum, way: Way, extra: &'a Option<String>) -> Vec<Cow<'a, str>> {
    let Some(extra) = extra.as_deref() else { return Vec::new() };
    let Ok(object) = Object::parse(extra) else {
        // What is no object was never received: it counts as a kind of its own, which no answer adds up to.
        sum.add(way, 7, extra.as_bytes());
        return Vec::new();
    };
    for (name, value) in &object.0 {
        sum.value(way.member(name), value, LEVELS);
    }
    object.0.into_iter().map(|(name, _)| name).collect()
}

/// An empty list is none: what stood in its place is in `extra`.
fn list<T>(sum: &mut Sum, way: Way, items: &[T], add: impl Fn(&mut Sum, Way, &T)) {
    if items.is_empty() {
        return;
    }
    sum.list(way, items.len());
    for (place, item) in items.iter().enumerate() {
        let way = way.element(place);
        sum.object(way);
        add(sum, way, item);
    }
}
