//! `tapstone serve`, and `tapstone capture`, which is the same

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tapstone::{KeepError, KeepOptions, OpenOptions, Store, ThinError};
use tapstone_client::proto;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::expiring::expire;
use super::live::{self, Live};
use super::schedule::keep_up;
use crate::access::Policy;
use crate::alerting::Alerting;
use crate::backend::{open, socket};
use crate::cli::Serve;
use crate::config::{Config, ConfigError, Loaded};
use crate::exit::{COMPLETE, Failure};
use crate::listen::{Counters, ListenError, Listener, Tls};
use crate::monitoring::{Metrics, Monitor, Ready, Telling, UPKEEP};
use crate::service::gate::Gate;
use crate::service::{Service, Tasks};

/// How long requests under way may go on after the server was told to end.
const DRAIN: Duration = Duration::from_secs(20);
/// How long what became of them may take into the audit log then.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
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
    #[error(transparent)]
    Thin(#[from] ThinError),
    #[error("cannot keep the store: {0}")]
    Keep(#[from] KeepError),
    #[error("cannot serve: {0}")]
    Serve(#[from] tonic::transport::Error),
}

pub(crate) fn run(args: &Serve) -> Result<u8, Failure> {
    // What is wrong with the configuration shows before anything is touched.
    let config = config(args).map_err(ServeError::from)?;
    let policy = config.check().map_err(ServeError::from)?;
    let records = !args.live.interfaces.is_empty();
    let retention = config.retention.retention(records).map_err(ConfigError::from);
    let retention = retention.map_err(ServeError::from)?;
    let shards = args.live.shards.map_or(OpenOptions::default().shards, usize::from);
    let thinning = config.capture.thinning().map_err(ConfigError::from);
    let thinning = thinning.map_err(ServeError::from)?;
    let thresholds = config.state.thresholds().map_err(ConfigError::from);
    let thresholds = thresholds.map_err(ServeError::from)?;
    let webhook = config.state.webhook().map_err(ConfigError::from).map_err(ServeError::from)?;
    let archive = config.audit.archive().map_err(ConfigError::from).map_err(ServeError::from)?;
    let regular = config.maintenance.tasks(retention).map_err(ConfigError::from);
    let (regular, scrub) = regular.map_err(ServeError::from)?;
    let sources = live::open(&args.live, &thinning, shards)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_all().thread_name("serve").build().map_err(Failure::Runtime)?;
    let telling = {
        let _within = runtime.enter();
        Telling::start(&config.log, &config.traces).map_err(|it| ServeError::Config(it.into()))?
    };
    let options = OpenOptions { create: true, shards, ..OpenOptions::default() };
    let store = open(&args.store, options)?;
    let live = Live::start(&store, sources, args.live.json);
    // Behind that: what is captured from is looked at too.
    store.keep(KeepOptions { thresholds, retention }).map_err(ServeError::from)?;
    let expiring = runtime.spawn(expire(store.clone(), retention));
    let scheduled = runtime.spawn(keep_up(store.clone(), regular));
    let alerting = webhook.map(|webhook| {
        let _within = runtime.enter();
        Alerting::start(store.clone(), webhook)
    });
    let backups = config.backup.folder.as_deref().map(Arc::from);
    let tasks = Tasks { retention, scrub, archive, backups };
    let service = Service::new(store.clone(), config.limits, tasks);
    let served = runtime.block_on(serve(args, &config, policy, &store, live, service));
    expiring.abort();
    scheduled.abort();
    store.give_up_task("the server ends");
    if let Some(alerting) = alerting {
        runtime.block_on(alerting.end());
    }
    drop(telling);
    // What still runs holds the store open.
    runtime.shutdown_timeout(DRAIN);
    served?;
    store.close()?;
    Ok(COMPLETE)
}

/// What file, environment and flags say.
fn config(args: &Serve) -> Result<Config, ConfigError> {
    let mut config = Loaded::read(&args.sources)?.config;
    config.listen.socket.get_or_insert_with(|| socket(&args.store));
    Ok(config)
}

async fn serve(
    args: &Serve,
    config: &Config,
    policy: Policy,
    store: &Store,
    live: Live,
    service: Service,
) -> Result<(), Failure> {
    // Before anybody can see that this serves: who ends it then must not break it off.
    let mut signals = Signals::listen();
    let listener = Listener::bind(&config.listen, policy.has_tokens()).await;
    let listener = listener.map_err(ServeError::from)?;
    let monitor = match config.monitoring.address {
        Some(address) => Some(Monitor::bind(address).await.map_err(ServeError::from)?),
        None => None,
    };
    let (addresses, tls, counters) = (listener.addresses(), listener.tls(), listener.counters());
    let incoming = listener.incoming();
    let (closer, audit) = (incoming.closer(), service.audit());
    let gate = Gate::new(policy, audit.clone());
    let (reporter, health) = tonic_health::server::health_reporter();
    let routes = routes(&service).add_service(health);
    let ends = service.clone();
    report(&reporter, ServingStatus::Serving).await;
    let server = builder().layer(gate.clone()).add_routes(routes);
    let socket = config.listen.socket.as_deref().expect("a configuration that is served has one");
    tracing::info!("serving {} on unix:{}", args.store.display(), socket.display());
    for address in addresses {
        tracing::info!("serving on {address}");
    }
    let ready = Ready::default();
    let monitored = monitor.map(|monitor| {
        let metrics = Metrics::start(store.clone(), service, Arc::clone(&counters));
        tokio::spawn(watched(monitor, metrics, ready.clone()))
    });
    ready.set(true);
    tell_systemd(NotifyState::Ready);
    let watched = tokio::spawn(tell_watchdog(store.clone()));
    let (told, is_told) = oneshot::channel();
    let (reported, report_of_capture) = oneshot::channel();
    let ended = async {
        tokio::select! {
            () = signals.attend(args, store, &gate, tls.as_ref()) => {}
            () = live.watch() => tracing::error!("packets cannot be stored any more"),
        }
        tell_systemd(NotifyState::Stopping);
        ready.set(false);
        report(&reporter, ServingStatus::NotServing).await;
        // What was captured is safe first, whatever becomes of the requests. That may take longer
        // than the watchdog waits, and systemd has a limit of its own for it.
        if live.is_there() {
            reported.send(end_capture(live, store.clone()).await).ok();
        }
        tracing::info!("ending: requests under way are finished");
        ends.end();
        closer.close();
        told.send(()).ok();
    };
    let served = server.serve_with_incoming_shutdown(incoming, ended);
    let patience = async {
        is_told.await.ok();
        tokio::time::sleep(DRAIN).await;
    };
    let served = tokio::select! {
        served = served => served.map_err(ServeError::from),
        () = patience => {
            tracing::warn!("requests that took too long were broken off");
            Ok(())
        }
    };
    audit.settle(SETTLED_WITHIN).await;
    // They hold the store.
    for task in monitored.into_iter().chain([watched]) {
        task.abort();
        task.await.ok();
    }
    tell_counts(&counters);
    fs::remove_file(socket).ok();
    served?;
    report_of_capture.await.unwrap_or(Ok(()))
}

fn tell_counts(counters: &Counters) {
    tracing::info!(
        "{} connections served, {} handshakes failed, {} timed out, {} turned away",
        counters.accepted(),
        counters.handshakes_failed(),
        counters.handshakes_timed_out(),
        counters.refused(),
    );
}

/// Stores what has come, and seals it.
async fn end_capture(live: Live, store: Store) -> Result<(), Failure> {
    let end = move || {
        live.stop()?;
        Ok(store.seal()?)
    };
    let ended = tokio::task::spawn_blocking(end).await;
    ended.unwrap_or_else(|error| Err(Failure::Runtime(error.into())))
}

/// Gives metrics and health to those who watch.
async fn watched(monitor: Monitor, metrics: Metrics, ready: Ready) {
    let metrics = Arc::new(metrics);
    let upkeep = async {
        loop {
            tokio::time::sleep(UPKEEP).await;
            metrics.keep_up();
        }
    };
    tokio::select! {
        served = monitor.serve(Arc::clone(&metrics), ready) => if let Err(error) = served {
            tracing::error!(%error, "metrics and health are given no more");
        },
        () = upkeep => {}
    }
}

/// Tells systemd, when it started this.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

/// Tells systemd's watchdog, where there is one, that this is alive for as long as every shard and
/// the catalog answer.
async fn tell_watchdog(store: Store) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    loop {
        let asked = tokio::task::spawn_blocking({
            let store = store.clone();
            move || {
                store.ask_shards(patience).map_err(|silent| silent.to_string())?;
                // It reads the catalog, which info does only when that has changed.
                store.expired().map(drop).map_err(|error| error.to_string())
            }
        });
        match asked.await {
            Ok(Ok(())) => tell_systemd(NotifyState::Watchdog),
            Ok(Err(error)) => tracing::error!(%error, "the store does not answer"),
            Err(error) => tracing::error!(%error, "the store does not answer"),
        }
        tokio::time::sleep(patience / 3).await;
    }
}

/// What this process can be told.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    flush: Signal,
}

impl Signals {
    /// From now on none has its usual effect.
    fn listen() -> Signals {
        let listen = |kind| signal(kind).expect("this runs within the runtime");
        Signals {
            terminate: listen(SignalKind::terminate()),
            interrupt: listen(SignalKind::interrupt()),
            hangup: listen(SignalKind::hangup()),
            flush: listen(SignalKind::user_defined1()),
        }
    }

    /// Follows them until one says that it is over; SIGHUP exchanges certificates, identities, and
    /// what is left out of live packets, SIGUSR1 makes durable what has come.
    async fn attend(&mut self, args: &Serve, store: &Store, gate: &Gate, tls: Option<&Tls>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.flush.recv() => drop(tokio::task::spawn_blocking({
                    let store = store.clone();
                    move || match store.flush() {
                        Ok(()) => tracing::info!("what has come is durable"),
                        Err(error) => tracing::error!(%error, "not everything is durable"),
                    }
                })),
                _ = self.hangup.recv() => match reload(args, store, gate, tls) {
                    Ok(()) => tracing::info!(
                        "identities, certificates, and what is left out of live packets were read \
                         anew"
                    ),
                    Err(error) => tracing::error!("not everything was read anew: {error}"),
                },
            }
        }
    }
}

/// Reads anew what is left out of live packets, the certificates, and who may do what, up to the
/// first that is wrong.
fn reload(args: &Serve, store: &Store, gate: &Gate, tls: Option<&Tls>) -> Result<(), ServeError> {
    let config = config(args)?;
    let policy = config.policy()?;
    let thinning = config.capture.thinning().map_err(ConfigError::from)?;
    store.thin(&thinning)?;
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

/// Tells who asks by gRPC whether requests are taken.
async fn report(reporter: &HealthReporter, status: ServingStatus) {
    for name in ["", "tapstone.v1.Tapstone", "tapstone.v1.Admin"] {
        reporter.set_service_status(name, status).await;
    }
}

fn routes(service: &Service) -> Routes {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTOR)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were made when this was compiled");
    let mut routes = Routes::builder();
    routes.add_service(service.tapstone()).add_service(service.admin()).add_service(reflection);
    routes.routes()
}
