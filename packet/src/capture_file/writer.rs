//! Writing captures: pcapng with everything a packet came with, or pcap with its bytes and time.

use std::collections::HashMap;

use super::options::{self, Holder};
use crate::interface::{ByteOrder, Interface, LinkType};
use crate::time::Timestamp;

/// Writes a pcapng file. Every method appends to a buffer that the caller flushes.
///
/// An interface is described before its first packet. A section keeps the byte order of the first
/// interface in it, and a new one begins only for packets that would change their meaning
/// ([`LinkType::is_host_ordered`]): libpcap reads no file with both orders.
#[derive(Debug)]
pub struct PcapngWriter {
    application: String,
    order: Option<ByteOrder>,
    interfaces: Vec<Interface>,
    numbers: HashMap<Interface, u32>,
    /// The interface of the packet before: most packets share theirs with it.
    recent: u32,
}

impl PcapngWriter {
    /// A writer of one file. `application` says who wrote it.
    #[must_use]
    pub fn new(application: &str) -> PcapngWriter {
        PcapngWriter {
            application: application.to_owned(),
            order: None,
            interfaces: Vec::new(),
            numbers: HashMap::new(),
            recent: 0,
        }
    }

    /// Appends a packet. `options` is an encoded list ([`options`]).
    #[inline]
    pub fn packet(
        &mut self,
        interface: &Interface,
        time: Timestamp,
        data: &[u8],
        original_len: u32,
        options: &[u8],
        out: &mut Vec<u8>,
    ) {
        let number = self.number(interface, out);
        let order = self.order.expect("an interface lies in a section");
        let scale = interface.scale;
        let raw = if scale.is_exact() { None } else { options::find(options, options::RAW_TICKS) };
        let ticks = raw.and_then(|raw| raw.try_into().ok()).map(u64::from_le_bytes);
        // A simple packet has time 0, which a scale with an offset may not reach.
        let ticks = ticks.or_else(|| scale.to_ticks(time)).unwrap_or(0);
        let padding = data.len().next_multiple_of(4) - data.len();
        let options_len = if options.is_empty() { 0 } else { written_options(options) };
        let length = (32 + data.len() + padding + options_len) as u32;
        out.reserve(length as usize);
        let mut head = [0; 28];
        let words = [
            6,
            length,
            number,
            (ticks >> 32) as u32,
            ticks as u32,
            data.len() as u32,
            original_len,
        ];
        for (field, word) in head.chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&order.u32(word));
        }
        out.extend_from_slice(&head);
        out.extend_from_slice(data);
        out.extend_from_slice(&[0; 3][..padding]);
        if options_len > 0 {
            let list = options::iter(options).filter(|option| is_written(*option));
            options::write(list, order, Holder::Packet, out);
        }
        out.extend_from_slice(&order.u32(length));
    }

    /// Ends the file: one without packets is a capture too.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.order.is_none() {
            self.section(ByteOrder::Little, out);
        }
    }

    /// The number of an interface in the section, which it may begin.
    #[inline]
    fn number(&mut self, interface: &Interface, out: &mut Vec<u8>) -> u32 {
        match self.interfaces.get(self.recent as usize) {
            Some(recent) if recent == interface => {}
            _ => self.recent = self.find_or_describe(interface, out),
        }
        self.recent
    }

    fn find_or_describe(&mut self, interface: &Interface, out: &mut Vec<u8>) -> u32 {
        let own = interface.byte_order;
        let order = match self.order {
            Some(order) if order == own || !interface.link_type.is_host_ordered() => order,
            _ => {
                self.section(own, out);
                own
            }
        };
        if let Some(number) = self.numbers.get(interface) {
            return *number;
        }
        let scale = interface.scale;
        block(out, 1, order, |out| {
            out.extend_from_slice(&order.u16(interface.link_type.0));
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(&order.u32(interface.snap_len));
            let mut list = interface.options.clone();
            options::push(&mut list, options::TIME_RESOLUTION, &[scale.resolution]);
            if scale.offset_secs != 0 {
                options::push(&mut list, options::TIME_OFFSET, &scale.offset_secs.to_le_bytes());
            }
            options::write(options::iter(&list), order, Holder::Interface, out);
        });
        let number = self.interfaces.len() as u32;
        self.interfaces.push(interface.clone());
        self.numbers.insert(interface.clone(), number);
        number
    }

    fn section(&mut self, order: ByteOrder, out: &mut Vec<u8>) {
        block(out, 0x0a0d_0d0a, order, |out| {
            out.extend_from_slice(&order.u32(0x1a2b_3c4d));
            out.extend_from_slice(&order.u16(1));
            out.extend_from_slice(&order.u16(0));
            out.extend_from_slice(&u64::MAX.to_le_bytes());
            let application = [(4, self.application.as_bytes())];
            options::write(application.into_iter(), order, Holder::Section, out);
        });
        self.order = Some(order);
        self.interfaces.clear();
        self.numbers.clear();
    }
}

fn is_written((code, _): (u16, &[u8])) -> bool {
    code != options::RAW_TICKS
}

/// Bytes that a packet's options take in the file, end marker included; 0 when none is written.
fn written_options(list: &[u8]) -> usize {
    let length: usize = options::iter(list)
        .filter(|option| is_written(*option))
        .map(|(_, value)| 4 + value.len().next_multiple_of(4))
        .sum();
    if length == 0 { 0 } else { length + 4 }
}

fn block(out: &mut Vec<u8>, kind: u32, order: ByteOrder, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&order.u32(kind));
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = order.u32((out.len() + 4 - start) as u32);
    out.extend_from_slice(&length);
    out[start + 4..start + 8].copy_from_slice(&length);
}

/// Writes a classic pcap file with nanosecond times, in the byte order that its packets came in.
#[derive(Clone, Copy, Debug)]
pub struct PcapWriter {
    link_type: LinkType,
    order: ByteOrder,
}

/// A packet that classic pcap cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PcapWriterError {
    /// The time is before 1970 or after 2106.
    #[error("a packet at {0} s does not fit pcap, whose times end in 2106; write pcapng instead")]
    Time(Timestamp),
    /// The file has one link type for all.
    #[error(
        "packets of link types {0:?} and {1:?} do not fit one pcap file; write pcapng instead, \
         or ask for one of them"
    )]
    LinkType(LinkType, LinkType),
    /// The file has one byte order for all.
    #[error(
        "packets of link type {0:?} from captures in both byte orders do not fit one pcap file; \
         write pcapng instead"
    )]
    ByteOrder(LinkType),
}

impl PcapWriter {
    /// Appends the file header; call once, first. The interface is that of the first packet.
    #[must_use]
    pub fn start(interface: &Interface, out: &mut Vec<u8>) -> PcapWriter {
        let (link_type, order) = (interface.link_type, interface.byte_order);
        out.extend_from_slice(&order.u32(0xa1b2_3c4d));
        out.extend_from_slice(&order.u16(2));
        out.extend_from_slice(&order.u16(4));
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&order.u32(interface.snap_len));
        out.extend_from_slice(&order.u32(link_type.0.into()));
        PcapWriter { link_type, order }
    }

    /// Appends a packet.
    ///
    /// # Errors
    ///
    /// When the format cannot hold it; nothing is appended then.
    pub fn packet(
        self,
        interface: &Interface,
        time: Timestamp,
        data: &[u8],
        original_len: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), PcapWriterError> {
        let link_type = interface.link_type;
        if link_type != self.link_type {
            return Err(PcapWriterError::LinkType(self.link_type, link_type));
        }
        if interface.byte_order != self.order && link_type.is_host_ordered() {
            return Err(PcapWriterError::ByteOrder(link_type));
        }
        let (secs, nanos) = time.secs_nanos();
        let secs = u32::try_from(secs).map_err(|_| PcapWriterError::Time(time))?;
        for word in [secs, nanos, data.len() as u32, original_len] {
            out.extend_from_slice(&self.order.u32(word));
        }
        out.extend_from_slice(data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture_file::{CaptureReader, Step};

    /// The interface of each packet in a capture.
    fn interfaces(bytes: &[u8]) -> Vec<Interface> {
        let (mut reader, mut at, mut found) = (CaptureReader::new(), 0, Vec::new());
        loop {
            match reader.step(&bytes[at..], true).unwrap() {
                Step::Packet(packet) => {
                    found.push(reader.interfaces()[packet.interface as usize].clone());
                    at += packet.consumed;
                }
                Step::Skipped { consumed } => at += consumed,
                Step::End => return found,
                Step::More { .. } => unreachable!("the end was announced"),
            }
        }
    }

    #[test]
    fn packets_keep_the_byte_order_that_gives_them_their_meaning() {
        let of = |link_type, byte_order| {
            let mut options = Vec::new();
            options::push(&mut options, options::INTERFACE_NAME, b"lo0");
            // if_speed, a number.
            options::push(&mut options, 8, &7u64.to_le_bytes());
            Interface { byte_order, options, ..Interface::new(link_type) }
        };
        let (big, little) = (ByteOrder::Big, ByteOrder::Little);
        let came = [
            of(LinkType::NULL, big),
            of(LinkType::ETHERNET, little),
            of(LinkType::NULL, big),
            of(LinkType::NULL, little),
        ];
        let (mut writer, mut out) = (PcapngWriter::new("test"), Vec::new());
        for interface in &came {
            writer.packet(interface, Timestamp::from_secs_nanos(1, 0), b"1234", 4, &[], &mut out);
        }
        writer.finish(&mut out);
        let mut expected = came.clone();
        expected[1].byte_order = big;
        assert_eq!(interfaces(&out), expected);

        let mut out = Vec::new();
        let writer = PcapWriter::start(&came[0], &mut out);
        let mut packet = |interface| {
            writer.packet(interface, Timestamp::from_secs_nanos(1, 0), b"1234", 4, &mut out)
        };
        assert_eq!(packet(&came[2]), Ok(()));
        assert_eq!(packet(&came[3]), Err(PcapWriterError::ByteOrder(LinkType::NULL)));
        assert_eq!(interfaces(&out), [Interface { options: Vec::new(), ..came[0].clone() }]);
    }

    #[test]
    fn a_file_without_packets_is_a_capture() {
        let mut out = Vec::new();
        PcapngWriter::new("test").finish(&mut out);
        assert_eq!(interfaces(&out), []);
    }
}
