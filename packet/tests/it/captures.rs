//! Reading every real capture, sound and damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tapstone_packet::capture_file::{CaptureError, CaptureReader, PcapngWriter, Step};
use tapstone_packet::interface::Interface;
use tapstone_packet::time::Timestamp;
use tapstone_testkit::oracle::Oracle;
use tapstone_testkit::shared_captures;

/// A packet read back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Read {
    pub(crate) interface: u32,
    pub(crate) time: Timestamp,
    pub(crate) data: Vec<u8>,
    pub(crate) original_len: u32,
    pub(crate) options: Option<Vec<u8>>,
}

/// What a capture held.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) packets: Vec<Read>,
    pub(crate) error: Option<CaptureError>,
}

/// Reads a capture, handing over `chunk` more bytes whenever more are asked for.
pub(crate) fn read(bytes: &[u8], chunk: usize) -> Capture {
    let mut reader = CaptureReader::new();
    let mut packets = Vec::new();
    let (mut at, mut given) = (0, chunk.min(bytes.len()));
    let error = loop {
        let input = &bytes[at..given];
        match reader.step(input, given == bytes.len()) {
            Ok(Step::More { needed }) => {
                assert!(needed > input.len(), "asked for {needed}, had {}", input.len());
                given = (at + needed).max(given + chunk).min(bytes.len());
            }
            Ok(Step::Packet(packet)) => {
                packets.push(Read {
                    interface: packet.interface,
                    time: packet.time,
                    data: input[packet.data].to_vec(),
                    original_len: packet.original_len,
                    options: packet.options,
                });
                at += packet.consumed;
            }
            Ok(Step::Skipped { consumed }) => at += consumed,
            Ok(Step::End) => break None,
            Err(error) => break Some(error),
        }
        assert_eq!(reader.offset(), at as u64);
    };
    Capture { interfaces: reader.interfaces().to_vec(), packets, error }
}

/// The names of the capture files in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".pcap") || name.ends_with(".snoop"))
        .collect();
    names.sort();
    names
}

#[test]
fn every_capture_is_read_as_tcpdump_reads_it() {
    let Some(folder) = shared_captures("every_capture_is_read_as_tcpdump_reads_it") else { return };
    let oracle = Oracle::load(&folder);
    let mut manifest = BTreeMap::new();
    for row in fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap().lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        if let Ok(packets) = columns[9].parse::<usize>() {
            manifest.insert(columns[0].to_owned(), packets);
        }
    }
    let mut wrong = Vec::new();
    for name in names(&folder) {
        let bytes = fs::read(folder.join(&name)).unwrap();
        let whole = read(&bytes, usize::MAX / 2);
        let (exit, packets, says) = &oracle.files[&name];
        let same_as_tcpdump = *exit != 0 || whole.packets.len() as u64 == *packets;
        if !same_as_tcpdump || whole.error.is_some() || manifest[&name] != whole.packets.len() {
            wrong.push(format!(
                "{name}: {} packets, {:?}; tcpdump {packets} ({exit}, {says}), manifest {}",
                whole.packets.len(),
                whole.error,
                manifest[&name]
            ));
        }
        if bytes.len() < 100_000 {
            let piecemeal = read(&bytes, 1);
            assert_eq!(piecemeal.packets, whole.packets, "{name} byte by byte");
            assert_eq!(piecemeal.error, whole.error, "{name} byte by byte");
        }
        write_and_read_back(&name, &whole);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn write_and_read_back(name: &str, capture: &Capture) {
    let mut out = Vec::new();
    let mut writer = PcapngWriter::new("test");
    for packet in &capture.packets {
        let options = packet.options.as_deref().unwrap_or(&[]);
        let interface = &capture.interfaces[packet.interface as usize];
        assert_eq!(Interface::decode(&interface.encode()).as_ref(), Ok(interface), "{name}");
        writer.packet(interface, packet.time, &packet.data, packet.original_len, options, &mut out);
    }
    writer.finish(&mut out);
    let again = read(&out, 4096);
    assert_eq!(again.error, None, "{name}");
    assert_eq!(again.packets.len(), capture.packets.len(), "{name}");
    for (again_packet, packet) in again.packets.iter().zip(&capture.packets) {
        let found = &again.interfaces[again_packet.interface as usize];
        let interface = &capture.interfaces[packet.interface as usize];
        let order = found.byte_order;
        assert!(order == interface.byte_order || !interface.link_type.is_host_ordered(), "{name}");
        assert_eq!(found, &Interface { byte_order: order, ..interface.clone() }, "{name}");
        let packet = Read { interface: again_packet.interface, ..packet.clone() };
        assert_eq!(again_packet, &packet, "{name}");
    }
}

#[test]
fn every_damaged_capture_gives_what_came_before_the_damage() {
    let test = "every_damaged_capture_gives_what_came_before_the_damage";
    let Some(folder) = shared_captures(test) else { return };
    let oracle = Oracle::load(&folder);
    let mut table = String::new();
    for name in names(&folder.join("broken")) {
        let bytes = fs::read(folder.join("broken").join(&name)).unwrap();
        let capture = read(&bytes, 4096);
        let (exit, packets, says) = &oracle.broken[&name];
        let error = capture.error.as_ref().map_or("sound".to_owned(), ToString::to_string);
        assert_eq!(capture.packets.len() as u64, *packets, "{name}: tcpdump says {says}");
        assert_eq!(capture.error.is_some(), *exit != 0, "{name}: tcpdump says {says}");
        table += &format!("{name}\n  {} packets, {error}\n", capture.packets.len());
    }
    insta::assert_snapshot!("damaged_captures", table);
}
