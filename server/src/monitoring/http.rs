//! `/metrics`, `/healthz`, `/readyz`: plain HTTP, for machines that watch.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Metrics;
use crate::listen::ListenError;

/// The listener, open; nobody is answered yet.
#[derive(Debug)]
pub(crate) struct Monitor {
    listener: TcpListener,
}

/// Whether the server takes requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ready(Arc<AtomicBool>);

impl Ready {
    /// Says so.
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Monitor {
    /// Opens the listener.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Monitor, ListenError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| ListenError::Tcp { address, source })?;
        Ok(Monitor { listener })
    }

    /// Answers, until dropped.
    pub(crate) async fn serve(self, metrics: Arc<Metrics>, ready: Ready) -> io::Result<()> {
        if let Ok(address) = self.listener.local_addr() {
            tracing::info!("metrics and health on http://{address}");
        }
        let router = Router::new()
            .route("/metrics", get(render))
            .route("/healthz", get(|| async { "alive\n" }))
            .route("/readyz", get(told_ready))
            .with_state((metrics, ready));
        axum::serve(self.listener, router).await
    }
}

async fn render(State((metrics, ready)): State<(Arc<Metrics>, Ready)>) -> impl IntoResponse {
    let rendered = tokio::task::spawn_blocking(move || metrics.render(&ready)).await;
    match rendered {
        Ok(text) => Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

async fn told_ready(State((_, ready)): State<(Arc<Metrics>, Ready)>) -> (StatusCode, &'static str) {
    if ready.get() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "ending, or not begun\n")
    }
}
