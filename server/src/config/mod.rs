//! The configuration of a server: one TOML file, the environment over it, and what was typed over
//! both.

mod audit;
mod backup;
mod capture;
mod keys;
mod layers;
mod maintenance;
mod retention;
mod state;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::access::{Accounts, IdentitySettings, Mistake, Policy, Settings};
use crate::cli::ConfigSources;
use crate::listen::{ListenError, ListenSettings, Listener};
use crate::monitoring::{LogError, LogSettings, MonitoringSettings, TraceSettings};
use crate::service::Limits;
use audit::{AuditSettings, AuditSettingsError};
use backup::{BackupSettings, BackupSettingsError};
use capture::{CaptureSettings, CaptureSettingsError};
pub(crate) use keys::{DEFAULT_FILE, keys};
use layers::Layers;
pub(crate) use layers::{LayerError, Origin};
pub(crate) use maintenance::Regular;
use maintenance::{MaintenanceError, MaintenanceSettings};
pub(crate) use retention::{RetentionError, RetentionSettings};
use state::{StateSettings, StateSettingsError};

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where to listen.
    pub(crate) listen: ListenSettings,
    /// How much may be done at once.
    pub(crate) limits: Limits,
    /// What is left out of live packets.
    pub(crate) capture: CaptureSettings,
    /// How long packets are kept.
    pub(crate) retention: RetentionSettings,
    /// What becomes of the audit log's files.
    pub(crate) audit: AuditSettings,
    /// Where backups are.
    pub(crate) backup: BackupSettings,
    /// What the state follows from.
    pub(crate) state: StateSettings,
    /// Which tasks are done by themselves.
    pub(crate) maintenance: MaintenanceSettings,
    /// Where to be watched.
    pub(crate) monitoring: MonitoringSettings,
    /// What is told while serving.
    pub(crate) log: LogSettings,
    /// Where requests are traced.
    pub(crate) traces: TraceSettings,
    /// Who may do what.
    pub(crate) identity: Vec<IdentitySettings>,
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
    /// What is over the file cannot be used.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// What is over the file does not fit, by itself or with the file.
    #[error("with what {over} set: {source}")]
    Together {
        /// What is over it.
        over: String,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
    /// Limits that nothing could be done under.
    #[error("limits.{0} = 0: nothing could ever be done; give 1 or more")]
    NoRoom(&'static str),
    /// Identities make no sense: all mistakes at once.
    #[error("who may do what:{}", list(.0))]
    Identities(Vec<Mistake>),
    /// What should be listened on cannot be.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// What is left out makes no sense.
    #[error(transparent)]
    Capture(#[from] CaptureSettingsError),
    /// What becomes of the audit log makes no sense.
    #[error(transparent)]
    Audit(#[from] AuditSettingsError),
    /// How long packets are kept makes no sense.
    #[error(transparent)]
    Retention(#[from] RetentionError),
    /// Where backups are makes no sense.
    #[error(transparent)]
    Backup(#[from] BackupSettingsError),
    /// What the state follows from makes no sense.
    #[error(transparent)]
    State(#[from] StateSettingsError),
    /// Which tasks are done by themselves makes no sense.
    #[error(transparent)]
    Maintenance(#[from] MaintenanceError),
    /// What should be told cannot be.
    #[error(transparent)]
    Log(#[from] LogError),
}

fn list(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect()
}

/// A configuration, and where it is from.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    layers: Layers,
}

impl Loaded {
    /// Reads file, environment and flags.
    pub(crate) fn read(sources: &ConfigSources) -> Result<Loaded, ConfigError> {
        let text = |it: OsString| it.to_string_lossy().into_owned();
        Loaded::layered(sources, std::env::vars_os().map(|(name, it)| (text(name), text(it))))
    }

    fn layered(
        sources: &ConfigSources,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigError> {
        let text = match &sources.config {
            Some(path) => read_file(path)?,
            None => String::new(),
        };
        let mut layers = Layers::of_file(&text);
        layers.add_environment(variables)?;
        if !sources.listen.is_empty() {
            let addresses: Vec<String> = sources.listen.iter().map(ToString::to_string).collect();
            layers.add_flag("--listen", "listen.addresses", addresses.into());
        }
        if let Some(address) = sources.monitor {
            layers.add_flag("--monitor", "monitoring.address", address.to_string().into());
        }
        if !sources.cutoff.is_empty() {
            layers.add_flag("--cutoff", "capture.cutoff", sources.cutoff.clone().into());
        }
        if !sources.critical.is_empty() {
            layers.add_flag("--critical", "capture.critical", sources.critical.clone().into());
        }
        if sources.dedup_ignore_vlan {
            layers.add_flag("--dedup-ignore-vlan", "capture.dedup_ignore_vlan", true.into());
        }
        let typed = [
            ("--keep-free", "retention.keep_free", &sources.keep_free),
            ("--keep-for", "retention.keep_for", &sources.keep_for),
            ("--max-size", "retention.max_size", &sources.max_size),
            ("--dedup", "capture.dedup", &sources.dedup),
        ];
        for (flag, path, value) in typed {
            if let Some(value) = value {
                layers.add_flag(flag, path, value.clone().into());
            }
        }
        for setting in &sources.set {
            layers.add_typed(setting)?;
        }
        let config = layers.table.clone().try_into();
        let config = config.map_err(|source| ConfigError::Together {
            over: layers.over_the_file(),
            source: Box::new(source),
        })?;
        Ok(Loaded { config, layers })
    }

    /// The value of a setting as TOML, and where it is from; `None` for a default.
    pub(crate) fn value(&self, path: &str) -> (Option<toml::Value>, Option<Origin>) {
        let table = toml::Table::try_from(&self.config).expect("a configuration is a table");
        let whole = Some(toml::Value::Table(table));
        let value = path.split('.').fold(whole, |value, name| value?.get(name).cloned());
        (value, self.layers.origins.get(path).cloned())
    }
}

/// Reads a file that is a configuration by itself: what is wrong in it is told with its line.
fn read_file(path: &Path) -> Result<String, ConfigError> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let toml = |source| ConfigError::Toml { path: path.to_owned(), source: Box::new(source) };
    toml::from_str::<Config>(&text).map_err(toml)?;
    Ok(text)
}

impl Config {
    /// Finds what is wrong without touching anything; gives who may do what, for a server that
    /// this user runs.
    ///
    /// # Errors
    ///
    /// What is wrong, in the order of the file.
    pub(crate) fn check(&self) -> Result<Policy, ConfigError> {
        let policy = self.policy()?;
        Listener::check(&self.listen, policy.has_tokens())?;
        if let Some(name) = self.limits.without_room() {
            return Err(ConfigError::NoRoom(name));
        }
        self.capture.thinning()?;
        let retention = self.retention.retention(false)?;
        self.audit.archive()?;
        self.backup.check()?;
        self.state.thresholds()?;
        self.state.webhook()?;
        self.maintenance.tasks(retention)?;
        self.log.check()?;
        self.traces.check()?;
        Ok(policy)
    }

    /// Who may do what.
    pub(crate) fn policy(&self) -> Result<Policy, ConfigError> {
        // Without it no identity has a user's name.
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let settings = Settings { identity: self.identity.clone() };
        let own = rustix::process::getuid().as_raw();
        Policy::new(&settings, own, &Accounts::parse(&accounts)).map_err(ConfigError::Identities)
    }
}
