//! Captures in memory.

use tapstone_packet::capture_file::{CaptureReader, PcapngWriter, Step};
use tapstone_packet::interface::Interface;
use tapstone_packet::time::{TimeScale, Timestamp};

/// A packet, wherever it was read from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Raw {
    /// When it was captured.
    pub time: Timestamp,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Its length on the wire.
    pub original_len: u32,
    /// Its options, encoded.
    pub options: Vec<u8>,
    /// Its interface's link type.
    pub link_type: u16,
}

/// A capture, read whole.
#[derive(Debug)]
pub struct Capture {
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// Each with its interface's number.
    pub packets: Vec<(u32, Raw)>,
}

/// Reads a capture that is sound.
///
/// # Panics
///
/// When it is not.
#[must_use]
pub fn read(bytes: &[u8]) -> Capture {
    let mut reader = CaptureReader::new();
    let mut packets = Vec::new();
    let mut at = 0;
    loop {
        match reader.step(&bytes[at..], true) {
            Ok(Step::Packet(packet)) => {
                let interface = &reader.interfaces()[packet.interface as usize];
                let raw = Raw {
                    time: packet.time,
                    data: bytes[at..][packet.data].to_vec(),
                    original_len: packet.original_len,
                    options: packet.options.unwrap_or_default(),
                    link_type: interface.link_type.0,
                };
                packets.push((packet.interface, raw));
                at += packet.consumed;
            }
            Ok(Step::Skipped { consumed }) => at += consumed,
            Ok(Step::End) => break,
            Ok(Step::More { .. }) => unreachable!("the end was announced"),
            Err(error) => panic!("{error}"),
        }
    }
    Capture { interfaces: reader.interfaces().to_vec(), packets }
}

/// The same capture with each packet's number, from 1, as its time in seconds.
#[must_use]
pub fn numbered(capture: &Capture) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PcapngWriter::new("test");
    for (number, (interface, raw)) in (1..).zip(&capture.packets) {
        let interface = &capture.interfaces[*interface as usize];
        let interface = Interface { scale: TimeScale::NANOS, ..interface.clone() };
        let time = Timestamp::from_secs_nanos(number, 0);
        writer.packet(&interface, time, &raw.data, raw.original_len, &raw.options, &mut out);
    }
    writer.finish(&mut out);
    out
}
