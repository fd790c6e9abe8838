//! What a running server tells: its log, traces of its requests, and its metrics.

mod http;
mod log;
mod metrics;
mod settings;

pub(crate) use http::{Monitor, Ready};
pub(crate) use log::Telling;
pub(crate) use metrics::{Load, Metrics, UPKEEP, count};
pub(crate) use settings::{LogError, LogFormat, LogSettings, MonitoringSettings, TraceSettings};
