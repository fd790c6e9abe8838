//! A capture file read whole, read byte by byte, written out and read again: always the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tapstone_packet::capture_file::{CaptureReader, PcapngWriter, Step};
use tapstone_packet::interface::Interface;
use tapstone_packet::time::Timestamp;

type Packet = (Interface, Timestamp, Vec<u8>, u32, Option<Vec<u8>>);

/// The packets, and what went wrong; `chunk` more bytes are handed over whenever more are asked for.
fn read(bytes: &[u8], chunk: usize) -> (Vec<Packet>, Option<String>) {
    let (mut reader, mut packets) = (CaptureReader::new(), Vec::new());
    let (mut at, mut given) = (0, chunk.min(bytes.len()));
    loop {
        let input = &bytes[at..given];
        match reader.step(input, given == bytes.len()) {
            Ok(Step::More { needed }) => {
                assert!(needed > input.len() && given < bytes.len());
                given = (at + needed).max(given + chunk).min(bytes.len());
            }
            Ok(Step::Packet(packet)) => {
                let interface = reader.interfaces()[packet.interface as usize].clone();
                let data = input[packet.data].to_vec();
                packets.push((interface, packet.time, data, packet.original_len, packet.options));
                at += packet.consumed;
            }
            Ok(Step::Skipped { consumed }) => at += consumed,
            Ok(Step::End) => return (packets, None),
            Err(error) => return (packets, Some(error.to_string())),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (packets, error) = read(bytes, usize::MAX / 2);
    assert_eq!(read(bytes, 1), (packets.clone(), error));
    let (mut writer, mut out) = (PcapngWriter::new("fuzz"), Vec::new());
    for (interface, time, data, original_len, options) in &packets {
        let options = options.as_deref().unwrap_or(&[]);
        writer.packet(interface, *time, data, *original_len, options, &mut out);
    }
    writer.finish(&mut out);
    let (again, error) = read(&out, 4096);
    assert_eq!(error, None);
    let essence = |packets: Vec<Packet>| -> Vec<_> {
        let essence = |packet: Packet| (packet.0.link_type, packet.2, packet.3);
        packets.into_iter().map(essence).collect()
    };
    assert_eq!(essence(again), essence(packets));
});
