//! Writing packets out as captures.

use std::io::Write;

use tapstone_packet::capture_file::{PcapWriter, PcapngWriter};
use tapstone_packet::interface::{Interface, LinkType};

use crate::backend::Seen;
use crate::cli::Format;
use crate::exit::Failure;

/// Who is said to have written a capture.
pub(crate) const APPLICATION: &str = concat!("tapstone ", env!("CARGO_PKG_VERSION"));
/// Bytes gathered before they are written.
const BUFFER_SIZE: usize = 1 << 20;

/// Writes packets to a file or stream.
pub(crate) struct Export<W> {
    out: W,
    what: String,
    buffer: Vec<u8>,
    format: Open,
}

enum Open {
    Pcapng(PcapngWriter),
    /// The header of a pcap file tells the link type, so it waits for the first packet.
    Pcap(Option<PcapWriter>),
}

impl<W: Write> Export<W> {
    pub(crate) fn new(out: W, what: String, format: Format) -> Export<W> {
        let buffer = Vec::with_capacity(BUFFER_SIZE + (1 << 18));
        let format = match format {
            Format::Pcapng => Open::Pcapng(PcapngWriter::new(APPLICATION)),
            Format::Pcap => Open::Pcap(None),
        };
        Export { out, what, buffer, format }
    }

    pub(crate) fn packet(&mut self, packet: &Seen<'_>) -> Result<(), Failure> {
        let &Seen { time, interface, data, original_len, options, .. } = packet;
        match &mut self.format {
            Open::Pcapng(writer) => {
                writer.packet(interface, time, data, original_len, options, &mut self.buffer);
            }
            Open::Pcap(writer) => {
                let writer =
                    writer.get_or_insert_with(|| PcapWriter::start(interface, &mut self.buffer));
                writer.packet(interface, time, data, original_len, &mut self.buffer)?;
            }
        }
        if self.buffer.len() >= BUFFER_SIZE { self.flush() } else { Ok(()) }
    }

    /// Writes what was gathered; gives what it was written to.
    pub(crate) fn finish(mut self) -> Result<W, Failure> {
        // A capture without packets still has to be one.
        match &mut self.format {
            Open::Pcapng(writer) => writer.finish(&mut self.buffer),
            Open::Pcap(Some(_)) => {}
            Open::Pcap(writer @ None) => {
                let interface = Interface::new(LinkType::ETHERNET);
                *writer = Some(PcapWriter::start(&interface, &mut self.buffer));
            }
        }
        self.flush()?;
        self.out.flush().map_err(|source| Failure::Write { what: self.what, source })?;
        Ok(self.out)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let written = self.out.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|source| Failure::Write { what: self.what.clone(), source })
    }
}
