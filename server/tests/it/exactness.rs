//! What a server answers is what the store answers, byte for byte, and what tcpdump answers.

use std::fs;

use tapstone::{ImportOptions, OpenOptions, QueryError, Selection, Store};
use tapstone_client::proto;
use tapstone_client::proto::query_response::Content;
use tapstone_packet::capture_file::PcapngWriter;
use tapstone_testkit::captures::{numbered, read};
use tapstone_testkit::oracle::{Answer, Oracle, hash_of_numbers};
use tapstone_testkit::shared_captures;
use tonic::Code;

use crate::served::Served;

/// What the store itself writes.
fn expected(store: &Store, filter: &str) -> Result<Vec<u8>, QueryError> {
    let selection = Selection { filter: filter.to_owned(), ..Selection::default() };
    let mut writer = PcapngWriter::new(concat!("tapstone ", env!("CARGO_PKG_VERSION")));
    let mut out = Vec::new();
    for packet in store.query(&selection)? {
        let (data, length) = (packet.data(), packet.original_len());
        writer.packet(packet.interface(), packet.time(), data, length, packet.options(), &mut out);
    }
    writer.finish(&mut out);
    Ok(out)
}

#[tokio::test]
async fn a_server_gives_the_bytes_that_the_store_gives_and_tcpdump_chose() {
    let test = "a_server_gives_the_bytes_that_the_store_gives_and_tcpdump_chose";
    let Some(folder) = shared_captures(test) else { return };
    let oracle = Oracle::load(&folder);
    let (mut compared, mut with_oracle) = (0, 0);
    for name in oracle.files.keys() {
        let capture = numbered(&read(&fs::read(folder.join(name)).unwrap()));
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions { create: true, shards: 1, ..OpenOptions::default() };
        let named = ImportOptions { name, ..ImportOptions::default() };
        let own = Store::open(&dir.path().join("own"), options).unwrap();
        own.import(&capture[..], named).unwrap();
        let other = Store::open(&dir.path().join("served"), options).unwrap();
        other.import(&capture[..], named).unwrap();
        drop(other);
        let served = Served::start(&dir.path().join("served"));
        let client = served.client().await;
        for (filter, expression) in oracle.filters.iter().enumerate() {
            let selection = proto::Selection { filter: expression.clone(), ..Default::default() };
            let request = proto::QueryRequest { selection: Some(selection), ..Default::default() };
            let answer = client.tapstone().query(request).await;
            let (mut bytes, mut refused) = (Vec::new(), None);
            match answer {
                Ok(messages) => {
                    let mut messages = messages.into_inner();
                    while let Some(message) = messages.message().await.unwrap() {
                        if let Some(Content::Capture(piece)) = message.content {
                            bytes.extend_from_slice(&piece.content);
                        }
                    }
                }
                Err(status) => refused = Some(status),
            }
            compared += 1;
            match (expected(&own, expression), refused) {
                (Ok(expected), None) => assert!(bytes == expected, "{name} '{expression}'"),
                (Err(error @ QueryError::Filter(_)), Some(status)) => {
                    assert_eq!(status.code(), Code::InvalidArgument, "{name} '{expression}'");
                    assert_eq!(status.message(), error.to_string());
                    continue;
                }
                (expected, refused) => panic!("{name} '{expression}': {expected:?}, {refused:?}"),
            }
            if let Some(Answer::Packets(count, hash)) = oracle.results.get(&(name.clone(), filter))
                && !oracle.gives_up_on(name)
            {
                let numbers = read(&bytes).packets.into_iter();
                let numbers: Vec<u64> =
                    numbers.map(|(_, raw)| raw.time.secs_nanos().0 as u64).collect();
                assert_eq!(numbers.len() as u64, *count, "{name} '{expression}'");
                assert_eq!(&hash_of_numbers(numbers), hash, "{name} '{expression}'");
                with_oracle += 1;
            }
        }
    }
    println!("answers compared: {compared}, with tcpdump's: {with_oracle}");
    assert!(compared > 10_000 && with_oracle > 5_000, "{compared}, {with_oracle}");
}
