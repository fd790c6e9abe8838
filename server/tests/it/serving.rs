//! A store through its server: the same answers, the same words.

use std::fs::{self, File};

use tapstone_benches::served::selection;
use tapstone_benches::workload::Workload;
use tapstone_client::proto::query_response::Content;
use tapstone_client::{Client, proto};
use tonic::Code;
use tonic_types::StatusExt;

use crate::run;
use crate::served::Served;

/// A folder with a capture, and a store `s` that has it.
pub(crate) fn stored(bytes: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("a.pcap")).unwrap();
    Workload::short_flows(bytes, 9).write(&mut file).unwrap();
    let (code, _, error) = run(dir.path(), &["import", "--store", "s", "a.pcap"]);
    assert_eq!(code, 0, "{error}");
    dir
}

/// The bytes of an answer, and its end.
async fn ask(client: &Client, request: proto::QueryRequest) -> (Vec<u8>, proto::Answer) {
    let mut messages = client.tapstone().query(request).await.unwrap().into_inner();
    let mut capture = Vec::new();
    while let Some(message) = messages.message().await.unwrap() {
        match message.content.unwrap() {
            Content::Capture(piece) => capture.extend_from_slice(&piece.content),
            Content::Answer(answer) => {
                assert!(messages.message().await.unwrap().is_none());
                return (capture, answer);
            }
            Content::Packets(_) => panic!("a capture was asked for"),
        }
    }
    panic!("the answer has no end");
}

/// What differs from run to run.
fn without_times(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words = line.split(' ').filter(|word| *word != "ms," && *word != "s,");
        let words: Vec<_> = words.filter(|word| word.parse::<f64>().is_err()).collect();
        words.join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_command_says_the_same_of_a_store_in_use_and_of_a_server() {
    let dir = stored(2 << 20);
    let questions: [&[&str]; 13] = [
        &["query", "--count", "tcp"],
        &["query", "-w", "-", "udp"],
        &["query", "-w", "-", "--format", "pcap", "udp port 53"],
        &["query", "--json", "--limit", "20", "tcp port 443"],
        &["query", "--count", "--where", "sni:example"],
        &["query", "-w", "-", "no such filter"],
        &["query", "-w", "-", "--where", "nothing:x"],
        &["query", "--since", "2026-02-01", "--until", "2026-01-01"],
        &["flows", "--where", "sni:example"],
        &["flows", "--json", "udp"],
        &["histogram", "--width", "1s", "--by", "protocol", "--json"],
        &["info", "--json"],
        &["check"],
    ];
    let with = |question: &[&str], place: [&str; 2]| {
        let words: Vec<&str> = question[..1]
            .iter()
            .copied()
            .chain(place)
            .chain(question[1..].iter().copied())
            .collect();
        let (code, out, error) = run(dir.path(), &words);
        let out = match question[0] {
            "check" => without_times(&out),
            // Whoever serves a store keeps it too.
            "info" => out.lines().filter(|line| !line.contains("\"state\"")).collect(),
            _ => out,
        };
        (code, out, without_times(&error))
    };
    let alone: Vec<_> = questions.iter().map(|it| with(it, ["--store", "s"])).collect();
    let served = Served::start(&dir.path().join("s"));
    for (question, alone) in questions.iter().zip(&alone) {
        assert_eq!(&with(question, ["--store", "s"]), alone, "{question:?} in use");
    }
    assert_eq!(served.terminate(), Some(0));
    assert!(!dir.path().join("s/socket").try_exists().unwrap());
    let (code, out, error) = run(dir.path(), &["query", "--store", "s", "--count", "tcp"]);
    assert_eq!((code, &out), (0, &alone[0].1), "{error}");
}

#[test]
fn captures_go_in_through_the_server_and_are_found_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("a.pcap")).unwrap();
    let made = Workload::short_flows(40 << 20, 3).write(&mut file).unwrap();
    let served = Served::start(&dir.path().join("s"));
    let (code, out, error) = run(dir.path(), &["import", "--store", "s", "--json", "a.pcap"]);
    assert_eq!(code, 0, "{error}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["packets"], made.packets);
    let (code, out, _) = run(dir.path(), &["query", "--store", "s", "--count"]);
    assert_eq!((code, out.trim()), (0, made.packets.to_string().as_str()));
    // Flows of what is not sealed yet are listed too.
    let (code, out, error) = run(dir.path(), &["flows", "--store", "s", "--where", "sni:example"]);
    assert!(code == 0 && out.lines().count() > 1, "{error}");
    let (code, _, error) = run(dir.path(), &["import", "--store", "s", "a.pcap"]);
    assert!(code == 3 && error.contains("already in this store"), "{error}");
    fs::write(dir.path().join("text"), "this is no capture").unwrap();
    let (code, _, error) = run(dir.path(), &["import", "--store", "s", "text"]);
    assert!(code == 3 && error.contains("not a pcap or pcapng capture"), "{error}");
    let (code, _, error) = run(dir.path(), &["seal", "--store", "s"]);
    assert_eq!(code, 0, "{error}");
    let (code, _, error) = run(dir.path(), &["rebuild", "--store", "s"]);
    assert!(code == 4 && error.contains("in use"), "{error}");
    // What was acknowledged is there after a kill.
    drop(served);
    let (code, out, _) = run(dir.path(), &["query", "--store", "s", "--count"]);
    assert_eq!((code, out.trim()), (0, made.packets.to_string().as_str()));
}

#[tokio::test]
async fn an_answer_goes_on_behind_its_cursor_also_after_a_restart() {
    let dir = stored(3 << 20);
    let store = dir.path().join("s");
    let mut served = Served::start(&store);
    let request = proto::QueryRequest { selection: selection("tcp"), ..Default::default() };
    let (_, whole) = ask(&served.client().await, request).await;
    assert!(whole.packets > 1000 && whole.ended() == proto::Ended::All, "{whole:?}");

    let (mut packets, mut after, mut pages) = (Vec::new(), Vec::new(), 0);
    loop {
        if pages % 4 == 3 {
            drop(served);
            served = Served::start(&store);
        }
        let mut selection = selection("tcp").unwrap();
        selection.after = after;
        selection.limit = (pages % 2 == 0).then_some(150);
        let max_bytes = (pages % 2 == 1).then_some(100_000);
        let request = proto::QueryRequest {
            selection: Some(selection),
            form: proto::Form::Packets.into(),
            max_bytes,
        };
        let mut messages =
            served.client().await.tapstone().query(request).await.unwrap().into_inner();
        let answer = loop {
            match messages.message().await.unwrap().unwrap().content.unwrap() {
                Content::Packets(page) => packets.extend(page.packets),
                Content::Answer(answer) => break answer,
                Content::Capture(_) => panic!("packets were asked for"),
            }
        };
        pages += 1;
        match answer.ended() {
            proto::Ended::All => break,
            proto::Ended::PacketLimit => assert_eq!(answer.packets, 150),
            proto::Ended::ByteLimit => assert!(answer.bytes >= 100_000),
            proto::Ended::Unspecified => panic!("{answer:?}"),
        }
        after = answer.cursor;
    }
    println!("{pages} pages");
    assert!(pages > 8);
    assert_eq!(packets.len() as u64, whole.packets);
    let bytes: u64 = packets.iter().map(|packet| packet.data.len() as u64).sum();
    assert_eq!(bytes, whole.bytes);
    let times: Vec<_> =
        packets.iter().map(|it| (it.time.unwrap().seconds, it.time.unwrap().nanos)).collect();
    assert!(times.is_sorted());
}

#[tokio::test]
async fn errors_say_what_a_program_can_act_on() {
    let dir = stored(1 << 20);
    let served = Served::start(&dir.path().join("s"));
    let client = served.client().await;
    let mut foreign = vec![1; 49];
    foreign[0] = 9;
    let cases = [
        (selection("tcp port 80 and"), "FILTER", "selection.filter"),
        (selection("host www.example.com"), "FILTER", "selection.filter"),
        (
            Some(proto::Selection { metadata: "color:red".into(), ..Default::default() }),
            "METADATA",
            "selection.metadata",
        ),
        (
            Some(proto::Selection { after: foreign, ..Default::default() }),
            "CURSOR",
            "selection.after",
        ),
    ];
    for (selection, reason, field) in cases {
        let request = proto::CountRequest { selection: selection.clone() };
        let status = client.tapstone().count(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{selection:?}");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "tapstone"));
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
    }
    let request = proto::HistogramRequest::default();
    let status = client.tapstone().histogram(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_deadline_is_kept_and_a_client_that_goes_disturbs_nobody() {
    let dir = stored(30 << 20);
    let served = Served::start(&dir.path().join("s"));
    let client = served.client().await;
    let mut request =
        tonic::Request::new(proto::CountRequest { selection: selection("tcp[13] & 4 != 0") });
    request.set_timeout(std::time::Duration::from_micros(200));
    let status = client.tapstone().count(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    // Many more than there are places for, each given up after its first message.
    for _ in 0..40 {
        let request = proto::QueryRequest::default();
        let mut messages = client.tapstone().query(request).await.unwrap().into_inner();
        assert!(messages.message().await.unwrap().is_some());
    }
    let request = proto::QueryRequest::default();
    let (_, answer) = ask(&client, request).await;
    assert!(answer.packets > 10_000);
}

#[tokio::test]
async fn health_and_reflection_are_there_for_tools() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

    let dir = stored(1 << 20);
    let served = Served::start(&dir.path().join("s"));
    let channel = served.client().await.channel();
    let request = HealthCheckRequest { service: "tapstone.v1.Tapstone".into() };
    let response = HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner();
    assert_eq!(response.status(), ServingStatus::Serving);

    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_response::MessageResponse,
    };
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tokio_stream::once(request);
    let mut client = ServerReflectionClient::new(channel);
    let mut responses = client.server_reflection_info(requests).await.unwrap().into_inner();
    let response = responses.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = response else { panic!("{response:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"tapstone.v1.Tapstone") && names.contains(&"tapstone.v1.Admin"));
}
