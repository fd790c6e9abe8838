//! A server that is watched: metrics, health, its log, and traces of its requests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;
use tapstone_benches::served::selection;
use tapstone_client::proto;

use crate::served::Served;
use crate::serving::stored;

/// What is at a path: the status line and the body.
pub(crate) fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

pub(crate) fn metric(body: &str, name: &str) -> f64 {
    let line =
        body.lines().find(|line| line.strip_prefix(name).is_some_and(|it| it.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("{name} is not in\n{body}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn count(filter: &str) -> proto::CountRequest {
    proto::CountRequest { selection: selection(filter) }
}

#[tokio::test]
async fn what_happens_is_counted_and_health_is_told() {
    let dir = stored(1 << 20);
    let served = Served::start_with(&dir.path().join("s"), &["--monitor", "127.0.0.1:0"]);
    let monitor = served.address_after("metrics and health on http://");
    assert_eq!(get(&monitor, "/healthz").0, "HTTP/1.1 200 OK");
    assert_eq!(get(&monitor, "/readyz"), ("HTTP/1.1 200 OK".to_owned(), "ready\n".to_owned()));
    assert_eq!(get(&monitor, "/nothing").0, "HTTP/1.1 404 Not Found");
    let client = served.client().await;
    let counted = client.tapstone().count(count("tcp")).await.unwrap().into_inner();
    client.tapstone().count(count("no such filter")).await.unwrap_err();
    let request = proto::QueryRequest { selection: selection("udp"), ..Default::default() };
    let mut answer = client.tapstone().query(request).await.unwrap().into_inner();
    while answer.message().await.unwrap().is_some() {}
    let (_, body) = get(&monitor, "/metrics");
    let info = client.tapstone().info(proto::InfoRequest {}).await.unwrap().into_inner();
    assert_eq!(metric(&body, "tapstone_store_packets") as u64, info.packets);
    assert_eq!(metric(&body, "tapstone_store_segments") as u64, info.segments);
    assert!(metric(&body, "tapstone_disk_total_bytes") > 0.0 && info.disk_total > Some(0));
    let complete = "tapstone_requests_total{method=\"Count\",outcome=\"complete\"}";
    assert_eq!(metric(&body, complete) as u64, 1);
    let packets = "tapstone_answer_packets_total{method=\"Count\"}";
    assert_eq!(metric(&body, packets) as u64, counted.answer.unwrap().packets);
    assert_eq!(metric(&body, "tapstone_request_seconds_count{method=\"Query\"}") as u64, 1);
    assert_eq!(metric(&body, "tapstone_first_packet_seconds_count") as u64, 1);
    assert!(metric(&body, "process_resident_memory_bytes") > 1e6);
}

/// The dashboard shows what is there.
#[tokio::test]
async fn every_metric_of_the_dashboard_is_given_and_described() {
    let dir = stored(1 << 20);
    let served = Served::start_with(&dir.path().join("s"), &["--monitor", "127.0.0.1:0"]);
    let monitor = served.address_after("metrics and health on http://");
    let dashboard = std::fs::read_to_string("../docs/grafana-dashboard.json").unwrap();
    let words = dashboard.split(|it: char| !(it.is_ascii_alphanumeric() || it == '_'));
    let shown = words.filter(|it| it.starts_with("tapstone_") || it.starts_with("process_"));
    let known = include_str!("../../src/monitoring/metrics.rs");
    let (_, body) = get(&monitor, "/metrics");
    let mut looked_for = 0;
    for name in shown {
        let name = name.strip_suffix("_bucket").unwrap_or(name);
        let described = known.contains(&format!("_gauge!(\"{name}\""))
            || known.contains(&format!("_counter!(\"{name}\""))
            || known.contains(&format!("_histogram!(\"{name}\""))
            || known.contains(&format!("        \"{name}\",\n"))
            || body.contains(&format!("# HELP {name} "));
        assert!(described, "{name} is in the dashboard, and is no metric");
        looked_for += 1;
    }
    assert!(looked_for > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_name_in_its_answer_the_log_and_the_audit_log() {
    let dir = stored(1 << 20);
    let served = Served::start_with(&dir.path().join("s"), &["--set", "log.format=json"]);
    let client = served.client().await;
    let mut request = tonic::Request::new(count("tcp"));
    request.metadata_mut().insert("x-request-id", "night-7".parse().unwrap());
    let response = client.tapstone().count(request).await.unwrap();
    assert_eq!(response.metadata().get("x-request-id").unwrap(), "night-7");
    let line = served.wait_for("answered");
    let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
    assert_eq!((&line["message"], &line["outcome"]), (&"answered".into(), &"complete".into()));
    assert_eq!(line["span"]["id"], "night-7");
    let unnamed = client.tapstone().count(count("udp")).await.unwrap();
    let ours = unnamed.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned();
    assert_eq!(served.terminate(), Some(0));
    let (code, log, _) = crate::run(dir.path(), &["audit", "show", "--store", "s", "--json"]);
    assert_eq!(code, 0);
    for name in ["night-7", &ours] {
        assert!(log.contains(&format!("\"request\":\"{name}\"")), "{name} is not in {log}");
    }
}

/// What traces are sent to.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let spans = resources.flat_map(|it| it.scope_spans).flat_map(|it| it.spans);
        self.0.lock().unwrap().extend(spans);
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_traced_to_a_collector() {
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("traces.endpoint=http://{}", listener.local_addr().unwrap());
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let service = TraceServiceServer::new(collector.clone());
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));

    let dir = stored(1 << 20);
    let served = Served::start_with(&dir.path().join("s"), &["--set", &endpoint]);
    let client = served.client().await;
    let mut request = tonic::Request::new(count("tcp"));
    request.metadata_mut().insert("x-request-id", "traced-1".parse().unwrap());
    client.tapstone().count(request).await.unwrap();
    // What is not sent yet goes out when the server ends.
    assert_eq!(served.terminate(), Some(0));
    let spans = collector.0.lock().unwrap();
    let attribute = |span: &Span, key: &str| {
        let value = span.attributes.iter().find(|it| it.key == key)?.value.clone()?.value?;
        if let any_value::Value::StringValue(text) = value { Some(text) } else { None }
    };
    let traced = spans.iter().find(|span| attribute(span, "id").as_deref() == Some("traced-1"));
    let traced = traced.unwrap_or_else(|| panic!("{spans:#?}"));
    let method = attribute(traced, "method");
    assert_eq!(method.as_deref(), Some("/tapstone.v1.Tapstone/Count"));
    assert!(traced.end_time_unix_nano > traced.start_time_unix_nano);
}

/// systemd starts a server anew that does not say so in time.
#[test]
fn systemd_is_told_that_all_of_it_answers() {
    let dir = stored(1 << 20);
    let path = dir.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let mut server = std::process::Command::new(assert_cmd::cargo::cargo_bin!("tapstone"))
        .args(["serve", "--store"])
        .arg(dir.path().join("s"))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "300000")
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    while told.len() < 4 {
        let mut bytes = [0; 100];
        let length = socket.recv(&mut bytes).unwrap();
        told.push(String::from_utf8_lossy(&bytes[..length]).trim().to_owned());
    }
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(told, ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]);
}
