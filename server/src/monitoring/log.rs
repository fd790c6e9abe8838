//! The log of a server, and the traces of its requests.

use std::io::{self, IsTerminal};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt};

use super::{LogError, LogFormat, LogSettings, TraceSettings};

/// What tells the log and a collector of traces what happens, until dropped.
pub(crate) struct Telling {
    traces: Option<SdkTracerProvider>,
}

impl Telling {
    /// Begins, for this process. Within a tokio runtime, which sends the traces.
    pub(crate) fn start(log: &LogSettings, traces: &TraceSettings) -> Result<Telling, LogError> {
        let wanted = log.check()?;
        let lines = fmt::layer().with_writer(io::stderr).with_target(false);
        let lines = match log.format {
            LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
        };
        let provider = provider(traces)?;
        let spans = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer().with_tracer(provider.tracer("tapstone"))
        });
        // Only requests are traced, whatever else the log is told.
        let spans = spans.map(|it| {
            it.with_filter(tracing_subscriber::filter::filter_fn(|it| {
                it.is_span() && it.target().starts_with("tapstone")
            }))
        });
        let subscriber = Registry::default().with(spans).with(lines.with_filter(wanted));
        // One is installed already only where a process serves twice, as tests do.
        tracing::subscriber::set_global_default(subscriber).ok();
        Ok(Telling { traces: provider })
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.traces.take().map(|traces| traces.shutdown()) {
            tracing::warn!(%error, "the last traces did not get through");
        }
    }
}

fn provider(settings: &TraceSettings) -> Result<Option<SdkTracerProvider>, LogError> {
    /// A collector that does not answer for so long has lost these traces.
    const PATIENCE: Duration = Duration::from_secs(5);
    settings.check()?;
    let Some(endpoint) = &settings.endpoint else { return Ok(None) };
    let exporter = SpanExporter::builder().with_tonic();
    let exporter = exporter.with_endpoint(endpoint).with_timeout(PATIENCE).build();
    let exporter = exporter.map_err(|error| LogError::Endpoint {
        endpoint: endpoint.clone(),
        problem: error.to_string(),
    })?;
    let resource = Resource::builder().with_service_name("tapstone").build();
    let provider = SdkTracerProvider::builder().with_resource(resource);
    Ok(Some(provider.with_batch_exporter(exporter).build()))
}
