//! Settings from everywhere, one over the other: the file, the environment, the command line.

use std::collections::BTreeMap;
use std::fmt;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::keys::{Key, keys};

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The line of the file.
    Line(usize),
    /// The environment variable.
    Variable(String),
    /// The flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line(line) => write!(f, "line {line}"),
            Origin::Variable(name) => f.write_str(name),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

impl Origin {
    /// The same with the file's name.
    pub(crate) fn describe(&self, file: Option<&str>) -> String {
        match self {
            Origin::Line(line) => format!("{}:{line}", file.unwrap_or("-")),
            over => over.to_string(),
        }
    }
}

/// A value that was typed or is in the environment cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {problem}")]
pub(crate) struct LayerError {
    /// Where it is from.
    pub(crate) origin: Origin,
    /// What is wrong.
    pub(crate) problem: String,
}

/// What was set, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    pub(crate) table: Table,
    pub(crate) origins: BTreeMap<String, Origin>,
}

impl Layers {
    /// What a file sets. One that is not TOML sets nothing; whoever reads it says so.
    pub(crate) fn of_file(text: &str) -> Layers {
        let mut origins = BTreeMap::new();
        if let Ok(table) = DeTable::parse(text) {
            note_lines(text, "", table.get_ref(), &mut origins);
        }
        Layers { table: text.parse().unwrap_or_default(), origins }
    }

    /// Sets what the environment does. A variable that seems to be a setting and is none is
    /// refused: it would have no effect, and nobody would know.
    ///
    /// # Errors
    ///
    /// When a variable is no setting, or its value cannot be one.
    pub(crate) fn add_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), LayerError> {
        let keys = keys();
        let seems_one = |name: &str| {
            let tables = keys.iter().filter_map(|key| key.path.split_once('.'));
            let mut prefixes = tables.map(|it| format!("TAPSTONE_{}_", it.0.to_uppercase()));
            prefixes.any(|prefix| name.starts_with(&prefix))
        };
        for (name, text) in variables {
            match keys.iter().find(|key| key.variable() == name) {
                Some(key) => self.set(key, &text, Origin::Variable(name))?,
                None if seems_one(&name) => {
                    let problem = "there is no such setting; see tapstone config default";
                    return Err(unusable(Origin::Variable(name), problem));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Sets what was typed: `NAME=VALUE`.
    ///
    /// # Errors
    ///
    /// When there is no such setting, or the value cannot be one.
    pub(crate) fn add_typed(&mut self, text: &str) -> Result<(), LayerError> {
        const FLAG: Origin = Origin::Flag("--set");
        let (path, value) = text.split_once('=').ok_or_else(|| {
            unusable(FLAG, &format!("{text:?} is not NAME=VALUE, such as limits.scans=2"))
        })?;
        let key = keys().into_iter().find(|key| key.path == path).ok_or_else(|| {
            let problem = format!("there is no setting {path}; see tapstone config default");
            unusable(FLAG, &problem)
        })?;
        self.set(&key, value, FLAG)
    }

    /// Sets a value that has a flag of its own.
    pub(crate) fn add_flag(&mut self, flag: &'static str, path: &str, value: Value) {
        self.insert(path, value, Origin::Flag(flag));
    }

    /// What is over the file, in words.
    pub(crate) fn over_the_file(&self) -> String {
        let over = self.origins.values().filter(|origin| !matches!(origin, Origin::Line(_)));
        let mut over: Vec<String> = over.map(ToString::to_string).collect();
        over.dedup();
        over.join(", ")
    }

    fn set(&mut self, key: &Key, text: &str, origin: Origin) -> Result<(), LayerError> {
        let value = key.parse(text).map_err(|problem| unusable(origin.clone(), &problem))?;
        self.insert(&key.path, value, origin);
        Ok(())
    }

    fn insert(&mut self, path: &str, value: Value, origin: Origin) {
        let mut table = &mut self.table;
        let (tables, name) = path.rsplit_once('.').unwrap_or(("", path));
        for name in tables.split('.') {
            let inner = table.entry(name).or_insert_with(|| Table::new().into());
            table = inner.as_table_mut().expect("the file was read as a configuration");
        }
        table.insert(name.to_owned(), value);
        self.origins.insert(path.to_owned(), origin);
    }
}

fn unusable(origin: Origin, problem: &str) -> LayerError {
    LayerError { origin, problem: problem.to_owned() }
}

fn note_lines(
    text: &str,
    prefix: &str,
    table: &DeTable<'_>,
    origins: &mut BTreeMap<String, Origin>,
) {
    for (name, value) in table {
        let path = format!("{prefix}{}", name.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            note_lines(text, &format!("{path}."), inner, origins);
            continue;
        }
        let line = text[..name.span().start].matches('\n').count() + 1;
        origins.insert(path, Origin::Line(line));
    }
}
