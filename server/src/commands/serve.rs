//! `tapstone serve`

use std::fs;
use std::time::Duration;

use tapstone::{OpenOptions, Store};
use tapstone_client::proto;
use tokio::signal::unix::{SignalKind, signal};
use tonic::service::Routes;
use tonic::transport::Server;

use crate::access::Policy;
use crate::backend::{open, socket};
use crate::cli::Serve;
use crate::config::{Config, ConfigError};
use crate::exit::{COMPLETE, Failure};
use crate::listen::{ListenError, Listener, Tls};
use crate::service::Service;
use crate::service::gate::Gate;
use crate::text;

/// How long requests under way may go on after the server was told to end.
const DRAIN: Duration = Duration::from_secs(20);
/// Bytes that may be under way to the server on one stream, and on one connection.
const WINDOWS: (u32, u32) = (4 << 20, 16 << 20);
/// Bytes of one frame to the server.
const FRAME: u32 = 1 << 20;
/// Requests under way on one connection.
const STREAMS: u32 = 128;
/// Bytes of a request's headers.
const HEADERS: u32 = 16 << 10;
/// A client that does not answer for so long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Why serving ended, or never began.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("cannot serve: {0}")]
    Serve(#[from] tonic::transport::Error),
}

pub(crate) fn run(args: &Serve) -> Result<u8, Failure> {
    // What is wrong with the configuration shows before anything is touched.
    let config = config(args).map_err(ServeError::from)?;
    let policy = config.policy().map_err(ServeError::from)?;
    let store = open(&args.store, OpenOptions { create: true, ..OpenOptions::default() })?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().thread_name("serve").build().map_err(Failure::Runtime)?;
    let served = runtime.block_on(serve(args, &config, policy, &store));
    // What still runs holds the store open.
    runtime.shutdown_timeout(DRAIN);
    served?;
    store.close()?;
    Ok(COMPLETE)
}

/// What the file says, and what was typed over it.
fn config(args: &Serve) -> Result<Config, ConfigError> {
    let mut config = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    if !args.listen.is_empty() {
        config.listen.addresses.clone_from(&args.listen);
    }
    config.listen.socket.get_or_insert_with(|| socket(&args.store));
    Ok(config)
}

async fn serve(
    args: &Serve,
    config: &Config,
    policy: Policy,
    store: &Store,
) -> Result<(), ServeError> {
    let service = Service::new(store.clone(), config.limits);
    let listener = Listener::bind(&config.listen, policy.has_tokens()).await?;
    let (addresses, tls) = (listener.addresses(), listener.tls());
    let counters = listener.counters();
    let incoming = listener.incoming();
    let (closer, gate) = (incoming.closer(), Gate::new(policy, service.audit()));
    let server = builder().layer(gate.clone()).add_routes(routes(&service).await);
    let socket = config.listen.socket.as_deref().expect("a configuration that is served has one");
    text::say(&format_args!("serving {} on unix:{}", args.store.display(), socket.display()));
    for address in addresses {
        text::say(&format_args!("serving on {address}"));
    }
    let (told, is_told) = tokio::sync::oneshot::channel();
    let ended = async {
        attend(args, &gate, tls.as_ref()).await;
        text::say(&"ending: requests under way are finished");
        closer.close();
        told.send(()).ok();
    };
    let served = server.serve_with_incoming_shutdown(incoming, ended);
    let patience = async {
        is_told.await.ok();
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = served => served?,
        () = patience => text::complain(&"requests that took too long were broken off"),
    }
    text::say(&format_args!(
        "{} connections served, {} handshakes failed, {} timed out, {} turned away",
        counters.accepted(),
        counters.handshakes_failed(),
        counters.handshakes_timed_out(),
        counters.refused(),
    ));
    fs::remove_file(socket).ok();
    Ok(())
}

/// Follows signals until one says that it is over; SIGHUP exchanges certificates and identities.
async fn attend(args: &Serve, gate: &Gate, tls: Option<&Tls>) {
    let listen = |kind| signal(kind).expect("this runs within the runtime");
    let mut terminate = listen(SignalKind::terminate());
    let mut interrupt = listen(SignalKind::interrupt());
    let mut hangup = listen(SignalKind::hangup());
    loop {
        tokio::select! {
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
            _ = hangup.recv() => match reload(args, gate, tls) {
                Ok(()) => text::say(&"identities and certificates were read anew"),
                Err(error) => text::complain(&format_args!("{error}; all stays as it was")),
            },
        }
    }
}

/// Reads who may do what, and the certificates, anew: both or neither.
fn reload(args: &Serve, gate: &Gate, tls: Option<&Tls>) -> Result<(), ServeError> {
    let config = config(args)?;
    let policy = config.policy()?;
    if let (Some(tls), Some(settings)) = (tls, &config.listen.tls) {
        tls.reload(settings, policy.has_tokens()).map_err(ListenError::Tls)?;
    }
    gate.exchange(policy);
    Ok(())
}

/// A server with the limits that keep one connection from hurting the others.
fn builder() -> Server {
    Server::builder()
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_frame_size(FRAME)
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
}

async fn routes(service: &Service) -> Routes {
    let (reporter, health) = tonic_health::server::health_reporter();
    for name in ["", "tapstone.v1.Tapstone", "tapstone.v1.Admin"] {
        reporter.set_service_status(name, tonic_health::ServingStatus::Serving).await;
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTOR)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were made when this was compiled");
    let mut routes = Routes::builder();
    routes
        .add_service(service.tapstone())
        .add_service(service.admin())
        .add_service(health)
        .add_service(reflection);
    routes.routes()
}
