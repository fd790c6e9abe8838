//! What is counted, and how Prometheus is told of it.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tapstone::state::{PressureSource, State, Task, TopState};
use tapstone::{CaptureCounts, CatalogError, LossCause, ShedFlow, StateReport, Store};

use super::Ready;
use crate::listen::Counters;
use crate::service::Service;

/// Upper bounds of the times that are counted, in seconds.
const BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// How often what was counted is put together when nobody asks.
pub(crate) const UPKEEP: Duration = Duration::from_secs(5);

/// What is under way in a queue, and what waits in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) kind: &'static str,
    pub(crate) underway: usize,
    pub(crate) waiting: usize,
}

/// Gives what was counted.
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    store: Store,
    service: Service,
    connections: Arc<Counters>,
    process: Collector,
}

impl Metrics {
    /// Begins to count, for this process.
    pub(crate) fn start(store: Store, service: Service, connections: Arc<Counters>) -> Metrics {
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS);
        let recorder = builder.expect("there are buckets").build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok();
        describe();
        let process = Collector::default();
        process.describe();
        Metrics { handle, store, service, connections, process }
    }

    /// Puts together what was counted, which otherwise grows.
    pub(crate) fn keep_up(&self) {
        self.handle.run_upkeep();
    }

    /// Everything, in Prometheus' text format. Reads the catalog.
    pub(crate) fn render(&self, ready: &Ready) -> String {
        gauge!("tapstone_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        gauge!("tapstone_ready").set(f64::from(u8::from(ready.get())));
        if let Err(error) = self.gauge_store() {
            tracing::error!(%error, "the metrics of the store are not of now");
        }
        for Load { kind, underway, waiting } in self.service.load() {
            gauge!("tapstone_requests_underway", "kind" => kind).set(underway as f64);
            gauge!("tapstone_requests_waiting", "kind" => kind).set(waiting as f64);
        }
        let it = &self.connections;
        counter!("tapstone_connections_total").absolute(it.accepted());
        counter!("tapstone_handshakes_failed_total").absolute(it.handshakes_failed());
        counter!("tapstone_handshakes_timed_out_total").absolute(it.handshakes_timed_out());
        counter!("tapstone_connections_turned_away_total").absolute(it.refused());
        self.process.collect();
        self.handle.render()
    }

    fn gauge_store(&self) -> Result<(), CatalogError> {
        let info = self.store.info()?;
        gauge!("tapstone_store_packets").set(info.packets as f64);
        gauge!("tapstone_store_packet_bytes").set(info.packet_bytes as f64);
        gauge!("tapstone_store_stored_bytes").set(info.stored_bytes as f64);
        gauge!("tapstone_store_index_bytes").set(info.index_bytes as f64);
        gauge!("tapstone_store_flows").set(info.flows as f64);
        gauge!("tapstone_store_segments").set(info.segments as f64);
        gauge!("tapstone_unindexed_segments").set(info.unindexed as f64);
        gauge!("tapstone_damage").set(info.damage.len() as f64);
        if let Some(space) = info.space {
            gauge!("tapstone_disk_free_bytes").set(space.free as f64);
            gauge!("tapstone_disk_total_bytes").set(space.total as f64);
        }
        for (cause, packets) in &info.lost {
            gauge!("tapstone_store_lost_packets", "cause" => cause.name()).set(*packets as f64);
        }
        let held = info.held_back;
        gauge!("tapstone_holds").set(info.holds as f64);
        gauge!("tapstone_held_segments").set(held.segments as f64);
        gauge!("tapstone_held_bytes").set(held.bytes as f64);
        gauge!("tapstone_retention_falls_short").set(f64::from(u8::from(held.falls_short)));
        info.captures.iter().for_each(count_capture);
        gauge_state(info.state.as_ref().filter(|it| it.is_kept));
        let done = |task| self.store.last_done(task).map(|nanos| (task, nanos));
        for (task, nanos) in Task::ALL.into_iter().filter_map(done) {
            let gauge = gauge!("tapstone_task_done_timestamp_seconds", "task" => task.name());
            gauge.set(nanos as f64 / 1e9);
        }
        let urgency = self.store.outlook().and_then(|it| it.urgency);
        gauge!("tapstone_alert").set(urgency.map_or(0.0, |it| f64::from(it as u8 + 1)));
        Ok(())
    }
}

/// The state; nothing is told of one that nobody keeps.
fn gauge_state(report: Option<&StateReport>) {
    let Some(report) = report else { return };
    let is = |it: bool| f64::from(u8::from(it));
    for top in TopState::ALL {
        gauge!("tapstone_state", "state" => top.name()).set(is(top == report.state.top()));
    }
    for state in State::all() {
        let path = state.to_string();
        gauge!("tapstone_active_state", "state" => path).set(is(report.active.contains(&state)));
    }
    for (source, readings) in PressureSource::ALL.into_iter().zip(report.readings.iter().cycle()) {
        let reading = readings.of(source);
        gauge!("tapstone_reading", "source" => source.name()).set(f64::from(reading.used) / 1e3);
        let level = f64::from(reading.level as u8);
        gauge!("tapstone_reading_level", "source" => source.name()).set(level);
    }
    counter!("tapstone_transitions_total").absolute(report.sequence);
    gauge!("tapstone_unrecorded_transitions").set(report.unrecorded as f64);
    gauge!("tapstone_troubles").set(report.troubles.len() as f64);
}

fn count_capture(counts: &CaptureCounts) {
    let total = |name: &'static str, value| {
        counter!(name, "interface" => counts.interface.clone()).absolute(value);
    };
    total("tapstone_capture_received_packets_total", counts.received);
    total("tapstone_capture_stored_packets_total", counts.stored);
    total("tapstone_capture_stored_bytes_total", counts.stored_bytes);
    total("tapstone_capture_filtered_packets_total", counts.filtered);
    total("tapstone_capture_clock_steps_total", counts.clock_steps);
    for (cause, lost) in LossCause::ALL.into_iter().zip(counts.lost) {
        let (interface, cause) = (counts.interface.clone(), cause.name());
        let name = "tapstone_capture_lost_packets_total";
        counter!(name, "interface" => interface, "cause" => cause).absolute(lost);
    }
    for (kind, shed) in ShedFlow::ALL.into_iter().zip(counts.shed) {
        let (interface, kind) = (counts.interface.clone(), kind.name());
        let name = "tapstone_capture_shed_packets_total";
        counter!(name, "interface" => interface, "flows" => kind).absolute(shed);
    }
}

/// What requests are counted by, where they happen. Nothing is, unless [`Metrics::start`]ed.
pub(crate) mod count {
    use std::time::Duration;

    use metrics::{counter, histogram};
    use tapstone::ImportReport;

    /// A request that was let in has ended.
    pub(crate) fn request(method: &'static str, outcome: &'static str, took: Duration) {
        counter!("tapstone_requests_total", "method" => method, "outcome" => outcome).increment(1);
        histogram!("tapstone_request_seconds", "method" => method).record(took);
    }

    /// An answer has given so much.
    pub(crate) fn answer(method: &'static str, packets: u64, bytes: u64) {
        counter!("tapstone_answer_packets_total", "method" => method).increment(packets);
        counter!("tapstone_answer_bytes_total", "method" => method).increment(bytes);
    }

    /// The first packets of an answer are on their way.
    pub(crate) fn first_packet(took: Duration) {
        histogram!("tapstone_first_packet_seconds").record(took);
    }

    /// A capture was taken in.
    pub(crate) fn import(report: &ImportReport) {
        counter!("tapstone_import_packets_total").increment(report.packets);
        counter!("tapstone_import_packet_bytes_total").increment(report.packet_bytes);
        counter!("tapstone_import_cut_packets_total").increment(report.cut_packets);
        counter!("tapstone_import_skipped_blocks_total").increment(report.skipped_blocks);
    }

    /// A request was not let in.
    pub(crate) fn refused(reason: &'static str) {
        counter!("tapstone_refused_total", "reason" => reason).increment(1);
    }

    /// Of an alert it is decided whether somebody was told.
    pub(crate) fn alert(outcome: &'static str) {
        counter!("tapstone_alerts_total", "outcome" => outcome).increment(1);
    }

    /// A record went into the audit log.
    pub(crate) fn audit_record() {
        counter!("tapstone_audit_records_total").increment(1);
    }
}

fn describe() {
    describe_gauge!("tapstone_build_info", "The version that runs.");
    describe_gauge!("tapstone_ready", "Whether requests are taken.");
    describe_gauge!("tapstone_state", "The outermost state: 1 for the one the store is in.");
    describe_gauge!("tapstone_active_state", "All states: 1 for those that hold.");
    describe_gauge!("tapstone_reading", "What the worst gauge of a source shows, of 1.");
    describe_gauge!("tapstone_reading_level", "0 calm, 1 easing, 2 high, 3 exhausted.");
    describe_gauge!("tapstone_alert", "0 none, 1 notice, 2 warning, 3 alarm.");
    describe_counter!("tapstone_transitions_total", "Transitions in the life of the store.");
    describe_gauge!("tapstone_unrecorded_transitions", "Transitions that are not in the ledger.");
    describe_gauge!("tapstone_troubles", "What the store cannot do of what keeps it.");
    describe_gauge!(
        "tapstone_task_done_timestamp_seconds",
        "When a task of maintenance was done to its end last; not there before it ever was."
    );
    describe_gauge!("tapstone_damage", "What was found wrong with the store since it was opened.");
    describe_gauge!("tapstone_store_packets", "Packets stored.");
    describe_gauge!("tapstone_store_packet_bytes", "Captured bytes of the packets stored.");
    describe_gauge!("tapstone_store_stored_bytes", "Bytes of the segment files.");
    describe_gauge!("tapstone_store_index_bytes", "Bytes of splits and catalog.");
    describe_gauge!("tapstone_store_flows", "Flows, counted once for each segment.");
    describe_gauge!("tapstone_store_segments", "Segments, open ones included.");
    describe_gauge!("tapstone_unindexed_segments", "Sealed segments that are not indexed yet.");
    describe_gauge!("tapstone_disk_free_bytes", "Room that is left where the store is.");
    describe_gauge!("tapstone_disk_total_bytes", "All the room where the store is.");
    describe_gauge!("tapstone_requests_underway", "Requests that have a place, by kind.");
    describe_gauge!("tapstone_requests_waiting", "Requests that wait for a place, by kind.");
    describe_counter!("tapstone_requests_total", "Requests that were let in and have ended.");
    describe_histogram!("tapstone_request_seconds", "From a request to the end of its answer.");
    describe_histogram!("tapstone_first_packet_seconds", "From a query to its first packets.");
    describe_counter!("tapstone_answer_packets_total", "Packets given or counted.");
    describe_counter!("tapstone_answer_bytes_total", "Captured bytes of packets given.");
    describe_counter!("tapstone_import_packets_total", "Packets taken in.");
    describe_counter!("tapstone_import_packet_bytes_total", "Captured bytes taken in.");
    describe_counter!("tapstone_import_cut_packets_total", "Packets cut to the snapshot length.");
    describe_counter!(
        "tapstone_import_skipped_blocks_total",
        "Blocks without packets passed over."
    );
    describe_gauge!("tapstone_store_lost_packets", "Packets lost while what is stored came.");
    describe_gauge!("tapstone_holds", "Holds in force.");
    describe_gauge!("tapstone_held_segments", "Segments that only holds keep.");
    describe_gauge!("tapstone_held_bytes", "Bytes of those and of their splits.");
    describe_gauge!(
        "tapstone_retention_falls_short",
        "Whether holds keep retention from making room: what does not fit is lost."
    );
    describe_counter!("tapstone_capture_received_packets_total", "Live packets that came.");
    describe_counter!("tapstone_capture_stored_packets_total", "Live packets stored.");
    describe_counter!("tapstone_capture_stored_bytes_total", "Captured bytes of those.");
    describe_counter!(
        "tapstone_capture_filtered_packets_total",
        "Live packets left out by the filter after the kernel let them through."
    );
    describe_counter!(
        "tapstone_capture_clock_steps_total",
        "How often the clock was set that gives live packets their times."
    );
    describe_counter!("tapstone_capture_lost_packets_total", "Live packets lost.");
    describe_counter!("tapstone_capture_shed_packets_total", "Live packets shed, by their flows.");
    describe_counter!("tapstone_refused_total", "Requests that were not let in.");
    describe_counter!("tapstone_alerts_total", "Alerts for the webhook: delivered, given up.");
    describe_counter!("tapstone_audit_records_total", "Records written to the audit log.");
    describe_counter!("tapstone_connections_total", "Connections that were let in.");
    describe_counter!("tapstone_handshakes_failed_total", "TLS handshakes that failed.");
    describe_counter!("tapstone_handshakes_timed_out_total", "TLS handshakes that took too long.");
    describe_counter!(
        "tapstone_connections_turned_away_total",
        "Connections closed since too many handshakes were under way."
    );
}
