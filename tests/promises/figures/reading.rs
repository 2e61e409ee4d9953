//! The named queries, as the library answers them.

use std::io;
use std::path::Path;

use run_archive::query::{Catalog, Cell, Database, Limits, Sink, Value as Parameter};
use serde_json::{Map, Value, json};

use super::answers::Asked;
use super::clock::{Ticks, stored};
use super::world::World;

pub type Parameters = Vec<(&'static str, Parameter)>;

/// An archive that is asked.
pub struct Reading {
    database: Database,
    catalog: Catalog,
}

impl Reading {
    pub fn open(path: &Path) -> Self {
        Self { database: Database::open(path).unwrap(), catalog: Catalog::built_in() }
    }

    /// The rows of a named query, as objects.
    pub fn rows(&self, name: &str, parameters: &[(&str, Parameter)]) -> Vec<Value> {
        let mut rows = Rows::default();
        let sql = &self.catalog.find(name).unwrap().sql;
        self.database.stream(sql, parameters, Limits::default(), &mut rows).unwrap();
        rows.rows
    }
}

#[derive(Default)]
struct Rows {
    names: Vec<String>,
    rows: Vec<Value>,
}

impl Sink for Rows {
    fn columns(&mut self, names: &[String]) -> io::Result<()> {
        self.names = names.to_vec();
        Ok(())
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        let cells = cells.iter().map(|cell| match cell {
            Cell::Null => Value::Null,
            Cell::Integer(number) => json!(number),
            Cell::Real(number) => json!(number),
            Cell::Text(text) => json!(text),
            Cell::Blob(_) => panic!("no column of a query is bytes"),
        });
        self.rows.push(Value::Object(self.names.iter().cloned().zip(cells).collect::<Map<_, _>>()));
        Ok(())
    }
}

impl Asked {
    /// `:connection`, an id where it is one, and a JSON array otherwise.
    pub fn chosen(&self, world: &World) -> Parameters {
        let ids = |places: &[usize]| -> Vec<String> {
            places.iter().map(|&place| world.connections[place].id.clone()).collect()
        };
        match self.connections.as_deref().map(ids) {
            None => Vec::new(),
            // An id that looks like an array can be named in one only.
            Some(ids) if ids.len() == 1 && !ids[0].starts_with('[') => {
                vec![("connection", ids[0].as_str().into())]
            }
            Some(ids) => vec![("connection", json!(ids).to_string().into())],
        }
    }

    /// `:since`, `:until` and `:connection`.
    pub fn parameters(&self, world: &World) -> Parameters {
        let mut parameters = self.chosen(world);
        for (name, at) in [("since", self.since), ("until", self.until)] {
            if let Some(at) = at {
                parameters.push((name, stored(at).into()));
            }
        }
        parameters
    }
}

/// `:bounds` of a list of instants.
pub fn bounds(bounds: &[Ticks]) -> Parameter {
    json!(bounds.iter().map(|&at| stored(at)).collect::<Vec<_>>()).to_string().into()
}
