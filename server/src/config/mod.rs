//! The configuration of a server: one TOML file, and what was typed over it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;

use crate::access::{Accounts, IdentitySettings, Mistake, Policy, Settings};
use crate::listen::ListenSettings;
use crate::service::Limits;

/// Everything that can be set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where to listen.
    pub(crate) listen: ListenSettings,
    /// Who may do what.
    pub(crate) identity: Vec<IdentitySettings>,
    /// How much may be done at once.
    pub(crate) limits: Limits,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what a configuration looks like.
    #[error("{}: {source}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: Box<toml::de::Error>,
    },
    /// Identities make no sense: all mistakes at once.
    #[error("who may do what:{}", list(.0))]
    Identities(Vec<Mistake>),
}

fn list(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect()
}

impl Config {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Config, ConfigError> {
        let text = fs::read_to_string(path);
        let text = text.map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let toml = |source| ConfigError::Toml { path: path.to_owned(), source: Box::new(source) };
        toml::from_str(&text).map_err(toml)
    }

    /// Who may do what, for a server that this user runs.
    pub(crate) fn policy(&self) -> Result<Policy, ConfigError> {
        // Without it no identity has a user's name.
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let settings = Settings { identity: self.identity.clone() };
        let own = rustix::process::getuid().as_raw();
        Policy::new(&settings, own, &Accounts::parse(&accounts)).map_err(ConfigError::Identities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Config::read(file.path())
    }

    #[test]
    fn what_is_not_set_has_its_default_and_what_is_unknown_is_refused() {
        let config = read("[limits]\nscans = 2\n[listen]\naddresses = [\"127.0.0.1:1\"]").unwrap();
        assert_eq!(config.limits, Limits { scans: 2, ..Limits::default() });
        assert!(config.policy().is_ok());
        let error = read("[limits]\nscan = 2").unwrap_err().to_string();
        assert!(error.contains("scan") && error.contains("line 2"), "{error}");
        let error = read("[[identity]]\nname = \"x\"\nroles = [\"king\"]").unwrap().policy();
        let error = error.unwrap_err().to_string();
        assert!(error.contains("king"), "{error}");
    }
}
