//! Writing captures: pcapng with everything a packet came with, or pcap with its bytes and time.

use super::options;
use crate::interface::{Interface, LinkType};
use crate::time::Timestamp;

/// Writes a pcapng section, little-endian. Every method appends to a buffer that the caller
/// flushes.
#[derive(Debug, Default)]
pub struct PcapngWriter {
    interfaces: Vec<crate::time::TimeScale>,
}

impl PcapngWriter {
    /// Appends the section header; call once, first. `application` says who wrote the file.
    #[must_use]
    pub fn start(application: &str, out: &mut Vec<u8>) -> PcapngWriter {
        block(out, 0x0a0d_0d0a, |out| {
            out.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
            out.extend_from_slice(&[1, 0, 0, 0]);
            out.extend_from_slice(&u64::MAX.to_le_bytes());
            options::push(out, 4, application.as_bytes());
            out.extend_from_slice(&[0; 4]);
        });
        PcapngWriter::default()
    }

    /// Appends an interface, and gives the number that its packets name.
    pub fn interface(&mut self, interface: &Interface, out: &mut Vec<u8>) -> u32 {
        block(out, 1, |out| {
            out.extend_from_slice(&interface.link_type.0.to_le_bytes());
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(&interface.snap_len.to_le_bytes());
            out.extend_from_slice(&interface.options);
            options::push(out, options::TIME_RESOLUTION, &[interface.scale.resolution]);
            if interface.scale.offset_secs != 0 {
                let offset = interface.scale.offset_secs.to_le_bytes();
                options::push(out, options::TIME_OFFSET, &offset);
            }
            out.extend_from_slice(&[0; 4]);
        });
        self.interfaces.push(interface.scale);
        self.interfaces.len() as u32 - 1
    }

    /// Appends a packet of an interface that was appended before. `options` is an encoded list
    /// ([`options`]).
    ///
    /// # Panics
    ///
    /// When there is no such interface, or its time scale cannot express the time: packets keep
    /// the interface they were captured on, whose scale their time came from.
    #[inline]
    pub fn packet(
        &mut self,
        interface: u32,
        time: Timestamp,
        data: &[u8],
        original_len: u32,
        options: &[u8],
        out: &mut Vec<u8>,
    ) {
        let scale = self.interfaces[interface as usize];
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
            interface,
            (ticks >> 32) as u32,
            ticks as u32,
            data.len() as u32,
            original_len,
        ];
        for (field, word) in head.chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&head);
        out.extend_from_slice(data);
        out.extend_from_slice(&[0; 3][..padding]);
        if options_len > 0 {
            for (code, value) in options::iter(options).filter(|option| is_written(*option)) {
                options::push(out, code, value);
            }
            out.extend_from_slice(&[0; 4]);
        }
        out.extend_from_slice(&length.to_le_bytes());
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

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = (out.len() + 4 - start) as u32;
    out.extend_from_slice(&length.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
}

/// Writes a classic pcap file with nanosecond times, little-endian.
#[derive(Clone, Copy, Debug)]
pub struct PcapWriter {
    link_type: LinkType,
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
}

impl PcapWriter {
    /// Appends the file header; call once, first.
    #[must_use]
    pub fn start(link_type: LinkType, snap_len: u32, out: &mut Vec<u8>) -> PcapWriter {
        out.extend_from_slice(&0xa1b2_3c4d_u32.to_le_bytes());
        out.extend_from_slice(&[2, 0, 4, 0]);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&snap_len.to_le_bytes());
        out.extend_from_slice(&u32::from(link_type.0).to_le_bytes());
        PcapWriter { link_type }
    }

    /// Appends a packet.
    ///
    /// # Errors
    ///
    /// When the format cannot hold it; nothing is appended then.
    pub fn packet(
        self,
        link_type: LinkType,
        time: Timestamp,
        data: &[u8],
        original_len: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), PcapWriterError> {
        if link_type != self.link_type {
            return Err(PcapWriterError::LinkType(self.link_type, link_type));
        }
        let (secs, nanos) = time.secs_nanos();
        let secs = u32::try_from(secs).map_err(|_| PcapWriterError::Time(time))?;
        for word in [secs, nanos, data.len() as u32, original_len] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(data);
        Ok(())
    }
}
