//! What is told of a running server, to whom.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::Targets;

/// Where to be watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MonitoringSettings {
    /// Where `/metrics`, `/healthz` and `/readyz` are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<SocketAddr>,
}

/// What is told while serving.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogSettings {
    /// A level, or levels by part.
    pub(crate) level: String,
    /// For people or for programs.
    pub(crate) format: LogFormat,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object.
    Json,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// Where requests are traced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TraceSettings {
    /// Where OTLP is taken through gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
}

/// Why nothing could be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The level is none.
    #[error("log.level = {level:?}: {source}; give error, warn, info, debug or trace")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Traces can go nowhere.
    #[error("traces.endpoint = {endpoint:?}: {problem}; give http://HOST:PORT")]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl LogSettings {
    /// What is told.
    pub(crate) fn check(&self) -> Result<Targets, LogError> {
        let level = || self.level.clone();
        self.level.parse().map_err(|source| LogError::Level { level: level(), source })
    }
}

impl TraceSettings {
    /// Whether traces can be sent there.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let wrong = |problem: String| LogError::Endpoint { endpoint: endpoint.clone(), problem };
        let uri: http::Uri = endpoint.parse().map_err(|error| wrong(format!("{error}")))?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(_)) => Ok(()),
            _ => Err(wrong("not an address of a collector".to_owned())),
        }
    }
}
