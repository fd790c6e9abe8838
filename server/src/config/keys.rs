//! What can be set: the commented default file is the list of it.

/// The default file. All of its settings are commented out.
pub(crate) const DEFAULT_FILE: &str = include_str!("default.toml");

/// A setting of one value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    /// Its name with those of its tables: `limits.scans`.
    pub(crate) path: String,
    /// What the default file says it is: its default, or an example.
    pub(crate) shown: toml::Value,
}

impl Key {
    /// The environment variable that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("TAPSTONE_{}", self.path.replace('.', "_").to_uppercase())
    }

    /// A value of this setting as it is typed where quotes are a nuisance: text is itself, a list
    /// is its members with commas between them.
    ///
    /// # Errors
    ///
    /// What it should have been.
    pub(crate) fn parse(&self, text: &str) -> Result<toml::Value, String> {
        let wrong = |what: &str| format!("{text:?} is not {what}");
        match &self.shown {
            toml::Value::String(_) => Ok(text.into()),
            toml::Value::Array(_) => {
                let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
                Ok(members.map(toml::Value::from).collect::<Vec<_>>().into())
            }
            toml::Value::Integer(_) => number(text).ok_or_else(|| wrong("a number")),
            _ => text.parse().map(toml::Value::Boolean).map_err(|_| wrong("true or false")),
        }
    }
}

/// A number as TOML writes it, so that `0o660` works as well.
fn number(text: &str) -> Option<toml::Value> {
    let value = format!("it = {text}").parse::<toml::Table>().ok()?.remove("it")?;
    value.is_integer().then_some(value)
}

/// Every setting of one value, in the order of the default file. Identities have none: they are
/// lists of tables, and written in a file.
pub(crate) fn keys() -> Vec<Key> {
    let (mut table, mut keys) = (None, Vec::new());
    for line in DEFAULT_FILE.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[') {
            table = name.strip_suffix(']').filter(|name| !name.starts_with('['));
            continue;
        }
        let Some(table) = table else { continue };
        let Ok(setting) = line.parse::<toml::Table>() else { continue };
        let of_table = |(name, shown)| Key { path: format!("{table}.{name}"), shown };
        keys.extend(setting.into_iter().map(of_table));
    }
    keys
}
